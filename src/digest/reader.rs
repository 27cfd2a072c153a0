//! A digest that is read: any chunk, in any order, in little memory.

use std::{fs::File, ops::Range};

use super::{
    error::DigestError,
    format::{Flaw, Header},
    page::{PAGE_BYTES, Page},
    tree::{Entry, Geometry},
};
use crate::{member::MemberName, sys::storage::Storage};

/// How many damaged pages are stepped over to find a chunk: where more lie side by side, what they told of isn't known.
const STEPS_MAX: u64 = 8;

/// A digest's file.
#[derive(Debug)]
pub struct DigestFile {
    name: MemberName,
    header: Header,
    header_bytes: u64,
    seed: u64,
    file: File,
}

/// Chunks side by side of which the same kind of thing is said: of values, one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is said.
    pub entry: Entry,
    /// Of how many chunks.
    pub count: u64,
}

impl DigestFile {
    /// Reads its header, and looks whether all of it is there.
    ///
    /// # Errors
    /// See [`DigestError`].
    pub fn open(name: MemberName, file: File) -> Result<Self, DigestError> {
        let failed = |error| DigestError::Io { digest: name.clone(), error };
        let mut start = [0; 16];
        let held = read_whole(&file, 0, &mut start).map_err(failed)?;
        let told = |flaw| match flaw {
            Flaw::NoDigest => DigestError::NoDigest { digest: name.clone() },
            Flaw::Version(version) => DigestError::Version { digest: name.clone(), version },
            Flaw::Damaged(what) => DigestError::Damaged { digest: name.clone(), what },
        };
        let length = Storage::length(&file).map_err(failed)?;
        if held < start.len() {
            return Err(DigestError::NoDigest { digest: name });
        }
        let header_bytes = Header::length(&start).map_err(told)?;
        if (header_bytes as u64) > length {
            return Err(DigestError::CutOff { digest: name, has: length, wanted: header_bytes as u64 });
        }
        let mut bytes = vec![0; header_bytes];
        read_whole(&file, 0, &mut bytes).map_err(failed)?;
        let header = Header::decode(&bytes).map_err(told)?;
        let wanted = header.pages.checked_mul(PAGE_BYTES as u64).and_then(|pages| pages.checked_add(header_bytes as u64));
        match wanted {
            Some(wanted) if wanted == length => {}
            Some(wanted) if wanted > length => return Err(DigestError::CutOff { digest: name, has: length, wanted }),
            _ => return Err(told(Flaw::Damaged(format!("it tells of {} pages, and the file has {length} bytes", header.pages)))),
        }
        let seed = header.seed();
        Ok(Self { name, header, header_bytes: header_bytes as u64, seed, file })
    }

    /// As the user named it.
    #[must_use]
    pub fn name(&self) -> &MemberName {
        &self.name
    }

    /// What it is of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// How it cuts the image.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.header.geometry
    }

    /// A place in it, to read from.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { digest: self, page: None, gap: 0..0 }
    }

    /// A page; none where it is damaged, or can't be read.
    fn page(&self, index: u64) -> Option<Page> {
        let mut bytes = [0; PAGE_BYTES];
        let at = self.header_bytes + index * PAGE_BYTES as u64;
        let held = read_whole(&self.file, at, &mut bytes).ok()?;
        Page::parse(&bytes[..held], self.seed, self.header.geometry.hash)
    }

    /// How many of its pages are damaged, and of how many chunks nothing is known for that.
    #[must_use]
    pub fn damage(&self) -> (u64, u64) {
        let (mut pages, mut told) = (0, 0u64);
        for index in 0..self.header.pages {
            match self.page(index) {
                Some(page) => told = told.saturating_add(page.count),
                None => pages += 1,
            }
        }
        let geometry = self.header.geometry;
        let chunks = (self.header.part.end.div_ceil(geometry.chunk_bytes)) - self.header.part.start / geometry.chunk_bytes;
        (pages, chunks.saturating_sub(told))
    }
}

/// Reads as much as there is.
fn read_whole(file: &File, offset: u64, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut held = 0;
    while held < bytes.len() {
        match Storage::read(file, offset + held as u64, &mut bytes[held..])? {
            0 => break,
            more => held += more,
        }
    }
    Ok(held)
}

/// Reads a digest here and there; each thread has its own.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    digest: &'a DigestFile,
    /// The page that was looked at last.
    page: Option<(u64, Page)>,
    /// Chunks of which no page tells, as far as that was found.
    gap: Range<u64>,
}

impl<'a> Cursor<'a> {
    /// The digest that is read.
    #[must_use]
    pub fn digest(&self) -> &'a DigestFile {
        self.digest
    }

    /// What is said of `chunk`, and of how many from there on.
    pub fn at(&mut self, chunk: u64) -> Run {
        let Header { geometry, part, .. } = &self.digest.header;
        let (first, end) = (part.start / geometry.chunk_bytes, part.end.div_ceil(geometry.chunk_bytes));
        let unknown = |count: u64| Run { entry: Entry::Unknown, count };
        if chunk < first {
            return unknown(first - chunk);
        }
        if chunk >= end {
            return unknown(u64::MAX - chunk);
        }
        let here = |page: &Page| page.at(chunk).map(|(entry, count)| Run { entry, count: count.min(end - chunk) });
        if let Some(run) = self.page.as_ref().and_then(|(_, page)| here(page)) {
            return run;
        }
        // Who reads on wants the next one.
        let next = self.page.as_ref().map(|(index, _)| index + 1).filter(|&next| next < self.digest.header.pages);
        if let Some((index, page)) = next.and_then(|index| Some((index, self.digest.page(index)?)))
            && let Some(run) = here(&page)
        {
            self.page = Some((index, page));
            return run;
        }
        if self.gap.contains(&chunk) {
            return unknown(self.gap.end - chunk);
        }
        match self.find(chunk) {
            Ok((index, page)) => {
                let run = here(&page);
                self.page = Some((index, page));
                run.unwrap_or_else(|| unknown(1))
            }
            // Behind damaged pages it goes on with the next one that holds.
            Err(from) => {
                let next = (from..self.digest.header.pages).find_map(|index| self.digest.page(index).map(|page| page.first));
                self.gap = chunk..next.filter(|&next| next > chunk).unwrap_or(end).min(end);
                unknown(self.gap.end - chunk)
            }
        }
    }

    /// The page that tells of `chunk`; where there is none, the first page that may tell of what comes behind it.
    fn find(&self, chunk: u64) -> Result<(u64, Page), u64> {
        let digest = self.digest;
        let good = |index: u64| Some((index, digest.page(index)?));
        let (mut low, mut high) = (0, digest.header.pages);
        while low < high {
            let middle = low + (high - low) / 2;
            let steps = STEPS_MAX as usize;
            let right = (middle..high).take(steps).find_map(good);
            let Some((index, page)) = right.or_else(|| (low..middle).rev().take(steps).find_map(good)) else {
                // Too many side by side: one after the other.
                return (low..high)
                    .find_map(|index| good(index).filter(|(_, page)| page.first.saturating_add(page.count) > chunk))
                    .map_or(Err(high), |(index, page)| if page.first <= chunk { Ok((index, page)) } else { Err(index) });
            };
            if page.first > chunk {
                // Between the middle and a page on its right all are damaged.
                high = index.min(middle);
            } else if chunk - page.first < page.count {
                return Ok((index, page));
            } else {
                low = index + 1;
            }
        }
        Err(low)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::{collection::vec, prelude::*};

    use super::{DigestFile, PAGE_BYTES};
    use crate::{
        digest::{Ending, Entry, Writer, format::tests::header},
        member::MemberName,
        sys::storage::Storage,
        vote::ByteRange,
    };

    fn entry(chunk: u64) -> (Entry, u64) {
        match chunk % 700 {
            0..500 => (Entry::Value([(chunk % 251) as u8 + 1; 32]), 1),
            500..600 => (Entry::Zero, 1),
            _ => (Entry::Unknown, 1),
        }
    }

    /// A digest of so many chunks; its bytes are changed before it is opened.
    fn digest(chunks: u64, change: impl FnOnce(&mut Vec<u8>)) -> Result<DigestFile, super::DigestError> {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut header = header();
        header.geometry.size = chunks * 65536;
        header.part = ByteRange::new(0, header.geometry.size);
        let mut writer = Writer::new(&file, header).expect("it can be written");
        (0..chunks).for_each(|chunk| writer.push(entry(chunk).0, 1).expect("it can be written"));
        writer.finish(Ending::default()).expect("it can be written");
        let mut bytes = vec![0; Storage::length(&file).expect("it has one") as usize];
        super::read_whole(&file, 0, &mut bytes).expect("it can be read");
        change(&mut bytes);
        let changed = tempfile::tempfile().expect("a temporary file");
        Storage::write(&changed, 0, &bytes).expect("it can be written");
        DigestFile::open(MemberName::from(Path::new("d")), changed)
    }

    #[test]
    fn any_chunk_is_found() {
        let digest = digest(5000, |_| ()).expect("it is whole");
        let mut cursor = digest.cursor();
        for chunk in (0..5000).chain((0..5000).rev().step_by(7)).chain([0, 4999, 2500]) {
            assert_eq!(cursor.at(chunk).entry, entry(chunk).0, "{chunk}");
        }
        assert_eq!(cursor.at(5000).entry, Entry::Unknown);
        assert_eq!(digest.damage(), (0, 0));
    }

    /// D15: what a damaged page told of isn't known, and all the rest is.
    #[test]
    fn damaged_pages_are_unknown_and_no_others() {
        let intact = digest(5000, |_| ()).expect("it is whole");
        for damaged in [vec![0u64], vec![10, 11, 12], (0..7).collect(), vec![20, 22, 24], (15..23).collect()] {
            let digest = digest(5000, |bytes| {
                for page in &damaged {
                    let at = bytes.len() - (intact.header.pages - page) as usize * PAGE_BYTES + 100;
                    bytes[at] ^= 0x40;
                }
            })
            .expect("its header is whole");
            let mut cursor = digest.cursor();
            for chunk in (0..5000).step_by(13).chain((0..5000).rev().step_by(11)) {
                let (index, _) = intact.cursor().find(chunk).expect("it is told of");
                let expected = if damaged.contains(&index) { Entry::Unknown } else { entry(chunk).0 };
                assert_eq!(cursor.at(chunk).entry, expected, "{chunk} in page {index}, damaged: {damaged:?}");
            }
            assert_eq!(digest.damage().0, damaged.len() as u64);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// However its bytes are changed, a digest says what it said, or that it doesn't know: nothing else, ever.
        #[test]
        fn a_mutated_digest_never_says_anything_else(
            flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), moves in vec((1usize..40, 1usize..40), 0..3), asked in vec(0u64..5000, 30),
        ) {
            let mutated = digest(5000, |bytes| {
                let header = bytes.len() % PAGE_BYTES + PAGE_BYTES;
                for (at, byte) in flips {
                    let at = header + at.index(bytes.len() - header);
                    bytes[at] ^= byte;
                }
                for (from, to) in moves {
                    let (from, to) = (from * PAGE_BYTES, to * PAGE_BYTES);
                    if from.max(to) + PAGE_BYTES <= bytes.len() {
                        bytes.copy_within(from..from + PAGE_BYTES, to);
                    }
                }
            });
            let mutated = mutated.expect("its header is whole");
            let mut cursor = mutated.cursor();
            for chunk in asked {
                let said = cursor.at(chunk);
                prop_assert!(said.entry == Entry::Unknown || said.entry == entry(chunk).0, "{chunk}");
                prop_assert!(said.count > 0);
            }
        }

        /// Whoever makes checksums that hold finds no way to make it panic, or go on for ever.
        #[test]
        fn hostile_digests_do_no_harm(bytes in vec(any::<u8>(), 0..20_000), words in vec((0usize..1500, prop_oneof![Just(0u64), Just(u64::MAX), any::<u64>(), 0u64..99]), 0..60)) {
            let mut bytes = bytes;
            for (at, word) in words {
                if let Some(place) = bytes.get_mut(at * 8..at * 8 + 8) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
            let file = tempfile::tempfile().expect("a temporary file");
            Storage::write(&file, 0, &crate::digest::mended(&bytes)).expect("it can be written");
            if let Ok(digest) = DigestFile::open(MemberName::from(Path::new("d")), file) {
                let mut cursor = digest.cursor();
                let mut chunk = 0;
                for _ in 0..1000 {
                    let said = cursor.at(chunk);
                    prop_assert!(said.count > 0);
                    chunk = chunk.saturating_add(said.count);
                }
                let _ = digest.damage();
            }
        }
    }

    /// D1, D16: what is cut off, or has more than it tells of, is refused.
    #[test]
    fn what_is_cut_off_is_refused() {
        for (change, word) in [
            ((|bytes: &mut Vec<u8>| bytes.truncate(10)) as fn(&mut Vec<u8>), "no digest"),
            (|bytes| bytes.truncate(2000), "cut off"),
            (|bytes| bytes.truncate(bytes.len() - 1), "cut off"),
            (|bytes| bytes.extend([0; 4096]), "header is damaged"),
            (|bytes| bytes[100] ^= 1, "header is damaged"),
            (|bytes| bytes[8] = 9, "has version 9"),
            (|bytes| bytes[0] = 0, "no digest"),
            (Vec::clear, "no digest"),
        ] {
            let error = digest(300, change).expect_err("it is refused").to_string();
            assert!(error.contains(word) && error.starts_with("d: ") && error.contains("hint: "), "{error}");
        }
    }
}

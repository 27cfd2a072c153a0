//! Digests of parts become one of the whole.

use std::io;

use super::{
    error::DigestError,
    format::{Header, Maker},
    reader::{Cursor, DigestFile, Run},
    source::Source,
    tree::Entry,
    writer::{Ending, Writer},
};
use crate::{sys::storage::Storage, vote::ByteRange};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The parts are at fault.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// It can't be written.
    #[error("{0}")]
    Write(io::Error),
}

/// Merges digests of parts (at least one) of one image into `storage`: what several tell of, they have to agree on; what one doesn't know
/// another may. Returns what it is of, and what none of the parts tells of.
///
/// # Errors
/// Where they aren't of the same members, or contradict each other.
pub fn merge(parts: &[DigestFile], storage: &dyn Storage) -> Result<(Header, Vec<ByteRange>), MergeError> {
    let mut parts: Vec<&DigestFile> = parts.iter().collect();
    parts.sort_by_key(|part| (part.header().part.start, part.header().part.end));
    let first = parts[0];
    for part in &parts[1..] {
        if let Some(what) = difference(first.header(), part.header()) {
            return Err(DigestError::Other { digest: part.name().clone(), other: first.name().clone(), what }.into());
        }
    }
    let geometry = first.geometry();
    let told = ByteRange::joined(parts.iter().map(|part| part.header().part).filter(|part| !part.is_empty()));
    let hull = ByteRange::new(told.first().map_or(0, |range| range.start), told.last().map_or(0, |range| range.end));
    let missing = told.windows(2).map(|pair| ByteRange::new(pair[0].end, pair[1].start)).collect();
    let times = |of: fn(&Header) -> (i64, u32)| parts.iter().map(move |part| of(part.header()));
    let ending = Ending {
        started: times(|header| header.started).min().unwrap_or_default(),
        finished: times(|header| header.finished).max().unwrap_or_default(),
    };
    let mut writer = Writer::new(storage, Header { part: hull, ..first.header().clone() }).map_err(MergeError::Write)?;
    let mut cursors: Vec<Cursor> = parts.iter().map(|part| part.cursor()).collect();
    let end = hull.end.div_ceil(geometry.chunk_bytes);
    let mut chunk = hull.start / geometry.chunk_bytes;
    while chunk < end {
        let (mut said, mut count): (Option<(Entry, usize)>, u64) = (None, end - chunk);
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let Run { entry, count: held } = cursor.at(chunk);
            count = count.min(held);
            match said {
                _ if entry == Entry::Unknown => {}
                None => said = Some((entry, index)),
                Some((other, who)) if other != entry => {
                    return Err(DigestError::Contradiction {
                        digest: cursor.digest().name().clone(),
                        other: parts[who].name().clone(),
                        offset: geometry.range(chunk).start,
                    }
                    .into());
                }
                Some(_) => {}
            }
        }
        writer.push(said.map_or(Entry::Unknown, |(entry, _)| entry), count).map_err(MergeError::Write)?;
        chunk += count;
    }
    Ok((writer.finish(ending).map_err(MergeError::Write)?, missing))
}

/// Why two aren't parts of the same, in words.
fn difference(a: &Header, b: &Header) -> Option<String> {
    let (first, other) = (&a.geometry, &b.geometry);
    if first.size != other.size {
        return Some(format!("that is of {} bytes, and this of {}", first.size, other.size));
    }
    if first.hash != other.hash || first.chunk_bytes != other.chunk_bytes {
        let said = |it: &super::tree::Geometry| format!("{} in chunks of {} bytes", it.hash.name(), it.chunk_bytes);
        return Some(format!("that is made by {}, and this by {}", said(first), said(other)));
    }
    let (Maker { sources: ours, .. }, Maker { sources: theirs, .. }) = (&a.maker, &b.maker);
    if ours.len() != theirs.len() {
        return Some(format!("that was made from {} members, and this from {}", ours.len(), theirs.len()));
    }
    if let Some(index) = (0..ours.len()).find(|&index| !same(&ours[index], &theirs[index])) {
        let name = crate::member::escaped(&String::from_utf8_lossy(&theirs[index].name));
        return Some(format!("member #{index} ({name}) was another one then, was reached by another way, or was written to in between"));
    }
    if a.maker.options != b.maker.options || a.maker.threshold != b.maker.threshold || a.maker.sector != b.maker.sector {
        return Some(format!(
            "they were made with other options: threshold {}, sectors of {} bytes, {:?}; and {}, {}, {:?}",
            a.maker.threshold, a.maker.sector, a.maker.options, b.maker.threshold, b.maker.sector, b.maker.options
        ));
    }
    None
}

/// Whether two were one member that wasn't written to in between. That sizes and times are the same isn't enough: copies have them in common.
fn same(a: &Source, b: &Source) -> bool {
    a.identity == b.identity && a.size == b.size && a.format == b.format && a.modified == b.modified
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{MergeError, merge};
    use crate::{
        digest::{CHUNK_BYTES_MIN, DigestError, DigestFile, Ending, Entry, Header, Writer, format::tests::header},
        member::MemberName,
        sys::storage::Storage,
        vote::ByteRange,
    };
    use proptest::{collection::vec, prelude::*};

    fn of_part(entries: &[Entry], chunks: std::ops::Range<usize>, time: i64, change: impl FnOnce(&mut Header)) -> (DigestFile, Vec<u8>) {
        let mut header = header();
        header.geometry.size = entries.len() as u64 * CHUNK_BYTES_MIN - 5;
        header.part = ByteRange::new(header.geometry.range(chunks.start as u64).start, header.geometry.range(chunks.end as u64).start);
        change(&mut header);
        let file = tempfile::tempfile().expect("a temporary file");
        let mut writer = Writer::new(&file, header).expect("it can be written");
        entries[chunks].iter().for_each(|entry| writer.push(*entry, 1).expect("it can be written"));
        writer.finish(Ending { started: (time, 0), finished: (time + 1, 0) }).expect("it can be written");
        opened(file)
    }

    fn opened(file: std::fs::File) -> (DigestFile, Vec<u8>) {
        let mut bytes = vec![0; Storage::length(&file).expect("it has one") as usize];
        Storage::read(&file, 0, &mut bytes).expect("it can be read");
        (DigestFile::open(MemberName::from(Path::new("part")), file).expect("it is whole"), bytes)
    }

    fn merged(parts: &[DigestFile]) -> Result<(Vec<u8>, Vec<ByteRange>), MergeError> {
        let file = tempfile::tempfile().expect("a temporary file");
        let (_, missing) = merge(parts, &file)?;
        Ok((opened(file).1, missing))
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let run = (0u8..4, 1usize..200);
        vec(run, 1..8).prop_map(|runs| {
            let one = |kind, at: usize| match kind {
                0 => Entry::Zero,
                1 => Entry::Unknown,
                _ => Entry::Value([(at % 200) as u8 + 1; 32]),
            };
            runs.into_iter().flat_map(|(kind, count)| (0..count).map(move |at| one(kind, at))).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// D17: however it is cut, in whatever order and however often parts come, the whole is the same byte for byte.
        #[test]
        fn whatever_the_split_the_whole_is_the_same(entries in entries(), cuts in vec(any::<prop::sample::Index>(), 0..6), again in any::<prop::sample::Index>()) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(entries.len() + 1)).chain([0, entries.len()]).collect();
            cuts.sort_unstable();
            let mut parts: Vec<DigestFile> = cuts.windows(2).map(|pair| of_part(&entries, pair[0]..pair[1], 5, |_| ()).0).collect();
            let twice = again.index(parts.len());
            parts.push(of_part(&entries, cuts[twice]..cuts[twice + 1], 5, |_| ()).0);
            parts.reverse();
            let (bytes, missing) = merged(&parts).expect("they belong together");
            prop_assert!(missing.is_empty());
            prop_assert!(bytes == of_part(&entries, 0..entries.len(), 5, |_| ()).1);
        }
    }

    type Change = fn(&mut Header);

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let entries: Vec<Entry> = (1..=9).map(|byte| Entry::Value([byte; 32])).collect();
        let first = || of_part(&entries, 0..4, 5, |_| ()).0;
        let changes: [(Change, &str); 6] = [
            (|header| header.geometry.size -= 1, "bytes"),
            (|header| header.maker.options = String::new(), "other options"),
            (|header| header.maker.threshold = 3, "other options"),
            (|header| header.maker.sources[1].modified = Some((1, 1)), "written to in between"),
            (|header| header.maker.sources[0].identity = [9; 16], "was another one"),
            (|header| header.maker.sources.truncate(1), "from 2 members, and this from 1"),
        ];
        for (change, words) in changes {
            let other = of_part(&entries, 4..9, 5, |header| {
                change(header);
                header.part.end = header.geometry.size;
            });
            let error = merged(&[first(), other.0]).expect_err(words).to_string();
            assert!(error.contains(words) && error.contains("hint: "), "{error}");
        }
        let mut others = entries.clone();
        others[2] = Entry::Zero;
        let error = merged(&[first(), of_part(&others, 0..9, 5, |_| ()).0]).expect_err("they contradict each other");
        assert!(matches!(error, MergeError::Digest(DigestError::Contradiction { offset, .. }) if offset == 2 * CHUNK_BYTES_MIN), "{error}");
        others[2] = Entry::Unknown;
        let (bytes, missing) = merged(&[of_part(&others, 0..3, 5, |_| ()).0, first(), of_part(&entries, 6..9, 5, |_| ()).0]).expect("fine");
        assert_eq!(missing, [ByteRange::new(4 * CHUNK_BYTES_MIN, 6 * CHUNK_BYTES_MIN)]);
        let mut expected = entries.clone();
        expected[4..6].fill(Entry::Unknown);
        assert!(bytes == of_part(&expected, 0..9, 5, |_| ()).1, "what one doesn't know another does");
    }
}

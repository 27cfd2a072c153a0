//! What holds each stretch of the guest's disk: L1, L2, and the backing file beneath.

use std::{borrow::Cow, io, sync::Arc};

use super::{
    entry::{self, Layout, Part, SUBCLUSTERS},
    header::Header,
    inflate::inflate,
    tables::{AtHand, Caches, Lost, Number, Tables},
};
use crate::{
    member::{Extent, Member, MemberName, RawMember, ReadError, Readable},
    sys::buffer::Buffer,
    vote::ByteRange,
};

/// Entries that are looked at for one answer.
const STEPS_MAX: usize = 8192;
/// A file's own holes are looked for in stretches as long as this, in bytes: preallocated ones.
const HOLES_BYTES_MIN: u64 = 256 << 10;
/// L2 entries share a sector, the smallest part of a file that can be unreadable.
const SECTOR: u64 = 512;

/// What is under an image.
pub(super) enum Backing {
    /// Nothing: zeros.
    None,
    /// A raw image; zeros behind its end.
    Raw(Box<RawMember>),
    /// Another qcow2 image.
    Qcow2(Box<Image>),
    /// It can't be had; why.
    Broken(String),
}

/// Where stored clusters lie.
pub(super) enum DataFile {
    /// In the image itself.
    Own,
    /// In another file.
    External(Box<RawMember>),
    /// It can't be had; why.
    Broken(String),
}

/// One qcow2 image with all that is under it.
pub(super) struct Image {
    pub file: RawMember,
    pub header: Header,
    pub data: DataFile,
    pub backing: Backing,
    /// The L1 table that counts, the active one or a snapshot's: where it lies, and its entries.
    pub l1: (u64, u32),
    /// What a guest sees, in bytes.
    pub size: u64,
    pub(super) layout: Layout,
    pub(super) tables: Tables,
}

/// A file under an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: MemberName,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// What a guest would see of it, in bytes.
    pub size: u64,
}

/// Something wrong with an image, for a part of the guest's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// `l1`, `l2`, `data`, `backing` or `data-file`.
    pub table: &'static str,
    /// Where the entry stands in its file, in bytes.
    pub entry_offset: Option<u64>,
    /// What is wrong.
    pub what: Cow<'static, str>,
}

/// What holds a stretch.
pub(super) enum Source<'a> {
    Zero,
    Stored { file: &'a RawMember, at: u64 },
    Compressed { image: &'a Image, at: u64, length: u64, guest: u64, entry_offset: u64 },
    Damaged { image: &'a Image, damage: Damage },
}

/// A stretch of the guest's disk that one thing holds.
pub(super) struct Stretch<'a> {
    pub source: Source<'a>,
    pub end: u64,
}

/// The same as far as one image's own tables tell.
enum Own {
    Unallocated,
    Zero,
    Stored { at: u64, entry_offset: u64 },
    Compressed { at: u64, length: u64, entry_offset: u64 },
    Damaged(Damage),
}

fn damage(table: &'static str, entry_offset: u64, what: &'static str) -> Own {
    Own::Damaged(Damage { table, entry_offset: Some(entry_offset), what: what.into() })
}

impl Image {
    pub(super) fn new(file: RawMember, header: Header, data: DataFile, backing: Backing, caches: &Arc<Caches>) -> Self {
        let layout = Layout {
            cluster_bits: header.cluster_bits,
            version: header.version,
            extended_l2: header.extended_l2,
            external_data: header.external_data,
        };
        let tables = Tables::new(Arc::clone(caches), layout.cluster_bytes(), file.size());
        let (l1, size) = ((header.l1_offset, header.l1_entries), header.size);
        Self { file, header, data, backing, l1, size, layout, tables }
    }

    /// All files, the image's own first.
    pub(super) fn files(&self) -> Vec<&RawMember> {
        let mut files = vec![&self.file];
        if let DataFile::External(data) = &self.data {
            files.push(data);
        }
        match &self.backing {
            Backing::Raw(raw) => files.push(raw),
            Backing::Qcow2(image) => files.extend(image.files()),
            Backing::None | Backing::Broken(_) => {}
        }
        files
    }

    /// What is under it, from the top down; last, why the chain ends too early, if it does.
    pub(super) fn chain(&self) -> (Vec<Link>, Option<&str>) {
        let (mut links, mut image) = (Vec::new(), self);
        loop {
            match &image.backing {
                Backing::None => return (links, None),
                Backing::Broken(why) => return (links, Some(why)),
                Backing::Raw(raw) => {
                    links.push(Link { name: raw.name().clone(), format: "raw", size: raw.size() });
                    return (links, None);
                }
                Backing::Qcow2(next) => {
                    links.push(Link { name: next.file.name().clone(), format: "qcow2", size: next.size });
                    image = next;
                }
            }
        }
    }

    /// Memory in bytes that inflating a cluster takes: its compressed bytes, which may be told to be twice as many, and the cluster.
    pub(super) fn scratch_bytes(&self) -> usize {
        let own = 3 * self.layout.cluster_bytes() as usize;
        if let Backing::Qcow2(image) = &self.backing { own.max(image.scratch_bytes()) } else { own }
    }

    /// What holds the bytes from `offset` (below the size) on, up to `limit` at most.
    ///
    /// # Errors
    /// Where a file as a whole can't be reached.
    pub(super) fn stretch(&self, offset: u64, limit: u64) -> Result<Stretch<'_>, ReadError> {
        let (own, end) = self.own(offset, limit)?;
        let damaged = |damage| Stretch { source: Source::Damaged { image: self, damage }, end };
        Ok(match own {
            Own::Unallocated => return self.beneath(offset, end),
            Own::Zero => Stretch { source: Source::Zero, end },
            Own::Damaged(damage) => damaged(damage),
            Own::Compressed { at, length, entry_offset } => {
                let guest = offset - offset % self.layout.cluster_bytes();
                Stretch { source: Source::Compressed { image: self, at, length, guest, entry_offset }, end }
            }
            Own::Stored { at, entry_offset } => {
                let (file, file_end) = match &self.data {
                    DataFile::Own => (&self.file, self.tables.end()),
                    DataFile::External(data) => (&**data, data.size()),
                    DataFile::Broken(why) => {
                        return Ok(damaged(Damage { table: "data-file", entry_offset: None, what: why.clone().into() }));
                    }
                };
                if at >= file_end {
                    let what = "the cluster lies beyond the end of the file".into();
                    return Ok(damaged(Damage { table: "data", entry_offset: Some(entry_offset), what }));
                }
                stored(file, at, offset, end.min(offset + (file_end - at)))
            }
        })
    }

    /// The stretch of what is under this image.
    fn beneath(&self, offset: u64, end: u64) -> Result<Stretch<'_>, ReadError> {
        let zero = Stretch { source: Source::Zero, end };
        match &self.backing {
            Backing::Broken(why) => {
                let damage = Damage { table: "backing", entry_offset: None, what: why.clone().into() };
                Ok(Stretch { source: Source::Damaged { image: self, damage }, end })
            }
            Backing::Raw(raw) if offset < raw.size() => match raw.extent(offset) {
                Ok(Extent::Zero(zeros)) => Ok(Stretch { source: Source::Zero, end: end.min(zeros) }),
                Ok(Extent::Data(data)) => Ok(Stretch { source: Source::Stored { file: raw, at: offset }, end: end.min(data) }),
                Err(ReadError::Member(error)) => Err(ReadError::Member(error)),
                Err(_) => Ok(Stretch { source: Source::Stored { file: raw, at: offset }, end: end.min(raw.size()) }),
            },
            Backing::Qcow2(image) if offset < image.size => image.stretch(offset, end.min(image.size)),
            Backing::None | Backing::Raw(_) | Backing::Qcow2(_) => Ok(zero),
        }
    }

    /// What the image's own tables say of the bytes from `offset` on, and how far that holds.
    fn own(&self, offset: u64, limit: u64) -> Result<(Own, u64), ReadError> {
        let span = self.layout.table_span();
        let mut at_hand = AtHand::default();
        let table_end = |index: u64| index.saturating_add(1).saturating_mul(span).min(limit);
        let first = offset / span;
        let mut index = first;
        // Tables that aren't there are alike, however many.
        loop {
            let end = table_end(index);
            if index >= u64::from(self.l1.1) {
                let what = "the L1 table ends before the disk does".into();
                let missing = Own::Damaged(Damage { table: "l1", entry_offset: None, what });
                return Ok(if index == first { (missing, limit) } else { (Own::Unallocated, table_end(index - 1)) });
            }
            let Some(entry_offset) = self.l1.0.checked_add(index * 8) else {
                return Ok((damage("l1", self.l1.0, "the L1 table lies beyond all files"), limit));
            };
            let flaw = match self.tables.number(&self.file, entry_offset, &mut at_hand)? {
                Number::Is(entry) => match entry::l2_table(entry, self.layout) {
                    Ok(None) if end >= limit || (index - first) as usize >= STEPS_MAX => return Ok((Own::Unallocated, end)),
                    Ok(None) => {
                        index += 1;
                        continue;
                    }
                    Ok(Some(_)) if index > first => return Ok((Own::Unallocated, table_end(index - 1))),
                    Ok(Some(table)) if table >= self.tables.end() => "the L2 table lies beyond the end of the file",
                    Ok(Some(table)) => return self.in_table(table, offset, end, &mut at_hand),
                    Err(flaw) => flaw,
                },
                Number::Missing => "this L1 entry lies beyond the end of the file",
                Number::Unreadable => "this L1 entry can't be read",
            };
            return Ok(if index > first { (Own::Unallocated, table_end(index - 1)) } else { (damage("l1", entry_offset, flaw), end) });
        }
    }

    /// The same in the L2 table at `table`; it leads to bytes up to `end` at least.
    fn in_table(&self, table: u64, offset: u64, end: u64, at_hand: &mut AtHand) -> Result<(Own, u64), ReadError> {
        let layout = self.layout;
        let (cluster_bytes, entry_bytes) = (layout.cluster_bytes(), layout.entry_bytes());
        let unit = if layout.extended_l2 { cluster_bytes / SUBCLUSTERS } else { cluster_bytes };
        let entry_of = |at: u64| table + (at % layout.table_span() / cluster_bytes) * entry_bytes;
        let mut found: Option<(Part, u64)> = None;
        let mut at = offset;
        let mut entry = (0, 0);
        let mut read_for = u64::MAX;
        for _ in 0..STEPS_MAX {
            let (entry_offset, cluster) = (entry_of(at), at - at % cluster_bytes);
            if read_for != cluster {
                entry = match self.entry(entry_offset, at_hand)? {
                    Ok(entry) => entry,
                    Err(_) if found.is_some() => break,
                    Err(Number::Missing) => return Ok((damage("l2", entry_offset, "this L2 entry lies beyond the end of the file"), end)),
                    Err(_) => {
                        // All entries of the sector are lost.
                        let entries = (SECTOR - entry_offset % SECTOR).div_ceil(entry_bytes);
                        let lost = cluster.saturating_add(entries * cluster_bytes);
                        return Ok((damage("l2", entry_offset, "this L2 entry can't be read"), lost.min(end)));
                    }
                };
                read_for = cluster;
            }
            let part = entry::part(entry.0, entry.1, at % cluster_bytes / unit, cluster, layout);
            match &found {
                None => found = Some((part, entry_offset)),
                Some((first, _)) if continues(*first, offset, part, at, cluster_bytes) => {}
                Some(_) => break,
            }
            at = if matches!(part, Part::Compressed { .. } | Part::Bad(_)) { cluster + cluster_bytes } else { at - at % unit + unit };
            if at >= end || matches!(part, Part::Compressed { .. } | Part::Bad(_)) {
                break;
            }
        }
        let (part, entry_offset) = found.expect("the first entry was looked at");
        let own = match part {
            Part::Unallocated => Own::Unallocated,
            Part::Zero => Own::Zero,
            Part::Stored { cluster } => Own::Stored { at: cluster + offset % cluster_bytes, entry_offset },
            Part::Compressed { at, length } => Own::Compressed { at, length, entry_offset },
            Part::Bad(flaw) => damage("l2", entry_offset, flaw),
        };
        Ok((own, at.min(end)))
    }

    /// An L2 entry, with its bitmap where it has one.
    fn entry(&self, offset: u64, at_hand: &mut AtHand) -> Result<Result<(u64, u64), Number>, ReadError> {
        let mut number = |at| self.tables.number(&self.file, at, at_hand);
        let entry = match number(offset)? {
            Number::Is(entry) => entry,
            lost => return Ok(Err(lost)),
        };
        if !self.layout.extended_l2 {
            return Ok(Ok((entry, 0)));
        }
        Ok(match number(offset + 8)? {
            Number::Is(bitmap) => Ok((entry, bitmap)),
            lost => Err(lost),
        })
    }

    /// The cluster whose compressed bytes start at `at`; none where they don't inflate to a whole one.
    ///
    /// # Errors
    /// As for reading the file.
    pub(super) fn inflated(&self, at: u64, length: u64, bounce: &mut Option<Buffer>) -> Result<Option<Arc<[u8]>>, ReadError> {
        if let Some(cluster) = self.tables.cluster(at) {
            return Ok(Some(cluster));
        }
        let mut cluster = vec![0; self.layout.cluster_bytes() as usize];
        if !self.inflate_to(at, length, &mut cluster, bounce)? {
            return Ok(None);
        }
        let cluster: Arc<[u8]> = cluster.into();
        self.tables.keep_cluster(at, Arc::clone(&cluster));
        Ok(Some(cluster))
    }

    /// The same to a place of the caller's, which has room for a cluster.
    pub(super) fn inflate_to(&self, at: u64, length: u64, cluster: &mut [u8], bounce: &mut Option<Buffer>) -> Result<bool, ReadError> {
        if let Some(why) = self.tables.lost(at, length) {
            return as_before(why).map(|()| false);
        }
        let mut compressed = vec![0; self.held(at, length) as usize];
        self.file.read(at, &mut compressed, bounce).inspect_err(|error| {
            if let ReadError::Medium(error) = error {
                self.tables.remember_lost(at, length, Lost::Unreadable(error.raw_os_error()));
            }
        })?;
        let inflates = inflate(self.header.compression, &compressed, cluster).is_some();
        if !inflates {
            self.tables.remember_lost(at, length, Lost::Garbage);
        }
        Ok(inflates)
    }

    /// How many of `length` compressed bytes from `at` on the file holds: the last one's sector may end behind it.
    pub(super) fn held(&self, at: u64, length: u64) -> u64 {
        length.min(self.tables.end().saturating_sub(at))
    }

    /// The same past the page cache, and past what is remembered of it.
    pub(super) fn inflate_anew(&self, at: u64, length: u64, cluster: &mut [u8], bounce: &mut Option<Buffer>) -> Result<bool, ReadError> {
        let mut compressed = vec![0; self.held(at, length) as usize];
        self.file.read_anew(at, &mut compressed, bounce)?;
        Ok(inflate(self.header.compression, &compressed, cluster).is_some())
    }
}

/// What was found of a lost cluster is found once more.
fn as_before(why: Lost) -> Result<(), ReadError> {
    match why {
        Lost::Garbage => Ok(()),
        Lost::Unreadable(errno) => {
            let error = errno.map_or_else(|| io::Error::other("its compressed bytes can't be read"), io::Error::from_raw_os_error);
            Err(ReadError::Medium(error))
        }
    }
}

/// A stored stretch, unless the file itself has a hole there.
fn stored(file: &RawMember, at: u64, offset: u64, end: u64) -> Stretch<'_> {
    let stored = |end| Stretch { source: Source::Stored { file, at }, end };
    if end - offset < HOLES_BYTES_MIN || at >= file.size() {
        return stored(end);
    }
    match file.extent(at) {
        Ok(Extent::Zero(zeros)) => Stretch { source: Source::Zero, end: end.min(offset + (zeros - at)) },
        Ok(Extent::Data(data)) => stored(end.min(offset + (data - at))),
        Err(_) => stored(end),
    }
}

/// Whether `part` at `at` goes on with what `first` at `offset` began.
fn continues(first: Part, offset: u64, part: Part, at: u64, cluster_bytes: u64) -> bool {
    match (first, part) {
        (Part::Unallocated, Part::Unallocated) | (Part::Zero, Part::Zero) => true,
        (Part::Stored { cluster: first }, Part::Stored { cluster }) => {
            cluster + at % cluster_bytes == first + offset % cluster_bytes + (at - offset)
        }
        _ => false,
    }
}

impl Stretch<'_> {
    /// The stretch as a range that starts at `offset`.
    pub(super) fn range(&self, offset: u64) -> ByteRange {
        ByteRange::new(offset, self.end)
    }
}

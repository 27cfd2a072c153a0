//! NTFS: where its table of files lies, and what its records hold. Sources: Linux, `fs/ntfs3/ntfs.h` (`ATTRIB`, `MFT_REC`,
//! `ATTR_FILE_NAME`, `ATTR_LIST_ENTRY`) and `fs/ntfs3/run.c` (`run_unpack`).

use std::collections::BTreeSet;

use super::{
    super::{
        ReadAt, bytes_at,
        fields::{le16, le32, le64},
    },
    owner::Patience,
};

/// What an update sequence number guards, in bytes.
const STRIDE: usize = 512;
/// Runs of the table of files, and bytes of an attribute that isn't in its record, that are heeded.
const RUNS_MAX: usize = 1 << 20;
const VALUE_MAX: u64 = 1 << 20;

/// Kinds of attributes.
pub(super) const ATTRIBUTE_LIST: u32 = 0x20;
pub(super) const FILE_NAME: u32 = 0x30;
pub(super) const DATA: u32 = 0x80;
const END: u32 = 0xffff_ffff;

/// Clusters of an attribute: from which of it on, where they lie on the volume, how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) virtual_cluster: u64,
    pub(super) cluster: u64,
    pub(super) count: u64,
}

/// A volume that was found.
pub(super) struct Ntfs<'a, F: ?Sized> {
    pub(super) from: &'a F,
    pub(super) start: u64,
    pub(super) cluster_bytes: u64,
    pub(super) clusters: u64,
    /// Where its last sector lies, which keeps a copy of the first, and how long that is.
    pub(super) last_sector: (u64, u64),
    pub(super) record_bytes: usize,
    pub(super) patience: Patience<'a>,
    /// Where its table of files lies.
    table: Vec<Run>,
}

/// A record of the table of files, its update sequence undone.
pub(super) struct Record(Vec<u8>);

/// An attribute of a record.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u32,
    pub(super) is_named: bool,
    bytes: &'a [u8],
}

impl<'a, F: ReadAt + ?Sized> Ntfs<'a, F> {
    pub(super) fn at(from: &'a F, start: u64, patience: Patience<'a>) -> Option<Self> {
        let boot = bytes_at(from, start, STRIDE)?;
        let sector_bytes = u64::from(le16(&boot, 0x0b));
        // More than 128: an exponent, negated.
        let sectors = if boot[0x0d] > 128 { 1u64.checked_shl(256 - u32::from(boot[0x0d]))? } else { u64::from(boot[0x0d]) };
        let cluster_bytes = sector_bytes.checked_mul(sectors)?;
        let size = boot[0x40].cast_signed();
        let record_bytes =
            if size < 0 { 1u64.checked_shl(u32::from(size.unsigned_abs()))? } else { cluster_bytes.checked_mul(u64::from(boot[0x40]))? };
        let fits = &boot[3..11] == b"NTFS    "
            && sector_bytes >= STRIDE as u64
            && cluster_bytes.is_power_of_two()
            && cluster_bytes <= 2 << 20
            && record_bytes.is_power_of_two()
            && (1024..=65536).contains(&record_bytes);
        if !fits {
            return None;
        }
        let clusters = le64(&boot, 0x28) / sectors;
        let last_sector = (le64(&boot, 0x28).checked_mul(sector_bytes)?, sector_bytes);
        let first = Run { virtual_cluster: 0, cluster: le64(&boot, 0x30), count: record_bytes.div_ceil(cluster_bytes) };
        let mut volume =
            Self { from, start, cluster_bytes, clusters, last_sector, record_bytes: record_bytes as usize, patience, table: vec![first] };
        let own = volume.record(0)?;
        volume.table = own.attributes().filter(|attribute| attribute.kind == DATA).flat_map(|data| data.runs()).collect();
        // Where it is in many pieces, other records say where the rest of it lies, which may lie in the rest themselves.
        let list = own.attributes().find(|attribute| attribute.kind == ATTRIBUTE_LIST).and_then(|list| volume.value(&list));
        let mut others = named_in(&list.unwrap_or_default(), DATA);
        others.remove(&0);
        let mut more = true;
        while std::mem::take(&mut more) {
            for other in others.clone() {
                let record = volume.record(other).filter(|record| record.base() == Some(0));
                if record.is_some_and(|record| volume.learn(&record)) {
                    others.remove(&other);
                    more = true;
                }
            }
        }
        Some(volume)
    }

    /// Records that the table has room for, as far as it is known.
    pub(super) fn records(&self) -> u64 {
        let end = self.table.last().map_or(0, |run| run.virtual_cluster.saturating_add(run.count));
        end.saturating_mul(self.cluster_bytes) / self.record_bytes as u64
    }

    /// A record that continues the table's own says where more of it lies; false where something before that isn't known yet.
    fn learn(&mut self, more: &Record) -> bool {
        let known = self.table.last().map_or(0, |run| run.virtual_cluster.saturating_add(run.count));
        let data = more.attributes().filter(|attribute| attribute.kind == DATA);
        let new: Vec<Run> = data.flat_map(|data| data.runs()).filter(|run| run.virtual_cluster >= known).collect();
        let fits = new.first().is_some_and(|run| run.virtual_cluster == known) && self.table.len() + new.len() <= RUNS_MAX;
        if fits {
            self.table.extend(new);
        }
        fits
    }

    /// Bytes of the volume.
    fn bytes(&self, within: u64, length: usize) -> Option<Vec<u8>> {
        bytes_at(self.from, self.start.checked_add(within)?, length)
    }

    /// Bytes of what `runs` hold.
    pub(super) fn stretch(&self, runs: &[Run], offset: u64, length: usize) -> Option<Vec<u8>> {
        let (mut bytes, end) = (Vec::with_capacity(length), offset.checked_add(length as u64)?);
        let mut at = offset;
        while at < end {
            let cluster = at / self.cluster_bytes;
            let next = runs.partition_point(|run| run.virtual_cluster <= cluster);
            let run = runs.get(next.checked_sub(1)?)?;
            let into = cluster - run.virtual_cluster;
            if into >= run.count || run.cluster.checked_add(run.count)? > self.clusters {
                return None;
            }
            let left = (run.count - into).saturating_mul(self.cluster_bytes) - at % self.cluster_bytes;
            let count = left.min(end - at);
            let place = (run.cluster + into).checked_mul(self.cluster_bytes)? + at % self.cluster_bytes;
            bytes.extend(self.bytes(place, count as usize)?);
            at += count;
        }
        Some(bytes)
    }

    /// Bytes of the table of files.
    pub(super) fn of_table(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        self.stretch(&self.table, offset, length)
    }

    /// The record of that number, where it is in use and whole.
    pub(super) fn record(&mut self, number: u64) -> Option<Record> {
        if !self.patience.one_more() {
            return None;
        }
        Record::of(self.of_table(number.checked_mul(self.record_bytes as u64)?, self.record_bytes)?)
    }

    /// What an attribute holds, in its record or out of it.
    pub(super) fn value(&self, attribute: &Attribute<'_>) -> Option<Vec<u8>> {
        if let Some(value) = attribute.resident() {
            return Some(value.to_vec());
        }
        let length = attribute.length().filter(|&length| length <= VALUE_MAX)?;
        self.stretch(&attribute.runs(), 0, length as usize)
    }
}

/// The records that an attribute list names for attributes of a kind.
pub(super) fn named_in(list: &[u8], kind: u32) -> BTreeSet<u64> {
    let mut records = BTreeSet::new();
    let mut at = 0;
    while let Some(entry) = list.get(at..).filter(|rest| rest.len() >= 0x1a) {
        let length = usize::from(le16(entry, 4));
        if length < 0x1a {
            break;
        }
        if le32(entry, 0) == kind {
            records.insert(le64(entry, 0x10) & 0xffff_ffff_ffff);
        }
        at += length;
    }
    records
}

impl Record {
    /// The record that these bytes are, if it is in use and was written whole.
    pub(super) fn of(mut bytes: Vec<u8>) -> Option<Self> {
        let (at, count) = (usize::from(le16(&bytes, 4)), usize::from(le16(&bytes, 6)));
        if &bytes[..4] != b"FILE" || count != bytes.len() / STRIDE + 1 || at + count * 2 > STRIDE {
            return None;
        }
        // The last two bytes of each sector are kept aside, and were replaced by one number.
        for sector in 1..count {
            let end = sector * STRIDE - 2;
            if bytes[end..end + 2] != bytes[at..at + 2] {
                return None;
            }
            bytes.copy_within(at + sector * 2..at + sector * 2 + 2, end);
        }
        (le16(&bytes, 0x16) & 1 != 0).then_some(Self(bytes))
    }

    pub(super) fn sequence(&self) -> u16 {
        le16(&self.0, 0x10)
    }

    /// The record that this one continues; none where it is one by itself.
    pub(super) fn base(&self) -> Option<u64> {
        let reference = le64(&self.0, 0x20);
        (reference != 0).then_some(reference & 0xffff_ffff_ffff)
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let mut at = usize::from(le16(&self.0, 0x14));
        std::iter::from_fn(move || {
            let rest = self.0.get(at..).filter(|rest| rest.len() >= 16)?;
            let (kind, length) = (le32(rest, 0), le32(rest, 4) as usize);
            let bytes = rest.get(..length).filter(|_| kind != END && length >= 24)?;
            at += length;
            Some(Attribute { kind, is_named: bytes[9] != 0, bytes })
        })
    }
}

impl<'a> Attribute<'a> {
    /// What is kept in the record itself.
    pub(super) fn resident(&self) -> Option<&'a [u8]> {
        let (length, at) = (le32(self.bytes, 0x10) as usize, usize::from(le16(self.bytes, 0x14)));
        (self.bytes[8] == 0).then(|| self.bytes.get(at..at.checked_add(length)?))?
    }

    /// How many bytes it holds, where they are elsewhere.
    fn length(&self) -> Option<u64> {
        (self.bytes[8] != 0 && self.bytes.len() >= 0x38).then(|| le64(self.bytes, 0x30))
    }

    /// Where its clusters lie; those that were never written lie nowhere.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        if self.bytes[8] == 0 || self.bytes.len() < 0x40 {
            return runs;
        }
        let mut virtual_cluster = le64(self.bytes, 0x10);
        let mut at = usize::from(le16(self.bytes, 0x20));
        let mut cluster = 0i64;
        // Each begins with the lengths of its two numbers, which are little-endian; the second is signed, and counts from the last.
        while let Some(&lengths) = self.bytes.get(at).filter(|&&lengths| lengths != 0) {
            let (counted, moved) = (usize::from(lengths & 15), usize::from(lengths >> 4));
            let number = |from: usize, length: usize| {
                let bytes = self.bytes.get(from..from + length).filter(|_| length <= 8)?;
                let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
                let mut full = [if negative { 0xff } else { 0 }; 8];
                full[..length].copy_from_slice(bytes);
                Some(i64::from_le_bytes(full))
            };
            let (Some(count), Some(distance)) = (number(at + 1, counted), number(at + 1 + counted, moved)) else { break };
            let (Ok(count), Some(next)) = (u64::try_from(count), cluster.checked_add(distance)) else { break };
            let Some(end) = virtual_cluster.checked_add(count).filter(|_| count > 0) else { break };
            if moved > 0 {
                cluster = next;
                let Ok(cluster) = u64::try_from(cluster) else { break };
                runs.push(Run { virtual_cluster, cluster, count });
            }
            virtual_cluster = end;
            at += 1 + counted + moved;
        }
        runs
    }
}

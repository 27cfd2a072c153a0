//! Whether an image's books are right, so that it may be written to: every cluster that is in use must be counted, or a new one would be
//! taken where data lies; and a cluster that is said to be used once must not be met twice. Each L2 table is gone through once in a pass,
//! however many snapshots share it, and holes aren't gone through at all: the time is bounded by what the file holds.

use std::ops::Range;

use super::{
    entry::{self, COPIED, Part, SUBCLUSTERS},
    snapshots::read_snapshots,
    tables::AtHand,
    voter::Qcow2Member,
};
use crate::member::{Extent, Readable, Unsound};

/// Clusters of the file whose uses are counted at a time, in two bytes each; for more of them the L2 tables are gone through again.
const COUNTED_MAX: u64 = 32 << 20;
/// How often they are gone through at most: 16 TiB of file at clusters of 64 KiB.
const PASSES_MAX: u64 = 8;
/// Entries of all L1 tables together: those of 500 snapshots of 64 TiB in clusters of 64 KiB.
const L1_ENTRIES_MAX: u64 = 64 << 20;
/// L2 tables: those of 2 PiB in clusters of 64 KiB.
const L2_TABLES_MAX: usize = 4 << 20;
/// Mentions of L2 tables that are gathered before they are put together.
const MENTIONS_MAX: usize = 2 << 20;
/// Entries between two looks at whether to stop.
const ENTRIES_AT_ONCE: u64 = 4096;

/// Bits of an L1 entry that must be 0 ("L1 table entry"), of a standard cluster's L2 entry ("Standard Cluster Descriptor"), and of a
/// refcount table's entry ("Refcount table entry"). QEMU ignores them; whoever writes doesn't know what they mean.
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
const REFCOUNT_RESERVED: u64 = 0x1ff;

/// What is known of a cluster's uses where it is met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// There may be others.
    Any,
    /// There is no other.
    Only,
    /// A bit of the active tables says whether there are others.
    Told(bool),
}

/// An L1 table: where it lies, its entries, and whether it is the active one.
type L1 = (u64, u32, bool);

/// An L2 table by its cluster's number, and how many L1 entries lead there, with this bit.
type L2 = (u32, u32);
/// One of them is of the active table.
const OF_ACTIVE: u32 = 1 << 31;

/// What is known of clusters that nothing refers to.
struct Books {
    free: u64,
    lost: u64,
}

/// How often clusters were met, of a part of the file.
struct Met {
    /// The part, as numbers of clusters.
    part: Range<u64>,
    /// Clusters of the whole file.
    clusters: u64,
    uses: Vec<u16>,
}

impl Met {
    fn unused(&self) -> impl Iterator<Item = u64> {
        self.part.clone().zip(&self.uses).filter(|(_, uses)| **uses == 0).map(|(cluster, _)| cluster)
    }
}

impl Qcow2Member {
    /// Looks through all tables; writes nothing. How many clusters of its file are free, up to `wanted`.
    ///
    /// # Errors
    /// What is wrong, or where it was stopped.
    pub(super) fn verify_books(&self, wanted: u64, stopped: &dyn Fn() -> bool) -> Result<u64, Unsound> {
        Ok(self.books(wanted, false, stopped)?.free)
    }

    /// How many clusters of its file are counted and not used, where all tables are sound: lost until qemu-img check -r leaks frees them.
    ///
    /// # Errors
    /// As above.
    pub(super) fn lost_clusters(&self, stopped: &dyn Fn() -> bool) -> Result<u64, Unsound> {
        Ok(self.books(0, true, stopped)?.lost)
    }

    fn books(&self, wanted: u64, counts_lost: bool, stopped: &dyn Fn() -> bool) -> Result<Books, Unsound> {
        let clusters = self.image.tables.end().div_ceil(self.header().cluster_bytes());
        if clusters.div_ceil(COUNTED_MAX) > PASSES_MAX {
            return Err(Unsound::Unable("its file has too many clusters to be looked through".into()));
        }
        let header = self.header();
        let (snapshots, flaw) = read_snapshots(&self.image.file, header);
        if let Some(flaw) = flaw {
            return Err(flaw.into());
        }
        // Version 3 demands what tells its size ("Snapshot table entry").
        if let Some(number) = snapshots.iter().position(|snapshot| snapshot.size.is_none()).filter(|_| header.version >= 3) {
            return Err(format!("entry {number} of its snapshot table is incomplete").into());
        }
        let snapshots_end = snapshots.last().map_or(header.snapshots_offset, |last| last.end);
        let mut tables: Vec<L1> = snapshots.iter().map(|snapshot| (snapshot.l1.0, snapshot.l1.1, false)).collect();
        tables.push((header.l1_offset, header.l1_entries, true));
        refuse_odd_tables(&mut tables)?;
        let l2_tables = self.l2_tables(&tables, clusters, stopped)?;
        let mut books = Books { free: 0, lost: 0 };
        for start in (0..clusters).step_by(COUNTED_MAX as usize) {
            let part = start..(start + COUNTED_MAX).min(clusters);
            let mut met = Met { uses: vec![0; (part.end - part.start) as usize], part, clusters };
            self.verify_part(&mut met, (&tables, &l2_tables), snapshots_end, stopped)?;
            for cluster in met.unused() {
                if books.free == wanted && !counts_lost {
                    break;
                }
                // What is counted and not used is lost, and not free.
                let free = self.count(cluster)? == 0;
                books.free += u64::from(free && books.free < wanted);
                books.lost += u64::from(!free);
            }
        }
        Ok(books)
    }

    fn verify_part(
        &self,
        met: &mut Met,
        (l1_tables, l2_tables): (&[L1], &[L2]),
        snapshots_end: u64,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), Unsound> {
        let header = self.header();
        let starts = [("refcount table", header.refcount_table_offset), ("snapshot table", header.snapshots_offset)];
        if let Some((what, at)) = starts.iter().find(|(_, at)| !at.is_multiple_of(header.cluster_bytes())) {
            return Err(format!("its {what} would lie at {at:#x}, which is no cluster's start").into());
        }
        self.meet(met, 0, 1, 1, Use::Any, "the header")?;
        let table_bytes = u64::from(header.refcount_table_clusters) * header.cluster_bytes();
        self.meet(met, header.refcount_table_offset, table_bytes, 1, Use::Only, "the refcount table")?;
        let mut at_hand = AtHand::default();
        for index in 0..table_bytes / 8 {
            let block = self.number(header.refcount_table_offset + index * 8, &mut at_hand)?;
            refuse_reserved(block & REFCOUNT_RESERVED, "refcount table", header.refcount_table_offset + index * 8)?;
            if block != 0 {
                self.meet(met, block, header.cluster_bytes(), 1, Use::Only, "a refcount block")?;
            }
        }
        let length = snapshots_end.saturating_sub(header.snapshots_offset);
        self.meet(met, header.snapshots_offset, length, 1, Use::Only, "the snapshot table")?;
        for &(offset, entries, _) in l1_tables {
            self.meet(met, offset, u64::from(entries) * 8, 1, Use::Any, "an L1 table")?;
        }
        for &(cluster, uses) in l2_tables {
            let table = u64::from(cluster) * header.cluster_bytes();
            self.meet(met, table, header.cluster_bytes(), uses & !OF_ACTIVE, Use::Any, "an L2 table")?;
            self.verify_l2(met, table, uses, stopped)?;
        }
        // Used more often than counted: it would be given away while something still lies there. Counted more often: that only wastes it.
        for (cluster, &uses) in met.part.clone().zip(&met.uses).filter(|(_, uses)| **uses > 0) {
            let count = self.count(cluster)?;
            if u64::from(uses) > count {
                let at = cluster * header.cluster_bytes();
                return Err(format!("the cluster at {at:#x} is in use {uses} times, and its refcount is {count}").into());
            }
        }
        Ok(())
    }

    /// All L2 tables, in the order of the file. In the active L1 table a bit tells which of them are used once ("L1 table entry").
    fn l2_tables(&self, l1_tables: &[L1], clusters: u64, stopped: &dyn Fn() -> bool) -> Result<Vec<L2>, Unsound> {
        let layout = self.image.layout;
        let (mut tables, mut mentions) = (Vec::new(), Vec::new());
        for &(offset, entries, active) in l1_tables {
            let (mut at_hand, mut index) = (AtHand::default(), 0);
            while index < u64::from(entries) {
                refuse_interrupted(index, stopped)?;
                let place = offset + index * 8;
                if index.is_multiple_of(ENTRIES_AT_ONCE)
                    && let Some(end) = self.hole_at(place)
                {
                    index += (end - place) / 8 / ENTRIES_AT_ONCE * ENTRIES_AT_ONCE;
                    if end - place >= ENTRIES_AT_ONCE * 8 {
                        continue;
                    }
                }
                let entry = self.number(place, &mut at_hand)?;
                index += 1;
                refuse_reserved(entry & L1_RESERVED, "L1", place)?;
                let Some(table) = entry::l2_table(entry, layout)? else {
                    refuse_reserved(entry & COPIED, "L1", place)?;
                    continue;
                };
                let cluster = table / layout.cluster_bytes();
                if cluster >= clusters {
                    return Err(format!("an L2 table lies at {table:#x}, beyond the end of the file").into());
                }
                // One that is said to be used once is counted once, then; and if it is met twice, more often than counted.
                if active && (entry & COPIED != 0) != (self.count(cluster)? == 1) {
                    return Err(not_as_said(told(active, entry), "an L2 table", table, self.count(table / self.header().cluster_bytes())?));
                }
                mentions.push((cluster as u32, 1 | if active { OF_ACTIVE } else { 0 }));
                if mentions.len() == MENTIONS_MAX {
                    put_together(&mut tables, &mut mentions)?;
                }
            }
        }
        put_together(&mut tables, &mut mentions)?;
        Ok(tables)
    }

    /// Where the hole of its file ends that lies at `offset`, if there is one.
    fn hole_at(&self, offset: u64) -> Option<u64> {
        match self.image.file.extent(offset) {
            Ok(Extent::Zero(end)) if end > offset => Some(end),
            _ => None,
        }
    }

    /// The entries of the L2 table at `table`, to which so many L1 entries lead (see [`OF_ACTIVE`]).
    fn verify_l2(&self, met: &mut Met, table: u64, uses: u32, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let layout = self.image.layout;
        if self.hole_at(table).is_some_and(|end| end >= table + layout.cluster_bytes()) {
            return Ok(());
        }
        let (active, times) = (uses & OF_ACTIVE != 0, uses & !OF_ACTIVE);
        let mut at_hand = AtHand::default();
        let parts = if layout.extended_l2 { SUBCLUSTERS } else { 1 };
        for index in 0..layout.cluster_bytes() / layout.entry_bytes() {
            refuse_interrupted(index, stopped)?;
            let place = table + index * layout.entry_bytes();
            let entry = self.number(place, &mut at_hand)?;
            let bitmap = if layout.extended_l2 { self.number(place + 8, &mut at_hand)? } else { 0 };
            let host = entry & entry::OFFSET;
            // Any part tells of a contradiction, and a cluster may be allocated though all of it reads as zeros.
            let part =
                (0..parts).map(|number| entry::part(entry, bitmap, number, host, layout)).find(|part| !matches!(part, Part::Unallocated));
            match part {
                Some(Part::Bad(flaw)) => return Err(format!("{flaw} (entry at {place:#x})").into()),
                Some(Part::Compressed { .. }) if entry & COPIED != 0 => refuse_reserved(COPIED, "L2", place)?,
                Some(Part::Compressed { at, length }) => self.meet(met, at, length, times, Use::Any, "a compressed cluster")?,
                _ if host == 0 && !layout.external_data => refuse_reserved(entry & (L2_RESERVED | COPIED), "L2", place)?,
                _ if !layout.external_data => {
                    refuse_reserved(entry & L2_RESERVED, "L2", place)?;
                    self.meet(met, host, layout.cluster_bytes(), times, told(active, entry), "a cluster")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What lies in `length` bytes from `at` on is in use, `times` times.
    fn meet(&self, met: &mut Met, at: u64, length: u64, times: u32, uses: Use, what: &str) -> Result<(), Unsound> {
        if length == 0 {
            return Ok(());
        }
        let cluster_bytes = self.header().cluster_bytes();
        let last = at.checked_add(length - 1).ok_or("its tables lead beyond all files")? / cluster_bytes;
        for cluster in at / cluster_bytes..=last {
            if cluster >= met.clusters {
                return Err(format!("{what} lies at {at:#x}, beyond the end of the file").into());
            }
            if !met.part.contains(&cluster) {
                continue;
            }
            let count = &mut met.uses[(cluster - met.part.start) as usize];
            *count = count.saturating_add(u16::try_from(times).unwrap_or(u16::MAX));
            let wrong = match uses {
                Use::Any => false,
                Use::Only => *count > 1 || self.count(cluster)? != 1,
                // As QEMU's check has it (block/qcow2-refcount.c, `check_oflag_copied`).
                Use::Told(once) => (once && *count > 1) || once != (self.count(cluster)? == 1),
            };
            if wrong {
                return Err(not_as_said(uses, what, at, self.count(cluster)?));
            }
        }
        Ok(())
    }
}

fn not_as_said(uses: Use, what: &str, at: u64, refcount: u64) -> Unsound {
    match (uses, refcount) {
        (Use::Only | Use::Told(true), 1) => format!("{what} at {at:#x} is in use more than once, and its refcount is 1").into(),
        (Use::Only, _) => format!("{what} at {at:#x} is in use once, and its refcount is {refcount}").into(),
        (Use::Told(false), _) => format!("{what} at {at:#x} is said to have several users, and its refcount is {refcount}").into(),
        _ => format!("{what} at {at:#x} is said to have one user, and its refcount is {refcount}").into(),
    }
}

/// Adds the mentions to the tables: each of them once, in the order of the file.
fn put_together(tables: &mut Vec<L2>, mentions: &mut Vec<L2>) -> Result<(), Unsound> {
    tables.append(mentions);
    tables.sort_unstable();
    tables.dedup_by(|next, first| {
        let same = next.0 == first.0;
        if same {
            first.1 = ((first.1 & !OF_ACTIVE) + (next.1 & !OF_ACTIVE)) | (first.1 | next.1) & OF_ACTIVE;
        }
        same
    });
    if tables.len() > L2_TABLES_MAX { Err(Unsound::Unable("it has too many tables to be looked through".into())) } else { Ok(()) }
}

/// L1 tables that lie on each other, or would take too long; puts them in the order of the file.
fn refuse_odd_tables(tables: &mut Vec<L1>) -> Result<(), Unsound> {
    tables.retain(|(_, entries, _)| *entries > 0);
    tables.sort_unstable();
    if let Some(pair) = tables.windows(2).find(|pair| pair[0].0.saturating_add(u64::from(pair[0].1) * 8) > pair[1].0) {
        return Err(format!("its L1 tables at {:#x} and {:#x} lie on each other", pair[0].0, pair[1].0).into());
    }
    if tables.iter().map(|(_, entries, _)| u64::from(*entries)).sum::<u64>() > L1_ENTRIES_MAX {
        return Err(Unsound::Unable("its snapshots have too many tables to be looked through".into()));
    }
    Ok(())
}

fn refuse_interrupted(index: u64, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
    if index.is_multiple_of(ENTRIES_AT_ONCE) && stopped() { Err("it was interrupted".into()) } else { Ok(()) }
}

fn told(active: bool, entry: u64) -> Use {
    if active { Use::Told(entry & COPIED != 0) } else { Use::Any }
}

fn refuse_reserved(bits: u64, table: &str, at: u64) -> Result<(), Unsound> {
    if bits == 0 {
        Ok(())
    } else {
        Err(format!("the entry at {at:#x} of its {table} table has bits set that must be 0 ({bits:#x})").into())
    }
}

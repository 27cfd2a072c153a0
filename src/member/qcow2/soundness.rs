//! Whether an image's books are right, so that it may be written to: every cluster that is in use must be counted, or a new one would be
//! taken where data lies; and a cluster that is said to be used once must not be met twice. Each table is gone through once, however
//! many snapshots share it: the time is bounded by the length of the file.

use std::ops::Range;

use super::{
    Qcow2Member,
    entry::{self, COPIED, Part, SUBCLUSTERS},
    ownership::Unsound,
    snapshots::read_snapshots,
    tables::AtHand,
};

/// Clusters of the file whose uses are counted at a time, in two bytes each, and L2 tables among them in four; for more of them the
/// tables are gone through again.
const COUNTED_MAX: u64 = 16 << 20;
/// How often they are gone through at most: 16 TiB of file at clusters of 64 KiB.
const PASSES_MAX: u64 = 16;
/// Entries of all L1 tables together: those of 2000 snapshots of 64 TiB in clusters of 64 KiB.
const L1_ENTRIES_MAX: u64 = 256 << 20;
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

/// L2 tables in a part of the file: how many L1 entries lead there, and whether one of them is of the active table.
const OF_ACTIVE: u32 = 1 << 31;

/// How often clusters were met, of a part of the file.
struct Met {
    /// The part, as numbers of clusters.
    part: Range<u64>,
    /// Clusters of the whole file.
    clusters: u64,
    uses: Vec<u16>,
}

impl Qcow2Member {
    /// Looks through all tables; writes nothing. How many clusters of its file are free.
    ///
    /// # Errors
    /// What is wrong, or where it was stopped.
    pub fn verify_books(&self, stopped: &dyn Fn() -> bool) -> Result<u64, Unsound> {
        let clusters = self.image().tables.end().div_ceil(self.header().cluster_bytes());
        if clusters.div_ceil(COUNTED_MAX) > PASSES_MAX {
            return Err(Unsound::TooMuch("its file has too many clusters to be looked through"));
        }
        let header = self.header();
        let (snapshots, flaw) = read_snapshots(self.file(), header);
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
        let mut free = 0;
        for part in parts(clusters) {
            let mut met = Met { uses: vec![0; (part.end - part.start) as usize], part, clusters };
            self.verify_part(&mut met, &tables, snapshots_end, stopped)?;
            free += met.uses.iter().filter(|uses| **uses == 0).count() as u64;
        }
        Ok(free)
    }

    fn verify_part(&self, met: &mut Met, tables: &[L1], snapshots_end: u64, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
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
        for &table in tables {
            self.verify_l1(met, table, stopped)?;
        }
        for part in parts(met.clusters) {
            let mut uses = vec![0u32; (part.end - part.start) as usize];
            for &table in tables {
                self.count_l2(&mut uses, &part, table, stopped)?;
            }
            for (cluster, &uses) in part.zip(&uses).filter(|(_, uses)| **uses > 0) {
                self.verify_l2(met, cluster * header.cluster_bytes(), uses, stopped)?;
            }
        }
        // Used more often than counted: it would be given away while something still lies there. Counted more often: that only wastes it.
        for (cluster, &uses) in met.part.clone().zip(&met.uses).filter(|(_, uses)| **uses > 0) {
            let count = self.count(cluster)?;
            if u64::from(uses) > count {
                let at = cluster * header.cluster_bytes();
                return Err(format!("the cluster at {at:#x} is used {uses} times, and counted {count} times").into());
            }
        }
        Ok(())
    }

    /// The entries of an L1 table. In the active one a bit tells which L2 tables are used once ("L1 table entry").
    fn verify_l1(&self, met: &mut Met, (offset, entries, active): L1, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let layout = self.image().layout;
        self.meet(met, offset, u64::from(entries) * 8, 1, Use::Any, "an L1 table")?;
        let mut at_hand = AtHand::default();
        for index in 0..u64::from(entries) {
            refuse_interrupted(index, stopped)?;
            let entry = self.number(offset + index * 8, &mut at_hand)?;
            refuse_reserved(entry & L1_RESERVED, "L1", offset + index * 8)?;
            if entry & entry::OFFSET == 0 {
                refuse_reserved(entry & COPIED, "L1", offset + index * 8)?;
            }
            if let Some(table) = entry::l2_table(entry, layout)? {
                self.meet(met, table, layout.cluster_bytes(), 1, told(active, entry), "an L2 table")?;
            }
        }
        Ok(())
    }

    /// Counts how often an L1 table leads to L2 tables in a part of the file.
    fn count_l2(&self, uses: &mut [u32], part: &Range<u64>, l1: L1, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let (offset, entries, active) = l1;
        let layout = self.image().layout;
        let mut at_hand = AtHand::default();
        for index in 0..u64::from(entries) {
            refuse_interrupted(index, stopped)?;
            let table = entry::l2_table(self.number(offset + index * 8, &mut at_hand)?, layout)?;
            let Some(cluster) = table.map(|table| table / layout.cluster_bytes()).filter(|cluster| part.contains(cluster)) else {
                continue;
            };
            let uses = &mut uses[(cluster - part.start) as usize];
            *uses = (*uses + 1) | if active { OF_ACTIVE } else { 0 };
        }
        Ok(())
    }

    /// The entries of the L2 table at `table`, to which so many L1 entries lead (see [`OF_ACTIVE`]).
    fn verify_l2(&self, met: &mut Met, table: u64, uses: u32, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let layout = self.image().layout;
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
                let said = if uses == Use::Told(false) { "more than once" } else { "once" };
                return Err(format!("{what} at {at:#x} is said to be used {said}, and isn't").into());
            }
        }
        Ok(())
    }
}

/// All clusters of a file, in parts of which the uses are counted.
fn parts(clusters: u64) -> impl Iterator<Item = Range<u64>> {
    (0..clusters).step_by(COUNTED_MAX as usize).map(move |start| start..(start + COUNTED_MAX).min(clusters))
}

/// L1 tables that lie on each other, or would take too long; puts them in the order of the file.
fn refuse_odd_tables(tables: &mut Vec<L1>) -> Result<(), Unsound> {
    tables.retain(|(_, entries, _)| *entries > 0);
    tables.sort_unstable();
    if let Some(pair) = tables.windows(2).find(|pair| pair[0].0.saturating_add(u64::from(pair[0].1) * 8) > pair[1].0) {
        return Err(format!("its L1 tables at {:#x} and {:#x} lie on each other", pair[0].0, pair[1].0).into());
    }
    if tables.iter().map(|(_, entries, _)| u64::from(*entries)).sum::<u64>() > L1_ENTRIES_MAX {
        return Err(Unsound::TooMuch("its snapshots have too many tables to be looked through"));
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

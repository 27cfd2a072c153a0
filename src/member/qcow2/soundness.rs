//! Whether an image's books are right, so that it may be written to: every cluster that is in use must be counted, or a new one would be
//! taken where data lies; and a cluster that is said to be used once must not be met twice.

use std::ops::Range;

use super::{
    Qcow2Member,
    entry::{self, COPIED, Part, SUBCLUSTERS},
    ownership::Unsound,
    snapshots::read_snapshots,
    tables::AtHand,
};

/// Clusters of the file whose uses are counted at a time, in two bytes each; for more of them the tables are gone through again.
const COUNTED_MAX: u64 = 32 << 20;
/// How often they are gone through at most: 16 TiB of file at clusters of 64 KiB.
const PASSES_MAX: u64 = 8;
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

/// How often clusters were met, of a part of the file.
struct Met {
    /// The part, as numbers of clusters.
    part: Range<u64>,
    /// Clusters of the whole file.
    clusters: u64,
    uses: Vec<u16>,
}

impl Qcow2Member {
    /// Looks through all tables; writes nothing.
    ///
    /// # Errors
    /// What is wrong, or where it was stopped.
    pub fn verify_books(&self, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let clusters = self.image().tables.end().div_ceil(self.header().cluster_bytes());
        if clusters.div_ceil(COUNTED_MAX) > PASSES_MAX {
            return Err("its file has too many clusters to be looked through".into());
        }
        for start in (0..clusters).step_by(COUNTED_MAX as usize) {
            let part = start..(start + COUNTED_MAX).min(clusters);
            self.verify_part(Met { uses: vec![0; (part.end - part.start) as usize], part, clusters }, stopped)?;
        }
        Ok(())
    }

    fn verify_part(&self, mut met: Met, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let header = self.header();
        let starts = [("refcount table", header.refcount_table_offset), ("snapshot table", header.snapshots_offset)];
        if let Some((what, at)) = starts.iter().find(|(_, at)| !at.is_multiple_of(header.cluster_bytes())) {
            return Err(format!("its {what} would lie at {at:#x}, which is no cluster's start"));
        }
        self.meet(&mut met, 0, 1, Use::Any, "the header")?;
        let table_bytes = u64::from(header.refcount_table_clusters) * header.cluster_bytes();
        self.meet(&mut met, header.refcount_table_offset, table_bytes, Use::Only, "the refcount table")?;
        let mut at_hand = AtHand::default();
        for index in 0..table_bytes / 8 {
            let block = self.number(header.refcount_table_offset + index * 8, &mut at_hand)?;
            refuse_reserved(block & REFCOUNT_RESERVED, "refcount table", header.refcount_table_offset + index * 8)?;
            if block != 0 {
                self.meet(&mut met, block, header.cluster_bytes(), Use::Only, "a refcount block")?;
            }
        }
        self.verify_tables(&mut met, (header.l1_offset, header.l1_entries), true, stopped)?;
        let (snapshots, flaw) = read_snapshots(self.file(), header);
        if let Some(flaw) = flaw {
            return Err(flaw);
        }
        if let Some(last) = snapshots.last() {
            let length = last.end.saturating_sub(header.snapshots_offset);
            self.meet(&mut met, header.snapshots_offset, length, Use::Only, "the snapshot table")?;
        }
        for snapshot in &snapshots {
            self.verify_tables(&mut met, snapshot.l1, false, stopped)?;
        }
        // Used more often than counted: it would be given away while something still lies there. Counted more often: that only wastes it.
        for (cluster, &uses) in met.part.clone().zip(&met.uses).filter(|(_, uses)| **uses > 0) {
            let count = self.count(cluster)?;
            if u64::from(uses) > count {
                let at = cluster * header.cluster_bytes();
                return Err(format!("the cluster at {at:#x} is used {uses} times, and counted {count} times"));
            }
        }
        Ok(())
    }

    /// An L1 table with all that it leads to. In the active one a bit tells which clusters are used once ("L1 table entry").
    fn verify_tables(&self, met: &mut Met, l1: (u64, u32), active: bool, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let layout = self.image().layout;
        self.meet(met, l1.0, u64::from(l1.1) * 8, Use::Any, "an L1 table")?;
        let mut at_hand = AtHand::default();
        for index in 0..u64::from(l1.1) {
            if index.is_multiple_of(ENTRIES_AT_ONCE) && stopped() {
                return Err("it was interrupted".into());
            }
            let entry = self.number(l1.0 + index * 8, &mut at_hand)?;
            refuse_reserved(entry & L1_RESERVED, "L1", l1.0 + index * 8)?;
            if entry & entry::OFFSET == 0 {
                refuse_reserved(entry & COPIED, "L1", l1.0 + index * 8)?;
            }
            if let Some(table) = entry::l2_table(entry, layout)? {
                self.meet(met, table, layout.cluster_bytes(), told(active, entry), "an L2 table")?;
                self.verify_table(met, table, index * layout.table_span(), active, stopped)?;
            }
        }
        Ok(())
    }

    fn verify_table(&self, met: &mut Met, table: u64, guest: u64, active: bool, stopped: &dyn Fn() -> bool) -> Result<(), Unsound> {
        let layout = self.image().layout;
        let mut at_hand = AtHand::default();
        let parts = if layout.extended_l2 { SUBCLUSTERS } else { 1 };
        for index in 0..layout.cluster_bytes() / layout.entry_bytes() {
            if index.is_multiple_of(ENTRIES_AT_ONCE) && stopped() {
                return Err("it was interrupted".into());
            }
            let place = table + index * layout.entry_bytes();
            let entry = self.number(place, &mut at_hand)?;
            let bitmap = if layout.extended_l2 { self.number(place + 8, &mut at_hand)? } else { 0 };
            let guest = guest.saturating_add(index * layout.cluster_bytes());
            // Any part tells of a contradiction, and a cluster may be allocated though all of it reads as zeros.
            let part =
                (0..parts).map(|number| entry::part(entry, bitmap, number, guest, layout)).find(|part| !matches!(part, Part::Unallocated));
            let host = entry & entry::OFFSET;
            match part {
                Some(Part::Bad(flaw)) => return Err(format!("{flaw} (entry at {place:#x})")),
                Some(Part::Compressed { .. }) if entry & COPIED != 0 => refuse_reserved(COPIED, "L2", place)?,
                Some(Part::Compressed { at, length }) => self.meet(met, at, length, Use::Any, "a compressed cluster")?,
                _ if host == 0 && !layout.external_data => refuse_reserved(entry & (L2_RESERVED | COPIED), "L2", place)?,
                _ if !layout.external_data => {
                    refuse_reserved(entry & L2_RESERVED, "L2", place)?;
                    self.meet(met, host, layout.cluster_bytes(), told(active, entry), "a cluster")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What lies in `length` bytes from `at` on is in use.
    fn meet(&self, met: &mut Met, at: u64, length: u64, uses: Use, what: &str) -> Result<(), Unsound> {
        if length == 0 {
            return Ok(());
        }
        let cluster_bytes = self.header().cluster_bytes();
        let last = at.checked_add(length - 1).ok_or("its tables lead beyond all files")? / cluster_bytes;
        for cluster in at / cluster_bytes..=last {
            if cluster >= met.clusters {
                return Err(format!("{what} lies at {at:#x}, beyond the end of the file"));
            }
            if !met.part.contains(&cluster) {
                continue;
            }
            let count = &mut met.uses[(cluster - met.part.start) as usize];
            *count = count.saturating_add(1);
            let wrong = match uses {
                Use::Any => false,
                Use::Only => *count > 1 || self.count(cluster)? != 1,
                // As QEMU's check has it (block/qcow2-refcount.c, `check_oflag_copied`).
                Use::Told(once) => (once && *count > 1) || once != (self.count(cluster)? == 1),
            };
            if wrong {
                let said = if uses == Use::Told(false) { "more than once" } else { "once" };
                return Err(format!("{what} at {at:#x} is said to be used {said}, and isn't"));
            }
        }
        Ok(())
    }
}

fn told(active: bool, entry: u64) -> Use {
    if active { Use::Told(entry & COPIED != 0) } else { Use::Any }
}

fn refuse_reserved(bits: u64, table: &str, at: u64) -> Result<(), Unsound> {
    if bits == 0 { Ok(()) } else { Err(format!("the entry at {at:#x} of its {table} table has bits set that must be 0 ({bits:#x})")) }
}

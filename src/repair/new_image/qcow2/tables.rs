//! L1 and L2 tables of a new image: the L1 table in memory, L2 tables as far as they are in use.

use std::io;

use lru::LruCache;

use crate::{
    member::qcow2::entry::{COMPRESSED, COPIED, OFFSET, decode_compressed, encode_compressed},
    sys::storage::Storage,
};

/// Bytes of L2 tables in memory, at most.
const TABLES_BYTES_MAX: usize = 16 << 20;

/// Where a guest's cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nowhere: zeros.
    None,
    /// As it is, at this offset.
    Standard(u64),
    /// Compressed, in so many bytes; read back, that is rounded up to sectors.
    Compressed { at: u64, length: u64 },
}

/// The tables.
pub(super) struct Tables {
    cluster_bits: u32,
    l1_offset: u64,
    l1: Vec<u64>,
    /// L2 tables by their number, with whether the file lacks something of them.
    cached: LruCache<u64, (Vec<u64>, bool)>,
}

impl Tables {
    pub(super) fn new(cluster_bits: u32, l1_offset: u64, l1_entries: u64) -> Self {
        Self { cluster_bits, l1_offset, l1: vec![0; l1_entries as usize], cached: LruCache::unbounded() }
    }

    /// Where the L1 table lies, and its entries.
    pub(super) fn l1(&self) -> (u64, u64) {
        (self.l1_offset, self.l1.len() as u64)
    }

    /// The number of a cluster's L2 table, and its place in it.
    fn place(&self, cluster: u64) -> (u64, usize) {
        let bits = self.cluster_bits - 3;
        (cluster >> bits, (cluster & ((1 << bits) - 1)) as usize)
    }

    /// Whether there is a table for that cluster.
    pub(super) fn has(&self, cluster: u64) -> bool {
        self.l1[self.place(cluster).0 as usize] != 0
    }

    /// A table for that cluster, at `host`.
    pub(super) fn add(&mut self, file: &dyn Storage, cluster: u64, host: u64) -> io::Result<()> {
        let (table, _) = self.place(cluster);
        self.l1[table as usize] = host | COPIED;
        self.keep(file, table, vec![0; 1 << (self.cluster_bits - 3)], true)
    }

    pub(super) fn get(&mut self, file: &dyn Storage, cluster: u64) -> io::Result<Entry> {
        if !self.has(cluster) {
            return Ok(Entry::None);
        }
        let (table, at) = self.place(cluster);
        let entry = self.table(file, table)?.0[at];
        Ok(self.decoded(entry))
    }

    pub(super) fn set(&mut self, file: &dyn Storage, cluster: u64, entry: Entry) -> io::Result<()> {
        let (table, at) = self.place(cluster);
        let entry = self.encoded(entry);
        let (entries, dirty) = self.table(file, table)?;
        entries[at] = entry;
        *dirty = true;
        Ok(())
    }

    fn encoded(&self, entry: Entry) -> u64 {
        match entry {
            Entry::None => 0,
            Entry::Standard(host) => host | COPIED,
            Entry::Compressed { at, length } => encode_compressed(at, length, self.cluster_bits),
        }
    }

    fn decoded(&self, entry: u64) -> Entry {
        if entry & COMPRESSED != 0 {
            let (at, length) = decode_compressed(entry, self.cluster_bits);
            Entry::Compressed { at, length }
        } else if entry & OFFSET != 0 {
            Entry::Standard(entry & OFFSET)
        } else {
            Entry::None
        }
    }

    fn table(&mut self, file: &dyn Storage, table: u64) -> io::Result<&mut (Vec<u64>, bool)> {
        if !self.cached.contains(&table) {
            let mut bytes = vec![0; 1 << self.cluster_bits];
            file.read(self.l1[table as usize] & OFFSET, &mut bytes)?;
            let entries = bytes.chunks_exact(8).map(|entry| u64::from_be_bytes(entry.try_into().expect("eight bytes"))).collect();
            self.keep(file, table, entries, false)?;
        }
        Ok(self.cached.get_mut(&table).expect("just put there"))
    }

    fn keep(&mut self, file: &dyn Storage, table: u64, entries: Vec<u64>, dirty: bool) -> io::Result<()> {
        while (self.cached.len() + 1) << self.cluster_bits > TABLES_BYTES_MAX
            && let Some((old, (entries, dirty))) = self.cached.pop_lru()
        {
            if dirty {
                write(file, self.l1[old as usize] & OFFSET, &entries)?;
            }
        }
        self.cached.put(table, (entries, dirty));
        Ok(())
    }

    /// Writes all of them.
    pub(super) fn finish(&mut self, file: &dyn Storage) -> io::Result<()> {
        while let Some((table, (entries, dirty))) = self.cached.pop_lru() {
            if dirty {
                write(file, self.l1[table as usize] & OFFSET, &entries)?;
            }
        }
        write(file, self.l1_offset, &self.l1)
    }
}

/// Writes numbers as the format has them.
pub(super) fn write(file: &dyn Storage, at: u64, numbers: &[u64]) -> io::Result<()> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    file.write(at, &bytes)
}

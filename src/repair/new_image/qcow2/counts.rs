//! Who uses how much: clusters are taken in ascending order, and their reference counts written block by block behind them.

use std::{collections::BTreeMap, io};

use super::tables::write;
use crate::sys::storage::Storage;

/// Blocks in memory at most; older ones are in the file.
const BLOCKS_MAX: usize = 3;

/// Reference counts of 16 bits each.
pub(super) struct Counts {
    cluster_bits: u32,
    /// Clusters taken.
    taken: u64,
    /// Blocks of counts that are still worked on, by their number.
    open: BTreeMap<u64, Vec<u16>>,
    /// Where each block of counts lies in the file, in bytes; 0: nowhere yet.
    blocks: Vec<u64>,
}

impl Counts {
    pub(super) fn new(cluster_bits: u32) -> Self {
        Self { cluster_bits, taken: 0, open: BTreeMap::new(), blocks: Vec::new() }
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The end of what was taken, in bytes.
    pub(super) fn end(&self) -> u64 {
        self.taken << self.cluster_bits
    }

    /// Counts in a block.
    fn per_block(&self) -> u64 {
        1 << (self.cluster_bits - 1)
    }

    /// Takes `clusters` next to each other, used once; where they start, in bytes. Blocks may pile up.
    pub(super) fn take(&mut self, clusters: u64) -> u64 {
        let start = self.end();
        for _ in 0..clusters {
            let (block, at) = (self.taken / self.per_block(), (self.taken % self.per_block()) as usize);
            let length = self.per_block() as usize;
            self.open.entry(block).or_insert_with(|| vec![0; length])[at] = 1;
            self.taken += 1;
        }
        start
    }

    /// Takes a cluster, after writing what has become too much to keep.
    ///
    /// # Errors
    /// What writing says.
    pub(super) fn take_one(&mut self, file: &dyn Storage) -> io::Result<u64> {
        while self.open.len() > BLOCKS_MAX {
            let (block, counts) = self.open.pop_first().expect("there are some");
            let host = self.take(1);
            self.place(block, host);
            write_counts(file, host, &counts)?;
        }
        Ok(self.take(1))
    }

    fn place(&mut self, block: u64, host: u64) {
        let block = block as usize;
        if self.blocks.len() <= block {
            self.blocks.resize(block + 1, 0);
        }
        self.blocks[block] = host;
    }

    /// Changes how often a cluster is used.
    ///
    /// # Errors
    /// What the file says; where the count would leave its bounds.
    pub(super) fn change(&mut self, file: &dyn Storage, cluster: u64, by: i16) -> io::Result<()> {
        let (block, at) = (cluster / self.per_block(), (cluster % self.per_block()) as usize);
        let out_of_bounds = || io::Error::other("a cluster is used more often than can be counted");
        if let Some(counts) = self.open.get_mut(&block) {
            counts[at] = counts[at].checked_add_signed(by).ok_or_else(out_of_bounds)?;
            return Ok(());
        }
        let place = self.blocks[block as usize] + at as u64 * 2;
        let mut count = [0; 2];
        file.read(place, &mut count)?;
        let changed = u16::from_be_bytes(count).checked_add_signed(by).ok_or_else(out_of_bounds)?;
        file.write(place, &changed.to_be_bytes())
    }

    /// Writes all blocks and the table that leads to them; where that lies, in bytes, and its clusters.
    ///
    /// # Errors
    /// What writing says.
    pub(super) fn finish(&mut self, file: &dyn Storage) -> io::Result<(u64, u64)> {
        // The table and the blocks are counted, too, by blocks that may become one more for it.
        let placed = self.blocks.iter().filter(|&&host| host != 0).count() as u64;
        let (mut table_clusters, mut new_blocks) = (0, 0);
        loop {
            let blocks = (self.taken + table_clusters + new_blocks).div_ceil(self.per_block());
            let wanted = ((blocks * 8).div_ceil(self.cluster_bytes()), blocks - placed);
            if wanted == (table_clusters, new_blocks) {
                break;
            }
            (table_clusters, new_blocks) = wanted;
        }
        let table = self.take(table_clusters);
        let mut host = self.take(new_blocks);
        for (block, counts) in std::mem::take(&mut self.open) {
            self.place(block, host);
            write_counts(file, host, &counts)?;
            host += self.cluster_bytes();
        }
        let mut entries = self.blocks.clone();
        entries.resize((table_clusters << self.cluster_bits >> 3) as usize, 0);
        write(file, table, &entries)?;
        Ok((table, table_clusters))
    }
}

fn write_counts(file: &dyn Storage, at: u64, counts: &[u16]) -> io::Result<()> {
    let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
    file.write(at, &bytes)
}

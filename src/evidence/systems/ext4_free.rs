//! Which blocks of an ext2, ext3 or ext4 file system are free. Sources: Linux, Documentation/filesystems/ext4/bitmaps.rst,
//! `fs/ext4/balloc.c` (`ext4_init_block_bitmap`).

use super::{
    super::{ReadAt, bytes_at, fields::uuid},
    ext4::Ext4,
    ext4_groups::Groups,
};
use crate::vote::ByteRange;

/// A group's bitmap was never written.
const BLOCK_UNINIT: u16 = 2;

/// Which blocks of a file system are free, by its bitmaps.
#[derive(Clone, Debug)]
pub struct FreeBlocks {
    start: u64,
    block_bytes: u64,
    first_block: u64,
    blocks: u64,
    blocks_per_group: u64,
    /// For each group where its bitmap lies; none where it was never written, since nothing of the group is in use but metadata.
    bitmaps: Vec<Option<u64>>,
    /// Where metadata lies, in blocks, ascending: bitmaps, tables of inodes, and what a copy of the superblock takes at a group's start.
    metadata: Vec<ByteRange>,
    /// What tells one file system from another.
    uuid: [u8; 16],
}

impl FreeBlocks {
    /// Reads where the bitmaps of the file system at `start` bytes are.
    pub(super) fn of(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Self> {
        let system = Ext4::at(from, start)?;
        let groups = Groups::of(from, &system)?;
        let (mut bitmaps, mut metadata) = (Vec::new(), Vec::new());
        for (index, group) in groups.all.iter().enumerate() {
            // Every group is taken for one that keeps a copy of the superblock.
            let taken = [
                (group.bitmap, 1),
                (group.inode_bitmap, 1),
                (group.inode_table, groups.inode_table_blocks),
                (groups.start_of(index), groups.copied_blocks),
            ];
            metadata.extend(taken.iter().filter_map(|&(block, count)| ByteRange::at(block, count)));
            let uninitialised = group.flags & BLOCK_UNINIT != 0;
            bitmaps.push((!uninitialised).then(|| start.checked_add(group.bitmap.checked_mul(system.block_bytes)?)).flatten());
        }
        metadata.sort_unstable();
        let (uuid, metadata) = (uuid(&system.bytes, 0x68), ByteRange::joined(metadata));
        let Groups { blocks, first_block, blocks_per_group, .. } = groups;
        Some(Self { start, block_bytes: system.block_bytes, first_block, blocks, blocks_per_group, bitmaps, metadata, uuid })
    }

    /// Whether the other is a copy of this one, at the same place.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (self.uuid, self.start, self.block_bytes, self.blocks) == (other.uuid, other.start, other.block_bytes, other.blocks)
    }

    /// What it covers, in bytes.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        ByteRange::new(self.start, self.start.saturating_add(self.blocks.saturating_mul(self.block_bytes)))
    }

    /// Whether the bitmaps of all that shares a byte with `range` were written: what they say is said in so many bits.
    #[must_use]
    pub fn are_written(&self, range: ByteRange) -> bool {
        let Some(inside) = range.and(self.range()).filter(|inside| !inside.is_empty()) else { return false };
        let group =
            |at: u64| ((at - self.start) / self.block_bytes).checked_sub(self.first_block).map(|block| block / self.blocks_per_group);
        let (Some(first), Some(last)) = (group(inside.start), group(inside.end - 1)) else { return false };
        (first..=last).all(|group| self.bitmaps.get(group as usize).is_some_and(Option::is_some))
    }

    /// Whether all blocks that share a byte with `range` are free, by the bitmaps as `from` holds them.
    pub fn are_free(&self, from: &(impl ReadAt + ?Sized), range: ByteRange) -> bool {
        let Some(inside) = range.and(self.range()).filter(|&inside| inside == range) else { return false };
        let (mut at, end) = ((inside.start - self.start) / self.block_bytes, (inside.end - self.start).div_ceil(self.block_bytes));
        while at < end {
            let Some(in_groups) = at.checked_sub(self.first_block) else { return false };
            let (group, within) = (in_groups / self.blocks_per_group, in_groups % self.blocks_per_group);
            let count = (self.blocks_per_group - within).min(end - at);
            let Some(bitmap) = self.bitmaps.get(group as usize) else { return false };
            let by_bitmap = |bitmap: u64| {
                let (first, last) = (within / 8, (within + count - 1) / 8);
                let bytes = bytes_at(from, bitmap.checked_add(first)?, (last - first + 1) as usize)?;
                Some((within..within + count).all(|bit| bytes[(bit / 8 - first) as usize] >> (bit % 8) & 1 == 0))
            };
            if !bitmap.map_or_else(|| self.holds_no_metadata(ByteRange::new(at, at + count)), |bitmap| by_bitmap(bitmap) == Some(true)) {
                return false;
            }
            at += count;
        }
        true
    }

    /// Whether these blocks are none of the file system's own.
    fn holds_no_metadata(&self, blocks: ByteRange) -> bool {
        let from = self.metadata.partition_point(|own| own.end <= blocks.start);
        self.metadata.get(from).is_none_or(|own| own.start >= blocks.end)
    }
}

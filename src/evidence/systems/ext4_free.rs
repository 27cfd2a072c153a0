//! Which blocks of an ext2, ext3 or ext4 file system are free. Sources: Linux, Documentation/filesystems/ext4/ (`group_descr.rst`,
//! `bitmaps.rst`), `fs/ext4/balloc.c` (`ext4_init_block_bitmap`).

use super::{
    super::{
        ReadAt, bytes_at,
        fields::{le16, le32, uuid},
    },
    ext4::Ext4,
};
use crate::vote::ByteRange;

const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
/// Groups of clusters instead of blocks.
const RO_COMPAT_BIGALLOC: u32 = 0x200;
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

/// Groups whose descriptors are read: 16 TiB in blocks of 4 KiB. What is known of them takes 80 bytes each.
const GROUPS_MAX: u64 = 1 << 17;

impl FreeBlocks {
    /// Reads where the bitmaps of the file system at `start` bytes are.
    pub(super) fn of(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Self> {
        let system = Ext4::at(from, start)?;
        let bytes = &system.bytes;
        if system.incompat(INCOMPAT_META_BG) || le32(bytes, 0x64) & RO_COMPAT_BIGALLOC != 0 {
            return None;
        }
        let wide = system.incompat(INCOMPAT_64BIT);
        let blocks = u64::from(le32(bytes, 4)) | if wide { u64::from(le32(bytes, 0x150)) << 32 } else { 0 };
        let (first_block, blocks_per_group) = (u64::from(le32(bytes, 0x14)), u64::from(le32(bytes, 0x20)));
        let groups = blocks.checked_sub(first_block)?.div_ceil(Some(blocks_per_group).filter(|&count| count > 0)?);
        let descriptor_bytes = if wide { u64::from(le16(bytes, 0xfe)).max(32) } else { 32 };
        let fits = blocks.checked_mul(system.block_bytes)? <= from.length().checked_sub(start)?;
        if !fits || groups > GROUPS_MAX || descriptor_bytes > 64 || blocks_per_group > system.block_bytes * 8 {
            return None;
        }
        // They follow the superblock's block.
        let table_at = start.checked_add((first_block + 1).checked_mul(system.block_bytes)?)?;
        let table = bytes_at(from, table_at, (groups * descriptor_bytes) as usize)?;
        let inode_bytes = u64::from(le16(bytes, 0x58)).max(128);
        let inode_table_blocks = (u64::from(le32(bytes, 0x28)) * inode_bytes).div_ceil(system.block_bytes);
        // What comes before anything else where a copy of the superblock is kept; every group is taken for one that does.
        let copied = 1 + (groups * descriptor_bytes).div_ceil(system.block_bytes) + u64::from(le16(bytes, 0xce));
        let (mut bitmaps, mut metadata) = (Vec::new(), Vec::new());
        for (group, descriptor) in table.chunks_exact(descriptor_bytes as usize).enumerate() {
            let number = |low: usize, high: usize| {
                let high = if descriptor.len() >= 64 { u64::from(le32(descriptor, high)) << 32 } else { 0 };
                u64::from(le32(descriptor, low)) | high
            };
            let (bitmap, inode_bitmap, inode_table) = (number(0, 0x20), number(4, 0x24), number(8, 0x28));
            if [bitmap, inode_bitmap, inode_table].iter().any(|&block| block == 0 || block >= blocks) {
                return None;
            }
            let own = first_block + group as u64 * blocks_per_group;
            let taken = [(bitmap, 1), (inode_bitmap, 1), (inode_table, inode_table_blocks), (own, copied)];
            metadata.extend(taken.iter().filter_map(|&(block, count)| ByteRange::at(block, count)));
            let uninitialised = le16(descriptor, 0x12) & BLOCK_UNINIT != 0;
            bitmaps.push((!uninitialised).then(|| start.checked_add(bitmap.checked_mul(system.block_bytes)?)).flatten());
        }
        metadata.sort_unstable();
        let (uuid, metadata) = (uuid(bytes, 0x68), ByteRange::joined(metadata));
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

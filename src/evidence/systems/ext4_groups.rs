//! The groups of an ext2, ext3 or ext4 file system: where each keeps its bitmaps and its inodes. Source: Linux,
//! Documentation/filesystems/ext4/ (`group_descr.rst`).

use super::{
    super::{
        ReadAt, bytes_at,
        fields::{le16, le32},
    },
    ext4::Ext4,
};

const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
/// Groups of clusters instead of blocks.
const RO_COMPAT_BIGALLOC: u32 = 0x200;

/// Groups whose descriptors are read: 16 TiB in blocks of 4 KiB. What is known of them takes 80 bytes each.
const GROUPS_MAX: u64 = 1 << 17;

/// One group. Numbers are of blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    /// `EXT4_BG_INODE_UNINIT` (1) and `EXT4_BG_BLOCK_UNINIT` (2): that bitmap was never written.
    pub(super) flags: u16,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
}

/// All groups of a file system.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    /// Blocks of the file system, and the first one that belongs to a group.
    pub(super) blocks: u64,
    pub(super) first_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u64,
    /// Blocks of a group's table of inodes.
    pub(super) inode_table_blocks: u64,
    /// Blocks that a copy of the superblock and of the descriptors takes at a group's start, where there is one.
    pub(super) copied_blocks: u64,
    pub(super) all: Vec<Group>,
}

impl Groups {
    /// Reads the descriptors; none where they can't all be, or contradict the superblock.
    pub(super) fn of(from: &(impl ReadAt + ?Sized), system: &Ext4) -> Option<Self> {
        let bytes = &system.bytes;
        if system.incompat(INCOMPAT_META_BG) || le32(bytes, 0x64) & RO_COMPAT_BIGALLOC != 0 {
            return None;
        }
        let wide = system.incompat(INCOMPAT_64BIT);
        let blocks = u64::from(le32(bytes, 4)) | if wide { u64::from(le32(bytes, 0x150)) << 32 } else { 0 };
        let (first_block, blocks_per_group) = (u64::from(le32(bytes, 0x14)), u64::from(le32(bytes, 0x20)));
        let groups = blocks.checked_sub(first_block)?.div_ceil(Some(blocks_per_group).filter(|&count| count > 0)?);
        let descriptor_bytes = if wide { u64::from(le16(bytes, 0xfe)).max(32) } else { 32 };
        let fits = blocks.checked_mul(system.block_bytes)? <= from.length().checked_sub(system.start)?;
        if !fits || groups > GROUPS_MAX || descriptor_bytes > 64 || blocks_per_group > system.block_bytes * 8 {
            return None;
        }
        // They follow the superblock's block.
        let table_at = system.start.checked_add((first_block + 1).checked_mul(system.block_bytes)?)?;
        let table = bytes_at(from, table_at, (groups * descriptor_bytes) as usize)?;
        let inode_bytes = u64::from(le16(bytes, 0x58)).max(128);
        let inodes_per_group = le32(bytes, 0x28);
        let all = table.chunks_exact(descriptor_bytes as usize).map(|descriptor| {
            let number = |low: usize, high: usize| {
                let high = if descriptor.len() >= 64 { u64::from(le32(descriptor, high)) << 32 } else { 0 };
                u64::from(le32(descriptor, low)) | high
            };
            let (bitmap, inode_bitmap, inode_table) = (number(0, 0x20), number(4, 0x24), number(8, 0x28));
            let sound = [bitmap, inode_bitmap, inode_table].iter().all(|&block| block != 0 && block < blocks);
            let high = if descriptor.len() >= 64 { u32::from(le16(descriptor, 0x32)) << 16 } else { 0 };
            let (flags, unused_inodes) = (le16(descriptor, 0x12), u32::from(le16(descriptor, 0x1c)) | high);
            sound.then_some(Group { bitmap, inode_bitmap, inode_table, flags, unused_inodes })
        });
        Some(Self {
            blocks,
            first_block,
            blocks_per_group,
            inodes_per_group,
            inode_bytes,
            inode_table_blocks: (u64::from(inodes_per_group) * inode_bytes).div_ceil(system.block_bytes),
            copied_blocks: 1 + (groups * descriptor_bytes).div_ceil(system.block_bytes) + u64::from(le16(bytes, 0xce)),
            all: all.collect::<Option<_>>()?,
        })
    }

    /// The first block of a group.
    pub(super) fn start_of(&self, group: usize) -> u64 {
        self.first_block + group as u64 * self.blocks_per_group
    }
}

//! What a block of an ext2, ext3 or ext4 file system belongs to: the file system itself, or a file. Sources: Linux,
//! Documentation/filesystems/ext4/ (`inodes.rst`, `ifork.rst`, `directory.rst`).

use super::{
    super::{
        ReadAt, bytes_at,
        fields::{le16, le32},
    },
    ext4::{Ext4, physical},
    ext4_groups::Groups,
    owner::{Named, Owner, Patience, Visitor, path_to},
};
use crate::member::escaped;

/// Bytes of a table of inodes that are read in one go.
const TABLE_BYTES: u64 = 1 << 20;

const INODE_UNINIT: u16 = 1;
const INCOMPAT_FILETYPE: u32 = 2;
const EXTENTS_FLAG: u32 = 0x8_0000;
const INLINE_DATA_FLAG: u32 = 0x1000_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
const ROOT: u64 = 2;
const JOURNAL: u32 = 8;

/// A look through a file system.
struct Look<'a, F: ?Sized> {
    from: &'a F,
    system: Ext4,
    groups: Groups,
    patience: Patience<'a>,
}

/// Whose the byte at `offset` is, of the file system at `start`.
pub(super) fn owner(from: &(impl ReadAt + ?Sized), start: u64, offset: u64, patience: Patience<'_>) -> Option<Owner> {
    let system = Ext4::at(from, start)?;
    let block = offset.checked_sub(start)? / system.block_bytes;
    let groups = Groups::of(from, &system)?;
    let mut look = Look { from, system, groups, patience };
    if let Some(what) = look.metadata(block) {
        return Some(Owner::Metadata(what));
    }
    let inode = look.inode_of(block)?;
    if inode == JOURNAL {
        return Some(Owner::Metadata("its journal"));
    }
    let path = path_to(u64::from(inode), ROOT, &mut |folder, show| look.entries(folder, show));
    Some(Owner::File { inode: u64::from(inode), path })
}

impl<F: ReadAt + ?Sized> Look<'_, F> {
    /// What of the file system itself lies in a block, outside of inodes.
    fn metadata(&self, block: u64) -> Option<&'static str> {
        let within = |start: u64, count: u64| (start..start.saturating_add(count)).contains(&block);
        if within(0, self.groups.first_block + self.groups.copied_blocks) {
            return Some("its superblock and group descriptors");
        }
        self.groups.all.iter().find_map(|group| {
            if block == group.bitmap {
                Some("a bitmap of blocks")
            } else if block == group.inode_bitmap {
                Some("a bitmap of inodes")
            } else {
                within(group.inode_table, self.groups.inode_table_blocks).then_some("a table of inodes")
            }
        })
    }

    fn block(&mut self, number: u64) -> Option<Vec<u8>> {
        if !self.patience.one_more() || number == 0 || number >= self.groups.blocks {
            return None;
        }
        bytes_at(self.from, self.system.start + number * self.system.block_bytes, self.system.block_bytes as usize)
    }

    /// The inode in use whose map leads to a block.
    fn inode_of(&mut self, block: u64) -> Option<u32> {
        let size = self.groups.inode_bytes as usize;
        for index in 0..self.groups.all.len() {
            let group = self.groups.all[index];
            if group.flags & INODE_UNINIT != 0 {
                continue;
            }
            let used = u64::from(self.groups.inodes_per_group.saturating_sub(group.unused_inodes)) * self.groups.inode_bytes;
            let table = self.system.start + group.inode_table * self.system.block_bytes;
            let mut at = 0;
            while at < used {
                if self.patience.is_over() {
                    return None;
                }
                let length = (TABLE_BYTES - TABLE_BYTES % self.groups.inode_bytes).min(used - at);
                let inodes = bytes_at(self.from, table + at, length as usize)?;
                for (number, inode) in inodes.chunks_exact(size).enumerate() {
                    if self.holds(inode, block) {
                        let number = at / self.groups.inode_bytes + number as u64 + 1;
                        return u32::try_from(index as u64 * u64::from(self.groups.inodes_per_group) + number).ok();
                    }
                }
                at += length;
            }
        }
        None
    }

    /// Whether an inode leads to a block: by its data, what its map takes, or its attributes.
    fn holds(&mut self, inode: &[u8], block: u64) -> bool {
        let (mode, links, flags) = (le16(inode, 0), le16(inode, 0x1a), le32(inode, 0x20));
        if mode == 0 || links == 0 {
            return false;
        }
        let attributes = u64::from(le32(inode, 0x68)) | u64::from(le16(inode, 0x76)) << 32;
        if attributes == block {
            return true;
        }
        let blocks = u64::from(le32(inode, 0x1c)) | u64::from(le16(inode, 0x74)) << 32;
        let map = &inode[0x28..0x28 + 60];
        if flags & INLINE_DATA_FLAG != 0 || blocks == 0 {
            return false; // a short link keeps its target there
        }
        if flags & EXTENTS_FLAG != 0 { self.in_extents(map, block, 5) } else { self.in_blocks(map, block) }
    }

    fn in_extents(&mut self, node: &[u8], block: u64, depth_max: u16) -> bool {
        let (magic, count, depth) = (le16(node, 0), usize::from(le16(node, 2)), le16(node, 6));
        if magic != EXTENT_MAGIC || 12 + count * 12 > node.len() || depth > depth_max {
            return false;
        }
        let number = |entry: &[u8], low: usize, high: usize| u64::from(le32(entry, low)) | u64::from(le16(entry, high)) << 32;
        for entry in node[12..12 + count * 12].chunks_exact(12) {
            if depth == 0 {
                // More than 32768: allocated, and not written yet.
                let length = u64::from(le16(entry, 4));
                let length = if length > 32768 { length - 32768 } else { length };
                let first = number(entry, 8, 6);
                if (first..first + length).contains(&block) {
                    return true;
                }
                continue;
            }
            let child = number(entry, 4, 8);
            if child == block {
                return true;
            }
            if self.block(child).is_some_and(|child| self.in_extents(&child, block, depth - 1)) {
                return true;
            }
        }
        false
    }

    /// Twelve direct blocks, and those behind one, two and three levels.
    fn in_blocks(&mut self, map: &[u8], block: u64) -> bool {
        (0..15).any(|at| {
            let number = u64::from(le32(map, at * 4));
            self.behind(number, at.saturating_sub(11), block)
        })
    }

    fn behind(&mut self, number: u64, levels: usize, block: u64) -> bool {
        if number == block || number == 0 || levels == 0 {
            return number == block;
        }
        let Some(entries) = self.block(number) else { return false };
        entries.chunks_exact(4).any(|entry| self.behind(u64::from(le32(entry, 0)), levels - 1, block))
    }

    /// The inode of that number, as it lies on the disk.
    fn inode(&mut self, number: u32) -> Option<Vec<u8>> {
        let index = number.checked_sub(1)?;
        let (group, within) = (index / self.groups.inodes_per_group.max(1), index % self.groups.inodes_per_group.max(1));
        let table = self.groups.all.get(group as usize)?.inode_table;
        let at = self.system.start + table * self.system.block_bytes + u64::from(within) * self.groups.inode_bytes;
        self.patience.one_more().then(|| bytes_at(self.from, at, self.groups.inode_bytes as usize))?
    }

    /// Shows what a folder names.
    fn entries(&mut self, folder: u64, show: Visitor) -> Option<()> {
        let inode = self.inode(u32::try_from(folder).ok()?)?;
        let size = u64::from(le32(&inode, 4)) | u64::from(le32(&inode, 0x6c)) << 32;
        let map = inode.get(0x28..0x28 + 60)?.to_vec();
        let per_block = (self.system.block_bytes / 4) as u32;
        let typed = self.system.incompat(INCOMPAT_FILETYPE);
        for logical in 0..u32::try_from(size.div_ceil(self.system.block_bytes)).ok()? {
            if self.patience.is_over() {
                return None;
            }
            let (from, start, bytes) = (self.from, self.system.start, self.system.block_bytes);
            let read = |number: u64| bytes_at(from, start.checked_add(number.checked_mul(bytes)?)?, bytes as usize);
            let Some(block) = physical(&map, logical, per_block, &read).and_then(|number| self.block(number)) else { continue };
            let mut at = 0;
            while at + 8 <= block.len() {
                let (inode, length) = (le32(&block, at), usize::from(le16(&block, at + 4)));
                let (name_length, kind) =
                    if typed { (usize::from(block[at + 6]), block[at + 7]) } else { (usize::from(le16(&block, at + 6)), 0) };
                if length < 8 {
                    break;
                }
                let name = block.get(at + 8..at + 8 + name_length).filter(|name| inode != 0 && !matches!(*name, b"" | b"." | b".."));
                if let Some(name) = name {
                    // 2: a folder; 0: it isn't said.
                    let is_folder = kind == 2 || (kind == 0 && self.inode(inode).is_some_and(|inode| le16(&inode, 0) & 0xf000 == 0x4000));
                    if !show(Named { inode: u64::from(inode), is_folder, name: escaped(&String::from_utf8_lossy(name)) }) {
                        return Some(());
                    }
                }
                at += length;
            }
        }
        Some(())
    }
}

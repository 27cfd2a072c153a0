//! The inodes of an XFS file system: where they lie, and what their maps lead to. Source: Linux, `fs/xfs/libxfs/xfs_format.h`
//! (`xfs_agi`, `xfs_btree_block`, `xfs_dinode`, `xfs_bmbt_rec`).

use super::{
    super::{
        ReadAt, bytes_at,
        fields::{be16, be32, be64, uuid},
    },
    owner::Patience,
    xfs::Xfs,
};

/// Levels of a tree (`XFS_BTREE_MAXLEVELS` is 9 for those of a group; a file's map may have one more).
const LEVELS_MAX: u32 = 12;
/// Chunks of 64 inodes that are looked at in one group.
const CHUNKS_MAX: usize = 1 << 20;
/// Bytes of such a chunk: inodes have 2 KiB at most, and share blocks.
const CHUNK_BYTES_MAX: u64 = 64 * 2048 + 65536;
/// Extents of one folder that are gone through.
const EXTENTS_MAX: usize = 1 << 16;

const FLAG_REALTIME: u16 = 1;
const FLAG2_WIDE_COUNTS: u64 = 1 << 4;

/// Where the sums of a group's headers and of an inode are kept.
const SUM_OF_AGF: usize = 216;
const SUM_OF_AGI: usize = 312;
const SUM_OF_INODE: usize = 100;

/// How the blocks of a tree are laid out: how they begin, what their headers take, how long a record, a key and a pointer are, in bytes.
#[derive(Clone, Copy)]
struct Layout {
    /// In version 4 and in version 5.
    magic: [&'static [u8; 4]; 2],
    header: usize,
    record: usize,
    key: usize,
    pointer: usize,
}

/// Where a group keeps the root of a tree, and which it is.
pub(super) struct Root {
    group: u32,
    block: u64,
    levels: u32,
}

/// Sixty-four inodes that were allocated together.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    /// Number of the first, within its group.
    first: u32,
    /// A bit for each that isn't in use, or isn't there.
    free: u64,
    /// A bit for each four that aren't there.
    holes: u16,
}

/// One stretch of a file: blocks from the file's start, where they lie from the file system's start, and how many they are.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) logical: u64,
    pub(super) block: u64,
    pub(super) count: u64,
}

/// The inodes of a file system, as `from` holds them.
pub(super) struct Inodes<'a, F: ?Sized> {
    pub(super) from: &'a F,
    pub(super) system: Xfs,
    pub(super) patience: Patience<'a>,
}

impl<F: ReadAt + ?Sized> Inodes<'_, F> {
    /// The block of that number from the file system's start.
    pub(super) fn block(&mut self, block: u64) -> Option<Vec<u8>> {
        let system = &self.system;
        if !self.patience.one_more() || block >= system.blocks {
            return None;
        }
        bytes_at(self.from, system.start.checked_add(block.checked_mul(system.block_bytes)?)?, system.block_bytes as usize)
    }

    /// The header of a group that lies in its sector of that number, where its sum at `sum_at` holds.
    fn header(&self, group: u32, sector: u64, magic: [u8; 4], sum_at: usize) -> Option<Vec<u8>> {
        let bytes = self.system.superblock.len();
        let at = u64::from(group).checked_mul(self.system.group_blocks)?.checked_mul(self.system.block_bytes)?;
        let at = self.system.start.checked_add(at)?.checked_add(sector * bytes as u64)?;
        bytes_at(self.from, at, bytes).filter(|header| header.starts_with(&magic) && self.system.is_whole(header, sum_at))
    }

    /// The tree of a group's inodes.
    pub(super) fn inode_tree(&self, group: u32) -> Option<Root> {
        let header = self.header(group, 2, *b"XAGI", SUM_OF_AGI)?;
        Some(Root { group, block: u64::from(be32(&header, 20)), levels: be32(&header, 24) })
    }

    /// The tree of a group's free space, by block.
    fn free_tree(&self, group: u32) -> Option<Root> {
        let header = self.header(group, 1, *b"XAGF", SUM_OF_AGF)?;
        Some(Root { group, block: u64::from(be32(&header, 16)), levels: be32(&header, 28) })
    }

    /// Trees of a group have short pointers, trees of files long ones.
    fn layout(&self, magic: [&'static [u8; 4]; 2], record: usize, key: usize, pointer: usize) -> Layout {
        let header = match (self.system.is_summed, pointer) {
            (true, 4) => 56,
            (true, _) => 72,
            (false, 4) => 16,
            (false, _) => 24,
        };
        Layout { magic, header, record, key, pointer }
    }

    /// The block of a tree that lies `level` above its leaves, with the number of its entries.
    fn node(&mut self, block: u64, level: u32, layout: Layout) -> Option<(Vec<u8>, usize)> {
        let bytes = self.block(block)?;
        if !self.is_of_tree(&bytes, block, layout) {
            return None;
        }
        let (said, count) = (be16(&bytes, 4), usize::from(be16(&bytes, 6)));
        let entry = if level == 0 { layout.record } else { layout.key + layout.pointer };
        (u32::from(said) == level && count <= (bytes.len() - layout.header) / entry).then_some((bytes, count))
    }

    /// Whether a block is one of such a tree: of version 5 each says where it lies, and of which file system it is, and has a sum.
    fn is_of_tree(&self, bytes: &[u8], block: u64, layout: Layout) -> bool {
        if !self.system.is_summed {
            return bytes.starts_with(layout.magic[0]);
        }
        let (place_at, uuid_at, sum_at) = if layout.pointer == 4 { (16, 32, 52) } else { (24, 40, 64) };
        bytes.starts_with(layout.magic[1])
            && block.checked_mul(self.system.block_bytes / 512) == Some(be64(bytes, place_at))
            && self.system.uuids().contains(&uuid(bytes, uuid_at))
            && self.system.is_whole(bytes, sum_at)
    }

    /// Where the pointers of an inner block begin.
    fn pointers(bytes: &[u8], layout: Layout) -> usize {
        layout.header + (bytes.len() - layout.header) / (layout.key + layout.pointer) * layout.key
    }

    /// Whether a block of a group is free, by the tree of its free space; none where that can't be told.
    pub(super) fn is_free(&mut self, block: u64) -> Option<bool> {
        let group = u32::try_from(block / self.system.group_blocks).ok()?;
        let within = block % self.system.group_blocks;
        let root = self.free_tree(group).filter(|root| (1..=LEVELS_MAX).contains(&root.levels))?;
        let layout = self.layout([b"ABTB", b"AB3B"], 8, 8, 4);
        let mut at = root.block;
        for level in (0..root.levels).rev() {
            let (bytes, count) = self.node(self.in_group(group, at)?, level, layout)?;
            let entry_bytes = if level == 0 { layout.record } else { layout.key };
            let entries = bytes[layout.header..].chunks_exact(entry_bytes).take(count);
            let Some((index, entry)) = entries.enumerate().take_while(|(_, entry)| u64::from(be32(entry, 0)) <= within).last() else {
                return Some(false);
            };
            if level == 0 {
                return Some(within - u64::from(be32(entry, 0)) < u64::from(be32(entry, 4)));
            }
            at = u64::from(be32(&bytes, Self::pointers(&bytes, layout) + index * 4));
        }
        None
    }

    /// A block of a group, from the file system's start.
    fn in_group(&self, group: u32, within: u64) -> Option<u64> {
        let block = u64::from(group).checked_mul(self.system.group_blocks)?.checked_add(within)?;
        (within < self.system.group_blocks && block < self.system.blocks).then_some(block)
    }

    /// All chunks of inodes of a group; those that can't be read are left out.
    pub(super) fn chunks(&mut self, root: &Root) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        if let Some(level) = root.levels.checked_sub(1).filter(|&level| level < LEVELS_MAX) {
            self.gather(root.group, root.block, level, &mut chunks);
        }
        chunks
    }

    fn gather(&mut self, group: u32, block: u64, level: u32, chunks: &mut Vec<Chunk>) {
        let layout = self.layout([b"IABT", b"IAB3"], 16, 4, 4);
        let Some((bytes, count)) = self.in_group(group, block).and_then(|block| self.node(block, level, layout)) else { return };
        if level == 0 {
            let records = bytes[layout.header..].chunks_exact(layout.record).take(count);
            let room = CHUNKS_MAX.saturating_sub(chunks.len());
            chunks.extend(records.take(room).map(|record| Chunk { first: be32(record, 0), holes: be16(record, 4), free: be64(record, 8) }));
            return;
        }
        let pointers = Self::pointers(&bytes, layout);
        for index in 0..count {
            if self.patience.is_over() {
                return;
            }
            self.gather(group, u64::from(be32(&bytes, pointers + index * 4)), level - 1, chunks);
        }
    }

    /// Bytes of an inode, and how many bits of an inode's number tell it within a block, and a block within a group.
    fn inode_shape(&self) -> Option<(usize, u32, u32)> {
        let superblock = &self.system.superblock;
        let (bytes, within, group) = (usize::from(be16(superblock, 104)), u32::from(superblock[123]), u32::from(superblock[124]));
        let fits = (256..=2048).contains(&bytes) && within < 16 && (bytes as u64) << within == self.system.block_bytes;
        fits.then_some((bytes, within, group))
    }

    /// The inodes of a chunk that are in use and whole, with their numbers; what can't be read is left out.
    pub(super) fn inodes_of(&mut self, group: u32, chunk: Chunk) -> Vec<(u64, Vec<u8>)> {
        let Some((bytes, within_bits, group_bits)) = self.inode_shape() else { return Vec::new() };
        let mut found = Vec::new();
        let block_of = |index: u32| Some(u64::from(chunk.first.checked_add(index)?) >> within_bits);
        // They lie in one piece; where that can't be read as a whole, its blocks are read one by one.
        let (first, last) = (block_of(0), block_of(63));
        let whole = first.zip(last).and_then(|(first, last)| {
            let at = self.in_group(group, first)?;
            self.in_group(group, last)?;
            Some((at, self.blocks(at, last - first + 1)?))
        });
        let mut held: Option<(u64, Option<Vec<u8>>)> = None;
        for index in (0..64u32).filter(|index| chunk.free >> index & 1 == 0) {
            let Some(within) = chunk.first.checked_add(index) else { break };
            let Some(block) = self.in_group(group, u64::from(within) >> within_bits) else { continue };
            let at = (within as usize & ((1 << within_bits) - 1)) * bytes;
            let inode = if let Some((start, all)) = &whole {
                let from = (block - start) as usize * self.system.block_bytes as usize + at;
                all[from..from + bytes].to_vec()
            } else {
                if held.as_ref().is_none_or(|(at, _)| *at != block) {
                    held = Some((block, self.block(block)));
                }
                let Some((_, Some(all))) = &held else { continue };
                all[at..at + bytes].to_vec()
            };
            if self.system.is_whole(&inode, SUM_OF_INODE) {
                found.push((u64::from(group) << (group_bits + within_bits) | u64::from(within), inode));
            }
        }
        found
    }

    /// So many blocks from that one on, in one piece.
    fn blocks(&mut self, block: u64, count: u64) -> Option<Vec<u8>> {
        let system = &self.system;
        let length = count.checked_mul(system.block_bytes).filter(|&length| length <= CHUNK_BYTES_MAX)?;
        if !self.patience.one_more() {
            return None;
        }
        bytes_at(self.from, system.start.checked_add(block.checked_mul(system.block_bytes)?)?, length as usize)
    }

    /// Whether a block is one of those that a chunk of inodes lies in, in use or not.
    pub(super) fn is_of(&self, group: u32, chunk: Chunk, block: u64) -> bool {
        let Some((_, within_bits, _)) = self.inode_shape() else { return false };
        let lies_in = |index: u32| self.in_group(group, u64::from(chunk.first.checked_add(index)?) >> within_bits);
        (0..64).filter(|index| chunk.holes >> (index / 4) & 1 == 0).any(|index| lies_in(index) == Some(block))
    }

    /// The inode of that number, as it lies on the disk.
    pub(super) fn inode(&mut self, number: u64) -> Option<Vec<u8>> {
        let (bytes, within_bits, group_bits) = self.inode_shape()?;
        let group = u32::try_from(number >> (group_bits + within_bits)).ok()?;
        let block = self.in_group(group, number >> within_bits & ((1 << group_bits) - 1))?;
        let at = (number as usize & ((1 << within_bits) - 1)) * bytes;
        Some(self.block(block)?[at..at + bytes].to_vec()).filter(|inode| self.system.is_whole(inode, SUM_OF_INODE))
    }

    /// Whether an inode leads to a block: by its data, what its map takes, or its attributes.
    pub(super) fn holds(&mut self, inode: &[u8], block: u64) -> bool {
        let Some(forks) = Forks::of(inode) else { return false };
        let on_this_device = [!forks.is_realtime, true];
        [forks.data, forks.attributes].into_iter().zip(on_this_device).any(|(fork, here)| {
            let mut holds = false;
            let Some(fork) = fork else { return false };
            self.each(&fork, &mut |piece| {
                holds = match piece {
                    Piece::Map(at) => at == block,
                    Piece::Data(extent) => here && (extent.block..extent.block.saturating_add(extent.count)).contains(&block),
                };
                !holds
            });
            holds
        })
    }

    /// The extents of a folder's data, by their place in it.
    pub(super) fn extents(&mut self, fork: &Fork<'_>) -> Vec<Extent> {
        let mut extents = Vec::new();
        self.each(fork, &mut |piece| {
            if let Piece::Data(extent) = piece {
                extents.push(extent);
            }
            extents.len() < EXTENTS_MAX
        });
        extents.sort_unstable_by_key(|extent| extent.logical);
        extents
    }

    /// Shows every extent of a fork, and every block of its map, until `go_on` says no.
    fn each(&mut self, fork: &Fork<'_>, go_on: &mut dyn FnMut(Piece) -> bool) -> bool {
        match fork.format {
            2 => {
                let records = fork.bytes.chunks_exact(16).take(usize::try_from(fork.extents).unwrap_or(usize::MAX));
                records.filter_map(|record| self.extent(record)).all(|extent| go_on(Piece::Data(extent)))
            }
            3 if fork.bytes.len() > 4 => {
                let (level, count) = (u32::from(be16(fork.bytes, 0)), usize::from(be16(fork.bytes, 2)));
                let room = (fork.bytes.len() - 4) / 16;
                let pointers = &fork.bytes[4 + room * 8..];
                level > 0
                    && level < LEVELS_MAX
                    && pointers.chunks_exact(8).take(count.min(room)).all(|number| self.below(be64(number, 0), level - 1, go_on))
            }
            _ => true, // kept in the inode itself, or a device's numbers
        }
    }

    fn below(&mut self, number: u64, level: u32, go_on: &mut dyn FnMut(Piece) -> bool) -> bool {
        let layout = self.layout([b"BMAP", b"BMA3"], 16, 8, 8);
        let Some(block) = self.system.block(number) else { return true };
        if !go_on(Piece::Map(block)) || self.patience.is_over() {
            return false;
        }
        let Some((bytes, count)) = self.node(block, level, layout) else { return true };
        if level == 0 {
            let records = bytes[layout.header..].chunks_exact(layout.record).take(count);
            return records.filter_map(|record| self.extent(record)).all(|extent| go_on(Piece::Data(extent)));
        }
        let pointers = &bytes[Self::pointers(&bytes, layout)..];
        pointers.chunks_exact(8).take(count).all(|number| self.below(be64(number, 0), level - 1, go_on))
    }

    /// A record of a map: a bit whether it was never written, 54 of the place in the file, 52 of the block's number, 21 of how many.
    fn extent(&self, record: &[u8]) -> Option<Extent> {
        let (high, low) = (be64(record, 0), be64(record, 8));
        let block = self.system.block((high & 0x1ff) << 43 | low >> 21)?;
        Some(Extent { logical: high >> 9 & ((1 << 54) - 1), block, count: low & ((1 << 21) - 1) })
    }
}

/// What a fork's map is made of.
enum Piece {
    /// A block that holds a part of the map.
    Map(u64),
    Data(Extent),
}

/// What an inode keeps behind its core: extents (2), a tree of them (3), or bytes (1).
pub(super) struct Fork<'a> {
    pub(super) format: u8,
    extents: u64,
    pub(super) bytes: &'a [u8],
}

/// Both forks of an inode.
pub(super) struct Forks<'a> {
    pub(super) is_folder: bool,
    /// Whether its data lie on the real-time device.
    is_realtime: bool,
    pub(super) data: Option<Fork<'a>>,
    attributes: Option<Fork<'a>>,
}

impl<'a> Forks<'a> {
    pub(super) fn of(inode: &'a [u8]) -> Option<Self> {
        let (mode, version) = (be16(inode, 2), inode[4]);
        if &inode[..2] != b"IN" || mode == 0 || !(1..=3).contains(&version) {
            return None;
        }
        let core = if version == 3 { 176 } else { 100 };
        let split = core + usize::from(inode[82]) * 8;
        let wide = version == 3 && be64(inode, 120) & FLAG2_WIDE_COUNTS != 0;
        let (data_extents, attribute_extents) =
            if wide { (be64(inode, 24), u64::from(be32(inode, 76))) } else { (u64::from(be32(inode, 76)), u64::from(be16(inode, 80))) };
        let has_attributes = inode[82] != 0 && split < inode.len();
        let end = if has_attributes { split } else { inode.len() };
        let data = Fork { format: inode[5], extents: data_extents, bytes: &inode[core..end] };
        let attributes = Fork { format: inode[83], extents: attribute_extents, bytes: &inode[end..] };
        Some(Self {
            is_folder: mode & 0xf000 == 0x4000,
            is_realtime: be16(inode, 90) & FLAG_REALTIME != 0,
            data: Some(data),
            attributes: has_attributes.then_some(attributes),
        })
    }
}

//! What a block of an XFS file system belongs to. Sources: Linux, `fs/xfs/libxfs/xfs_format.h`, `xfs_da_format.h` (folders).

use super::{
    super::{
        ReadAt,
        fields::{be16, be32, be64, uuid},
    },
    owner::{Named, Owner, Patience, Visitor, path_to},
    xfs::Xfs,
    xfs_inodes::{Forks, Inodes},
};
use crate::member::escaped;

/// A folder's names end where its index begins, in bytes (`XFS_DIR2_LEAF_OFFSET`).
const NAMES_END: u64 = 32 << 30;
/// The kind of an inode that a folder may tell beside its name: a folder.
const KIND_FOLDER: u8 = 2;
/// Version 4 tells it as a feature of `sb_features2`, version 5 of `sb_features_incompat`.
const FEATURE2_KINDS: u32 = 0x200;
const INCOMPAT_KINDS: u32 = 1;

/// Whose the byte at `offset` is, of the file system at `start`.
pub(super) fn owner(from: &(impl ReadAt + ?Sized), start: u64, offset: u64, patience: Patience<'_>) -> Option<Owner> {
    let system = Xfs::at(from, start)?;
    let within = offset.checked_sub(start)?;
    let block = within / system.block_bytes;
    if block >= system.blocks {
        return None;
    }
    let group_bytes = system.group_blocks.checked_mul(system.block_bytes)?;
    if within % group_bytes < (4 * system.superblock.len() as u64).max(system.block_bytes) {
        return Some(Owner::Metadata("the headers of an allocation group"));
    }
    if system.log_blocks().is_some_and(|(first, count)| (first..first.saturating_add(count)).contains(&block)) {
        return Some(Owner::Metadata("its journal"));
    }
    let mut inodes = Inodes { from, system, patience };
    if inodes.is_free(block) == Some(true) {
        return Some(Owner::Free);
    }
    let inode = match holder(&mut inodes, block) {
        Some(Holder::Chunk) => return Some(Owner::Metadata("a chunk of inodes")),
        Some(Holder::Inode(number)) => number,
        // What was freed and is another's by now may still look as it did.
        None if inodes.patience.is_over() => return None,
        None => return tree_of(&mut inodes, block).map(Owner::Metadata),
    };
    let root = be64(&inodes.system.superblock, 56);
    Some(Owner::File { inode, path: path_to(inode, root, &mut |folder, show| entries(&mut inodes, folder, show)) })
}

/// Which tree of a group a block in use says it is of: of version 5 each names itself, its place and its file system.
fn tree_of(inodes: &mut Inodes<'_, impl ReadAt + ?Sized>, block: u64) -> Option<&'static str> {
    if !inodes.system.is_summed {
        return None;
    }
    let bytes = inodes.block(block)?;
    let what = match &bytes[..4] {
        b"AB3B" | b"AB3C" => "a tree of free space",
        b"IAB3" | b"FIB3" => "a tree of inodes",
        b"RMB3" => "the tree of what owns its blocks",
        b"R3FC" => "the tree of blocks that files share",
        _ => return None,
    };
    let place = block.checked_mul(inodes.system.block_bytes / 512)?;
    (be64(&bytes, 16) == place && inodes.system.uuids().contains(&uuid(&bytes, 32))).then_some(what)
}

enum Holder {
    /// Inodes lie in the block.
    Chunk,
    /// That inode leads to it.
    Inode(u64),
}

/// Who holds a block; the inodes of its own group are asked first, where files are mostly kept with theirs.
fn holder(inodes: &mut Inodes<'_, impl ReadAt + ?Sized>, block: u64) -> Option<Holder> {
    let own = u32::try_from(block / inodes.system.group_blocks).ok()?;
    for group in std::iter::once(own).chain((0..inodes.system.groups).filter(|&group| group != own)) {
        if inodes.patience.is_over() {
            return None;
        }
        let Some(root) = inodes.inode_tree(group) else { continue };
        let chunks = inodes.chunks(&root);
        if group == own && chunks.iter().any(|&chunk| inodes.is_of(group, chunk, block)) {
            return Some(Holder::Chunk);
        }
        for chunk in chunks {
            for (number, inode) in inodes.inodes_of(group, chunk) {
                if inodes.holds(&inode, block) {
                    return Some(Holder::Inode(number));
                }
            }
            if inodes.patience.is_over() {
                return None;
            }
        }
    }
    None
}

/// Shows what a folder names.
fn entries(inodes: &mut Inodes<'_, impl ReadAt + ?Sized>, folder: u64, show: Visitor) -> Option<()> {
    if inodes.patience.is_over() {
        return None;
    }
    let Some(inode) = inodes.inode(folder) else { return Some(()) };
    let Some(data) = Forks::of(&inode).filter(|forks| forks.is_folder).and_then(|forks| forks.data) else { return Some(()) };
    let with_kinds = with_kinds(&inodes.system);
    let mut found = Vec::new();
    if data.format == 1 {
        short_form(data.bytes, with_kinds, &mut found);
        show_all(inodes, &mut found, show);
        return Some(());
    }
    let per_folder_block = 1u64 << inodes.system.superblock[192].min(7);
    let names_end = NAMES_END / inodes.system.block_bytes;
    let (mut bytes, mut next): (Vec<u8>, u64) = (Vec::new(), 0);
    for extent in inodes.extents(&data) {
        for index in 0..extent.count.min(names_end.saturating_sub(extent.logical)) {
            let logical = extent.logical + index;
            // A block of names that isn't there as a whole says nothing.
            if logical.is_multiple_of(per_folder_block) || logical != next {
                bytes.clear();
            }
            next = logical + 1;
            if bytes.is_empty() && !logical.is_multiple_of(per_folder_block) {
                continue;
            }
            let Some(block) = inodes.block(extent.block + index) else {
                if inodes.patience.is_over() {
                    return None;
                }
                bytes.clear();
                continue;
            };
            bytes.extend_from_slice(&block);
            if bytes.len() as u64 == per_folder_block * inodes.system.block_bytes {
                long_form(&bytes, with_kinds, &mut found);
                bytes.clear();
                if !show_all(inodes, &mut found, show) {
                    return Some(());
                }
            }
        }
    }
    Some(())
}

/// An inode, what the folder says it is, and its name.
type Entry = (u64, Option<u8>, String);

/// Shows what was found, and forgets it.
fn show_all(inodes: &mut Inodes<'_, impl ReadAt + ?Sized>, found: &mut Vec<Entry>, show: Visitor) -> bool {
    found.drain(..).all(|(inode, kind, name)| {
        let is_folder = match kind {
            Some(kind) => kind == KIND_FOLDER,
            None => inodes.inode(inode).as_deref().and_then(Forks::of).is_some_and(|forks| forks.is_folder),
        };
        show(Named { inode, is_folder, name })
    })
}

/// Whether folders tell what their inodes are.
fn with_kinds(system: &Xfs) -> bool {
    let superblock = &system.superblock;
    if system.is_summed { be32(superblock, 216) & INCOMPAT_KINDS != 0 } else { be32(superblock, 200) & FEATURE2_KINDS != 0 }
}

fn text(name: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(name))
}

/// A few names that are kept in the inode (`xfs_dir2_sf_hdr`).
fn short_form(bytes: &[u8], with_kinds: bool, found: &mut Vec<Entry>) {
    let (Some(&count), Some(&wide)) = (bytes.first(), bytes.get(1)) else { return };
    let number_bytes = if wide > 0 { 8 } else { 4 };
    let mut at = 2 + number_bytes;
    for _ in 0..count.max(wide) {
        let Some(&length) = bytes.get(at) else { return };
        let (name_at, kind_bytes) = (at + 3, usize::from(with_kinds));
        let number_at = name_at + usize::from(length) + kind_bytes;
        let Some(number) = bytes.get(number_at..number_at + number_bytes) else { return };
        let inode = if number_bytes == 8 { be64(number, 0) } else { u64::from(be32(number, 0)) };
        let kind = with_kinds.then(|| bytes[number_at - 1]);
        found.push((inode, kind, text(&bytes[name_at..name_at + usize::from(length)])));
        at = number_at + number_bytes;
    }
}

/// A block of names (`xfs_dir2_data_hdr`, `xfs_dir3_data_hdr`); one that is the folder's only one ends with its index.
fn long_form(bytes: &[u8], with_kinds: bool, found: &mut Vec<Entry>) {
    let (mut at, has_index) = match &bytes[..4] {
        b"XD2D" => (16, false),
        b"XD2B" => (16, true),
        b"XDD3" => (64, false),
        b"XDB3" => (64, true),
        _ => return,
    };
    let index_bytes = if has_index { 8 + u64::from(be32(bytes, bytes.len() - 8)) * 8 } else { 0 };
    let end = usize::try_from(index_bytes).ok().and_then(|index| bytes.len().checked_sub(index)).unwrap_or(0);
    while at + 12 <= end {
        if be16(bytes, at) == 0xffff {
            let length = usize::from(be16(bytes, at + 2));
            if length < 8 {
                return;
            }
            at += length;
            continue;
        }
        let (length, kind_bytes) = (usize::from(bytes[at + 8]), usize::from(with_kinds));
        let name_end = at + 9 + length;
        if length == 0 || name_end + kind_bytes > end {
            return;
        }
        let name = &bytes[at + 9..name_end];
        if !matches!(name, b"." | b"..") {
            found.push((be64(bytes, at), with_kinds.then(|| bytes[name_end]), text(name)));
        }
        // A tag of two bytes ends the entry, and all is rounded up to eight.
        at += (9 + length + kind_bytes + 2).next_multiple_of(8);
    }
}

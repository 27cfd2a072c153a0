//! What file systems and their like say of themselves, in structures whose checksums hold: how old they are, whose they are, and which
//! of their blocks are free. One file a kind.

mod btrfs;
mod ext4;
mod ext4_free;
mod ext4_groups;
mod ext4_owner;
mod jbd2;
mod md;
mod ntfs;
mod ntfs_owner;
mod others;
mod owner;
mod said;
mod signatures;
mod xfs;
mod xfs_inodes;
mod xfs_owner;

pub use ext4_free::FreeBlocks;
pub use md::DeviceMetadata;
pub use owner::Owner;
pub use signatures::{FileSystem, find_file_system};

use super::ReadAt;
use owner::Patience;
use said::Said;

/// What starts at `start` bytes and is at most `length` bytes long.
pub(super) fn ask(from: &(impl ReadAt + ?Sized), start: u64, length: u64) -> Said {
    ext4::ask(from, start)
        .or_else(|| xfs::ask(from, start))
        .or_else(|| btrfs::ask(from, start))
        .or_else(|| others::ask(from, start))
        .unwrap_or_default()
        .and(md::ask(from, start, length))
}

/// The per-device metadata of what starts at `start` bytes.
pub(super) fn device_metadata(from: &(impl ReadAt + ?Sized), start: u64, length: u64) -> Option<DeviceMetadata> {
    md::device_metadata(from, start, length)
}

/// The free blocks of the file system that starts at `start` bytes, where it can be asked for them.
pub(super) fn free_blocks(from: &(impl ReadAt + ?Sized), start: u64) -> Option<FreeBlocks> {
    FreeBlocks::of(from, start)
}

/// Whose the byte at `offset` is, of the file system at `start`; none where that can't be found, or takes too long.
#[must_use]
pub fn owner(from: &(impl ReadAt + ?Sized), start: u64, offset: u64, stopped: &dyn Fn() -> bool) -> Option<Owner> {
    let patience = || Patience::until(stopped);
    ext4_owner::owner(from, start, offset, patience())
        .or_else(|| xfs_owner::owner(from, start, offset, patience()))
        .or_else(|| ntfs_owner::owner(from, start, offset, patience()))
}

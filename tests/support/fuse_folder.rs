//! A folder of files in memory, as [`fuse_server`](super::fuse_server) shows it to the kernel.

use std::{
    ffi::{OsStr, OsString},
    ops::Range,
    time::{Duration, SystemTime},
};

use fuser::Errno;

/// What a file's metadata tell.
#[derive(Clone, Copy)]
pub struct Stat {
    pub size: u64,
    pub modified: SystemTime,
    pub perm: u16,
    pub owner: (u32, u32),
    pub links: u32,
}

impl Stat {
    /// Of root's, readable to all.
    pub fn new(size: u64, modified: SystemTime) -> Self {
        Self { size, modified, perm: 0o644, owner: (0, 0), links: 1 }
    }
}

/// What is to become of a file's metadata.
pub struct Change {
    pub perm: Option<u16>,
    pub owner: (Option<u32>, Option<u32>),
    pub size: Option<u64>,
}

impl Change {
    /// Makes of these what they are afterwards.
    pub fn apply(&self, perm: &mut u16, owner: &mut (u32, u32)) {
        *perm = self.perm.unwrap_or(*perm);
        *owner = (self.owner.0.unwrap_or(owner.0), self.owner.1.unwrap_or(owner.1));
    }
}

/// A folder of files, numbered from 2 on (1 is the folder). What it doesn't do it needn't say: that fails with `ENOSYS`.
#[allow(unused_variables)]
pub trait Folder: Send + 'static {
    /// All names and numbers, in the order of names.
    fn files(&self) -> Vec<(OsString, u64)>;

    fn stat(&self, ino: u64) -> Option<Stat>;

    /// Past the page cache (`FOPEN_DIRECT_IO`), however it is opened.
    fn uncached(&self, ino: u64) -> bool {
        false
    }

    /// How long it takes until a read is answered, and until a write is.
    fn delays(&self, ino: u64) -> [Duration; 2] {
        [Duration::ZERO; 2]
    }

    fn read(&mut self, ino: u64, range: Range<u64>) -> Result<Vec<u8>, Errno>;

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn change(&mut self, ino: u64, change: &Change) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// fsync(2), or fdatasync(2), which doesn't care for the times.
    fn sync(&mut self, ino: u64, times_too: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// close(2) of one of its descriptors.
    fn close(&mut self, ino: u64) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn sync_folder(&mut self) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// An empty file; its number.
    fn create(&mut self, name: &OsStr, perm: u16) -> Result<u64, Errno> {
        Err(Errno::ENOSYS)
    }

    fn unlink(&mut self, name: &OsStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn link(&mut self, ino: u64, name: &OsStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr, replace: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// What whoever asks for a lock is told; where there is nothing, the kernel keeps them by itself.
    fn lock_error(&self) -> Option<i32> {
        None
    }
}

/// Files numbered in the order of their names.
pub fn numbered<'a>(names: impl Iterator<Item = &'a String>) -> Vec<(OsString, u64)> {
    names.map(OsString::from).zip(2..).collect()
}

/// The place in that order of the file with this number.
pub fn place(ino: u64) -> usize {
    ino.checked_sub(2).map_or(usize::MAX, index)
}

/// An offset in a file that is held in memory.
pub fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}

/// What there is of a range.
pub fn part(bytes: &[u8], range: Range<u64>) -> Vec<u8> {
    let clamp = |at: u64| index(at).min(bytes.len());
    bytes[clamp(range.start)..clamp(range.end)].to_vec()
}

//! A disk to write to that fails on purpose, and remembers in which order it was written, synced, read and renamed.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    ops::Range,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use fuser::{Errno, MountOption};

use crate::support::{
    fuse_folder::{Change, Folder, Stat, index, part},
    fuse_server::Served,
};

/// The size and place of a write are the kernel's to choose; everything else is remembered as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes were written to a file.
    Write,
    /// A file was synced.
    Sync,
    /// A file was read.
    Read,
    /// A file got this name, by a link or by renaming.
    Name(OsString),
    /// The folder was synced.
    SyncFolder,
}

/// What goes wrong.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// The byte at this offset is stored with one bit flipped, and nobody is told.
    pub flips_at: Option<u64>,
    /// A write that goes beyond this offset fails with the error.
    pub write_error: Option<(u64, i32)>,
    /// Syncing a file fails with the error.
    pub sync_error: Option<i32>,
    /// After so many syncs that went well they fail with the error.
    pub syncs_until: Option<(usize, i32)>,
    /// Closing a file that was written to fails with the error, and nothing else tells.
    pub close_error: Option<i32>,
    /// The server knows neither `RENAME_NOREPLACE` nor hard links, as some do.
    pub plain_renames_only: bool,
}

struct Node {
    bytes: Vec<u8>,
    perm: u16,
    owner: (u32, u32),
    links: u32,
}

#[derive(Default)]
struct Disk {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<OsString, u64>,
    faults: Faults,
    steps: Vec<Step>,
}

impl Disk {
    fn node(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    fn unname(&mut self, name: &OsStr) -> bool {
        // The node stays until the end: somebody may have it open.
        self.names.remove(name).and_then(|ino| self.nodes.get_mut(&ino)).map(|node| node.links -= 1).is_some()
    }
}

impl Folder for Disk {
    fn files(&self) -> Vec<(OsString, u64)> {
        self.names.iter().map(|(name, &ino)| (name.clone(), ino)).collect()
    }

    fn stat(&self, ino: u64) -> Option<Stat> {
        let node = self.nodes.get(&ino)?;
        Some(Stat { perm: node.perm, owner: node.owner, links: node.links, ..Stat::new(node.bytes.len() as u64, UNIX_EPOCH) })
    }

    fn read(&mut self, ino: u64, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        self.steps.push(Step::Read);
        Ok(part(&self.node(ino)?.bytes, range))
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.steps.push(Step::Write);
        let end = offset + data.len() as u64;
        if let Some((limit, errno)) = self.faults.write_error
            && end > limit
        {
            return Err(Errno::from_i32(errno));
        }
        let flipped = self.faults.flips_at.filter(|at| (offset..end).contains(at));
        let bytes = &mut self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)?.bytes;
        let (from, to) = (index(offset), index(end));
        bytes.resize(bytes.len().max(to), 0);
        bytes[from..to].copy_from_slice(data);
        if let Some(at) = flipped {
            bytes[index(at)] ^= 4;
        }
        Ok(())
    }

    fn change(&mut self, ino: u64, change: &Change) -> Result<(), Errno> {
        let node = self.node(ino)?;
        if let Some(size) = change.size {
            node.bytes.resize(index(size), 0);
        }
        change.apply(&mut node.perm, &mut node.owner);
        Ok(())
    }

    fn sync(&mut self, _ino: u64, _times_too: bool) -> Result<(), Errno> {
        let synced = self.steps.iter().filter(|step| **step == Step::Sync).count();
        self.steps.push(Step::Sync);
        if let Some((_, errno)) = self.faults.syncs_until.filter(|(well, _)| synced >= *well) {
            return Err(Errno::from_i32(errno));
        }
        self.faults.sync_error.map_or(Ok(()), |errno| Err(Errno::from_i32(errno)))
    }

    fn close(&mut self, ino: u64) -> Result<(), Errno> {
        let written = self.nodes.get(&ino).is_some_and(|node| !node.bytes.is_empty());
        self.faults.close_error.filter(|_| written).map_or(Ok(()), |errno| Err(Errno::from_i32(errno)))
    }

    fn sync_folder(&mut self) -> Result<(), Errno> {
        self.steps.push(Step::SyncFolder);
        Ok(())
    }

    fn create(&mut self, name: &OsStr, perm: u16) -> Result<u64, Errno> {
        let ino = self.nodes.keys().next_back().map_or(2, |last| last + 1);
        self.nodes.insert(ino, Node { bytes: Vec::new(), perm, owner: (0, 0), links: 1 });
        self.names.insert(name.to_owned(), ino);
        Ok(ino)
    }

    fn unlink(&mut self, name: &OsStr) -> Result<(), Errno> {
        self.unname(name).then_some(()).ok_or(Errno::ENOENT)
    }

    fn link(&mut self, ino: u64, name: &OsStr) -> Result<(), Errno> {
        if self.faults.plain_renames_only {
            return Err(Errno::EPERM);
        }
        self.node(ino)?.links += 1;
        self.names.insert(name.to_owned(), ino);
        self.steps.push(Step::Name(name.to_owned()));
        Ok(())
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr, replace: bool) -> Result<(), Errno> {
        if !replace && self.faults.plain_renames_only {
            return Err(Errno::ENOSYS);
        }
        let ino = self.names.remove(from).ok_or(Errno::ENOENT)?;
        self.unname(to);
        self.names.insert(to.to_owned(), ino);
        self.steps.push(Step::Name(to.to_owned()));
        Ok(())
    }
}

/// The disk, mounted as an empty folder; it is unmounted when dropped.
pub struct BadDisk(Served<Disk>);

impl BadDisk {
    /// Mounts it as a new folder in `folder`. None, said aloud, where this can't be done here.
    pub fn new(folder: &Path, faults: Faults) -> Option<Self> {
        Served::new(folder.join("disk"), Disk { faults, ..Disk::default() }, MountOption::RW, 1).map(Self)
    }

    /// A file on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Names of all files on it.
    pub fn names(&self) -> Vec<OsString> {
        self.0.folder().names.keys().cloned().collect()
    }

    /// What happened so far.
    pub fn steps(&self) -> Vec<Step> {
        self.0.folder().steps.clone()
    }

    /// What a file holds on the disk itself, whatever caches say.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = self.0.folder();
        disk.nodes[&disk.names[OsStr::new(name)]].bytes.clone()
    }
}

//! A disk that loses power: what was written and not synced is gone, or is there, or is there in part; a name that wasn't synced may
//! be missing. It takes images of what such a cut would leave at many moments of one run, and shows them afterwards.

#[path = "lossy_state.rs"]
mod state;

use std::{
    ffi::{OsStr, OsString},
    ops::Range,
    path::{Path, PathBuf},
};

use fuser::{Errno, MountOption};

use crate::support::{
    fuse_folder::{self, Folder, Stat, index, part},
    fuse_server::Served,
};
use state::{Change, Names, Node, State};

/// What a power cut would have left at some moment.
#[derive(Clone)]
pub struct Image {
    state: State,
    /// Changes that had come until then.
    pub step: u64,
}

#[derive(Default)]
struct Disk {
    state: State,
    /// Writes, syncs and names that came.
    steps: u64,
    /// An image is taken before one of so many steps; none at 0.
    every: u64,
    dice: u64,
    images: Vec<Image>,
}

impl Disk {
    fn roll(&mut self, bound: u64) -> u64 {
        roll(&mut self.dice, bound)
    }

    /// Something changes now.
    fn step(&mut self) {
        if self.every > 0 && self.roll(self.every) == 0 {
            let mut dice = self.dice;
            let state = self.state.cut(&mut |bound| roll(&mut dice, bound));
            self.dice = dice;
            self.images.push(Image { state, step: self.steps });
        }
        self.steps += 1;
    }

    /// The file, of which something changes now.
    fn node(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.step();
        self.state.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    /// The names change now.
    fn rename_by(&mut self, change: impl FnOnce(&mut Names)) {
        self.step();
        self.state.rename(change);
    }
}

impl Folder for Disk {
    fn files(&self) -> Vec<(OsString, u64)> {
        self.state.names().iter().map(|(name, &ino)| (name.clone(), ino)).collect()
    }

    fn stat(&self, ino: u64) -> Option<Stat> {
        let node = self.state.nodes.get(&ino)?;
        Some(Stat { perm: node.perm, owner: node.owner, ..Stat::new(node.bytes.len() as u64, node.modified) })
    }

    fn read(&mut self, ino: u64, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        let node = self.state.nodes.get(&ino).ok_or(Errno::ENOENT)?;
        Ok(part(&node.bytes, range))
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.node(ino)?.change(Change::Write(index(offset), data.to_vec()));
        Ok(())
    }

    fn change(&mut self, ino: u64, change: &fuse_folder::Change) -> Result<(), Errno> {
        let node = self.node(ino)?;
        if let Some(size) = change.size {
            node.change(Change::Length(index(size)));
        }
        change.apply(&mut node.perm, &mut node.owner);
        Ok(())
    }

    fn sync(&mut self, ino: u64, times_too: bool) -> Result<(), Errno> {
        self.node(ino)?.sync(times_too);
        Ok(())
    }

    fn sync_folder(&mut self) -> Result<(), Errno> {
        self.step();
        let last = self.state.folders.len() - 1;
        self.state.folders.drain(..last);
        Ok(())
    }

    fn create(&mut self, name: &OsStr, perm: u16) -> Result<u64, Errno> {
        let ino = self.state.nodes.keys().next_back().map_or(2, |last| last + 1);
        self.rename_by(|names| {
            names.insert(name.to_owned(), ino);
        });
        self.state.nodes.insert(ino, Node::new(Vec::new(), perm));
        Ok(ino)
    }

    fn unlink(&mut self, name: &OsStr) -> Result<(), Errno> {
        // The node stays until the end: somebody may have it open.
        self.rename_by(|names| {
            names.remove(name);
        });
        Ok(())
    }

    fn link(&mut self, ino: u64, name: &OsStr) -> Result<(), Errno> {
        if !self.state.nodes.contains_key(&ino) {
            return Err(Errno::ENOENT);
        }
        self.rename_by(|names| {
            names.insert(name.to_owned(), ino);
        });
        Ok(())
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr, replace: bool) -> Result<(), Errno> {
        let names = self.state.names();
        let ino = *names.get(from).ok_or(Errno::ENOENT)?;
        if names.contains_key(to) && !replace {
            return Err(Errno::EEXIST);
        }
        self.rename_by(|names| {
            names.remove(from);
            names.insert(to.to_owned(), ino);
        });
        Ok(())
    }
}

fn roll(dice: &mut u64, bound: u64) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*dice >> 33) % bound
}

/// The disk, mounted; it is unmounted when dropped.
pub struct LossyDisk(Served<Disk>);

impl LossyDisk {
    /// Mounts it as a new folder in `folder`, with these files, which are safe. None, said aloud, where this can't be done here.
    pub fn new<const N: usize>(folder: &Path, files: [(&str, Vec<u8>); N]) -> Option<Self> {
        let mut state = State { folders: vec![Names::new()], ..State::default() };
        for (ino, (name, bytes)) in (2..).zip(files) {
            state.nodes.insert(ino, Node::new(bytes, 0o644));
            state.folders[0].insert(name.into(), ino);
        }
        Served::new(folder.join("lossy"), Disk { state, ..Disk::default() }, MountOption::RW, 1).map(Self)
    }

    /// A file on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// What a file holds on the disk; none where there is none of this name.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.0.folder();
        let ino = disk.state.names().get(OsStr::new(name))?;
        Some(disk.state.nodes[ino].bytes.clone())
    }

    /// Runs something, and takes images of what a power cut would leave, before one of `every` changes each.
    pub fn images_of<T>(&self, seed: u64, every: u64, then: impl FnOnce() -> T) -> (T, Vec<Image>) {
        {
            let mut disk = self.0.folder();
            (disk.every, disk.dice, disk.steps) = (every, seed, 0);
            disk.images.clear();
        }
        let result = then();
        let mut disk = self.0.folder();
        disk.every = 0;
        (result, std::mem::take(&mut disk.images))
    }

    /// What the disk holds now, nothing lost.
    pub fn image(&self) -> Image {
        let disk = self.0.folder();
        Image { state: disk.state.clone(), step: disk.steps }
    }

    /// What is left if the power goes now.
    pub fn cut(&self, seed: u64) -> Image {
        let (disk, mut dice) = (self.0.folder(), seed);
        Image { state: disk.state.cut(&mut |bound| roll(&mut dice, bound)), step: disk.steps }
    }

    /// The power is back, and this is what the disk holds.
    pub fn put(&self, image: &Image) {
        self.0.folder().state = image.state.clone();
    }
}

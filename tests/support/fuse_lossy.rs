//! A disk that loses power: what was written and not synced is gone, or is there, or is there in part; a name that wasn't synced may
//! be missing. It takes images of what such a cut would leave at many moments of one run, and shows them afterwards.

#[path = "lossy_state.rs"]
mod state;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::support::{mounts, skip};
use state::{Change, Names, Node, State, index};

/// Nothing is remembered by the kernel.
const TTL: Duration = Duration::ZERO;

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

    fn attr(&self, ino: u64) -> Option<FileAttr> {
        if ino == INodeNo::ROOT.0 {
            return Some(attr(ino, FileType::Directory, 0o755, &Node::new(Vec::new(), 0o755), UNIX_EPOCH));
        }
        let node = self.state.nodes.get(&ino)?;
        Some(attr(ino, FileType::RegularFile, node.perm, node, node.modified))
    }

    fn found(&self, name: &OsStr) -> Option<FileAttr> {
        self.state.names().get(name).and_then(|&ino| self.attr(ino))
    }
}

fn roll(dice: &mut u64, bound: u64) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*dice >> 33) % bound
}

fn attr(ino: u64, kind: FileType, perm: u16, node: &Node, time: SystemTime) -> FileAttr {
    let size = node.bytes.len() as u64;
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

type Shared = Arc<Mutex<Disk>>;

fn locked(disk: &Shared) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk, mounted; it is unmounted when dropped.
pub struct LossyDisk {
    point: PathBuf,
    disk: Shared,
    session: Option<BackgroundSession>,
}

impl LossyDisk {
    /// Mounts it as a new folder in `folder`, with these files, which are safe. None, said aloud, where this can't be done here.
    pub fn new<const N: usize>(folder: &Path, files: [(&str, Vec<u8>); N]) -> Option<Self> {
        if !mounts::is_root("mounting a FUSE file system") {
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            skip("this kernel has no /dev/fuse");
            return None;
        }
        let point = folder.join("lossy");
        fs::create_dir(&point).expect("the mount point is new");
        let mut state = State { folders: vec![Names::new()], ..State::default() };
        for (ino, (name, bytes)) in (2..).zip(files) {
            state.nodes.insert(ino, Node::new(bytes, 0o644));
            state.folders[0].insert(name.into(), ino);
        }
        let disk = Shared::new(Mutex::new(Disk { state, ..Disk::default() }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RW, MountOption::FSName("quorum-img-test".into())];
        let session = fuser::spawn_mount(Server { disk: disk.clone() }, &point, &config).expect("root can mount FUSE");
        Some(Self { point, disk, session: Some(session) })
    }

    /// A file on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// What a file holds on the disk; none where there is none of this name.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let disk = locked(&self.disk);
        let ino = disk.state.names().get(OsStr::new(name))?;
        Some(disk.state.nodes[ino].bytes.clone())
    }

    /// Runs something, and takes images of what a power cut would leave, before one of `every` changes each.
    pub fn images_of<T>(&self, seed: u64, every: u64, then: impl FnOnce() -> T) -> (T, Vec<Image>) {
        {
            let mut disk = locked(&self.disk);
            (disk.every, disk.dice, disk.steps) = (every, seed, 0);
            disk.images.clear();
        }
        let result = then();
        let mut disk = locked(&self.disk);
        disk.every = 0;
        (result, std::mem::take(&mut disk.images))
    }

    /// What the disk holds now, nothing lost.
    pub fn image(&self) -> Image {
        let disk = locked(&self.disk);
        Image { state: disk.state.clone(), step: disk.steps }
    }

    /// What is left if the power goes now.
    pub fn cut(&self, seed: u64) -> Image {
        let (disk, mut dice) = (locked(&self.disk), seed);
        Image { state: disk.state.cut(&mut |bound| roll(&mut dice, bound)), step: disk.steps }
    }

    /// The power is back, and this is what the disk holds.
    pub fn put(&self, image: &Image) {
        locked(&self.disk).state = image.state.clone();
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            mounts::unmount(&self.point);
            let _ = session.umount_and_join();
        }
    }
}

struct Server {
    disk: Shared,
}

impl Filesystem for Server {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match locked(&self.disk).found(name) {
            Some(attr) => reply.entry(&TTL, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match locked(&self.disk).attr(ino.0) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = locked(&self.disk);
        disk.step();
        if let Some(node) = disk.state.nodes.get_mut(&ino.0) {
            if let Some(size) = size {
                node.change(Change::Length(index(size)));
            }
            node.perm = mode.map_or(node.perm, |mode| (mode & 0o7777) as u16);
            node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
        }
        match disk.attr(ino.0) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn create(&self, _request: &Request, _parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, _flags: i32, reply: ReplyCreate) {
        let mut disk = locked(&self.disk);
        disk.step();
        let ino = disk.state.nodes.keys().next_back().map_or(2, |last| last + 1);
        disk.state.nodes.insert(ino, Node::new(Vec::new(), (mode & 0o7777) as u16));
        disk.state.rename(|names| {
            names.insert(name.to_owned(), ino);
        });
        let attr = disk.attr(ino).expect("it was just made");
        reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = locked(&self.disk);
        let Some(node) = disk.state.nodes.get(&ino.0) else { return reply.error(Errno::ENOENT) };
        let clamp = |at: u64| index(at).min(node.bytes.len());
        reply.data(&node.bytes[clamp(offset)..clamp(offset + u64::from(size))]);
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut disk = locked(&self.disk);
        disk.step();
        let Some(node) = disk.state.nodes.get_mut(&ino.0) else { return reply.error(Errno::ENOENT) };
        node.change(Change::Write(index(offset), data.to_vec()));
        reply.written(u32::try_from(data.len()).expect("one request"));
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let mut disk = locked(&self.disk);
        disk.step();
        let Some(node) = disk.state.nodes.get_mut(&ino.0) else { return reply.error(Errno::ENOENT) };
        node.sync(!datasync);
        reply.ok();
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let mut disk = locked(&self.disk);
        disk.step();
        let last = disk.state.folders.len() - 1;
        disk.state.folders.drain(..last);
        reply.ok();
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut disk = locked(&self.disk);
        disk.step();
        // The node stays until the end: somebody may have it open.
        disk.state.rename(|names| {
            names.remove(name);
        });
        reply.ok();
    }

    fn link(&self, _request: &Request, ino: INodeNo, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = locked(&self.disk);
        disk.step();
        let Some(attr) = disk.attr(ino.0) else { return reply.error(Errno::ENOENT) };
        disk.state.rename(|names| {
            names.insert(name.to_owned(), ino.0);
        });
        reply.entry(&TTL, &attr, Generation(0));
    }

    fn rename(
        &self,
        _request: &Request,
        _parent: INodeNo,
        from: &OsStr,
        _new_parent: INodeNo,
        to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut disk = locked(&self.disk);
        let (Some(&ino), taken) = (disk.state.names().get(from), disk.state.names().contains_key(to)) else {
            return reply.error(Errno::ENOENT);
        };
        if taken && !flags.is_empty() {
            return reply.error(Errno::EEXIST);
        }
        disk.step();
        disk.state.rename(|names| {
            names.remove(from);
            names.insert(to.to_owned(), ino);
        });
        reply.ok();
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (number, (name, &ino)) in locked(&self.disk).state.names().iter().enumerate().skip(index(offset)) {
            if reply.add(INodeNo(ino), number as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    /// There seems to be space enough, always.
    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}

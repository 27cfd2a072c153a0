//! A disk to write to that fails on purpose, and remembers in which order it was written, synced, read and renamed.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
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

type Shared = Arc<Mutex<Disk>>;

fn locked(disk: &Shared) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk, mounted as an empty folder; it is unmounted when dropped.
pub struct BadDisk {
    point: PathBuf,
    disk: Shared,
    session: Option<BackgroundSession>,
}

impl BadDisk {
    /// Mounts it as a new folder in `folder`. None, said aloud, where this can't be done here.
    pub fn new(folder: &Path, faults: Faults) -> Option<Self> {
        if !mounts::is_root("mounting a FUSE file system") {
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            skip("this kernel has no /dev/fuse");
            return None;
        }
        let point = folder.join("disk");
        fs::create_dir(&point).expect("the mount point is new");
        let disk = Shared::new(Mutex::new(Disk { faults, ..Disk::default() }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RW, MountOption::FSName("quorum-img-test".into())];
        let session = fuser::spawn_mount(Server { disk: disk.clone() }, &point, &config).expect("root can mount FUSE");
        Some(Self { point, disk, session: Some(session) })
    }

    /// A file on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Names of all files on it.
    pub fn names(&self) -> Vec<OsString> {
        locked(&self.disk).names.keys().cloned().collect()
    }

    /// What happened so far.
    pub fn steps(&self) -> Vec<Step> {
        locked(&self.disk).steps.clone()
    }

    /// What a file holds on the disk itself, whatever caches say.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = locked(&self.disk);
        disk.nodes[&disk.names[OsStr::new(name)]].bytes.clone()
    }
}

impl Drop for BadDisk {
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

const TTL: Duration = Duration::ZERO;

impl Disk {
    fn attr(&self, ino: u64) -> Option<FileAttr> {
        let folder = Node { bytes: Vec::new(), perm: 0o755, owner: (0, 0), links: 2 };
        let (node, kind) =
            if ino == INodeNo::ROOT.0 { (&folder, FileType::Directory) } else { (self.nodes.get(&ino)?, FileType::RegularFile) };
        let size = node.bytes.len() as u64;
        Some(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: node.perm,
            nlink: node.links,
            uid: node.owner.0,
            gid: node.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn found(&self, name: &OsStr) -> Option<FileAttr> {
        self.names.get(name).and_then(|&ino| self.attr(ino))
    }

    fn unname(&mut self, name: &OsStr) -> bool {
        // The node stays until the end: somebody may have it open.
        self.names.remove(name).and_then(|ino| self.nodes.get_mut(&ino)).map(|node| node.links -= 1).is_some()
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
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
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
        if let Some(node) = disk.nodes.get_mut(&ino.0) {
            if let Some(size) = size {
                node.bytes.resize(index(size), 0);
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
        let ino = disk.nodes.keys().next_back().map_or(2, |last| last + 1);
        disk.nodes.insert(ino, Node { bytes: Vec::new(), perm: (mode & 0o7777) as u16, owner: (0, 0), links: 1 });
        disk.names.insert(name.to_owned(), ino);
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
        let mut disk = locked(&self.disk);
        disk.steps.push(Step::Read);
        let Some(node) = disk.nodes.get(&ino.0) else { return reply.error(Errno::ENOENT) };
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
        match locked(&self.disk).write(ino.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("one request")),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let mut disk = locked(&self.disk);
        disk.steps.push(Step::Sync);
        match disk.faults.sync_error {
            Some(errno) => reply.error(Errno::from_i32(errno)),
            None => reply.ok(),
        }
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        locked(&self.disk).steps.push(Step::SyncFolder);
        reply.ok();
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if locked(&self.disk).unname(name) { reply.ok() } else { reply.error(Errno::ENOENT) }
    }

    fn link(&self, _request: &Request, ino: INodeNo, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = locked(&self.disk);
        if disk.faults.plain_renames_only {
            return reply.error(Errno::EPERM);
        }
        let Some(node) = disk.nodes.get_mut(&ino.0) else { return reply.error(Errno::ENOENT) };
        node.links += 1;
        disk.names.insert(name.to_owned(), ino.0);
        disk.steps.push(Step::Name(name.to_owned()));
        let attr = disk.attr(ino.0).expect("it is there");
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
        if !flags.is_empty() && disk.faults.plain_renames_only {
            return reply.error(Errno::ENOSYS);
        }
        let Some(ino) = disk.names.remove(from) else { return reply.error(Errno::ENOENT) };
        disk.unname(to);
        disk.names.insert(to.to_owned(), ino);
        disk.steps.push(Step::Name(to.to_owned()));
        reply.ok();
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (index, (name, &ino)) in locked(&self.disk).names.iter().enumerate().skip(index(offset)) {
            if reply.add(INodeNo(ino), index as u64 + 1, FileType::RegularFile, name) {
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

//! What the file systems of the tests have in common: a folder, mounted by FUSE, of which the kernel remembers nothing. What becomes of
//! its files, and what goes wrong with them, is each one's own: see [`Folder`].

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyLock, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{
    fuse_folder::{Change, Folder, Stat, index},
    mounts, skip,
};

/// Each look at a file asks us again.
const TTL: Duration = Duration::ZERO;

/// A folder, mounted; it is unmounted when dropped.
pub struct Served<F> {
    point: PathBuf,
    folder: Arc<Mutex<F>>,
    session: Option<BackgroundSession>,
}

impl<F: Folder> Served<F> {
    /// Mounts it at the new folder `point`, answered by so many threads. None, said aloud, where this can't be done here.
    pub fn new(point: PathBuf, folder: F, access: MountOption, threads: usize) -> Option<Self> {
        if !mounts::may_mount("mounting a FUSE file system") {
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            skip("this kernel has no /dev/fuse");
            return None;
        }
        fs::create_dir(&point).expect("the mount point is new");
        let folder = Arc::new(Mutex::new(folder));
        let mut config = Config::default();
        config.mount_options = vec![access, MountOption::FSName("quorum-img-test".into())];
        config.n_threads = Some(threads);
        let session = fuser::spawn_mount(Server(folder.clone()), &point, &config).expect("root can mount FUSE");
        Some(Self { point, folder, session: Some(session) })
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// The folder itself, whatever caches say; nothing is answered meanwhile.
    pub fn folder(&self) -> MutexGuard<'_, F> {
        locked(&self.folder)
    }
}

impl<F> Drop for Served<F> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A reader that was just killed may need a moment to let go; the lazy way ends the session in any case.
            mounts::unmount(&self.point);
            let _ = session.umount_and_join();
        }
    }
}

fn locked<F>(folder: &Mutex<F>) -> MutexGuard<'_, F> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Server<F>(Arc<Mutex<F>>);

impl<F: Folder> Server<F> {
    fn folder(&self) -> MutexGuard<'_, F> {
        locked(&self.0)
    }

    fn lock_error(&self) -> Errno {
        self.folder().lock_error().map_or(Errno::ENOSYS, Errno::from_i32)
    }

    fn delays(&self, ino: INodeNo) -> [Duration; 2] {
        self.folder().delays(ino.0)
    }
}

fn attr_of(stat: &Stat, ino: u64, kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: stat.size,
        blocks: stat.size.div_ceil(512),
        atime: stat.modified,
        mtime: stat.modified,
        ctime: stat.modified,
        crtime: stat.modified,
        kind,
        perm: stat.perm,
        nlink: stat.links,
        uid: stat.owner.0,
        gid: stat.owner.1,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn attr(folder: &impl Folder, ino: u64) -> Result<FileAttr, Errno> {
    if ino == INodeNo::ROOT.0 {
        let stat = Stat { perm: 0o755, ..Stat::new(0, UNIX_EPOCH) };
        return Ok(attr_of(&stat, ino, FileType::Directory));
    }
    folder.stat(ino).map(|stat| attr_of(&stat, ino, FileType::RegularFile)).ok_or(Errno::ENOENT)
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn answer_attr(reply: ReplyAttr, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attr) => reply.attr(&TTL, &attr),
        Err(errno) => reply.error(errno),
    }
}

fn answer_entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

impl<F: Folder> Filesystem for Server<F> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if self.folder().lock_error().is_some() {
            let asked = config.add_capabilities(InitFlags::FUSE_POSIX_LOCKS);
            asked.map_err(|missing| io::Error::other(format!("this kernel lacks {missing:?}")))?;
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let folder = self.folder();
        let found = folder.files().into_iter().find(|(file, _)| file == name).ok_or(Errno::ENOENT);
        answer_entry(reply, found.and_then(|(_, ino)| attr(&*folder, ino)));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        answer_attr(reply, attr(&*self.folder(), ino.0));
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
        let mut folder = self.folder();
        let change = Change { perm: mode.map(permissions), owner: (uid, gid), size };
        let changed = folder.change(ino.0, &change);
        answer_attr(reply, changed.and_then(|()| attr(&*folder, ino.0)));
    }

    fn create(&self, _request: &Request, _parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, _flags: i32, reply: ReplyCreate) {
        let mut folder = self.folder();
        let created = folder.create(name, permissions(mode));
        match created.and_then(|ino| attr(&*folder, ino)) {
            Ok(attr) => reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let flags = if self.folder().uncached(ino.0) { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() };
        reply.opened(FileHandle(0), flags);
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
        let [delay, _] = self.delays(ino);
        thread::sleep(delay);
        match self.folder().read(ino.0, offset..offset + u64::from(size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
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
        let [_, delay] = self.delays(ino);
        thread::sleep(delay);
        match self.folder().write(ino.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("one request")),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        answer(reply, self.folder().sync(ino.0, !datasync));
    }

    fn flush(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        answer(reply, self.folder().close(ino.0));
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        answer(reply, self.folder().sync_folder());
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.folder().unlink(name));
    }

    fn link(&self, _request: &Request, ino: INodeNo, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut folder = self.folder();
        let linked = folder.link(ino.0, name);
        answer_entry(reply, linked.and_then(|()| attr(&*folder, ino.0)));
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
        answer(reply, self.folder().rename(from, to, flags.is_empty()));
    }

    fn getlk(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        _start: u64,
        _end: u64,
        _kind: i32,
        _pid: u32,
        reply: ReplyLock,
    ) {
        reply.error(self.lock_error());
    }

    fn setlk(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        _start: u64,
        _end: u64,
        _kind: i32,
        _pid: u32,
        _sleep: bool,
        reply: ReplyEmpty,
    ) {
        reply.error(self.lock_error());
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (number, (name, ino)) in self.folder().files().into_iter().enumerate().skip(index(offset)) {
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

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

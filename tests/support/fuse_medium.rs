//! A medium that wears out: files whose blocks can't be read until they are wholly overwritten, or ever; writes and syncs that fail;
//! locks that nobody gives. It remembers what was written where.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLock, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::support::{mounts, skip};

/// The medium's block, in bytes: it is read, and goes bad, as a whole.
pub const BLOCK: u64 = 4096;
/// Nothing is remembered by the kernel.
const TTL: Duration = Duration::ZERO;

/// What becomes of a block that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Overwriting all of it heals it; overwriting a part of it fails.
    UntilOverwritten,
    /// It can't be written to either.
    ForWriting,
    /// Writes succeed, and it still can't be read.
    ForGood,
}

/// One file.
pub struct Medium {
    /// What it holds; its length is the file's size.
    pub bytes: Vec<u8>,
    /// Blocks that can't be read, by number.
    pub bad: BTreeMap<u64, Bad>,
    /// Writes that reach beyond this offset fail with the error.
    pub write_error: Option<(u64, i32)>,
    /// The next syncs fail with these errors, one each.
    pub sync_errors: VecDeque<i32>,
    /// How long each write takes.
    pub write_delay: Duration,
    /// Past the page cache (`FOPEN_DIRECT_IO`), however it is opened.
    pub uncached: bool,
    /// What was written, in order, failed attempts included.
    pub writes: Vec<Range<u64>>,
    /// Syncs that were asked for.
    pub syncs: usize,
    modified: SystemTime,
}

impl Medium {
    /// A sound file.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            bad: BTreeMap::new(),
            write_error: None,
            sync_errors: VecDeque::new(),
            write_delay: Duration::ZERO,
            uncached: false,
            writes: Vec::new(),
            syncs: 0,
            modified: SystemTime::now(),
        }
    }

    fn bad_in(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, Bad)> {
        self.bad.range(range.start / BLOCK..range.end.div_ceil(BLOCK)).map(|(&block, &how)| (block, how))
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        if self.bad_in(&range).next().is_some() {
            return Err(Errno::EIO);
        }
        let clamp = |at: u64| index(at).min(self.bytes.len());
        Ok(self.bytes[clamp(range.start)..clamp(range.end)].to_vec())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let range = offset..offset + data.len() as u64;
        self.writes.push(range.clone());
        if let Some((limit, errno)) = self.write_error
            && range.end > limit
        {
            return Err(Errno::from_i32(errno));
        }
        let length = self.bytes.len() as u64;
        for (block, how) in self.bad_in(&range).collect::<Vec<_>>() {
            let whole = range.start <= block * BLOCK && range.end >= ((block + 1) * BLOCK).min(length);
            match how {
                Bad::UntilOverwritten if whole => drop(self.bad.remove(&block)),
                Bad::ForGood if whole => {}
                _ => return Err(Errno::EIO),
            }
        }
        self.bytes.resize(index(length.max(range.end)), 0);
        self.bytes[index(range.start)..index(range.end)].copy_from_slice(data);
        self.modified = SystemTime::now();
        Ok(())
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}

type Files = Arc<Mutex<BTreeMap<String, Medium>>>;

fn locked(files: &Files) -> MutexGuard<'_, BTreeMap<String, Medium>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files, mounted; they are unmounted when dropped.
pub struct Media {
    point: PathBuf,
    files: Files,
    session: Option<BackgroundSession>,
}

impl Media {
    /// Mounts them as a new folder in `folder`. None, said aloud, where this can't be done here.
    pub fn new<const N: usize>(folder: &Path, files: [(&str, Medium); N]) -> Option<Self> {
        Self::mount(folder, files, None)
    }

    /// As [`new`](Self::new), but asked for a lock the server answers with `errno`.
    pub fn without_locks<const N: usize>(folder: &Path, files: [(&str, Medium); N], errno: i32) -> Option<Self> {
        Self::mount(folder, files, Some(errno))
    }

    fn mount<const N: usize>(folder: &Path, files: [(&str, Medium); N], lock_error: Option<i32>) -> Option<Self> {
        if !mounts::is_root("mounting a FUSE file system") {
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            skip("this kernel has no /dev/fuse");
            return None;
        }
        let point = folder.join("media");
        fs::create_dir(&point).expect("the mount point is new");
        let files: Files = Arc::new(Mutex::new(files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RW, MountOption::FSName("quorum-img-test".into())];
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(Server { files: files.clone(), lock_error }, &point, &config).expect("root can mount FUSE");
        Some(Self { point, files, session: Some(session) })
    }

    /// Where a file stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Looks at a file, or changes it, at once.
    pub fn with<T>(&self, name: &str, then: impl FnOnce(&mut Medium) -> T) -> T {
        then(locked(&self.files).get_mut(name).expect("there is such a file"))
    }

    /// What a file holds on the medium itself, whatever caches say.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.with(name, |file| file.bytes.clone())
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            mounts::unmount(&self.point);
            let _ = session.umount_and_join();
        }
    }
}

struct Server {
    files: Files,
    lock_error: Option<i32>,
}

impl Server {
    /// Files are numbered from 2 on, in the order of their names; 1 is the folder.
    fn with<T>(&self, ino: INodeNo, then: impl FnOnce(&mut Medium) -> T) -> Option<T> {
        let index = usize::try_from(ino.0.checked_sub(2)?).ok()?;
        locked(&self.files).values_mut().nth(index).map(then)
    }

    fn attr(&self, ino: INodeNo) -> Option<FileAttr> {
        if ino == INodeNo::ROOT {
            return Some(attr(ino, FileType::Directory, 0, UNIX_EPOCH));
        }
        self.with(ino, |file| attr(ino, FileType::RegularFile, file.bytes.len() as u64, file.modified))
    }
}

fn attr(ino: INodeNo, kind: FileType, size: u64, time: SystemTime) -> FileAttr {
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: if kind == FileType::Directory { 0o755 } else { 0o644 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: u32::try_from(BLOCK).expect("it is 4096"),
        flags: 0,
    }
}

impl Filesystem for Server {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if self.lock_error.is_some() {
            // Otherwise the kernel keeps locks by itself.
            let asked = config.add_capabilities(InitFlags::FUSE_POSIX_LOCKS);
            asked.map_err(|missing| io::Error::other(format!("this kernel lacks {missing:?}")))?;
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = locked(&self.files).keys().position(|file| parent == INodeNo::ROOT && OsStr::new(file) == name);
        match index.and_then(|index| self.attr(INodeNo(index as u64 + 2))) {
            Some(attr) => reply.entry(&TTL, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
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
        if let Some(size) = size {
            self.with(ino, |file| {
                file.bytes.resize(index(size), 0);
                file.modified = SystemTime::now();
            });
        }
        match self.attr(ino) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.with(ino, |file| file.uncached) {
            Some(true) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Some(false) => reply.opened(FileHandle(0), FopenFlags::empty()),
            None => reply.error(Errno::ENOENT),
        }
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
        match self.with(ino, |file| file.read(offset..offset + u64::from(size))) {
            Some(Ok(bytes)) => reply.data(&bytes),
            Some(Err(errno)) => reply.error(errno),
            None => reply.error(Errno::ENOENT),
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
        thread::sleep(self.with(ino, |file| file.write_delay).unwrap_or_default());
        match self.with(ino, |file| file.write(offset, data)) {
            Some(Ok(())) => reply.written(u32::try_from(data.len()).expect("one request")),
            Some(Err(errno)) => reply.error(errno),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let failed = self.with(ino, |file| {
            file.syncs += 1;
            file.sync_errors.pop_front()
        });
        match failed.flatten() {
            Some(errno) => reply.error(Errno::from_i32(errno)),
            None => reply.ok(),
        }
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
        reply.error(Errno::from_i32(self.lock_error.unwrap_or(libc::ENOSYS)));
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
        reply.error(Errno::from_i32(self.lock_error.unwrap_or(libc::ENOSYS)));
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (number, name) in locked(&self.files).keys().enumerate().skip(index(offset)) {
            if reply.add(INodeNo(number as u64 + 2), number as u64 + 1, FileType::RegularFile, name) {
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

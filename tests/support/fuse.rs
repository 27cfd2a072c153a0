//! A file system that fails on purpose: it serves files from memory, and each can have faults.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, MountOption,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};

/// Nothing is remembered by the kernel: each look at a file's size and time asks us.
const TTL: Duration = Duration::ZERO;

/// One file, as it is served.
pub struct FaultyFile {
    /// What it holds; its length is the file's size.
    pub bytes: Vec<u8>,
    /// Reads that touch a range fail with its error.
    pub faults: Vec<(Range<u64>, i32)>,
    /// When it says that it was written to.
    pub modified: SystemTime,
    /// How long each read takes.
    pub delay: Duration,
    /// Past the page cache (`FOPEN_DIRECT_IO`): each read arrives here as the program asked for it, and it can't be mapped.
    pub uncached: bool,
    /// Once a read touches the first one's offset, that happens, and the read is answered after it; then it is the next one's turn.
    pub surprises: VecDeque<(u64, Surprise)>,
    /// Reads that were answered, errors included.
    pub reads: u64,
}

/// What happens to a file while it is being read.
pub type Surprise = Box<dyn FnOnce(&mut FaultyFile) + Send>;

impl FaultyFile {
    /// A file without any fault.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Self {
            bytes: bytes.into(),
            faults: Vec::new(),
            modified,
            delay: Duration::ZERO,
            uncached: false,
            surprises: VecDeque::new(),
            reads: 0,
        }
    }

    /// Reads of `range` fail with `errno`.
    pub fn fails(mut self, range: Range<u64>, errno: i32) -> Self {
        self.faults.push((range, errno));
        self
    }

    /// Reads reach the server one by one, without page cache and mappings.
    pub fn uncached(mut self) -> Self {
        self.uncached = true;
        self
    }

    /// Each read takes this long.
    pub fn slow(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// When `offset` is read, and all earlier surprises are over, `what` happens.
    pub fn surprised(mut self, offset: u64, what: impl FnOnce(&mut Self) + Send + 'static) -> Self {
        self.surprises.push_back((offset, Box::new(what)));
        self
    }

    fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        self.reads += 1;
        if self.surprises.front().is_some_and(|(offset, _)| range.contains(offset)) {
            let (_, what) = self.surprises.pop_front().expect("it was just seen");
            what(self);
        }
        if let Some((_, errno)) = self.faults.iter().find(|(bad, _)| bad.start < range.end && range.start < bad.end) {
            return Err(Errno::from_i32(*errno));
        }
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(self.bytes[clamp(range.start)..clamp(range.end)].to_vec())
    }
}

type Files = Arc<Mutex<BTreeMap<String, FaultyFile>>>;

fn locked(files: &Files) -> MutexGuard<'_, BTreeMap<String, FaultyFile>> {
    files.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The file system, mounted; it is unmounted when dropped.
pub struct FaultyMount {
    point: PathBuf,
    files: Files,
    session: Option<BackgroundSession>,
}

impl FaultyMount {
    /// Mounts it as a new folder `faulty` in `folder`, with these files. None, said aloud, where this can't be done here.
    pub fn new<const N: usize>(folder: &Path, files: [(&str, FaultyFile); N]) -> Option<Self> {
        if !super::mounts::is_root("mounting a FUSE file system") {
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            super::skip("this kernel has no /dev/fuse");
            return None;
        }
        let point = folder.join("faulty");
        fs::create_dir(&point).expect("the mount point is new");
        let files: Files = Arc::new(Mutex::new(files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("quorum-img-test".into())];
        // So that one slow read doesn't hold up another.
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(Server { files: files.clone() }, &point, &config).expect("root can mount FUSE");
        Some(Self { point, files, session: Some(session) })
    }

    /// Where a file stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Changes a file, at once.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut FaultyFile)) {
        change(locked(&self.files).get_mut(name).expect("there is such a file"));
    }

    /// How many reads of a file were answered.
    pub fn reads(&self, name: &str) -> u64 {
        locked(&self.files)[name].reads
    }
}

impl Drop for FaultyMount {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A reader that was just killed may need a moment to let go; the lazy way ends the session in any case.
            super::mounts::unmount(&self.point);
            let _ = session.umount_and_join();
        }
    }
}

struct Server {
    files: Files,
}

impl Server {
    /// Files are numbered from 2 on, in the order of their names; 1 is the folder.
    fn with<T>(&self, ino: INodeNo, then: impl FnOnce(&mut FaultyFile) -> T) -> Option<T> {
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
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Server {
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
        thread::sleep(self.with(ino, |file| file.delay).unwrap_or_default());
        match self.with(ino, |file| file.read(offset..offset + u64::from(size))) {
            Some(Ok(bytes)) => reply.data(&bytes),
            Some(Err(errno)) => reply.error(errno),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if ino != INodeNo::ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, name) in locked(&self.files).keys().enumerate().skip(skipped) {
            if reply.add(INodeNo(index as u64 + 2), index as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}

//! A file system that fails on purpose: it serves files from memory, and each can have faults.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{Errno, MountOption};

use super::{
    fuse_folder::{Folder, Stat, numbered, part, place},
    fuse_server::Served,
};

/// One file, as it is served.
pub struct FaultyFile {
    /// What it holds; its length is the file's size.
    pub bytes: Vec<u8>,
    /// Reads that touch a range fail with its error.
    pub faults: Vec<(Range<u64>, i32)>,
    /// Reads end there, whatever its size says.
    pub ends_at: Option<u64>,
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
            ends_at: None,
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
        let end = range.end.min(self.ends_at.unwrap_or(u64::MAX)).max(range.start);
        Ok(part(&self.bytes, range.start..end))
    }
}

/// By their names.
struct Files(BTreeMap<String, FaultyFile>);

impl Folder for Files {
    fn files(&self) -> Vec<(OsString, u64)> {
        numbered(self.0.keys())
    }

    fn stat(&self, ino: u64) -> Option<Stat> {
        self.0.values().nth(place(ino)).map(|file| Stat::new(file.bytes.len() as u64, file.modified))
    }

    fn uncached(&self, ino: u64) -> bool {
        self.0.values().nth(place(ino)).is_some_and(|file| file.uncached)
    }

    fn delays(&self, ino: u64) -> [Duration; 2] {
        [self.0.values().nth(place(ino)).map_or(Duration::ZERO, |file| file.delay), Duration::ZERO]
    }

    fn read(&mut self, ino: u64, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        self.0.values_mut().nth(place(ino)).ok_or(Errno::ENOENT)?.read(range)
    }
}

/// The file system, mounted; it is unmounted when dropped.
pub struct FaultyMount(Served<Files>);

impl FaultyMount {
    /// Mounts it as a new folder `faulty` in `folder`, with these files. None, said aloud, where this can't be done here.
    pub fn new<const N: usize>(folder: &Path, files: [(&str, FaultyFile); N]) -> Option<Self> {
        let files = Files(files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect());
        // Threads, so that one slow read doesn't hold up another.
        Served::new(folder.join("faulty"), files, MountOption::RO, 4).map(Self)
    }

    /// Where a file stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Changes a file, at once.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut FaultyFile)) {
        change(self.0.folder().0.get_mut(name).expect("there is such a file"));
    }

    /// How many reads of a file were answered.
    pub fn reads(&self, name: &str) -> u64 {
        self.0.folder().0[name].reads
    }
}

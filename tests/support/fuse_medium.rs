//! A medium that wears out: files whose blocks can't be read until they are wholly overwritten, or ever; writes and syncs that fail;
//! locks that nobody gives. It remembers what was written where.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use fuser::{Errno, MountOption};

use crate::support::{
    fuse_folder::{Change, Folder, Stat, index, numbered, part, place},
    fuse_server::Served,
};

/// The medium's block, in bytes: it is read, and goes bad, as a whole.
pub const BLOCK: u64 = 4096;

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
    /// Blocks, by number, of which readings have a flipped bit: the next one where the lowest bit here is set, the one after it where the next
    /// one is.
    pub flaky: BTreeMap<u64, u64>,
    /// Blocks, by number, that keep what is written with a flipped bit.
    pub bending: BTreeSet<u64>,
    /// Writes that reach beyond this offset fail with the error.
    pub write_error: Option<(u64, i32)>,
    /// The next syncs fail with these errors, one each.
    pub sync_errors: VecDeque<i32>,
    /// Closing it fails with this error once it was written to, as long as that isn't mended; nothing else tells.
    pub close_error: Option<i32>,
    /// How many readings are still answered as they should; then all fail with this error.
    pub fails_after: Option<(u64, i32)>,
    /// Readings that were asked for.
    pub readings: u64,
    /// How long each reading takes, from the one of that number on.
    pub read_delay: (u64, Duration),
    /// How long each write takes.
    pub write_delay: Duration,
    /// Past the page cache (`FOPEN_DIRECT_IO`), however it is opened.
    pub uncached: bool,
    /// What was written, in order, failed attempts included.
    pub writes: Vec<Range<u64>>,
    /// Syncs that were asked for.
    pub syncs: usize,
    /// When it was last written to.
    pub modified: SystemTime,
}

impl Medium {
    /// A sound file.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            bad: BTreeMap::new(),
            flaky: BTreeMap::new(),
            bending: BTreeSet::new(),
            write_error: None,
            sync_errors: VecDeque::new(),
            close_error: None,
            fails_after: None,
            readings: 0,
            read_delay: (0, Duration::ZERO),
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

    fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        self.readings += 1;
        match &mut self.fails_after {
            Some((0, errno)) => return Err(Errno::from_i32(*errno)),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        if self.bad_in(&range).next().is_some() {
            return Err(Errno::EIO);
        }
        let mut read = part(&self.bytes, range.clone());
        for (block, flips) in self.flaky.range_mut(range.start / BLOCK..range.end.div_ceil(BLOCK)) {
            let flipped = (block * BLOCK).checked_sub(range.start).and_then(|at| read.get_mut(index(at)));
            if let Some(byte) = flipped {
                *byte ^= u8::from(*flips & 1 == 1);
                *flips >>= 1;
            }
        }
        Ok(read)
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
        let bent = self.bending.range(range.start / BLOCK..range.end.div_ceil(BLOCK)).map(|block| index((block * BLOCK).max(range.start)));
        bent.for_each(|at| self.bytes[at] ^= 1);
        self.modified = SystemTime::now();
        Ok(())
    }
}

/// By their names.
struct Files {
    files: BTreeMap<String, Medium>,
    lock_error: Option<i32>,
}

impl Files {
    fn file(&mut self, ino: u64) -> Result<&mut Medium, Errno> {
        self.files.values_mut().nth(place(ino)).ok_or(Errno::ENOENT)
    }
}

impl Folder for Files {
    fn files(&self) -> Vec<(OsString, u64)> {
        numbered(self.files.keys())
    }

    fn stat(&self, ino: u64) -> Option<Stat> {
        self.files.values().nth(place(ino)).map(|file| Stat::new(file.bytes.len() as u64, file.modified))
    }

    fn uncached(&self, ino: u64) -> bool {
        self.files.values().nth(place(ino)).is_some_and(|file| file.uncached)
    }

    fn delays(&self, ino: u64) -> [Duration; 2] {
        self.files.values().nth(place(ino)).map_or([Duration::ZERO; 2], |file| {
            let (from, delay) = file.read_delay;
            [if file.readings >= from { delay } else { Duration::ZERO }, file.write_delay]
        })
    }

    fn read(&mut self, ino: u64, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        self.file(ino)?.read(range)
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.file(ino)?.write(offset, data)
    }

    fn change(&mut self, ino: u64, change: &Change) -> Result<(), Errno> {
        let file = self.file(ino)?;
        if let Some(size) = change.size {
            file.bytes.resize(index(size), 0);
            file.modified = SystemTime::now();
        }
        Ok(())
    }

    fn sync(&mut self, ino: u64, _times_too: bool) -> Result<(), Errno> {
        let file = self.file(ino)?;
        file.syncs += 1;
        file.sync_errors.pop_front().map_or(Ok(()), |errno| Err(Errno::from_i32(errno)))
    }

    fn close(&mut self, ino: u64) -> Result<(), Errno> {
        let file = self.file(ino)?;
        file.close_error.filter(|_| !file.writes.is_empty()).map_or(Ok(()), |errno| Err(Errno::from_i32(errno)))
    }

    fn lock_error(&self) -> Option<i32> {
        self.lock_error
    }
}

/// The files, mounted; they are unmounted when dropped.
pub struct Media(Served<Files>);

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
        let files = files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect();
        Served::new(folder.join("media"), Files { files, lock_error }, MountOption::RW, 4).map(Self)
    }

    /// Where a file stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Looks at a file, or changes it, at once.
    pub fn with<T>(&self, name: &str, then: impl FnOnce(&mut Medium) -> T) -> T {
        then(self.0.folder().files.get_mut(name).expect("there is such a file"))
    }

    /// What a file holds on the medium itself, whatever caches say.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.with(name, |file| file.bytes.clone())
    }
}

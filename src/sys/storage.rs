//! The seam through which everything is written, so that tests can put a disk in its place that fails on purpose.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::locks::Claim;

/// What a page holds, and what file systems write at a time at least, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// Where bytes that are read come from, the surest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This machine's page cache, as far as it holds them.
    #[default]
    Cache,
    /// The server that holds the file, past this machine's page cache: what it has in its own memory can't be told.
    Server,
    /// The medium.
    Medium,
}

impl Origin {
    /// As reports have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Server => "server",
            Self::Medium => "medium",
        }
    }
}

/// What tells whether somebody wrote to a file since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Length in bytes.
    pub length: u64,
    /// When its bytes were modified: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// When anything of it was changed, its owner or its links for instance; likewise.
    pub changed: (i64, u32),
}

/// What is written to, whatever it lies on.
pub trait Storage: Send + Sync {
    /// Reads from `offset` on; less than asked for only at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system says; how much was written is unknown then.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;
    /// Cuts or extends; what is added reads as zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Returns when all that was written is on stable storage, as far as syncing and closing can tell.
    ///
    /// # Errors
    /// What the system says. What was written before a failed sync may be lost, whatever a later sync says (Linux).
    fn sync(&self) -> io::Result<()>;
    /// Lets the next reads come from the medium rather than from the page cache, as far as the system allows.
    fn forget_cached(&self);

    /// Reads as [`read`](Self::read) does, past the page cache where that works.
    ///
    /// # Errors
    /// What the system says.
    fn read_medium(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.read(offset, bytes)
    }
    /// The file for such reads, many of them at once and each as long as its offset and length are multiples of
    /// [`ALIGNMENT`](super::buffer::ALIGNMENT); none where they don't lead past the page cache, or where a server may leave them without an answer.
    fn direct_file(&self) -> Option<&File> {
        None
    }
    /// Where the bytes of [`read_medium`](Self::read_medium) come from.
    fn origin(&self) -> Origin {
        Origin::Cache
    }
    /// Writes whole blocks (see [`block_bytes`](Self::block_bytes)) without reading what they hold.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn overwrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)
    }
    /// What became of the locks that it holds, where a server may have taken them away.
    fn lost_locks(&self) -> Option<String> {
        None
    }
    /// Makes a hole of whatever lies there, which reads as zeros and takes no room: on a full disk, too.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where there are no holes.
    fn punch(&self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The block, in bytes, that can be written without reading it first.
    fn block_bytes(&self) -> u64 {
        PAGE_BYTES
    }
    /// The first byte at or after `offset` that isn't known to lie in a hole; none where only a hole is left.
    ///
    /// # Errors
    /// What the system says.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok(Some(offset))
    }
    /// Takes it for this program: alone, or together with others who only read. It stays so as long as it is open. Where there are no
    /// locks to be had, it is taken for granted.
    ///
    /// # Errors
    /// What the system says.
    fn claim(&self, _alone: bool) -> io::Result<Claim> {
        Ok(Claim::Ours)
    }
    /// Whether it can be made longer and shorter.
    fn resizable(&self) -> bool {
        true
    }
    /// Sets when its bytes were modified, in seconds and nanoseconds since 1970; where there is no such record, nothing.
    ///
    /// # Errors
    /// What the system says.
    fn set_modified(&self, _time: (i64, u32)) -> io::Result<()> {
        Ok(())
    }
    /// What tells whether somebody wrote since; none where the system keeps no such record (devices).
    ///
    /// # Errors
    /// What the system says.
    fn stamp(&self) -> io::Result<Option<Stamp>> {
        Ok(None)
    }
}

/// Where new files appear.
pub trait Folder: Send + Sync {
    /// A file that has no name yet, readable and writable by its owner alone; dropped unpublished, it is gone.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self) -> io::Result<Box<dyn Draft>>;
    /// What stands under `name`, to be read and written; none where nothing does. The name is on stable storage then.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` where it is no regular file.
    fn open(&self, name: &OsStr) -> io::Result<Option<Box<dyn Storage>>>;
    /// Bytes that may still be written to it; none where nobody knows.
    fn free_bytes(&self) -> Option<u64>;
}

/// What becomes of a file that stands under a draft's name when that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It stays, and the draft isn't published.
    Never,
    /// The draft takes its place, in one step.
    Existing,
}

/// Why a draft may lose the name that it was given: its folder can't be synced.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NotSynced(io::Error);

impl NotSynced {
    /// The system's word as an error of this kind.
    #[must_use]
    pub fn because(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self(error))
    }

    /// Whether an error is of this kind.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }
}

/// A file without a name.
pub trait Draft: Send + Sync {
    /// Its bytes.
    fn storage(&self) -> &dyn Storage;
    /// The same as an open file, for what reads nothing else.
    ///
    /// # Errors
    /// What the system says.
    fn file(&self) -> io::Result<File>;
    /// Whether [`clone_from`](Self::clone_from) would work; the draft is empty before and after.
    fn can_clone_from(&self, source: &File) -> bool;
    /// Makes it a copy of `source` that shares all of its extents.
    ///
    /// # Errors
    /// Where the file system can't, or the source lies on another.
    fn clone_from(&self, source: &File) -> io::Result<()>;
    /// Gives it a mode, and as far as that is allowed an owner (user and group).
    ///
    /// # Errors
    /// What the system says.
    fn resemble(&self, owner: Option<(u32, u32)>, mode: u32) -> io::Result<()>;
    /// Its bytes for as long as they are open: it never gets a name.
    ///
    /// # Errors
    /// What the system says.
    fn nameless(self: Box<Self>) -> io::Result<Box<dyn Storage>>;
    /// Gives it its name, and syncs the folder.
    ///
    /// # Errors
    /// `AlreadyExists` where something stands there that isn't to be replaced; [`NotSynced`] where it has its name and only syncing the
    /// folder failed; else what the system says. The draft is gone then.
    fn publish(self: Box<Self>, name: &OsStr, replace: Replace) -> io::Result<Box<dyn Storage>>;
}

impl Storage for File {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()?;
        // Network file systems may tell only then that earlier writes failed (close(2), "Dealing with error returns from close()"). Ours are
        // open file description locks, which stay as long as the file is open by another descriptor.
        match self.try_clone() {
            Ok(again) => match nix::unistd::close(again) {
                Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()), // closed all the same (close(2)), and synced before
                Err(error) => Err(error.into()),
            },
            Err(_) => Ok(()), // no descriptor left, which says nothing of what was written
        }
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        super::holes::next_data(self, offset)
    }

    fn claim(&self, alone: bool) -> io::Result<Claim> {
        super::locks::claim(self, alone)
    }

    fn forget_cached(&self) {
        let _ = posix_fadvise(self, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED); // advice is all it is
    }
}

/// Why a file that tells us what to write isn't to be trusted, if it isn't: it must belong to the caller or to root, and nobody else
/// may write to it.
#[must_use]
pub fn untrusted(meta: &std::fs::Metadata) -> Option<&'static str> {
    let owner = nix::unistd::Uid::from_raw(meta.uid());
    if !owner.is_root() && owner != nix::unistd::geteuid() {
        Some("it belongs to another user")
    } else if meta.mode() & 0o022 != 0 {
        Some("others than its owner may write to it")
    } else {
        None
    }
}

/// The folder that `path` names a file in, and the file's name; none where it is no file's name, as with a slash or a dot at its end.
#[must_use]
pub fn place_of(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let name = path.file_name().filter(|_| !bytes.ends_with(b"/") && !bytes.ends_with(b"/."))?;
    Some((path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")), name))
}

/// Bytes that a user may still write to the file system that holds `path`; none where it doesn't say.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let facts = nix::sys::statvfs::statvfs(path).ok()?;
    // Some network file systems report no blocks at all.
    (facts.blocks() > 0).then(|| facts.blocks_available().saturating_mul(facts.fragment_size()))
}

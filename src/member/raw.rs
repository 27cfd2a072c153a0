//! Raw images: regular files and block devices.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use super::{Cache, Extent, Member, MemberName, ReadError};
use crate::{
    sys::{
        buffer::Buffer,
        device, direct,
        disk_file::DiskFile,
        holes,
        mapping::{self, Window},
        prefetch,
        storage::Storage,
    },
    vote::ByteRange,
};

/// The way out for members that can't be written to.
const READ_ONLY: &str = "it can't be written to by this user or on this mount; --no-write lets it vote only";

/// A member that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What the system said.
    #[error("{member}: can't be opened: {error}\nhint: {hint}")]
    Open {
        /// Which one.
        member: MemberName,
        /// The system's word.
        error: io::Error,
        /// The way out.
        hint: &'static str,
    },
    /// A device that something holds.
    #[error("{member}: the device is in use by a file system, another device or a program\nhint: unmount it, or stop what holds it")]
    Busy {
        /// Which one.
        member: MemberName,
        /// The device's number.
        rdev: u64,
    },
    /// Not a file that can hold a disk.
    #[error("{member}: is {kind}, not a disk image\nhint: members are regular files and block devices")]
    Kind {
        /// Which one.
        member: MemberName,
        /// What it is.
        kind: &'static str,
    },
}

impl OpenError {
    /// What is in the way, without the name and the way out.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Open { error, .. } => error.to_string(),
            Self::Busy { .. } => "the device is in use".into(),
            Self::Kind { kind, .. } => format!("it is {kind}, not a disk image"),
        }
    }

    /// The system's error number, where it was the system.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        if let Self::Open { error, .. } = self { error.raw_os_error() } else { None }
    }
}

/// A regular file or a block device, byte for byte.
pub struct RawMember {
    name: MemberName,
    path: PathBuf,
    file: File,
    /// For direct reading, where that was asked for and works, with its alignment in bytes.
    direct: Option<(File, usize)>,
    meta: Metadata,
    size: u64,
    mappable: bool,
    /// Block devices and file systems without holes: not asked again.
    no_holes: AtomicBool,
    read_ahead: Option<u64>,
    /// The way to rewrite it, where it was opened for that.
    disk: Option<DiskFile>,
}

impl RawMember {
    /// Opens `path` for reading, without ever waiting for it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: MemberName, path: &Path, cache: Cache) -> Result<Self, OpenError> {
        Self::open_as(name, path, cache, false)
    }

    /// Opens `path` for reading and rewriting; a device for nobody else (`O_EXCL`: refused where a file system, another device or a
    /// program holds it, open(2)).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_to_rewrite(name: MemberName, path: &Path, cache: Cache) -> Result<Self, OpenError> {
        Self::open_as(name, path, cache, true)
    }

    /// Takes a file that is open already; `path` is where it was opened.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn of_file(name: MemberName, path: &Path, file: File, cache: Cache) -> Result<Self, OpenError> {
        Self::of_opened(name, path, file, cache, false)
    }

    fn open_as(name: MemberName, path: &Path, cache: Cache, writes: bool) -> Result<Self, OpenError> {
        let failed = |error| failed_to_open(&name, error, writes);
        // Looked at before it is opened: opening a tape or a serial line can already do something.
        let there = fs::metadata(path).map_err(failed)?;
        if let Some(kind) = foreign_kind(&there) {
            return Err(OpenError::Kind { member: name, kind });
        }
        // O_NONBLOCK: should it have become a FIFO meanwhile, opening doesn't wait for a writer.
        let alone = if writes && there.file_type().is_block_device() { libc::O_EXCL } else { 0 };
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | alone;
        let file = OpenOptions::new().read(true).write(writes).custom_flags(flags).open(path).map_err(|error| {
            if error.raw_os_error() == Some(libc::EBUSY) {
                OpenError::Busy { member: name.clone(), rdev: there.rdev() }
            } else {
                failed(error)
            }
        })?;
        Self::of_opened(name, path, file, cache, writes)
    }

    fn of_opened(name: MemberName, path: &Path, file: File, cache: Cache, writes: bool) -> Result<Self, OpenError> {
        let failed = |error| failed_to_open(&name, error, writes);
        let meta = file.metadata().map_err(failed)?;
        if let Some(kind) = foreign_kind(&meta) {
            return Err(OpenError::Kind { member: name, kind });
        }
        let device = meta.file_type().is_block_device();
        let size = if device { device::size_bytes(&file).map_err(failed)? } else { meta.len() };
        if writes && device && device::is_read_only(&file) {
            return Err(failed(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let direct = (cache == Cache::None).then(|| direct::reopen(&file).ok()).flatten();
        let direct = direct.map(|direct| {
            let unit = direct::unit_bytes(&direct);
            (direct, unit)
        });
        let mappable = cache == Cache::Writeback && mapping::mappable(&file, size);
        let read_ahead = prefetch::small_read_ahead(&file);
        let disk = if writes { Some(file.try_clone().and_then(DiskFile::new).map_err(failed)?) } else { None };
        let no_holes = AtomicBool::new(device);
        Ok(Self { name, path: path.to_owned(), file, direct, meta, size, mappable, no_holes, read_ahead, disk })
    }

    /// Takes note of what became of the file since it was opened, where that was this program's own doing.
    ///
    /// # Errors
    /// Where it can't be looked at.
    pub fn look_again(&mut self) -> io::Result<()> {
        self.meta = self.file.metadata()?;
        if !self.is_device() {
            self.size = self.meta.len();
        }
        Ok(())
    }

    /// The way to rewrite it, where it was opened for that.
    #[must_use]
    pub fn disk(&self) -> Option<&dyn Storage> {
        self.disk.as_ref().map(|disk| disk as &dyn Storage)
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the file system said of it when it was opened.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.meta
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why this process may not write to it, where the system says so of its name.
    #[must_use]
    pub fn refuses_writes(&self) -> Option<io::Error> {
        nix::unistd::eaccess(&self.path, nix::unistd::AccessFlags::W_OK).err().map(io::Error::from)
    }

    /// Whether the file at `path` is this member.
    ///
    /// # Errors
    /// Where the path can't be looked at.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let there = fs::metadata(path)?;
        Ok(if self.is_device() {
            there.file_type().is_block_device() && there.rdev() == self.meta.rdev()
        } else {
            (there.dev(), there.ino()) == (self.meta.dev(), self.meta.ino())
        })
    }

    /// Whether it is a block device.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.meta.file_type().is_block_device()
    }
}

fn failed_to_open(name: &MemberName, error: io::Error, writes: bool) -> OpenError {
    let hint = match error.kind() {
        _ if error.raw_os_error() == Some(libc::EMFILE) => "raise the limit of open files (ulimit -n), or name fewer members",
        io::ErrorKind::NotFound if name.to_string().starts_with("nbd:") => {
            "an export is named nbd://HOST:PORT/NAME, or nbd+unix:///NAME?socket=PATH"
        }
        io::ErrorKind::NotFound => "check the spelling; a copy that is lost is left out, and the threshold is set for those that are left",
        io::ErrorKind::PermissionDenied if writes => READ_ONLY,
        io::ErrorKind::PermissionDenied => "run it as a user who may read the image",
        io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
        _ => "leave this copy out, or make it readable first",
    };
    OpenError::Open { member: name.clone(), error, hint }
}

fn foreign_kind(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    if kind.is_file() || kind.is_block_device() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a character device")
    }
}

impl Member for RawMember {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn modified(&self) -> Option<SystemTime> {
        // A device node's own time says nothing of its contents.
        (!self.is_device()).then(|| self.meta.modified().ok()).flatten()
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        if self.no_holes.load(Ordering::Relaxed) {
            return Ok(Extent::Data(self.size));
        }
        let end = |found: Option<u64>| found.map_or(self.size, |at| at.min(self.size));
        let data = end(holes::next_data(&self.file, offset).map_err(ReadError::of)?);
        if data > offset {
            return Ok(Extent::Zero(data));
        }
        match holes::next_hole(&self.file, offset).map_err(ReadError::of)? {
            // Shrunk meanwhile: reading will show it.
            Some(hole) if hole > offset => Ok(Extent::Data(hole.min(self.size))),
            _ => {
                self.no_holes.store(true, Ordering::Relaxed);
                Ok(Extent::Data(self.size))
            }
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        let read = match &self.direct {
            Some((direct, unit)) => direct::read(direct, *unit, offset, bytes, bounce),
            None => Storage::read(&self.file, offset, bytes),
        };
        match read {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err(ReadError::Ended),
            Err(error) => Err(ReadError::of(error)),
        }
    }

    fn window(&self, range: ByteRange) -> Option<Window> {
        let length = usize::try_from(range.length()).ok()?;
        self.mappable.then(|| Window::new(&self.file, range.start, length).ok()).flatten()
    }

    fn mappable(&self) -> bool {
        self.mappable
    }

    fn prefetch(&self, range: ByteRange) {
        if let (Some(read_ahead), true) = (self.read_ahead, self.direct.is_none()) {
            let end = range.end.min(self.size);
            prefetch::start(&self.file, range.start.min(end)..end, read_ahead);
        }
    }

    fn read_unit(&self) -> u64 {
        // Direct reads come in aligned blocks: an error can't be narrowed down further.
        self.direct.as_ref().map_or(u64::from(crate::vote::SECTOR_MIN), |&(_, unit)| unit as u64)
    }

    fn plain_file(&self) -> Option<&File> {
        (!self.is_device()).then_some(&self.file)
    }

    fn reads_medium(&self) -> bool {
        self.direct.is_some()
    }

    fn files(&self) -> Vec<&RawMember> {
        vec![self]
    }

    fn store(&self) -> Option<&dyn Storage> {
        self.disk()
    }

    fn changed(&self) -> Option<String> {
        let now = match self.file.metadata() {
            Ok(now) => now,
            Err(error) => return Some(format!("it can't be looked at any more: {error}")),
        };
        if self.is_device() {
            return match device::size_bytes(&self.file) {
                Ok(size) if size != self.size => Some(format!("its size went from {} to {size} bytes", self.size)),
                _ => None,
            };
        }
        if now.len() != self.size {
            return Some(format!("its size went from {} to {} bytes", self.size, now.len()));
        }
        if (now.mtime(), now.mtime_nsec()) != (self.meta.mtime(), self.meta.mtime_nsec()) {
            return Some("it was written to (its modification time moved)".into());
        }
        if self.disk.is_some() && (now.ctime(), now.ctime_nsec()) != (self.meta.ctime(), self.meta.ctime_nsec()) {
            return Some("something of it was changed (its change time moved)".into());
        }
        match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) != (self.meta.dev(), self.meta.ino()) => Some("its name now means another file".into()),
            Err(error) => Some(format!("its name is gone: {error}")),
            _ => None,
        }
    }
}

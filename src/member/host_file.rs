//! A file or device of this machine, opened.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    name::MemberName,
    open_error::{OpenError, failed_to_open},
};
use crate::sys::{
    device::{self, Sysfs},
    disk_file::DiskFile,
    storage::Storage,
};

/// A regular file or block device that a member is read from.
pub struct HostFile {
    name: MemberName,
    path: PathBuf,
    file: File,
    meta: Metadata,
    size: u64,
    /// The way to rewrite it, where it was opened for that.
    disk: Option<DiskFile>,
}

impl HostFile {
    /// Opens `path` for reading, without ever waiting for it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: MemberName, path: &Path) -> Result<Self, OpenError> {
        Self::open_as(name, path, false)
    }

    /// Opens `path` for reading and rewriting; a device for nobody else (`O_EXCL`: refused where a file system, another device or a
    /// program holds it, open(2)).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_to_rewrite(name: MemberName, path: &Path) -> Result<Self, OpenError> {
        Self::open_as(name, path, true)
    }

    /// Takes a file that is open already; `path` is where it was opened.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn of_file(name: MemberName, path: &Path, file: File) -> Result<Self, OpenError> {
        Self::of_opened(name, path, file, false)
    }

    fn open_as(name: MemberName, path: &Path, writes: bool) -> Result<Self, OpenError> {
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
        Self::of_opened(name, path, file, writes)
    }

    fn of_opened(name: MemberName, path: &Path, file: File, writes: bool) -> Result<Self, OpenError> {
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
        let disk = if writes { Some(file.try_clone().and_then(DiskFile::new).map_err(failed)?) } else { None };
        Ok(Self { name, path: path.to_owned(), file, meta, size, disk })
    }

    /// As the user, or the image that refers to it, named it.
    #[must_use]
    pub fn name(&self) -> &MemberName {
        &self.name
    }

    /// Bytes, as of when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
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

    /// Why it could not be written to, in words, as far as that can be told without opening it for that.
    #[must_use]
    pub fn refuses_writes(&self) -> Option<String> {
        if self.is_device() && Sysfs::default().flag(self.meta.rdev(), "ro") == Some(true) {
            return Some("the device is read-only".to_owned());
        }
        nix::unistd::eaccess(&self.path, nix::unistd::AccessFlags::W_OK).err().map(|error| io::Error::from(error).to_string())
    }

    /// What became different since it was opened, in words; none where all is as it was.
    #[must_use]
    pub fn changed(&self) -> Option<String> {
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

//! A file or device of this machine, opened.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    name::MemberName,
    open_error::{OpenError, failed_to_open},
};
use crate::sys::{
    attributes::{Attribute, FileId, Fingerprint, attribute, set_attribute, write_back},
    device::{self, Sysfs},
    disk_file::DiskFile,
    locks::{self, Locked},
    mount::{self, Mount},
    served::{ServedFile, Server},
    storage::Storage,
};

/// A regular file or block device that a member is read from.
pub struct HostFile {
    name: MemberName,
    path: PathBuf,
    file: ServedFile,
    meta: Metadata,
    size: u64,
    /// What kind of network file system holds it, if one does.
    network: Option<&'static str>,
    /// The mount by which it was opened, once that was asked for.
    mount: OnceLock<Option<Mount>>,
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
        let network = if device { None } else { mount::network(&file) };
        let server = network.map(|_| Server::behind(name.to_string().into()));
        let disk = |file| DiskFile::of(ServedFile::new(file, server.clone()));
        let disk = if writes { Some(file.try_clone().and_then(disk).map_err(failed)?) } else { None };
        let file = ServedFile::new(file, server);
        Ok(Self { name, path: path.to_owned(), file, meta, size, network, mount: OnceLock::new(), disk })
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
        self.meta = self.file.ask("looking at it", File::metadata)?;
        if !self.is_device() {
            self.size = self.meta.len();
        }
        Ok(())
    }

    /// Takes the locks of a reader, or of a writer, for as long as it is open.
    ///
    /// # Errors
    /// As for [`lock_for_reading`](locks::lock_for_reading).
    pub fn lock(&self, to_write: bool) -> io::Result<Locked> {
        let lock = move |file: &File| if to_write { locks::lock_for_writing(file) } else { locks::lock_for_reading(file) };
        let locked = self.file.ask("locking", lock)?;
        if to_write && self.disk.is_some() && self.network == Some("NFS") && matches!(locked, Locked::Yes(_)) {
            match self.file.ask("locking", locks::writes_alone) {
                Ok(true) => {}
                Ok(false) => return Ok(Locked::InUse),
                Err(error) => return Err(error),
            }
        }
        if self.network.is_some() && self.mount().is_some_and(Mount::keeps_locks_here) {
            return Ok(Locked::Unsupported(io::Error::other("its mount keeps them on this machine: nolock, local_lock or nobrl")));
        }
        if let Locked::Yes(bytes) = locked {
            self.file.hold(bytes);
        }
        Ok(locked)
    }

    /// What became of its locks, where a server may have taken them away.
    #[must_use]
    pub fn lost_locks(&self) -> Option<String> {
        self.file.lost_locks()
    }

    /// Why nothing can be said of it any more, in words: it can't be looked at, or its locks were lost.
    #[must_use]
    pub fn gone(&self) -> Option<String> {
        self.out_of_sight().or_else(|| self.lost_locks())
    }

    /// Why it can't be looked at any more, in words.
    #[must_use]
    pub fn out_of_sight(&self) -> Option<String> {
        let (path, network) = (self.path.clone(), self.network.is_some());
        let looked = self.file.ask("looking at it", move |file| {
            if network { mount::ask(file) } else { file.metadata().map(drop) }?;
            match fs::metadata(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        });
        looked.err().map(|error| format!("it can't be looked at any more: {error}"))
    }

    /// The way to rewrite it, where it was opened for that.
    #[must_use]
    pub fn disk(&self) -> Option<&dyn Storage> {
        self.disk.as_ref().map(|disk| disk as &dyn Storage)
    }

    /// What kind of network file system holds it; none where it lies on this machine.
    #[must_use]
    pub fn network(&self) -> Option<&'static str> {
        self.network
    }

    /// The mount by which it was opened; none where that can't be told.
    #[must_use]
    pub fn mount(&self) -> Option<&Mount> {
        self.mount.get_or_init(|| Mount::of(self.file.file())).as_ref()
    }

    /// Whether its server doesn't answer, and isn't waited for any more.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.file.server().is_some_and(|server| server.silent().is_some())
    }

    /// The open file, with whoever serves it.
    #[must_use]
    pub fn served(&self) -> &ServedFile {
        &self.file
    }

    /// The open file, for what no server has to answer.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.file()
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

    /// An extended attribute of it.
    ///
    /// # Errors
    /// What the system says, or why its server was given up.
    pub fn attribute(&self, name: &'static str) -> io::Result<Attribute> {
        self.file.ask("reading its mark", move |file| attribute(file, name))
    }

    /// Writes an extended attribute of it, or takes it away where `value` is none; false where there can't be any.
    ///
    /// # Errors
    /// What the system says, or why its server was given up.
    pub fn set_attribute(&self, name: &'static str, value: Option<Vec<u8>>) -> io::Result<bool> {
        self.file.ask("marking it", move |file| set_attribute(file, name, value.as_deref()))
    }

    /// What tells it from any other file; none of a device.
    ///
    /// # Errors
    /// What the system says, or why its server was given up.
    pub fn id(&self) -> io::Result<Option<FileId>> {
        if self.is_device() { Ok(None) } else { self.file.ask("looking at it", FileId::of).map(Some) }
    }

    /// Has what programs wrote to its pages go to its file system; see [`write_back`].
    ///
    /// # Errors
    /// What the system says, or why its server was given up.
    pub fn write_back(&self) -> io::Result<()> {
        self.file.ask("writing its pages back", write_back)
    }

    /// What its file system says of it now.
    ///
    /// # Errors
    /// What the system says, or why its server was given up.
    pub fn fingerprint(&self) -> io::Result<Fingerprint> {
        self.file.ask("looking at it", Fingerprint::of)
    }

    /// What became different since it was opened, in words; none where all is as it was, or where that can't be told (see
    /// [`gone`](Self::gone)).
    #[must_use]
    pub fn changed(&self) -> Option<String> {
        let path = self.path.clone();
        let (now, there) = self.file.ask("looking at it", |file| Ok((file.metadata()?, fs::metadata(path)))).ok()?;
        if self.is_device() {
            return match device::size_bytes(self.file.file()) {
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
        match there {
            Ok(there) if (there.dev(), there.ino()) != (self.meta.dev(), self.meta.ino()) => Some("its name now means another file".into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("its name is gone: {error}")),
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

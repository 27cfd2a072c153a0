//! Files that appear under their name only when they are complete.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, RenameFlags, renameat2},
    unistd::linkat,
};

use super::{
    disk_file::DiskFile,
    leftovers::name_in_the_making,
    locks,
    storage::{Draft, Folder, NotSynced, Replace, Storage, free_bytes, untrusted},
};

mod ioctls {
    /// `struct file_clone_range` (Linux, include/uapi/linux/fs.h).
    #[repr(C)]
    pub(super) struct CloneRange {
        pub(super) source: i64,
        pub(super) source_offset: u64,
        /// 0: up to the end.
        pub(super) length: u64,
        pub(super) target_offset: u64,
    }
    nix::ioctl_write_int_bad!(ficlone, 0x4004_9409);
    nix::ioctl_write_ptr_bad!(ficlonerange, 0x4020_940d, CloneRange);
}

/// Cloned to see whether that works: a multiple of every file system's block.
const PROBE_BYTES: u64 = 64 << 10;

/// A file that has no name yet, or a random one, beside the place where it is to appear. Dropped unpublished, it is gone.
pub struct NewFile {
    disk: DiskFile,
    place: Place,
}

/// Where it lies until it is published.
struct Place {
    folder: PathBuf,
    /// The random name, where the file system can't do without.
    name: Option<OsString>,
}

impl NewFile {
    /// Creates it in `folder`, mode 0600: without a name (`O_TMPFILE`) where that works.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let unnamed = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC).open(folder);
        match unnamed {
            Ok(file) => Self::at(file, Place { folder: folder.to_owned(), name: None }),
            // EISDIR: kernels without the flag; EOPNOTSUPP: file systems without it, NFS for one (open(2)).
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT | libc::EINVAL)) => {
                let (file, name) = Self::create_named(folder)?;
                Self::at(file, Place { folder: folder.to_owned(), name: Some(name) })
            }
            Err(error) => Err(error),
        }
    }

    /// Whatever becomes of it, its place is tidied up.
    fn at(file: File, place: Place) -> io::Result<Self> {
        Ok(Self { disk: DiskFile::new(file)?, place })
    }

    fn create_named(folder: &Path) -> io::Result<(File, OsString)> {
        loop {
            let name = name_in_the_making()?;
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(folder.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    let file = created?;
                    let _ = locks::claim(&file, true); // whoever finds it sees that it is in use
                    return Ok((file, name));
                }
            }
        }
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        self.disk.file()
    }

    /// The file for as long as it is open: it never gets a name.
    ///
    /// # Errors
    /// Where its random name can't be removed.
    pub fn into_unnamed(mut self) -> io::Result<File> {
        if let Some(name) = self.place.name.take() {
            fs::remove_file(self.place.folder.join(name))?;
        }
        self.file().try_clone()
    }

    /// Makes it a copy of `source` that shares all of its extents (`FICLONE`: XFS, btrfs and others).
    ///
    /// # Errors
    /// Where the file system can't, or the source lies on another.
    pub fn clone_from(&self, source: &File) -> io::Result<()> {
        // SAFETY: FICLONE takes a descriptor by value.
        unsafe { ioctls::ficlone(self.file().as_raw_fd(), source.as_raw_fd()) }?;
        Ok(())
    }

    /// Whether [`clone_from`](Self::clone_from) would work; the file is empty before and after.
    #[must_use]
    pub fn can_clone_from(&self, source: &File) -> bool {
        let Ok(size) = Storage::length(source) else { return false };
        let length = if size < PROBE_BYTES { 0 } else { PROBE_BYTES };
        let range = ioctls::CloneRange { source: i64::from(source.as_raw_fd()), source_offset: 0, length, target_offset: 0 };
        // SAFETY: FICLONERANGE reads a `struct file_clone_range`, as which `CloneRange` is laid out.
        let cloned = unsafe { ioctls::ficlonerange(self.file().as_raw_fd(), &raw const range) }.is_ok();
        self.file().set_len(0).is_ok() && cloned
    }

    /// Gives it owner and mode. The owner first: changing it takes some bits of the mode away.
    ///
    /// # Errors
    /// What the system says; the owner is an attempt only, since few may give files away.
    pub fn resemble(&self, owner: Option<(u32, u32)>, mode: u32) -> io::Result<()> {
        if let Some((user, group)) = owner {
            let _ = std::os::unix::fs::fchown(self.file(), Some(user), Some(group)); // where we may
        }
        self.file().set_permissions(fs::Permissions::from_mode(mode & 0o7777))
    }

    /// Gives it its name `to` in its folder, and syncs the folder. See [`Replace`] for what stands there.
    ///
    /// # Errors
    /// As [`Draft::publish`].
    pub fn publish(mut self, to: &OsStr, replace: Replace) -> io::Result<DiskFile> {
        let target = self.place.folder.join(to);
        match (self.place.name.take(), replace) {
            (None, Replace::Never) => self.link(&target)?,
            (name, _) => {
                let name = name.map_or_else(|| self.link_randomly(), Ok)?;
                let from = self.place.folder.join(&name);
                self.place.name = Some(name); // removed again should the renaming fail
                if replace == Replace::Existing {
                    fs::rename(&from, &target)?;
                } else {
                    rename_new(&from, &target)?;
                }
                self.place.name = None;
            }
        }
        File::open(&self.place.folder).and_then(|folder| folder.sync_all()).map_err(NotSynced::because)?;
        Ok(self.disk)
    }

    fn link_randomly(&self) -> io::Result<OsString> {
        let name = name_in_the_making()?;
        self.link(&self.place.folder.join(&name))?;
        Ok(name)
    }

    fn link(&self, to: &Path) -> io::Result<()> {
        // By way of /proc, since AT_EMPTY_PATH asks for CAP_DAC_READ_SEARCH (linkat(2)).
        let from = format!("/proc/self/fd/{}", self.file().as_raw_fd());
        Ok(linkat(nix::fcntl::AT_FDCWD, from.as_str(), nix::fcntl::AT_FDCWD, to, AtFlags::AT_SYMLINK_FOLLOW)?)
    }
}

impl Draft for NewFile {
    fn storage(&self) -> &dyn Storage {
        &self.disk
    }

    fn file(&self) -> io::Result<File> {
        self.disk.file().try_clone()
    }

    fn can_clone_from(&self, source: &File) -> bool {
        NewFile::can_clone_from(self, source)
    }

    fn clone_from(&self, source: &File) -> io::Result<()> {
        NewFile::clone_from(self, source)
    }

    fn resemble(&self, owner: Option<(u32, u32)>, mode: u32) -> io::Result<()> {
        NewFile::resemble(self, owner, mode)
    }

    fn nameless(self: Box<Self>) -> io::Result<Box<dyn Storage>> {
        Ok(Box::new(self.into_unnamed()?))
    }

    fn publish(self: Box<Self>, name: &OsStr, replace: Replace) -> io::Result<Box<dyn Storage>> {
        Ok(Box::new(NewFile::publish(*self, name, replace)?))
    }
}

impl Folder for PathBuf {
    fn create(&self) -> io::Result<Box<dyn Draft>> {
        Ok(Box::new(NewFile::create(self)?))
    }

    fn open(&self, name: &OsStr) -> io::Result<Option<Box<dyn Storage>>> {
        // O_NONBLOCK: a FIFO of that name is not waited for.
        match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(self.join(name)) {
            Ok(file) if file.metadata()?.is_file() => {
                if let Some(why) = untrusted(&file.metadata()?) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
                }
                // Whoever made it may have been killed before this.
                File::open(self)?.sync_all()?;
                Ok(Some(Box::new(file)))
            }
            Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(self.folder.join(name)); // nothing more can be done about it here
        }
    }
}

/// Renames without replacing anything.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(nix::fcntl::AT_FDCWD, from, nix::fcntl::AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // File systems without the flag, NFS for one: a second link does the same in two steps.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind};

    use super::{Draft, NewFile, Place, Replace, Storage};

    fn new_file(folder: &std::path::Path, named: bool) -> NewFile {
        if named {
            let (file, name) = NewFile::create_named(folder).expect("it can be created");
            NewFile::at(file, Place { folder: folder.to_owned(), name: Some(name) }).expect("it can be looked at")
        } else {
            NewFile::create(folder).expect("it can be created")
        }
    }

    #[test]
    fn appears_only_when_published_and_replaces_only_when_told() {
        for named in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let listed = || fs::read_dir(folder.path()).expect("it can be listed").count();
            new_file(folder.path(), named).file().write(0, b"gone").expect("it can be written");
            assert_eq!(listed(), 0, "dropped unpublished, it is gone");

            let first = new_file(folder.path(), named);
            first.file().write(0, b"first").expect("it can be written");
            first.publish("out".as_ref(), Replace::Never).expect("it appears");
            let second = new_file(folder.path(), named);
            second.file().write(0, b"second").expect("it can be written");
            let refused = second.publish("out".as_ref(), Replace::Never).err().expect("never replaced");
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read(folder.path().join("out")).expect("it is there"), b"first");
            assert_eq!(listed(), 1);

            let third = new_file(folder.path(), named);
            third.file().write(0, b"third").expect("it can be written");
            third.publish("out".as_ref(), Replace::Existing).expect("it replaces");
            assert_eq!(fs::read(folder.path().join("out")).expect("it is there"), b"third");
            assert_eq!(listed(), 1);
        }
    }

    /// A journal is taken before it has its name, and stays so: nobody may undo a repair that runs.
    #[test]
    fn what_was_taken_as_a_draft_stays_taken() {
        use crate::sys::locks::Claim;
        let folder = tempfile::tempdir().expect("a folder");
        let draft: Box<dyn Draft> = Box::new(NewFile::create(folder.path()).expect("it can be created"));
        assert!(matches!(draft.storage().claim(true), Ok(Claim::Ours)));
        let storage = draft.publish("journal".as_ref(), Replace::Never).expect("it appears");
        let another = || fs::File::options().read(true).write(true).open(folder.path().join("journal")).expect("it is there");
        assert!(matches!(Storage::claim(&another(), false), Ok(Claim::Others(_))));
        drop(storage);
        assert!(matches!(Storage::claim(&another(), false), Ok(Claim::Ours)));
    }
}

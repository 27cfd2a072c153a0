//! Where a set lies: its record, and the folder beside it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use super::error::SetError;
use crate::{
    member::MemberName,
    sys::{mount::network, storage::untrusted},
};

/// What a set's name ends with.
pub const SUFFIX: &str = ".qset";
/// What SQLite keeps beside a database (sqlite.org/tempfiles.html).
pub const SQLITE_OWN: [&str; 3] = ["-journal", "-wal", "-shm"];
/// What an SQLite database begins with (sqlite.org/fileformat.html, "The Database Header").
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where a set lies.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its record.
    pub record: PathBuf,
    /// As the user named it.
    pub name: MemberName,
}

impl Place {
    /// Of a set that is called so.
    ///
    /// # Errors
    /// Where a set can't be called so.
    pub fn of(path: &Path) -> Result<Self, SetError> {
        let name = MemberName::from(path);
        let own = path.file_name().is_some_and(|file| file.as_bytes().ends_with(SUFFIX.as_bytes()) && file.len() > SUFFIX.len());
        if !own {
            return Err(SetError::Name(name));
        }
        Ok(Self { record: path.to_owned(), name })
    }

    /// The folder of its digest and journals.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.beside(".d")
    }

    /// What is called as it is, and so.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path: OsString = self.record.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// Refuses to make a set where something stands in its way.
    ///
    /// # Errors
    /// What stands there.
    pub fn refuse_taken(&self) -> Result<(), SetError> {
        if fs::symlink_metadata(&self.record).is_ok() {
            return Err(SetError::Exists(self.name.clone(), self.name.quoted()));
        }
        let own = SQLITE_OWN.iter().map(|suffix| self.beside(suffix)).chain([self.folder()]);
        for path in own {
            if fs::symlink_metadata(&path).is_ok() {
                return Err(SetError::Beside { set: self.name.clone(), other: MemberName::from(path.as_path()) });
            }
        }
        Ok(())
    }

    /// Makes its folder, where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn make_folder(&self) -> Result<(), SetError> {
        let folder = self.folder();
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(SetError::Io { path: MemberName::from(folder.as_path()), error })
            }
            _ => self.refuse_untrusted(&folder),
        }
    }

    /// Refuses a record, or folder, that others may write to.
    ///
    /// # Errors
    /// Why.
    pub fn refuse_untrusted(&self, path: &Path) -> Result<(), SetError> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SetError::Missing(self.name.clone())),
            Err(error) => return Err(SetError::Io { path: self.name.clone(), error }),
        };
        match untrusted(&meta) {
            Some(why) => Err(SetError::Untrusted { set: MemberName::from(path), why }),
            None => Ok(()),
        }
    }

    /// Refuses a set on a network file system, by the record's file or the folder that is to hold it.
    ///
    /// # Errors
    /// Of what kind that is, or what the system says.
    pub fn refuse_network(&self, path: &Path) -> Result<(), SetError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let opened = File::open(path).map_err(|error| SetError::Io { path: MemberName::from(path), error })?;
        match network(&opened) {
            Some(kind) => Err(SetError::Network { set: self.name.clone(), kind }),
            None => Ok(()),
        }
    }

    /// The journal of a run's repair.
    #[must_use]
    pub fn journal(&self, run: i64) -> PathBuf {
        self.folder().join(format!("run-{run}.quorum-undo"))
    }

    /// Takes the set for one run, for as long as what is returned is kept.
    ///
    /// # Errors
    /// Where another run works on it.
    pub fn take(&self, what: &str) -> Result<RunLock, SetError> {
        self.make_folder()?;
        let path = self.folder().join("lock");
        let failed = |error| SetError::Io { path: MemberName::from(path.as_path()), error };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(200).read_to_string(&mut holder); // words alone
                let holder = if holder.is_empty() { "unknown".to_owned() } else { crate::member::escaped(&holder) };
                return Err(SetError::Busy { set: self.name.clone(), holder, quoted: self.name.quoted() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let words = format!("process {}, {what}", std::process::id());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(words.as_bytes())).map_err(failed)?;
        Ok(RunLock(file))
    }

    /// Whether a run works on it now.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let opened = File::open(self.folder().join("lock"));
        opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// Holds a set for one run.
#[derive(Debug)]
pub struct RunLock(#[allow(dead_code)] File);

/// The SQLite database to which a file at that path would belong, as its journal or the like; none where there is none: SQLite deletes what
/// it takes for its own.
#[must_use]
pub fn database_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.as_bytes();
    let stem = SQLITE_OWN.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes())).filter(|stem| !stem.is_empty())?;
    let database = path.with_file_name(OsStr::from_bytes(stem));
    is_database(&database).then_some(database)
}

/// Whether a file begins as an SQLite database does.
#[must_use]
pub fn is_database(path: &Path) -> bool {
    let mut start = [0; SQLITE_MAGIC.len()];
    let regular = fs::metadata(path).is_ok_and(|there| there.is_file());
    let read = regular && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    read && start == *SQLITE_MAGIC
}

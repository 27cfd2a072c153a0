//! Where a set lies: its record, and the folder beside it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::error::SetError;
use crate::{
    member::MemberName,
    sys::{mount::network, storage::untrusted},
};

/// What a set's name ends with.
pub const SUFFIX: &str = ".qset";
/// What the journals of a set's repairs end with: nothing that SQLite would take for its own.
const JOURNAL_SUFFIX: &str = ".quorum-undo";
/// What SQLite keeps beside a database (sqlite.org/tempfiles.html).
pub const SQLITE_OWN: [&str; 3] = ["-journal", "-wal", "-shm"];
/// How often the lock is tried for, and how long it is waited in between.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// What an SQLite database begins with (sqlite.org/fileformat.html, "The Database Header").
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where a set lies.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its record, whatever link led there.
    pub record: PathBuf,
    /// As the user named it.
    pub given: PathBuf,
    /// The same for messages.
    pub name: MemberName,
}

impl Place {
    /// Of a set that is called so.
    ///
    /// # Errors
    /// Where a set can't be called so.
    pub fn of(path: &Path) -> Result<Self, SetError> {
        let name = MemberName::from(path);
        // One record has one lock and one folder, by whatever name.
        let record = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let own =
            |path: &Path| path.file_name().is_some_and(|file| file.as_bytes().ends_with(SUFFIX.as_bytes()) && file.len() > SUFFIX.len());
        if !own(path) || !own(&record) {
            return Err(SetError::Name(name));
        }
        Ok(Self { record, given: path.to_owned(), name })
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

    /// The journal of a run's repair: a name that nothing stands under.
    #[must_use]
    pub fn journal(&self, run: i64) -> PathBuf {
        let folder = self.folder();
        let names = std::iter::once(String::new()).chain((2..).map(|number| format!("-{number}")));
        let mut paths = names.map(|more| folder.join(format!("run-{run}{more}{JOURNAL_SUFFIX}")));
        paths.find(|path| fs::symlink_metadata(path).is_err()).unwrap_or(folder)
    }

    /// A journal that the record names; none where it can't be one of this set's.
    #[must_use]
    pub fn journal_named(&self, name: &str) -> Option<PathBuf> {
        let plain = name.starts_with("run-") && name.ends_with(JOURNAL_SUFFIX) && !name.contains('/');
        plain.then(|| self.folder().join(name))
    }

    /// Refuses a record that others could change: by its own mode, its folder's, another name, or a journal that SQLite would roll back into it.
    ///
    /// # Errors
    /// Why.
    pub fn refuse_foreign_hands(&self) -> Result<(), SetError> {
        self.refuse_untrusted(&self.record)?;
        let parent = self.record.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let meta = fs::metadata(parent).map_err(|error| SetError::Io { path: MemberName::from(parent), error })?;
        if let Some(why) = untrusted(&meta) {
            return Err(SetError::Folder { set: self.name.clone(), folder: MemberName::from(parent), why });
        }
        let links = fs::metadata(&self.record).map_or(1, |meta| meta.nlink());
        if links > 1 {
            return Err(SetError::Untrusted { set: self.name.clone(), why: "it has another name as well (a hard link)" });
        }
        for path in SQLITE_OWN.iter().map(|suffix| self.beside(suffix)) {
            if let Ok(meta) = fs::symlink_metadata(&path)
                && let Some(why) = if meta.is_file() { untrusted(&meta) } else { Some("it is no file") }
            {
                return Err(SetError::Untrusted { set: MemberName::from(path.as_path()), why });
            }
        }
        Ok(())
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
        // Whoever asks only whether it is taken holds it for a moment.
        let mut locked = file.try_lock();
        for _ in 0..LOCK_TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(LOCK_PAUSE);
            locked = file.try_lock();
        }
        match locked {
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

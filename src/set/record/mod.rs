//! What a set remembers, in an SQLite database.

mod members;
mod parts;
mod runs;
mod schema;

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, config::DbConfig, types::FromSql};

use super::{error::SetError, place::Place, policy::Policy};
use crate::evidence::{EPOCH_MAX, Uuid};

pub use members::{Counters, MemberRow, NewMember};
pub use parts::{MemberPart, Part, PartRow};
pub use runs::{Change, PlaceRow, RunEnd, RunRow};

/// How long another process' commit is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A set's record, open.
#[derive(Debug)]
pub struct Record {
    pub(super) connection: Connection,
    place: Place,
    /// The set's.
    pub uuid: Uuid,
}

impl Record {
    /// Makes a record of these members where nothing stands; it appears under its name only once it is whole.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn found(place: &Place, uuid: Uuid, policy: &Policy, epoch: u64, members: &[NewMember], at: i64) -> Result<Self, SetError> {
        place.refuse_taken()?;
        let parent = place.record.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        place.refuse_network(parent)?;
        let failed = |error| SetError::Io { path: place.name.clone(), error };
        // A name that no set has: what is left of one that was cut off isn't taken for one.
        let draft = Place { record: parent.join(format!(".{uuid}.new")), ..place.clone() };
        let made = || -> Result<(), SetError> {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.record).map_err(failed)?;
            let mut connection = connect(&draft, true)?;
            schema::migrate(&mut connection, 0).map_err(|error| told(place, &error))?;
            let record = Self { connection, place: draft.clone(), uuid };
            record.in_one(|record| {
                record.set_fact("uuid", Some(&uuid.to_string()))?;
                record.set_fact("created", Some(&at))?;
                record.set_fact("epoch", Some(&epoch.cast_signed()))?;
                record.set_policy(policy)?;
                members.iter().try_for_each(|member| record.add_member(member, at).map(drop))
            })?;
            drop(record);
            let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
            nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &draft.record, nix::fcntl::AT_FDCWD, &place.record, flags)
                .map_err(|error| failed(error.into()))?;
            fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)
        };
        let made = made();
        if made.is_err() {
            let _ = fs::remove_file(&draft.record); // it was ours, and is none
        }
        made?;
        Self::open(place)
    }

    /// Opens a record that is to be trusted, and brings it to this version.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn open(place: &Place) -> Result<Self, SetError> {
        Self::opened(place, true)
    }

    /// Opens it to look at: nothing of it is changed, whatever its version.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn look(place: &Place) -> Result<Self, SetError> {
        Self::opened(place, false)
    }

    fn opened(place: &Place, writes: bool) -> Result<Self, SetError> {
        place.refuse_foreign_hands()?;
        if !fs::metadata(&place.record).is_ok_and(|there| there.is_file()) {
            return Err(damaged(place, "it is no file"));
        }
        place.refuse_network(&place.record)?;
        let mut connection = connect(place, writes)?;
        let failed = |error: rusqlite::Error| told(place, &error);
        let pragma = |connection: &Connection, name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        if pragma(&connection, "application_id").map_err(failed)? != schema::APPLICATION {
            return Err(damaged(place, "it is another program's database, or a part of it is lost"));
        }
        let version = pragma(&connection, "user_version").map_err(failed)?;
        if version > schema::VERSION {
            return Err(SetError::Version { set: place.name.clone(), version });
        }
        if version < schema::VERSION && writes {
            schema::migrate(&mut connection, version).map_err(failed)?;
        }
        // Views and triggers in the tables' places would run whatever somebody wrote.
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' OR (type = 'view' AND name NOT LIKE 'qset%')";
        if connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed)? > 0 {
            return Err(damaged(place, "there is more in it than a set's tables"));
        }
        let uuid: Option<String> = fact(&connection, "uuid").map_err(failed)?;
        let uuid = uuid.and_then(|text| text.parse().ok()).ok_or_else(|| damaged(place, "it doesn't say which set it is of"))?;
        Ok(Self { connection, place: place.clone(), uuid })
    }

    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Does all of it, or nothing.
    ///
    /// # Errors
    /// What `work` says, or SQLite.
    pub fn in_one<T>(&self, work: impl FnOnce(&Self) -> Result<T, SetError>) -> Result<T, SetError> {
        let transaction = self.connection.unchecked_transaction().map_err(|error| self.told(&error))?;
        let done = work(self)?;
        transaction.commit().map_err(|error| self.told(&error))?;
        Ok(done)
    }

    /// What is known under a key.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn fact<T: FromSql>(&self, key: &str) -> Result<Option<T>, SetError> {
        fact(&self.connection, key).map_err(|error| self.told(&error))
    }

    /// Notes something under a key; none forgets it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn set_fact<T: rusqlite::ToSql>(&self, key: &str, value: Option<&T>) -> Result<(), SetError> {
        let done = match value {
            Some(value) => self.connection.execute("INSERT OR REPLACE INTO fact (key, value) VALUES (?1, ?2)", (key, value)),
            None => self.connection.execute("DELETE FROM fact WHERE key = ?1", [key]),
        };
        done.map(drop).map_err(|error| self.told(&error))
    }

    /// How the set is checked and repaired.
    ///
    /// # Errors
    /// What SQLite says, or what of it makes no sense.
    pub fn policy(&self) -> Result<Policy, SetError> {
        let mut policy = Policy::default();
        for (key, value) in
            self.rows("SELECT key, value FROM policy", [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        {
            policy.set(&key, &value).map_err(|why| damaged(&self.place, &format!("its policy makes no sense: {why}")))?;
        }
        Ok(policy)
    }

    /// Sets it anew.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn set_policy(&self, policy: &Policy) -> Result<(), SetError> {
        for (key, _) in super::policy::KEYS {
            let value = policy.get(key).unwrap_or_default();
            self.run_sql("INSERT OR REPLACE INTO policy (key, value) VALUES (?1, ?2)", (key, value))?;
        }
        Ok(())
    }

    /// The set's epoch.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn epoch(&self) -> Result<u64, SetError> {
        Ok(self.fact::<i64>("epoch")?.unwrap_or(1).max(0).cast_unsigned().min(EPOCH_MAX))
    }

    fn run_sql(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, SetError> {
        self.connection.prepare_cached(sql).and_then(|mut it| it.execute(values)).map_err(|error| self.told(&error))
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        row: impl FnMut(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, SetError> {
        let read = || -> rusqlite::Result<Vec<T>> { self.connection.prepare_cached(sql)?.query_map(values, row)?.collect() };
        read().map_err(|error| self.told(&error))
    }

    fn told(&self, error: &rusqlite::Error) -> SetError {
        told(&self.place, error)
    }
}

fn fact<T: FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    connection.query_row("SELECT value FROM fact WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Opens the database, as one that others may have written.
fn connect(place: &Place, writes: bool) -> Result<Connection, SetError> {
    let failed = |error: rusqlite::Error| told(place, &error);
    // Without the flag that takes names for URIs.
    let base = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let open = |how| Connection::open_with_flags(&place.record, base | how);
    // Who only looks may have to roll back what another process was cut off at.
    let connection = match open(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        Err(_) if !writes => open(OpenFlags::SQLITE_OPEN_READ_ONLY),
        opened => opened,
    };
    let connection = connection.map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
    for (name, value) in [("cell_size_check", "ON"), ("foreign_keys", "ON"), ("synchronous", "EXTRA"), ("mmap_size", "0")] {
        connection.pragma_update(None, name, value).map_err(failed)?;
    }
    if writes {
        connection.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
    }
    Ok(connection)
}

/// A number that counts: what isn't above zero is nothing, whoever wrote it.
fn amount(row: &rusqlite::Row, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|number| number.max(0).cast_unsigned())
}

fn damaged(place: &Place, what: &str) -> SetError {
    let way = "look at the file; quorum-img set create --adopt makes a new record of marked members, --import one of an export";
    SetError::Damaged { set: place.name.clone(), what: what.to_owned(), way }
}

fn told(place: &Place, error: &rusqlite::Error) -> SetError {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, ReadOnly};
    let way = match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => return damaged(place, &error.to_string()),
        Some(DiskFull) => "make room: nothing of it was changed",
        Some(DatabaseBusy | DatabaseLocked) => "another program holds it; run this again",
        Some(ReadOnly | CannotOpen) => "run this as a user who may write to it, and to the folder that it lies in",
        _ => "look at the file, and at the disk that it lies on",
    };
    SetError::Record { set: place.name.clone(), error: error.to_string(), way }
}

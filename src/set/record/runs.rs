//! What was done to a set, and when.

use rusqlite::Row;

use super::{Record, SetError, amount};
use crate::member::escaped;

/// Places that are remembered of one run.
pub const PLACES_MAX: usize = 1000;
/// Runs whose places are remembered.
const RUNS_WITH_PLACES: i64 = 200;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its number.
    pub id: i64,
    /// What it was: `check`, `repair`, `resync`, `undo`, ...
    pub kind: String,
    /// When it began, in seconds since 1970.
    pub begun: i64,
    /// When it ended; none where it is under way, or was cut off.
    pub ended: Option<i64>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// What came of it, in words.
    pub outcome: String,
    /// Bytes of the image that were looked at.
    pub looked: u64,
    /// Sectors that differed and were decided.
    pub decided: u64,
    /// Sectors that nobody won.
    pub undecided: u64,
    /// Bytes written to members.
    pub written: u64,
    /// Whether all of the image had been checked with it.
    pub completed: bool,
    /// Of a resync whose member it was of.
    pub target: Option<i64>,
    /// Its journal's name, in the set's folder.
    pub journal: Option<String>,
}

/// What is known of a run when it ends.
#[derive(Clone, Debug, Default)]
pub struct RunEnd {
    /// Its exit code.
    pub exit_code: u8,
    /// See [`RunRow`].
    pub outcome: String,
    /// See [`RunRow`].
    pub looked: u64,
    /// See [`RunRow`].
    pub decided: u64,
    /// See [`RunRow`].
    pub undecided: u64,
    /// See [`RunRow`].
    pub written: u64,
    /// See [`RunRow`].
    pub completed: bool,
}

/// A change of a member's state.
#[derive(Clone, Debug)]
pub struct Change {
    /// The run that made it; none where a person did.
    pub run: Option<i64>,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Whose.
    pub member: i64,
    /// What it was.
    pub was: String,
    /// What it became.
    pub became: String,
    /// Why.
    pub why: String,
}

/// A place where a member dissented, couldn't be read, or nobody won (then without one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRow {
    /// In which run.
    pub run: i64,
    /// Whose.
    pub member: Option<i64>,
    /// Where, in bytes.
    pub start: u64,
    /// How long, in bytes.
    pub length: u64,
    /// `dissents`, `unreadable`, `undecided`, `repaired`.
    pub kind: String,
}

const COLUMNS: &str = "id, kind, begun, ended, exit_code, outcome, looked, decided, undecided, written, completed, journal, target";

fn run_of(row: &Row) -> rusqlite::Result<RunRow> {
    let number = |at: usize| amount(row, at);
    Ok(RunRow {
        id: row.get(0)?,
        kind: escaped(&row.get::<_, String>(1)?),
        begun: row.get(2)?,
        ended: row.get(3)?,
        exit_code: row.get(4)?,
        outcome: escaped(&row.get::<_, String>(5)?),
        looked: number(6)?,
        decided: number(7)?,
        undecided: number(8)?,
        written: number(9)?,
        completed: row.get(10)?,
        journal: row.get(11)?,
        target: row.get(12)?,
    })
}

fn change(row: &Row) -> rusqlite::Result<Change> {
    Ok(Change {
        run: row.get(0)?,
        at: row.get(1)?,
        member: row.get(2)?,
        was: escaped(&row.get::<_, String>(3)?),
        became: escaped(&row.get::<_, String>(4)?),
        why: escaped(&row.get::<_, String>(5)?),
    })
}

impl Record {
    /// Notes that a run begins; returns its number. Those that were cut off are told of as that.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn begin_run(&self, kind: &str, at: i64) -> Result<i64, SetError> {
        self.in_one(|record| {
            record.run_sql("UPDATE run SET ended = begun, exit_code = 130, outcome = 'it was cut off' WHERE ended IS NULL", [])?;
            record.run_sql("INSERT INTO run (kind, begun) VALUES (?1, ?2)", (kind, at))?;
            Ok(record.connection.last_insert_rowid())
        })
    }

    /// A run has a journal, which no other has any more, and a member whose resync it is, or none.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn set_journal(&self, run: i64, journal: &str, target: Option<i64>) -> Result<(), SetError> {
        self.run_sql("UPDATE run SET journal = NULL WHERE journal = ?1", [journal])?;
        self.run_sql("UPDATE run SET journal = ?2, target = ?3 WHERE id = ?1", (run, journal, target)).map(drop)
    }

    /// A run's journal isn't kept any more.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget_journal(&self, run: i64) -> Result<(), SetError> {
        self.run_sql("UPDATE run SET journal = NULL WHERE id = ?1", [run]).map(drop)
    }

    /// What a run did to places was undone.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget_places(&self, run: i64) -> Result<(), SetError> {
        self.run_sql("DELETE FROM place WHERE run = ?1", [run]).map(drop)
    }

    /// Notes how a run ended.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn end_run(&self, run: i64, end: &RunEnd, at: i64) -> Result<(), SetError> {
        let [looked, decided, undecided, written] = [end.looked, end.decided, end.undecided, end.written].map(u64::cast_signed);
        self.run_sql(
            "UPDATE run SET ended = ?2, exit_code = ?3, outcome = ?4, looked = ?5, decided = ?6, undecided = ?7, written = ?8, completed = ?9 \
             WHERE id = ?1",
            (run, at, end.exit_code, &end.outcome, looked, decided, undecided, written, end.completed),
        )
        .map(drop)
    }

    /// The last runs, the latest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn runs(&self, most: usize) -> Result<Vec<RunRow>, SetError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.rows(&format!("SELECT {COLUMNS} FROM run ORDER BY id DESC LIMIT ?1"), [most], run_of)
    }

    /// A run by its number.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn run(&self, id: i64) -> Result<Option<RunRow>, SetError> {
        Ok(self.rows(&format!("SELECT {COLUMNS} FROM run WHERE id = ?1"), [id], run_of)?.pop())
    }

    /// Runs that have a journal, the latest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn runs_with_journals(&self) -> Result<Vec<RunRow>, SetError> {
        self.rows(&format!("SELECT {COLUMNS} FROM run WHERE journal IS NOT NULL ORDER BY id DESC"), [], run_of)
    }

    /// The last run with which all of the image had been checked.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn last_completed(&self) -> Result<Option<RunRow>, SetError> {
        Ok(self.rows(&format!("SELECT {COLUMNS} FROM run WHERE completed ORDER BY id DESC LIMIT 1"), [], run_of)?.pop())
    }

    /// The changes of states in a run.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn changes(&self, run: Option<i64>) -> Result<Vec<Change>, SetError> {
        self.rows("SELECT run, at, member, was, became, why FROM change WHERE run IS ?1 ORDER BY id", [run], change)
    }

    /// The changes of states, of all runs, for which that was given as the reason.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn changes_because(&self, why: &str) -> Result<Vec<Change>, SetError> {
        self.rows("SELECT run, at, member, was, became, why FROM change WHERE why = ?1 ORDER BY id", [why], change)
    }

    /// Remembers places of a run, as many as fit, and forgets those of runs long ago.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn add_places(&self, places: &[PlaceRow]) -> Result<(), SetError> {
        for place in places.iter().take(PLACES_MAX) {
            self.run_sql(
                "INSERT INTO place (run, member, start, length, kind) VALUES (?1, ?2, ?3, ?4, ?5)",
                (place.run, place.member, place.start.cast_signed(), place.length.cast_signed(), &place.kind),
            )?;
        }
        if let Some(last) = places.last() {
            self.run_sql("DELETE FROM place WHERE run < ?1", [last.run.saturating_sub(RUNS_WITH_PLACES)])?;
        }
        Ok(())
    }

    /// Earlier places of a member that lie in a range of bytes, the latest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn places_in(&self, member: i64, start: u64, end: u64, before: i64) -> Result<Vec<PlaceRow>, SetError> {
        self.rows(
            "SELECT run, member, start, length, kind FROM place WHERE member = ?1 AND start < ?3 AND start + length > ?2 AND run < ?4 \
             ORDER BY run DESC LIMIT 100",
            (member, start.cast_signed(), end.cast_signed(), before),
            place_of,
        )
    }

    /// The places of a run.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn places_of(&self, run: i64, most: usize) -> Result<Vec<PlaceRow>, SetError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.rows("SELECT run, member, start, length, kind FROM place WHERE run = ?1 ORDER BY start LIMIT ?2", (run, most), place_of)
    }
}

fn place_of(row: &Row) -> rusqlite::Result<PlaceRow> {
    Ok(PlaceRow {
        run: row.get(0)?,
        member: row.get(1)?,
        start: amount(row, 2)?,
        length: amount(row, 3)?,
        kind: escaped(&row.get::<_, String>(4)?),
    })
}

//! Members, as a set remembers them.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use rusqlite::Row;

use super::{Record, SetError, amount, damaged};
use crate::{
    evidence::{AgeOf, Uuid},
    member::{MemberName, escaped},
    set::state::State,
    sys::attributes::FileId,
};

/// What was counted of a member, over all runs since that was cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sectors in which it was outvoted.
    pub dissenting: u64,
    /// Sectors of it that couldn't be read.
    pub unreadable: u64,
    /// Of those in which it was outvoted those in parts that nobody had written to: its bytes became others by themselves.
    pub silent: u64,
    /// Sectors that were made to agree.
    pub repaired: u64,
}

/// A member.
#[derive(Clone, Debug)]
pub struct MemberRow {
    /// Its number in the record.
    pub id: i64,
    /// Its own.
    pub uuid: Uuid,
    /// As it is opened: `raw:/path`, `qcow2:/path`, or an address.
    pub name: OsString,
    /// Its state.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// Why.
    pub why: String,
    /// The epoch of the mark that it carries for certain; none where it carries none.
    pub epoch: Option<u64>,
    /// The epoch that was to be written to it last, and may stand there.
    pub epoch_wanted: u64,
    /// Why it carries no mark, in words.
    pub unmarked: Option<String>,
    /// Which file it is, where it is one.
    pub file: Option<FileId>,
    /// How old its contents were when they were last relied on.
    pub ages: Vec<AgeOf>,
    /// What was counted.
    pub counters: Counters,
}

impl MemberRow {
    /// The name as people see it, and by which it is opened where what isn't said otherwise is raw: whole paths begin with a slash.
    #[must_use]
    pub fn plain(&self) -> &OsStr {
        OsStr::from_bytes(self.name.as_bytes().strip_prefix(b"raw:").unwrap_or(self.name.as_bytes()))
    }

    /// The same for messages.
    #[must_use]
    pub fn shown(&self) -> MemberName {
        MemberName::new(self.plain())
    }
}

/// A member that is to be remembered.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Its own.
    pub uuid: Uuid,
    /// As it is opened.
    pub name: OsString,
    /// Its state.
    pub state: State,
    /// Why.
    pub why: String,
    /// The epoch of the mark that it carries.
    pub epoch: Option<u64>,
    /// Why it carries none.
    pub unmarked: Option<String>,
    /// Which file it is, where it is one.
    pub file: Option<FileId>,
}

const COLUMNS: &str =
    "id, uuid, name, state, since, why, epoch, epoch_wanted, unmarked, inode, ages, dissenting, unreadable, silent, repaired, born";

type Raw = (MemberRow, String, String, String);

fn raw(row: &Row) -> rusqlite::Result<Raw> {
    let number = |at: usize| amount(row, at);
    let (uuid, state): (String, String) = (row.get(1)?, row.get(3)?);
    let member = MemberRow {
        id: row.get(0)?,
        uuid: Uuid::of_random([0; 16]),
        name: OsString::from_vec(row.get(2)?),
        state: State::Failed,
        since: row.get(4)?,
        why: escaped(&row.get::<_, String>(5)?),
        epoch: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
        epoch_wanted: number(7)?,
        unmarked: row.get::<_, Option<String>>(8)?.map(|why| escaped(&why)),
        file: row
            .get::<_, Option<i64>>(9)?
            .map(|inode| Ok::<_, rusqlite::Error>(FileId { inode: inode.cast_unsigned(), born: row.get(15)? }))
            .transpose()?,
        ages: Vec::new(),
        counters: Counters { dissenting: number(11)?, unreadable: number(12)?, silent: number(13)?, repaired: number(14)? },
    };
    Ok((member, uuid, state, row.get(10)?))
}

impl Record {
    /// All members that are counted, in their order.
    ///
    /// # Errors
    /// What SQLite says, or what of it makes no sense.
    pub fn members(&self) -> Result<Vec<MemberRow>, SetError> {
        Ok(self.all_members()?.into_iter().filter(|member| member.state != State::Removed).collect())
    }

    /// All that ever were.
    ///
    /// # Errors
    /// What SQLite says, or what of it makes no sense.
    pub fn all_members(&self) -> Result<Vec<MemberRow>, SetError> {
        let rows = self.rows(&format!("SELECT {COLUMNS} FROM member ORDER BY id"), [], raw)?;
        rows.into_iter().map(|raw| self.member_of(raw)).collect()
    }

    fn member_of(&self, (member, uuid, state, ages): Raw) -> Result<MemberRow, SetError> {
        let uuid = uuid.parse().map_err(|_| damaged(self.place(), "a member's UUID is none"))?;
        let state = State::of_word(&state).ok_or_else(|| damaged(self.place(), "a member's state is none"))?;
        // What another version wrote of ages says nothing here.
        Ok(MemberRow { uuid, state, ages: serde_json::from_str(&ages).unwrap_or_default(), ..member })
    }

    /// Remembers a new member; returns its number.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn add_member(&self, new: &NewMember, at: i64) -> Result<i64, SetError> {
        self.run_sql(
            "INSERT INTO member (uuid, name, state, since, why, epoch, epoch_wanted, unmarked, inode, born) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            (
                new.uuid.to_string(),
                new.name.as_bytes(),
                new.state.word(),
                at,
                &new.why,
                new.epoch.map(u64::cast_signed),
                new.epoch.unwrap_or(0).cast_signed(),
                &new.unmarked,
                new.file.map(|file| file.inode.cast_signed()),
                new.file.and_then(|file| file.born),
            ),
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Changes a member's state, and tells why.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn set_state(&self, member: &MemberRow, state: State, why: &str, run: Option<i64>, at: i64) -> Result<(), SetError> {
        self.run_sql("UPDATE member SET state = ?2, since = ?3, why = ?4 WHERE id = ?1", (member.id, state.word(), at, why))?;
        if !state.votes() {
            self.counts_no_more(member.id)?;
        }
        self.run_sql(
            "INSERT INTO change (run, at, member, was, became, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (run, at, member.id, member.state.word(), state.word(), why),
        )
        .map(drop)
    }

    /// A mark of that epoch is going to be written to a member.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn mark_wanted(&self, member: i64, epoch: u64) -> Result<(), SetError> {
        self.run_sql("UPDATE member SET epoch_wanted = ?2 WHERE id = ?1", (member, epoch.cast_signed())).map(drop)
    }

    /// A member carries a mark of that epoch, or none, and why.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn marked(&self, member: i64, epoch: Option<u64>, unmarked: Option<&str>, file: Option<FileId>) -> Result<(), SetError> {
        self.run_sql(
            "UPDATE member SET epoch = ?2, epoch_wanted = coalesce(?2, epoch_wanted), unmarked = ?3, inode = coalesce(?4, inode), \
             born = CASE WHEN ?4 IS NULL THEN born ELSE ?5 END WHERE id = ?1",
            (member, epoch.map(u64::cast_signed), unmarked, file.map(|file| file.inode.cast_signed()), file.and_then(|file| file.born)),
        )
        .map(drop)
    }

    /// Adds to what is counted of a member.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn count(&self, member: i64, more: &Counters) -> Result<(), SetError> {
        let Counters { dissenting, unreadable, silent, repaired } = *more;
        let [dissenting, unreadable, silent, repaired] = [dissenting, unreadable, silent, repaired].map(u64::cast_signed);
        self.run_sql(
            "UPDATE member SET dissenting = min(dissenting, 1 << 60) + ?2, unreadable = min(unreadable, 1 << 60) + ?3, silent = min(silent, 1 << 60) + ?4, \
             repaired = min(repaired, 1 << 60) + ?5 WHERE id = ?1",
            (member, dissenting, unreadable, silent, repaired),
        )
        .map(drop)
    }

    /// Forgets what was counted of a member.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn clear_counters(&self, member: i64) -> Result<(), SetError> {
        self.run_sql("UPDATE member SET dissenting = 0, unreadable = 0, silent = 0, repaired = 0 WHERE id = ?1", [member]).map(drop)
    }

    /// Remembers how old a member's contents are.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn set_ages(&self, member: i64, ages: &[AgeOf]) -> Result<(), SetError> {
        let text = serde_json::to_string(ages).unwrap_or_else(|_| "[]".into());
        self.run_sql("UPDATE member SET ages = ?2 WHERE id = ?1", (member, text)).map(drop)
    }
}

//! The parts of a set's image: when each was checked, what was found, and what its members' files looked like then.

use super::{Record, SetError, amount};
use crate::{sys::attributes::Fingerprint, vote::ByteRange};

/// A part, as it was checked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// Its number.
    pub number: u64,
    /// Where it lies, in bytes.
    pub range: ByteRange,
    /// When it was checked, in seconds since 1970.
    pub checked: i64,
    /// In which pass over the image.
    pub pass: i64,
    /// Sectors in it that nobody won.
    pub undecided: u64,
    /// The name of its digest's file, in the set's folder.
    pub digest: Option<String>,
    /// What was seen of each member.
    pub members: Vec<MemberPart>,
}

impl PartRow {
    /// What was seen of that member.
    #[must_use]
    pub fn of(&self, member: i64) -> Option<&MemberPart> {
        self.members.iter().find(|there| there.member == member)
    }

    /// What that member's file looked like, and in which boot, where that tells anything.
    #[must_use]
    pub fn print_of(&self, member: i64) -> Option<&(Fingerprint, String)> {
        self.of(member)?.fingerprint.as_ref()
    }
}

/// What was seen of a member in a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPart {
    /// Whose.
    pub member: i64,
    /// Whether it differed from what was decided, or from all who voted.
    pub differs: bool,
    /// Whether it is still the member that was compared then.
    pub counts: bool,
    /// What its file looked like, and in which boot of this machine, where that tells whether it was written to since.
    pub fingerprint: Option<(Fingerprint, String)>,
}

/// A part that was checked.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// See [`PartRow`].
    pub number: u64,
    /// See [`PartRow`].
    pub range: ByteRange,
    /// See [`PartRow`].
    pub pass: i64,
    /// In which run.
    pub run: i64,
    /// See [`PartRow`].
    pub undecided: u64,
    /// See [`PartRow`].
    pub digest: Option<&'a str>,
    /// See [`PartRow`].
    pub members: &'a [MemberPart],
}

type Raw = (PartRow, Option<MemberPart>);

impl Record {
    /// All parts that were ever checked, in order.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn parts(&self) -> Result<Vec<PartRow>, SetError> {
        let sql = "SELECT part.number, start, length, checked, pass, undecided, digest, part_member.member, differs, counts, size, modified, changed, inode, boot \
                   FROM part LEFT JOIN part_member ON part_member.part = part.number \
                   LEFT JOIN fingerprint ON fingerprint.id = part_member.fingerprint ORDER BY part.number, part_member.member";
        let rows: Vec<Raw> = self.rows(sql, [], |row| {
            let number = |at: usize| amount(row, at);
            let start = number(1)?;
            let part = PartRow {
                number: number(0)?,
                range: ByteRange::new(start, start.saturating_add(number(2)?)),
                checked: row.get(3)?,
                pass: row.get(4)?,
                undecided: number(5)?,
                digest: row.get(6)?,
                members: Vec::new(),
            };
            let Some(member) = row.get::<_, Option<i64>>(7)? else { return Ok((part, None)) };
            let fingerprint = match row.get::<_, Option<i64>>(10)? {
                Some(size) => Some((
                    Fingerprint {
                        size: size.cast_unsigned(),
                        modified: row.get::<_, i64>(11)?.into(),
                        changed: row.get::<_, i64>(12)?.into(),
                        inode: number(13)?,
                        untrusted: None,
                    },
                    row.get::<_, String>(14)?,
                )),
                None => None,
            };
            Ok((part, Some(MemberPart { member, differs: row.get(8)?, counts: row.get(9)?, fingerprint })))
        })?;
        let mut parts: Vec<PartRow> = Vec::new();
        for (part, member) in rows {
            if parts.last().is_none_or(|last| last.number != part.number) {
                parts.push(part);
            }
            if let (Some(part), Some(member)) = (parts.last_mut(), member) {
                part.members.push(member);
            }
        }
        Ok(parts)
    }

    /// Remembers a part that was checked.
    ///
    /// # Errors
    /// What SQLite says; nothing is changed then.
    pub fn set_part(&self, part: &Part, at: i64) -> Result<(), SetError> {
        let number = part.number.cast_signed();
        self.in_one(|record| {
            record.run_sql("DELETE FROM part WHERE number = ?1", [number])?;
            record.run_sql(
                "INSERT INTO part (number, start, length, checked, pass, run, undecided, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    number,
                    part.range.start.cast_signed(),
                    part.range.length().cast_signed(),
                    at,
                    part.pass,
                    part.run,
                    part.undecided.cast_signed(),
                    part.digest,
                ),
            )?;
            for member in part.members {
                let fingerprint = member.fingerprint.as_ref().map(|(it, boot)| record.fingerprint(member.member, it, boot)).transpose()?;
                record.run_sql(
                    "INSERT INTO part_member (part, member, differs, fingerprint) VALUES (?1, ?2, ?3, ?4)",
                    (number, member.member, member.differs, fingerprint),
                )?;
            }
            Ok(())
        })
    }

    /// The number of a fingerprint: most parts share a few.
    fn fingerprint(&self, member: i64, it: &Fingerprint, boot: &str) -> Result<i64, SetError> {
        let nanoseconds = |time: i128| i64::try_from(time).unwrap_or(i64::MIN);
        let (size, modified, changed, inode) =
            (it.size.cast_signed(), nanoseconds(it.modified), nanoseconds(it.changed), it.inode.cast_signed());
        let known = self.rows(
            "SELECT id FROM fingerprint WHERE member = ?1 AND size = ?2 AND modified = ?3 AND changed = ?4 AND inode = ?5 AND boot = ?6",
            (member, size, modified, changed, inode, boot),
            |row| row.get::<_, i64>(0),
        )?;
        if let Some(id) = known.first() {
            return Ok(*id);
        }
        self.run_sql(
            "INSERT INTO fingerprint (member, size, modified, changed, inode, boot) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (member, size, modified, changed, inode, boot),
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// What this program itself did to a member's file (its mark) makes no other file of it: from now on it looks so.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn looks_now(&self, member: i64, before: &Fingerprint, now: &Fingerprint) -> Result<(), SetError> {
        let changed = |it: &Fingerprint| i64::try_from(it.changed).unwrap_or(i64::MIN);
        self.run_sql(
            "UPDATE fingerprint SET changed = ?5 WHERE member = ?1 AND size = ?2 AND modified = ?3 AND changed = ?4",
            (member, before.size.cast_signed(), i64::try_from(before.modified).unwrap_or(i64::MIN), changed(before), changed(now)),
        )
        .map(drop)
    }

    /// A member was made to agree with all that was decided.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn is_whole(&self, member: i64) -> Result<(), SetError> {
        self.run_sql("UPDATE part_member SET differs = 0 WHERE member = ?1", [member]).map(drop)
    }

    /// All that was found is decided now.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn all_decided(&self) -> Result<(), SetError> {
        self.run_sql("UPDATE part SET undecided = 0", []).map(drop)
    }

    /// What is known of the bytes of parts that a run looked at, and in which a member differed, is known no more.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget_disputed(&self, run: i64) -> Result<(), SetError> {
        let sql = "UPDATE part SET digest = NULL WHERE run = ?1 AND (undecided > 0 OR EXISTS (SELECT 1 FROM part_member WHERE part = number AND differs))";
        self.run_sql(sql, [run]).map(drop)
    }

    /// What was compared of a member before says nothing of what it is now.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn counts_no_more(&self, member: i64) -> Result<(), SetError> {
        self.run_sql("UPDATE part_member SET counts = 0 WHERE member = ?1", [member]).map(drop)
    }

    /// Sectors that nobody won when they were checked last.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn undecided(&self) -> Result<u64, SetError> {
        Ok(self
            .rows("SELECT coalesce(cast(total(max(undecided, 0)) AS INTEGER), 0) FROM part", [], |row| row.get::<_, i64>(0))?
            .first()
            .map_or(0, |sum| sum.max(&0).cast_unsigned()))
    }

    /// Forgets parts that lie elsewhere than in parts of `bytes` bytes of an image of `size`.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget_other_parts(&self, size: u64, bytes: u64) -> Result<(), SetError> {
        let (size, bytes) = (size.cast_signed(), bytes.cast_signed());
        self.run_sql("DELETE FROM part WHERE start != number * ?2 OR start + length != min(start + ?2, ?1)", (size, bytes)).map(drop)
    }

    /// What is known of a part's bytes is known no more.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget_digest(&self, number: u64) -> Result<(), SetError> {
        self.run_sql("UPDATE part SET digest = NULL WHERE number = ?1", [number.cast_signed()]).map(drop)
    }

    /// Fingerprints that no part goes by.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn sweep(&self) -> Result<(), SetError> {
        self.run_sql("DELETE FROM fingerprint WHERE id NOT IN (SELECT fingerprint FROM part_member WHERE fingerprint IS NOT NULL)", [])
            .map(drop)
    }
}

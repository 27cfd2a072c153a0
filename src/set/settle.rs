//! What a run makes of its members: states, epoch, marks.

use super::{
    error::SetError,
    record::{MemberPart, MemberRow, PartRow, Record},
    roster::{Roster, Seat},
    state::{Met, Seen, Standing, State, Why, after},
};
use crate::{
    evidence::{ATTRIBUTE, EPOCH_MAX, Evidence, Mark},
    member::Member,
    vote::members_of,
};

/// The epoch of members that have yet to prove themselves: lower than that of any who vote, whoever asks.
pub const UNPROVEN: u64 = 0;

/// Words of guards that make a set disputed where they stand: the vote itself may be wrong there.
const DISPUTING: [&str; 4] = ["newer", "stranger", "zeros", "empty"];

/// Whether a guard of that word makes a set disputed.
#[must_use]
pub fn disputes(word: &str) -> bool {
    DISPUTING.contains(&word)
}

/// A state that became another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The member's place in the roster.
    pub index: usize,
    /// What it was.
    pub was: State,
    /// What it is now.
    pub now: State,
    /// Why.
    pub why: Why,
}

/// Decides what becomes of the members' states, and remembers it. Where any changes the epoch is raised in the same step.
///
/// # Errors
/// What SQLite says; nothing is changed then.
pub fn settle(record: &Record, run: i64, roster: &Roster, seen: &[Seen], standing: Standing, at: i64) -> Result<Vec<Moved>, SetError> {
    let decided = roster.seats.iter().zip(seen).enumerate().filter_map(|(index, (seat, seen))| {
        let (now, why) = after(seat.row.state, seen, standing)?;
        Some(Moved { index, was: seat.row.state, now, why })
    });
    let moved: Vec<Moved> = decided.collect();
    record.in_one(|record| {
        for it in &moved {
            let seat = &roster.seats[it.index];
            let why = seat.older.clone().filter(|_| it.now == State::Stale).unwrap_or_else(|| it.why.in_words().to_owned());
            record.set_state(&seat.row, it.now, &why, Some(run), at)?;
        }
        if moved.is_empty() { Ok(()) } else { raise(record) }
    })?;
    Ok(moved)
}

/// Raises the epoch: those who vote are to be marked with it.
///
/// # Errors
/// What SQLite says.
pub fn raise(record: &Record) -> Result<(), SetError> {
    let epoch = record.epoch()?.saturating_add(1).min(EPOCH_MAX);
    record.set_fact("epoch", Some(&epoch.cast_signed()))?;
    for member in record.members()?.iter().filter(|member| member.state.votes()) {
        record.mark_wanted(member.id, epoch)?;
    }
    Ok(())
}

/// Marks those who vote with the set's epoch, where they aren't marked so: those who were met, are who the record says, aren't older than they
/// were, and are read themselves. What can't be marked is remembered, and returned in words.
///
/// # Errors
/// What SQLite says.
pub fn mark_all(record: &Record, roster: &Roster, members: &[&dyn Member]) -> Result<Vec<String>, SetError> {
    let (epoch, rows) = (record.epoch()?, record.members()?);
    let mut told = Vec::new();
    for (seat, member) in roster.seats.iter().zip(members) {
        let Some(row) = rows.iter().find(|row| row.id == seat.row.id) else { continue };
        let is_it = seat.met == Met::Read && seat.older.is_none() && !seat.is_snapshot;
        if is_it
            && row.state.votes()
            && row.epoch != Some(epoch)
            && let Some(why) = mark(record, row, *member, epoch)?
        {
            told.push(format!("{}: isn't marked: {why}", row.shown()));
        }
    }
    Ok(told)
}

/// Marks one member; returns why that can't be, in words.
///
/// # Errors
/// What SQLite says.
pub fn mark(record: &Record, row: &MemberRow, member: &dyn Member, epoch: u64) -> Result<Option<String>, SetError> {
    if member.failure().is_some() {
        return Ok(Some("it can't be read".to_owned()));
    }
    let Some(file) = member.files().into_iter().next() else {
        let why = "an export carries no mark";
        record.marked(row.id, None, Some(why), None)?;
        return Ok(None);
    };
    let id = file.id().ok().flatten();
    let before = file.fingerprint().ok();
    record.mark_wanted(row.id, epoch)?;
    let bytes = Mark { set: record.uuid, member: row.uuid, epoch }.encode();
    match file.set_attribute(ATTRIBUTE, Some(bytes)) {
        Ok(true) => {
            let now = file.fingerprint().ok();
            record.in_one(|record| {
                record.marked(row.id, Some(epoch), None, id)?;
                // The mark moved the file's change time, and nothing else did.
                if let (Some(before), Some(now)) = (&before, &now)
                    && (before.size, before.modified, before.inode) == (now.size, now.modified, now.inode)
                {
                    record.looks_now(row.id, before, now)?;
                }
                Ok(())
            })?;
            Ok(None)
        }
        Ok(false) => {
            let why = if file.is_device() { "a device carries no mark" } else { "its file system has no room for marks" };
            record.marked(row.id, None, Some(why), id)?;
            Ok(None)
        }
        Err(error) => {
            // One that carries a mark of before keeps that: it isn't lost.
            if row.epoch.is_none() {
                record.marked(row.id, None, Some(&error.to_string()), id)?;
            }
            Ok(Some(error.to_string()))
        }
    }
}

/// What was seen of each member over the pass that ended with this run, or over this run alone where it isn't over.
#[must_use]
pub fn seen_of(roster: &Roster, parts: &[PartRow], pass: i64, completed: bool, this_run: &[(Met, bool)], beyond: u64) -> Vec<Seen> {
    let of_pass: Vec<&PartRow> = parts.iter().filter(|part| part.pass == pass).collect();
    // Where nobody won nobody can be said to be right.
    let decided = of_pass.iter().all(|part| part.undecided == 0);
    let one = |index: usize| {
        let seat = &roster.seats[index];
        let (met, differs) = this_run[index];
        let own: Vec<Option<&MemberPart>> = of_pass.iter().map(|part| part.of(seat.row.id).filter(|there| there.counts)).collect();
        // Who has no vote is proven by what the others hold now, and by its own file: not where somebody wrote to any since, nor by a snapshot.
        let proven = seat.row.state.votes() || (!seat.is_snapshot && of_pass.iter().all(|part| !was_written_to_since(roster, index, part)));
        let all = completed && decided && proven && own.iter().all(Option::is_some);
        // What differed in the first part of the pass isn't forgotten in the last.
        let differed = own.iter().flatten().any(|there| there.differs);
        Seen {
            met,
            complete: all && met == Met::Read,
            differs: differs || (differed && met == Met::Read),
            beyond_damage: beyond >> index & 1 == 1,
            older: seat.older.is_some(),
            made_whole: false,
        }
    };
    (0..roster.seats.len()).map(one).collect()
}

/// Whether somebody wrote to a member, or to one that votes, since the part was looked at, as far as that can be told.
fn was_written_to_since(roster: &Roster, index: usize, part: &PartRow) -> bool {
    let moved = |seat: &Seat| part.print_of(seat.row.id).zip(seat.fingerprint.as_ref()).is_some_and(|((then, _), now)| !then.is_same(now));
    roster.seats.iter().enumerate().any(|(other, seat)| (other == index || seat.votes) && moved(seat))
}

/// Remembers how old the contents of those who vote are, where nothing speaks against them.
///
/// # Errors
/// What SQLite says.
pub fn remember_ages(record: &Record, roster: &Roster, evidence: &Evidence) -> Result<(), SetError> {
    for index in members_of(roster.voters()) {
        if let Some(known) = evidence.members.get(index)
            && known.ages != roster.seats[index].row.ages
        {
            record.set_ages(roster.seats[index].row.id, &known.ages)?;
        }
    }
    Ok(())
}

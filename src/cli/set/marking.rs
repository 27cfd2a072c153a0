//! Marks of members that aren't open, written outside of a check or a repair.

use anyhow::{Context as _, Result};

use super::{members::seat, session::Session};
use crate::{
    cli::say::warn,
    evidence::{ATTRIBUTE, Mark, read_mark},
    member::Member,
    set::{self, MemberRow, State, UNPROVEN},
};

/// Takes a member out of the record, and raises the epoch of those who stay.
pub(super) fn retire(session: &Session, row: &MemberRow, why: &str) -> Result<()> {
    session.record.in_one(|record| {
        record.set_state(row, State::Removed, why, Some(session.run), session.at())?;
        set::raise(record)
    })?;
    Ok(())
}

/// Takes the mark of one that was removed away, where it can be reached.
pub(super) fn unmark(session: &Session, row: &MemberRow) -> Result<()> {
    if let Ok(single) = session.open(row) {
        let ours = mark_of(&*single.member)?.is_some_and(|mark| mark.set == session.record.uuid && mark.member == row.uuid);
        if let (true, Some(file)) = (ours, single.member.files().into_iter().next())
            && let Err(error) = file.set_attribute(ATTRIBUTE, None)
        {
            warn(&format!("{}: its mark stays: {error}", row.shown()));
        }
    }
    Ok(())
}

/// Marks those who vote, as far as they can be reached now and are who the record says; of those who are `forgiven` an older mark, too.
pub(super) fn mark_reachable(session: &Session, forgiven: &[i64]) -> Result<()> {
    let rows = session.record.members()?;
    for row in rows.iter().filter(|row| row.state.votes()) {
        let Ok(single) = session.open(row) else { continue };
        let members: [&dyn Member; 1] = [&*single.member];
        if let Ok(mut roster) = seat(session, std::slice::from_ref(row), &members, 0) {
            for seat in roster.seats.iter_mut().filter(|seat| forgiven.contains(&seat.row.id)) {
                seat.older = None;
            }
            set::mark_all(&session.record, &roster, &members)?.iter().for_each(|text| warn(text));
        }
    }
    Ok(())
}

/// Half of a resync is older than anything, whoever asks, for the record may be lost. It is marked before it is opened for the vote: what moves its
/// change time after that is a write. Where nothing comes of it it is marked anew at the run's end, or at the next one's.
pub(super) fn mark_unproven(session: &Session, row: &MemberRow) -> Result<()> {
    let Ok(single) = session.open(row) else { return Ok(()) };
    let members: [&dyn Member; 1] = [&*single.member];
    seat(session, std::slice::from_ref(row), &members, 0)?;
    set::mark(&session.record, row, members[0], UNPROVEN).map(drop).map_err(Into::into)
}

/// The mark that a member carries.
pub(super) fn mark_of(member: &dyn Member) -> Result<Option<Mark>> {
    read_mark(member).with_context(|| format!("{}: its mark can't be read", member.name()))
}

//! A set's members, opened and seated for a run.

use std::ffi::{OsStr, OsString};

use anyhow::{Result, ensure};

use super::session::Session;
use crate::{
    electorate::Given,
    member::{HostFile, Member},
    scan::Question,
    set::{MemberRow, Roster},
};

/// Names by which members are opened: as they are remembered, or what stands in for one.
pub(super) fn names(session: &Session, rows: &[MemberRow], via: &[(OsString, OsString)]) -> Result<(Vec<OsString>, u64)> {
    let mut names: Vec<OsString> = rows.iter().map(|row| row.plain().to_owned()).collect();
    let mut snapshots = 0;
    for (member, source) in via {
        let index = session.find(rows, member)?;
        ensure!(snapshots >> index & 1 == 0, "--via: two sources for one member\nhint: leave one out");
        snapshots |= 1 << index;
        // What is read in a member's place is of its format, unless it says otherwise.
        let own = Given::of(&rows[index].name).format().filter(|_| matches!(Given::of(source), Given::Path { format: None, .. }));
        names[index] = match own {
            Some(format) => [format.name().as_ref(), OsStr::new(":"), source.as_os_str()].into_iter().collect(),
            None => source.clone(),
        };
    }
    Ok((names, snapshots))
}

/// Seats members that are open: what their marks say is held against the record. For one that is read as a snapshot its own file's mark counts.
pub(super) fn seat(session: &Session, rows: &[MemberRow], members: &[&dyn Member], snapshots: u64) -> Result<Roster> {
    let mut stand_ins: Vec<Option<HostFile>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let shown = row.shown();
        let own = (snapshots >> index & 1 == 1).then(|| {
            let path = Given::of(row.plain()).path().map(std::path::Path::to_owned);
            path.and_then(|path| HostFile::open(shown, &path).ok())
        });
        stand_ins.push(own.flatten());
    }
    Ok(Roster::new(rows, (session.record.uuid, session.record.epoch()?, &session.place.name), members, &stand_ins, snapshots)?)
}

/// The question that a set's policy asks.
pub(super) fn question(session: &Session, roster: &Roster, threads: Option<u64>, rereads: u32) -> Question {
    let default = Question::default();
    Question {
        sector: session.policy.sector,
        threshold: session.policy.threshold,
        voters: Some(roster.voters()),
        members_min: 1,
        rereads,
        threads: threads.map_or(default.threads, |threads| threads as usize),
        ..default
    }
}

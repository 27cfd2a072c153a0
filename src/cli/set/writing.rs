//! A repair in place of a set's members: with their states, the set's digest, and a journal in its folder.

use std::{
    cell::RefCell,
    ffi::OsString,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use clap::{CommandFactory as _, FromArgMatches as _};

use super::{
    journals::{journal_of, prune},
    marking::mark_unproven,
    members::seat,
    session::Session,
    settled::{Settling, state_of},
    write_args::{RepairLine, WriteArgs, command_line},
};
use crate::{
    cli::{
        given::Given as Line,
        in_place::{Beside, run_beside},
        repair_args::{RepairArgs, Word},
        say::warn,
    },
    digest::Hearing,
    electorate::Given,
    evidence::Evidence,
    member::{Member, MemberName, escaped},
    repair::RepairError,
    report::{Look, Report, Status},
    scan::Question,
    set::{Counters, MemberRow, Memory, Met, Now, PlaceRow, Roster, RunEnd, Seen, SetError, State, raise, whom_to_trust},
};

/// Writes to members: to those who vote, or to `target` alone.
pub(super) fn write(
    session: &Session,
    args: &WriteArgs,
    rows: &[MemberRow],
    target: Option<usize>,
    trusted: Option<usize>,
    more: Vec<OsString>,
) -> Result<(u8, RunEnd)> {
    if let Some(row) = target.map(|target| &rows[target]).filter(|_| !args.dry_run) {
        mark_unproven(session, row)?;
    }
    let rows = &session.record.members()?[..];
    let own = session.place.journal(session.run);
    let journal = journal_of(session, rows, target.map(|target| rows[target].id))?;
    match write_with(session, args, rows, target, trusted, more.clone(), &journal) {
        // Nothing was written: one that was cut off, and can't be gone on with, is in nobody's way.
        Err(error) if journal != own && leaves_it(&error) => {
            warn(&format!("{}: it isn't gone on with, and stays for set undo: {error:#}", MemberName::from(journal.as_path())));
            write_with(session, args, rows, target, trusted, more, &own)
        }
        done => done,
    }
}

/// Whether a journal that was cut off is refused since it can't be gone on with any more.
fn leaves_it(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(RepairError::JournalOther { .. } | RepairError::WrittenSince { .. }))
}

fn write_with(
    session: &Session,
    args: &WriteArgs,
    rows: &[MemberRow],
    target: Option<usize>,
    trusted: Option<usize>,
    more: Vec<OsString>,
    journal: &Path,
) -> Result<(u8, RunEnd)> {
    let words = command_line(session, args, rows, target, trusted, journal, more);
    let matches = RepairLine::command().try_get_matches_from(&words)?;
    let RepairLine { mut repair } = RepairLine::from_arg_matches(&matches)?;
    // What leads on is the set's own.
    let given = Line::of(RepairLine::command(), &matches);
    repair.show = args.show.clone();
    repair.members.of_set = true;
    repair.force.clone_from(&args.force);
    // Naming a member is the word for that, and only that one is written to.
    if target.is_some() {
        repair.force.push(Word::Stale);
    }
    let boot = args.present.boot();
    let writing = Writing {
        session,
        args,
        repair: &repair,
        rows,
        target,
        trusted,
        journal,
        boot,
        roster: RefCell::default(),
        end: RefCell::default(),
    };
    let code = run_beside(&repair, &given, &writing)?;
    // What was written is written.
    if let Err(error) = prune(session) {
        warn(&format!("old journals are kept: {error:#}"));
    }
    Ok((code, writing.end.into_inner()))
}

/// A repair of a set's members.
struct Writing<'a> {
    session: &'a Session,
    args: &'a WriteArgs,
    repair: &'a RepairArgs,
    rows: &'a [MemberRow],
    target: Option<usize>,
    trusted: Option<usize>,
    journal: &'a Path,
    boot: String,
    roster: RefCell<Roster>,
    end: RefCell<RunEnd>,
}

impl Writing<'_> {
    /// Refuses to go by the votes of members that lost theirs since the last check.
    fn refuse_older(&self, roster: &Roster) -> Result<()> {
        if self.trusted.is_some() {
            return Ok(()); // nobody votes
        }
        let mut others = roster.seats.iter().enumerate().filter(|(index, seat)| self.target != Some(*index) && seat.row.state.votes());
        if let Some((index, why)) = others.find_map(|(index, seat)| Some((index, seat.older.as_ref()?))) {
            bail!("{}: {why}\nhint: quorum-img set check {} takes its vote away first", self.rows[index].shown(), self.session.quoted());
        }
        Ok(())
    }

    /// One that can be read, and not written to, isn't away: nobody loses its vote for that.
    fn refuse_read_only(&self, roster: &Roster) -> Result<()> {
        let session = self.session;
        for (index, seat) in roster.seats.iter().enumerate().filter(|(_, seat)| seat.met != Met::Read && seat.row.state.votes()) {
            let reads = session.open(&seat.row).is_ok_and(|single| single.member.failure().is_none());
            let is_spared = self.repair.in_place.no_write.iter().any(|name| *name == *format!("#{index}"));
            if let (true, false, Err(error)) = (reads, is_spared, try_to_write(&seat.row)) {
                bail!(
                    "{}: can be read, and can't be written to: {error}\nhint: mend that; or let it vote and leave it as it is: quorum-img set repair {} --no-write '#{index}'",
                    seat.row.shown(),
                    session.quoted()
                );
            }
        }
        Ok(())
    }

    /// Where the vote itself may be wrong nothing is written by it, until a person has said a word.
    fn refuse_disputed(&self) -> Result<(), SetError> {
        let (record, set) = (&self.session.record, self.session.quoted());
        let Some(why) = record.fact::<String>("disputed")?.filter(|_| self.trusted.is_none()) else { return Ok(()) };
        let word = record.fact::<String>("disputed-word")?.unwrap_or_default();
        let said = self.repair.force.iter().filter_map(clap::ValueEnum::to_possible_value).any(|it| it.get_name() == word);
        if said || !self.repair.pick.is_empty() {
            return Ok(()); // what a pick doesn't reach the guard itself stands for
        }
        Err(SetError::Disputed {
            set: self.session.place.name.clone(),
            why: escaped(&why),
            way: format!("quorum-img set status {set} tells what settles it; --force {} lets the others decide", escaped(&word)),
        })
    }

    /// Where too few vote nothing is decided, whatever the set's digest says.
    fn refuse_too_few(&self, votes: usize) -> Result<(), SetError> {
        let needed = self.session.needed(self.rows.len());
        if self.trusted.is_some() || votes >= needed {
            return Ok(());
        }
        let way = too_few_way(self.session, self.rows, self.target);
        Err(SetError::TooFew { votes, needed, way })
    }

    /// What is to be thought of each member now.
    fn seen(&self, roster: &Roster, report: &Report) -> Vec<Seen> {
        let done = report.in_place.as_ref().filter(|done| !done.dry_run && done.refused.is_none() && done.completed);
        let compared = !report.partial && report.error.is_none() && !report.unvoted;
        let one = |index: usize| {
            let (seat, member) = (&roster.seats[index], &report.members[index]);
            let lost = member.error.is_some() && seat.met == Met::Read;
            let written = !self.repair.in_place.no_write.iter().any(|name| *name == *format!("#{index}")) && self.trusted != Some(index);
            let flaws = member.dissenting_sectors
                + member.unreadable_sectors
                + member.absent_sectors
                + member.filler_sectors
                + member.unstable_sectors;
            let not_healed = done.is_some_and(|done| done.not_healed.iter().any(|span| span.member == index));
            let failed = done.is_some_and(|done| done.members.iter().any(|it| it.index == index && it.error.is_some()));
            let left =
                |it: &crate::report::InPlaceMember| it.left_bytes > 0 || it.no_write || (it.surplus_bytes > 0 && it.truncate_to.is_none());
            let left = done.is_some_and(|done| done.members.iter().any(|it| it.index == index && left(it)));
            let longer = member.surplus_bytes > 0 && member.status == Status::Divergent;
            let undecided = report.sectors.undecided > 0 || report.size_undecided;
            Seen {
                met: if lost { Met::Away } else { seat.met },
                complete: compared && !undecided,
                // What nobody won counts against none of those who vote.
                differs: flaws > 0 || longer,
                beyond_damage: false,
                older: seat.older.is_some(),
                made_whole: done.is_some() && written && !undecided && !not_healed && !failed && !left,
            }
        };
        (0..roster.seats.len()).map(one).collect()
    }

    fn counters(&self, report: &Report) -> Vec<Counters> {
        let mut counters = vec![Counters::default(); self.rows.len()];
        if let Some(done) = report.in_place.as_ref().filter(|done| !done.dry_run) {
            for member in &done.members {
                counters[member.index].repaired = member.bytes_written.div_ceil(u64::from(report.sector_size));
            }
        }
        counters
    }

    /// Where members were rewritten, as far as it is listed.
    fn places(&self, report: &Report) -> Vec<PlaceRow> {
        let Some(done) = report.in_place.as_ref().filter(|done| !done.dry_run && done.bytes_written > 0) else { return Vec::new() };
        let place = |member: usize, planned: &crate::report::Planned| PlaceRow {
            run: self.session.run,
            member: Some(self.rows[member].id),
            start: planned.span.offset,
            length: planned.span.length,
            kind: "repaired".to_owned(),
        };
        done.plan.iter().flat_map(|planned| planned.to.iter().map(move |&member| place(member, planned))).collect()
    }
}

impl Beside for Writing<'_> {
    fn ask(&self, members: &[&dyn Member], question: &mut Question) -> Result<Vec<String>> {
        let session = self.session;
        let roster = seat(session, self.rows, members, 0)?;
        self.refuse_older(&roster)?;
        self.refuse_read_only(&roster)?;
        for index in self.target.into_iter().chain(self.trusted) {
            if let Some(why) = members[index].failure() {
                bail!("{}: {why}\nhint: bring it back first", members[index].name());
            }
        }
        question.voters = Some(roster.voters() & !self.target.map_or(0, |target| 1 << target));
        question.members_min = 1;
        self.refuse_disputed()?;
        self.refuse_too_few(question.voters.unwrap_or(0).count_ones() as usize)?;
        let mut said: Vec<String> = (0..self.rows.len())
            .filter_map(|index| Some(format!("{}: has no vote: {}", self.rows[index].shown(), roster.why_not(index)?)))
            .collect();
        let size = session.record.fact::<i64>("size")?.map(|size| size.max(0).cast_unsigned());
        if let (Some(size), None) = (size, self.trusted) {
            let now = Now { boot: &self.boot, assume_unwritten: self.args.assume_unwritten };
            let mut memory =
                Memory::gather(&session.place, &session.record.parts()?, &roster, size, &now, session.needed(self.rows.len()))?;
            said.append(&mut memory.silent);
            if let Some(witness) = memory.witness {
                question.hearing = Some(Arc::new(Hearing { witnesses: vec![witness], warnings: Vec::new() }));
            }
        }
        self.roster.replace(roster);
        Ok(said)
    }

    fn weigh(&self, evidence: &Evidence) -> Result<()> {
        let mut roster = self.roster.borrow_mut();
        roster.look_at_ages(evidence);
        self.refuse_older(&roster)
    }

    fn journals(&self) -> Vec<PathBuf> {
        self.session.journals().unwrap_or_default()
    }

    fn begin(&self) -> Result<()> {
        let (session, record) = (self.session, &self.session.record);
        record.in_one(|record| {
            if let Some(name) = self.journal.file_name().and_then(|name| name.to_str()) {
                record.set_journal(session.run, name, self.target.map(|target| self.rows[target].id))?;
            }
            if let Some(row) = self.target.map(|target| &self.rows[target]).filter(|row| row.state != State::Syncing) {
                record.set_state(row, State::Syncing, "its resync has begun", Some(session.run), session.at())?;
                raise(record)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn ended(&self, members: &[&dyn Member], evidence: Option<&Evidence>, report: &mut Report) -> Result<Option<Look>> {
        let (session, record) = (self.session, &self.session.record);
        let mut roster = self.roster.borrow_mut();
        // A resync that has begun has changed a state already.
        for (seat, row) in roster.seats.iter_mut().zip(record.members()?) {
            seat.row = row;
        }
        let seen = self.seen(&roster, report);
        for (seat, _) in roster.seats.iter_mut().zip(&seen).filter(|(_, seen)| seen.made_whole) {
            record.is_whole(seat.row.id)?;
            // What was put back is there no more, and it is marked anew.
            seat.older = None;
        }
        let written = report.in_place.as_ref().map_or(0, |done| done.bytes_written);
        if report.in_place.as_ref().is_some_and(|done| done.completed && !done.dry_run) && report.sectors.undecided == 0 {
            record.all_decided()?;
        }
        // A resync that came to nothing before its first write is none.
        if let Some(row) = self.target.map(|target| &self.rows[target]).filter(|row| row.state != State::Syncing)
            && report.in_place.as_ref().is_some_and(|done| !done.completed && done.error.is_some() && written == 0 && !done.resumed)
            && let Some(seat) = roster.seats.iter_mut().find(|seat| seat.row.id == row.id && seat.row.state == State::Syncing)
        {
            record
                .in_one(|record| record.set_state(&seat.row, row.state, "its resync came to nothing", Some(session.run), session.at()))?;
            seat.row.state = row.state;
        }
        record.add_places(&self.places(report))?;
        let settling = Settling {
            session,
            members,
            roster: &roster,
            evidence: evidence.filter(|_| !self.args.dry_run),
            completed: !report.partial && report.error.is_none() && !report.unvoted,
            seen: &seen,
            counters: &self.counters(report),
            threshold: if self.trusted.is_some() { 0 } else { session.needed(self.rows.len()) },
            void: 0,
            digest_parts: 0,
        };
        if self.args.dry_run {
            return Ok(Some(Look::default()));
        }
        let set = settling.settle(report)?;
        if let Some(done) = report.in_place.as_mut().filter(|done| done.journal.is_some()) {
            done.undone_by = Some(format!("quorum-img set undo {} {}", session.quoted(), session.run));
        }
        let state = state_of(&set.state);
        let outcome = match report.in_place.as_ref() {
            Some(done) if done.refused.is_some() => format!("refused{state}"),
            Some(done) if done.error.is_some() => format!("broken off{state}"),
            Some(done) if done.completed && written == 0 => format!("nothing to do{state}"),
            Some(done) if done.completed => format!("{} written{state}", crate::report::human_size(written)),
            _ => format!("not completed{state}"),
        };
        let end = RunEnd {
            exit_code: report.exit_code,
            outcome,
            looked: report.sectors.total.saturating_mul(report.sector_size.into()),
            decided: report.sectors.decided,
            undecided: report.sectors.undecided,
            written,
            completed: false,
        };
        record.end_run(session.run, &end, session.at())?;
        self.end.replace(end);
        let look = settling.look(report, &set);
        report.set = Some(set);
        Ok(Some(look))
    }
}

/// Why a member's file can't be opened for writing.
fn try_to_write(row: &MemberRow) -> std::io::Result<()> {
    let Some(path) = Given::of(row.plain()).path().map(Path::to_owned) else { return Ok(()) };
    std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).map(drop)
}

/// What can be done where fewer vote than a version needs.
pub(super) fn too_few_way(session: &Session, rows: &[MemberRow], target: Option<usize>) -> String {
    let set = session.quoted();
    let right = whom_to_trust(rows, target);
    match target {
        Some(_) => format!("--trust {right} says who is right; or bring others back first"),
        None => format!(
            "quorum-img set status {set} tells who has no vote; bring others back, or quorum-img set resync {set} MEMBER --trust {right}"
        ),
    }
}

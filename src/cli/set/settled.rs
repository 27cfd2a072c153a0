//! What a run makes of a set: its members' states, their marks, what is shown of that, and what leads on.

use std::ffi::OsString;

use anyhow::Result;

use super::session::Session;
use crate::{
    evidence::Evidence,
    member::Member,
    report::{GuardReport, Look, NextCommand, Overall, Report, SetMemberReport, SetReport},
    set::{self, Counters, Met, Moved, Roster, Seen, Standing, State},
};

/// A run that has ended.
pub(super) struct Settling<'a> {
    pub(super) session: &'a Session,
    pub(super) members: &'a [&'a dyn Member],
    pub(super) roster: &'a Roster,
    /// What is known beside the ballots; none where nothing was read.
    pub(super) evidence: Option<&'a Evidence<'a>>,
    /// Whether all of the image was compared.
    pub(super) completed: bool,
    /// What was seen of each member.
    pub(super) seen: &'a [Seen],
    pub(super) counters: &'a [Counters],
    pub(super) threshold: usize,
    /// Parts that somebody wrote to meanwhile, and those that the set's digest had a word on.
    pub(super) void: u64,
    pub(super) digest_parts: u64,
}

impl Settling<'_> {
    /// Remembers what the run says of members; returns what is shown of it. What is to be said goes into the report.
    pub(super) fn settle(&self, report: &mut Report) -> Result<SetReport> {
        let Self { session, roster, .. } = self;
        let record = &session.record;
        let disputing: Vec<&GuardReport> = report.guards.iter().filter(|guard| set::disputes(guard.word) && !guard.forced).collect();
        let met = (0..roster.seats.len()).filter(|&index| roster.seats[index].votes && self.seen[index].met == Met::Read).count();
        self.remember_dispute(report, &disputing)?;
        let disputed = record.fact::<String>("disputed")?.is_some();
        let standing = match (disputed, met >= self.threshold) {
            (true, _) => Standing::Disputed,
            (false, true) => Standing::Quorate,
            (false, false) => Standing::TooFew,
        };
        for (seat, counters) in roster.seats.iter().zip(self.counters) {
            record.count(seat.row.id, counters)?;
        }
        // Where all say the same nobody's vote is missed.
        let few = standing == Standing::TooFew && report.verdict != Overall::Unanimous;
        let words = format!("{met} of {} voted", self.threshold);
        record.set_fact("too-few", Some(&words).filter(|_| few))?;
        let moved = set::settle(record, session.run, roster, self.seen, standing, session.at())?;
        if let (Some(evidence), Standing::Quorate) = (self.evidence, standing) {
            set::remember_ages(record, roster, evidence)?;
        }
        report.warnings.extend(set::mark_all(record, roster, self.members)?);
        if few {
            report.warnings.push(format!(
                "too few votes: {met} of the {} that a version needs: what differs can't be decided, and nobody's absence says anything",
                self.threshold
            ));
            if report.verdict == Overall::Undecided {
                report.exit_code = report.exit_code.max(2);
            }
        }
        self.shown(&moved)
    }

    /// A dispute ends with a person's word, or with a pass that began after it and went through without a guard.
    fn remember_dispute(&self, report: &Report, disputing: &[&GuardReport]) -> Result<()> {
        let (session, record) = (self.session, &self.session.record);
        let pass = record.fact::<i64>("pass")?.unwrap_or(1);
        if let Some(guard) = disputing.first() {
            let why = format!("{}: {}", guard.word, guard.message.lines().next().unwrap_or_default().trim_end_matches(':'));
            record.set_fact("disputed", Some(&why))?;
            record.set_fact("disputed-word", Some(&guard.word))?;
            // What else stands there the same person has to say.
            let mut words: Vec<&str> = report.guards.iter().filter(|guard| !guard.forced).map(|guard| guard.word).collect();
            words.sort_unstable_by(|one, other| (*one != guard.word, one).cmp(&(*other != guard.word, other)));
            words.dedup();
            record.set_fact("disputed-words", Some(&words.join(",")))?;
            record.set_fact("disputed-pass", Some(&pass))?;
            record.set_fact("disputed-member", guard.member.map(|index| self.roster.seats[index].row.id).as_ref())?;
            // What those who may be wrong agreed on is no memory.
            return Ok(record.forget_disputed(session.run)?);
        }
        let word = record.fact::<String>("disputed-word")?.unwrap_or_default();
        let written = report.in_place.as_ref().is_some_and(|done| done.completed && done.refused.is_none());
        let said = written && report.guards.iter().any(|guard| guard.forced && guard.word == word);
        let later = report.command == "check" && self.completed && pass > record.fact::<i64>("disputed-pass")?.unwrap_or(0);
        if said || later {
            record.set_fact::<String>("disputed", None)?;
        }
        if report.command == "check" {
            let chunks = i64::try_from(report.heard.contradicted_chunks()).unwrap_or(i64::MAX);
            if chunks > 0 || self.completed {
                record.set_fact("contradicted", Some(&chunks).filter(|chunks| **chunks > 0))?;
            }
        }
        Ok(())
    }

    fn shown(&self, moved: &[Moved]) -> Result<SetReport> {
        let record = &self.session.record;
        let member = |(index, row): (usize, &set::MemberRow)| {
            let change = moved.iter().find(|moved| moved.index == index);
            SetMemberReport {
                index,
                uuid: row.uuid.to_string(),
                state: row.state.word().to_owned(),
                was: change.map(|change| change.was.word().to_owned()),
                why: change.map(|_| row.why.clone()),
                voted: self.roster.seats[index].votes,
                silent_sectors: self.counters[index].silent,
            }
        };
        let (parts, pass) = (record.parts()?, record.fact::<i64>("pass")?.unwrap_or(1));
        let size = record.fact::<i64>("size")?.unwrap_or(0).max(0).cast_unsigned();
        Ok(SetReport {
            name: self.session.place.name.to_string(),
            uuid: record.uuid.to_string(),
            run: self.session.run,
            epoch: record.epoch()?,
            state: set::set_state(record)?.to_owned(),
            parts: size.div_ceil(self.session.policy.part_bytes_of(size)),
            parts_done: parts.iter().filter(|part| part.pass == pass).count() as u64,
            parts_void: self.void,
            completed: self.completed,
            digest_parts: self.digest_parts,
            members: record.members()?.iter().enumerate().map(member).collect(),
        })
    }

    /// The command that leads on.
    pub(super) fn look(&self, report: &Report, set: &SetReport) -> Look {
        let name = self.session.place.given.clone().into_os_string();
        let command = |word: &str, more: Vec<OsString>, comment: &str| {
            let words = ["quorum-img", "set", word].iter().map(OsString::from).chain([name.clone()]).chain(more).collect();
            NextCommand { words, comment: comment.to_owned() }
        };
        let in_state = |state: State| set.members.iter().find(|member| member.state == state.word()).map(|member| member.index);
        let done = report.in_place.as_ref().is_some_and(|done| done.completed && !done.dry_run);
        let next = if report.partial || report.exit_code == 3 || done {
            None
        } else if matches!(&*set.state, "disputed" | "inquorate" | "contradicted") {
            Some(command("status", Vec::new(), "a person must decide"))
        } else if let Some(place) = report.first_undecided.as_ref().filter(|_| report.sectors.undecided > 0) {
            let there = self.roster.seats.iter().filter(|seat| seat.met == Met::Read);
            let names: Vec<OsString> = there.map(|seat| seat.row.plain().to_owned()).collect();
            let words = ["quorum-img".into(), "show".into(), "--format=raw".into(), format!("{:#x}:{}", place.offset, place.length).into()];
            let comment = "look at what nobody won".to_owned();
            (names.len() > 1).then(|| NextCommand { words: words.into_iter().chain(names).collect(), comment })
        } else if let Some(index) = in_state(State::Stale).or_else(|| in_state(State::Syncing)) {
            Some(command("resync", vec![format!("#{index}").into()], "it gets what the others agree on"))
        } else if report.sectors.decided > report.lacking && report.command == "check" {
            Some(command("repair", Vec::new(), ""))
        } else {
            None
        };
        Look { next, or: None }
    }
}

/// The least exit code of a check of a set that is in such a state.
pub(super) fn code_of(state: &str) -> u8 {
    match state {
        "ok" | "unchecked" => 0,
        "suspect" | "degraded" => 1,
        _ => 2,
    }
}

/// A state, where it is worth telling, as the end of a sentence.
pub(super) fn state_of(state: &str) -> String {
    match state {
        "ok" => String::new(),
        other => format!("; {other}"),
    }
}

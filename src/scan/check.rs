//! A check from end to end: the poll, the scan, the report.

use std::{io, sync::Arc};

use super::{
    findings::{Findings, Limits},
    job::{Job, Outcome, ScanError, Watch},
    poll::{Poll, Question},
    run::scan,
};
use crate::{
    digest::Witness,
    evidence::Evidence,
    member::{ImageError, Member, Structure, escaped},
    report::{
        ContradictionReport, DonorReport, GuardReport, HeardReport, ImageErrorReport, Map, MemberReport, Overall, Part, ReadPattern,
        Report, SCHEMA, Sectors, Span, Status, Times, WitnessReport, rfc3339, rfc3339_of,
    },
    vote::{ByteRange, Fill, Run, VirtualSize, members_of},
};

/// What guards and looks behind the end say of a vote.
#[derive(Debug, Default)]
pub struct Weighed {
    /// The guards that stand.
    pub guards: Vec<GuardReport>,
    /// Members by number whose surplus is nothing but zeros of a device's.
    pub blank_surplus: Vec<usize>,
    /// For each member what a look through its books says; none where nobody looked.
    pub structures: Vec<Structure>,
    /// What digests said, where that is known from elsewhere than the scan.
    pub heard: Option<HeardReport>,
}

/// Hears of each divergence in order, with what was found up to it.
pub type Listener<'a> = &'a mut (dyn FnMut(&Run, &Findings) -> io::Result<()> + Send);

/// What a check leaves.
pub struct Checked {
    /// What was scanned.
    pub outcome: Outcome,
    /// What was found.
    pub findings: Findings,
}

/// Votes on all that `poll` looks at and writes nothing; what is known beside the ballots is `evidence`.
///
/// # Errors
/// Where `listener` does, and where no threads are to be had; what members say is part of the result.
pub fn check(
    members: &[&dyn Member],
    question: &Question,
    poll: &Poll,
    evidence: &Evidence,
    limits: Limits,
    watch: &dyn Watch,
    listener: Listener,
) -> Result<Checked, ScanError> {
    let ranges = poll.ranges();
    let job = Job::new(members, question, poll, &ranges, watch).weighing(evidence).in_a_hurry();
    let mut findings = Findings::of(evidence, limits);
    let outcome = scan(&job, &mut |run| {
        findings.add(run);
        listener(run, &findings)
    })?;
    Ok(Checked { outcome, findings })
}

/// What is to be said of members that dissent though they are newer than all who outvote them, and of whom `told` doesn't say that it
/// was said already.
#[must_use]
pub fn newer_warnings(members: &[&dyn Member], findings: &Findings, told: &dyn Fn(usize) -> bool) -> Vec<String> {
    let newer = members.iter().zip(findings.newer()).enumerate().filter(|&(index, (_, newer))| *newer > 0 && !told(index));
    let told = newer.map(|(_, (member, newer))| {
        let places = if *newer == 1 { "1 divergence".to_owned() } else { format!("{newer} divergences") };
        format!(
            "{}: it dissents, but is newer than every member that outvotes it ({places}): \
             it may hold the latest writes, and the majority may be stale",
            member.name()
        )
    });
    told.collect()
}

fn status(failed: bool, divergent: bool) -> Status {
    match (failed, divergent) {
        (true, _) => Status::Failed,
        (false, true) => Status::Divergent,
        (false, false) => Status::Ok,
    }
}

fn told(error: ImageError) -> ImageErrorReport {
    ImageErrorReport {
        table: error.table,
        file: error.file.map(|file| file.to_string()),
        entry_offset: error.entry_offset,
        span: error.range.into(),
        error: escaped(&error.what),
    }
}

/// What the books of each member's image come to; of one that failed nothing can be told.
#[must_use]
pub fn structures(members: &[&dyn Member], stopped: &dyn Fn() -> bool) -> Vec<Structure> {
    members.iter().map(|member| if member.failure().is_none() { member.structure(stopped) } else { Structure::default() }).collect()
}

/// What a member is reported by.
struct Scene<'a> {
    question: &'a Question,
    poll: &'a Poll,
    outcome: &'a Outcome,
    findings: &'a Findings,
    blank_surplus: &'a [usize],
    /// Whether those who won may be wrong, by a guard's word or a digest's.
    doubted: bool,
    size_undecided: bool,
}

impl Scene<'_> {
    /// What its losses and what was known of it say together.
    fn concluded(&self, index: usize, member: &dyn Member) -> Option<String> {
        let counted = &self.outcome.tally.members[index];
        let sectors = self.poll.range.length().div_ceil(u64::from(self.poll.sector));
        // Outside of a part nobody asked; and without a winner no size is too short.
        let known = self.question.range.is_none() && !self.size_undecided;
        let size = if known && counted.absent > 0 { member.size() } else { self.poll.size };
        self.findings.concluded(index, counted, sectors, size, self.poll.size)
    }

    fn member(&self, index: usize, member: &dyn Member, changed: bool, structure: Structure) -> MemberReport {
        let Self { question, poll, outcome, .. } = self;
        let (tally, fifo) = (&outcome.tally, question.read_pattern == ReadPattern::Fifo);
        let counted = tally.members[index];
        let error = outcome.failures[index].clone();
        // What lies outside of what was asked for isn't counted, nor is what a device has behind the end, where that is nothing.
        let part_end = if question.range.is_some() { poll.range.end } else { poll.size };
        let outside = question.range.is_some() || question.size.is_some() || self.blank_surplus.contains(&index);
        let length_differs = !(outside && member.size() >= part_end) && (self.size_undecided || member.size() != poll.size);
        let flaws = counted.dissenting + counted.unreadable + counted.absent + counted.filler + counted.unstable + counted.failed;
        // Of one that failed nothing is known.
        let structure = if error.is_some() { Structure::default() } else { structure };
        let error_free = error.is_none() && !fifo && question.trust.is_none();
        let unsound = !structure.errors.is_empty();
        let unsettled = tally.undecided > 0 || length_differs || changed || !outcome.complete || self.doubted || unsound;
        let (image_errors, image_errors_omitted) = member.image_errors();
        MemberReport {
            index,
            name: member.name().to_string(),
            raw_name: member.name().raw(),
            name_hex: member.name().hex(),
            format: member.format(),
            format_guessed: false,
            snapshot: member.snapshot().map(str::to_owned),
            size: member.size(),
            modified: member.modified().and_then(rfc3339),
            read_from: member.origin().word(),
            status: status(error.is_some(), flaws > 0 || (length_differs && !fifo) || tally.undecided > 0 || unsound),
            whole: error.is_none() && flaws == 0 && !unsettled && !fifo && poll.range.length() == poll.size,
            dissenting_sectors: counted.dissenting,
            unreadable_sectors: counted.unreadable,
            filler_sectors: counted.filler,
            unstable_sectors: counted.unstable,
            absent_sectors: counted.absent,
            content_bytes: outcome.weighed.then_some(counted.lost.content_held),
            conclusion: error_free.then(|| self.concluded(index, member)).flatten(),
            damage: Vec::new(),
            summed: None,
            surplus_bytes: member.size().saturating_sub(poll.size),
            error: error.map(|error| escaped(&error)),
            image_errors: image_errors.into_iter().map(told).collect(),
            image_errors_omitted,
            structure_errors: structure.errors,
            structure_notes: structure.notes,
            mended_by: structure.mended_by,
            dissents: counted.dissents,
            dissent_span: counted.span.map(|(start, end)| Span { offset: start, length: end - start }),
            dissent_partitions: self.findings.touched(index),
        }
    }
}

/// Makes the report of what was found.
#[must_use]
#[allow(clippy::too_many_lines)] // one report, key by key
pub fn make_report(
    command: &'static str,
    members: &[&dyn Member],
    question: &Question,
    poll: &Poll,
    checked: Checked,
    mut warnings: Vec<String>,
    weighed: Weighed,
) -> Report {
    let Weighed { guards, blank_surplus, structures, heard } = weighed;
    let Checked { outcome, findings } = checked;
    let tally = &outcome.tally;
    // What is left out of the vote is none of them.
    let total: u64 = poll.ranges().iter().map(|range| range.length().div_ceil(u64::from(poll.sector))).sum();
    let unanimous = total.saturating_sub(tally.decided.saturating_add(tally.undecided));
    let sectors = Sectors { total, decided: tally.decided, undecided: tally.undecided, unanimous };
    let sectors = if outcome.complete { sectors } else { of_part(sectors, outcome.scanned_bytes, poll.sector) };
    // Where all go on behind the part that was asked for, nobody needs to know where the disk ends.
    let known = |member: &&dyn Member| member.failure().is_some() || member.size() >= poll.range.end;
    let inside = question.range.is_some() && members.iter().all(known);
    let size_undecided = matches!(poll.size_vote, VirtualSize::Undecided { .. }) && !inside;
    let heard = heard.unwrap_or_else(|| heard_report(question, &outcome));
    let scene = Scene {
        question,
        poll,
        outcome: &outcome,
        findings: &findings,
        blank_surplus: &blank_surplus,
        doubted: guards.iter().any(|guard| guard.doubts_vote) || heard.contradicted_chunks() > 0,
        size_undecided,
    };
    for (member, _) in members.iter().zip(&outcome.hurried).filter(|(_, hurried)| **hurried) {
        warnings.push(format!(
            "{}: what can't be read of it takes so long to say so that it was told in blocks of 64 KiB: some of what lies in them may be readable",
            member.name()
        ));
    }
    for &index in &outcome.late {
        warnings.push(format!(
            "{}: failed only when all was read, so that its ballots are counted, and aren't to be relied on: bring it back, or leave it out, and \
             run this again",
            members[index].name()
        ));
    }
    let mut changed_any = command != "check" && !outcome.late.is_empty();
    let mut reports = Vec::new();
    for (index, member) in members.iter().enumerate() {
        // Who has failed isn't asked.
        let changed = if outcome.failures[index].is_none() { member.changed() } else { None };
        if let Some(what) = &changed {
            warnings.push(format!("{}: changed while it was read: {what}; stop whatever writes to it, and run this again", member.name()));
            changed_any = true;
        }
        reports.push(scene.member(index, *member, changed.is_some(), structures.get(index).cloned().unwrap_or_default()));
    }
    let guarded = |index: usize| guards.iter().any(|guard| guard.word == "newer" && guard.member == Some(index));
    warnings.extend(newer_warnings(members, &findings, &guarded));
    let undecided = tally.undecided > 0 || size_undecided;
    let differs = reports.iter().any(|member| member.status != Status::Ok);
    let verdict = match (undecided, differs || tally.decided > 0) {
        (true, _) => Overall::Undecided,
        (false, true) => Overall::Decided,
        (false, false) => Overall::Unanimous,
    };
    let guarded = guards.iter().any(|guard| !guard.forced);
    let found = match verdict {
        _ if guarded || heard.contradicted_chunks() > 0 => 2,
        Overall::Unanimous => 0,
        Overall::Decided => 1,
        Overall::Undecided => 2,
    };
    let exit_code = match (outcome.complete, changed_any) {
        (false, _) => 130,
        (true, true) => 3,
        (true, false) => found,
    };
    let map = map_of(&findings, &outcome, poll);
    let (partitions, first_undecided) = (findings.partitions(), findings.first_undecided());
    let (divergences, divergences_omitted) = findings.finish();
    Report {
        schema: SCHEMA,
        command,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        times: Times::default(),
        refusal: None,
        next: None,
        next_comment: None,
        partitions,
        map,
        first_undecided,
        proven: None,
        denied: false,
        size: poll.size,
        sector_size: poll.sector,
        threshold: poll.threshold,
        read_pattern: question.read_pattern,
        fillers: question.fillers.given(),
        trust: question.trust,
        size_undecided,
        verdict,
        heard,
        guards,
        exit_code,
        range: question.range.map(|_| poll.range.into()),
        partial: !outcome.complete,
        scanned_bytes: (!outcome.complete).then_some(outcome.scanned_bytes),
        shard: None,
        set: None,
        members: reports,
        sectors,
        lacking: outcome.tally.lacking,
        decides_part: question.range.is_some() && poll.range.length() == poll.size,
        warnings,
        unvoted: false,
        error: None,
        repair: None,
        in_place: None,
        divergences,
        divergences_omitted,
    }
}

/// What digests said, for reports.
fn heard_report(question: &Question, outcome: &Outcome) -> HeardReport {
    let Some(hearing) = &question.hearing else { return HeardReport::default() };
    let heard = &outcome.heard;
    let one = |(index, witness): (usize, &Witness)| {
        let (header, tally) = (witness.digest.header(), heard.witnesses.get(index).copied().unwrap_or_default());
        WitnessReport {
            index,
            name: witness.digest.name().to_string(),
            hash: header.geometry.hash.name().to_owned(),
            chunk_bytes: header.geometry.chunk_bytes,
            size: header.geometry.size,
            origin: header.origin_in_words(),
            made: rfc3339_of(header.finished),
            memory_of: members_of(witness.memory_of).collect(),
            old: witness.old.clone(),
            agreed_chunks: tally.agreed,
            contradicted_chunks: tally.contradicted,
            confirmed_chunks: tally.confirmed,
            combined_chunks: tally.combined,
            unmatched_chunks: tally.unmatched,
            donated_chunks: tally.donated,
            given_up_chunks: tally.given_up,
            unknown_chunks: tally.unknown,
        }
    };
    let place = |&(range, who): &(ByteRange, u64)| ContradictionReport { span: range.into(), witnesses: members_of(who).collect() };
    let donor = |(index, donor): (usize, &Arc<dyn Member>)| DonorReport {
        index,
        name: donor.name().to_string(),
        donated_sectors: heard.donated.get(index).copied().unwrap_or(0),
        unreadable_sectors: outcome.donor_unread.get(index).copied().unwrap_or(0),
        error: outcome.donor_failures.get(index).cloned().flatten().map(|why| escaped(&why)),
    };
    HeardReport {
        donors: question.donors.0.iter().enumerate().map(donor).collect(),
        witnesses: hearing.witnesses.iter().enumerate().map(one).collect(),
        swayed_sectors: heard.swayed,
        contradictions: heard.contradictions.iter().map(place).collect(),
        contradictions_omitted: heard.omitted,
    }
}

/// Where the members differ, where they do; who has failed is known nowhere.
fn map_of(findings: &Findings, outcome: &Outcome, poll: &Poll) -> Option<Map> {
    let mut map = findings.map().clone();
    for (index, _) in outcome.failures.iter().enumerate().filter(|(_, why)| why.is_some()) {
        map.mark(index, poll.range, Part::Failed);
    }
    (!map.is_clean()).then(|| map.covering(poll.size))
}

/// The totals of a scan that was stopped: what wasn't looked at is neither.
fn of_part(all: Sectors, scanned_bytes: u64, sector: u32) -> Sectors {
    let total = scanned_bytes.div_ceil(u64::from(sector)).max(all.decided + all.undecided);
    Sectors { total, unanimous: total - all.decided - all.undecided, ..all }
}

impl Default for Limits {
    fn default() -> Self {
        Self { divergences: 10_000, fill: Fill::Fail }
    }
}

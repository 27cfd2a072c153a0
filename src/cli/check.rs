//! `quorum-img check`: vote, write nothing, report.

use std::{path::PathBuf, sync::Mutex};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{
    args::{LockArgs, MemberArgs, ReadBy, VoteArgs},
    given::Given,
    journal_file::unfinished_beside,
    next,
    parse::{parse_percent, parse_shard},
    present::Presenter,
    progress::Control,
    shard::{Part, beyond, part},
    show_args::{Diagnose, ShowArgs},
    sums::{read_sums, summed},
    texts,
    unfinished::Asked,
};
use crate::{
    digest::{DigestError, DigestFile},
    electorate::{Access, oddities, open_digest, open_voters, same_origin},
    evidence::Evidence,
    member::Member,
    repair::{
        evidence_of,
        judge::{Forced, Weighing},
    },
    report::{Look, human_size},
    scan::{
        DigestMember, Limits, Poll, Question, Watch as _, Weighed, check, incomparable, make_report, sizes, structures, vote_on_digests,
    },
    vote::ByteRange,
};

/// Vote on every sector, write nothing, report
///
/// Reads all members, lets them vote on each sector, and reports where they differ and who is outvoted. Holes that all members share
/// are not read. Nothing is written to any member.
#[derive(Args, Debug)]
#[command(after_long_help = texts::CHECK)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub members: MemberArgs,
    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    pub vote: VoteArgs,
    /// How much of its content a member may lose and still be taken for damaged, rather than for stale or of another disk
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = parse_percent, help_heading = "The vote")]
    max_damage: f64,
    /// A file of whole-image sums, as `sha256sum` or `b3sum` print them: tells which member is the one that was summed
    ///
    /// Each member is read once more for it, as the guest sees it. A sum is no ballot: it proves that a member is what it was when it was summed.
    #[arg(long, value_name = "FILE", help_heading = "The vote")]
    sums: Option<PathBuf>,
    /// Only the I-th of N equal parts, I from 0 on, be it on another machine or another night: `report --merge` makes one report of all of them
    ///
    /// Nothing may be written to the members from the first part to the last: parts that were made of other states don't merge.
    #[arg(long, value_name = "I/N", value_parser = parse_shard, conflicts_with_all = ["range", "sums"], help_heading = "The vote")]
    shard: Option<(u64, u64)>,
    #[command(flatten)]
    show: ShowArgs,
}

impl CheckArgs {
    /// What was asked for, should it come to nothing.
    pub(super) fn asked(&self) -> Asked<'_> {
        let Self { members, show, .. } = self;
        let others = self.vote.mapfile.iter().map(|(_, file)| file.clone()).collect();
        let (report, quiet) = (show.report.as_deref(), show.progress.is_quiet());
        Asked { command: "check", members: &members.members, format: show.format, quiet, report, others }
    }
}

pub(super) fn run(args: &CheckArgs, given: &Given) -> Result<u8> {
    if args.members.members.is_empty() {
        return check_digests(args);
    }
    let sums = args.sums.as_deref().map(read_sums).transpose()?;
    let voters = open_voters(&args.members.roll(), &Access::Look(args.locks.locks()))?;
    let members = voters.listed();
    let question = Question { rereads: args.locks.rereads(), ..args.vote.question(&members)? };
    let mut question = args.members.hearing(&members, question, &[])?;
    question.donors = args.vote.donors(&args.members, &members, &question, [args.show.report.as_deref()])?;
    let evidence = evidence_of(&members, &question, &[]);
    let mut poll = args.vote.poll(&members, &mut question, &evidence)?;
    if let Some(shard) = args.shard {
        ensure!(
            args.show.diagnose != Diagnose::Deep,
            "--diagnose deep looks through the whole image, and --shard at a part\nhint: leave one out"
        );
        (question, poll) = part(question, poll, shard);
    }
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::reporting(&args.show)?;
    control.begin("checking", poll.ranges().iter().map(|range| range.length()).sum());
    let limits = Limits { divergences: args.show.max_divergences as usize, ..Limits::default() };
    let mut last = None;
    let checked = check(&members, &question, &poll, &evidence, limits, &control, &mut |run, findings| {
        control.found();
        last = Some(*run);
        presenter.lock().expect("no panics").divergence(run, findings)
    })?;
    if let Some(whole) = args.shard.and(last).and_then(|last| beyond(&members, &question, &poll, &control, last)) {
        presenter.lock().expect("no panics").look_beyond(&whole);
    }
    let (stopped, ranges) = (|| control.stopped(), poll.ranges());
    let all = Weighing::all(&members, &question, &poll, &evidence, &stopped);
    let weighing = Weighing { ranges: &ranges, max_damage: args.max_damage, dependent: &voters.dependent, ..all };
    // What a part loses says nothing yet: all parts together are weighed when they are merged.
    let weighed = if args.shard.is_some() {
        Weighed::default()
    } else {
        weighing.stands(&checked.outcome, &checked.findings).reported(Forced::NOTHING)
    };
    let weighed = Weighed { structures: structures(&members, &stopped), ..weighed };
    if args.show.diagnose == Diagnose::Deep && !control.stopped() {
        let counted = &checked.outcome.tally.members;
        let readable = (0..members.len()).filter(|&member| checked.outcome.failures[member].is_none());
        if let Some(best) = readable.min_by_key(|&member| counted[member].dissenting + counted[member].unreadable + counted[member].absent)
        {
            control.begin("looking elsewhere", members[best].size());
            presenter.lock().expect("no panics").look_elsewhere(best, question.threads, &control);
        }
    }
    let summed = sums.map_or_else(Vec::new, |sums| summed(&sums, &members, &checked.outcome.failures, &control));
    let unfinished = unfinished_beside(&members);
    let warnings: Vec<String> = voters.warnings.iter().chain(&unfinished).chain(&poll.warnings).cloned().collect();
    let of_part = Part {
        given,
        digests: &args.members.witnesses,
        members: &members,
        question: &question,
        poll: &poll,
        evidence: &evidence,
        max_damage: args.max_damage,
        diagnosed: args.show.diagnose != Diagnose::Never,
        divergences_max: args.show.max_divergences,
        dependent: &voters.dependent,
        warnings: &warnings,
    };
    let shard = args.shard.map(|shard| of_part.told(shard, &checked.outcome, &stopped)).transpose()?;
    control.end();
    let mut report = make_report("check", &members, &question, &poll, checked, warnings.clone(), weighed);
    report.mark_guesses(&voters.guessed);
    report.members.iter_mut().zip(summed).for_each(|(member, summed)| member.summed = summed);
    // Who is proven, and outvoted all the same, isn't just to be rewritten.
    if report.members.iter().any(|member| member.summed.is_some() && member.dissenting_sectors > 0) && report.exit_code == 1 {
        report.exit_code = 2;
    }
    if let Some(shard) = shard {
        (report.shard, report.decides_part) = (Some(shard), false);
        return presenter.into_inner().expect("no panics").finish(report, &Look::default());
    }
    let look = Look { next: next::after(&report, &args.members, given, Some(&evidence)), or: next::byte_for_byte(&report, &members) };
    presenter.into_inner().expect("no panics").finish(report, &look)
}

/// Digests alone: each stands for the copy that it was made from.
fn check_digests(args: &CheckArgs) -> Result<u8> {
    let names = &args.members.witnesses;
    let digests = names.iter().map(|name| open_digest(name)).collect::<Result<Vec<DigestFile>, DigestError>>()?;
    if let [alone] = &digests[..] {
        bail!(
            "{}: one digest alone can't vote\nhint: name a copy or other digests beside it; --root of digest prints the hash that it knows",
            alone.name()
        );
    }
    let vote = &args.vote;
    let others = vote.range.is_some() || vote.trust.is_some() || vote.read_pattern == ReadBy::Fifo || vote.skip_device_metadata;
    let others = others || !args.vote.donor.is_empty() || args.shard.is_some() || !vote.filler.is_empty() || !vote.mapfile.is_empty();
    ensure!(
        !others,
        "digests alone are compared as a whole\nhint: leave --range, --shard, --trust, --read-pattern, --filler, --mapfile, --donor and --skip-device-metadata out"
    );
    if let Some(why) = incomparable(&digests) {
        bail!("{why}");
    }
    let standing: Vec<DigestMember> = digests.iter().map(DigestMember::of).collect();
    let members: Vec<&dyn Member> = standing.iter().map(|member| member as &dyn Member).collect();
    let question = args.vote.question(&members)?;
    let evidence = Evidence::of_first(&members);
    let mut poll = Poll::new(&sizes(&members), &question)?;
    // The unit of this vote is a chunk.
    poll.sector = u32::try_from(digests[0].geometry().chunk_bytes).context("chunks are of a MiB at most")?;
    let mut warnings = poll.warnings.clone();
    for digest in &digests {
        if digest.header().part != ByteRange::new(0, digest.geometry().size) {
            warnings.push(format!("{}: is of a part of its image alone: the rest is unknown", digest.name()));
        }
    }
    let dependent = same_origin(&digests);
    warnings.extend(dependent.iter().cloned());
    warnings.extend(digests.iter().flat_map(|digest| oddities(digest, &[])));
    warnings.push(format!(
        "digests are held against each other by chunks of {}: those are what is counted as sectors",
        human_size(u64::from(poll.sector))
    ));
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::reporting(&args.show)?;
    control.begin("comparing", poll.size);
    let limits = Limits { divergences: args.show.max_divergences as usize, ..Limits::default() };
    let checked = vote_on_digests(
        &digests,
        poll.size,
        (question.threshold, dependent.is_empty()),
        &evidence,
        limits,
        &control,
        &mut |run, findings| {
            control.found();
            presenter.lock().expect("no panics").divergence(run, findings)
        },
    )?;
    control.end();
    let report = make_report("check", &members, &question, &poll, checked, warnings, Weighed::default());
    presenter.into_inner().expect("no panics").finish(report, &Look::default())
}

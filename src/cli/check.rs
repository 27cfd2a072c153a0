//! `quorum-img check`: vote, write nothing, report.

use std::sync::Mutex;

use anyhow::Result;
use clap::Args;

use super::{
    args::{Diagnose, LockArgs, MemberArgs, ShowArgs, VoteArgs},
    given::Given,
    journal_file::unfinished_beside,
    next,
    parse::parse_percent,
    present::Presenter,
    progress::Control,
    texts,
    unfinished::Asked,
};
use crate::{
    electorate::{Access, open_voters},
    repair::{
        evidence_of,
        judge::{Forced, Weighing},
    },
    report::Look,
    scan::{Limits, Question, Watch as _, Weighed, check, make_report, structures},
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
    let voters = open_voters(&args.members.roll(), &Access::Look(args.locks.locks()))?;
    let members = voters.listed();
    let mut question = Question { rereads: args.locks.rereads(), ..args.vote.question(&members)? };
    let evidence = evidence_of(&members, &question, &[]);
    let poll = args.vote.poll(&members, &mut question, &evidence)?;
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::reporting(&args.show)?;
    control.begin("checking", poll.ranges().iter().map(|range| range.length()).sum());
    let limits = Limits { divergences: args.show.max_divergences as usize, ..Limits::default() };
    let checked = check(&members, &question, &poll, &evidence, limits, &control, &mut |run, findings| {
        control.found();
        presenter.lock().expect("no panics").divergence(run, findings)
    })?;
    let (stopped, ranges) = (|| control.stopped(), poll.ranges());
    let all = Weighing::all(&members, &question, &poll, &evidence, &stopped);
    let weighing = Weighing { ranges: &ranges, max_damage: args.max_damage, dependent: &voters.dependent, ..all };
    let weighed = weighing.stands(&checked.outcome, &checked.findings).reported(Forced::NOTHING);
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
    control.end();
    let unfinished = unfinished_beside(&members);
    let warnings = voters.warnings.iter().chain(&unfinished).chain(&poll.warnings).cloned().collect();
    let mut report = make_report("check", &members, &question, &poll, checked, warnings, weighed);
    report.mark_guesses(&voters.guessed);
    let look = Look { next: next::after(&report, &args.members, given, Some(&evidence)), or: next::byte_for_byte(&report, &members) };
    presenter.into_inner().expect("no panics").finish(report, &look)
}

//! `quorum-img check`: vote, write nothing, report.

use std::sync::Mutex;

use anyhow::Result;
use clap::Args;

use super::{
    args::{LockArgs, MemberArgs, ShowArgs, VoteArgs},
    next,
    present::Presenter,
    progress::Control,
    texts,
};
use crate::{
    electorate::{Access, open_voters},
    report::Look,
    scan::{Findings, Limits, Poll, Question, check, make_report, sizes},
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
    #[command(flatten)]
    show: ShowArgs,
}

pub(super) fn run(args: &CheckArgs) -> Result<u8> {
    let voters = open_voters(&args.members.roll(), &Access::Look(args.locks.locks()))?;
    let members = voters.listed();
    let question = Question { rereads: args.locks.rereads(), ..args.vote.question(&members)? };
    let poll = Poll::new(&sizes(&members), &question)?;
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::new(&args.show.progress)?;
    control.begin("checking", poll.range.length());
    let limits = Limits { divergences: args.show.max_divergences as usize, ..Limits::default() };
    let checked = check(&members, &question, &poll, Findings::of(&members, limits), &control, &mut |run, findings| {
        presenter.lock().expect("no panics").divergence(run, findings)
    })?;
    control.end();
    let warnings = voters.warnings.iter().chain(&poll.warnings).cloned().collect();
    let mut report = make_report("check", &members, &question, &poll, checked, warnings);
    report.mark_guesses(&voters.guessed);
    let look = Look { next: next::after_check(&report, &args.members, &args.vote), or: next::byte_for_byte(&report, &members) };
    presenter.into_inner().expect("no panics").finish(report, &look)
}

//! `quorum-img repair -o`: write a repaired image.

use std::{path::Path, sync::Mutex};

use anyhow::{Result, bail};

use super::{
    given::Given,
    leftovers::tidy_beside,
    next,
    places::{refuse_mistaken_name, refuse_report_at, refuse_report_over, same_place},
    present::Presenter,
    progress::Control,
    repair_args::{Reflink, RepairArgs, TargetFormat, Undecided},
    say::complain,
};
use crate::{
    electorate::{Access, Voters, digest_path, open_voters},
    member::{Member, MemberName},
    repair::{
        Earlier, Repair, RepairError, Target, Wish, evidence_of,
        judge::{Judge, Way},
        refused_image,
    },
    report::{Look, RepairReport, sectors},
    scan::{Poll, Question},
    vote::Fill,
};

/// Votes, and writes what wins to `output_file`.
pub(super) fn run(args: &RepairArgs, output_file: &Path, given: &Given) -> Result<u8> {
    refuse_mistaken_name(output_file)?;
    if let Some(digest) = args.members.witnesses.iter().find(|digest| same_place(output_file, digest_path(digest))) {
        bail!("-o {}: is a digest that is heard\nhint: choose another name", MemberName::new(digest));
    }
    if let Some(list) = &args.from {
        refuse_report_over(args.show.report.as_deref(), list)?;
    }
    let voters = open_voters(&args.members.roll(), &Access::Read(args.locks.locks()))?;
    let members = voters.listed();
    let mut question = args.question(&members)?;
    let evidence = evidence_of(&members, &question, &[]);
    let poll = args.vote.poll(&members, &mut question, &evidence)?;
    let judge = Judge { way: Way::NewImage, forced: args.forced() };
    if let Err(refusal) = judge.admit(&members, &question, &poll) {
        return refuse(args, given, output_file, &voters, (&question, &poll), refusal);
    }
    // Nor is a donor overwritten.
    let sources: Vec<&dyn Member> = members.iter().copied().chain(question.donors.0.iter().map(|donor| &**donor)).collect();
    let target = Target::settle(output_file, poll.size, &sources, judge)?;
    let qcow2 = args.qcow2_options()?;
    let earlier = args.from.as_deref().map(|path| Earlier::read(path, &members, &poll)).transpose()?;
    earlier.iter().try_for_each(|earlier| earlier.refuse_stale(judge))?;
    let wish = Wish {
        output: output_file,
        target,
        fill: match args.undecided {
            Undecided::Fail => Fill::Fail,
            Undecided::First => Fill::First,
            Undecided::Zero => Fill::Zero,
            Undecided::Marker => Fill::Marker,
            Undecided::Bytes => Fill::Bytes,
        },
        sparse_bytes: args.sparse_size,
        qcow2,
        reflink: args.reflink == Reflink::Auto && args.sparse_size != 0,
        verify: !args.no_verify,
        expected: args.expected_sum(),
        earlier,
        dependent: voters.dependent.clone(),
        forced: judge.forced,
        divergences_max: args.show.max_divergences as usize,
    };
    refuse_report_at(args.show.report.as_deref(), output_file, "the output itself")?;
    tidy_beside(output_file, args.show.progress.is_quiet());
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::reporting(&args.show)?;
    let warnings = voters.warnings.iter().chain(&poll.warnings).cloned().collect();
    let phases = |what, bytes| control.begin(what, bytes);
    let before = |warnings: &[String]| control.aside(|| presenter.lock().expect("no panics").warn_ahead(warnings));
    let repair = Repair {
        members: &members,
        question: &question,
        poll,
        evidence: &evidence,
        wish: &wish,
        watch: &control,
        phases: &phases,
        before: &before,
    };
    let report = repair.run(warnings, &mut |run, findings| {
        control.found();
        presenter.lock().expect("no panics").divergence(run, findings)
    });
    control.end();
    let mut report = report?;
    report.mark_guesses(&voters.guessed);
    let failed = |repair: &RepairReport| repair.refused.clone().or_else(|| repair.error.clone());
    let mut presenter = presenter.into_inner().expect("no panics");
    if let Some(why) = report.repair.as_ref().and_then(failed) {
        presenter.complain(&why);
    } else if report.exit_code == 2
        && let Some(repair) = report.repair.as_ref().filter(|repair| !repair.written)
    {
        let have = if repair.unfilled_sectors == 1 { "has" } else { "have" };
        let what = format!("{}: not made, since {} {have} no winner", repair.output, sectors(repair.unfilled_sectors));
        let outside = if report.decides_part { " (what differs outside of --range has none)" } else { "" };
        presenter.complain(&format!("{what}{outside}\nhint: --pick says who is right in a range, --undecided what to write there"));
    }
    let look = Look { next: next::after(&report, &args.members, given, Some(&evidence)), or: None };
    presenter.finish(report, &look)
}

/// Says why nothing is made; where a person has to decide there is a report of it for programs, too.
fn refuse(
    args: &RepairArgs,
    given: &Given,
    output: &Path,
    voters: &Voters,
    (question, poll): (&Question, &Poll),
    refusal: RepairError,
) -> Result<u8> {
    if refusal.exit_code() != 2 {
        return Err(refusal.into());
    }
    refuse_report_at(args.show.report.as_deref(), output, "the output itself")?;
    complain(&refusal.to_string());
    let members = voters.listed();
    let warnings = voters.warnings.iter().chain(&poll.warnings).cloned().collect();
    let mut report = refused_image(&members, question, poll, (output, args.target_format == TargetFormat::Qcow2), warnings, &refusal);
    report.mark_guesses(&voters.guessed);
    let look = Look { next: next::after(&report, &args.members, given, None), or: None };
    Presenter::new(&args.show, &members)?.finish(report, &look)
}

//! `quorum-img set check`: compare a set's members, a part at a time.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser as _},
};

use super::{
    commands::Around,
    journals::cut_off,
    members::{names, question, seat},
    session::{PresentArgs, Session, nanoseconds},
    settled::{Settling, code_of, state_of},
    texts,
};
use crate::{
    cli::{
        args::LockArgs,
        journal_file::unfinished_beside,
        parse::parse_duration,
        present::Presenter,
        progress::Control,
        say::complain,
        show_args::{Diagnose, ShowArgs},
    },
    digest::Hearing,
    electorate::{Access, open_voters},
    repair::{
        evidence_of,
        judge::{Forced, Weighing},
    },
    report::{Report, Status},
    scan::{Limits, Poll, Watch as _, Weighed, make_report, sizes, structures},
    set::{Memory, Met, Now, Pass, PlaceRow, Roster, RunEnd, SetCheck, SetChecked, seen_of},
    vote::{ByteRange, mask_of, members_of},
};

/// Compare a set's members, and remember what was found
///
/// Goes through the image part by part, the one first that was checked longest ago; each is remembered as soon as it is done, so that a run that is
/// cut off, or that ends at its time limit, is gone on with by the next. Members that were away, or that are stale, are compared and have no vote.
#[derive(Args, Debug)]
#[command(after_long_help = texts::CHECK)]
pub(super) struct SetCheckArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,

    /// Begin no new part after so long: 90s, 5m, 6h; the next run goes on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    time_limit: Option<Duration>,

    /// Begin a new pass over the image, whatever is left of the last one
    #[arg(long)]
    restart: bool,

    /// Read SOURCE, a snapshot for instance, in that member's place; may be repeated
    #[arg(long, value_name = "MEMBER=SOURCE", value_parser = OsStringValueParser::new().try_map(parse_via))]
    via: Vec<(OsString, OsString)>,

    /// Nobody wrote to the members since they were hashed, though that can't be told (after a power cut, on devices): the set's digest has a word
    #[arg(long)]
    assume_unwritten: bool,

    /// Threads [default: as many as cores]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: Option<u64>,

    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    present: PresentArgs,
}

impl SetCheckArgs {
    /// The first check of a set that was just made.
    pub(super) fn first(set: PathBuf, show: ShowArgs, locks: LockArgs, present: PresentArgs) -> Self {
        Self { set, time_limit: None, restart: false, via: Vec::new(), assume_unwritten: false, threads: None, locks, show, present }
    }
}

/// `MEMBER=SOURCE`, at the first `=`.
#[allow(clippy::needless_pass_by_value)] // as clap gives it
fn parse_via(text: OsString) -> Result<(OsString, OsString)> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|&byte| byte == b'=').filter(|&at| at > 0 && at + 1 < bytes.len());
    let at = at.ok_or_else(|| anyhow!("MEMBER=SOURCE is wanted, for instance a.img=/snap/a.img"))?;
    Ok((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}

pub(super) fn run(args: &SetCheckArgs) -> Result<u8> {
    ensure!(
        args.show.diagnose != Diagnose::Deep,
        "--diagnose deep is check's\nhint: quorum-img check --diagnose deep MEMBER... looks for bytes that belong elsewhere"
    );
    let session = Session::begin(&args.set, "check", &args.present)?;
    session.through(|session| check(args, session))
}

/// Checks, and remembers, with the policy's commands around it.
pub(super) fn check(args: &SetCheckArgs, session: &Session) -> Result<(u8, RunEnd)> {
    let around = Around::begin(session, "check")?;
    let (code, end) = compare(args, session)?;
    // By now the members are closed: what was read may be taken away.
    match around.end() {
        None => Ok((code, end)),
        Some(failed) => {
            complain(&failed);
            Ok((code.max(3), end))
        }
    }
}

#[allow(clippy::too_many_lines)] // one run, step by step
fn compare(args: &SetCheckArgs, session: &Session) -> Result<(u8, RunEnd)> {
    let rows = session.record.members()?;
    let (names, snapshots) = names(session, &rows, &args.via)?;
    let voters = open_voters(&session.roll(&names), &Access::Look(args.locks.locks()))?;
    let members = voters.listed();
    if let Some(index) = members_of(snapshots).find(|&index| members[index].failure().is_some()) {
        bail!(
            "--via {}: {}\nhint: name a snapshot that is there, or leave it out",
            members[index].name(),
            members[index].failure().unwrap_or_default()
        );
    }
    let mut roster = seat(session, &rows, &members, snapshots)?;
    let mut question = question(session, &roster, args.threads, args.locks.rereads());
    let evidence = evidence_of(&members, &question, &session.journals()?);
    roster.look_at_ages(&evidence);
    question.voters = Some(roster.voters());
    let needed = session.needed(rows.len());
    let quorate = roster.voters().count_ones() as usize >= needed;
    let recorded = session.record.fact::<i64>("size")?.filter(|size| *size > 0).map(i64::cast_unsigned);
    let mut first = Poll::new(&sizes(&members), &question)?;
    if let (false, Some(size)) = (quorate && first.size_vote.is_decided(), recorded) {
        // Who can't be met has no size: what is known of the image isn't thrown away for that.
        question.size = Some(size);
        first = Poll::new(&sizes(&members), &question)?;
    }
    let at_odds = quorate && recorded.is_some() && question.size.is_some();
    let size = first.size;
    let boot = args.present.boot();
    let now = Now { boot: &boot, assume_unwritten: args.assume_unwritten };
    let known = session.record.parts()?;
    let mut memory = Memory::gather(&session.place, &known, &roster, size, &now, needed)?;
    let mut said = memory.silent.clone();
    if let Some(witness) = memory.witness.take() {
        question.hearing = Some(Arc::new(Hearing { witnesses: vec![witness], warnings: Vec::new() }));
    }
    let poll = Poll::new(&sizes(&members), &question)?;
    let part_bytes = session.policy.part_bytes_of(poll.size);
    if (quorate && !at_odds) || recorded.is_none() {
        session.record.forget_other_parts(poll.size, part_bytes)?;
        session.record.set_fact("size", Some(&poll.size.cast_signed()))?;
    }
    let number = session.record.fact::<i64>("pass")?.unwrap_or(1);
    let pass = Pass::plan(&known, poll.size, part_bytes, number, args.restart);
    session.record.set_fact("pass", Some(&pass.number))?;
    crate::set::tidy(&session.place, &session.record.parts()?);

    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::reporting(&args.show)?;
    control.begin("checking", pass.due.iter().map(|(_, range)| range.length()).sum());
    let begun = Instant::now();
    let check = SetCheck {
        record: &session.record,
        run: session.run,
        members: &members,
        roster: &roster,
        question: &question,
        poll: &poll,
        evidence: &evidence,
        pass: &pass,
        known: &known,
        memory: &memory,
        now: &now,
        quorate,
        snapshots,
        limits: Limits { divergences: args.show.max_divergences as usize, ..Limits::default() },
        watch: &control,
        clock: &nanoseconds,
        dated: &|| session.at(),
        late: &|| args.time_limit.is_some_and(|limit| begun.elapsed() >= limit),
    };
    let done = check.run(&mut |run, findings| {
        control.found();
        presenter.lock().expect("no panics").divergence(run, findings)
    })?;
    let stopped = || control.stopped();
    let ranges: Vec<ByteRange> = looked_at(&pass, &done);
    let all = Weighing::all(&members, &question, &poll, &evidence, &stopped);
    let weighing = Weighing { ranges: &ranges, max_damage: session.policy.max_damage, dependent: &voters.dependent, ..all };
    let weighed = weighing.stands(&done.checked.outcome, &done.checked.findings).reported(Forced::NOTHING);
    let beyond = mask_of(weighed.guards.iter().filter(|guard| guard.word == "stale").filter_map(|guard| guard.member));
    let mut weighed = Weighed { structures: structures(&members, &stopped), ..weighed };
    // That who has no vote differs by more than damage is no news: a resync is the word for it.
    weighed.guards.retain(|guard| guard.word != "stale" || guard.member.is_none_or(|index| roster.seats[index].votes));
    control.end();
    said.extend((0..rows.len()).filter_map(|index| Some(format!("{}: has no vote: {}", rows[index].shown(), roster.why_not(index)?))));
    let unproven = roster.seats.iter().filter(|seat| seat.is_snapshot && !seat.row.state.votes());
    said.extend(unproven.map(|seat| {
        format!("{}: is read as a snapshot, which proves nothing of its own file: it stays {}", seat.row.shown(), seat.row.state)
    }));
    if at_odds {
        said.push(format!("the members don't agree on the virtual size: looked at is what the set knows, {} bytes", poll.size));
    }
    said.extend(cut_off(session)?);
    let unfinished = unfinished_beside(&members);
    let warnings = voters.warnings.iter().chain(&unfinished).chain(&poll.warnings).cloned().chain(said).collect();
    let SetChecked { checked, looked, void, completed, late, counters, differs, places, .. } = done;
    // What wasn't looked at isn't counted.
    let shown = Poll { skipped: not_looked_at(&poll, &ranges), ..poll.clone() };
    let mut report = make_report("check", &members, &question, &shown, checked, warnings, weighed);
    report.mark_guesses(&voters.guessed);
    if ranges != [ByteRange::new(0, poll.size)] {
        report.decides_part = false;
        report.members.iter_mut().for_each(|member| member.whole &= completed);
    }
    if at_odds {
        report.exit_code = report.exit_code.max(2);
    }
    if !void.is_empty() {
        report.exit_code = report.exit_code.max(3);
    }
    let this_run: Vec<(Met, bool)> = roster
        .seats
        .iter()
        .enumerate()
        .map(|(index, seat)| {
            // One that failed on the way is as good as away.
            let lost = report.members[index].error.is_some() && seat.met == Met::Read;
            // What lies behind the voted end is a difference, too.
            let longer = report.members[index].surplus_bytes > 0 && report.members[index].status == Status::Divergent;
            (if lost { Met::Away } else { seat.met }, differs[index] || longer)
        })
        .collect();
    let settling = Settling {
        session,
        members: &members,
        roster: &roster,
        evidence: Some(&evidence),
        completed,
        seen: &seen_of(&roster, &session.record.parts()?, pass.number, completed, &this_run, beyond),
        counters: &counters,
        threshold: needed,
        void: void.len() as u64,
        digest_parts: memory.speaks.len() as u64,
    };
    if completed {
        session.record.set_fact("completed", Some(&session.run))?;
    }
    let set = settling.settle(&mut report)?;
    report.warnings.extend(again(session, &roster, &places)?);
    session.record.add_places(&places)?;
    if late {
        report.warnings.push(format!(
            "the time is up: {} of {} parts are left, and the next set check goes on with them",
            set.parts - set.parts_done,
            set.parts
        ));
    }
    let end = RunEnd {
        outcome: outcome(&report, &set, late),
        looked: looked.iter().filter_map(|part| pass.due.iter().find(|(number, _)| number == part)).map(|(_, range)| range.length()).sum(),
        decided: report.sectors.decided,
        undecided: report.sectors.undecided,
        written: 0,
        completed,
        exit_code: 0,
    };
    report.exit_code = report.exit_code.max(code_of(&set.state));
    let look = settling.look(&report, &set);
    report.set = Some(set);
    // What is known stands in the record before anything is printed.
    session.record.end_run(session.run, &RunEnd { exit_code: report.exit_code, ..end.clone() }, session.at())?;
    let code = presenter.into_inner().expect("no panics").finish(report, &look)?;
    Ok((code, end))
}

/// What was looked at, ascending.
fn looked_at(pass: &Pass, done: &SetChecked) -> Vec<ByteRange> {
    let mut ranges: Vec<ByteRange> = pass.due.iter().filter(|(number, _)| done.looked.contains(number)).map(|(_, range)| *range).collect();
    ranges.sort_unstable();
    ByteRange::joined(ranges)
}

/// What else of the image there is.
fn not_looked_at(poll: &Poll, looked: &[ByteRange]) -> Vec<ByteRange> {
    let mut rest = ByteRange::without(&[ByteRange::new(0, poll.size)], looked);
    rest.extend(poll.skipped.iter().copied());
    rest.sort_unstable();
    ByteRange::joined(rest)
}

/// What a run came to, in a few words.
fn outcome(report: &Report, set: &crate::report::SetReport, late: bool) -> String {
    let found = match (report.sectors.decided, report.sectors.undecided) {
        (0, 0) => "no difference".to_owned(),
        (1, 0) => "1 sector differs".to_owned(),
        (decided, 0) => format!("{} differ", crate::report::sectors(decided)),
        (decided, undecided) => format!("{} differ, {} of them without a winner", crate::report::sectors(decided + undecided), undecided),
    };
    let far = match (set.completed, late, report.partial) {
        (true, ..) => String::new(),
        (_, _, true) => format!("; interrupted, {} of {} parts done", set.parts_done, set.parts),
        (_, true, _) => format!("; the time was up, {} of {} parts done", set.parts_done, set.parts),
        _ => format!("; {} of {} parts done", set.parts_done, set.parts),
    };
    let state = state_of(&set.state);
    format!("{found}{far}{state}")
}

/// Places of members that vote which were repaired before: a medium that doesn't hold what is written to it.
fn again(session: &Session, roster: &Roster, places: &[PlaceRow]) -> Result<Vec<String>> {
    let mut told: Vec<String> = Vec::new();
    for (index, seat) in roster.seats.iter().enumerate().filter(|(_, seat)| seat.votes) {
        let mut found: Vec<u64> = Vec::new();
        for place in places.iter().filter(|place| place.member == Some(seat.row.id)) {
            let end = place.start.saturating_add(place.length);
            let earlier = session.record.places_in(seat.row.id, place.start, end, session.run)?;
            found.extend(earlier.iter().any(|then| then.kind == "repaired").then_some(place.start));
        }
        if let Some(first) = found.first() {
            let what = if found.len() == 1 {
                "a place that was repaired before differs again,"
            } else {
                "places that were repaired before differ again, the first"
            };
            told.push(format!(
                "#{index} {}: {what} at {first:#x}: a stuck medium? replace it rather than repair it once more",
                seat.row.shown()
            ));
        }
    }
    Ok(told)
}

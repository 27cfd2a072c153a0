//! `quorum-img repair --in-place`: rewrite the minority copies.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    sync::Mutex,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};

use super::{
    args::find_given,
    failure::explained,
    given::Given,
    in_place_said::{agree, estimate, tell},
    journal_place::{journal_path, look_at_journal, shown_path},
    leftovers::tidy_beside,
    next,
    options_line::options,
    places::{refuse_report_at, refuse_report_over},
    present::Presenter,
    progress::Control,
    put_back::put_images_back,
    repair_args::RepairArgs,
    say::complain,
};
use crate::{
    electorate::{Access, Candidates, Roll, Voters},
    evidence::Evidence,
    member::{HostFile, Member, MemberName},
    repair::{
        Answer, Earlier, InPlace, InPlaceWish, JournalPlace, PORTION_BYTES, Proposal, RepairError, evidence_of,
        journal::Identity,
        judge::{Judge, Way},
        refused_in_place,
    },
    report::{Look, Report},
    scan::{Poll, Question, Watch},
    sys::{random::random_bytes, storage::Storage},
};

/// What knows more of the members than their command line says: their set.
pub(super) trait Beside {
    /// The members are open: completes the question, and returns what is to be said.
    fn ask(&self, _members: &[&dyn Member], _question: &mut Question) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    /// Looks at what is known beside the ballots.
    fn weigh(&self, _evidence: &Evidence) -> Result<()> {
        Ok(())
    }
    /// Journals that explain members' times, beside the one of this repair.
    fn journals(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    /// It was agreed to: the first byte is about to be written.
    fn begin(&self) -> Result<()> {
        Ok(())
    }
    /// All is done, or was refused; returns what leads on, where that isn't what it is for members alone.
    fn ended(&self, _members: &[&dyn Member], _evidence: Option<&Evidence>, _report: &mut Report) -> Result<Option<Look>> {
        Ok(None)
    }
}

/// Members alone.
struct Alone;

impl Beside for Alone {}

pub(super) fn run(args: &RepairArgs, given: &Given) -> Result<u8> {
    run_beside(args, given, &Alone)
}

/// Opens and locks, puts back what was cut off, settles the question and the journal's place; then votes, plans, asks and rewrites.
pub(super) fn run_beside(args: &RepairArgs, given: &Given, beside: &dyn Beside) -> Result<u8> {
    refuse_contradictions(args)?;
    if let Some(list) = &args.from {
        refuse_report_over(args.show.report.as_deref(), list)?;
    }
    let roles = Roles::of(args)?;
    let (voters, put_back) = open(args, &roles)?;
    let members = voters.listed();
    let mut question = args.question(&members)?;
    let said = beside.ask(&members, &mut question)?;
    let journals: Vec<PathBuf> = args.in_place.journal.iter().cloned().chain(beside.journals()).collect();
    let evidence = evidence_of(&members, &question, &journals);
    beside.weigh(&evidence)?;
    let poll = args.vote.poll(&members, &mut question, &evidence)?;
    let judge = Judge { way: Way::InPlace, forced: args.forced() };
    if let Err(refusal) = judge.admit(&members, &question, &poll) {
        return refuse(args, given, &voters, (&question, &poll), refusal, beside);
    }
    let place = place_of_journal(args, &members)?;
    let mut warnings = warnings(args, &voters, &roles, &poll, place.as_ref())?;
    warnings.extend(said);
    let earlier = args.from.as_deref().map(|path| Earlier::read(path, &members, &poll)).transpose()?;
    let journal = place.as_ref().map(|(folder, name)| JournalPlace {
        folder,
        name,
        shown: MemberName::from(shown_path(args, &first_files(&members), folder, name).as_path()),
    });
    let here = env::current_dir().ok();
    let identity = |member: &&dyn Member| Identity::of(*member, here.as_deref()).with_context(|| member.name().to_string());
    let wish = InPlaceWish {
        dry_run: args.in_place.dry_run,
        options: options(args, &question, &poll, &roles.no_write, earlier.as_ref()),
        no_write: roles.no_write,
        truncate: args.in_place.truncate,
        max_damage: args.in_place.max_damage,
        journal,
        identities: members.iter().map(identity).collect::<Result<_>>()?,
        id: random_bytes().context("a random number for the journal")?,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed()),
        dependent: if question.trust.is_some() { Vec::new() } else { voters.dependent.clone() },
        put_back,
        earlier,
        forced: args.forced(),
        divergences_max: args.show.max_divergences as usize,
        portion_bytes: PORTION_BYTES,
    };
    refuse_report_as_journal(args, place.as_ref())?;
    if let (Some((folder, name)), false) = (&place, args.in_place.dry_run) {
        tidy_beside(&folder.join(name), args.show.progress.is_quiet());
    }
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut report = repair(args, &members, (&question, &poll, &evidence), &wish, warnings, &presenter, beside)?;
    report.mark_guesses(&voters.guessed);
    let mut presenter = presenter.into_inner().expect("no panics");
    if let Some(done) = &report.in_place {
        tell(args, done, &report, &members, wish.journal.as_ref(), &mut |text| presenter.complain(text));
    }
    let own = beside.ended(&members, Some(&evidence), &mut report)?;
    let look = own.unwrap_or_else(|| Look { next: next::after(&report, &args.members, given, Some(&evidence)), or: None });
    presenter.finish(report, &look)
}

/// Says why nothing is done; where a person has to decide there is a report of it for programs, too.
fn refuse(
    args: &RepairArgs,
    given: &Given,
    voters: &Voters,
    (question, poll): (&Question, &Poll),
    refusal: RepairError,
    beside: &dyn Beside,
) -> Result<u8> {
    if refusal.exit_code() != 2 {
        return Err(refusal.into());
    }
    refuse_report_as_journal(args, place_of_journal(args, &voters.listed()).ok().flatten().as_ref())?;
    complain(&refusal.to_string());
    let (members, dry_run) = (voters.listed(), args.in_place.dry_run);
    let warnings = voters.warnings.iter().chain(&poll.warnings).cloned().collect();
    let mut report = refused_in_place(&members, question, poll, dry_run, warnings, &refusal);
    report.mark_guesses(&voters.guessed);
    let own = beside.ended(&members, None, &mut report)?;
    let look = own.unwrap_or_else(|| Look { next: next::after(&report, &args.members, given, None), or: None });
    Presenter::new(&args.show, &members)?.finish(report, &look)
}

/// Options that can't go with a rewriting.
fn refuse_contradictions(args: &RepairArgs) -> Result<()> {
    ensure!(
        !args.locks.force_share,
        "--in-place takes locks and can't go with -U\nhint: stop what uses the members first; -U only reads: repair -U -o FILE makes a new image"
    );
    ensure!(
        args.members.snapshot.is_none(),
        "--snapshot is a state of the past, and can't go with --in-place\nhint: leave it out, or make a new image with repair -o"
    );
    Ok(())
}

/// Members that aren't rewritten, by number.
struct Roles {
    no_write: Vec<usize>,
    /// Those, and the one that is trusted.
    spared: Vec<usize>,
}

impl Roles {
    fn of(args: &RepairArgs) -> Result<Self> {
        let given = &args.members.members;
        let numbers =
            |names: &[OsString], option| names.iter().map(|name| find_given(name, given).context(option)).collect::<Result<Vec<_>>>();
        let no_write = numbers(&args.in_place.no_write, "--no-write")?;
        let trusted = numbers(args.vote.trust.as_slice(), "--trust")?;
        Ok(Self { spared: no_write.iter().chain(&trusted).copied().collect(), no_write })
    }
}

/// Opens and locks the members; images in which a repair was cut off are put back before they are looked at.
fn open(args: &RepairArgs, roles: &Roles) -> Result<(Voters, Vec<usize>)> {
    let force = Judge { way: Way::InPlace, forced: args.forced() }.lock_force();
    let access = if args.in_place.dry_run { Access::Read(args.locks.locks()) } else { Access::Rewrite { spared: &roles.spared, force } };
    // A file that is shorter by a part of a sector is made as long as the others are.
    let roll = Roll { pads: false, ..args.members.roll() };
    let mut candidates = Candidates::open(&roll, &access)?;
    let put_back = put_images_back(args, &mut candidates)?;
    Ok((candidates.into_voters(&roll, &access)?, put_back))
}

/// Folder and name of the journal.
fn place_of_journal(args: &RepairArgs, members: &[&dyn Member]) -> Result<Option<(PathBuf, OsString)>> {
    journal_path(args, &first_files(members))
}

/// The file of each member that has one: an image's own.
fn first_files<'a>(members: &[&'a dyn Member]) -> Vec<&'a HostFile> {
    members.iter().filter_map(|member| member.files().into_iter().next()).collect()
}

/// What people should know before anything is written.
fn warnings(args: &RepairArgs, voters: &Voters, roles: &Roles, poll: &Poll, place: Option<&(PathBuf, OsString)>) -> Result<Vec<String>> {
    let members = voters.listed();
    let mut warnings = voters.warnings.clone();
    if let Some((folder, name)) = place {
        warnings.extend(look_at_journal(folder, name, &members)?);
    }
    let failed = members.iter().filter_map(|member| Some((member.name(), member.failure()?)));
    warnings.extend(failed.map(|(name, why)| format!("{name}: {why}; it neither votes nor is rewritten: rebuild it with repair -o")));
    if args.in_place.dry_run {
        let written = members.iter().enumerate().filter(|(index, _)| !roles.spared.contains(index));
        // What a plan doesn't meet, and the repair itself would.
        warnings.extend(written.filter_map(|(_, member)| {
            let why = member.refuses_writes()?;
            Some(format!("{}: it can't be written to ({why}): this repair would be refused; --no-write lets it vote only", member.name()))
        }));
    }
    warnings.extend(poll.warnings.iter().cloned());
    Ok(warnings)
}

fn refuse_report_as_journal(args: &RepairArgs, place: Option<&(PathBuf, OsString)>) -> Result<()> {
    place.map_or(Ok(()), |(folder, name)| refuse_report_at(args.show.report.as_deref(), &folder.join(name), "the journal"))
}

/// Votes, plans, asks, and rewrites.
fn repair(
    args: &RepairArgs,
    members: &[&dyn Member],
    (question, poll, evidence): (&Question, &Poll, &Evidence),
    wish: &InPlaceWish,
    warnings: Vec<String>,
    presenter: &Mutex<Presenter>,
    beside: &dyn Beside,
) -> Result<Report> {
    let mut control = Control::reporting(&args.show)?;
    let stores: Vec<Option<&dyn Storage>> = members.iter().map(|member| member.store()).collect();
    let begun = Instant::now();
    let phases = |what, bytes| control.begin(what, bytes);
    let confirm = |proposal: &Proposal| {
        let speed = poll.range.length() as f64 * members.len() as f64 / begun.elapsed().as_secs_f64().max(1e-3);
        control.aside(|| {
            presenter.lock().expect("no panics").warn_ahead(proposal.warnings);
            match agree(args, proposal, &estimate(proposal, members.len(), speed), &|| control.stopped()) {
                Answer::Yes => beside.begin().map_or_else(|error| Answer::Refused(explained(&error)), |()| Answer::Yes),
                answer => answer,
            }
        })
    };
    let repair = InPlace { members, stores: &stores, question, poll, evidence, wish, watch: &control, phases: &phases, confirm: &confirm };
    let report = repair.run(warnings, &mut |run, findings| {
        control.found();
        presenter.lock().expect("no panics").divergence(run, findings)
    });
    control.end();
    Ok(report?)
}

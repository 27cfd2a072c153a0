//! `quorum-img repair --in-place`: rewrite the minority copies.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::PathBuf,
    sync::Mutex,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    args::find_given,
    complain,
    journal_place::{identity_of, journal_path, look_at_journal, shown_path},
    open::{Access, Sources},
    present::Presenter,
    progress::Control,
    put_back::{formats, put_images_back},
    repair::{RepairArgs, Word, same_place},
    warn,
};
use crate::{
    member::{LockForce, Member, MemberName, RawMember, escaped},
    repair::{Earlier, InPlace, InPlaceWish, JournalPlace, PORTION_BYTES, Proposal, admit},
    report::{InPlaceReport, Look, Report, human_size},
    scan::{Poll, Question, Watch, sizes},
    sys::{device::Sysfs, new_file::random_bytes, storage::Storage},
};

/// How often a signal is looked for while a question waits, in milliseconds.
const TICK_MS: u16 = 100;
/// What a write in the middle of nowhere costs beside its bytes, in seconds: for the estimate.
const SEEK_SECONDS: f64 = 50e-6;

/// What only a repair in place needs to know.
#[derive(Args, Debug)]
#[command(next_help_heading = "In place")]
pub(super) struct InPlaceArgs {
    /// Rewrite the members themselves where they are outvoted
    #[arg(long)]
    pub in_place: bool,

    /// Show the plan and write nothing
    #[arg(long, conflicts_with = "output-file")]
    pub dry_run: bool,

    /// How much of the data a member may lose and still be rewritten, rather than taken for stale or of another disk
    #[arg(long, value_name = "PERCENT", default_value = "10", conflicts_with = "output-file", value_parser = parse_percent)]
    pub max_damage: f64,

    /// That member (a name as given, or `#N`) votes, but isn't rewritten; may be repeated
    #[arg(long, value_name = "MEMBER", conflicts_with = "output-file")]
    pub no_write: Vec<OsString>,

    /// Cut raw members that are longer than the voted size; what is cut is journalled. Images, devices and exports keep theirs
    #[arg(long, conflicts_with_all = ["output-file", "range"])]
    pub truncate: bool,

    /// Where what is overwritten is kept [default: beside the first member, its name and `.quorum-journal`]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output-file", "no_journal"])]
    pub journal: Option<PathBuf>,

    /// Keep nothing of what is overwritten: no undo, and a repair that was cut off can only be run again
    #[arg(long, conflicts_with = "output-file")]
    pub no_journal: bool,

    /// Ask nothing before the first write
    #[arg(short, long, conflicts_with = "output-file")]
    pub yes: bool,
}

fn parse_percent(text: &str) -> Result<f64> {
    let percent: f64 = text.trim_end_matches('%').parse().context("a number from 0 to 100 is wanted")?;
    ensure!((0.0..=100.0).contains(&percent), "a number from 0 to 100 is wanted");
    Ok(percent)
}

pub(super) fn run(args: &RepairArgs) -> Result<u8> {
    let own = &args.in_place;
    ensure!(
        !args.locks.force_share,
        "--in-place takes locks and can't go with -U\nhint: stop what uses the members first; -U only reads: repair -U -o FILE makes a new image"
    );
    ensure!(
        args.members.snapshot.is_none(),
        "--snapshot is a state of the past, and can't go with --in-place\nhint: leave it out, or make a new image with repair -o"
    );
    let given = &args.members.members;
    let numbers = |names: &[OsString], option| names.iter().map(|name| find_given(name, given).context(option)).collect::<Result<Vec<_>>>();
    let no_write = numbers(&own.no_write, "--no-write")?;
    let trusted = numbers(args.vote.trust.as_slice(), "--trust")?;
    let spared: Vec<usize> = no_write.iter().chain(&trusted).copied().collect();
    let force = LockForce { no_locks: args.forces(Word::NoLocks), device: args.forces(Word::Device) };
    let access = if own.dry_run { Access::Read(&args.locks) } else { Access::Rewrite(&spared, force) };
    let mut sources = Sources::open(&args.members, &access)?;
    put_images_back(args, &mut sources)?;
    let opened = sources.into_members(&args.members, &access)?;
    let members = opened.listed();
    let files: Vec<&RawMember> = members.iter().filter_map(|member| member.files().into_iter().next()).collect();
    let stores: Vec<Option<&dyn Storage>> = opened.members.iter().map(|member| member.store()).collect();
    let question = args.question(&members)?;
    let poll = Poll::new(&sizes(&members), &question)?;
    let forced = args.forced();
    admit(&members, &question, &poll, forced)?;
    let place = journal_path(args, &files)?;
    let mut warnings = opened.warnings.clone();
    if let Some((folder, name)) = &place {
        warnings.extend(look_at_journal(folder, name, &opened)?);
    }
    let failed = members.iter().filter_map(|member| Some((member.name(), member.failure()?)));
    warnings.extend(failed.map(|(name, why)| format!("{name}: {why}; it neither votes nor is rewritten: rebuild it with repair -o")));
    if own.dry_run {
        let written = members.iter().enumerate().filter(|(index, _)| !spared.contains(index));
        warnings.extend(written.filter_map(|(_, member)| unwritable(*member)));
    }
    let earlier = args.from.as_deref().map(|path| Earlier::read(path, &members, &poll)).transpose()?;
    let journal = place.as_ref().map(|(folder, name)| JournalPlace {
        folder,
        name,
        shown: MemberName::from(shown_path(args, folder, name).as_path()),
    });
    let wish = InPlaceWish {
        dry_run: own.dry_run,
        options: options(args, &question, &poll, &no_write, earlier.as_ref()),
        no_write,
        truncate: own.truncate,
        max_damage: own.max_damage,
        journal,
        identities: members.iter().map(|member| identity_of(*member)).collect::<Result<_>>()?,
        id: random_bytes().context("a random number for the journal")?,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed()),
        dependent: if question.trust.is_some() { Vec::new() } else { opened.dependent.clone() },
        earlier,
        forced,
        divergences_max: args.show.max_divergences as usize,
        portion_bytes: PORTION_BYTES,
    };
    if let (Some(report), Some((folder, name))) = (&args.show.report, &place) {
        ensure!(
            !same_place(report, &folder.join(name)),
            "--report {} names the journal\nhint: choose another name for one of them",
            MemberName::from(report.as_path())
        );
    }
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::new(&args.show.progress)?;
    warnings.extend(poll.warnings.iter().cloned());
    let begun = Instant::now();
    let phases = |what, bytes| control.begin(what, bytes);
    let confirm = |proposal: &Proposal| {
        let speed = poll.range.length() as f64 * members.len() as f64 / begun.elapsed().as_secs_f64().max(1e-3);
        control.aside(|| {
            presenter.lock().expect("no panics").warn_ahead(proposal.warnings);
            agree(args, proposal, &estimate(proposal, members.len(), speed), &|| control.stopped())
        })
    };
    let repair = InPlace {
        members: &members,
        stores: &stores,
        question: &question,
        poll: &poll,
        wish: &wish,
        watch: &control,
        phases: &phases,
        confirm: &confirm,
    };
    let report = repair.run(warnings, &mut |run, findings| presenter.lock().expect("no panics").divergence(run, findings));
    control.end();
    let mut report = report?;
    opened.mark_guesses(&mut report);
    if let Some(done) = &report.in_place {
        tell(args, done, &report, wish.journal.as_ref());
    }
    presenter.into_inner().expect("no panics").finish(report, &Look::default())
}

/// What a plan doesn't meet, and the repair itself would.
fn unwritable(member: &dyn Member) -> Option<String> {
    let why = match (member.nbd(), member.files().first()) {
        (Some(export), _) => export.export().read_only.then(|| "the export is read-only".to_owned())?,
        (None, Some(file)) if file.is_device() && Sysfs::default().flag(file.metadata().rdev(), "ro") == Some(true) => {
            "the device is read-only".to_owned()
        }
        (None, file) => file?.refuses_writes()?.to_string(),
    };
    Some(format!("{}: it can't be written to ({why}): this repair would be refused; --no-write lets it vote only", member.name()))
}

/// What went wrong, and how to go on.
fn tell(args: &RepairArgs, done: &InPlaceReport, report: &Report, journal: Option<&JournalPlace>) {
    let code = report.exit_code;
    if let Some(refused) = &done.refused {
        return complain(refused);
    }
    if report.sectors.undecided > 0 {
        complain(&format!(
            "{} sectors have no winner, and were left alone\nhint: --pick says who is right in a range, --trust who is right everywhere",
            report.sectors.undecided
        ));
    }
    if done.not_healed_sectors > 0 {
        complain(&format!(
            "{} sectors could not be healed\nhint: the report lists them; replace the disk, or make a new image with repair -o",
            done.not_healed_sectors
        ));
    }
    for member in &done.members {
        if member.surplus_bytes > 0 {
            let surplus = human_size(member.surplus_bytes);
            let way_out = match (member.fixed_size, report.members[member.index].format) {
                (false, _) => "--truncate cuts them",
                (true, "qcow2") => {
                    "the size of an image isn't changed in place: qemu-img resize --shrink does that, repair -o makes a new one"
                }
                (true, _) => "its size can't be changed",
            };
            warn_unless(args.show.progress.quiet, &format!("{}: {surplus} behind the virtual size were kept; {way_out}", member.name));
        }
        if member.no_write {
            warn_unless(args.show.progress.quiet, &format!("{}: it differs, and stays so: --no-write", member.name));
        }
    }
    for member in &done.members {
        if let Some(error) = &member.error {
            complain(&format!("{}: {error}\nhint: nothing more was written to it; look at its storage, and run this again", member.name));
        }
    }
    let journal = journal.filter(|_| done.journal.is_some()).map(|place| place.shown.quoted());
    if code == 130 {
        let back = journal.as_ref().map_or_else(String::new, |journal| format!("; quorum-img undo {journal} takes back what was written"));
        complain(&format!("interrupted; {} were written\nhint: run the same command again to go on{back}", human_size(done.bytes_written)));
    } else if let (false, false, Some(journal)) = (done.completed, done.dry_run, journal) {
        complain(&format!(
            "not completed\nhint: run the same command again to go on; quorum-img undo {journal} takes back what was written"
        ));
    }
}

/// Shows what is going to be done, and asks where somebody is there to answer.
fn agree(args: &RepairArgs, proposal: &Proposal, estimate: &str, stopped: &dyn Fn() -> bool) -> bool {
    if !args.show.progress.quiet {
        let mut to = anstream::stderr().lock();
        let mut say = |line: &str| drop(writeln!(to, "{line}")); // where standard error is gone, nobody listens
        if proposal.resumed {
            let name = proposal.journal.map_or_else(String::new, ToString::to_string);
            say(&format!("Going on with the unfinished repair that {name} tells of."));
        }
        let ranges = if proposal.writes == 1 { "1 range".to_owned() } else { format!("{} ranges", proposal.writes) };
        let again = match proposal.again_bytes {
            0 => String::new(),
            bytes => format!(", and up to {} once more that may not have reached the disk", human_size(bytes)),
        };
        say(&format!("About to write {} to members, in {ranges}{again}{estimate}:", human_size(proposal.bytes)));
        proposal.members.iter().for_each(|member| say(&format!("  {}", member.described())));
        match proposal.journal {
            Some(journal) if !proposal.resumed => say(&format!("Journal: {journal}, up to {}.", human_size(proposal.journal_bytes))),
            Some(_) => {}
            None => say("No journal: this can't be undone."),
        }
    }
    if args.in_place.yes || !io::stdin().is_terminal() {
        return true;
    }
    ask("Go on? [y/N] ", stopped)
}

fn estimate(proposal: &Proposal, members: usize, bytes_per_second: f64) -> String {
    // Voted on again; journalled, its space being written first; written, and read back.
    let bytes = proposal.voted_bytes as f64 * members as f64 + 2.0 * proposal.journal_bytes as f64 + 2.0 * proposal.bytes as f64;
    let seconds = bytes / bytes_per_second.max(1.0) + proposal.writes as f64 * SEEK_SECONDS;
    if seconds < 2.0 { String::new() } else { format!(" (about {seconds:.0} s)") }
}

/// Asks on the terminal; a signal is a no.
pub(super) fn ask(question: &str, stopped: &dyn Fn() -> bool) -> bool {
    let _ = write!(io::stderr().lock(), "{question}"); // as above
    let stdin = io::stdin();
    loop {
        if stopped() {
            let _ = writeln!(io::stderr().lock());
            return false;
        }
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(TICK_MS)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            _ => break,
        }
    }
    let mut answer = String::new();
    stdin.read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
}

/// What decides what is written, as one line.
fn options(args: &RepairArgs, question: &Question, poll: &Poll, no_write: &[usize], earlier: Option<&Earlier>) -> String {
    let mut words = vec![format!("sector-size {}", poll.sector), format!("threshold {}", poll.threshold), format!("size {}", poll.size)];
    words.extend(question.range.map(|_| format!("range {:#x}:{}", poll.range.start, poll.range.length())));
    words.extend(question.trust.map(|member| format!("trust #{member}")));
    words.extend(question.picks.iter().map(|(range, member)| format!("pick {:#x}:{}=#{member}", range.start, range.length())));
    words.extend(no_write.iter().map(|member| format!("no-write #{member}")));
    words.extend(earlier.map(|earlier| format!("from a report's list {:016x}", earlier.digest())));
    words.extend(args.in_place.truncate.then(|| "truncate".to_owned()));
    words.extend(formats(args));
    words.join(", ")
}

/// A path of the journal, harmless on a terminal.
pub(super) fn shown(path: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(path))
}

/// Says what the user should know, unless nothing is to be said.
pub(super) fn warn_unless(quiet: bool, text: &str) {
    if !quiet {
        warn(text);
    }
}

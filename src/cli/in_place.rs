//! `quorum-img repair --in-place`: rewrite the minority copies.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::statfs::{TMPFS_MAGIC, statfs},
};

use super::{
    args::find_given,
    complain,
    open::{Access, Opened, Sources},
    present::Presenter,
    progress::Control,
    repair::{RepairArgs, Word, same_place},
    warn,
};
use crate::{
    member::{Format, Given, LockForce, Member, MemberName, RawMember, escaped, file_system_conflict},
    repair::{
        Earlier, InPlace, InPlaceWish, JournalPlace, PORTION_BYTES, Proposal, RepairError, admit,
        journal::{Identity, Journal, State},
        undo::{Undo, UndoTarget},
    },
    report::{InPlaceReport, Look, Report, human_size},
    scan::{Poll, Question, Watch, majority, sizes},
    sys::{
        device::Sysfs,
        locks::Claim,
        new_file::random_bytes,
        storage::{Folder, Storage, place_of, untrusted},
    },
};

/// What the journal beside a member is called: its name, and this.
const SUFFIX: &str = ".quorum-journal";
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

    /// Cut members that are longer than the voted size; what is cut is journalled
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
        control.aside(|| agree(args, proposal, &estimate(proposal, members.len(), speed), &|| control.stopped()))
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
    let report = report?;
    if let Some(done) = &report.in_place {
        tell(args, done, &report, wish.journal.as_ref());
    }
    presenter.into_inner().expect("no panics").finish(report, &Look::default())
}

/// A repair that was cut off leaves images in the middle of something: they are put back first, and then repaired anew.
fn put_images_back(args: &RepairArgs, sources: &mut Sources) -> Result<()> {
    let mut files = sources.files();
    if files.iter().all(|(_, format)| *format != Some(Format::Qcow2)) {
        return Ok(());
    }
    let own: Vec<&RawMember> = files.iter().filter_map(|(file, _)| file.as_deref()).collect();
    let Some((folder, name)) = journal_path(args, &own)? else { return Ok(()) };
    let shown = MemberName::from(shown_path(args, &folder, &name).as_path());
    let Some(storage) = folder.open(&name).with_context(|| format!("{shown}: can't be opened"))? else { return Ok(()) };
    // What can't be used, or isn't this repair's, is told of later.
    if own.iter().any(|file| file.is_at(&folder.join(&name)).unwrap_or(false)) {
        return Ok(());
    }
    if let Claim::Others(holders) = storage.claim(!args.in_place.dry_run).with_context(|| shown.to_string())? {
        return Err(RepairError::JournalInUse { journal: shown, holders }.into());
    }
    let Ok(journal) = Journal::load(&shown, storage) else { return Ok(()) };
    let unfinished = journal.state() == State::Unfinished && journal.header().members.len() == files.len();
    if !unfinished || !may_be_ours(args, &journal.header().options)? {
        return Ok(());
    }
    let touched = journal.touched()?;
    let mut targets = Vec::new();
    for (index, (file, format)) in files.iter().enumerate() {
        let begun = touched >> index & 1 == 1 && *format == Some(Format::Qcow2);
        let Some(file) = file.as_deref().filter(|_| begun) else {
            targets.push(None);
            continue;
        };
        let (then, now) = (&journal.header().members[index], identity(file)?);
        if (then.inode, &then.path) != (now.inode, &now.path) {
            return Ok(());
        }
        ensure!(
            !args.in_place.dry_run,
            "{}: a repair of it was cut off, as {shown} tells, so what it holds now says nothing\n\
             hint: run the repair again without --dry-run, or take it back with quorum-img undo {}",
            file.name(),
            shown.quoted()
        );
        let storage = file.disk().with_context(|| {
            format!("{}: a repair of it was cut off, and it isn't to be written to now\nhint: run the same command again", file.name())
        })?;
        let (inode, file_system) = (now.inode, now.file_system);
        targets.push(Some(UndoTarget { name: file.name().clone(), storage, inode, file_system, mapped: false }));
    }
    if targets.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut control = Control::new(&args.show.progress)?;
    let phases = |what, bytes| control.begin(what, bytes);
    let undo = Undo { targets: &targets, force_changed: args.forces(Word::Changed), watch: &control, phases: &phases };
    let names: Vec<String> = targets.iter().flatten().map(|target| target.name.to_string()).collect();
    undo.examine_begun(&journal)?;
    if !args.in_place.yes && io::stdin().is_terminal() {
        let question = format!("A repair of {} was cut off. Put that back, and repair anew? [y/N] ", names.join(", "));
        ensure!(control.aside(|| ask(&question, &|| control.stopped())), "nothing was written\nhint: the same command asks again");
    }
    undo.put_back_begun(&journal)?;
    control.end();
    drop(targets);
    for (file, _) in &mut files {
        if let Some(file) = file.as_mut() {
            file.look_again().with_context(|| file.name().to_string())?;
        }
    }
    warn_unless(args.show.progress.quiet, &format!("put back first, since a repair was cut off: {}", names.join(", ")));
    Ok(())
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
            warn_unless(
                args.show.progress.quiet,
                &format!("{}: {surplus} behind the virtual size were kept; --truncate cuts them", member.name),
            );
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

/// Folder and name of the journal; none where none is wanted.
fn journal_path(args: &RepairArgs, files: &[&RawMember]) -> Result<Option<(PathBuf, OsString)>> {
    let own = &args.in_place;
    if own.no_journal {
        return Ok(None);
    }
    let path = if let Some(path) = &own.journal {
        path.clone()
    } else {
        if files.len() < args.members.members.len() {
            if own.dry_run {
                return Ok(None);
            }
            bail!(
                "an export has no folder for the journal of what is overwritten\nhint: name a place with --journal FILE, or say --no-journal"
            );
        }
        if let Some(device) = files.iter().find(|member| member.is_device()) {
            if own.dry_run {
                return Ok(None);
            }
            bail!(
                "{}: a device has no folder for the journal of what is overwritten\nhint: name a place with --journal FILE, or say --no-journal",
                device.name()
            );
        }
        // Beside the file itself, whatever link leads there.
        let first = fs::canonicalize(files[0].path()).with_context(|| files[0].name().to_string())?;
        let mut name = first.file_name().context("a file has a name")?.to_owned();
        name.push(SUFFIX);
        first.with_file_name(name)
    };
    let path = if path.is_symlink() {
        fs::canonicalize(&path).with_context(|| {
            format!(
                "{}: a symbolic link that leads nowhere\nhint: name a place for the journal with --journal FILE",
                MemberName::from(path.as_path())
            )
        })?
    } else {
        path
    };
    let (folder, name) = place_of(&path)
        .ok_or_else(|| anyhow!("--journal {}: this is no file's name\nhint: name a file", MemberName::from(path.as_path())))?;
    Ok(Some((folder.to_owned(), name.to_owned())))
}

/// The journal as the user would name it.
fn shown_path(args: &RepairArgs, folder: &Path, name: &OsString) -> PathBuf {
    if let Some(path) = &args.in_place.journal {
        return path.clone();
    }
    let given = Given::of(&args.members.members[0]);
    let member = given.path().unwrap_or(Path::new(""));
    let mut beside = member.as_os_str().to_owned();
    beside.push(SUFFIX);
    let beside = PathBuf::from(beside);
    if member.is_symlink() { folder.join(name) } else { beside }
}

/// Refuses a journal that can't be what is named; returns what to warn about.
fn look_at_journal(folder: &Path, name: &OsString, opened: &Opened) -> Result<Vec<String>> {
    let path = folder.join(name);
    let shown = MemberName::from(path.as_path());
    for member in opened.members.iter().flat_map(|member| member.files()) {
        let same = path.exists() && member.is_at(&path).with_context(|| format!("--journal {shown}"))?;
        ensure!(!same, "--journal {shown}: this is the member {}\nhint: choose another name", member.name());
    }
    let inside = file_system_conflict(folder, &opened.listed(), &Sysfs::default())
        .with_context(|| format!("--journal {shown}: its folder can't be looked at\nhint: make the folder first, or choose another"))?;
    if let Some(member) = inside {
        bail!("--journal {shown}: it would lie on a file system inside of the member {member}\nhint: choose a folder elsewhere");
    }
    if let Ok(there) = fs::metadata(&path) {
        ensure!(there.is_file(), "--journal {shown}: there is something else than a file\nhint: choose another name");
        if let Some(why) = untrusted(&there) {
            bail!(
                "{shown}: this journal isn't to be trusted: {why}\nhint: look at it; chown and chmod it where it is yours, or name another place with --journal"
            );
        }
    }
    let volatile = statfs(folder).is_ok_and(|facts| facts.filesystem_type() == TMPFS_MAGIC);
    let warning = format!("{shown}: the journal lies in this machine's memory (tmpfs): a power cut takes it away, and with it the undo");
    Ok(volatile.then_some(warning).into_iter().collect())
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

/// Which members are images rather than bytes, as words of the options.
fn formats(args: &RepairArgs) -> Vec<String> {
    let given = args.members.members.iter().enumerate();
    let images = given.filter(|(_, given)| args.members.stated(&Given::of(given)) == Some(Format::Qcow2));
    images.map(|(index, _)| format!("qcow2 #{index}")).collect()
}

/// Whether the options that a journal tells of can be those of now, as far as that is known before the members are read.
fn may_be_ours(args: &RepairArgs, then: &str) -> Result<bool> {
    let given = &args.members.members;
    let numbered = |names: &[OsString], word: &str| {
        names.iter().map(|name| Ok(format!("{word} #{}", find_given(name, given)?))).collect::<Result<Vec<String>>>()
    };
    let threshold = args.vote.threshold.unwrap_or_else(|| majority(given.len()));
    let mut ours = vec![format!("sector-size {}", args.vote.sector_size), format!("threshold {threshold}")];
    ours.extend(numbered(args.vote.trust.as_slice(), "trust")?);
    ours.extend(numbered(&args.in_place.no_write, "no-write")?);
    ours.extend(args.in_place.truncate.then(|| "truncate".to_owned()));
    ours.extend(formats(args));
    let read_later = ["size ", "range ", "pick ", "from "];
    Ok(then.split(", ").filter(|word| !read_later.iter().any(|later| word.starts_with(later))).eq(ours))
}

/// An address that means the same from every folder.
fn absolute_address(uri: &str) -> String {
    let Some((before, socket)) = uri.split_once("socket=") else { return uri.to_owned() };
    match std::env::current_dir() {
        Ok(folder) if !socket.starts_with('/') && !socket.to_ascii_lowercase().starts_with("%2f") => {
            let escaped = folder.to_string_lossy().replace('%', "%25").replace('&', "%26").replace('#', "%23").replace(' ', "%20");
            format!("{before}socket={escaped}/{socket}")
        }
        _ => uri.to_owned(),
    }
}

/// What tells a member from others: of an export, only its address.
fn identity_of(member: &dyn Member) -> Result<Identity> {
    if let Some(export) = member.nbd() {
        let path = absolute_address(export.uri()).into_bytes();
        return Ok(Identity {
            path,
            device: true,
            file_system: [0; 16],
            inode: 0,
            device_number: 0,
            size: export.size(),
            samples: Vec::new(),
        });
    }
    let file = member.files().into_iter().next().with_context(|| format!("{}: has no file", member.name()))?;
    identity(file)
}

/// What tells a file or device from others.
fn identity(member: &RawMember) -> Result<Identity> {
    let path = fs::canonicalize(member.path()).with_context(|| member.name().to_string())?;
    let meta = member.metadata();
    let device = member.is_device();
    Ok(Identity {
        path: path.as_os_str().as_bytes().to_vec(),
        device,
        file_system: file_system_of(member),
        inode: if device { 0 } else { meta.ino() },
        device_number: if device { meta.rdev() } else { meta.dev() },
        size: member.size(),
        samples: Vec::new(),
    })
}

/// What the file system that holds a member calls itself; zeros for a device, and where that isn't known.
pub(super) fn file_system_of(member: &RawMember) -> [u8; 16] {
    let mut id = [0; 16];
    if let (false, Ok(facts)) = (member.is_device(), nix::sys::statvfs::fstatvfs(member.file())) {
        id[..8].copy_from_slice(&facts.filesystem_id().to_le_bytes());
    }
    id
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

//! `quorum-img undo`: put back what an in-place repair overwrote.

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};

use super::{
    ask::ask,
    info::InfoFormat,
    journal_file::open_journal,
    parse::parse_duration,
    present::times,
    progress::Control,
    say::{Output, shown, warn_unless},
    show_args::ProgressArgs,
    signals::stop_flag,
    texts,
    unfinished::Asked,
};
use crate::{
    electorate::{ElectorateError, LockForce, Roll, check_independence, lock_all_for_writing, reopen_to_rewrite},
    evidence::mark_of,
    member::{HostFile, Member, NbdOpenError, OpenError},
    repair::{
        journal::{Identity, Journal, State, file_system_of},
        undo::{Undo, UndoTarget, Undone},
    },
    report::{self, MemberSpan, SCHEMA, TORN, UndoReport, UndoneMember, counted, human_size, read_from},
    scan::Watch,
    sys::{device::Sysfs, libnbd::NbdError},
};

/// The way out where an export can't be had.
const SERVE_AGAIN: &str =
    "what was written to it is put back over the same way: let its server export it, writable; --map OLD=NEW says where it is now";
/// Kept ranges that are listed.
const KEPT_LISTED_MAX: usize = 20;

/// Put back what an in-place repair overwrote
///
/// Reads the journal that the repair kept, checks all of it and looks at every member before the first write; then restores each
/// member bit for bit, its length included. Sectors that could not be read before the repair keep what was written there. It can be
/// interrupted, or killed, and run again.
#[derive(Args, Debug)]
#[command(after_long_help = texts::UNDO)]
pub(super) struct UndoArgs {
    /// Give up on a member whose server doesn't answer for so long: 90s, 5m, 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// The journal
    journal: PathBuf,

    /// Look whether all can be put back, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// A member that moved: its path then, and its path now; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = OsStringValueParser::new().try_map(parse_map))]
    map: Vec<OsString>,

    /// Override a refusal by its name, as the refusal's message says
    #[arg(long, value_enum, value_name = "WORD", value_delimiter = ',')]
    force: Vec<Word>,

    /// Ask nothing before the first write
    #[arg(short, long)]
    yes: bool,

    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = InfoFormat::Human)]
    output: InfoFormat,

    #[command(flatten)]
    show: ProgressArgs,
}

/// Refusals that can be overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Word {
    /// Put back the old bytes although a member isn't as the repair left it
    Changed,
    /// Write to members on a file system without locks
    NoLocks,
    /// Write to a device although its users can't be seen
    Device,
}

/// Where OLD may end and NEW may begin: paths and addresses may have a `=` of their own.
fn splits(text: &OsStr) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    let bytes = text.as_bytes();
    let places = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'=').map(|(at, _)| at);
    let parts = places.map(|at| (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])));
    parts.filter(|(old, new)| !old.is_empty() && !new.is_empty())
}

fn parse_map(text: OsString) -> Result<OsString> {
    ensure!(splits(&text).next().is_some(), "OLD=NEW is wanted, for instance /old/a.img=/new/a.img");
    Ok(text)
}

/// The pairs that are meant: OLD is a member that the journal tells of.
fn mapping<'a>(args: &'a UndoArgs, journal: &Journal) -> Result<Vec<(&'a OsStr, &'a OsStr)>> {
    let known = |old: &OsStr| journal.header().members.iter().any(|identity| identity.path == old.as_bytes());
    let meant = |text: &'a OsString| {
        splits(text).find(|(old, _)| known(old)).ok_or_else(|| {
            let old = splits(text).next().map_or(text.as_os_str(), |(old, _)| old);
            let paths: Vec<String> = journal.header().members.iter().map(|identity| shown(&identity.path)).collect();
            anyhow!("--map {}: the journal has no such member\nhint: it has {}", shown(old.as_bytes()), paths.join(", "))
        })
    };
    args.map.iter().map(meant).collect()
}

pub(super) fn run(args: &UndoArgs) -> Result<u8> {
    let asked =
        Asked { command: "undo", members: &[], format: args.output.into(), quiet: args.show.is_quiet(), report: None, others: Vec::new() };
    put_back(args).inspect_err(|error| asked.leave_word(error))
}

fn put_back(args: &UndoArgs) -> Result<u8> {
    let journal = open_journal(&args.journal, !args.dry_run)?;
    let map = mapping(args, &journal)?;
    let opened = open_targets(&map, &journal)?;
    let force = LockForce { no_locks: args.force.contains(&Word::NoLocks), device: args.force.contains(&Word::Device) };
    let mut control = Control::new(&args.show)?;
    let members: Vec<usize> = opened.iter().map(|target| target.index).collect();
    let opened: Vec<Box<dyn Member>> = opened.into_iter().map(|target| target.member).collect();
    let files: Vec<&HostFile> = opened.iter().flat_map(|member| member.files()).collect();
    check_independence(&files, &Sysfs::default())?;
    lock_all_for_writing(&files, force)?.iter().for_each(|warning| warn_unless(args.show.is_quiet(), warning));
    let mapped = |identity: &Identity| map.iter().any(|(old, _)| old.as_bytes() == identity.path);
    let mut targets: Vec<Option<UndoTarget>> = journal.header().members.iter().map(|_| None).collect();
    for (member, &index) in opened.iter().zip(&members) {
        let file = member.files().into_iter().next();
        targets[index] = Some(UndoTarget {
            name: member.name().clone(),
            storage: member.store().context("it was opened for writing")?,
            inode: file.map_or(0, |file| file.metadata().ino()),
            file_system: file.map_or([0; 16], file_system_of),
            mapped: mapped(&journal.header().members[index]),
            marked: mark_of(&**member).is_some(),
        });
    }
    if !args.show.is_quiet() {
        list_targets(&journal, &targets)?;
    }
    let phases = |what, bytes| control.begin(what, bytes);
    let mut report = report(args, &journal, &targets)?;
    let undo = Undo { targets: &targets, force_changed: args.force.contains(&Word::Changed), watch: &control, phases: &phases };
    undo.examine(&journal)?;
    let undone = if args.dry_run {
        None
    } else {
        if !args.yes && io::stdin().is_terminal() && !control.aside(|| ask("Put them back? [y/N] ", &|| control.stopped())) {
            return Ok(if control.stopped() { 130 } else { 3 });
        }
        Some(undo.restore(journal)?)
    };
    control.end();
    if args.output == InfoFormat::Json && !args.show.is_quiet() {
        if let Some(undone) = &undone {
            report.bytes_written = undone.bytes;
            report.verified_from = Some(undone.origin.word());
            let kept = undone.kept.iter().map(|&(member, range)| MemberSpan { span: range.into(), member });
            report.kept = kept.collect();
        }
        report.times = times(0);
        report::write(&report, Output::new())?;
    } else if !args.show.is_quiet() {
        tell(undone.as_ref(), &targets)?;
    }
    Ok(0)
}

/// What is going to be put back, for programs.
fn report(args: &UndoArgs, journal: &Journal, targets: &[Option<UndoTarget>]) -> Result<UndoReport> {
    let sums = journal.sums()?;
    let members =
        targets.iter().enumerate().filter_map(|(index, target)| Some((index, target.as_ref()?))).map(|(index, target)| UndoneMember {
            index,
            name: target.name.to_string(),
            size_before: journal.header().members[index].size,
            ranges: sums[index].ranges,
            bytes: sums[index].bytes,
        });
    Ok(UndoReport {
        schema: SCHEMA,
        command: "undo",
        version: env!("CARGO_PKG_VERSION"),
        times: times(0),
        exit_code: 0,
        journal: journal.name().to_string(),
        dry_run: args.dry_run,
        members: members.collect(),
        bytes_written: 0,
        verified_from: None,
        kept: Vec::new(),
    })
}

fn tell(undone: Option<&Undone>, targets: &[Option<UndoTarget>]) -> Result<()> {
    let mut to = Output::new();
    let Some(undone) = undone else {
        writeln!(to, "All of it can be put back; nothing was written (--dry-run).")?;
        return Ok(());
    };
    let from = read_from(undone.origin.word());
    writeln!(to, "Undone: {} put back, read back{from} and found right.", human_size(undone.bytes))?;
    if !undone.kept.is_empty() {
        writeln!(to, "What was unreadable before the repair keeps what was written there:")?;
        for &(member, range) in undone.kept.iter().take(KEPT_LISTED_MAX) {
            let name = targets[member].as_ref().map_or_else(String::new, |target| target.name.to_string());
            writeln!(to, "  #{member} {name}: {} from offset {} ({:#x}) on", human_size(range.length()), range.start, range.start)?;
        }
        if undone.kept.len() > KEPT_LISTED_MAX {
            writeln!(to, "  and {} more ranges", undone.kept.len() - KEPT_LISTED_MAX)?;
        }
    }
    Ok(())
}

fn list_targets(journal: &Journal, targets: &[Option<UndoTarget>]) -> Result<()> {
    let mut to = anstream::stderr().lock();
    let mut say = |line: &str| drop(writeln!(to, "{line}")); // where standard error is gone, nobody listens
    let state = match journal.state() {
        State::Complete => "of a completed repair",
        State::Unfinished => "of an unfinished repair",
        State::UndoBegun => "of a repair whose undo was begun",
        State::Undone => "of a repair that was undone already",
    };
    say(&format!("{}: journal {state}, with old bytes for:", journal.name()));
    if journal.torn() {
        say(&format!("  {TORN}"));
    }
    for (index, (sum, target)) in journal.sums()?.iter().zip(targets).enumerate() {
        if let Some(target) = target {
            let size = journal.header().members[index].size;
            say(&format!("  #{index} {}: {} in {}, length {size}", target.name, human_size(sum.bytes), counted(sum.ranges, "range")));
        }
    }
    Ok(())
}

/// A member that is opened to be put back.
struct Opened {
    index: usize,
    member: Box<dyn Member>,
}

fn open_targets(map: &[(&OsStr, &OsStr)], journal: &Journal) -> Result<Vec<Opened>> {
    let mut opened = Vec::new();
    let touched = journal.touched()?;
    for (index, identity) in journal.header().members.iter().enumerate() {
        let mapped = map.iter().find(|(old, _)| old.as_bytes() == identity.path).map(|&(_, new)| new);
        let given = mapped.unwrap_or(OsStr::from_bytes(&identity.path));
        if touched >> index & 1 == 0 {
            continue;
        }
        let member = reopen_to_rewrite(&Roll { stop: &stop_flag, ..Roll::of(&[]) }, given).map_err(led_on)?;
        ensure!(
            member.files().first().is_none_or(|file| file.is_device() == identity.device),
            "{}: isn't the member that the journal tells of: one is a device, the other a file\nhint: name where that one is now with --map OLD=NEW",
            member.name()
        );
        opened.push(Opened { index, member });
    }
    Ok(opened)
}

/// The same error with the way out that undo has.
fn led_on(error: ElectorateError) -> ElectorateError {
    match error {
        ElectorateError::Export(lost) if matches!(lost.error, NbdError::Lost(_) | NbdError::Silent | NbdError::Request { .. }) => {
            NbdOpenError { hint: SERVE_AGAIN, ..lost }.into()
        }
        ElectorateError::Open(OpenError::Open { member, error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "it is a member of the journal; --map OLD=NEW says where it is now";
            OpenError::Open { member, error, hint }.into()
        }
        other => other,
    }
}

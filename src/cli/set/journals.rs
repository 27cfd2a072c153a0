//! The journals of a set's repairs: where they lie, how long they are kept, and `quorum-img set undo`.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Parser, ValueEnum as _};

use super::{
    marking::{mark_reachable, mark_unproven},
    session::{PresentArgs, Session},
    texts,
};
use crate::{
    cli::{
        journal_file::open_journal,
        say::warn,
        undo::{self as undo_command, UndoArgs, Word},
    },
    repair::journal::State as JournalState,
    set::{Change, MemberRow, RunEnd, State, raise},
};

/// Take a run's repair back: members are put back as they were, and so are their states
#[derive(Args, Debug)]
#[command(after_long_help = texts::UNDO)]
pub(super) struct SetUndoArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,

    /// The run's number, as `set history` tells it
    #[arg(value_name = "RUN")]
    run: i64,

    /// Ask nothing before the first write
    #[arg(short, long)]
    yes: bool,

    /// Override a refusal by its name, as the refusal's message says
    #[arg(long, value_enum, value_name = "WORD", value_delimiter = ',')]
    force: Vec<Word>,

    /// A member that moved: its path then, and its path now; may be repeated
    #[arg(long, value_name = "OLD=NEW")]
    map: Vec<OsString>,

    #[command(flatten)]
    present: PresentArgs,
}

/// The undo that it is, as a command line.
#[derive(Debug, Parser)]
struct UndoLine {
    #[command(flatten)]
    undo: UndoArgs,
}

/// The journal of the same repair, or of the same member's resync, that was cut off, which is gone on with; else a new one.
pub(super) fn journal_of(session: &Session, rows: &[MemberRow], target: Option<i64>) -> Result<PathBuf> {
    for run in session.record.runs_with_journals()?.into_iter().filter(|run| run.target == target) {
        let path = run.journal.as_ref().and_then(|name| session.place.journal_named(name)).filter(|path| path.exists());
        let Some(path) = path else { continue };
        // One that can't be read is told of by whoever goes on with it.
        let Ok(journal) = open_journal(&path, false) else { continue };
        if journal.state() != JournalState::Unfinished {
            continue;
        }
        let of_rows = journal.header().members.iter().map(|member| &member.path[..]).eq(rows.iter().map(path_of));
        if of_rows {
            return Ok(path);
        }
        warn(&format!(
            "run {} was cut off, and its members aren't those of now: it isn't gone on with; quorum-img set undo {} {} takes it back",
            run.id,
            session.quoted(),
            run.id
        ));
    }
    Ok(session.place.journal(session.run))
}

/// What is to be said of repairs of the set that were cut off.
pub(super) fn cut_off(session: &Session) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for run in session.record.runs_with_journals()? {
        let path = run.journal.as_ref().and_then(|name| session.place.journal_named(name)).filter(|path| path.exists());
        if path.is_some_and(|path| open_journal(&path, false).is_ok_and(|journal| journal.state() == JournalState::Unfinished)) {
            let (set, id) = (session.quoted(), run.id);
            told.push(format!(
                "run {id} ({}) was cut off: the same command again goes on with it, and quorum-img set undo {set} {id} takes it back",
                run.kind
            ));
        }
    }
    Ok(told)
}

/// The path, or address, by which a journal knows a member.
fn path_of(row: &MemberRow) -> &[u8] {
    let name = row.plain().as_bytes();
    name.strip_prefix(b"qcow2:").unwrap_or(name)
}

/// Forgets journals of repairs that are complete, as the policy says: beyond so many, so old, so large. The one that was just written stays in any case.
pub(super) fn prune(session: &Session) -> Result<()> {
    let policy = &session.policy;
    let (mut kept, mut bytes) = (0usize, 0u64);
    for run in session.record.runs_with_journals()? {
        let Some(path) = run.journal.as_ref().and_then(|name| session.place.journal_named(name)) else { continue };
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                session.record.forget_journal(run.id)?;
                continue;
            }
            Err(_) => continue,
        };
        let age = session.at().saturating_sub(run.begun).max(0) / 86400;
        let over =
            kept + 1 > policy.keep_journals || age > i64::from(policy.keep_days) || bytes.saturating_add(meta.len()) > policy.keep_bytes;
        let complete =
            || open_journal(&path, false).is_ok_and(|journal| matches!(journal.state(), JournalState::Complete | JournalState::Undone));
        if over && run.id != session.run && complete() {
            fs::remove_file(&path).with_context(|| crate::member::MemberName::from(path.as_path()).to_string())?;
            session.record.forget_journal(run.id)?;
        } else {
            kept += 1;
            bytes = bytes.saturating_add(meta.len());
        }
    }
    Ok(())
}

/// Why a member has no vote while a run is taken back.
fn being_undone(run: i64) -> String {
    format!("run {run} is being undone")
}

/// Who is going to be put back has no vote until that is done, whoever asks; returns them by their numbers in the record.
fn begin_undo(session: &Session, journal: &Path, run: i64) -> Result<Vec<i64>> {
    let record = &session.record;
    let Ok(journal) = open_journal(journal, false) else { return Ok(Vec::new()) };
    let mask = journal.touched()?;
    let paths = journal.header().members.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1).map(|(_, member)| &member.path);
    let paths: Vec<&Vec<u8>> = paths.collect();
    let rows: Vec<MemberRow> = record.members()?.into_iter().filter(|row| paths.iter().any(|path| path[..] == *path_of(row))).collect();
    record.in_one(|record| {
        for row in rows.iter().filter(|row| row.state != State::Syncing) {
            record.set_state(row, State::Syncing, &being_undone(run), Some(session.run), session.at())?;
        }
        raise(record)
    })?;
    for row in &rows {
        // Whoever isn't that member isn't marked; whether it is put back the undo itself decides.
        let _ = mark_unproven(session, row);
    }
    Ok(rows.iter().map(|row| row.id).collect())
}

pub(super) fn undo(args: &SetUndoArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "undo", &args.present)?;
    session.through(|session| {
        let record = &session.record;
        let run = record.run(args.run)?.ok_or_else(|| {
            anyhow!("{}: there is no such run\nhint: quorum-img set history {} tells of them", args.run, session.place.name.quoted_word())
        })?;
        let journal = run.journal.as_ref().and_then(|name| session.place.journal_named(name)).filter(|path| path.exists());
        let journal = journal.ok_or_else(|| {
            anyhow!("run {}: there is no journal of it: it wrote nothing, or that isn't kept any more\nhint: quorum-img set history names those that are", args.run)
        })?;
        let mut words: Vec<OsString> = vec!["quorum-img".into()];
        words.extend(args.yes.then(|| OsString::from("--yes")));
        words.extend(args.force.iter().filter_map(|word| Some(format!("--force={}", word.to_possible_value()?.get_name()).into())));
        words.extend(args.map.iter().flat_map(|map| ["--map".into(), map.clone()]));
        words.extend([OsString::from("--"), journal.clone().into_os_string()]);
        let UndoLine { undo } = UndoLine::try_parse_from(&words)?;
        let touched = begin_undo(session, &journal, run.id)?;
        let code = undo_command::run(&undo);
        let is_begun = open_journal(&journal, false).is_ok_and(|journal| journal.state() == JournalState::UndoBegun);
        if !matches!(code, Ok(0)) && !is_begun {
            let changes = record.changes(Some(session.run))?;
            record.in_one(|record| {
                for row in record.members()?.iter().filter(|row| touched.contains(&row.id)) {
                    let was = changes.iter().find(|change| change.member == row.id).and_then(|change| State::of_word(&change.was));
                    if let Some(was) = was {
                        record.set_state(row, was, "the undo came to nothing", Some(session.run), session.at())?;
                    }
                }
                raise(record)
            })?;
            mark_reachable(session, &[])?;
        }
        let code = code?;
        if code == 0 {
            let rows = record.members()?;
            let (changes, begun) = (record.changes(Some(run.id))?, record.changes_because(&being_undone(run.id))?);
            let why = format!("run {} was undone", run.id);
            record.in_one(|record| {
                for row in &rows {
                    let state = |change: &Change| State::of_word(&change.was);
                    // What it was before this undo, or before one that was cut off.
                    let of_undo = begun.iter().rfind(|change| change.member == row.id).and_then(state);
                    let now = of_undo.unwrap_or(row.state);
                    // What the run first changed is what it was before; a vote that was lost since isn't given back by it.
                    let was = changes.iter().find(|change| change.member == row.id).and_then(state).unwrap_or(now);
                    let was = match was {
                        State::Syncing | State::Removed => State::Stale,
                        // It holds what a person had said is wrong; or what the others had outvoted.
                        was if was.votes() && touched.contains(&row.id) && run.target.is_some() => State::Returning,
                        was if was.votes() && touched.contains(&row.id) => State::Suspect,
                        was => was,
                    };
                    let was = if was.votes() && !now.votes() { now } else { was };
                    if was != row.state {
                        record.set_state(row, was, &why, Some(session.run), session.at())?;
                    }
                }
                // What was found since, and remembered as repaired, isn't so any more: a new pass begins.
                record.forget_places(run.id)?;
                let pass = record.fact::<i64>("pass")?.unwrap_or(1);
                record.set_fact("pass", Some(&pass.saturating_add(1)))?;
                raise(record)
            })?;
            mark_reachable(session, &[])?;
        }
        let outcome = if code == 0 { format!("run {} was undone", run.id) } else { format!("run {} was not undone", run.id) };
        Ok((code, RunEnd { outcome, ..RunEnd::default() }))
    })
}

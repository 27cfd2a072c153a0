//! The journals of a set's repairs: where they lie, how long they are kept, and `quorum-img set undo`.

use std::{ffi::OsString, fs, path::PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Parser};

use super::{
    session::{PresentArgs, Session},
    texts,
};
use crate::{
    cli::{
        journal_file::open_journal,
        undo::{self as undo_command, UndoArgs},
    },
    repair::journal::State as JournalState,
    set::{RunEnd, State, raise},
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

    /// Put back the old bytes although a member isn't as the repair left it
    #[arg(long)]
    force_changed: bool,

    #[command(flatten)]
    present: PresentArgs,
}

/// The undo that it is, as a command line.
#[derive(Debug, Parser)]
struct UndoLine {
    #[command(flatten)]
    undo: UndoArgs,
}

/// The journal of a repair that was cut off, which is gone on with; else a new one.
pub(super) fn journal_of(session: &Session) -> Result<PathBuf> {
    let folder = session.place.folder();
    for run in session.record.runs_with_journals()? {
        let path = run.journal.as_ref().map(|name| folder.join(name)).filter(|path| path.exists());
        let Some(path) = path else { continue };
        // One that can't be read is told of by whoever goes on with it.
        let unfinished = open_journal(&path, false).is_ok_and(|journal| journal.state() == JournalState::Unfinished);
        if unfinished {
            return Ok(path);
        }
    }
    Ok(session.place.journal(session.run))
}

/// Forgets journals of repairs that are complete, as the policy says: beyond so many, so old, so large.
pub(super) fn prune(session: &Session) -> Result<()> {
    let (policy, folder) = (&session.policy, session.place.folder());
    let (mut kept, mut bytes) = (0usize, 0u64);
    for run in session.record.runs_with_journals()? {
        let Some(name) = &run.journal else { continue };
        let path = folder.join(name);
        let Ok(meta) = fs::metadata(&path) else {
            session.record.set_journal(run.id, None)?;
            continue;
        };
        let age = session.at().saturating_sub(run.begun).max(0) / 86400;
        kept += 1;
        bytes = bytes.saturating_add(meta.len());
        let over = kept > policy.keep_journals || age > i64::from(policy.keep_days) || bytes > policy.keep_bytes;
        let complete =
            || open_journal(&path, false).is_ok_and(|journal| matches!(journal.state(), JournalState::Complete | JournalState::Undone));
        // The one that was just made is kept in any case.
        if over && run.id != session.run && complete() {
            fs::remove_file(&path).with_context(|| crate::member::MemberName::from(path.as_path()).to_string())?;
            session.record.set_journal(run.id, None)?;
            kept -= 1;
            bytes -= meta.len();
        }
    }
    Ok(())
}

pub(super) fn undo(args: &SetUndoArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "undo", &args.present)?;
    session.through(|session| {
        let record = &session.record;
        let run = record.run(args.run)?.ok_or_else(|| {
            anyhow!("{}: there is no such run\nhint: quorum-img set history {} tells of them", args.run, session.place.name.quoted_word())
        })?;
        let journal = run.journal.as_ref().map(|name| session.place.folder().join(name)).filter(|path| path.exists());
        let journal = journal.ok_or_else(|| {
            anyhow!("run {}: there is no journal of it: it wrote nothing, or that isn't kept any more\nhint: quorum-img set history names those that are", args.run)
        })?;
        let mut words: Vec<OsString> = vec!["quorum-img".into()];
        words.extend(args.yes.then(|| OsString::from("--yes")));
        words.extend(args.force_changed.then(|| OsString::from("--force=changed")));
        words.extend([OsString::from("--"), journal.into_os_string()]);
        let UndoLine { undo } = UndoLine::try_parse_from(&words)?;
        let code = undo_command::run(&undo)?;
        if code == 0 {
            let rows = record.members()?;
            let changes = record.changes(Some(run.id))?;
            let why = format!("run {} was undone", run.id);
            record.in_one(|record| {
                for row in &rows {
                    // What the run first changed is what it was before.
                    let was = changes.iter().find(|change| change.member == row.id).and_then(|change| State::of_word(&change.was));
                    if let Some(was) = was.filter(|was| *was != row.state && *was != State::Removed) {
                        record.set_state(row, was, &why, Some(session.run), session.at())?;
                    }
                }
                raise(record)
            })?;
        }
        let outcome = if code == 0 { format!("run {} was undone", run.id) } else { format!("run {} was not undone", run.id) };
        Ok((code, RunEnd { outcome, ..RunEnd::default() }))
    })
}

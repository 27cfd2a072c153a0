//! `quorum-img set`: copies that belong together, with a record.

mod change;
mod check;
mod commands;
mod create;
mod export;
mod history;
mod journals;
mod marking;
mod members;
mod repair;
mod session;
mod settled;
mod status;
mod texts;
mod write_args;
mod writing;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Copies that belong together, with a record: marked, remembered, kept out until they are whole again, checked a part at a time
///
/// A set is a file NAME.qset, beside it a folder NAME.qset.d with its digest and the journals of its repairs. Its members carry a mark, where
/// their file system has room for one, so that another disk's copy, an older state or a copy of a copy isn't taken for one of them.
#[derive(Args, Debug)]
#[command(after_long_help = texts::OVERVIEW)]
pub(super) struct SetArgs {
    #[command(subcommand)]
    command: SetCommands,
}

#[derive(Debug, Subcommand)]
enum SetCommands {
    Create(create::CreateArgs),
    Status(status::StatusArgs),
    Check(Box<check::SetCheckArgs>),
    Repair(Box<repair::SetRepairArgs>),
    Resync(Box<repair::ResyncArgs>),
    Undo(journals::SetUndoArgs),
    Add(change::AddArgs),
    Remove(change::RemoveArgs),
    Replace(Box<repair::ReplaceArgs>),
    Mark(change::MarkArgs),
    Clear(change::ClearArgs),
    Policy(change::PolicyArgs),
    History(history::HistoryArgs),
    Export(export::ExportArgs),
}

pub(super) fn run(args: SetArgs) -> Result<u8> {
    match args.command {
        SetCommands::Create(args) => create::run(&args),
        SetCommands::Status(args) => status::run(&args),
        SetCommands::Check(args) => check::run(&args),
        SetCommands::Repair(args) => repair::run(&args),
        SetCommands::Resync(args) => repair::resync(&args),
        SetCommands::Undo(args) => journals::undo(&args),
        SetCommands::Add(args) => change::add(&args),
        SetCommands::Remove(args) => change::remove(&args),
        SetCommands::Replace(args) => repair::replace(&args),
        SetCommands::Mark(args) => change::mark(&args),
        SetCommands::Clear(args) => change::clear(&args),
        SetCommands::Policy(args) => change::policy(&args),
        SetCommands::History(args) => history::run(&args),
        SetCommands::Export(args) => export::run(&args),
    }
}

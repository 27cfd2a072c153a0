//! The command line: the only place that prints, reads the clock or the environment.

mod args;
mod ask;
mod check;
mod completions;
mod in_place;
mod in_place_said;
mod info;
mod journal_file;
mod journal_place;
mod new_image;
mod next;
mod options_line;
mod parse;
mod places;
mod present;
mod progress;
mod put_back;
mod repair;
mod repair_args;
mod report_file;
mod say;
mod signals;
mod texts;
mod undo;

use std::{
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
};

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use self::say::complain;
use crate::{
    electorate::{ElectorateError, LockError},
    member::escaped,
    repair::{RepairError, undo::UndoError},
    sys::open_files,
};

/// What everything that could not be done ends with.
const FAILED: u8 = 3;

/// Verify and rebuild replicated disk images by majority vote, offline
#[derive(Debug, Parser)]
#[command(name = "quorum-img", version, max_term_width = 100, after_help = texts::OVERVIEW, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    Check(check::CheckArgs),
    Repair(Box<repair_args::RepairArgs>),
    Undo(undo::UndoArgs),
    Info(info::InfoArgs),
    Completions(completions::CompletionsArgs),
}

/// The command line as clap knows it, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with these arguments, the first being its own name; returns its exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    panic::catch_unwind(AssertUnwindSafe(|| parse_and_run(args))).unwrap_or_else(|_| {
        complain("this is a bug in quorum-img; nothing was written after it. Please report it with the lines above");
        FAILED
    })
}

fn parse_and_run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let parse = |args: &[OsString]| command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap shows arguments as they are; one that holds control characters must not reach the terminal so.
            let harmless: Vec<OsString> = args.iter().map(|arg| escaped(&arg.to_string_lossy()).into()).collect();
            let error = if harmless == args { error } else { parse(&harmless).err().unwrap_or(error) };
            let _ = error.print(); // a closed pipe is nobody's trouble
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                _ => FAILED,
            };
        }
    };
    open_files::allow_many();
    signals::outlive_file_size_limit();
    let done = run_command(cli.command).and_then(|code| say::close_output().context("standard output").map(|()| code));
    done.unwrap_or_else(|error| {
        complain(&explained(&error));
        exit_code(&error)
    })
}

fn run_command(command: Commands) -> anyhow::Result<u8> {
    match command {
        Commands::Check(mut args) => {
            args.members.expand(Some(&mut args.vote))?;
            check::run(&args)
        }
        Commands::Repair(mut args) => {
            args.members.expand(Some(&mut args.vote))?;
            repair::run(&args)
        }
        Commands::Info(mut args) => {
            args.members.expand(None)?;
            info::run(&args)
        }
        Commands::Undo(args) => undo::run(&args),
        Commands::Completions(args) => completions::run(&args, &mut Cli::command()),
    }
}

/// Where a person has to decide, or another program to end first, that is no failure of this one.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<RepairError>() {
        return error.exit_code();
    }
    if let Some(error) = error.downcast_ref::<ElectorateError>() {
        return error.exit_code();
    }
    if let Some(error) = error.downcast_ref::<UndoError>() {
        return error.exit_code();
    }
    error.downcast_ref::<LockError>().map_or(FAILED, LockError::exit_code)
}

/// An error with its causes in one line, and the hints of all of them behind.
fn explained(error: &anyhow::Error) -> String {
    let (mut causes, mut hints) = (Vec::new(), String::new());
    for cause in error.chain() {
        let text = cause.to_string();
        let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        causes.push(what.to_owned());
        if !hint.is_empty() {
            hints = format!("{hints}\nhint: {hint}");
        }
    }
    causes.join(": ") + &hints
}

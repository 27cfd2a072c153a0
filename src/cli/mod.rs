//! The command line: the only place that prints, reads the clock or the environment.

mod args;
mod check;
mod completions;
mod descriptions;
mod in_place;
mod info;
mod journal_place;
mod next;
mod open;
mod present;
mod progress;
mod put_back;
mod repair;
mod texts;
mod undo;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    panic::{self, AssertUnwindSafe},
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use crate::{
    member::{LockError, NbdOpenError, escaped},
    repair::{RepairError, undo::UndoError},
    sys::{libnbd::NbdError, open_files},
};

/// What everything that could not be done ends with.
const FAILED: u8 = 3;
/// What everything ends with that could not begin, since another program uses a member.
const IN_USE: u8 = 4;
/// What everything ends with that a signal ended.
const INTERRUPTED: u8 = 130;

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
    Repair(Box<repair::RepairArgs>),
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
    run_command(cli.command).unwrap_or_else(|error| {
        complain(&explained(&error));
        exit_code(&error)
    })
}

fn run_command(command: Commands) -> anyhow::Result<u8> {
    match command {
        Commands::Check(mut args) => {
            descriptions::expand(&mut args.members, Some(&mut args.vote))?;
            check::run(&args)
        }
        Commands::Repair(mut args) => {
            descriptions::expand(&mut args.members, Some(&mut args.vote))?;
            repair::run(&args)
        }
        Commands::Info(mut args) => {
            descriptions::expand(&mut args.members, None)?;
            info::run(&args)
        }
        Commands::Undo(args) => undo::run(&args),
        Commands::Completions(args) => completions::run(&args),
    }
}

/// Where a person has to decide, or another program to end first, that is no failure of this one.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<RepairError>() {
        return error.exit_code();
    }
    if error.downcast_ref::<NbdOpenError>().is_some_and(|error| error.error == NbdError::Interrupted) {
        return INTERRUPTED;
    }
    if let Some(UndoError::Interrupted) = error.downcast_ref::<UndoError>() {
        return INTERRUPTED;
    }
    if let Some(UndoError::InUse { .. }) = error.downcast_ref::<UndoError>() {
        return IN_USE;
    }
    if let Some(LockError::InUse(_) | LockError::DeviceInUse { .. }) = error.downcast_ref::<LockError>() { IN_USE } else { FAILED }
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

/// Says on standard error what went wrong.
fn complain(text: &str) {
    let mut to = anstream::stderr().lock();
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let _ = writeln!(to, "{style}quorum-img:{style:#} {text}"); // where standard error is gone, nobody listens
}

/// Says on standard error what the user should know.
fn warn(text: &str) {
    let mut to = anstream::stderr().lock();
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    let _ = writeln!(to, "{style}warning:{style:#} {text}"); // as in `complain`
}

/// Standard output. Whoever closes the pipe has seen enough: that is no error.
struct Output {
    closed: bool,
}

impl Output {
    fn new() -> Self {
        Self { closed: false }
    }

    /// The same with styles where they are wanted.
    fn styled(self) -> anstream::AutoStream<Box<dyn Write>> {
        let choice = if io::stdout().is_terminal() { anstream::AutoStream::choice(&io::stdout()) } else { anstream::ColorChoice::Never };
        anstream::AutoStream::new(Box::new(self), choice)
    }

    fn heed(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.closed {
            let written = io::stdout().lock().write_all(bytes);
            self.heed(written)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = io::stdout().lock().flush();
        self.heed(flushed)
    }
}

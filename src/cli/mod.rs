//! The command line: the only place that prints, reads the clock or the environment.

mod args;
mod ask;
mod check;
mod completions;
mod digest;
mod digest_facts;
mod digest_target;
mod donors;
mod failure;
mod given;
mod hearing;
mod in_place;
mod in_place_said;
mod info;
mod journal_file;
mod journal_place;
mod leftovers;
mod lookout;
mod merge;
mod new_file;
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
mod report;
mod report_file;
mod say;
mod set;
mod shard;
mod show;
mod show_args;
mod signals;
mod sums;
mod texts;
mod undo;
mod unfinished;

use std::{
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use anyhow::Context as _;
use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::{
    failure::{FAILED, exit_code, explained},
    given::Given,
    say::complain,
};
use crate::{electorate::foreign_of_name, member::escaped, sys::open_files};

/// Verify and rebuild replicated disk images by majority vote, offline
#[derive(Debug, Parser)]
#[command(name = "quorum-img", version, max_term_width = 100, after_help = texts::OVERVIEW, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Commands,

    /// Colours: `auto` uses them on a terminal, unless the environment says otherwise (`NO_COLOR`, `CLICOLOR`)
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = say::Colours::Auto, help_heading = "Output")]
    color: say::Colours,
}

#[derive(Debug, Subcommand)]
enum Commands {
    Check(Box<check::CheckArgs>),
    Repair(Box<repair_args::RepairArgs>),
    Undo(undo::UndoArgs),
    Digest(Box<digest::DigestArgs>),
    Show(Box<show::PlaceArgs>),
    Report(report::ReportArgs),
    Info(info::InfoArgs),
    /// Sets of copies that belong together: marked, remembered, checked a part at a time
    Set(set::SetArgs),
    Completions(completions::CompletionsArgs),
}

impl Commands {
    /// How long a server is waited for.
    fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Check(args) => args.members.timeout,
            Self::Repair(args) => args.members.timeout,
            Self::Digest(args) => args.members.timeout,
            Self::Info(args) => args.members.timeout,
            Self::Show(args) => args.members.timeout,
            Self::Undo(args) => args.timeout,
            // A set's policy says it.
            Self::Completions(_) | Self::Report(_) | Self::Set(_) => None,
        }
    }
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

/// What a command line says.
fn parse(args: &[OsString]) -> Result<(Cli, Given), clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    Ok((Cli::from_arg_matches(&matches)?, Given::of(command(), &matches)))
}

fn parse_and_run(args: impl IntoIterator<Item = OsString>) -> u8 {
    say::begun();
    let args: Vec<OsString> = args.into_iter().collect();
    let (cli, given) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(error) => {
            // clap shows arguments as they are; one that holds control characters must not reach the terminal so.
            let harmless: Vec<OsString> = args.iter().map(|arg| escaped(&arg.to_string_lossy()).into()).collect();
            let error = if harmless == args { error } else { parse(&harmless).err().unwrap_or(error) };
            if error.kind() == ErrorKind::InvalidSubcommand {
                complain(&no_such_command(&error));
                return FAILED;
            }
            if let Some(complaint) = foreign_format(&error).or_else(|| no_goal(&error)) {
                complain(&complaint);
                return FAILED;
            }
            let _ = error.print(); // a closed pipe is nobody's trouble
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                _ => FAILED,
            };
        }
    };
    cli.color.settle();
    open_files::allow_many();
    signals::outlive_file_size_limit();
    let done = run_command(cli.command, given).and_then(|code| say::close_output().context("standard output").map(|()| code));
    done.unwrap_or_else(|error| {
        complain(&explained(&error));
        exit_code(&error)
    })
}

/// What is to be said of a format that `-f` doesn't know, and another program does.
fn foreign_format(error: &clap::Error) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let of_format = context(ContextKind::InvalidArg).is_some_and(|option| option.starts_with("--format"));
    let foreign = foreign_of_name(context(ContextKind::InvalidValue)?).filter(|_| of_format && error.kind() == ErrorKind::InvalidValue)?;
    Some(format!("--format {}: isn't read here\nhint: {}", foreign.name, foreign.way("FILE")))
}

/// What is to be said of a repair that doesn't say where to: qemu-img takes its output as the last word.
fn no_goal(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    let goal = error.kind() == ErrorKind::MissingRequiredArgument && missing.iter().any(|arg| arg.contains("--in-place"));
    goal.then(|| {
        "repair: where to isn't said\nhint: quorum-img repair -o NEW MEMBER MEMBER... makes a new image (the last name is no output, as qemu-img's \
         is); --in-place rewrites the members"
            .to_owned()
    })
}

/// What clap says of a command that there isn't, without a likeness of letters that leads nowhere.
fn no_such_command(error: &clap::Error) -> String {
    let given = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(given)) => escaped(given),
        _ => String::new(),
    };
    let meant = match given.as_str() {
        "compare" | "verify" | "scrub" | "diff" | "vote" => "check compares copies and writes nothing",
        "rebuild" | "fix" | "resync" | "heal" => "repair -o makes a new image, repair --in-place rewrites copies",
        "convert" | "dd" => "repair -o makes a new image of what several copies agree on; of one image alone qemu-img convert does",
        "hexdump" | "dump" | "look" => "show tells what each copy holds at a place",
        "map" => "info tells what an image is and check --picture always draws where copies differ; an image's extents are qemu-img map's",
        "rebase" | "commit" | "resize" | "snapshot" | "create" | "amend" | "measure" | "bitmap" | "bench" => "that is qemu-img's",
        "rollback" | "revert" | "restore" => "undo takes a repair in place back",
        _ => "check, show, repair, undo, info, report and completions are; quorum-img --help tells of them",
    };
    format!("{given}: there is no such command\nhint: {meant}")
}

fn run_command(command: Commands, given: Given) -> anyhow::Result<u8> {
    if !matches!(command, Commands::Set(_)) {
        lookout::start(command.timeout());
    }
    match command {
        Commands::Set(args) => set::run(args),
        Commands::Check(mut args) => {
            let done = args
                .members
                .expand(Some(&mut args.vote))
                .map(|()| args.members.sort_out())
                .and_then(|()| check::run(&args, &given.expanded(&args.vote)));
            done.inspect_err(|error| args.asked().leave_word(error))
        }
        Commands::Repair(mut args) => {
            let done = args
                .members
                .expand(Some(&mut args.vote))
                .map(|()| args.members.sort_out())
                .and_then(|()| repair::run(&args, &given.expanded(&args.vote)));
            done.inspect_err(|error| args.asked().leave_word(error))
        }
        Commands::Digest(mut args) => {
            args.members.expand(Some(&mut args.vote))?;
            args.members.sort_out();
            digest::run(&args)
        }
        Commands::Info(mut args) => {
            args.members.expand(None)?;
            info::run(&args)
        }
        Commands::Show(args) => {
            let mut args = args.sort();
            args.members.expand(Some(&mut args.vote))?;
            args.members.sort_out();
            args.members.refuse_digests_alone()?;
            let given = given.expanded(&args.vote);
            show::run(&args, &given)
        }
        Commands::Undo(args) => undo::run(&args),
        Commands::Report(args) => report::run(&args, Cli::command()),
        Commands::Completions(args) => completions::run(&args, &mut Cli::command()),
    }
}

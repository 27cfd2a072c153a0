//! What `quorum-img set repair`, `resync` and `replace` take, and the repair of members that it comes to.

use std::{ffi::OsString, path::Path};

use clap::{Args, Parser};

use super::session::{PresentArgs, Session};
use crate::{
    cli::{
        repair_args::{RepairArgs, Word},
        show_args::ShowArgs,
    },
    set::MemberRow,
};

/// What every way of writing to a set's members takes.
#[derive(Args, Debug)]
pub(super) struct WriteArgs {
    /// Show the plan and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Ask nothing before the first write
    #[arg(short, long)]
    pub(super) yes: bool,

    /// Cut raw members that are longer than the voted size
    #[arg(long)]
    pub(super) truncate: bool,

    /// Override a refusal by its name, as the refusal's message says
    #[arg(long, value_enum, value_name = "WORD", value_delimiter = ',')]
    pub(super) force: Vec<Word>,

    /// Nobody wrote to the members since they were hashed, though that can't be told (after a power cut, on devices): the set's digest has a word
    #[arg(long)]
    pub(super) assume_unwritten: bool,

    /// Threads [default: as many as cores]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(super) threads: Option<u64>,

    #[command(flatten)]
    pub(super) show: ShowArgs,
    #[command(flatten)]
    pub(super) present: PresentArgs,
}

/// The repair that it is, as a command line.
#[derive(Debug, Parser)]
pub(super) struct RepairLine {
    #[command(flatten)]
    pub(super) repair: RepairArgs,
}

/// The repair of members that it is, as a command line.
pub(super) fn command_line(
    session: &Session,
    args: &WriteArgs,
    rows: &[MemberRow],
    target: Option<usize>,
    trusted: Option<usize>,
    journal: &Path,
    more: Vec<OsString>,
) -> Vec<OsString> {
    let policy = &session.policy;
    let mut words: Vec<OsString> = ["quorum-img", "--in-place", "--missing-ok", "--format=raw"].map(OsString::from).to_vec();
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    if let Some(threshold) = policy.threshold {
        option("--threshold", threshold.to_string().into());
    }
    option("--sector-size", policy.sector.to_string().into());
    option("--max-damage", policy.max_damage.to_string().into());
    option("--cache", if policy.direct { "none" } else { "writeback" }.into());
    option("--journal", journal.into());
    if let Some(threads) = args.threads {
        option("--threads", threads.to_string().into());
    }
    if let Some(trusted) = trusted {
        option("--trust", format!("#{trusted}").into());
    }
    for (index, row) in rows.iter().enumerate() {
        let written = target.map_or_else(|| row.state.votes(), |target| target == index);
        if !written && trusted != Some(index) {
            option("--no-write", format!("#{index}").into());
        }
    }
    words.extend(args.dry_run.then(|| OsString::from("--dry-run")));
    words.extend(args.yes.then(|| OsString::from("--yes")));
    words.extend(args.truncate.then(|| OsString::from("--truncate")));
    words.extend(more);
    words.push("--".into());
    words.extend(rows.iter().map(|row| row.plain().to_owned()));
    words
}

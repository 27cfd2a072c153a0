//! `quorum-img set history`: what was done to a set, and what it made of its members.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use clap::Args;

use super::texts;
use crate::{
    cli::{info::InfoFormat, say::Output},
    member::MemberName,
    report::{self, SetChange, SetPlace, SetRun, render_history},
    set::{MemberRow, Place, Record, RunRow, shown_run},
};

/// Tell what was done to a set, and what it made of its members
#[derive(Args, Debug)]
#[command(after_long_help = texts::HISTORY)]
pub(super) struct HistoryArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,

    /// So many runs, the latest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    runs: usize,

    /// Where members dissented, too
    #[arg(long)]
    places: bool,

    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = InfoFormat::Human)]
    format: InfoFormat,
}

pub(super) fn run(args: &HistoryArgs) -> Result<u8> {
    let place = Place::of(&args.set)?;
    let record = Record::look(&place)?;
    let members = record.all_members()?;
    let mut runs = record.runs(args.runs)?;
    runs.reverse();
    let told = runs.iter().map(|run| told(&place, &record, &members, run, args.places)).collect::<Result<Vec<SetRun>>>()?;
    match args.format {
        InfoFormat::Json => report::write(&told, Output::new())?,
        InfoFormat::Human => {
            let mut to = io::BufWriter::new(Output::new().styled());
            render_history(&told, &mut to)?;
            to.flush()?;
        }
    }
    Ok(0)
}

fn told(place: &Place, record: &Record, members: &[MemberRow], run: &RunRow, places: bool) -> Result<SetRun> {
    let name = |id: i64| members.iter().find(|member| member.id == id).map_or_else(String::new, |member| member.shown().to_string());
    let changes = record.changes(Some(run.id))?.into_iter().map(|change| SetChange {
        member: name(change.member),
        was: change.was,
        became: change.became,
        why: change.why,
    });
    let there = if places { record.places_of(run.id, usize::MAX)? } else { Vec::new() };
    let there = there.into_iter().map(|there| SetPlace {
        offset: there.start,
        length: there.length,
        kind: there.kind,
        member: there.member.map(name),
    });
    let journal = run.journal.as_ref().and_then(|journal| place.journal_named(journal)).filter(|path| path.exists());
    Ok(SetRun {
        changes: changes.collect(),
        places: there.collect(),
        journal: journal.map(|path| MemberName::from(path.as_path()).to_string()),
        ..shown_run(run)
    })
}

//! `quorum-img set status`: what sets are, in one screen each.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::{settled::code_of as code_of_check, texts};
use crate::{
    cli::{info::InfoFormat, say::Output},
    member::MemberName,
    report::{self, SetStatus, render_status},
    set::{SUFFIX, status_of},
};

/// Tell what sets are: their state, what that means, what to do
///
/// Reads while a run works. Exit code 0 where all is well, 1 where something is to be done, 2 where a person must decide, 3 where a set can't be
/// read.
#[derive(Args, Debug)]
#[command(after_long_help = texts::STATUS)]
pub(super) struct StatusArgs {
    /// Sets, or folders of them [default: this folder]
    #[arg(value_name = "SET|FOLDER")]
    sets: Vec<PathBuf>,

    /// Only those that are unwell
    #[arg(short = 'x', long)]
    unwell: bool,

    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = InfoFormat::Human)]
    format: InfoFormat,
}

pub(super) fn run(args: &StatusArgs) -> Result<u8> {
    let mut all = Vec::new();
    let given = if args.sets.is_empty() { vec![PathBuf::from(".")] } else { args.sets.clone() };
    for path in given {
        if path.is_dir() {
            all.extend(sets_in(&path).with_context(|| MemberName::from(path.as_path()).to_string())?);
        } else {
            all.push(path);
        }
    }
    let statuses: Vec<SetStatus> = all.iter().map(|path| status_of(path)).filter(|status| !args.unwell || !status.is_well()).collect();
    let code = statuses.iter().map(|status| code_of(status.state)).max_by_key(|code| order(*code)).unwrap_or(0);
    match args.format {
        InfoFormat::Json => report::write(&statuses, Output::new())?,
        InfoFormat::Human => {
            let mut to = io::BufWriter::new(Output::new().styled());
            for (place, status) in statuses.iter().enumerate() {
                if place > 0 {
                    writeln!(to)?;
                }
                render_status(status, &mut to)?;
            }
            if statuses.is_empty() {
                let what = if all.is_empty() { "there is no set here" } else { "all sets are well" };
                writeln!(to, "{what}")?;
            }
            to.flush()?;
        }
    }
    Ok(code)
}

/// Of many sets the first of 2, 1, 3, 4, 0 that occurs.
fn order(code: u8) -> u8 {
    match code {
        2 => 4,
        1 => 3,
        3 => 2,
        4 => 1,
        _ => 0,
    }
}

fn code_of(state: &str) -> u8 {
    match state {
        "unchecked" => 1,
        "unreadable" => 3,
        state => code_of_check(state),
    }
}

/// The sets that lie in a folder, by name.
fn sets_in(folder: &std::path::Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

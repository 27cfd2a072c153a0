//! `quorum-img set status`: what sets are, in one screen each.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::texts;
use crate::{
    cli::{failure::explained, info::InfoFormat, say::Output},
    report::{self, SetRun, SetStatus, StatusMember, render_status, rfc3339_of},
    scan::majority,
    set::{MemberRow, Place, Record, RunRow, SUFFIX, SetError, State},
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
            all.extend(sets_in(&path).with_context(|| crate::member::MemberName::from(path.as_path()).to_string())?);
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
        "ok" => 0,
        "unchecked" | "suspect" | "degraded" => 1,
        "unreadable" => 3,
        _ => 2,
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

fn status_of(path: &std::path::Path) -> SetStatus {
    looked(path).unwrap_or_else(|error| {
        let error = explained(&error.into());
        let (what, way) = error.split_once("\nhint: ").unwrap_or((&error, ""));
        SetStatus {
            name: crate::member::MemberName::from(path).to_string(),
            state: "unreadable",
            meaning: what.to_owned(),
            action: way.to_owned(),
            ..SetStatus::default()
        }
    })
}

fn looked(path: &std::path::Path) -> Result<SetStatus, SetError> {
    let place = Place::of(path)?;
    let record = Record::look(&place)?;
    let (rows, parts, policy) = (record.members()?, record.parts()?, record.policy()?);
    let size = record.fact::<i64>("size")?.map(i64::cast_unsigned);
    let pass = record.fact::<i64>("pass")?.unwrap_or(1);
    let count = size.map_or(0, |size| size.div_ceil(policy.part_bytes_of(size)));
    let state = state(&record)?;
    let quoted = place.name.quoted_word();
    let (meaning, action) = told(&record, &rows, state, &quoted)?;
    Ok(SetStatus {
        name: place.name.to_string(),
        uuid: record.uuid.to_string(),
        state,
        meaning,
        action,
        size,
        epoch: record.epoch()?,
        threshold: threshold(&record, &rows)? as u64,
        parts: count,
        parts_done: parts.iter().filter(|part| part.pass == pass).count() as u64,
        parts_hashed: parts.iter().filter(|part| part.digest.is_some()).count() as u64,
        undecided_sectors: parts.iter().map(|part| part.undecided).sum(),
        running: place.is_taken(),
        members: rows.iter().enumerate().map(|(index, row)| member(index, row)).collect(),
        last_completed: record.last_completed()?.map(|run| shown(&run)),
        last_run: record.runs(1)?.first().map(shown),
    })
}

fn threshold(record: &Record, rows: &[MemberRow]) -> Result<usize, SetError> {
    Ok(record.policy()?.threshold.unwrap_or_else(|| majority(rows.len()).max(2)))
}

/// What a set is in.
pub(super) fn state(record: &Record) -> Result<&'static str, SetError> {
    let rows = record.members()?;
    let votes = rows.iter().filter(|row| row.state.votes()).count();
    let undecided = record.undecided()? > 0;
    let is = |state: State| rows.iter().any(|row| row.state == state);
    Ok(if record.fact::<String>("disputed")?.is_some() {
        "disputed"
    } else if votes < threshold(record, &rows)? {
        "inquorate"
    } else if undecided {
        "undecided"
    } else if [State::Returning, State::Stale, State::Syncing, State::Failed].into_iter().any(is) {
        "degraded"
    } else if is(State::Suspect) {
        "suspect"
    } else if record.fact::<i64>("completed")?.is_none() {
        "unchecked"
    } else {
        "ok"
    })
}

/// What that means, and what to do.
fn told(record: &Record, rows: &[MemberRow], state: &str, set: &str) -> Result<(String, String), SetError> {
    let find = |state: State| rows.iter().position(|row| row.state == state);
    let text = |meaning: &str, action: String| (meaning.to_owned(), action);
    Ok(match state {
        "disputed" => {
            let why = record.fact::<String>("disputed")?.unwrap_or_default();
            let why = crate::member::escaped(&why);
            (
                format!("the vote itself may be wrong ({why}): nobody's state changes until a person decides"),
                format!(
                    "find out who is right; then quorum-img set resync {set} MEMBER --trust MEMBER, or quorum-img set repair {set} --force WORD; \
                     quorum-img set clear {set} says that it is settled"
                ),
            )
        }
        "inquorate" => text(
            "fewer members vote than a version needs, so nothing that differs can be decided",
            match find(State::Stale).or_else(|| find(State::Syncing)) {
                Some(index) => {
                    format!("quorum-img set resync {set} '#{index}' --trust MEMBER copies who is right; quorum-img set check {set}")
                }
                None => format!("bring members back, and quorum-img set check {set}"),
            },
        ),
        "undecided" => text(
            "there are places that no version won",
            format!(
                "quorum-img set check {set} --restart, and look at what it shows; a person decides with quorum-img repair --in-place --pick"
            ),
        ),
        "degraded" => match (find(State::Stale).or_else(|| find(State::Syncing)), find(State::Failed)) {
            (Some(index), _) => {
                text("a member is stale: it is compared, and has no vote", format!("quorum-img set resync {set} '#{index}'"))
            }
            (None, Some(index)) => {
                text("a member can't be read as what it is", format!("mend it, or quorum-img set replace {set} '#{index}' NEW"))
            }
            _ => text(
                "a member was away: it is compared, and votes again after a complete check without a difference",
                format!("bring it back, and quorum-img set check {set}"),
            ),
        },
        "suspect" => text("a member dissents; the others decide", format!("quorum-img set repair {set}")),
        "unchecked" => text("all of the image was never checked", format!("quorum-img set check {set}")),
        _ => text("all members agreed when they were checked last", String::new()),
    })
}

fn member(index: usize, row: &MemberRow) -> StatusMember {
    StatusMember {
        index,
        name: row.shown().to_string(),
        uuid: row.uuid.to_string(),
        state: row.state.word(),
        since: time(row.since),
        why: row.why.clone(),
        dissenting_sectors: row.counters.dissenting,
        unreadable_sectors: row.counters.unreadable,
        silent_sectors: row.counters.silent,
        repaired_sectors: row.counters.repaired,
        unmarked: row.unmarked.clone(),
    }
}

/// A time as reports have it.
pub(super) fn time(seconds: i64) -> String {
    rfc3339_of((seconds, 0)).unwrap_or_else(|| seconds.to_string())
}

/// A run as reports have it.
pub(super) fn shown(run: &RunRow) -> SetRun {
    SetRun {
        run: run.id,
        kind: run.kind.clone(),
        begun: time(run.begun),
        ended: run.ended.map(time),
        duration: run.ended.map(|ended| (ended - run.begun).max(0).cast_unsigned()),
        exit_code: run.exit_code,
        outcome: run.outcome.clone(),
        looked_bytes: run.looked,
        decided_sectors: run.decided,
        undecided_sectors: run.undecided,
        written_bytes: run.written,
        completed: run.completed,
        ..SetRun::default()
    }
}

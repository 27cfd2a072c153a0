//! `quorum-img set repair`, `resync` and `replace`: what writes to a set's members.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{
    change::add_member,
    marking::{mark_reachable, retire, unmark},
    session::Session,
    texts,
    write_args::WriteArgs,
    writing::{too_few_way, write},
};
use crate::{
    cli::{args::Format, parse::parse_pick},
    set::{self, MemberRow, RunEnd, SetError, State},
    vote::ByteRange,
};

/// Rewrite what is outvoted in members that vote
///
/// As `quorum-img repair --in-place`, with the set's states and its digest in the vote, and a journal in the set's folder. Members that have no vote
/// (away, stale) aren't written to: `set resync` makes those whole.
#[derive(Args, Debug)]
#[command(after_long_help = texts::REPAIR)]
pub(super) struct SetRepairArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,

    /// That member (a name, or `#N`) is right in that range; may be repeated
    #[arg(long, value_name = "OFFSET:LENGTH=MEMBER", value_parser = parse_pick)]
    pick: Vec<(ByteRange, OsString)>,

    /// That member (a name, or `#N`) votes, but isn't rewritten; may be repeated
    #[arg(long, value_name = "MEMBER")]
    no_write: Vec<OsString>,

    #[command(flatten)]
    write: WriteArgs,
}

/// Make a member that has no vote like the others
///
/// It gets what those who vote agree on, wherever it differs, however much that is: naming it is the word for that. Where too few vote, `--trust`
/// says who is right.
#[derive(Args, Debug)]
#[command(after_long_help = texts::RESYNC)]
pub(super) struct ResyncArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,

    /// The member
    #[arg(value_name = "MEMBER")]
    member: OsString,

    /// No vote: this member is right, its size too
    #[arg(long, value_name = "MEMBER")]
    trust: Option<OsString>,

    #[command(flatten)]
    write: WriteArgs,
}

/// Put another copy in a member's place, and make it like the others
#[derive(Args, Debug)]
#[command(after_long_help = texts::REPLACE)]
pub(super) struct ReplaceArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,

    /// The member that goes
    #[arg(value_name = "OLD")]
    old: OsString,

    /// The copy that comes: a file or device that is there, be it empty
    #[arg(value_name = "NEW")]
    new: OsString,

    /// Format of the new one
    #[arg(short, long, value_enum, default_value_t = Format::Auto)]
    format: Format,

    /// No vote: this member is right, its size too
    #[arg(long, value_name = "MEMBER")]
    trust: Option<OsString>,

    #[command(flatten)]
    write: WriteArgs,
}

pub(super) fn run(args: &SetRepairArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "repair", &args.write.present)?;
    session.through(|session| {
        let rows = session.record.members()?;
        let mut picks = Vec::new();
        for (range, name) in &args.pick {
            let index = session.find(&rows, name)?;
            picks.extend(["--pick".into(), format!("{:#x}:{}=#{index}", range.start, range.length()).into()]);
        }
        for name in &args.no_write {
            picks.extend(["--no-write".into(), format!("#{}", session.find(&rows, name)?).into()]);
        }
        write(session, &args.write, &rows, None, None, picks)
    })
}

pub(super) fn resync(args: &ResyncArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "resync", &args.write.present)?;
    session.through(|session| {
        let rows = session.record.members()?;
        let index = session.find(&rows, &args.member)?;
        resync_one(session, &args.write, &rows, index, args.trust.as_ref())
    })
}

fn resync_one(session: &Session, args: &WriteArgs, rows: &[MemberRow], index: usize, trust: Option<&OsString>) -> Result<(u8, RunEnd)> {
    let trusted = trust.map(|name| session.find(rows, name)).transpose()?;
    ensure!(trusted != Some(index), "{}: can't be made like itself\nhint: --trust names another member", rows[index].shown());
    write(session, args, rows, Some(index), trusted, Vec::new())
}

pub(super) fn replace(args: &ReplaceArgs) -> Result<u8> {
    ensure!(
        !args.write.dry_run,
        "--dry-run: there is no plan before the new one is a member\nhint: quorum-img set add, and set resync --dry-run"
    );
    let session = Session::begin(&args.set, "replace", &args.write.present)?;
    session.through(|session| {
        let rows = session.record.members()?;
        let old = session.find(&rows, &args.old)?;
        if let Some(trusted) = &args.trust {
            ensure!(session.find(&rows, trusted)? != old, "--trust: {} is the one that goes\nhint: name another", rows[old].shown());
        }
        // Nobody leaves before it is known that the new one can be filled.
        let votes = rows.iter().enumerate().filter(|(index, row)| *index != old && row.state.votes()).count();
        let needed = session.needed(rows.len());
        if args.trust.is_none() && votes < needed {
            return Err(SetError::TooFew { votes, needed, way: too_few_way(session, &rows, Some(old)) }.into());
        }
        let why = format!("it takes the place of {}", rows[old].shown());
        let new = add_member(session, &args.new, args.format, State::Syncing, &why)?;
        let (record, left) = (&session.record, &rows[old]);
        // It isn't counted any more, and carries its mark until the new one is filled: where that is refused it stays.
        retire(session, left, &format!("{} took its place", new.shown()))?;
        let rows = record.members()?;
        let index = rows.iter().position(|row| row.id == new.id).context("the new member isn't in the record")?;
        let filled = resync_one(session, &args.write, &rows, index, args.trust.as_ref());
        let began = record.run(session.run)?.is_some_and(|run| run.journal.is_some());
        // It may have been alike already, where others aren't.
        let votes = record.members()?.iter().any(|row| row.id == new.id && row.state.votes());
        if began || votes {
            unmark(session, left)?;
        } else {
            put_back(session, left, &new)?;
        }
        mark_reachable(session, &[])?;
        filled
    })
}

/// A replacement that wrote nothing is none: who was to go is what it was, and who was to come isn't a member.
fn put_back(session: &Session, left: &MemberRow, new: &MemberRow) -> Result<()> {
    let (record, why) = (&session.record, "its replacement came to nothing");
    record.in_one(|record| {
        for row in record.all_members()? {
            if row.id == left.id {
                record.set_state(&row, left.state, why, Some(session.run), session.at())?;
            } else if row.id == new.id {
                record.set_state(&row, State::Removed, "it was refused as a replacement", Some(session.run), session.at())?;
            }
        }
        set::raise(record)
    })?;
    unmark(session, new)
}

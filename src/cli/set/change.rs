//! What a person changes of a set: members come and go, are marked anew, are cleared; and its policy.

use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::{
    create::{file_id, new_uuid, remembered, set_keys, stated},
    marking::{mark_of, mark_reachable, retire, unmark},
    members::seat,
    session::{PresentArgs, Session},
    texts,
};
use crate::{
    cli::{
        args::Format,
        ask::ask,
        say::{Output, warn},
        signals::stop_flag,
    },
    electorate::{self, Access, ElectorateError, Locks, Roll, open_single, open_voters},
    evidence::ATTRIBUTE,
    scan::majority,
    set::{self, KEYS, MemberRow, NewMember, Place, Record, RunEnd, State},
    vote::{MEMBERS_MAX, MEMBERS_MIN},
};

/// Add a copy to a set: it is compared, and votes once a complete check has found no difference
#[derive(Args, Debug)]
#[command(after_long_help = texts::ADD)]
pub(super) struct AddArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,
    /// The copy
    #[arg(value_name = "MEMBER")]
    member: OsString,
    /// Its format
    #[arg(short, long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    #[command(flatten)]
    present: PresentArgs,
}

pub(super) fn add(args: &AddArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "add", &args.present)?;
    session.through(|session| {
        let row = add_member(session, &args.member, args.format, State::Returning, "it was added, and has to prove itself")?;
        let outcome = format!("{} was added", row.shown());
        done(&outcome, &format!("quorum-img set check {}", session.place.name.quoted_word()))?;
        Ok((0, RunEnd { outcome, ..RunEnd::default() }))
    })
}

/// Remembers a new member, and marks it.
pub(super) fn add_member(session: &Session, name: &OsString, format: Format, state: State, why: &str) -> Result<MemberRow> {
    let record = &session.record;
    let rows = record.members()?;
    ensure!(rows.len() < MEMBERS_MAX, "a set has {MEMBERS_MAX} members at most\nhint: remove one first");
    // By itself first: what it is has to be plain, as of a member of a new set.
    let own = [name.clone()];
    let roll = Roll { format: stated(format), missing_ok: false, of_set: false, ..session.roll(&own) };
    let name = match open_voters(&roll, &Access::Read(Locks::Taken)) {
        Ok(alone) => remembered(name, alone.listed()[0])?,
        // An empty file is going to be filled.
        Err(ElectorateError::AllEmpty { .. }) => {
            remembered(name, &*open_single(&Roll { format: Some(electorate::Format::Raw), ..roll }, name)?.member)?
        }
        Err(error) => return Err(error.into()),
    };
    // All of them are opened together, so that one storage isn't two members.
    let names: Vec<OsString> = rows.iter().map(|row| row.plain().to_owned()).chain([name.clone()]).collect();
    let voters = open_voters(&session.roll(&names), &Access::Look(Locks::Taken))?;
    let listed = voters.listed();
    let Some(member) = listed.last() else { bail!("nothing was opened") };
    if let Some(why) = member.failure() {
        bail!("{}: {why}\nhint: a new member has to be readable", member.name());
    }
    if let Some(mark) = mark_of(*member)? {
        let whose = if mark.set == record.uuid { "this set".to_owned() } else { format!("another set ({})", mark.set) };
        bail!(
            "{}: carries a mark of {whose}\nhint: if it was copied with a member, setfattr -x {ATTRIBUTE} FILE takes it away",
            member.name()
        );
    }
    // Whoever isn't who the record says isn't marked, nor joined.
    let roster = seat(session, &rows, &listed[..rows.len()], 0)?;
    let at = session.at();
    let new = NewMember { uuid: new_uuid()?, name, state, why: why.to_owned(), epoch: None, unmarked: None, file: file_id(*member) };
    let id = record.in_one(|record| {
        let id = record.add_member(&new, at)?;
        set::raise(record)?;
        Ok(id)
    })?;
    let row = record.members()?.into_iter().find(|row| row.id == id);
    let Some(row) = row else { bail!("the new member isn't in the record") };
    told(&row, set::mark(record, &row, *member, set::UNPROVEN)?);
    set::mark_all(record, &roster, &listed[..rows.len()])?.iter().for_each(|text| warn(text));
    Ok(row)
}

fn told(row: &MemberRow, unmarked: Option<String>) {
    if let Some(why) = unmarked {
        warn(&format!("{}: isn't marked: {why}", row.shown()));
    }
}

/// Take a member out of a set: it isn't counted any more, and its mark is taken away
#[derive(Args, Debug)]
#[command(after_long_help = texts::REMOVE)]
pub(super) struct RemoveArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,
    /// The member
    #[arg(value_name = "MEMBER")]
    member: OsString,
    #[command(flatten)]
    present: PresentArgs,
}

pub(super) fn remove(args: &RemoveArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "remove", &args.present)?;
    session.through(|session| {
        let rows = session.record.members()?;
        let index = session.find(&rows, &args.member)?;
        ensure!(
            rows.len() > MEMBERS_MIN,
            "a set has {MEMBERS_MIN} members at least\nhint: add another one first, or quorum-img set replace {} OLD NEW",
            session.place.name.quoted_word()
        );
        if let Some(threshold) = session.policy.threshold.filter(|&threshold| threshold > rows.len() - 1) {
            bail!(
                "the policy wants {threshold} ballots, and {} members would be left\nhint: quorum-img set policy {} threshold=majority first",
                rows.len() - 1,
                session.quoted()
            );
        }
        let votes = rows.iter().enumerate().filter(|(other, row)| *other != index && row.state.votes()).count();
        ensure!(
            votes > 0,
            "{}: is the only member that votes\nhint: bring others back first: quorum-img set status {}",
            rows[index].shown(),
            session.place.name.quoted_word()
        );
        // The others are marked anew, where they can be reached; else at the next run.
        retire(session, &rows[index], "it was removed")?;
        unmark(session, &rows[index])?;
        mark_reachable(session, &[])?;
        let outcome =
            format!("{} was removed; {} members are left, {} decide", rows[index].shown(), rows.len() - 1, majority(rows.len() - 1).max(2));
        done(&outcome, "")?;
        Ok((0, RunEnd { outcome, ..RunEnd::default() }))
    })
}

/// Say that a file is that member: its mark is written anew, and it votes once a complete check has found no difference
#[derive(Args, Debug)]
#[command(after_long_help = texts::MARK)]
pub(super) struct MarkArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,
    /// The member
    #[arg(value_name = "MEMBER")]
    member: OsString,
    #[command(flatten)]
    present: PresentArgs,
}

pub(super) fn mark(args: &MarkArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "mark", &args.present)?;
    session.through(|session| {
        let record = &session.record;
        let rows = record.members()?;
        let index = session.find(&rows, &args.member)?;
        let row = &rows[index];
        let single = session.open(row)?;
        if let Some(other) = mark_of(&*single.member)?.filter(|mark| mark.set != record.uuid) {
            bail!(
                "{}: belongs to another set ({})\nhint: if that is no more, setfattr -x {ATTRIBUTE} FILE takes its mark away first",
                row.shown(),
                other.set
            );
        }
        // What it holds is to be proven, whoever it is: half of a resync stays half of one.
        let state = if row.state == State::Syncing { State::Syncing } else { State::Returning };
        record.in_one(|record| {
            if row.state != state {
                record.set_state(
                    row,
                    state,
                    "a person says that it is this member; it has to prove itself",
                    Some(session.run),
                    session.at(),
                )?;
                set::raise(record)?;
            }
            Ok(())
        })?;
        told(row, set::mark(record, row, &*single.member, set::UNPROVEN)?);
        record.in_one(|record| record.counts_no_more(row.id))?;
        mark_reachable(session, &[])?;
        let outcome = format!("{} was marked", row.shown());
        done(&outcome, &format!("quorum-img set check {}", session.place.name.quoted_word()))?;
        Ok((0, RunEnd { outcome, ..RunEnd::default() }))
    })
}

/// Forget what was counted, and that a set is disputed; of a member named: let it vote again
#[derive(Args, Debug)]
#[command(after_long_help = texts::CLEAR)]
pub(super) struct ClearArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,
    /// Members that are to vote again, whatever they are now
    #[arg(value_name = "MEMBER")]
    members: Vec<OsString>,
    /// Forget what the set's digest knows, too: where it contradicts what all members hold, and they are right
    #[arg(long)]
    digest: bool,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    present: PresentArgs,
}

pub(super) fn clear(args: &ClearArgs) -> Result<u8> {
    let session = Session::begin(&args.set, "clear", &args.present)?;
    session.through(|session| {
        let record = &session.record;
        let rows = record.members()?;
        let chosen = args.members.iter().map(|name| session.find(&rows, name)).collect::<Result<Vec<usize>>>()?;
        let back: Vec<&MemberRow> = chosen.iter().map(|&index| &rows[index]).filter(|row| !row.state.votes()).collect();
        if !back.is_empty() && !args.yes && std::io::stdin().is_terminal() {
            let names: Vec<String> = back.iter().map(|row| format!("{} ({})", row.shown(), row.state)).collect();
            let stop = stop_flag()?;
            let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
            if !ask(&format!("Let {} vote again, unproven? [y/N] ", names.join(", ")), &stopped) {
                return Ok((1, RunEnd { outcome: "nothing was cleared".to_owned(), ..RunEnd::default() }));
            }
        }
        record.in_one(|record| {
            for (index, row) in rows.iter().enumerate() {
                if chosen.is_empty() || chosen.contains(&index) {
                    record.clear_counters(row.id)?;
                }
            }
            for row in &back {
                record.set_state(row, State::Suspect, "a person lets it vote again", Some(session.run), session.at())?;
            }
            if chosen.is_empty() {
                record.set_fact::<String>("disputed", None)?;
                record.set_fact::<String>("too-few", None)?;
            }
            if args.digest {
                record.set_fact::<i64>("contradicted", None)?;
                record.parts()?.iter().try_for_each(|part| record.forget_digest(part.number))?;
            }
            if back.is_empty() { Ok(()) } else { set::raise(record) }
        })?;
        let forgiven: Vec<i64> = chosen.iter().map(|&index| rows[index].id).collect();
        mark_reachable(session, &forgiven)?;
        set::tidy(&session.place, &record.parts()?);
        let mut outcome = if chosen.is_empty() {
            "cleared".to_owned()
        } else {
            format!("cleared of {}", crate::report::counted(chosen.len() as u64, "member"))
        };
        if args.digest {
            outcome += ", and the set's digest was forgotten";
        }
        done(&outcome, "")?;
        Ok((0, RunEnd { outcome, ..RunEnd::default() }))
    })
}

/// Show how a set is checked and repaired, or change it
#[derive(Args, Debug)]
#[command(after_long_help = texts::POLICY)]
pub(super) struct PolicyArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,
    /// What to change
    #[arg(value_name = "KEY=VALUE")]
    keys: Vec<String>,
    #[command(flatten)]
    present: PresentArgs,
}

pub(super) fn policy(args: &PolicyArgs) -> Result<u8> {
    if args.keys.is_empty() {
        let policy = Record::look(&Place::of(&args.set)?)?.policy()?;
        let mut to = Output::new();
        for (key, what) in KEYS {
            writeln!(to, "{key}={}", crate::member::escaped(&policy.get(key).unwrap_or_default()))?;
            writeln!(to, "    {what}")?;
        }
        return Ok(0);
    }
    let session = Session::begin(&args.set, "policy", &args.present)?;
    session.through(|session| {
        let mut policy = session.policy.clone();
        set_keys(&mut policy, &args.keys)?;
        let count = session.record.members()?.len();
        if let Some(threshold) = policy.threshold {
            ensure!(
                threshold <= count,
                "policy: a threshold of {threshold} makes no sense for {count} members\nhint: at most as many as there are"
            );
        }
        session.record.in_one(|record| record.set_policy(&policy))?;
        let outcome = args.keys.join(", ");
        done(&format!("policy: {}", crate::member::escaped(&outcome)), "")?;
        Ok((0, RunEnd { outcome, ..RunEnd::default() }))
    })
}

/// Says what was done, and what leads on.
fn done(what: &str, next: &str) -> Result<()> {
    let mut to = Output::new();
    writeln!(to, "{what}")?;
    if !next.is_empty() {
        writeln!(to, "next: {next}")?;
    }
    Ok(())
}

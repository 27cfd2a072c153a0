//! `quorum-img set create`: members become a set.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;

use super::{
    check::{self, SetCheckArgs},
    export::{Exported, read_export},
    marking::mark_of,
    session::{PresentArgs, Session},
    texts,
};
use crate::{
    cli::{
        args::{Format, LockArgs},
        present::Presenter,
        say::warn,
        show_args::ShowArgs,
        signals::stop_flag,
    },
    electorate::{self, Access, Given, Roll, Voters, open_voters},
    evidence::{ATTRIBUTE, EPOCH_MAX, Mark, Uuid},
    member::{Member, MemberName, escaped},
    set::{KEYS, NewMember, Place, Policy, RunEnd, State, mark},
    sys::{attributes::FileId, random::random_bytes},
    vote::MEMBERS_MIN,
};

/// Make a set of members: mark them, and check them for the first time
#[derive(Args, Debug)]
#[command(after_long_help = texts::CREATE)]
pub(super) struct CreateArgs {
    /// The set to make: NAME.qset, on a disk of this machine
    #[arg(value_name = "NAME.qset")]
    set: PathBuf,

    /// Its members, as `check` takes them
    #[arg(value_name = "MEMBER", required_unless_present = "import")]
    members: Vec<OsString>,

    /// The members are known to be alike: no first check
    #[arg(long)]
    assume_clean: bool,

    /// Make it anew of members that carry the marks of a set whose record is lost: those of the highest epoch vote
    #[arg(long, conflicts_with = "import")]
    adopt: bool,

    /// Make it of what `set export` printed; its members are those that it names
    #[arg(long, value_name = "FILE", conflicts_with_all = ["members", "assume_clean"])]
    import: Option<PathBuf>,

    /// How it is checked and repaired, as `set policy` has it: KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    policy: Vec<String>,

    /// Format of all members
    #[arg(short, long, value_enum, default_value_t = Format::Auto)]
    format: Format,

    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    present: PresentArgs,
}

/// Sets keys of a policy, as KEY=VALUE.
pub(super) fn set_keys(policy: &mut Policy, given: &[String]) -> Result<()> {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let hint = format!("hint: KEY=VALUE is wanted, for instance part-size=268435456; the keys are {}", keys.join(", "));
    for pair in given {
        let (key, value) = pair.split_once('=').ok_or_else(|| anyhow!("policy {:?}: there is no value\n{hint}", escaped(pair)))?;
        policy.set(key, value).map_err(|why| anyhow!("policy: {}\n{hint}", escaped(&why)))?;
    }
    Ok(())
}

pub(super) fn run(args: &CreateArgs) -> Result<u8> {
    let place = Place::of(&args.set)?;
    place.refuse_taken()?;
    let imported = args.import.as_deref().map(read_export).transpose()?;
    let mut policy = imported.as_ref().map_or_else(|| Ok(Policy::default()), Exported::policy)?;
    set_keys(&mut policy, &args.policy)?;
    if let Some(imported) = imported {
        return import(args, &place, &policy, &imported);
    }
    ensure!(
        args.members.len() >= MEMBERS_MIN,
        "{}: a set has two members at least\nhint: name {MEMBERS_MIN} copies or more",
        args.members.first().map_or_else(String::new, |name| MemberName::new(name).to_string())
    );
    if let Some(threshold) = policy.threshold {
        ensure!(
            threshold <= args.members.len(),
            "policy: a threshold of {threshold} makes no sense for {} members\nhint: at most as many as there are",
            args.members.len()
        );
    }
    // Whoever can't be opened now is a typing error.
    let format = stated(args.format);
    let roll = Roll { format, stop: &stop_flag, ..Roll::of(&args.members) };
    let voters = open_voters(&roll, &Access::Read(args.locks.locks()))?;
    voters.warnings.iter().for_each(|warning| warn(warning));
    let members = voters.listed();
    if let Some(failed) = members.iter().find(|member| member.failure().is_some()) {
        bail!("{}: {}\nhint: a set begins with members that can all be read", failed.name(), failed.failure().unwrap_or_default());
    }
    let names = args.members.iter().zip(&members).map(|(name, member)| remembered(name, *member)).collect::<Result<Vec<_>>>()?;
    // A report that can't be written is refused before anything is.
    drop(Presenter::new(&args.show, &members)?);
    let marks = members.iter().map(|member| mark_of(*member)).collect::<Result<Vec<_>>>()?;
    let plan = if args.adopt { adopted(&names, &marks, &members)? } else { founded(&names, &marks, &members)? };
    let session =
        Session::found(&place, plan.uuid, &policy, plan.epoch, &plan.members, if args.adopt { "adopt" } else { "create" }, &args.present)?;
    session.through(|session| begin(args, session, voters))
}

/// Marks the members, and checks them for the first time.
fn begin(args: &CreateArgs, session: &Session, voters: Voters) -> Result<(u8, RunEnd)> {
    let epoch = session.record.epoch()?;
    for (row, member) in session.record.members()?.iter().zip(voters.listed()) {
        if row.state.votes()
            && let Some(why) = mark(&session.record, row, member, epoch)?
        {
            warn(&format!("{}: isn't marked: {why}", row.shown()));
        }
    }
    if args.assume_clean {
        return Ok((0, RunEnd { outcome: "the members were said to be alike; nothing was compared".to_owned(), ..RunEnd::default() }));
    }
    // A server may take one client at a time.
    drop(voters);
    let first = SetCheckArgs::first(args.set.clone(), args.show.clone(), args.locks.clone(), args.present.clone());
    check::check(&first, session)
}

/// What is going to be remembered.
struct Plan {
    uuid: Uuid,
    epoch: u64,
    members: Vec<NewMember>,
}

/// A new set: nobody may belong to another.
fn founded(names: &[OsString], marks: &[Option<Mark>], members: &[&dyn Member]) -> Result<Plan> {
    if let Some((index, mark)) = marks.iter().enumerate().find_map(|(index, mark)| Some((index, (*mark)?))) {
        bail!(
            "{}: it belongs to a set already ({})\nhint: quorum-img set remove takes it out of that; where that record is lost, quorum-img set create \
             --adopt makes it anew; setfattr -x {ATTRIBUTE} FILE takes the mark of a set away that is no more",
            members[index].name(),
            mark.set
        );
    }
    let uuid = new_uuid()?;
    let new = |(name, member): (&OsString, &&dyn Member)| -> Result<NewMember> {
        let (state, why) = (State::Ok, "a member from the beginning".to_owned());
        Ok(NewMember { uuid: new_uuid()?, name: name.clone(), state, why, epoch: None, unmarked: None, file: file_id(*member) })
    };
    Ok(Plan { uuid, epoch: 1, members: names.iter().zip(members).map(new).collect::<Result<_>>()? })
}

/// A set whose record is lost: the marks say who is who.
fn adopted(names: &[OsString], marks: &[Option<Mark>], members: &[&dyn Member]) -> Result<Plan> {
    let known: Vec<Mark> = marks.iter().copied().flatten().collect();
    let Some(first) = known.first() else {
        bail!("--adopt: none of them carries a mark\nhint: quorum-img set create without --adopt makes a new set of them");
    };
    if let Some(other) = known.iter().find(|mark| mark.set != first.set) {
        bail!("--adopt: they are of different sets ({} and {})\nhint: name the members of one", first.set, other.set);
    }
    let twice = |mark: &Mark| known.iter().filter(|other| other.member == mark.member).count() > 1;
    if let Some(index) = marks.iter().position(|mark| mark.as_ref().is_some_and(twice)) {
        bail!("--adopt: {} carries the mark of another of them: one is a copy\nhint: leave the copy out", members[index].name());
    }
    let epoch = known.iter().map(|mark| mark.epoch).max().unwrap_or(1);
    let new = |index: usize| -> Result<NewMember> {
        let (state, why) = match marks[index] {
            Some(mark) if mark.epoch == epoch => (State::Ok, "adopted by its mark"),
            Some(_) => (State::Stale, "adopted by its mark, which is older than others'"),
            None => (State::Returning, "adopted without a mark: it has to prove itself"),
        };
        Ok(NewMember {
            uuid: marks[index].map_or_else(new_uuid, |mark| Ok(mark.member))?,
            name: names[index].clone(),
            state,
            why: why.to_owned(),
            epoch: marks[index].map(|mark| mark.epoch),
            unmarked: None,
            file: file_id(members[index]),
        })
    };
    // A record that turns up again is an old one.
    Ok(Plan { uuid: first.set, epoch: epoch.saturating_add(1).min(EPOCH_MAX), members: (0..names.len()).map(new).collect::<Result<_>>()? })
}

/// A record of what was exported: its members are opened at the first check, which holds their marks against it.
fn import(args: &CreateArgs, place: &Place, policy: &Policy, from: &Exported) -> Result<u8> {
    let mut policy = policy.clone();
    // What somebody else's file says isn't run by a shell.
    let (before, after) = (policy.before.take(), policy.after.take());
    for (key, command) in [("before", before), ("after", after)] {
        if let Some(command) = command.filter(|_| !args.policy.iter().any(|given| given.starts_with(&format!("{key}=")))) {
            warn(&format!("its command `{key}` isn't taken over: quorum-img set policy SET {key}={command:?} sets it"));
        }
    }
    set_keys(&mut policy, &args.policy)?;
    let session = Session::found(place, from.uuid, &policy, from.epoch, &from.members(), "import", &args.present)?;
    session.through(|_| Ok((0, RunEnd { outcome: format!("{} members", from.members.len()), ..RunEnd::default() })))
}

/// A name as it is remembered: the whole path, with the format that its member turned out to have.
pub(super) fn remembered(name: &OsStr, member: &dyn Member) -> Result<OsString> {
    let given = Given::of(name);
    let Some(path) = given.path() else { return Ok(name.to_owned()) };
    let whole = fs::canonicalize(path).with_context(|| format!("{}: can't be found\nhint: look at the name", member.name()))?;
    let mut text = OsString::from(member.format());
    text.push(":");
    text.push(whole);
    Ok(text)
}

/// The format that was stated for all.
pub(super) fn stated(format: Format) -> Option<electorate::Format> {
    match format {
        Format::Auto => None,
        Format::Raw => Some(electorate::Format::Raw),
        Format::Qcow2 => Some(electorate::Format::Qcow2),
    }
}

/// Which file a member is, where it is one.
pub(super) fn file_id(member: &dyn Member) -> Option<FileId> {
    member.files().into_iter().next()?.id().ok().flatten()
}

/// A UUID that nobody has.
pub(super) fn new_uuid() -> Result<Uuid> {
    Ok(Uuid::of_random(random_bytes().context("a random number for a UUID")?))
}

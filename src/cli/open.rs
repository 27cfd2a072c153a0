//! Opening members: all of them, or an error.

use std::ffi::OsString;

use anyhow::{Result, anyhow};

use super::args::{LockArgs, MemberArgs};
use crate::{
    member::{
        Cache, LockForce, Member, MemberName, OpenError, RawMember, busy_device, check_independence, lock_all_for_reading,
        lock_all_for_writing, refuse_other_formats,
    },
    sys::device::Sysfs,
    vote::{MEMBERS_MAX, MEMBERS_MIN},
};

/// The members, and what is to be said of them.
pub(super) struct Opened {
    pub members: Vec<RawMember>,
    pub warnings: Vec<String>,
    /// Members that share storage, in words; they are among the warnings, too.
    pub dependent: Vec<String>,
}

/// What is going to be done to members.
pub(super) enum Access<'a> {
    /// They are read.
    Read(&'a LockArgs),
    /// They are rewritten, except for those with these numbers.
    Rewrite(&'a [usize], LockForce),
}

impl Opened {
    /// As the engine takes them.
    pub(super) fn listed(&self) -> Vec<&dyn Member> {
        self.members.iter().map(|member| member as &dyn Member).collect()
    }
}

/// Opens the members of a vote.
pub(super) fn open_voters(args: &MemberArgs, access: &Access) -> Result<Opened> {
    let count = args.members.len();
    if count < MEMBERS_MIN {
        return Err(anyhow!("one copy alone can't vote\nhint: name at least {MEMBERS_MIN} members; quorum-img info looks at a single one"));
    }
    if count > MEMBERS_MAX {
        return Err(anyhow!("{count} members are given, and at most {MEMBERS_MAX} can vote\nhint: leave some of them out"));
    }
    let mut opened = match access {
        Access::Read(_) => open_each(args, &args.members, &|_| false)?,
        Access::Rewrite(spared, _) => open_each(args, &args.members, &|index| !spared.contains(&index))?,
    };
    opened.dependent = check_independence(&opened.members, &Sysfs::default())?;
    opened.warnings.extend(opened.dependent.iter().cloned());
    match access {
        Access::Read(locks) if locks.force_share => {
            opened.warnings.push("members are read without locks: what another program writes meanwhile looks like damage".into());
        }
        Access::Read(_) => opened.warnings.extend(lock_all_for_reading(&opened.members)?),
        Access::Rewrite(_, force) => opened.warnings.extend(lock_all_for_writing(&opened.members, *force)?),
    }
    for (member, given) in opened.members.iter().zip(&args.members) {
        if !args.settles_raw(given) {
            refuse_other_formats(member)?;
        }
    }
    if opened.members.iter().all(|member| member.size() == 0) {
        return Err(anyhow!("all members are empty: there is nothing to vote on\nhint: is what holds the images mounted?"));
    }
    Ok(opened)
}

/// Opens one member for reading.
pub(super) fn open_member(args: &MemberArgs, given: &OsString) -> Result<Opened> {
    open_each(args, std::slice::from_ref(given), &|_| false)
}

fn open_each(args: &MemberArgs, members: &[OsString], rewritten: &dyn Fn(usize) -> bool) -> Result<Opened> {
    let cache = args.cache.cache();
    let (mut opened_all, mut warnings) = (Vec::new(), Vec::new());
    for (index, given) in members.iter().enumerate() {
        let (name, path) = (MemberName::new(given), RawMember::path_of(given));
        let opened = if rewritten(index) { RawMember::open_to_rewrite(name, path, cache) } else { RawMember::open(name, path, cache) };
        let member = match opened {
            Err(OpenError::Busy { member, rdev }) => return Err(busy_device(&member, rdev).into()),
            other => other?,
        };
        if cache == Cache::None && !member.reads_medium() {
            warnings.push(format!(
                "{}: its file system refuses direct I/O, so it is read through this machine's page cache: the medium may hold something else",
                member.name()
            ));
        }
        opened_all.push(member);
    }
    Ok(Opened { members: opened_all, warnings, dependent: Vec::new() })
}

//! Opening members: all of them, or an error.

use anyhow::{Result, anyhow};

use super::args::{LockArgs, MemberArgs};
use crate::{
    member::{Cache, FormatError, Member, MemberName, RawMember, check_independence, lock_all_for_reading, looks_like_qcow2},
    sys::device::Sysfs,
    vote::{MEMBERS_MAX, MEMBERS_MIN},
};

/// The members, and what is to be said of them.
pub(super) struct Opened {
    pub members: Vec<RawMember>,
    pub warnings: Vec<String>,
}

impl Opened {
    /// As the engine takes them.
    pub(super) fn listed(&self) -> Vec<&dyn Member> {
        self.members.iter().map(|member| member as &dyn Member).collect()
    }
}

/// Opens the members of a vote.
pub(super) fn open_voters(args: &MemberArgs, locks: &LockArgs) -> Result<Opened> {
    let count = args.members.len();
    if count < MEMBERS_MIN {
        return Err(anyhow!("one copy alone can't vote\nhint: name at least {MEMBERS_MIN} members; quorum-img info looks at a single one"));
    }
    if count > MEMBERS_MAX {
        return Err(anyhow!("{count} members are given, and at most {MEMBERS_MAX} can vote\nhint: leave some of them out"));
    }
    let mut opened = open_members(args)?;
    opened.warnings.extend(check_independence(&opened.members, &Sysfs::default())?);
    if locks.force_share {
        opened.warnings.push("members are read without locks: what another program writes meanwhile looks like damage".into());
    } else {
        opened.warnings.extend(lock_all_for_reading(&opened.members)?);
    }
    for (member, given) in opened.members.iter().zip(&args.members) {
        if !args.settles_raw(given) && looks_like_qcow2(member) {
            return Err(FormatError::Qcow2 { member: member.name().clone() }.into());
        }
    }
    if opened.members.iter().all(|member| member.size() == 0) {
        return Err(anyhow!("all members are empty: there is nothing to vote on\nhint: is what holds the images mounted?"));
    }
    Ok(opened)
}

/// Opens members, as many as there are.
pub(super) fn open_members(args: &MemberArgs) -> Result<Opened> {
    let cache = args.cache.cache();
    let (mut members, mut warnings) = (Vec::new(), Vec::new());
    for given in &args.members {
        let member = RawMember::open(MemberName::new(given), RawMember::path_of(given), cache)?;
        if cache == Cache::None && !member.reads_medium() {
            warnings.push(format!(
                "{}: its file system refuses direct I/O, so it is read through this machine's page cache: the medium may hold something else",
                member.name()
            ));
        }
        members.push(member);
    }
    Ok(Opened { members, warnings })
}

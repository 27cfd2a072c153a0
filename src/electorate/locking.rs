//! Members are locked as QEMU locks images, so that neither disturbs the other.

use super::independence::{DependenceError, likely_one};
use crate::{
    member::{HostFile, MemberName, STALE_HANDLE, escaped},
    sys::{
        device::Sysfs,
        locks::{Holder, Locked, holders},
        users,
    },
};

/// Holders named in one message.
const HOLDERS_NAMED_MAX: usize = 3;

/// Another program uses a member.
#[derive(Debug, thiserror::Error)]
#[error(
    "{member}: in use by {}\nhint: stop it first{}",
    in_words(.holders), if *.writing { "" } else { ", or pass -U to read without taking locks: then what it writes meanwhile looks like damage" }
)]
pub struct InUseError {
    /// Which one.
    pub member: MemberName,
    /// Who, as far as this machine can tell.
    pub holders: Vec<Holder>,
    /// Whether it was to be written to.
    pub writing: bool,
}

/// Processes, as messages name them.
#[must_use]
pub fn in_words(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "another program, which can't be seen from here (another machine's, or another user's)".into();
    }
    let mut words: Vec<String> =
        holders.iter().take(HOLDERS_NAMED_MAX).map(|holder| format!("process {} ({})", holder.pid, escaped(&holder.command))).collect();
    if holders.len() > HOLDERS_NAMED_MAX {
        words.push(format!("{} more", holders.len() - HOLDERS_NAMED_MAX));
    }
    words.join(", ")
}

/// Why members could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// In use.
    #[error(transparent)]
    InUse(#[from] InUseError),
    /// This program, by another name of the same file.
    #[error(transparent)]
    Twice(#[from] DependenceError),
    /// A device that something uses.
    #[error("{member}: in use: {}\nhint: unmount it, or stop what uses it", escaped(.users))]
    DeviceInUse {
        /// Which one.
        member: MemberName,
        /// By whom, in words.
        users: String,
    },
    /// A device whose users can't be seen.
    #[error(
        "{member}: other users' processes can't be seen from here, so nobody knows whether one of them has the device open\n\
         hint: run it as root; --force device where you know that nobody uses it"
    )]
    Hidden {
        /// Which one.
        member: MemberName,
    },
    /// No locks to be had.
    #[error(
        "{member}: {what}, so nobody can tell whether another program uses it\n\
         hint: {}--force no-locks where you know that nobody does; --no-write lets it vote only", if *.passing { "try again once it does; " } else { "" }
    )]
    NoLocks {
        /// Which one.
        member: MemberName,
        /// What it lacks, with the system's word.
        what: String,
        /// Whether that may pass.
        passing: bool,
    },
    /// The system's word.
    #[error("{member}: can't be locked: {error}\nhint: {hint}")]
    Failed {
        /// Which one.
        member: MemberName,
        /// What it said.
        error: std::io::Error,
        /// The way out.
        hint: &'static str,
    },
}

impl LockError {
    /// The exit code: 4 where another program uses a member, else 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if let Self::InUse(_) | Self::DeviceInUse { .. } = self { 4 } else { 3 }
    }
}

/// What it is that locks are not to be had from, and whether that may pass: a server that has them can fail to give some.
fn lacking(member: &HostFile, error: &std::io::Error) -> (String, bool) {
    let passing = member.network().is_some() && error.raw_os_error() == Some(libc::ENOLCK);
    (if passing { format!("its server gives no locks now ({error})") } else { format!("its file system has no locks ({error})") }, passing)
}

/// Takes a reader's locks on all members, for as long as they are open; says where there are none to be had.
///
/// # Errors
/// The first member that another program writes to, or may resize.
pub fn lock_all_for_reading(members: &[&HostFile]) -> Result<Vec<String>, LockError> {
    let mut warnings = Vec::new();
    for member in members {
        let Some(locked) = asked(member, false)? else { continue };
        match locked {
            Locked::Yes(_) => {}
            Locked::InUse => {
                return Err(InUseError { member: member.name().clone(), holders: holders(member.file()), writing: false }.into());
            }
            Locked::Unsupported(error) => warnings.push(format!(
                "{}: {}, so nobody can tell whether another program writes to it",
                member.name(),
                lacking(member, &error).0
            )),
        }
    }
    Ok(warnings)
}

/// What may be overridden where members are locked to be rewritten.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockForce {
    /// File systems without locks.
    pub no_locks: bool,
    /// Devices whose users can't be seen.
    pub device: bool,
}

/// Who holds what the member of that number needs: another program, or this one under another name of the same file.
fn in_use(members: &[&HostFile], index: usize) -> LockError {
    let member = members[index];
    let twice = members[..index].iter().find_map(|first| Some((first.name().clone(), likely_one(first, member)?)));
    match twice {
        Some((first, how)) => DependenceError { first, second: member.name().clone(), how }.into(),
        None => InUseError { member: member.name().clone(), holders: holders(member.file()), writing: true }.into(),
    }
}

/// What the system says to the locks; none where it doesn't answer, and isn't waited for: then the member has failed.
fn asked(member: &HostFile, to_write: bool) -> Result<Option<Locked>, LockError> {
    match member.lock(to_write) {
        Ok(locked) => Ok(Some(locked)),
        Err(_) if member.silent() => Ok(None),
        Err(error) => {
            let hint = match error.raw_os_error() {
                Some(libc::ESTALE) => STALE_HANDLE,
                _ => "-U reads without taking locks",
            };
            Err(LockError::Failed { member: member.name().clone(), error, hint })
        }
    }
}

/// Takes a writer's locks on all members, for as long as they are open: nobody else reads or writes them meanwhile. Of devices, and of
/// who has them open, more is looked at: locks don't reach through another node of the same device. Returns what to warn about.
///
/// # Errors
/// The first member that another program uses, or of which that can't be told.
pub fn lock_all_for_writing(members: &[&HostFile], force: LockForce) -> Result<Vec<String>, LockError> {
    let mut warnings = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let name = || member.name().clone();
        let Some(locked) = asked(member, true)? else { continue };
        match locked {
            Locked::Yes(_) => {}
            Locked::InUse => return Err(in_use(members, index)),
            Locked::Unsupported(error) if !force.no_locks && member.disk().is_some() => {
                let (what, passing) = lacking(member, &error);
                return Err(LockError::NoLocks { member: name(), what, passing });
            }
            Locked::Unsupported(error) => {
                let what = lacking(member, &error).0;
                warnings.push(format!("{}: {what}, so nobody can tell whether another program uses it", name()));
            }
        }
        if member.is_device() {
            refuse_used_device(member, force)?;
        } else if member.disk().is_some() {
            refuse_loops_over(member)?;
        }
    }
    Ok(warnings)
}

fn refuse_used_device(member: &HostFile, force: LockForce) -> Result<(), LockError> {
    use std::os::unix::fs::MetadataExt;
    let mut users = users::of_device(member.metadata().rdev(), &Sysfs::default());
    if member.disk().is_none() {
        // Others may read it while it only votes; but what is mounted changes.
        users.open.clear();
        users.hidden = false;
    }
    let found = users.in_words();
    if !found.is_empty() {
        return Err(LockError::DeviceInUse { member: member.name().clone(), users: found });
    }
    if users.hidden && !force.device {
        return Err(LockError::Hidden { member: member.name().clone() });
    }
    Ok(())
}

/// What a loop device over the file does can't be seen from the file: a file system in it may be mounted.
fn refuse_loops_over(member: &HostFile) -> Result<(), LockError> {
    use std::os::unix::fs::MetadataExt;
    let meta = member.metadata();
    let loops = Sysfs::default().loops_over(meta.dev(), meta.ino());
    if loops.is_empty() {
        return Ok(());
    }
    let users = format!("the loop device {} is set up over it (losetup -d takes it away)", loops.join(", "));
    Err(LockError::DeviceInUse { member: member.name().clone(), users })
}

/// Why a device could not be opened for nobody else.
#[must_use]
pub fn busy_device(member: &MemberName, rdev: u64) -> LockError {
    let users = users::of_device(rdev, &Sysfs::default()).in_words();
    let users = if users.is_empty() { "something that can't be seen from here".into() } else { users };
    LockError::DeviceInUse { member: member.clone(), users }
}

//! Members are locked as QEMU locks images, so that neither disturbs the other.

use super::{Member, MemberName, RawMember, escaped};
use crate::sys::locks::{Holder, Locked, holders, lock_for_reading};

/// Holders named in one message.
const HOLDERS_NAMED_MAX: usize = 3;

/// Another program uses a member.
#[derive(Debug, thiserror::Error)]
#[error(
    "{member}: in use by {}\nhint: stop it first, or pass -U to read without taking locks: then what it writes meanwhile looks like damage",
    holders_in_words(.holders)
)]
pub struct InUseError {
    /// Which one.
    pub member: MemberName,
    /// Who, as far as this machine can tell.
    pub holders: Vec<Holder>,
}

fn holders_in_words(holders: &[Holder]) -> String {
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
    /// The system's word.
    #[error("{member}: can't be locked: {error}\nhint: -U reads without taking locks")]
    Failed {
        /// Which one.
        member: MemberName,
        /// What it said.
        error: std::io::Error,
    },
}

/// Takes a reader's locks on all members, for as long as they are open; says where there are none to be had.
///
/// # Errors
/// The first member that another program writes to, or may resize.
pub fn lock_all_for_reading(members: &[RawMember]) -> Result<Vec<String>, LockError> {
    let mut warnings = Vec::new();
    for member in members {
        let locked = lock_for_reading(member.file());
        match locked.map_err(|error| LockError::Failed { member: member.name().clone(), error })? {
            Locked::Yes => {}
            Locked::InUse => {
                return Err(InUseError { member: member.name().clone(), holders: holders(member.file()) }.into());
            }
            Locked::Unsupported(error) => warnings.push(format!(
                "{}: its file system has no locks ({error}), so nobody can tell whether another program writes to it",
                member.name()
            )),
        }
    }
    Ok(warnings)
}

//! Members that are ready to vote.

use std::os::unix::fs::MetadataExt;

use super::{
    error::ElectorateError,
    independence::{DependenceError, shared_storage},
    locking::lock_all_for_reading,
    roll::Access,
};
use crate::{
    member::{HostFile, Member},
    sys::device::Sysfs,
};

/// Opened, locked for as long as they are open, and known not to be one another.
pub struct Voters {
    /// In the order in which they were named.
    pub members: Vec<Box<dyn Member>>,
    /// What is to be said of them.
    pub warnings: Vec<String>,
    /// Members that share storage, in words; they are among the warnings, too.
    pub dependent: Vec<String>,
    /// For each whether its format was guessed.
    pub guessed: Vec<bool>,
}

impl Voters {
    /// As the engine takes them.
    #[must_use]
    pub fn listed(&self) -> Vec<&dyn Member> {
        self.members.iter().map(AsRef::as_ref).collect()
    }

    /// Looks at what can only be seen once all are open.
    pub(super) fn settle(
        members: Vec<Box<dyn Member>>,
        guessed: Vec<bool>,
        mut warnings: Vec<String>,
        access: &Access,
    ) -> Result<Self, ElectorateError> {
        let listed: Vec<&dyn Member> = members.iter().map(AsRef::as_ref).collect();
        if let Access::Rewrite { .. } = access {
            refuse_member_beneath(&listed)?;
        }
        let beneath: Vec<&HostFile> = listed.iter().flat_map(|member| member.files().into_iter().skip(1)).collect();
        let locked = if access.shares() { Vec::new() } else { lock_all_for_reading(&beneath)? };
        let dependent = shared_storage(&listed, &Sysfs::default());
        refuse_nothing(&listed)?;
        warnings.extend(locked);
        warnings.extend(dependent.iter().cloned());
        Ok(Self { members, warnings, dependent, guessed })
    }
}

/// Where nobody has anything to say there is no vote.
fn refuse_nothing(members: &[&dyn Member]) -> Result<(), ElectorateError> {
    let failed: Vec<String> = members.iter().filter_map(|member| Some(format!("\n{}: {}", member.name(), member.failure()?))).collect();
    if failed.len() == members.len() {
        return Err(ElectorateError::AllFailed { failed: failed.concat() });
    }
    let holds_nothing = |member: &&&dyn Member| member.failure().is_none();
    match members.iter().find(holds_nothing) {
        Some(first) if members.iter().all(|member| member.size() == 0) => {
            Err(ElectorateError::AllEmpty { first: first.name().clone(), failed: failed.concat() })
        }
        _ => Ok(()),
    }
}

/// What is rewritten can't lie under another member.
fn refuse_member_beneath(members: &[&dyn Member]) -> Result<(), DependenceError> {
    let place = |file: &HostFile| (file.metadata().dev(), file.metadata().ino(), file.metadata().rdev());
    for upper in members {
        for beneath in upper.files().iter().skip(1) {
            let itself = |member: &&&dyn Member| member.files().first().is_some_and(|file| place(file) == place(beneath));
            if let Some(member) = members.iter().find(itself) {
                let how = "one is under the other, as its backing file".into();
                return Err(DependenceError { first: upper.name().clone(), second: member.name().clone(), how });
            }
        }
    }
    Ok(())
}

//! Members that are ready to vote.

use std::os::unix::fs::MetadataExt;

use super::{
    error::ElectorateError,
    independence::{DependenceError, shared_storage},
    locking::lock_all_for_reading,
    marks::compare,
    roll::{Access, Roll},
};
use crate::{
    member::{HostFile, Member},
    sys::device::Sysfs,
    vote::is_zero,
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
        mut members: Vec<Box<dyn Member>>,
        guessed: Vec<bool>,
        mut warnings: Vec<String>,
        access: &Access,
        roll: &Roll,
    ) -> Result<Self, ElectorateError> {
        if roll.pads {
            warnings.extend(pad(&mut members));
        }
        let listed: Vec<&dyn Member> = members.iter().map(AsRef::as_ref).collect();
        if let Access::Rewrite { .. } = access {
            refuse_member_beneath(&listed)?;
        }
        let beneath: Vec<&HostFile> = listed.iter().flat_map(|member| member.files().into_iter().skip(1)).collect();
        let locked = if access.shares() { Vec::new() } else { lock_all_for_reading(&beneath)? };
        let mut dependent = shared_storage(&listed, &Sysfs::default());
        if !roll.of_set {
            let marks = compare(&listed);
            warnings.extend(marks.warnings);
            dependent.extend(marks.dependent);
        }
        refuse_nothing(&listed)?;
        warnings.extend(listed.iter().filter_map(|member| Some(format!("{}: {}", member.name(), member.unvoted()?))));
        warnings.extend(locked);
        warnings.extend(dependent.iter().cloned());
        Ok(Self { members, warnings, dependent, guessed })
    }
}

/// What the size of a raw file is rounded up to where another member is as long as that: sizes that agree so aren't different.
const SECTOR: u64 = 512;

/// Lets files show the zeros that QEMU shows of them where others have those.
fn pad(members: &mut [Box<dyn Member>]) -> Vec<String> {
    let sizes: Vec<Option<u64>> = members.iter().map(|member| member.failure().is_none().then(|| member.size())).collect();
    // Where another one holds something else there than zeros, this one lacks it.
    let is_blank = |&(size, rounded): &(Option<u64>, u64)| {
        let others = members.iter().zip(&sizes).filter(|(_, size)| **size == Some(rounded)).map(|(member, _)| member.as_ref());
        let from = size.unwrap_or(rounded);
        let zeros = |member: &dyn Member| {
            let mut bytes = vec![0; (rounded - from) as usize];
            member.read(from, &mut bytes, &mut None).is_ok() && is_zero(&bytes)
        };
        let held: Vec<bool> = others.map(zeros).collect();
        !held.is_empty() && held.iter().all(|&blank| blank)
    };
    let wanted = sizes.iter().filter_map(|size| Some((*size, (*size)?.checked_next_multiple_of(SECTOR)?)));
    let blank: Vec<(Option<u64>, u64)> = wanted.filter(|(size, rounded)| *size != Some(*rounded)).filter(is_blank).collect();
    let mut told = Vec::new();
    for (member, size) in members.iter_mut().zip(&sizes) {
        let Some(rounded) = size.and_then(|size| size.checked_next_multiple_of(SECTOR)) else { continue };
        if *size == Some(rounded) || !blank.contains(&(*size, rounded)) {
            continue;
        }
        member.pad(rounded);
        if member.padding() > 0 {
            told.push(format!(
                "{}: its {} bytes are read as {rounded}, with zeros at the end, as QEMU reads it",
                member.name(),
                rounded - member.padding()
            ));
        }
    }
    told
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

//! Members that are opened and locked, and of which nothing was read yet.

use std::sync::Arc;

use super::{
    error::ElectorateError,
    given::{Format, Given},
    independence::{DependenceError, check_independence},
    locking::{lock_all_for_reading, lock_all_for_writing},
    probe::{FormatError, guess_format, refuse_foreign, refuse_journal},
    roll::{Access, Roll},
    source::Source,
    voters::Voters,
};
use crate::{
    member::{HostFile, Member, MemberName, RawMember, qcow2::Caches},
    sys::device::Sysfs,
    vote::MEMBERS_MAX,
};

/// What members are made of.
pub struct Candidates {
    all: Vec<Source>,
    stated: Vec<Option<Format>>,
    warnings: Vec<String>,
}

impl Candidates {
    /// Opens and locks what the names mean.
    ///
    /// # Errors
    /// The first of them that can't be opened, is another one under a second name, or is in use.
    pub fn open(roll: &Roll, access: &Access) -> Result<Self, ElectorateError> {
        match roll.names.len() {
            count if count < roll.members_min => return Err(ElectorateError::TooFew(roll.names.first().map(|name| MemberName::new(name)))),
            count if count > MEMBERS_MAX => return Err(ElectorateError::TooMany(count)),
            _ => {}
        }
        let given: Vec<Given> = roll.names.iter().map(|name| Given::of(name)).collect();
        refuse_same_address(&given)?;
        let mut warnings = Vec::new();
        let mut all: Vec<Source> = Vec::new();
        for (index, (name, given)) in roll.names.iter().zip(&given).enumerate() {
            let source = Source::open(roll, name, given, access.rewrites(index), &mut warnings);
            let source =
                source.or_else(|error| if roll.missing_ok || error.is_silent() { Source::missing(name, error) } else { Err(error) })?;
            source.refuse_same_export(&all)?;
            all.push(source);
        }
        let own: Vec<&HostFile> = all.iter().filter_map(Source::file).map(RawMember::host).collect();
        check_independence(&own, &Sysfs::default())?;
        match access {
            Access::Rewrite { force, .. } => warnings.extend(lock_all_for_writing(&own, *force)?),
            _ if access.shares() => {
                warnings.push("members are read without locks: what another program writes meanwhile looks like damage".into());
            }
            Access::Look(_) | Access::Read(_) => warnings.extend(lock_all_for_reading(&own)?),
        }
        let stated = given.iter().map(|given| roll.stated(given)).collect();
        Ok(Self { all, stated, warnings })
    }

    /// For each its file, where it is one, with the format that was stated for it.
    pub fn files(&mut self) -> Vec<(Option<&mut RawMember>, Option<Format>)> {
        self.all.iter_mut().map(Source::file_mut).zip(self.stated.iter().copied()).collect()
    }

    /// Reads what they are; `roll` and `access` are those that they were opened with.
    ///
    /// # Errors
    /// Where a format isn't to be relied on, an image can't be opened, or there is nothing to vote on.
    pub fn into_voters(self, roll: &Roll, access: &Access) -> Result<Voters, ElectorateError> {
        let formats = self.settle_formats(!matches!(access, Access::Look(_)))?;
        let Self { all, stated, mut warnings } = self;
        warnings.extend(without_snapshot(roll, &all, &formats)?);
        let guessed: Vec<bool> = all.iter().zip(&stated).map(|(source, stated)| source.file().is_some() && stated.is_none()).collect();
        let caches = Arc::new(Caches::of_all_members());
        let mut members: Vec<Box<dyn Member>> = Vec::new();
        for ((source, format), &guessed) in all.into_iter().zip(formats).zip(&guessed) {
            members.push(source.into_member(roll, format, guessed, &caches, &mut warnings)?);
        }
        Voters::settle(members, guessed, warnings, access, roll)
    }

    /// The format of each: as stated, or as all whose format isn't stated look alike.
    fn settle_formats(&self, writes: bool) -> Result<Vec<Format>, FormatError> {
        let mut guesses = Vec::new();
        let mut silent = Vec::new();
        let mut formats = Vec::new();
        for (source, stated) in self.all.iter().zip(&self.stated) {
            formats.push(if let Some(format) = stated {
                *format
            } else if source.is_missing() {
                silent.push(formats.len()); // nobody knows what it would say
                Format::Raw
            } else if let Some(file) = source.file() {
                refuse_journal(file)?;
                refuse_foreign(file)?;
                let guess = guess_format(file);
                if file.host().silent() {
                    silent.push(formats.len()); // what it doesn't answer is no first bytes
                } else {
                    guesses.push((file.name().clone(), guess));
                }
                guess
            } else {
                Format::Raw // an export is what a guest sees
            });
        }
        if let Some(&(_, format)) = guesses.first() {
            for index in silent {
                formats[index] = format;
            }
        }
        if guesses.iter().any(|(_, guess)| *guess != guesses[0].1) {
            return Err(FormatError::Unlike { guesses });
        }
        match guesses.into_iter().find(|(_, guess)| *guess == Format::Qcow2) {
            Some((member, _)) if writes => Err(FormatError::Guessed { member }),
            _ => Ok(formats),
        }
    }
}

/// One address twice: its server may serve one client at a time, so it isn't even asked.
fn refuse_same_address(given: &[Given]) -> Result<(), DependenceError> {
    let twice = given.iter().enumerate().find(|(second, address)| given[..*second].contains(address));
    let Some((_, address)) = twice else { return Ok(()) };
    let (name, how) = match address {
        Given::Nbd(uri) => (MemberName::new(uri.as_ref()), "one address twice"),
        Given::Path { path, .. } => (MemberName::from(path.as_path()), "one name twice"),
    };
    Err(DependenceError { first: name.clone(), second: name, how: how.into() })
}

/// Members that a wanted snapshot says nothing of, in words.
fn without_snapshot(roll: &Roll, all: &[Source], formats: &[Format]) -> Result<Vec<String>, ElectorateError> {
    let Some(snapshot) = roll.snapshot else { return Ok(Vec::new()) };
    if !formats.contains(&Format::Qcow2) {
        return Err(ElectorateError::NoSnapshots { snapshot: MemberName::new(snapshot) });
    }
    let others = all.iter().zip(formats).filter(|(_, format)| **format != Format::Qcow2);
    Ok(others.map(|(source, _)| format!("{}: --snapshot is for qcow2 members: this one votes as it stands", source.name())).collect())
}

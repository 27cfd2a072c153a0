//! From names to members: the ways in.

use std::{ffi::OsStr, sync::Arc};

use super::{
    candidates::Candidates,
    error::ElectorateError,
    given::{Format, Given},
    probe::{guess_format, refuse_foreign},
    roll::{Access, Roll},
    source::Source,
    voters::Voters,
};
use crate::member::{Member, qcow2::Caches};

/// Opens the members of a vote: formats settled, independence seen to, locks taken, warnings told.
///
/// # Errors
/// See [`ElectorateError`].
pub fn open_voters(roll: &Roll, access: &Access) -> Result<Voters, ElectorateError> {
    Candidates::open(roll, access)?.into_voters(roll, access)
}

/// One member that is only looked at.
pub struct Single {
    /// It.
    pub member: Box<dyn Member>,
    /// What is to be said of it.
    pub warnings: Vec<String>,
    /// Whether its format was guessed.
    pub guessed: bool,
}

/// Opens one member for a look at it, without locks.
///
/// # Errors
/// See [`ElectorateError`].
pub fn open_single(roll: &Roll, name: &OsStr) -> Result<Single, ElectorateError> {
    let (given, mut warnings) = (Given::of(name), Vec::new());
    let source = Source::open(roll, name, &given, false, &mut warnings)?;
    let stated = roll.stated(&given);
    let guessed = stated.is_none() && source.file().is_some();
    let format = stated.or_else(|| source.file().map(|file| guess_format(file))).unwrap_or(Format::Raw);
    if let (true, Some(file)) = (guessed && format == Format::Raw, source.file()) {
        warnings.extend(refuse_foreign(file).err().map(|error| error.to_string()));
    }
    let member = source.into_member(roll, format, guessed, &Arc::new(Caches::of_all_members()), &mut warnings)?;
    Ok(Single { member, warnings, guessed })
}

/// Opens what an earlier repair has written to, byte for byte, to write to it again.
///
/// # Errors
/// See [`ElectorateError`].
pub fn reopen_to_rewrite(roll: &Roll, name: &OsStr) -> Result<Box<dyn Member>, ElectorateError> {
    let mut warnings = Vec::new();
    let source = Source::open(roll, name, &Given::of(name), true, &mut warnings)?;
    source.into_member(roll, Format::Raw, false, &Arc::new(Caches::of_all_members()), &mut warnings)
}

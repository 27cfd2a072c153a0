//! Whom the user named, and what for.

use std::{
    ffi::{OsStr, OsString},
    io,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    given::{Format, Given},
    locking::LockForce,
};
use crate::{
    member::{Cache, qcow2::References},
    sys::libnbd::Stop,
    vote::MEMBERS_MIN,
};

/// Those who are named, and how they are to be opened.
#[derive(Clone, Copy)]
pub struct Roll<'a> {
    /// As the user named them, in order.
    pub names: &'a [OsString],
    /// The format of all whose names don't say it; none: their first bytes tell.
    pub format: Option<Format>,
    /// How they are read.
    pub cache: Cache,
    /// Which files images may name.
    pub references: References,
    /// The internal snapshot of images to read, by name or number.
    pub snapshot: Option<&'a OsStr>,
    /// Whether a raw file's size is rounded up to 512 where another member holds nothing but zeros there: not where it may be made as long.
    pub pads: bool,
    /// Fewest members: one alone can be read, and be held against digests.
    pub members_min: usize,
    /// Whether a member that can't be opened counts as failed, instead of ending it all.
    pub missing_ok: bool,
    /// Whether they are members of a set that is looked at: their marks are held against its record, and not only against each other.
    pub of_set: bool,
    /// Gives the flag that ends waiting for a server; asked for only where there is one.
    pub stop: &'a dyn Fn() -> io::Result<Stop>,
}

impl<'a> Roll<'a> {
    /// These names, with nothing else said.
    #[must_use]
    pub fn of(names: &'a [OsString]) -> Self {
        Self {
            names,
            format: None,
            cache: Cache::default(),
            references: References::default(),
            snapshot: None,
            pads: true,
            members_min: MEMBERS_MIN,
            missing_ok: false,
            of_set: false,
            stop: &never,
        }
    }

    /// The format that was stated for the member of that name, if one was.
    #[must_use]
    pub fn format_of(&self, name: &OsStr) -> Option<Format> {
        self.stated(&Given::of(name))
    }

    /// The format that was stated for a member, by its name or for all.
    pub(super) fn stated(&self, given: &Given) -> Option<Format> {
        match given {
            Given::Path { format, .. } => format.or(self.format),
            Given::Nbd(_) => self.format,
        }
    }
}

/// Whether members are kept from other programs while they are open, as QEMU keeps images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// They are: who writes to one is refused.
    Taken,
    /// They aren't: what another program writes meanwhile looks like damage.
    None,
}

/// What is going to be done to members.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// They are looked at.
    Look(Locks),
    /// They are read, and something is written by what they say.
    Read(Locks),
    /// They are rewritten.
    Rewrite {
        /// The numbers of those that aren't.
        spared: &'a [usize],
        /// What is overridden.
        force: LockForce,
    },
}

impl Access<'_> {
    /// Whether the member of that number is rewritten.
    pub(super) fn rewrites(&self, index: usize) -> bool {
        matches!(self, Self::Rewrite { spared, .. } if !spared.contains(&index))
    }

    /// Whether no locks are wanted.
    pub(super) fn shares(&self) -> bool {
        matches!(self, Self::Look(Locks::None) | Self::Read(Locks::None))
    }
}

/// Nobody ends the waiting.
#[allow(clippy::unnecessary_wraps)] // as others who give the flag
fn never() -> io::Result<Stop> {
    Ok(Arc::new(AtomicBool::new(false)))
}

//! Why members can't vote.

use std::io;

use super::{independence::DependenceError, locking::LockError, probe::FormatError};
use crate::{
    member::{MemberName, NbdOpenError, OpenError, qcow2::Qcow2Error},
    sys::libnbd::NbdError,
    vote::{MEMBERS_MAX, MEMBERS_MIN},
};

/// Why members can't vote. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ElectorateError {
    /// One copy alone, or none.
    #[error(
        "{}\nhint: name at least {MEMBERS_MIN} members; quorum-img info looks at a single one",
        .0.as_ref().map_or_else(|| "no copy is named".to_owned(), |name| format!("{name}: one copy alone can't vote"))
    )]
    TooFew(Option<MemberName>),
    /// More than can be counted.
    #[error("{0} members are given, and at most {MEMBERS_MAX} can vote\nhint: leave some of them out")]
    TooMany(usize),
    /// Two names for one thing.
    #[error(transparent)]
    Dependence(#[from] DependenceError),
    /// In use, or not to be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file or device that can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file of another machine.
    #[error("{member}: there is no such file here\nhint: {way}")]
    Elsewhere {
        /// As given.
        member: MemberName,
        /// The way for it to vote.
        way: String,
    },
    /// An export that can't be had.
    #[error(transparent)]
    Export(#[from] NbdOpenError),
    /// What they are can't be taken for granted.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An image that can't be opened as one.
    #[error(transparent)]
    Image(#[from] Qcow2Error),
    /// A snapshot is wanted where nothing can have one.
    #[error(
        "--snapshot {snapshot}: none of the members is a qcow2 image\nhint: leave it out, or say -f qcow2 or qcow2:MEMBER of what is one"
    )]
    NoSnapshots {
        /// As asked for.
        snapshot: MemberName,
    },
    /// None can be read.
    #[error("no member can be read as what it is{failed}\nhint: -f raw votes on the files themselves, byte for byte")]
    AllFailed {
        /// Each with its reason, on lines of their own.
        failed: String,
    },
    /// There is nothing in them.
    #[error(
        "{first}: empty, as are all members{}: there is nothing to vote on{failed}\nhint: is what holds the images mounted?",
        if .failed.is_empty() { "" } else { " that can be read" }
    )]
    AllEmpty {
        /// One of them.
        first: MemberName,
        /// The others with their reasons, on lines of their own.
        failed: String,
    },
    /// The flag that ends waiting can't be had.
    #[error("signals: {0}")]
    Signals(io::Error),
}

impl ElectorateError {
    /// Whether a member's server didn't answer, and isn't waited for any more.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_silent())
    }

    /// The exit code: 4 where another program uses a member, 130 where it was interrupted, else 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Lock(error) => error.exit_code(),
            Self::Export(error) if error.error == NbdError::Interrupted => 130,
            _ => 3,
        }
    }
}

//! What is put back, and what stands against it.

use std::io;

use crate::{
    electorate::in_words,
    member::MemberName,
    repair::{Phases, journal::JournalError},
    scan::Watch,
    sys::{
        locks::Holder,
        storage::{Origin, Storage},
    },
    vote::ByteRange,
};

/// A member that is to be put back.
pub struct UndoTarget<'a> {
    /// As the user knows it.
    pub name: MemberName,
    /// The way to write to it.
    pub storage: &'a dyn Storage,
    /// Its inode, of a file.
    pub inode: u64,
    /// What its file system calls itself; zeros where that isn't known.
    pub file_system: [u8; 16],
    /// Whether the user says that it is the one, though it moved.
    pub mapped: bool,
    /// Whether it carries a set's mark, which is written anew as the set goes on.
    pub marked: bool,
}

/// Why nothing, or not all, was put back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another file than the one that was repaired.
    #[error("{member}: isn't the member that the journal tells of: {what}\nhint: name where that one is now with --map OLD=NEW")]
    Other {
        /// Which one.
        member: MemberName,
        /// What is different.
        what: String,
    },
    /// A repair or another undo that runs uses the journal.
    #[error("{journal}: the journal is in use by {}\nhint: let that one end, or stop it; then run this again", in_words(.holders))]
    InUse {
        /// Its name.
        journal: MemberName,
        /// Who, as far as can be seen.
        holders: Vec<Holder>,
    },
    /// It isn't as the repair left it: somebody wrote to it since, or its medium fails.
    #[error(
        "{member}: it isn't as the repair left it: {what}; nothing was put back\nhint: --force changed puts back the old bytes over what is there now"
    )]
    Changed {
        /// Which one.
        member: MemberName,
        /// What is different.
        what: String,
    },
    /// The system refused something.
    #[error("{member}: {doing}: {error}\nhint: look at the storage that holds it, and run this again: it begins anew")]
    Member {
        /// Which one.
        member: MemberName,
        /// What was tried.
        doing: String,
        /// The system's word.
        error: io::Error,
    },
    /// What was put back isn't what is read back.
    #[error(
        "{member}: reads back differently than it was put back, at offset {offset:#x}\nhint: don't trust this storage; run this again once it is mended"
    )]
    ReadBack {
        /// Which one.
        member: MemberName,
        /// Where, in bytes.
        offset: u64,
    },
    /// A signal.
    #[error("interrupted; members are partly put back\nhint: run this again: it begins anew")]
    Interrupted,
}

/// What was put back, or would be.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// Bytes written to members.
    pub bytes: u64,
    /// Ranges that had been unreadable: what was written there stays.
    pub kept: Vec<(usize, ByteRange)>,
    /// Whether all was read back past the page cache.
    pub origin: Origin,
}

/// An undo: the journal, and where its members are now.
pub struct Undo<'a> {
    /// One for each member of the journal; none for those that nothing was written to.
    pub targets: &'a [Option<UndoTarget<'a>>],
    /// Old bytes are put back whatever is there now.
    pub force_changed: bool,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
}

impl UndoError {
    /// The exit code: 4 where another program uses the journal, 130 where it was interrupted, else 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::InUse { .. } => 4,
            Self::Interrupted => 130,
            _ => 3,
        }
    }
}

impl Undo<'_> {
    /// The member of that number, where it is to be put back.
    pub(super) fn target(&self, member: usize) -> Option<&UndoTarget<'_>> {
        self.targets.get(member)?.as_ref()
    }
}

/// The member's length in bytes now.
pub(super) fn length_of(target: &UndoTarget) -> Result<u64, UndoError> {
    let failed = |error| UndoError::Member { member: target.name.clone(), doing: "can't be looked at".into(), error };
    target.storage.length().map_err(failed)
}

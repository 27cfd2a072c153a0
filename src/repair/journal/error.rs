//! Why a journal can't be used.

use std::io;

use super::format::VERSION;
use crate::member::MemberName;

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something else.
    #[error(
        "{journal}: is no journal of quorum-img\nhint: name the one that the repair told of, NAME.quorum-journal beside its first member unless it was told otherwise"
    )]
    Foreign {
        /// Its name.
        journal: MemberName,
    },
    /// Of a later version of this program.
    #[error("{journal}: has version {version} of the format, and this program reads {VERSION}\nhint: use the quorum-img that wrote it")]
    Version {
        /// Its name.
        journal: MemberName,
        /// The version it says.
        version: u32,
    },
    /// Checksums don't match.
    #[error(
        "{journal}: is damaged at offset {offset:#x}, so nothing is done by it\n\
         hint: take the journal from a backup or another disk; without one, quorum-img check tells how the members stand"
    )]
    Damaged {
        /// Its name.
        journal: MemberName,
        /// Where, in bytes.
        offset: u64,
    },
    /// The system's word.
    #[error("{journal}: can't be read at offset {offset:#x}: {error}\nhint: copy it to another disk first, and name the copy")]
    Read {
        /// Its name.
        journal: MemberName,
        /// Where, in bytes.
        offset: u64,
        /// The system's word.
        error: io::Error,
    },
}

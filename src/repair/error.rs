//! Why no image was made.

use std::io;

use crate::{member::MemberName, report::human_size, scan::ScanError};

/// Why a repair wrote no image. Nothing of it is left where the output should be.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// A version could win that most members don't hold.
    #[error(
        "a threshold of {threshold} is below the majority of {members} members ({majority}), so a version can win that most members don't hold\n\
         hint: leave --threshold out, or say --force minority where you know that the others are wrong"
    )]
    Minority {
        /// As given.
        threshold: usize,
        /// How many there are.
        members: usize,
        /// More than half.
        majority: usize,
    },
    /// No size has enough votes.
    #[error("the members don't agree on the virtual size: {sizes}\nhint: say which is right with --size BYTES")]
    SizeUndecided {
        /// Each member with its size.
        sizes: String,
    },
    /// A longer member holds data behind the voted end.
    #[error(
        "{member}: holds data behind the voted end, at offset {offset:#x}; an image of {size} bytes would cut it off\n\
         hint: say which size is right with --size, for instance --size {longer} to keep it, or --size {size} to cut"
    )]
    CutsOff {
        /// Who.
        member: MemberName,
        /// The first such byte.
        offset: u64,
        /// The voted size in bytes.
        size: u64,
        /// The member's size in bytes.
        longer: u64,
    },
    /// The output can't be what is named.
    #[error("{output}: {what}\nhint: {hint}")]
    Target {
        /// As the user named it.
        output: MemberName,
        /// What stands against it.
        what: String,
        /// The way out.
        hint: &'static str,
    },
    /// The system refused something at the output.
    #[error("{output}: {doing}: {error}\nhint: {hint}")]
    Output {
        /// As the user named it.
        output: MemberName,
        /// What was tried.
        doing: String,
        /// The system's word.
        error: io::Error,
        /// The way out.
        hint: &'static str,
    },
    /// Too little room.
    #[error(
        "{output}: about {} are needed and {} are free on its file system\n\
         hint: free some space or choose another folder; --force space tries it all the same",
        human_size(*.needed), human_size(*.free)
    )]
    Space {
        /// As the user named it.
        output: MemberName,
        /// Bytes of data that the members hold.
        needed: u64,
        /// Bytes that the user may still write.
        free: u64,
    },
    /// What was written isn't what is read back.
    #[error(
        "{output}: reads back differently than it was written, between offsets {from:#x} and {to:#x}\n\
         hint: don't trust this storage or this machine's memory; an output file was not kept, a device must be written anew"
    )]
    ReadBack {
        /// As the user named it.
        output: MemberName,
        /// First byte of the part.
        from: u64,
        /// One past its last byte.
        to: u64,
    },
    /// The members said something else the second time.
    #[error(
        "the members gave other answers when they were read again, so what was written is not to be used\n\
         hint: stop whatever writes to them, and run this again"
    )]
    Unsteady,
    /// Another digest than expected.
    #[error(
        "{output}: its SHA-256 would be {found}, not the expected {expected}; nothing was written or kept\nhint: another --undecided or --pick may give the right bytes"
    )]
    Digest {
        /// As the user named it.
        output: MemberName,
        /// As computed.
        found: String,
        /// As given.
        expected: String,
    },
    /// An earlier report that can't be used.
    #[error("{report}: {what}\nhint: {hint}")]
    Earlier {
        /// The report's file.
        report: MemberName,
        /// What stands against it.
        what: String,
        /// The way out.
        hint: &'static str,
    },
    /// The scan ended early.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

impl RepairError {
    /// The exit code: 2 where a person has to decide, else 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::SizeUndecided { .. } | Self::CutsOff { .. } => 2,
            _ => 3,
        }
    }
}

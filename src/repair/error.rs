//! Why no image was made.

use std::io;

use super::{journal::JournalError, undo::UndoError};
use crate::{
    electorate::in_words,
    member::MemberName,
    report::{GuardReport, human_size},
    scan::ScanError,
    sys::locks::Holder,
};

/// Why a repair wrote no image. Nothing of it is left where the output should be.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Guards stand in the way.
    #[error("{message}")]
    Guarded {
        /// What they go by, and the ways out.
        message: String,
        /// All of them.
        guards: Vec<GuardReport>,
    },
    /// No size has enough votes.
    #[error("the members don't agree on the virtual size: {sizes}\nhint: say which is right with --size BYTES")]
    SizeUndecided {
        /// Each member with its size.
        sizes: String,
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
        "{output}: its {kind} would be {found}, not the expected {expected}; nothing was written or kept\nhint: another --undecided or --pick may give the right bytes"
    )]
    Digest {
        /// As the user named it.
        output: MemberName,
        /// `SHA-256` or `BLAKE3`.
        kind: &'static str,
        /// As computed.
        found: String,
        /// As given.
        expected: String,
    },
    /// Something changed between the vote and the first write.
    #[error("{member}: changed since it was voted on: {what}; nothing was written\nhint: stop whatever writes to it, and run this again")]
    Changed {
        /// Which one.
        member: MemberName,
        /// What is different.
        what: String,
    },
    /// A member failed while the repair was at work: what was planned relied on its vote.
    #[error(
        "{member}: failed while the repair was at work: {why}; nothing more was written to any member\n\
         hint: bring it back, or leave it to the others: the same command goes on from here; quorum-img undo takes back what was done"
    )]
    Failed {
        /// Which one.
        member: MemberName,
        /// Why.
        why: String,
    },
    /// A journal stands there already.
    #[error("{journal}: the journal of an earlier repair ({state}) of {holds} stands there, and is never overwritten\nhint: {hint}")]
    JournalExists {
        /// Its name.
        journal: MemberName,
        /// How far that repair came.
        state: &'static str,
        /// Its members.
        holds: String,
        /// The way out.
        hint: String,
    },
    /// A repair or an undo that runs uses the journal.
    #[error("{journal}: the journal is in use by {}\nhint: let that one end, or stop it; then run this again", in_words(.holders))]
    JournalInUse {
        /// Its name.
        journal: MemberName,
        /// Who, as far as can be seen.
        holders: Vec<Holder>,
    },
    /// A member isn't as the session before left it: somebody wrote to it since, or its medium fails.
    #[error(
        "{member}: it isn't as the repair that was cut off left it: {what}\n\
         hint: quorum-img undo takes back what was repaired so far, where that is still possible; --force changed goes on all the same, \
         and an undo will then take away what was written there"
    )]
    WrittenSince {
        /// Which one.
        member: MemberName,
        /// What is different.
        what: String,
    },
    /// Images in which a repair was cut off, and nothing is to be written.
    #[error(
        "{member}: a repair of it was cut off, as {journal} tells, so what it holds now says nothing\n\
         hint: run the repair again without --dry-run, or take it back with quorum-img undo {}", .journal.quoted()
    )]
    CutOff {
        /// Which one.
        member: MemberName,
        /// Which tells of it.
        journal: MemberName,
    },
    /// The same, and it wasn't opened for writing.
    #[error("{member}: a repair of it was cut off, and it isn't to be written to now\nhint: run the same command again")]
    CutOffUnwritten {
        /// Which one.
        member: MemberName,
    },
    /// The same, and nobody has put it back.
    #[error("{member}: a repair of it was cut off, and it was not put back before it was looked at; nothing was written\nhint: take it back with quorum-img undo {}", .journal.quoted())]
    NotPutBack {
        /// Which one.
        member: MemberName,
        /// Which tells of it.
        journal: MemberName,
    },
    /// Asked, somebody said no.
    #[error("nothing was written\nhint: the same command asks again")]
    Declined,
    /// A member's file can't be looked at.
    #[error("{member}: {error}\nhint: look at the storage that holds it, and run this again")]
    Look {
        /// Which one.
        member: MemberName,
        /// The system's word.
        error: io::Error,
    },
    /// The undo of a repair that was cut off says no.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// A journal that can't be opened.
    #[error("{journal}: can't be opened: {error}\nhint: look at it, or name another place for the journal with --journal")]
    JournalOpen {
        /// Its name.
        journal: MemberName,
        /// The system's word.
        error: io::Error,
    },
    /// Something else stands where the journal should be.
    #[error("{journal}: is no journal of quorum-img, and is never overwritten\nhint: name another place for the journal with --journal")]
    JournalForeign {
        /// Its name.
        journal: MemberName,
    },
    /// An unfinished journal of something else.
    #[error(
        "{journal}: an unfinished journal stands there, but {what}\nhint: run the repair again as it was begun, undo it with quorum-img undo, or choose another name with --journal"
    )]
    JournalOther {
        /// Its name.
        journal: MemberName,
        /// What is different.
        what: String,
    },
    /// The journal can't be made.
    #[error("{journal}: the journal can't be made: {error}; no member was changed\nhint: about {} are needed: {hint}", human_size(*.needed))]
    JournalCreate {
        /// Its name.
        journal: MemberName,
        /// The system's word.
        error: io::Error,
        /// Bytes that it takes.
        needed: u64,
        /// The way out.
        hint: &'static str,
    },
    /// The journal takes no more.
    #[error("{journal}: the journal can't be written to: {error}; nothing was written to a member after that\nhint: make room and run this again: it goes on; quorum-img undo {} takes back what was done", .journal.quoted())]
    JournalWrite {
        /// Its name.
        journal: MemberName,
        /// The system's word.
        error: io::Error,
    },
    /// The journal can't be read, or isn't one.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A surplus that can't be kept can't be cut.
    #[error(
        "{member}: its surplus can't be read at offset {offset:#x}, so it can't be journalled, and isn't cut\nhint: leave --truncate out"
    )]
    Surplus {
        /// Which one.
        member: MemberName,
        /// Where, in bytes.
        offset: u64,
    },
    /// An earlier report that can't be used.
    #[error("--from {report}: {what}\nhint: {hint}")]
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
    /// An image that must not be rewritten.
    #[error("{member}: {what}, so it isn't rewritten, and nothing was written to any member\nhint: {hint}")]
    Image {
        /// Which one.
        member: MemberName,
        /// Why.
        what: String,
        /// The way out.
        hint: &'static str,
    },
    /// The options for a qcow2 image make none.
    #[error("{0}")]
    Options(String),
}

impl RepairError {
    /// The exit code: 2 where a person has to decide, else 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::SizeUndecided { .. } | Self::Guarded { .. } => 2,
            Self::JournalInUse { .. } => 4,
            Self::Undo(error) => error.exit_code(),
            Self::JournalCreate { error, .. } if error.kind() == io::ErrorKind::Interrupted => 130,
            _ => 3,
        }
    }
}

//! What a file's first bytes say of its format.

use super::{foreign::foreign_format, given::Format};
use crate::member::{Member, MemberName, qcow2::MAGIC};

/// The format can't be taken for granted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A journal of an in-place repair.
    #[error(
        "{member}: this is the journal of an in-place repair, not a disk image\n\
         hint: quorum-img info tells what it holds, quorum-img undo puts it back"
    )]
    Journal {
        /// Which one.
        member: MemberName,
    },
    /// A format that another program reads.
    #[error("{member}: looks like {name}, which isn't compared as a disk here\nhint: {way}; raw:{} compares the file itself, byte for byte", .member.quoted())]
    Foreign {
        /// Which one.
        member: MemberName,
        /// What it looks like.
        name: &'static str,
        /// The way for it to vote.
        way: String,
    },
    /// Members whose formats were guessed are taken for different things.
    #[error(
        "the members' formats had to be guessed, and they don't look alike: {}\n\
         hint: a qcow2 image whose first bytes are damaged looks raw: say what they are, -f qcow2 or -f raw for all, qcow2:PATH or raw:PATH for one",
        listed(.guesses)
    )]
    Unlike {
        /// Every member that was guessed, with its guess.
        guesses: Vec<(MemberName, Format)>,
    },
    /// Something is to be written by a guess.
    #[error(
        "{member}: it looks like a qcow2 image, and what looks so isn't enough to write by\n\
         hint: -f qcow2 repairs what the guest sees; -f raw repairs the files themselves, byte for byte (right for replicas that were copied as files)"
    )]
    Guessed {
        /// Which one.
        member: MemberName,
    },
}

fn listed(guesses: &[(MemberName, Format)]) -> String {
    guesses.iter().map(|(name, format)| format!("{name} looks {}", format.name())).collect::<Vec<_>>().join(", ")
}

/// What a journal of an in-place repair begins with (docs/journal.md).
pub const JOURNAL_MAGIC: &[u8; 8] = b"QIMGJNL\0";

/// Refuses a journal, which is no disk.
///
/// # Errors
/// See [`FormatError`].
pub fn refuse_journal(member: &dyn Member) -> Result<(), FormatError> {
    if looks_like_journal(member) {
        return Err(FormatError::Journal { member: member.name().clone() });
    }
    Ok(())
}

/// Refuses a format that only another program reads.
///
/// # Errors
/// See [`FormatError`].
pub fn refuse_foreign(member: &dyn Member) -> Result<(), FormatError> {
    let Some(foreign) = foreign_format(member) else { return Ok(()) };
    let way = foreign.way(&member.name().quoted());
    Err(FormatError::Foreign { member: member.name().clone(), name: foreign.name, way })
}

/// The format by the first bytes: what doesn't start as a qcow2 file does is raw (QEMU, docs/interop/qcow2.rst, "Header").
#[must_use]
pub fn guess_format(member: &dyn Member) -> Format {
    let mut magic = [0; MAGIC.len()];
    let starts = member.size() >= magic.len() as u64 && member.read(0, &mut magic, &mut None).is_ok() && magic == *MAGIC;
    if starts { Format::Qcow2 } else { Format::Raw }
}

/// Whether the member starts as a journal of an in-place repair does (docs/journal.md, "Header").
#[must_use]
pub fn looks_like_journal(member: &dyn Member) -> bool {
    let mut magic = [0; JOURNAL_MAGIC.len()];
    member.size() >= magic.len() as u64 && member.read(0, &mut magic, &mut None).is_ok() && magic == *JOURNAL_MAGIC
}

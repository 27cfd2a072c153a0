//! What a file's first bytes say of its format.

use super::{Member, MemberName};

/// The format can't be taken for granted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// qcow2's magic stands at the start.
    #[error(
        "{member}: offset 0x0 holds a qcow2 header, and this version reads raw images only\n\
         hint: -f raw votes on the files themselves, byte for byte (right for replicas that were copied as files); \
         for what the guest sees, convert the copies first: qemu-img convert -O raw"
    )]
    Qcow2 {
        /// Which one.
        member: MemberName,
    },
    /// A journal of an in-place repair.
    #[error(
        "{member}: this is the journal of an in-place repair, not a disk image\n\
         hint: quorum-img info tells what it holds, quorum-img undo puts it back"
    )]
    Journal {
        /// Which one.
        member: MemberName,
    },
}

/// What a journal of an in-place repair begins with (docs/journal.md).
pub const JOURNAL_MAGIC: &[u8; 8] = b"QIMGJNL\0";

/// Refuses what is no raw image by its first bytes.
///
/// # Errors
/// See [`FormatError`].
pub fn refuse_other_formats(member: &dyn Member) -> Result<(), FormatError> {
    if looks_like_qcow2(member) {
        return Err(FormatError::Qcow2 { member: member.name().clone() });
    }
    if looks_like_journal(member) {
        return Err(FormatError::Journal { member: member.name().clone() });
    }
    Ok(())
}

/// Whether the member starts as a qcow2 file does (QEMU, docs/interop/qcow2.rst, "Header": magic `QFI\xfb`).
#[must_use]
fn looks_like_qcow2(member: &dyn Member) -> bool {
    let mut magic = [0; 4];
    member.size() >= 4 && member.read(0, &mut magic, &mut None).is_ok() && magic == *b"QFI\xfb"
}

/// Whether the member starts as a journal of an in-place repair does (docs/journal.md, "Header").
#[must_use]
pub fn looks_like_journal(member: &dyn Member) -> bool {
    let mut magic = [0; JOURNAL_MAGIC.len()];
    member.size() >= magic.len() as u64 && member.read(0, &mut magic, &mut None).is_ok() && magic == *JOURNAL_MAGIC
}

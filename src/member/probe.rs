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
}

/// Whether the member starts as a qcow2 file does (QEMU, docs/interop/qcow2.rst, "Header": magic `QFI\xfb`).
#[must_use]
pub fn looks_like_qcow2(member: &dyn Member) -> bool {
    let mut magic = [0; 4];
    member.size() >= 4 && member.read(0, &mut magic, &mut None).is_ok() && magic == *b"QFI\xfb"
}

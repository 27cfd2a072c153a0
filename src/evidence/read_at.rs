//! All that evidence asks of what it looks at: bytes at a place.

use crate::{member::Member, sys::storage::Storage};

/// Bytes that can be looked at: a member's, a new image's, a journal's, a file's.
pub trait ReadAt {
    /// How many there are.
    fn length(&self) -> u64;

    /// Reads all of `bytes` from `offset` on; false where they can't be had.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool;
}

/// `length` bytes from `offset` on; none where they aren't all there, or can't be read.
pub(super) fn bytes_at(from: &(impl ReadAt + ?Sized), offset: u64, length: usize) -> Option<Vec<u8>> {
    let end = offset.checked_add(length as u64)?;
    let mut bytes = vec![0; length];
    (end <= from.length() && from.read_at(offset, &mut bytes)).then_some(bytes)
}

impl ReadAt for dyn Member + '_ {
    fn length(&self) -> u64 {
        self.size()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool {
        self.read(offset, bytes, &mut None).is_ok()
    }
}

impl ReadAt for dyn Storage + '_ {
    fn length(&self) -> u64 {
        Storage::length(self).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool {
        self.read(offset, bytes).is_ok_and(|held| held == bytes.len())
    }
}

impl ReadAt for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let held = usize::try_from(offset).ok().and_then(|start| self.get(start..start.checked_add(bytes.len())?));
        held.is_some_and(|held| {
            bytes.copy_from_slice(held);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::bytes_at;
    use crate::{evidence::find_file_system, sys::storage::Storage};

    /// What a member's file system looks like can be seen in any bytes: those of a new image, or those that a journal kept.
    #[test]
    fn bytes_in_memory_and_in_files_are_evidence_alike() {
        let mut disk = vec![0; 8192];
        disk[4096..4100].copy_from_slice(b"XFSB");
        disk[4096 + 108..4096 + 112].copy_from_slice(b"home");
        let file = tempfile::tempfile().expect("a temporary file");
        Storage::write(&file, 0, &disk).expect("it can be written");
        for found in [find_file_system(&disk[..], 4096), find_file_system(&file as &dyn Storage, 4096)] {
            let found = found.expect("its signature is there");
            assert_eq!((found.kind, found.label.as_str()), ("xfs", "home"));
        }
        assert_eq!(find_file_system(&disk[..], 0), None);
    }

    #[test]
    fn what_is_not_all_there_is_not_read() {
        let bytes = [1u8, 2, 3];
        assert_eq!(bytes_at(&bytes[..], 1, 2), Some(vec![2, 3]));
        assert_eq!(bytes_at(&bytes[..], 2, 2), None);
        assert_eq!(bytes_at(&bytes[..], u64::MAX, 2), None);
    }
}

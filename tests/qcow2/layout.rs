//! Where things lie in a qcow2 file, found by the plainest reading of QEMU's `docs/interop/qcow2.rst`: for tests that damage one
//! thing and know which.

use std::path::Path;

use super::support::Lab;

/// Big-endian numbers, as qcow2 has them.
pub fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A file's tables, as they were when it was looked at.
pub struct Layout {
    bytes: Vec<u8>,
    /// Bytes in a cluster.
    pub cluster: u64,
    /// Where the L1 table begins.
    pub l1_table: u64,
    /// Entries in the L1 table.
    pub l1_entries: u64,
    /// Bytes in an L2 entry.
    entry: u64,
}

/// The bits of an L1 or L2 entry that are an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

impl Layout {
    pub fn of(lab: &Lab, image: &Path) -> Self {
        let bytes = lab.bytes(image);
        assert!(bytes.starts_with(b"QFI\xfb"), "{} is no qcow2", image.display());
        let extended = be32(&bytes, 4) == 3 && be64(&bytes, 72) & 0x10 != 0;
        Self {
            cluster: 1 << be32(&bytes, 20),
            l1_table: be64(&bytes, 40),
            l1_entries: be32(&bytes, 36).into(),
            entry: if extended { 16 } else { 8 },
            bytes,
        }
    }

    /// Guest bytes that one L2 table is for.
    pub fn reach(&self) -> u64 {
        self.cluster / self.entry * self.cluster
    }

    /// Where the L1 entry for this guest offset is.
    pub fn l1_entry(&self, guest: u64) -> u64 {
        self.l1_table + guest / self.reach() * 8
    }

    /// Where the L2 table for this guest offset begins.
    pub fn l2_table(&self, guest: u64) -> u64 {
        let table = self.number(self.l1_entry(guest)) & OFFSET;
        assert_ne!(table, 0, "no L2 table for guest offset {guest}");
        table
    }

    /// Where the L2 entry for this guest offset is.
    pub fn l2_entry(&self, guest: u64) -> u64 {
        self.l2_table(guest) + guest % self.reach() / self.cluster * self.entry
    }

    /// Where the guest's data lies, of a cluster that isn't compressed.
    pub fn data(&self, guest: u64) -> u64 {
        let entry = self.number(self.l2_entry(guest));
        assert!(entry >> 62 & 1 == 0 && entry & OFFSET != 0, "no plain cluster at guest offset {guest}: {entry:#x}");
        (entry & OFFSET) + guest % self.cluster
    }

    /// Where a compressed cluster's bytes begin, and how many there may be.
    pub fn compressed(&self, guest: u64) -> (u64, u64) {
        let entry = self.number(self.l2_entry(guest));
        assert!(entry >> 62 & 1 == 1, "no compressed cluster at guest offset {guest}: {entry:#x}");
        let offset_bits = 62 - (self.cluster.trailing_zeros() - 8);
        let offset = entry & ((1 << offset_bits) - 1);
        let more_sectors = (entry & ((1 << 62) - 1)) >> offset_bits;
        (offset, (more_sectors + 1) * 512 - offset % 512)
    }

    /// The number in the file at this offset.
    pub fn number(&self, at: u64) -> u64 {
        be64(&self.bytes, usize::try_from(at).expect("a small file"))
    }

    /// Everything that isn't the guest's data: the header, the L1 table and every L2 table, as ranges of the file.
    pub fn metadata(&self) -> Vec<std::ops::Range<u64>> {
        let mut found = vec![0..0x200.min(self.cluster), self.l1_table..self.l1_table + self.l1_entries * 8];
        for index in 0..self.l1_entries {
            let table = self.number(self.l1_table + index * 8) & OFFSET;
            if table != 0 {
                found.push(table..table + self.cluster);
            }
        }
        found
    }
}

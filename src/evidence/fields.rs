//! Numbers in structures: little-endian as most disks have them, big-endian as jbd2, XFS and LUKS do.

/// The bytes of a field; a structure was read as a whole before its fields are looked at.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("as many bytes as asked for")
}

pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(field(bytes, at))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(bytes, at))
}

pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(bytes, at))
}

/// Sixteen bytes, as UUIDs are kept.
pub(super) fn uuid(bytes: &[u8], at: usize) -> [u8; 16] {
    field(bytes, at)
}

/// The CRC-32C as Linux' `crc32c(seed, ...)` computes it: without the inversions at both ends.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The same over `bytes` with the field of `length` bytes at `at` taken to be zeros, as most structures that hold their own sum want it.
pub(super) fn crc32c_without(seed: u32, bytes: &[u8], at: usize, length: usize) -> u32 {
    const ZEROS: [u8; 64] = [0; 64];
    crc32c(crc32c(crc32c(seed, &bytes[..at]), &ZEROS[..length]), &bytes[at + length..])
}

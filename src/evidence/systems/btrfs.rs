//! btrfs: who it is, and its generation. Sources: Linux, `include/uapi/linux/btrfs_tree.h` (`struct btrfs_super_block`),
//! `fs/btrfs/fs.h` (`btrfs_csum_type`).

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh64::xxh64;

use super::{
    super::{
        Age, Id, Origin, ReadAt, bytes_at,
        fields::{crc32c, le16, le64, uuid},
    },
    said::Said,
};

/// Where the superblock lies, and its first copy.
const SUPERBLOCKS_AT: [u64; 2] = [64 << 10, 64 << 20];
const SUPERBLOCK_BYTES: usize = 4096;

/// Who it is, and how old: by the newest superblock whose sum holds.
pub(super) fn ask(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Said> {
    let sound = SUPERBLOCKS_AT.iter().filter_map(|&at| {
        let bytes = bytes_at(from, start.checked_add(at)?, SUPERBLOCK_BYTES)?;
        (&bytes[0x40..0x48] == b"_BHRfS_M" && le64(&bytes, 0x30) == at && holds(&bytes)).then_some(bytes)
    });
    let superblock = sound.max_by_key(|bytes| le64(bytes, 0x48))?;
    let id = uuid(&superblock, 0x20);
    let age = Age { origin: Origin { kind: "btrfs", id }, counter: Some(le64(&superblock, 0x48)), seconds: None };
    Some(Said { ids: vec![Id { kind: "btrfs", value: id.to_vec(), summed: true }], age: Some(age) })
}

/// Whether the sum holds; of BLAKE2 nothing is known.
fn holds(superblock: &[u8]) -> bool {
    let summed = &superblock[32..];
    match le16(superblock, 0xc4) {
        0 => (!crc32c(!0, summed)).to_le_bytes() == superblock[..4],
        1 => xxh64(summed, 0).to_le_bytes() == superblock[..8],
        2 => Sha256::digest(summed)[..] == superblock[..32],
        _ => false,
    }
}

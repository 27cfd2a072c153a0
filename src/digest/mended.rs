//! Digests with their checksums made anew, for tests: behind a checksum that holds anybody may have written anything.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{format::MAGIC, page::PAGE_BYTES};

/// The bytes of a digest, whatever they are, so that its header and its pages hold as far as checksums can tell.
#[doc(hidden)]
#[must_use]
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < PAGE_BYTES {
        bytes.resize(PAGE_BYTES, 0);
    }
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&[1, 0, 0, 0, 0, 0x10, 0, 0]);
    let pages = (bytes.len() - PAGE_BYTES) / PAGE_BYTES;
    bytes.truncate((pages + 1) * PAGE_BYTES);
    bytes[64..72].copy_from_slice(&(pages as u64).to_le_bytes());
    let seed = xxh3_64(&bytes[16..64]);
    for page in bytes[PAGE_BYTES..].chunks_exact_mut(PAGE_BYTES) {
        let sum = xxh3_64_with_seed(&page[8..], seed);
        page[..8].copy_from_slice(&sum.to_le_bytes());
    }
    bytes[112..120].fill(0);
    let sum = xxh3_64(&bytes[..PAGE_BYTES]);
    bytes[112..120].copy_from_slice(&sum.to_le_bytes());
    bytes
}

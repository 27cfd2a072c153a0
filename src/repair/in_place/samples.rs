//! A member's fingerprint: checksums of bytes that a repair doesn't touch.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    member::Readable,
    repair::journal::{Identity, SAMPLE_BYTES, Sample},
    vote::ByteRange,
};

/// Places that are looked at, spread evenly.
const PLACES: u64 = 64;

/// The identity with samples of what isn't `touched`.
pub(super) fn with_samples(identity: &Identity, member: &dyn Readable, touched: &dyn Fn(ByteRange) -> bool) -> Identity {
    let mut samples: Vec<Sample> = Vec::new();
    let blocks = member.size().div_ceil(SAMPLE_BYTES);
    let mut bytes = vec![0; SAMPLE_BYTES as usize];
    for place in 0..PLACES.min(blocks) {
        let block = (u128::from(blocks - 1) * u128::from(place) / u128::from((PLACES.min(blocks) - 1).max(1))) as u64;
        let offset = block * SAMPLE_BYTES;
        let range = ByteRange::new(offset, (offset + SAMPLE_BYTES).min(member.size()));
        let bytes = &mut bytes[..range.length() as usize];
        if !touched(range) && member.read(offset, bytes, &mut None).is_ok() {
            samples.push(Sample { offset, hash: xxh3_64(bytes) });
        }
    }
    Identity { samples, ..identity.clone() }
}

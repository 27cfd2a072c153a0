//! What was written, in few bytes: enough to tell at the read-back whether it is there, whatever the order of the writes. Pure.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::vote::{ByteRange, is_zero};

/// The piece that is hashed: all writes begin and end at its multiples, or at the image's end.
const PIECE_BYTES: usize = 512;
/// Pieces of so many bytes share a sum: 16 MiB of sums for 64 TiB of data.
pub(super) const GROUP_BYTES: u64 = 64 << 20;

/// For each group the sum of its pieces. Zeros add nothing, be they written, skipped or holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    sums: BTreeMap<u64, u64>,
}

impl Fingerprint {
    /// Adds bytes at `offset` (a multiple of 512).
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (group, end) = (at / GROUP_BYTES, (at / GROUP_BYTES + 1) * GROUP_BYTES);
            let here = rest.len().min((end - at) as usize);
            let sum = sum_of(at, &rest[..here]);
            if sum != 0 {
                *self.sums.entry(group).or_default() ^= sum;
            }
            (at, rest) = (at + here as u64, &rest[here..]);
        }
    }

    /// Adds what another one holds.
    pub(super) fn join(&mut self, other: &Self) {
        for (&group, sum) in &other.sums {
            *self.sums.entry(group).or_default() ^= sum;
        }
    }

    /// The sum of the group that holds `offset`.
    pub(super) fn sum_at(&self, offset: u64) -> u64 {
        self.sums.get(&(offset / GROUP_BYTES)).copied().unwrap_or(0)
    }

    /// The groups with anything but zeros, as ranges of bytes, ascending.
    pub(super) fn groups(&self) -> impl Iterator<Item = ByteRange> + '_ {
        let of = |group: u64| ByteRange::new(group * GROUP_BYTES, (group + 1).saturating_mul(GROUP_BYTES));
        self.sums.iter().filter(|&(_, &sum)| sum != 0).map(move |(&group, _)| of(group))
    }
}

/// The sum of the bytes at `offset` (a multiple of 512); 0 for zeros.
pub(super) fn sum_of(offset: u64, bytes: &[u8]) -> u64 {
    debug_assert!(offset.is_multiple_of(PIECE_BYTES as u64));
    let pieces = bytes.chunks(PIECE_BYTES).zip((offset..).step_by(PIECE_BYTES));
    pieces.filter(|(piece, _)| !is_zero(piece)).fold(0, |sum, (piece, at)| sum ^ mixed(xxh3_64(piece) ^ mixed(at)))
}

/// Spreads every bit over all (the finaliser of `SplitMix64`): a sum must tell a piece from the same piece at another place.
pub(super) fn mixed(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, GROUP_BYTES};

    #[test]
    fn tells_places_and_bytes_apart_but_not_the_order() {
        let of = |writes: &[(u64, &[u8])]| {
            let mut print = Fingerprint::default();
            for &(offset, bytes) in writes {
                print.add(offset, bytes);
            }
            print
        };
        let (a, b) = ([1; 512], [2; 512]);
        let both = of(&[(0, &a), (512, &b)]);
        assert_eq!(both, of(&[(512, &b), (0, &a)]));
        assert_eq!(both, of(&[(0, &[a, b].concat())]));
        assert_eq!(both, of(&[(0, &a), (512, &b), (4096, &[0; 9000])]), "zeros add nothing");
        assert_ne!(both, of(&[(0, &b), (512, &a)]), "swapped");
        assert_ne!(of(&[(0, &a)]), of(&[(0, &a[..511])]));
        let across = of(&[(GROUP_BYTES - 512, &[a, b].concat())]);
        assert_eq!(across, of(&[(GROUP_BYTES, &b), (GROUP_BYTES - 512, &a)]));
        assert_eq!(across.groups().count(), 2);
    }
}

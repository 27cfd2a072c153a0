//! What a losing version looks like beside the one that won: consistent with a kind of damage, and never a proof of it. Pure.

use super::damage::has_few_flips;
use crate::vote::{Pattern, is_zero};

/// The unit in bytes in which flipped bits are counted.
const UNIT: usize = 512;
/// Longest text that a filler repeats, in bytes.
const PERIOD_MAX: usize = 8;
/// How far bytes are looked for that were shifted, and how many must agree then.
const SHIFT_MAX: usize = 64;
const SHIFTED_MIN: usize = 128;

/// A kind of damage that a losing version is consistent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Zeros where the others hold data.
    Zeroed,
    /// All bits set.
    Ones,
    /// A byte or a short text, repeated; or our own marker.
    Filled(Vec<u8>),
    /// A few flipped bits.
    Flips {
        /// How many went from 0 to 1, and how many from 1 to 0.
        set: u32,
        /// See `set`.
        cleared: u32,
        /// Which bits of a byte, as a mask.
        bits: u8,
        /// Which bytes of eight, as a mask: a line of memory, or of a bus, carries one of them.
        bytes: u8,
    },
    /// The others' bytes, so many bytes further (or, negative, earlier).
    Shifted(i64),
    /// The 16-bit ones' complement sum is the others': what TCP's checksum can't see (RFC 1071). One place in 65536 has it by chance.
    SameSum,
    /// Data where those who won hold zeros.
    OverZeros,
    /// Bytes without any order where the others' have one.
    Noise,
    /// Other bytes.
    Other,
}

impl Looks {
    /// What `lost` looks like where `won` is right; both of one length.
    #[must_use]
    pub fn of(lost: &[u8], won: &[u8]) -> Self {
        if is_zero(lost) {
            return Self::Zeroed;
        }
        if let Some(filler) = repeated(lost) {
            return if filler == [0xff] { Self::Ones } else { Self::Filled(filler) };
        }
        if let Some(flips) = few_flips(lost, won) {
            return flips;
        }
        if is_zero(won) {
            return Self::OverZeros;
        }
        if let Some(shift) = shifted(lost, won) {
            return Self::Shifted(shift);
        }
        if sum(lost) == sum(won) {
            return Self::SameSum;
        }
        if is_noise(lost) && !is_noise(won) { Self::Noise } else { Self::Other }
    }

    /// As reports have it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Zeroed => "zeroed",
            Self::Ones => "ones",
            Self::Filled(_) => "filled",
            Self::Flips { .. } => "bit-flips",
            Self::Shifted(_) => "shifted",
            Self::SameSum => "same-sum",
            Self::OverZeros => "over-zeros",
            Self::Noise => "noise",
            Self::Other => "other",
        }
    }

    /// What a fill looks like so many bytes further on: a text goes on where it left off. Of our own marker each sector begins anew.
    #[must_use]
    pub fn further_on(&self, bytes: u64) -> Self {
        match self {
            Self::Filled(text) if !text.is_empty() && text != MARKED => {
                let mut text = text.clone();
                let by = (bytes % text.len() as u64) as usize;
                text.rotate_left(by);
                Self::Filled(text)
            }
            other => other.clone(),
        }
    }
}

/// What stands for our own marker, whose offset differs from sector to sector.
const MARKED: &[u8] = b"QUORUM-IMG: UNDECIDED SECTOR";

/// The shortest text that, repeated, makes all of `bytes`, if one is short enough.
fn repeated(bytes: &[u8]) -> Option<Vec<u8>> {
    if Pattern::Marker.makes(bytes) {
        return Some(MARKED.to_vec());
    }
    let repeats = |&period: &usize| bytes.len() >= 2 * period && bytes[period..] == bytes[..bytes.len() - period];
    (1..=PERIOD_MAX).find(repeats).map(|period| bytes[..period].to_vec())
}

/// The bits that differ, where no unit has more of them than rot flips.
fn few_flips(lost: &[u8], won: &[u8]) -> Option<Looks> {
    let few = lost.len() == won.len() && lost.chunks(UNIT).zip(won.chunks(UNIT)).all(|(lost, won)| has_few_flips(lost, won));
    let (mut set, mut cleared, mut bits, mut bytes) = (0, 0, 0, 0);
    for ((at, lost), won) in lost.iter().enumerate().zip(won).filter(|_| few) {
        let flipped = lost ^ won;
        bytes |= u8::from(flipped != 0) << (at % 8);
        set += (flipped & lost).count_ones();
        cleared += (flipped & won).count_ones();
        bits |= flipped;
    }
    few.then_some(Looks::Flips { set, cleared, bits, bytes })
}

/// How many bytes further the others' bytes stand, where they do, all but at the ends.
fn shifted(lost: &[u8], won: &[u8]) -> Option<i64> {
    let length = lost.len().min(won.len());
    let telling = |bytes: &[u8]| bytes.len() >= SHIFTED_MIN && bytes.iter().collect::<std::collections::BTreeSet<_>>().len() > 8;
    (1..=SHIFT_MAX.min(length / 2)).find_map(|by| {
        let further = lost[by..length] == won[..length - by] && telling(&won[..length - by]);
        let earlier = lost[..length - by] == won[by..length] && telling(&won[by..length]);
        let by = i64::try_from(by).ok()?;
        if further { Some(by) } else { earlier.then_some(-by) }
    })
}

/// Fewest bytes of which it can be told whether they are without order.
const NOISE_MIN: usize = 512;
/// How far the sum of squares of random bytes lies from its mean at most: six times its deviation (256 values, so 255 and sqrt(2 * 255)).
const NOISE_DEVIATIONS: f64 = 6.0;

/// Whether all values occur about equally often, by Pearson's chi-squared test: encrypted, compressed, or made up.
fn is_noise(bytes: &[u8]) -> bool {
    if bytes.len() < NOISE_MIN {
        return false;
    }
    let mut counts = [0u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let expected = bytes.len() as f64 / 256.0;
    let squares: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    (squares - 255.0).abs() < NOISE_DEVIATIONS * (2.0f64 * 255.0).sqrt()
}

/// The 16-bit ones' complement sum (RFC 1071), 0 and 0xffff being one.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    words.sum::<u64>() % 0xffff
}

#[cfg(test)]
mod tests {
    use super::Looks;

    fn text(length: usize) -> Vec<u8> {
        (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn each_kind_is_known_and_told_from_the_others() {
        let won = text(4096);
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut lost = won.clone();
            change(&mut lost);
            Looks::of(&lost, &won)
        };
        assert_eq!(changed(&|lost| lost.fill(0)), Looks::Zeroed);
        assert_eq!(changed(&|lost| lost.fill(0xff)), Looks::Ones);
        assert_eq!(changed(&|lost| lost.fill(0xf6)), Looks::Filled(vec![0xf6]));
        let (short, marked) = (Looks::Filled(b"abc".to_vec()), Looks::Filled(super::MARKED.to_vec()));
        assert_eq!((short.further_on(65536), marked.further_on(65536)), (Looks::Filled(b"bca".to_vec()), marked), "65536 is 1 more");
        assert_eq!(changed(&|lost| lost.chunks_mut(4).for_each(|four| four.copy_from_slice(b"BAD!"))), Looks::Filled(b"BAD!".to_vec()));
        let was_set = won[77] >> 5 & 1 == 1;
        let (set, cleared) = if was_set { (0, 1) } else { (1, 0) };
        assert_eq!(changed(&|lost| lost[77] ^= 0x20), Looks::Flips { set, cleared, bits: 0x20, bytes: 1 << (77 % 8) });
        assert_eq!(changed(&|lost| lost.rotate_right(3)), Looks::Shifted(3));
        assert_eq!(changed(&|lost| lost.rotate_left(16)), Looks::Shifted(-16));
        // Words of 16 bits changed places, which a sum doesn't see; or bytes within them, which it does.
        assert_eq!(changed(&|lost| (100..200).for_each(|at| lost.swap(at, at + 2001))), Looks::Other);
        let words = changed(&|lost| {
            for at in 100..200 {
                lost.swap(at, at + 2000);
            }
        });
        assert_eq!(words, Looks::SameSum);
        assert_eq!(Looks::of(&text(8192)[4096..], &won), Looks::Other);
    }

    #[test]
    fn short_and_odd_lengths_do_no_harm() {
        for length in [1, 2, 3, 7, 511, 513] {
            let won = text(length);
            let mut lost = won.clone();
            lost[length - 1] ^= 1;
            let _ = (Looks::of(&lost, &won).word(), Looks::of(&won, &won));
        }
    }
}

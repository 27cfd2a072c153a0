//! The vote on the virtual size.

/// The size that a vote settled on, or didn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualSize {
    /// This many bytes won (or were given).
    Decided(u64),
    /// No size won.
    Undecided {
        /// The longest member's size in bytes: what there is to look at.
        longest: u64,
        /// The shortest member's size in bytes: behind it nobody knows whether the disk goes on.
        shortest: u64,
    },
}

impl VirtualSize {
    /// Whether a size won, or was given.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Decided(_))
    }

    /// The bytes to look at.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Decided(size) => size,
            Self::Undecided { longest, .. } => longest,
        }
    }
}

/// Votes on the size as on a sector: at least `threshold` members, and strictly more than for any other size.
///
/// `sizes` are in bytes; a failed member has none and is still counted by the threshold.
#[must_use]
pub fn elect_size(sizes: &[Option<u64>], threshold: usize) -> VirtualSize {
    let mut known: Vec<u64> = sizes.iter().copied().flatten().collect();
    known.sort_unstable();
    let mut counts: Vec<(usize, u64)> = known.chunk_by(|a, b| a == b).map(|same| (same.len(), same[0])).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    match counts[..] {
        [(most, size), ref rest @ ..] if most >= threshold && rest.first().is_none_or(|&(next, _)| next < most) => {
            VirtualSize::Decided(size)
        }
        _ => VirtualSize::Undecided { longest: known.last().copied().unwrap_or(0), shortest: known.first().copied().unwrap_or(0) },
    }
}

#[cfg(test)]
mod tests {
    use super::{
        VirtualSize::{Decided, Undecided},
        elect_size,
    };

    #[test]
    fn sizes_are_elected_by_the_book() {
        for (sizes, threshold, expected, why) in [
            (vec![Some(5), Some(5), Some(9)], 2, Decided(5), "two of three, though shorter"),
            (vec![Some(5), Some(9), Some(9)], 2, Decided(9), "two of three, and longer"),
            (vec![Some(5), Some(9)], 2, Undecided { longest: 9, shortest: 5 }, "one each"),
            (vec![Some(5), Some(5), Some(9), Some(9)], 2, Undecided { longest: 9, shortest: 5 }, "a tie"),
            (vec![Some(5), Some(5), None], 2, Decided(5), "a failed member has no say, but counts"),
            (vec![Some(5), None, None], 2, Undecided { longest: 5, shortest: 5 }, "one is not two"),
            (vec![Some(0), Some(0)], 2, Decided(0), "empty images agree"),
            (vec![None, None], 2, Undecided { longest: 0, shortest: 0 }, "nobody left"),
        ] {
            assert_eq!(elect_size(&sizes, threshold), expected, "{why}");
        }
    }
}

//! Lists of ranges that never outgrow their memory.

use super::ByteRange;

/// Ranges kept at most: 4 MiB of memory.
const RANGES_MAX: usize = 1 << 18;
/// An ascending list of ranges in whole grains, which coarsens where there would be too many: what it holds always covers what was
/// added, and little more.
#[derive(Clone, Debug)]
pub struct CoarseRanges {
    ranges: Vec<ByteRange>,
    grain: u64,
    ranges_max: usize,
}

impl Default for CoarseRanges {
    fn default() -> Self {
        Self { ranges: Vec::new(), grain: Self::GRAIN_MIN, ranges_max: RANGES_MAX }
    }
}

impl CoarseRanges {
    /// The finest grain kept unless another one is wanted, in bytes.
    pub const GRAIN_MIN: u64 = 4096;

    /// One that holds whole grains of so many bytes.
    #[must_use]
    pub fn in_grains_of(grain: u64) -> Self {
        Self { grain, ..Self::default() }
    }

    /// One of so many lists that share the memory of one.
    #[must_use]
    pub fn shared_by(lists: usize) -> Self {
        Self { ranges_max: RANGES_MAX / lists.max(1), ..Self::default() }
    }

    /// Adds a range that starts no earlier than the last one did.
    pub fn add(&mut self, range: ByteRange) {
        self.push(range.widened(self.grain, u64::MAX));
        while self.ranges.len() > self.ranges_max {
            self.grain *= 2;
            let fine = std::mem::take(&mut self.ranges);
            for range in fine {
                self.push(range.widened(self.grain, u64::MAX));
            }
        }
    }

    fn push(&mut self, range: ByteRange) {
        match self.ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => self.ranges.push(range),
        }
    }

    /// The ranges in whole `unit`s, ascending and apart from each other, cut at `limit` bytes.
    #[must_use]
    pub fn finish(self, unit: u64, limit: u64) -> Vec<ByteRange> {
        let mut whole = Self { ranges: Vec::with_capacity(self.ranges.len()), ..Self::default() };
        for range in self.ranges {
            let range = range.widened(unit, limit);
            if !range.is_empty() {
                whole.push(range);
            }
        }
        whole.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, CoarseRanges};
    use proptest::{collection::vec, prelude::*};

    proptest! {
        /// However few ranges may be kept, all that was added is covered, in order, without overlap.
        #[test]
        fn what_was_added_stays_covered(gaps in vec((0u64..50_000, 1u64..9000), 1..200), ranges_max in 1usize..40) {
            let mut ranges = CoarseRanges { ranges_max, ..CoarseRanges::default() };
            let (mut at, mut added) = (0, Vec::new());
            for (gap, length) in gaps {
                at += gap;
                added.push(ByteRange::new(at, at + length));
                ranges.add(ByteRange::new(at, at + length));
                at += length;
            }
            prop_assert!(ranges.ranges.len() <= ranges_max);
            let kept = ranges.finish(512, at);
            prop_assert!(kept.windows(2).all(|pair| pair[0].end < pair[1].start));
            for range in added {
                prop_assert!(kept.iter().any(|wide| wide.start <= range.start && range.end <= wide.end), "{range:?} is lost");
            }
        }
    }
}

//! Half-open ranges of bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The bytes from `start` up to, not including, `end`; offsets in bytes, `start <= end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(into = "(u64, u64)", try_from = "(u64, u64)")]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// In JSON a pair: where it starts and ends.
impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.start, range.end)
    }
}

impl TryFrom<(u64, u64)> for ByteRange {
    type Error = &'static str;

    fn try_from((start, end): (u64, u64)) -> Result<Self, Self::Error> {
        if start <= end { Ok(Self { start, end }) } else { Err("a range that ends before it starts") }
    }
}

impl ByteRange {
    /// The range from `start` to `end`.
    ///
    /// # Panics
    /// Where `end` lies before `start`.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Self {
        assert!(start <= end, "a range of bytes ends at {end}, before its start at {start}");
        Self { start, end }
    }

    /// `length` bytes from `start` on; none where the end would pass 2^64.
    #[must_use]
    pub fn at(start: u64, length: u64) -> Option<Self> {
        Some(Self { start, end: start.checked_add(length)? })
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// What both hold; none where they share no byte.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }

    /// The smallest range of whole `unit`s that holds this one, cut at `limit` bytes.
    #[must_use]
    pub fn widened(self, unit: u64, limit: u64) -> Self {
        let start = self.start - self.start % unit;
        let end = self.end.checked_next_multiple_of(unit).unwrap_or(u64::MAX).min(limit);
        Self { start: start.min(end), end }
    }
}

impl ByteRange {
    /// What of it lies below `end`; nothing where it begins there or behind.
    #[must_use]
    pub fn up_to(self, end: u64) -> Self {
        Self::new(self.start.min(end), self.end.min(end))
    }

    /// Pieces of at most `step` bytes, cut at its multiples.
    pub fn pieces(self, step: u64) -> impl Iterator<Item = Self> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            let piece = Self::new(at, (at - at % step).saturating_add(step).min(self.end).max(at));
            at = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// The same bytes in as few ranges as possible; `ranges` come in the order of their starts.
    #[must_use]
    pub fn joined(ranges: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }

    /// What `ranges` hold and `others` don't; both ascending, each apart from each other.
    #[must_use]
    pub fn without(ranges: &[Self], others: &[Self]) -> Vec<Self> {
        let mut left = Vec::new();
        let mut next = 0;
        for range in ranges {
            let mut at = range.start;
            while next < others.len() && others[next].end <= at {
                next += 1;
            }
            let mut place = next;
            while at < range.end {
                let Some(other) = others.get(place).filter(|other| other.start < range.end) else {
                    left.push(Self::new(at, range.end));
                    break;
                };
                if at < other.start {
                    left.push(Self::new(at, other.start));
                }
                at = at.max(other.end);
                place += 1;
            }
        }
        left
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::ByteRange;

    fn ranges(gaps: &[(u64, u64)]) -> Vec<ByteRange> {
        let mut at = 0;
        let place = |&(gap, length): &(u64, u64)| {
            let start = at + gap;
            at = start + length;
            ByteRange::new(start, at)
        };
        ByteRange::joined(gaps.iter().map(place))
    }

    proptest! {
        #[test]
        fn what_is_taken_away_is_gone_and_nothing_else(a in vec((1u64..9, 1u64..9), 0..20), b in vec((1u64..9, 1u64..9), 0..20)) {
            let (a, b) = (ranges(&a), ranges(&b));
            let left = ByteRange::without(&a, &b);
            let holds = |list: &[ByteRange], byte: u64| list.iter().any(|range| (range.start..range.end).contains(&byte));
            for byte in 0..400 {
                prop_assert_eq!(holds(&left, byte), holds(&a, byte) && !holds(&b, byte), "byte {}", byte);
            }
            prop_assert!(left.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }

    #[test]
    fn widening_keeps_to_units_and_the_limit() {
        assert_eq!(ByteRange::new(513, 514).widened(512, 4096), ByteRange::new(512, 1024));
        assert_eq!(ByteRange::new(0, 1000).widened(512, 1000), ByteRange::new(0, 1000));
        assert_eq!(ByteRange::new(u64::MAX - 1, u64::MAX).widened(512, u64::MAX).end, u64::MAX);
        assert_eq!(ByteRange::new(5000, 6000).widened(512, 4096), ByteRange::new(4096, 4096));
    }

    #[test]
    fn an_end_past_64_bits_is_no_range() {
        assert_eq!(ByteRange::at(u64::MAX, 1), None);
        assert_eq!(ByteRange::at(u64::MAX - 1, 1), Some(ByteRange::new(u64::MAX - 1, u64::MAX)));
    }

    #[test]
    fn pieces_cover_the_range_and_join_to_it() {
        for (start, end, step) in [(0, 10, 4), (3, 3, 4), (3, 17, 4), (5, 6, 4), (u64::MAX - 5, u64::MAX, 4)] {
            let range = ByteRange::new(start, end);
            let pieces: Vec<ByteRange> = range.pieces(step).collect();
            assert!(pieces.iter().all(|piece| piece.length() <= step && piece.start / step == (piece.end - 1) / step), "{pieces:?}");
            let whole: Vec<ByteRange> = (!range.is_empty()).then_some(range).into_iter().collect();
            assert_eq!(ByteRange::joined(pieces), whole);
        }
        let (a, b, c) = (ByteRange::new(0, 9), ByteRange::new(3, 5), ByteRange::new(10, 11));
        assert_eq!(ByteRange::joined([a, b, c]), [a, c]);
    }
}

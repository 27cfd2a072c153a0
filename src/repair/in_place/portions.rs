//! A plan in little memory: what the second vote must say, part by part, however many divergences there are. Pure.

use std::iter::Sum;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    repair::fingerprint::mixed,
    vote::{ByteRange, Run},
};

/// Bytes of divergences, in whole blocks, that a segment holds at first; doubled where there would be too many segments.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Segments kept at most: 48 MiB of memory, 1 TiB of divergences before they grow.
const SEGMENTS_MAX: usize = 1 << 20;
/// Bytes of divergences, in whole blocks, that are worked on at a time unless a test wants less.
pub const PORTION_BYTES: u64 = 32 << 20;
/// Divergences that are worked on at a time: 6 MiB of memory; doubled where there would be too many segments.
const PORTION_RUNS: u64 = 1 << 16;
/// Divergences that a segment holds at first.
const SEGMENT_RUNS: u64 = PORTION_RUNS / 2;

/// What tells divergences from others, however they are cut in pieces: the sums of pieces add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    /// The digest of one divergence, or of a piece of one.
    pub(super) fn of(run: &Run) -> Self {
        // Linear in the place's ends, so that what lies between two of them cancels out.
        let vote = xxh3_64(&run.vote.digest()) | 1;
        Self(vote.wrapping_mul(mixed(run.range.end).wrapping_sub(mixed(run.range.start))))
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl Sum for Digest {
    fn sum<I: Iterator<Item = Self>>(digests: I) -> Self {
        digests.fold(Self::default(), |mut sum, digest| {
            sum.add(digest);
            sum
        })
    }
}

/// Neighbouring divergences.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// From the first one's start to the last one's end.
    range: ByteRange,
    digest: Digest,
    runs: u64,
    /// In whole blocks.
    bytes: u64,
}

impl Segment {
    /// Whether they share a block, or are short enough together.
    fn goes_with(&self, next: &Self, grain: u64, bytes_max: u64) -> bool {
        (self.range.end - 1) / grain == next.range.start / grain || self.bytes + next.bytes <= bytes_max
    }

    fn join(&mut self, other: &Self) {
        self.range.end = self.range.end.max(other.range.end);
        self.digest.add(other.digest);
        self.runs += other.runs;
        self.bytes += other.bytes;
    }
}

/// All divergences of a plan that something is to be done about.
#[derive(Debug)]
pub(super) struct Segments {
    list: Vec<Segment>,
    /// The block in bytes, that no two segments share unless they hold many divergences.
    grain: u64,
    segment_bytes: u64,
    segment_runs: u64,
    portion_bytes: u64,
    kept_max: usize,
}

/// What is worked on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    /// Where: from its first divergence's block to its last one's, as far as those belong to no other portion.
    pub(super) range: ByteRange,
    /// What the second vote must say.
    pub(super) digest: Digest,
}

impl Segments {
    pub(super) fn new(grain: u64, portion_bytes: u64) -> Self {
        let segment_bytes = SEGMENT_BYTES.min(portion_bytes);
        Self { list: Vec::new(), grain, segment_bytes, segment_runs: SEGMENT_RUNS, portion_bytes, kept_max: SEGMENTS_MAX }
    }

    /// Takes divergences in ascending order.
    pub(super) fn add(&mut self, run: &Run) {
        let bytes = run.range.widened(self.grain, u64::MAX).length();
        let next = Segment { range: run.range, digest: Digest::of(run), runs: 1, bytes };
        match self.list.last_mut() {
            Some(last) if last.runs < self.segment_runs && last.goes_with(&next, self.grain, self.segment_bytes) => last.join(&next),
            _ => self.list.push(next),
        }
        while self.list.len() > self.kept_max {
            self.segment_bytes *= 2;
            self.segment_runs *= 2;
            let fine = std::mem::take(&mut self.list);
            for segment in fine {
                match self.list.last_mut() {
                    Some(last) if last.runs + segment.runs <= self.segment_runs && last.bytes + segment.bytes <= self.segment_bytes => {
                        last.join(&segment);
                    }
                    _ => self.list.push(segment),
                }
            }
        }
    }

    /// The same in larger parts, ascending.
    pub(super) fn portions(&self) -> Vec<Portion> {
        let mut portions: Vec<Segment> = Vec::new();
        for segment in &self.list {
            match portions.last_mut() {
                Some(last) if last.bytes + segment.bytes <= self.portion_bytes && last.runs + segment.runs <= PORTION_RUNS => {
                    last.join(segment);
                }
                _ => portions.push(*segment),
            }
        }
        let ends: Vec<(u64, u64)> = portions.iter().map(|segment| (segment.range.start, segment.range.end)).collect();
        let portion = |(index, segment): (usize, &Segment)| {
            let wide = segment.range.widened(self.grain, u64::MAX);
            let before = index.checked_sub(1).map_or(0, |before| ends[before].1);
            let behind = ends.get(index + 1).map_or(u64::MAX, |&(start, _)| start);
            Portion { range: ByteRange::new(wide.start.max(before), wide.end.min(behind)), digest: segment.digest }
        };
        portions.iter().enumerate().map(portion).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vote::{Ballot::Data, Rule, Vote};

    fn run(start: u64, end: u64, odd: usize) -> Run {
        let ballots: Vec<_> = (0..3).map(|member| Data(if member == odd { b"b" } else { b"a" })).collect();
        Run { range: ByteRange::new(start, end), vote: Vote::of(&ballots, Rule::Threshold(2)) }
    }

    fn digest(runs: &[Run]) -> Digest {
        runs.iter().map(Digest::of).sum()
    }

    #[test]
    fn digests_heed_places_and_votes_but_not_cuts() {
        let whole = digest(&[run(512, 8192, 1)]);
        assert_eq!(whole, digest(&[run(512, 1024, 1), run(1024, 8192, 1)]));
        assert_ne!(whole, digest(&[run(512, 1024, 1), run(1536, 8192, 1)]), "a gap");
        assert_ne!(whole, digest(&[run(512, 8192, 2)]), "another member");
        assert_ne!(whole, digest(&[run(1024, 8704, 1)]), "another place");
        assert_ne!(digest(&[run(0, 512, 1), run(512, 1024, 2)]), digest(&[run(0, 512, 2), run(512, 1024, 1)]));
    }

    proptest! {
        /// However few segments may be kept, every divergence is in one portion, none shares a block with another, and the digests add up.
        #[test]
        fn nothing_is_lost(gaps in vec((0u64..40, 1u64..40, 0usize..3), 1..200), kept_max in 1usize..20, segment_sectors in 1u64..50) {
            let mut segments = Segments { kept_max, segment_bytes: segment_sectors * 512, ..Segments::new(4096, PORTION_BYTES) };
            let (mut at, mut runs) = (0, Vec::new());
            for (gap, length, odd) in gaps {
                at += gap * 512;
                runs.push(run(at, at + length * 512, odd));
                segments.add(runs.last().expect("one was pushed"));
                at += length * 512;
            }
            prop_assert!(segments.list.len() <= kept_max);
            let list = &segments.list;
            prop_assert!(list.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
            for segment in list {
                let inside: Vec<Run> = runs.iter().copied().filter(|run| run.range.and(segment.range).is_some()).collect();
                prop_assert_eq!(segment.digest, digest(&inside));
                prop_assert!(inside.iter().all(|run| segment.range.start <= run.range.start && run.range.end <= segment.range.end));
            }
            let held: u64 = list.iter().map(|segment| segment.runs).sum();
            prop_assert_eq!(held, runs.len() as u64);
        }
    }
}

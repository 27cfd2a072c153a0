//! Blocks of the voted image that no member holds as a whole. Pure.

use crate::vote::{Fill, Run, Verdict};

/// What guests write at a time: a block that is composed of sectors of several members may never have existed.
const BLOCK_BYTES: u64 = 4096;

/// Counts blocks, in which divergences are, that no member holds as a whole.
#[derive(Clone, Debug)]
pub(super) struct Composed {
    /// The block at hand, and who holds all of it so far, as a mask.
    open: Option<(u64, u64)>,
    count: u64,
}

impl Composed {
    pub(super) fn new() -> Self {
        Self { open: None, count: 0 }
    }

    /// Takes the next divergence in ascending order; `fill` is what goes into undecided sectors.
    pub(super) fn add(&mut self, run: &Run, fill: Fill) {
        let grouping = &run.vote.grouping;
        let holders = match (run.vote.verdict, fill) {
            // What nobody won and nobody fills is left as it is, or no image is made.
            (Verdict::Unanimous, _) | (Verdict::Undecided, Fill::Fail) => u64::MAX,
            (Verdict::Decided { winner }, _) => grouping.holders(winner),
            (Verdict::Undecided, Fill::First) => grouping.versions().next().map_or(0, |version| grouping.holders(version)),
            (Verdict::Donated { .. } | Verdict::Undecided, _) => 0,
        };
        let (first, last) = (run.range.start / BLOCK_BYTES, (run.range.end - 1) / BLOCK_BYTES);
        self.narrow(first, holders);
        if last > first {
            // Between the first and the last block it is alone.
            self.count += if holders == 0 { last - first - 1 } else { 0 };
            self.narrow(last, holders);
        }
    }

    fn narrow(&mut self, block: u64, holders: u64) {
        match &mut self.open {
            Some((open, mask)) if *open == block => *mask &= holders,
            _ => {
                self.close();
                self.open = Some((block, holders));
            }
        }
    }

    fn close(&mut self) {
        self.count += u64::from(matches!(self.open.take(), Some((_, 0))));
    }

    /// How many there are.
    pub(super) fn finish(mut self) -> u64 {
        self.close();
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::Composed;
    use crate::vote::{Ballot::Data, ByteRange, Fill, Rule, Run, Vote};

    fn run(start: u64, end: u64, ballots: [&[u8]; 3]) -> Run {
        Run { range: ByteRange::new(start, end), vote: Vote::of(&ballots.map(Data), Rule::Threshold(2)) }
    }

    #[test]
    fn counts_blocks_that_no_member_holds() {
        let count = |runs: &[Run], fill| {
            let mut composed = Composed::new();
            for run in runs {
                composed.add(run, fill);
            }
            composed.finish()
        };
        let (a, b, c) = (run(0, 512, [b"x", b"a", b"a"]), run(512, 1024, [b"a", b"x", b"a"]), run(1024, 1536, [b"a", b"a", b"x"]));
        assert_eq!(count(&[a], Fill::Fail), 0, "two hold it");
        assert_eq!(count(&[a, b], Fill::Fail), 0, "one holds it");
        assert_eq!(count(&[a, b, c], Fill::Fail), 1, "none does");
        let far = run(4096, 8192 + 512, [b"a", b"a", b"x"]);
        assert_eq!(count(&[a, b, c, far], Fill::Fail), 1, "other blocks are no matter");
        let tie = run(0, 3 * 4096, [b"a", b"b", b"c"]);
        assert_eq!(count(&[tie], Fill::Zero), 3, "filled blocks are held by nobody");
        assert_eq!(count(&[tie], Fill::First), 0, "unless it is a member's data");
    }
}

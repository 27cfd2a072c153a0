//! Adjacent equal votes become divergences.

use super::{ByteRange, Verdict, Vote};

/// A maximal run of adjacent sectors with the same verdict and the same grouping of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where, in bytes of the image.
    pub range: ByteRange,
    /// What every sector of it says; never unanimous.
    pub vote: Vote,
}

impl Run {
    /// Its sectors, of `sector` bytes each; a short last one counts.
    #[must_use]
    pub fn sectors(&self, sector: u32) -> u64 {
        self.range.length().div_ceil(u64::from(sector))
    }
}

/// Collects votes in ascending order and hands out the divergences among them.
#[derive(Debug, Default)]
pub struct Runs {
    open: Option<Run>,
}

impl Runs {
    /// Takes the next run; returns a divergence that is thereby complete.
    ///
    /// Runs come in ascending order; gaps and unanimous runs end what came before.
    pub fn push(&mut self, next: Run) -> Option<Run> {
        if next.range.is_empty() {
            return None;
        }
        if let Some(open) = &mut self.open {
            debug_assert!(open.range.end <= next.range.start, "runs come in order: {open:?}, then {next:?}");
            if open.range.end == next.range.start && open.vote == next.vote {
                open.range.end = next.range.end;
                return None;
            }
        }
        let divergent = next.vote.verdict != Verdict::Unanimous;
        std::mem::replace(&mut self.open, divergent.then_some(next))
    }

    /// The last divergence, if it is still open.
    pub fn finish(&mut self) -> Option<Run> {
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, Run, Runs, Vote};
    use crate::vote::{Ballot::Data, Rule};

    fn run(start: u64, end: u64, ballots: [&[u8]; 3]) -> Run {
        Run { range: ByteRange::new(start, end), vote: Vote::of(&ballots.map(Data), Rule::Threshold(2)) }
    }

    #[test]
    fn only_neighbours_of_one_kind_join() {
        let mut runs = Runs::default();
        let mut found = Vec::new();
        for next in [
            run(0, 512, [b"a", b"a", b"b"]),
            run(512, 1024, [b"x", b"x", b"y"]), // other bytes, same grouping: joins
            run(1024, 1536, [b"x", b"y", b"x"]),
            run(1536, 2048, [b"x", b"x", b"x"]),
            run(2048, 2560, [b"x", b"y", b"x"]),
            run(4096, 4608, [b"x", b"y", b"x"]), // a gap: does not
        ] {
            found.extend(runs.push(next));
        }
        found.extend(runs.finish());
        let ranges: Vec<_> = found.iter().map(|run| (run.range.start, run.range.end)).collect();
        assert_eq!(ranges, [(0, 1024), (1024, 1536), (2048, 2560), (4096, 4608)]);
    }
}

//! Carries out the plan: votes once more on what differs, journals, writes, syncs, reads back.

use super::{
    batch::Flow,
    ops::Basis,
    portions::{Digest, Portion},
    rewriter::{Rewriter, Stop},
    voted::Collector,
};
use crate::{
    repair::{RepairError, journal::SAMPLE_BYTES},
    scan::{Job, scan},
    vote::{ByteRange, Fill, Run},
};

/// Voted bytes held of a portion; those of the one before are held, too, while it is read back.
const VOTED_BYTES_MAX: usize = 40 << 20;
/// Bytes that an earlier session wrote and that are written once more at a time.
const AGAIN_BYTES: u64 = 32 << 20;
/// Bytes between two ranges to be voted on again that are rather read than stepped over.
const GAP_BYTES_MAX: u64 = 8 << 10;
/// The smallest piece of one long divergence that is worked on at a time, in bytes.
const PIECE_BYTES_MIN: u64 = 1 << 20;

/// How it went with a part.
enum Attempt {
    /// It is done; so many bytes of memory were needed.
    Done(usize),
    /// There are too many bytes to hold at a time.
    TooMuch,
}

impl<'a> Rewriter<'a> {
    /// Writes once more what an earlier session wrote and may not have reached stable storage: for each member such ranges.
    pub(super) fn again<'s>(&mut self, flow: &mut Flow<'s, '_>, forced: &[Vec<ByteRange>]) -> Result<(), Stop>
    where
        'a: 's,
    {
        let mut all: Vec<ByteRange> = forced.iter().flatten().copied().collect();
        all.sort_unstable();
        let unit = u64::from(self.poll.sector).max(SAMPLE_BYTES);
        let mut portion: Vec<ByteRange> = Vec::new();
        let mut held = 0;
        let size = self.poll.size;
        let wide = all.iter().map(|range| range.widened(unit, size)).filter(|range| !range.is_empty());
        let mut pieces = wide.flat_map(|range| range.pieces(AGAIN_BYTES)).peekable();
        while let Some(piece) = pieces.next() {
            match portion.last_mut() {
                Some(last) if piece.start <= last.end => {
                    held += piece.end.saturating_sub(last.end);
                    last.end = last.end.max(piece.end);
                }
                _ => {
                    held += piece.length();
                    portion.push(piece);
                }
            }
            if held >= AGAIN_BYTES || pieces.peek().is_none() {
                self.again_in(flow, forced, &std::mem::take(&mut portion))?;
                held = 0;
            }
        }
        Ok(())
    }

    fn again_in<'s>(&mut self, flow: &mut Flow<'s, '_>, forced: &[Vec<ByteRange>], ranges: &[ByteRange]) -> Result<(), Stop>
    where
        'a: 's,
    {
        let collector = Collector::new(ranges, 2 * VOTED_BYTES_MAX);
        let runs = self.vote(ranges, Some(&collector))?;
        let voted = collector.finish();
        let basis = Basis { members: self.members, plan: self.plan, ranges, runs: &runs, voted: &voted, blocks: &self.blocks };
        let mut ops = basis.again(forced);
        ops.list.sort_by_key(|op| (op.member, op.range));
        self.perform(flow, ops, voted)
    }

    /// Does what the plan says.
    pub(super) fn planned<'s>(&mut self, flow: &mut Flow<'s, '_>) -> Result<(), Stop>
    where
        'a: 's,
    {
        for portion in self.plan.portions() {
            let ranges = self.plan.ranges_in(portion.range);
            if let Attempt::TooMuch = self.attempt(flow, &ranges, portion.digest)? {
                self.piecemeal(flow, &ranges, portion)?;
            }
        }
        Ok(())
    }

    /// A portion whose blocks are more than fit the memory: voted on first, then worked through divergence by divergence.
    fn piecemeal<'s>(&mut self, flow: &mut Flow<'s, '_>, ranges: &[ByteRange], portion: Portion) -> Result<(), Stop>
    where
        'a: 's,
    {
        let runs = self.vote(ranges, None)?;
        let wanted = self.with_work(&runs);
        if digest_of(&wanted) != portion.digest {
            self.unsteady.push(portion.range);
            return Ok(());
        }
        let unit = self.blocks.iter().copied().max().unwrap_or(0).max(u64::from(self.poll.sector)).max(SAMPLE_BYTES);
        let mut at = 0;
        while at < wanted.len() {
            let first = wanted[at].range;
            let mut next = at + 1;
            // Those that share a block go together.
            while let Some(run) = wanted.get(next) {
                let end = wanted[next - 1].range.end;
                if run.range.start / unit != (end - 1) / unit && end - first.start >= PIECE_BYTES_MIN {
                    break;
                }
                next += 1;
            }
            let range = ByteRange::new(first.start, wanted[next - 1].range.end);
            self.in_pieces(flow, range, &wanted[at..next], unit)?;
            at = next;
        }
        Ok(())
    }

    /// Works through `range` in pieces as large as the memory allows; `wanted` are its divergences.
    fn in_pieces<'s>(&mut self, flow: &mut Flow<'s, '_>, range: ByteRange, wanted: &[Run], unit: u64) -> Result<(), Stop>
    where
        'a: 's,
    {
        let mut step = range.length().max(1);
        let mut at = range.start;
        while at < range.end {
            let end = if step >= range.end - at { range.end } else { (at + step).next_multiple_of(unit).min(range.end) };
            let piece = ByteRange::new(at, end);
            let from = wanted.partition_point(|run| run.range.end <= piece.start);
            let inside: Vec<Run> = wanted[from..].iter().map_while(|run| Some(Run { range: run.range.and(piece)?, ..*run })).collect();
            match self.attempt(flow, &self.plan.looked_at_in(piece), digest_of(&inside))? {
                Attempt::Done(held) => {
                    at = end;
                    if held < VOTED_BYTES_MAX / 4 {
                        step = step.saturating_mul(2);
                    }
                }
                Attempt::TooMuch => step = (piece.length() / 2).max(PIECE_BYTES_MIN),
            }
        }
        Ok(())
    }

    /// Votes on `ranges` once more, and goes on where that says what the plan relies on.
    fn attempt<'s>(&mut self, flow: &mut Flow<'s, '_>, ranges: &[ByteRange], expected: Digest) -> Result<Attempt, Stop>
    where
        'a: 's,
    {
        let collector = Collector::new(ranges, VOTED_BYTES_MAX);
        let voted = self.vote(ranges, Some(&collector));
        if collector.overflowed() {
            return Ok(Attempt::TooMuch);
        }
        let runs = voted?;
        let voted = collector.finish();
        if digest_of(&self.with_work(&runs)) != expected {
            self.unsteady.extend(ranges.first().zip(ranges.last()).map(|(first, last)| ByteRange::new(first.start, last.end)));
            return Ok(Attempt::Done(0));
        }
        let basis = Basis { members: self.members, plan: self.plan, ranges, runs: &runs, voted: &voted, blocks: &self.blocks };
        let ops = basis.planned();
        let held = voted.held();
        self.perform(flow, ops, voted)?;
        Ok(Attempt::Done(held))
    }

    /// The divergences that something is to be done about.
    fn with_work(&self, runs: &[Run]) -> Vec<Run> {
        runs.iter().copied().filter(|run| self.plan.duties(run).all() != 0).collect()
    }

    /// The same with short gaps filled: what lies between agrees, and reading it costs less than stepping over it.
    fn bridged(&self, ranges: &[ByteRange]) -> Vec<ByteRange> {
        let mut bridged: Vec<ByteRange> = Vec::new();
        for &range in ranges {
            match bridged.last_mut() {
                Some(last) if range.start - last.end <= GAP_BYTES_MAX && self.was_looked_at(ByteRange::new(last.end, range.start)) => {
                    last.end = range.end;
                }
                _ => bridged.push(range),
            }
        }
        bridged
    }

    /// Whether all of it was voted on when the plan was made: else nobody knows what lies there.
    fn was_looked_at(&self, gap: ByteRange) -> bool {
        gap.is_empty() || self.plan.looked_at_in(gap) == [gap]
    }

    fn vote(&self, ranges: &[ByteRange], collector: Option<&Collector>) -> Result<Vec<Run>, Stop> {
        let mut runs = Vec::new();
        let ranges = &self.bridged(ranges);
        let job = Job::new(self.members, self.question, self.poll, ranges, self.watch).as_before(self.plan.unstable);
        let job = match collector {
            Some(collector) => job.writing_to(collector, Fill::Fail),
            None => job,
        };
        let outcome = scan(&job, &mut |run| {
            runs.push(*run);
            Ok(())
        });
        let outcome = outcome.map_err(RepairError::from)?;
        // Members that had failed before are spared by the plan; one that fails now is missing in the vote that it relies on.
        let newly =
            |(member, why): (usize, &Option<String>)| why.clone().filter(|_| self.voted >> member & 1 == 1).map(|why| (member, why));
        if let Some((member, why)) = outcome.failures.iter().enumerate().find_map(newly) {
            return Err(Stop::Failed(RepairError::Failed { member: self.members[member].name().clone(), why }));
        }
        if outcome.complete { Ok(runs) } else { Err(Stop::Interrupted) }
    }
}

fn digest_of(runs: &[Run]) -> Digest {
    runs.iter().map(Digest::of).sum()
}

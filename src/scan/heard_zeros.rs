//! Zeros that nobody has to read, with what digests say of them.

use super::{
    chunk::Chunk,
    extents::{State, uniform_vote},
    hashed::{Hashed, hears},
    heard::{chunks, confirmations},
    worker::Worker,
};
use crate::{
    digest::{Entry, Hearing},
    vote::{ByteRange, Rule, Run, Verdict, Vote, mask_of},
};

/// What witnesses say of zeros, as far as they say the same.
struct Zeros {
    end: u64,
    /// Witnesses that know zeros there, and those that know something else.
    words: Vec<(usize, bool)>,
    /// Those that don't know.
    unknown: Vec<usize>,
}

impl Zeros {
    fn vote(&self, hearing: &Hearing, vote: &Vote, rule: Rule) -> Vote {
        let holder = vote.grouping.versions().next();
        let confirmed = confirmations(hearing, self.words.iter().map(|&(witness, yes)| (witness, holder.filter(|_| yes))));
        vote.hearing(rule, &confirmed)
    }
}

impl Worker<'_> {
    /// Nobody has to be read in `range`: those who hold anything hold zeros. Pushes the votes with what witnesses say of that.
    pub(super) fn hear_zeros(&mut self, chunk: &Chunk, vote: &Vote) -> Vec<Run> {
        let job = self.shared.job;
        let range = chunk.range;
        let Some(hearing) = job.hearing else {
            let runs = vec![Run { range, vote: *vote }];
            self.hash_zeros(chunk, &runs);
            return runs;
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let zeros = self.zeros_from(hearing, ByteRange::new(at, range.end), range.start);
            let part = ByteRange::new(at, zeros.end);
            let begun = |witness: usize| {
                let size = hearing.witnesses[witness].digest.geometry().chunk_bytes;
                part.end.div_ceil(size) - part.start.div_ceil(size)
            };
            zeros.unknown.iter().for_each(|&witness| self.heard.of(witness).unknown += begun(witness));
            let heard = zeros.vote(hearing, vote, chunk.rule);
            self.heard.compare(part.length().div_ceil(u64::from(job.sector)), vote, &heard);
            let against = mask_of(zeros.words.iter().filter(|(_, yes)| !yes).map(|&(witness, _)| witness));
            let settled = vote.verdict != Verdict::Undecided;
            let same = vote.grouping.holders(0).count_ones() as usize == chunk.states.len();
            if against != 0 && (same || settled) {
                self.heard.contradict(part, against);
            }
            for &(witness, yes) in &zeros.words {
                self.heard.count(witness, (same, settled), yes, begun(witness));
            }
            match runs.last_mut() {
                Some(last) if last.vote == heard => last.range.end = zeros.end,
                _ => runs.push(Run { range: part, vote: heard }),
            }
            at = zeros.end;
        }
        self.hash_zeros(chunk, &runs);
        runs
    }

    /// Up to where zeros from the range's start on can be voted on at once, and whether that settles it: something is decided there, or no
    /// witness knows anything that a donor might have.
    pub(super) fn zeros_at_once(&mut self, range: ByteRange, states: &[State], rule: Rule) -> (u64, bool, bool) {
        let vote = uniform_vote(states, rule);
        let Some(hearing) = self.shared.job.hearing else { return (range.end, vote.verdict != Verdict::Undecided, true) };
        let zeros = self.zeros_from(hearing, range, range.start);
        (zeros.end, zeros.vote(hearing, &vote, rule).verdict != Verdict::Undecided, zeros.words.is_empty())
    }

    /// What witnesses say of zeros from the start of `left` on, as far as they say the same; `from` is where the zeros begin.
    fn zeros_from(&mut self, hearing: &Hearing, left: ByteRange, from: u64) -> Zeros {
        let job = self.shared.job;
        let (at, mut zeros) = (left.start, Zeros { end: left.end, words: Vec::new(), unknown: Vec::new() });
        for (index, witness) in hearing.witnesses.iter().enumerate() {
            let geometry = witness.digest.geometry();
            let chunk = at / geometry.chunk_bytes;
            let said = self.cursors[index].at(chunk);
            let span = geometry.span(chunk, said.count.min(geometry.chunks().saturating_sub(chunk)));
            // Its last chunk may end otherwise than the image does.
            let last = geometry.range((span.end.min(job.size).max(at + 1) - 1) / geometry.chunk_bytes);
            let odd = span.end > at && !hears(job.size, job.sector, last);
            let span = if odd && last.start > at { ByteRange::new(span.start, last.start) } else { span };
            if span.end <= at || (odd && last.start <= at) {
                continue;
            }
            zeros.end = zeros.end.min(span.end);
            let whole = span.start >= from && (span.end <= left.end || said.entry == Entry::Zero);
            match said.entry {
                Entry::Unknown => zeros.unknown.push(index),
                Entry::Zero => zeros.words.push((index, true)),
                Entry::Value(_) if whole && hears(job.size, job.sector, span) => zeros.words.push((index, false)),
                Entry::Value(_) => {}
            }
        }
        zeros
    }

    /// The digest in the making takes zeros that nobody had to read, as far as they were decided.
    fn hash_zeros(&mut self, chunk: &Chunk, runs: &[Run]) {
        let Some(geometry) = self.shared.job.hashed.map(Hashed::geometry) else { return };
        let (range, size) = (chunk.range, geometry.chunk_bytes);
        let all = chunks(&geometry, range);
        // What reaches over an edge isn't known as a whole.
        let inner = range.start.div_ceil(size)..if range.end >= geometry.size { all.end } else { range.end / size };
        let mut next = all.start;
        let mut say = |end: u64, entry: Entry| {
            if end > next {
                self.entries.push((next, entry, end - next));
                next = end;
            }
        };
        say(inner.start.min(all.end), Entry::Unknown);
        for run in runs.iter().filter(|run| run.vote.verdict == Verdict::Undecided || chunk.rule == Rule::First) {
            say((run.range.start / size).min(inner.end), Entry::Zero);
            say(chunks(&geometry, run.range).end.min(inner.end), Entry::Unknown);
        }
        say(inner.end, Entry::Zero);
        say(all.end, Entry::Unknown);
    }
}

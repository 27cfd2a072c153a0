//! A chunk in which all data is alike, though a member has failed or ended, or there is one alone: hashed as a whole, with one verdict.

use super::{
    chunk::Chunk,
    hashed::hears,
    heard::{chunks, confirmations},
    worker::Worker,
};
use crate::vote::{ByteRange, MEMBERS_MAX, Run, Verdict, Vote};

impl Worker<'_> {
    /// Pushes the votes on the chunk with what witnesses say of `bytes`, which all hold who hold anything; false where that has to be
    /// found out sector by sector, and nothing was pushed.
    pub(super) fn hear_lacking(&mut self, chunk: &Chunk, bytes: &[u8], vote: &Vote) -> bool {
        let (shared, range) = (self.shared, chunk.range);
        let job = shared.job;
        let (Some(hearing), None, true) = (job.hearing, job.hashed, chunk.rule.is_vote()) else { return false };
        let Some(least) = shared.geometries.iter().map(|geometry| geometry.chunk_bytes).min() else { return false };
        let whole = |geometry| {
            let all = chunks(geometry, range);
            all.is_empty()
                || geometry.span(all.start, all.end - all.start).and(range) == Some(geometry.span(all.start, all.end - all.start))
        };
        if vote.grouping.versions().nth(1).is_some() || !shared.geometries.iter().all(whole) {
            return false;
        }
        let same = vote.grouping.holders(0).count_ones() as usize == chunk.states.len();
        let settled = vote.verdict != Verdict::Undecided;
        let mut said: Vec<(ByteRange, usize, bool)> = Vec::new();
        for &geometry in &shared.geometries {
            for number in chunks(&geometry, range).filter(|&number| hears(job.size, job.sector, geometry.range(number))) {
                let known = self.say(&geometry, number, true);
                if known.is_empty() {
                    continue;
                }
                let part = geometry.range(number);
                let from = (part.start - range.start) as usize;
                let entry = geometry.entry(number, &bytes[from..from + part.length() as usize]);
                let mut against = 0;
                for (witness, word) in known {
                    self.heard.count(witness, (same, settled), word == entry, 1);
                    against |= if word == entry { 0 } else { 1 << witness };
                    said.push((part, witness, word == entry));
                }
                if (same || settled) && against != 0 {
                    self.heard.contradict(part, against);
                }
            }
        }
        let holder = vote.grouping.versions().next().unwrap_or(MEMBERS_MAX);
        let runs: Vec<Run> = range
            .pieces(least)
            .map(|part| {
                let words =
                    said.iter().filter(|(place, ..)| place.and(part).is_some()).map(|&(_, witness, yes)| (witness, yes.then_some(holder)));
                Run { range: part, vote: vote.hearing(chunk.rule, &confirmations(hearing, words)) }
            })
            .collect();
        if (job.output.is_some() || !job.donors.is_empty()) && runs.iter().any(|run| run.vote.verdict == Verdict::Undecided) {
            return false;
        }
        for run in runs {
            self.heard.compare(run.range.length().div_ceil(u64::from(job.sector)), vote, &run.vote);
            self.found.push(run);
        }
        true
    }
}

//! The vote on each sector of what isn't alike, on private copies.

use super::{
    chunk::{Chunk, Interruption},
    extents::State,
    gift::given,
    lost::Voted,
    private::{Copy, Flaw},
    worker::Worker,
};
use crate::vote::{Ballot, ByteRange, Fill, MEMBERS_MAX, Rule, Run, Verdict, Vote};

impl Worker<'_> {
    /// Votes on each sector of `range`, several times where what differs is to be read again.
    pub(super) fn sectors(&mut self, chunk: &mut Chunk, range: ByteRange) -> Result<(), Interruption> {
        let mark = self.found.mark();
        self.sectors_once(chunk, range)?;
        for _ in 0..self.shared.job.rereads {
            if !self.found.grew_since(&mark) || self.shared.stopped() {
                break;
            }
            self.shared.job.watch.pause();
            self.found.go_back(&mark);
            self.part_twins(chunk);
            for member in chunk.with_state(|state| matches!(state, State::Data | State::Partial)) {
                self.copy(chunk, member, range)?;
            }
            self.sectors_once(chunk, range)?;
        }
        Ok(())
    }

    /// Copies what isn't copied yet of `range`, and votes on each of its sectors.
    fn sectors_once(&mut self, chunk: &mut Chunk, range: ByteRange) -> Result<(), Interruption> {
        let job = self.shared.job;
        if self.hashes() {
            self.part_twins(chunk);
        }
        let first_only = chunk.rule == Rule::First;
        for member in chunk.with_state(|state| matches!(state, State::Data | State::Partial)) {
            // Under fifo the one who was asked last is the last one needed.
            if !chunk.has_filled(member) && !chunk.is_twin(member) && !first_only {
                self.copy(chunk, member, range)?;
            }
        }
        self.count_copies(chunk, range);
        if range == chunk.range {
            self.hear_versions(chunk)?;
        }
        let keeps = job.output.is_some() || job.hashed.is_some();
        let Self { copies, zeros, voted, found, unstable, words, heard, gifts, .. } = self;
        let mut ballots = [Ballot::Unasked; MEMBERS_MAX];
        let ballots = &mut ballots[..chunk.states.len()];
        let mut at = range.start;
        while at < range.end {
            let sector = ByteRange::new(at, at.saturating_add(u64::from(job.sector)).min(range.end));
            let (in_chunk, length) = (chunk.at(at), sector.length() as usize);
            ballots.fill(Ballot::Unasked);
            for (member, ballot) in ballots.iter_mut().enumerate() {
                *ballot = match chunk.states[member] {
                    State::Failed => Ballot::Failed,
                    State::Absent => Ballot::Absent,
                    State::Zero => Ballot::Data(&zeros[..length]),
                    State::Partial if sector.end > job.members[member].size() => Ballot::Absent,
                    _ if unstable.iter().any(|&(whose, place)| whose == member && place.and(sector).is_some()) => Ballot::Unstable,
                    State::Data | State::Partial => of_copy(&copies[chunk.source(member)], sector, in_chunk),
                };
                if first_only && matches!(ballot, Ballot::Data(_)) {
                    break;
                }
            }
            if !first_only {
                job.fillers.unseat(ballots, at);
            }
            let unheard = Vote::of(ballots, chunk.rule);
            let vote = Self::heard_vote(words, job.hearing, unheard, chunk.rule, sector, job.sector);
            heard.compare(1, &unheard, &vote);
            let donated = given(gifts, &vote, sector);
            if let Verdict::Donated { donor } = vote.verdict {
                heard.donate(donor, 1);
            }
            if keeps {
                let fill = job.output.map_or(Fill::Fail, |(_, fill)| fill);
                let to = &mut voted[in_chunk..in_chunk + length];
                match (vote.verdict, vote.grouping.versions().next()) {
                    (Verdict::Donated { .. }, _) => to.copy_from_slice(donated.expect("what is given is at hand")),
                    (Verdict::Decided { winner }, _) | (Verdict::Unanimous, Some(winner)) => {
                        let Ballot::Data(bytes) = ballots[winner] else { unreachable!("only data wins") };
                        to.copy_from_slice(bytes);
                    }
                    _ => {
                        if !fill.apply(at, ballots, job.threshold, to) {
                            to.fill(0);
                            found.unfilled += 1;
                        }
                    }
                }
            }
            let proven_for = Self::proven_for(words, job.hearing, &vote, sector, job.sector);
            let voted_on = Voted { range: sector, vote: &vote, rule: chunk.rule, ballots, donated, proven_for };
            found.count_lost(&voted_on, job.evidence);
            found.push(Run { range: sector, vote });
            at = sector.end;
        }
        Ok(())
    }
}

fn of_copy(copy: &Copy, sector: ByteRange, in_chunk: usize) -> Ballot<'_> {
    match copy.flaw(sector) {
        None => Ballot::Data(copy.bytes(in_chunk, sector.length() as usize)),
        Some(Flaw::Unreadable) => Ballot::Unreadable,
        Some(Flaw::Absent) => Ballot::Absent,
    }
}

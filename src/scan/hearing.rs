//! What was heard of digests that vote.

use std::time::Duration;

use crate::vote::{ByteRange, Vote};

/// Time for combinations in all: what isn't found by then is given up.
pub(super) const COMBINING_MAX: Duration = Duration::from_mins(1);
/// Contradictions that are listed.
pub(super) const LISTED_MAX: usize = 1000;

/// What was heard of one witness, in chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WitnessTally {
    /// All members hold what it says.
    pub agreed: u64,
    /// All members hold the same, or the vote has decided all of it, and it says otherwise.
    pub contradicted: u64,
    /// Members differ, and one of them holds all of what it says.
    pub confirmed: u64,
    /// No member does, and their sectors put together are what it says.
    pub combined: u64,
    /// Nothing that members hold is what it says.
    pub unmatched: u64,
    /// There were too many ways to put their sectors together.
    pub given_up: u64,
    /// A donor's bytes, with what was decided, are what it says.
    pub donated: u64,
    /// It doesn't know.
    pub unknown: u64,
}

impl WitnessTally {
    fn add(&mut self, other: &Self) {
        self.agreed += other.agreed;
        self.contradicted += other.contradicted;
        self.confirmed += other.confirmed;
        self.combined += other.combined;
        self.unmatched += other.unmatched;
        self.given_up += other.given_up;
        self.donated += other.donated;
        self.unknown += other.unknown;
    }
}

/// What was heard of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// One for each witness, or none at all.
    pub witnesses: Vec<WitnessTally>,
    /// Sectors in which something else is decided than without them, or is decided with them alone.
    pub swayed: u64,
    /// For each donor the sectors that it gives; shorter where it gives none.
    pub donated: Vec<u64>,
    /// Members, as a mask, that lose by their word.
    pub losers: u64,
    /// Where all members hold the same, or the vote has decided all, and witnesses (as a mask) say otherwise; ascending.
    pub contradictions: Vec<(ByteRange, u64)>,
    /// How many more of those there are.
    pub omitted: u64,
}

impl Heard {
    /// What is counted of a witness.
    pub(super) fn of(&mut self, witness: usize) -> &mut WitnessTally {
        if self.witnesses.len() <= witness {
            self.witnesses.resize(witness + 1, WitnessTally::default());
        }
        &mut self.witnesses[witness]
    }

    /// Counts sectors that a donor gives.
    pub(super) fn donate(&mut self, donor: usize, sectors: u64) {
        if self.donated.len() <= donor {
            self.donated.resize(donor + 1, 0);
        }
        self.donated[donor] += sectors;
    }

    /// Counts chunks in which those who hold anything hold alike, and a witness knows just that or something else; `same` tells whether
    /// all members hold it, and `settled` whether enough do.
    pub(super) fn count(&mut self, witness: usize, (same, settled): (bool, bool), knows_it: bool, chunks: u64) {
        let tally = self.of(witness);
        let count = match (same, knows_it) {
            (true, true) => &mut tally.agreed,
            (false, true) => &mut tally.confirmed,
            (true, false) => &mut tally.contradicted,
            (false, false) if settled => &mut tally.contradicted,
            (false, false) => &mut tally.unmatched,
        };
        *count += chunks;
    }

    /// Counts sectors in which witnesses made what is decided another thing.
    pub(super) fn compare(&mut self, sectors: u64, without: &Vote, with: &Vote) {
        let decided = |vote: &Vote| vote.verdict.is_decided();
        if without.verdict != with.verdict && (decided(without) || decided(with)) {
            self.swayed += sectors;
            // All who don't hold what is to stand there: what can't be read may be newer than the digest, too.
            let grouping = &with.grouping;
            let lacking = grouping.absent() | grouping.unreadable() | grouping.fillers() | grouping.unstable() | grouping.failed();
            let losers = with.dissenters() | lacking;
            self.losers |= if decided(with) { losers } else { 0 };
        }
    }

    /// Notes that all members hold the same, and a witness says otherwise.
    pub(super) fn contradict(&mut self, range: ByteRange, witnesses: u64) {
        let full = self.contradictions.len() >= LISTED_MAX;
        match self.contradictions.last_mut() {
            Some((last, who)) if *who == witnesses && last.end == range.start => last.end = range.end,
            _ if full => self.omitted += 1,
            _ => self.contradictions.push((range, witnesses)),
        }
    }

    /// Takes what was heard further on.
    pub(super) fn add(&mut self, other: Self) {
        for (index, tally) in other.witnesses.iter().enumerate() {
            self.of(index).add(tally);
        }
        other.donated.iter().enumerate().filter(|(_, sectors)| **sectors > 0).for_each(|(donor, &sectors)| self.donate(donor, sectors));
        self.swayed += other.swayed;
        self.losers |= other.losers;
        self.omitted += other.omitted;
        for (range, witnesses) in other.contradictions {
            self.contradict(range, witnesses);
        }
    }
}

//! What a scan's divergences add up to beyond the totals: the list, who is newer, where they lie.

use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::Xxh3;

use super::composed::Composed;
use crate::{
    member::{Member, voted_partitions},
    report::{Divergence, Listed, PartitionMap},
    vote::{CoarseRanges, Fill, Run, Verdict, members_of},
};

/// A member that is newer by less than this was perhaps only copied later.
const NEWER_MIN: Duration = Duration::from_secs(1);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Divergences listed.
    pub divergences: usize,
    /// What goes into undecided sectors of an output.
    pub fill: Fill,
}

/// Takes divergences in ascending order.
pub struct Findings {
    limits: Limits,
    modified: Vec<Option<SystemTime>>,
    partitions: PartitionMap,
    listed: Vec<Run>,
    count: u64,
    /// For each member: divergences in which it dissents and is newer than all who outvote it.
    newer: Vec<u64>,
    /// For each member: the partitions in which it dissents.
    touched: Vec<Vec<bool>>,
    composed: Composed,
    /// Where the divergences are.
    pub ranges: CoarseRanges,
    /// The undecided ones among them, as far as they are listed.
    undecided: Vec<Run>,
    digest: Xxh3,
}

impl Findings {
    /// Nothing found yet of these members, whose partition table most of them hold.
    #[must_use]
    pub fn of(members: &[&dyn Member], limits: Limits) -> Self {
        let partitions = voted_partitions(members).map_or_else(PartitionMap::default, |table| {
            PartitionMap::new(table.partitions.iter().map(|partition| (partition.range, partition.label())).collect())
        });
        Self::new(limits, members.iter().map(|member| member.modified()).collect(), partitions)
    }

    /// Nothing found yet; `modified` tells when each member was modified.
    #[must_use]
    pub fn new(limits: Limits, modified: Vec<Option<SystemTime>>, partitions: PartitionMap) -> Self {
        let members = modified.len();
        Self {
            limits,
            touched: vec![vec![false; partitions.count()]; members],
            newer: vec![0; members],
            modified,
            partitions,
            listed: Vec::new(),
            count: 0,
            composed: Composed::new(),
            ranges: CoarseRanges::default(),
            undecided: Vec::new(),
            digest: Xxh3::new(),
        }
    }

    /// Takes the next one.
    pub fn add(&mut self, run: &Run) {
        self.count += 1;
        if self.listed.len() < self.limits.divergences {
            self.listed.push(*run);
            if run.vote.verdict == Verdict::Undecided {
                self.undecided.push(*run);
            }
        }
        self.composed.add(run, self.limits.fill);
        self.ranges.add(run.range);
        self.digest.update(&run.range.start.to_le_bytes());
        self.digest.update(&run.range.end.to_le_bytes());
        self.digest.update(&run.vote.digest());
        let Verdict::Decided { winner } = run.vote.verdict else { return };
        let outvoting = run.vote.grouping.holders(winner);
        let newest = members_of(outvoting).map(|member| self.modified[member]).reduce(|a, b| Some(a?.max(b?))).flatten();
        for member in members_of(run.vote.dissenters()) {
            if let (Some(own), Some(newest)) = (self.modified[member], newest)
                && own.duration_since(newest).is_ok_and(|by| by >= NEWER_MIN)
            {
                self.newer[member] += 1;
            }
            for partition in self.partitions.touched(run.range) {
                self.touched[member][partition] = true;
            }
        }
    }

    /// The divergence as reports have it.
    #[must_use]
    pub fn described(&self, run: &Run) -> Divergence {
        Divergence::of(run, &self.partitions)
    }

    /// For each member: divergences in which it is newer than all who outvote it.
    #[must_use]
    pub fn newer(&self) -> &[u64] {
        &self.newer
    }

    /// The partitions in which a member dissents.
    #[must_use]
    pub fn touched(&self, member: usize) -> Vec<String> {
        let touched = self.touched[member].iter().enumerate().filter(|&(_, &touched)| touched);
        touched.map(|(partition, _)| self.partitions.label(partition).to_owned()).collect()
    }

    /// Undecided divergences, as far as they are listed.
    #[must_use]
    pub fn undecided(&self) -> &[Run] {
        &self.undecided
    }

    /// What tells one sequence of divergences from another.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.digest()
    }

    /// Blocks of 4 KiB that no member holds as a whole.
    #[must_use]
    pub fn composed_blocks(&self) -> u64 {
        self.composed.clone().finish()
    }

    /// The list, and how many it leaves out.
    #[must_use]
    pub fn finish(self) -> (Listed, u64) {
        let omitted = self.count - self.listed.len() as u64;
        (Listed::Runs(self.listed, self.partitions), omitted)
    }
}

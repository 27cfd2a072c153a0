//! What a scan's divergences add up to beyond the totals: the list, who is newer, where they lie.

use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::Xxh3;

use super::composed::Composed;
use crate::{
    evidence::{PartitionTable, read_partitions},
    member::Member,
    report::{Divergence, Listed, PartitionMap},
    vote::{ByteRange, CoarseRanges, Fill, Run, Verdict, members_of},
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
    /// For members that may become the base of an output: what would have to be changed in them.
    changes: Vec<Changes>,
    digest: Xxh3,
}

/// What makes a member agree with every verdict.
struct Changes {
    member: usize,
    ranges: CoarseRanges,
    digest: Xxh3,
}

impl Changes {
    /// Takes the divergence where the member doesn't hold what is to be there.
    fn add(&mut self, run: &Run) {
        let agrees = match run.vote.verdict {
            Verdict::Unanimous => true,
            Verdict::Decided { winner } => run.vote.grouping.version(self.member) == Some(winner),
            Verdict::Undecided => false,
        };
        if !agrees {
            self.ranges.add(run.range);
            update(&mut self.digest, run);
        }
    }
}

fn update(digest: &mut Xxh3, run: &Run) {
    digest.update(&run.range.start.to_le_bytes());
    digest.update(&run.range.end.to_le_bytes());
    digest.update(&run.vote.digest());
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
            changes: Vec::new(),
            digest: Xxh3::new(),
        }
    }

    /// Keeps from now on what would have to be changed in these members.
    #[must_use]
    pub fn with_changes_of(mut self, members: &[usize]) -> Self {
        let ranges = || CoarseRanges::shared_by(members.len());
        self.changes = members.iter().map(|&member| Changes { member, ranges: ranges(), digest: Xxh3::new() }).collect();
        self
    }

    /// What would have to be changed in a member that [`with_changes_of`](Self::with_changes_of) named: the ranges, which may be
    /// wider, and what tells these changes from others.
    #[must_use]
    pub fn changes_of(&self, member: usize) -> Option<(CoarseRanges, u64)> {
        let changes = self.changes.iter().find(|changes| changes.member == member)?;
        Some((changes.ranges.clone(), changes.digest.digest()))
    }

    /// Takes the next one.
    pub fn add(&mut self, run: &Run) {
        self.count += 1;
        if self.listed.len() < self.limits.divergences {
            self.listed.push(*run);
        }
        self.composed.add(run, self.limits.fill);
        self.changes.iter_mut().for_each(|changes| changes.add(run));
        update(&mut self.digest, run);
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

    /// The divergences that are listed.
    #[must_use]
    pub fn listed(&self) -> &[Run] {
        &self.listed
    }

    /// Undecided divergences, as far as they are listed.
    #[must_use]
    pub fn undecided(&self) -> Vec<ByteRange> {
        let undecided = self.listed.iter().filter(|run| run.vote.verdict == Verdict::Undecided);
        undecided.map(|run| run.range).collect()
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

/// The partition table that most members hold; the first of them where that is a tie.
fn voted_partitions(members: &[&dyn Member]) -> Option<PartitionTable> {
    let tables: Vec<PartitionTable> = members.iter().filter_map(|&member| read_partitions(member)).collect();
    let alike = |table: &PartitionTable| tables.iter().filter(|other| other.partitions == table.partitions).count();
    // `max_by_key` would take the last of several.
    tables.iter().rev().max_by_key(|table| alike(table)).cloned()
}

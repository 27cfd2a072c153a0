//! What a scan's divergences add up to beyond the totals: the list, who is newer, where they lie.

use xxhash_rust::xxh3::Xxh3;

use super::{composed::Composed, conclusion::Backgrounds, tally::MemberTally};
use crate::{
    evidence::{DeviceMetadata, Evidence, Seniority},
    report::{Damages, Divergence, Listed, Map, PartitionMap, PartitionSpan},
    vote::{ByteRange, CoarseRanges, Fill, Run, Verdict, members_of},
};

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
    seniority: Seniority,
    backgrounds: Backgrounds,
    /// For each member: the legs of arrays that it is, and whether it would lose what makes it that leg.
    legs: Vec<(Vec<DeviceMetadata>, bool)>,
    partitions: PartitionMap,
    listed: Vec<Run>,
    /// The first divergence that nobody won, listed or not.
    first_undecided: Option<Run>,
    count: u64,
    /// For each member: divergences in which it dissents and is newer than all who outvote it.
    newer: Vec<u64>,
    /// For each member: the partitions in which it dissents.
    touched: Vec<Vec<bool>>,
    composed: Composed,
    /// For members that may become the base of an output: what would have to be changed in them.
    changes: Vec<Changes>,
    digest: Xxh3,
    map: Map,
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
            Verdict::Donated { .. } | Verdict::Undecided => false,
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
    /// Nothing found yet of members of which that is known.
    #[must_use]
    pub fn of(evidence: &Evidence, limits: Limits) -> Self {
        let partitions = evidence.partitions().map_or_else(PartitionMap::default, |table| {
            PartitionMap::new(table.partitions.iter().map(|partition| (partition.range, partition.label())).collect())
        });
        let legs = evidence.members.iter().map(|known| (known.device_metadata.clone(), false)).collect();
        let backgrounds = Backgrounds::of(evidence);
        Self { seniority: evidence.seniority.clone(), backgrounds, legs, ..Self::new(limits, evidence.members.len(), partitions) }
    }

    /// Nothing found yet of so many members, of which nothing is known beside their ballots.
    #[must_use]
    pub fn new(limits: Limits, members: usize, partitions: PartitionMap) -> Self {
        Self {
            limits,
            touched: vec![vec![false; partitions.count()]; members],
            newer: vec![0; members],
            seniority: Seniority::default(),
            backgrounds: Backgrounds::default(),
            legs: vec![(Vec::new(), false); members],
            partitions,
            listed: Vec::new(),
            first_undecided: None,
            count: 0,
            composed: Composed::new(),
            changes: Vec::new(),
            digest: Xxh3::new(),
            map: Map::new(members),
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
        if run.vote.verdict == Verdict::Undecided {
            self.first_undecided.get_or_insert(*run);
        }
        self.composed.add(run, self.limits.fill);
        self.map.add(run);
        self.changes.iter_mut().for_each(|changes| changes.add(run));
        update(&mut self.digest, run);
        // A donor isn't one of those who vote.
        let outvoting = run.vote.winner().map_or(0, |winner| run.vote.grouping.holders(winner));
        for member in members_of(run.vote.dissenters()) {
            self.newer[member] += u64::from(self.seniority.newer(member, outvoting, run.range.start).is_some());
            self.legs[member].1 |= self.is_of_leg(member, outvoting, run.range);
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

    /// Whether what makes a member a leg of its array lies in `range`, and would be replaced by another leg's.
    fn is_of_leg(&self, member: usize, outvoting: u64, range: ByteRange) -> bool {
        let touched = |leg: &&DeviceMetadata| leg.ranges.iter().any(|own| own.and(range).is_some());
        let other = |leg: &DeviceMetadata| {
            let mut legs = members_of(outvoting).flat_map(|other| &self.legs[other].0);
            legs.any(|there| there.array == leg.array && (there.device, there.role) != (leg.device, leg.role))
        };
        self.legs[member].0.iter().filter(touched).any(other)
    }

    /// For each member: whether it would lose what makes it a leg of an array.
    pub fn lost_legs(&self) -> impl Iterator<Item = bool> + '_ {
        self.legs.iter().map(|&(_, lost)| lost)
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

    /// What is to be thought of a member, in words; see [`Backgrounds`].
    pub(super) fn concluded(&self, member: usize, counted: &MemberTally, sectors: u64, size: u64, voted: u64) -> Option<String> {
        self.backgrounds.conclude(member, counted, sectors, size, voted)
    }

    /// The first divergence that nobody won, however many are listed.
    #[must_use]
    pub fn first_undecided(&self) -> Option<Divergence> {
        self.first_undecided.as_ref().map(|run| self.described(run))
    }

    /// Where the members differ.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Where partitions lie.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionSpan> {
        self.partitions.spans()
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
        (Listed::Runs(self.listed, self.partitions, Damages::new()), omitted)
    }
}

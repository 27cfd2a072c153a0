//! The plan of an in-place repair: verdicts in, rewrites out. Pure.

use super::portions::{Portion, Segments};
use crate::{
    scan::MemberTally,
    vote::{ByteRange, CoarseRanges, Run, mask_of, members_of},
};

/// Bytes of checksums, and of an entry's head, for each so many bytes of old data: what the journal takes beside them.
const ENTRY_BYTES: u64 = 96;
/// Checksums of old and new bytes for each unit of 512 bytes.
const HASHES_BYTES: u64 = 16;

/// What is known of a member before the plan is made.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be written to.
    pub written: bool,
    /// The block in bytes that can be written without reading it first.
    pub block_bytes: u64,
    /// Whether it can be made longer, and shorter, which a device can't.
    pub grows: bool,
    /// Whether its surplus is to be cut.
    pub truncated: bool,
    /// Bytes of data in its surplus.
    pub surplus_data: u64,
    /// Bytes of data that any member holds behind its end.
    pub tail_data: u64,
}

/// What has to be done to members in one divergence, as masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// They hold other data, or what they hold can't be told.
    pub rewrite: u64,
    /// They end before.
    pub extend: u64,
    /// They can't be read there.
    pub heal: u64,
}

impl Duties {
    /// What `run` asks for of the members in `among`; nothing where it is undecided.
    #[must_use]
    pub fn of(run: &Run, among: u64) -> Self {
        if !run.vote.verdict.is_decided() {
            return Self::default();
        }
        let grouping = &run.vote.grouping;
        Self {
            rewrite: (run.vote.dissenters() | grouping.fillers() | grouping.unstable()) & among,
            extend: grouping.absent() & among,
            heal: grouping.unreadable() & among,
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.rewrite | self.extend | self.heal
    }
}

/// What becomes of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPlan {
    /// Bytes that are replaced.
    pub dissenting_bytes: u64,
    /// Bytes that it is extended by, from sectors that it lacks.
    pub absent_bytes: u64,
    /// Bytes that it can't read, and that are to be healed.
    pub unreadable_bytes: u64,
    /// Bytes that it lacks and that can't be added: behind a sector that is undecided, or where it is a device.
    pub left_bytes: u64,
    /// Its new length in bytes, where it grows.
    pub extend_to: Option<u64>,
    /// Its new length in bytes, where it is cut.
    pub truncate_to: Option<u64>,
    /// Bytes beyond the virtual size.
    pub surplus_bytes: u64,
    /// Whether its size can't be changed.
    pub fixed_size: bool,
    /// Whether it may be written to.
    pub written: bool,
    /// Bytes of zeros of its own that data replaces, and bytes of data that zeros replace.
    pub zeros_replaced: u64,
    /// See `zeros_replaced`.
    pub data_zeroed: u64,
    /// Those of them that are content: no few bits, all ones, or what lies in free blocks.
    pub content_zeroed: u64,
}

impl MemberPlan {
    /// Bytes that differ from the verdicts in one way or another.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dissenting_bytes + self.absent_bytes + self.unreadable_bytes
    }

    /// Whether there is anything to be done to it, may it be written to or not.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.bytes() + self.left_bytes + self.surplus_bytes > 0
    }

    /// Whether something is going to be done to it.
    #[must_use]
    pub fn is_rewritten(&self) -> bool {
        self.written && (self.bytes() > 0 || self.truncate_to.is_some() || self.extend_to.is_some())
    }
}

/// Takes divergences in ascending order.
pub struct Planner {
    size: u64,
    standings: Vec<Standing>,
    /// Members that may be written to, as a mask.
    writable: u64,
    /// Members that may still be extended, as a mask: nothing undecided lies behind their end so far.
    open: u64,
    extend_to: Vec<u64>,
    looked_at: Vec<ByteRange>,
    members: Vec<MemberPlan>,
    grain: u64,
    ranges: CoarseRanges,
    segments: Segments,
    writes: u64,
    divergences: u64,
    journal_bytes: u64,
}

impl Planner {
    /// Nothing planned yet for these members of an image of `size` bytes, in sectors of `sector` bytes. Where only a part of it is looked
    /// at, that is `looked_at`: ascending, apart from each other. So many bytes
    /// are worked on at a time.
    #[must_use]
    pub fn new(size: u64, sector: u32, looked_at: &[ByteRange], standings: Vec<Standing>, portion_bytes: u64) -> Self {
        let mask = |which: &dyn Fn(&Standing) -> bool| mask_of((0..standings.len()).filter(|&member| which(&standings[member])));
        let writable = mask(&|standing| standing.written);
        let sector = u64::from(sector);
        // A part that was looked at must begin where the member ends, or before: nobody knows what belongs between.
        let part_at_end = |standing: &Standing| looked_at.iter().find(|part| part.end > standing.size).map(|part| (part.start, part.end));
        let open = mask(&|standing| {
            standing.grows && part_at_end(standing).is_some_and(|(start, _)| start <= standing.size - standing.size % sector)
        });
        let extend_to = standings.iter().map(|standing| part_at_end(standing).map_or(0, |(_, end)| end)).collect();
        let blocks = standings.iter().filter(|standing| standing.written).map(|standing| standing.block_bytes);
        let grain = blocks.max().unwrap_or(0).max(CoarseRanges::GRAIN_MIN).max(sector);
        let members = standings.iter().map(|standing| MemberPlan {
            written: standing.written,
            surplus_bytes: standing.size.saturating_sub(size),
            fixed_size: !standing.grows,
            truncate_to: (standing.written && standing.truncated && standing.size > size).then_some(size),
            ..MemberPlan::default()
        });
        Self {
            size,
            writable,
            open,
            extend_to,
            looked_at: looked_at.to_vec(),
            members: members.collect(),
            grain,
            ranges: CoarseRanges::in_grains_of(grain),
            segments: Segments::new(grain, portion_bytes),
            writes: 0,
            divergences: 0,
            journal_bytes: 0,
            standings,
        }
    }

    /// Nothing is to be written to a member that failed.
    pub fn spare(&mut self, member: usize) {
        self.standings[member].written = false;
        self.members[member].written = false;
        self.members[member].truncate_to = None;
    }

    /// Takes the next one.
    pub fn add(&mut self, run: &Run) {
        let length = run.range.length();
        let grouping = &run.vote.grouping;
        if !run.vote.verdict.is_decided() {
            for member in members_of(grouping.absent() & self.open) {
                self.extend_to[member] = run.range.start;
            }
            self.open &= !grouping.absent();
            return;
        }
        let all = Duties::of(run, u64::MAX);
        for member in members_of(all.rewrite) {
            self.members[member].dissenting_bytes += length;
        }
        members_of(all.heal).for_each(|member| self.members[member].unreadable_bytes += length);
        for member in members_of(all.extend) {
            let plan = &mut self.members[member];
            let reached = self.open >> member & 1 == 1 && run.range.start < self.extend_to[member];
            if reached { plan.absent_bytes += length } else { plan.left_bytes += length }
        }
        let duties = self.duties(run);
        if duties.all() == 0 {
            return;
        }
        self.ranges.add(run.range);
        self.segments.add(run);
        self.divergences += 1;
        for member in members_of(duties.all()) {
            self.writes += 1;
            let healed = duties.heal >> member & 1 == 1;
            let range = if healed { run.range.widened(self.standings[member].block_bytes, u64::MAX) } else { run.range };
            if duties.extend >> member & 1 == 1 {
                continue; // counted by what there is to be added
            }
            let entries = range.length() / (1 << 20) + 3;
            self.journal_bytes += range.length() + range.length() / 512 * HASHES_BYTES + entries * ENTRY_BYTES;
        }
    }

    /// What is to be done where `run` lies, as known when it is its turn.
    fn duties(&self, run: &Run) -> Duties {
        let duties = Duties::of(run, self.writable);
        let reached = members_of(duties.extend & self.open).filter(|&member| run.range.start < self.extend_to[member]);
        Duties { extend: mask_of(reached), ..duties }
    }

    /// The plan; `counted` is what was counted of each member.
    #[must_use]
    pub fn finish(mut self, counted: &[MemberTally]) -> Plan {
        for (member, plan) in self.members.iter_mut().enumerate() {
            let standing = &self.standings[member];
            let lost = &counted[member].lost;
            (plan.zeros_replaced, plan.data_zeroed, plan.content_zeroed) = (lost.zeros_replaced, lost.data_zeroed, lost.zeroed_content);
            let end = self.extend_to[member].min(self.size);
            plan.extend_to = (plan.written && plan.absent_bytes > 0 && end > standing.size).then_some(end);
            if plan.extend_to.is_some() {
                // Data in blocks of 4 KiB with an entry each at worst; and the sector that it holds partly.
                let added = standing.tail_data.min(plan.absent_bytes);
                self.journal_bytes += added / 512 * HASHES_BYTES + (added / CoarseRanges::GRAIN_MIN + 2) * ENTRY_BYTES + (128 << 10);
            }
            if plan.truncate_to.is_some() {
                self.journal_bytes += standing.surplus_data + standing.surplus_data / 512 * HASHES_BYTES + ENTRY_BYTES;
                self.journal_bytes += standing.surplus_data / (1 << 20) * ENTRY_BYTES;
            }
        }
        let ranges = self.ranges.finish(self.grain, self.size.next_multiple_of(self.grain));
        Plan {
            size: self.size,
            writable: mask_of(members_of(self.writable).filter(|&member| self.standings[member].written)),
            extend_to: self.extend_to,
            looked_at: self.looked_at,
            members: self.members,
            ranges,
            segments: self.segments,
            writes: self.writes,
            divergences: self.divergences,
            record_bytes: self.journal_bytes,
            unstable: counted.iter().any(|member| member.unstable > 0),
        }
    }
}

/// What is going to be written where.
pub struct Plan {
    size: u64,
    writable: u64,
    /// For each member how far it may be extended, in bytes.
    extend_to: Vec<u64>,
    /// What was voted on.
    looked_at: Vec<ByteRange>,
    /// For each member what becomes of it.
    pub members: Vec<MemberPlan>,
    ranges: Vec<ByteRange>,
    segments: Segments,
    /// Ranges that are written, over all members.
    pub writes: u64,
    /// Divergences that something is done about.
    pub divergences: u64,
    record_bytes: u64,
    /// Whether any member answered differently when it was read again.
    pub unstable: bool,
}

impl Plan {
    /// What is to be done where `run` lies.
    #[must_use]
    pub fn duties(&self, run: &Run) -> Duties {
        let duties = Duties::of(run, self.writable);
        let extended = members_of(duties.extend)
            .filter(|&member| run.range.start < self.extend_to[member] && self.members[member].extend_to.is_some());
        Duties { extend: mask_of(extended), ..duties }
    }

    /// Whether anything is going to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.members.iter().any(MemberPlan::is_rewritten)
    }

    /// Bytes that are going to be written to members.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.members.iter().filter(|member| member.written).map(MemberPlan::bytes).fold(0, u64::saturating_add)
    }

    /// Bytes that the journal's records take at most.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        // Each batch begins and ends at a multiple of 4096, and there is one at the end.
        self.record_bytes + (self.portions().len() as u64 + 4) * 8192 + 64 * 1024
    }

    /// The work in portions, ascending: none shares a block with another.
    pub(super) fn portions(&self) -> Vec<Portion> {
        self.segments.portions()
    }

    /// The parts of `portion` that are to be voted on again, in whole blocks as far as they were looked at.
    pub(super) fn ranges_in(&self, portion: ByteRange) -> Vec<ByteRange> {
        let from = self.ranges.partition_point(|range| range.end <= portion.start);
        let near = self.ranges[from..].iter().take_while(|range| range.start < portion.end);
        near.filter_map(|range| range.and(portion)).flat_map(|range| self.looked_at_in(range)).collect()
    }

    /// The parts of `range` that were looked at.
    pub(super) fn looked_at_in(&self, range: ByteRange) -> Vec<ByteRange> {
        let from = self.looked_at.partition_point(|part| part.end <= range.start);
        self.looked_at[from..].iter().map_while(|part| part.and(range)).collect()
    }

    /// Whether something in `range` of that member may be rewritten or cut off.
    #[must_use]
    pub fn touches(&self, member: usize, range: ByteRange) -> bool {
        let plan = &self.members[member];
        plan.is_rewritten() && (range.end > self.size || !self.ranges_in(range).is_empty())
    }

    /// Bytes that are voted on again.
    #[must_use]
    pub fn voted_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.length()).sum()
    }
}

//! From votes to writes: what is written to which member, in whole blocks where it heals.

use super::{
    plan::{Duties, Plan},
    voted::Voted,
};
use crate::{
    member::Member,
    repair::journal::ENTRY_RANGE_MAX,
    sys::storage::PAGE_BYTES,
    vote::{ByteRange, Run, Verdict, is_zero, members_of},
};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) member: usize,
    pub(super) range: ByteRange,
    /// The bytes, where they aren't the voted ones alone.
    pub(super) own: Option<Vec<u8>>,
    /// The parts that can't be read, where it heals; empty otherwise.
    pub(super) heals: Vec<ByteRange>,
    /// The parts that the plan asks for, where it heals: what isn't done where it doesn't heal.
    pub(super) asked: Vec<ByteRange>,
    /// Where the guest has what is written to the file of its image, in bytes; none where the range is the guest's own.
    pub(super) guest: Option<u64>,
}

impl Op {
    fn plain(member: usize, range: ByteRange) -> Self {
        Self { member, range, own: None, heals: Vec::new(), asked: Vec::new(), guest: None }
    }

    /// Bytes for the file of an image.
    pub(super) fn to_file(member: usize, at: u64, bytes: Vec<u8>) -> Self {
        let range = ByteRange::new(at, at + bytes.len() as u64);
        Self { own: Some(bytes), ..Self::plain(member, range) }
    }

    /// A part of it.
    pub(super) fn piece(&self, part: ByteRange) -> Self {
        let within = |ranges: &[ByteRange]| ranges.iter().filter_map(|range| range.and(part)).collect();
        let place = |own: &Vec<u8>| own[(part.start - self.range.start) as usize..(part.end - self.range.start) as usize].to_vec();
        Self { range: part, own: self.own.as_ref().map(place), heals: within(&self.heals), asked: within(&self.asked), ..*self }
    }

    /// The same bytes at another place, in the file of the guest's image.
    pub(super) fn moved_to(self, host: u64) -> Self {
        let guest = self.range.start;
        let moved = |range: &ByteRange| ByteRange::new(range.start - guest + host, range.end - guest + host);
        Self {
            range: moved(&self.range),
            heals: self.heals.iter().map(moved).collect(),
            asked: self.asked.iter().map(moved).collect(),
            guest: Some(guest),
            ..self
        }
    }

    /// Whether `next`, which lies at `host` in the file, goes on where this write to a file ends, on the guest's disk, too.
    pub(super) fn takes(&self, next: &Self, host: u64) -> bool {
        let guest_end = self.guest.map(|guest| guest + self.range.length());
        let plain = |op: &Self| op.own.is_none() && op.heals.is_empty() && op.asked.is_empty();
        let fits = self.range.length() + next.range.length() <= ENTRY_RANGE_MAX;
        host == self.range.end && guest_end == Some(next.range.start) && plain(self) && plain(next) && fits
    }

    /// Takes it.
    pub(super) fn join(&mut self, next: &Self, host: u64) {
        debug_assert!(self.takes(next, host));
        self.range.end += next.range.length();
    }

    /// Where the guest has `range` of it.
    pub(super) fn seen(&self, range: ByteRange) -> ByteRange {
        let Some(guest) = self.guest else { return range };
        ByteRange::new(range.start - self.range.start + guest, range.end - self.range.start + guest)
    }

    pub(super) fn bytes<'a>(&'a self, voted: &'a Voted) -> std::borrow::Cow<'a, [u8]> {
        match &self.own {
            Some(own) => own.into(),
            None => voted.bytes(self.seen(self.range)),
        }
    }
}

/// The writes of one portion, and what can't be healed in it.
#[derive(Debug, Default)]
pub(super) struct Ops {
    /// For each member ascending.
    pub(super) list: Vec<Op>,
    /// By member: sectors that stay as they are, since a block holds others that nobody knows.
    pub(super) not_healed: Vec<(usize, ByteRange)>,
}

/// What the writes are made from.
pub(super) struct Basis<'a> {
    pub(super) members: &'a [&'a dyn Member],
    pub(super) plan: &'a Plan,
    /// What was voted on, ascending.
    pub(super) ranges: &'a [ByteRange],
    /// The divergences in it, ascending.
    pub(super) runs: &'a [Run],
    pub(super) voted: &'a Voted,
    /// Each member's block in bytes.
    pub(super) blocks: &'a [u64],
}

impl Basis<'_> {
    /// What the plan asks for.
    pub(super) fn planned(&self) -> Ops {
        let duties: Vec<Duties> = self.runs.iter().map(|run| self.plan.duties(run)).collect();
        let mut ops = Ops::default();
        for member in members_of(duties.iter().fold(0, |mask, duties| mask | duties.all())) {
            let of = |which: fn(&Duties) -> u64| {
                let runs = self.runs.iter().zip(&duties).filter(move |(_, duties)| which(duties) >> member & 1 == 1);
                runs.map(|(run, _)| run.range)
            };
            // What nobody decided and can't be read stands in the way, too: no part of its block can be written.
            let unreadable = self.runs.iter().filter(|run| run.vote.grouping.unreadable() >> member & 1 == 1);
            let mut healing = self.heal(member, unreadable.map(|run| run.range), &mut ops);
            let extended = of(|duties| duties.extend).flat_map(|range| self.without_new_zeros(member, range));
            let mut plain: Vec<ByteRange> = of(|duties| duties.rewrite).chain(extended).collect();
            plain.sort_unstable();
            let plain = ByteRange::without(&ByteRange::joined(plain), &ByteRange::joined(healing.blocks.iter().copied()));
            healing.ops.extend(plain.iter().flat_map(|range| range.pieces(ENTRY_RANGE_MAX)).map(|range| Op::plain(member, range)));
            healing.ops.sort_by_key(|op| op.range);
            ops.list.append(&mut healing.ops);
        }
        self.assert_voted(&ops);
        ops
    }

    /// What must be written once more: `forced` of each member, as far as it was voted on, where it holds what won.
    pub(super) fn again(&self, forced: &[Vec<ByteRange>]) -> Ops {
        let mut ops = Ops::default();
        for (member, forced) in forced.iter().enumerate() {
            let held = ByteRange::new(0, self.members[member].size());
            let near = |&range: &ByteRange| {
                let from = forced.partition_point(|forced| forced.end <= range.start);
                forced[from..].iter().map_while(move |forced| forced.and(range))
            };
            let wanted: Vec<ByteRange> = self.ranges.iter().flat_map(near).filter_map(|range| range.and(held)).collect();
            let disagrees = |run: &&Run| match run.vote.verdict {
                Verdict::Decided { winner } => run.vote.grouping.version(member) != Some(winner),
                Verdict::Unanimous | Verdict::Donated { .. } | Verdict::Undecided => true,
            };
            // A block that holds something unreadable is written as a whole or not at all, and that is the plan's matter.
            let block = |run: &Run| {
                let unreadable = run.vote.grouping.unreadable() >> member & 1 == 1;
                if unreadable { run.range.widened(self.blocks[member], u64::MAX) } else { run.range }
            };
            let mut others: Vec<ByteRange> = self.runs.iter().filter(disagrees).map(block).collect();
            others.sort_unstable();
            let ranges = ByteRange::without(&wanted, &ByteRange::joined(others));
            ops.list.extend(ranges.iter().flat_map(|range| range.pieces(ENTRY_RANGE_MAX)).map(|range| Op::plain(member, range)));
        }
        self.assert_voted(&ops);
        ops
    }

    /// No byte is written that wasn't voted on just now: what isn't held would be written as zeros.
    fn assert_voted(&self, ops: &Ops) {
        for op in ops.list.iter().filter(|op| op.own.is_none()) {
            let from = self.ranges.partition_point(|range| range.end <= op.range.start);
            let left = ByteRange::without(&[op.range], &self.ranges[from..]);
            assert!(left.is_empty(), "a write to {:?} of member #{}, of which {left:?} wasn't voted on", op.range, op.member);
        }
    }

    /// Zeros behind a member's end need not be written: its extension reads as zeros.
    fn without_new_zeros(&self, member: usize, range: ByteRange) -> Vec<ByteRange> {
        let end = self.members[member].size();
        let held = range.and(ByteRange::new(0, end));
        let mut kept: Vec<ByteRange> = held.into_iter().collect();
        let behind = ByteRange::new(range.start.max(end), range.end.max(end));
        for piece in self.voted.pieces_in(behind) {
            let mut at = piece.start;
            while at < piece.end {
                let block = ByteRange::new(at, (at - at % PAGE_BYTES).saturating_add(PAGE_BYTES).min(piece.end));
                if !is_zero(&self.voted.bytes(block)) {
                    kept.push(block);
                }
                at = block.end;
            }
        }
        ByteRange::joined(kept)
    }

    /// Writes of whole blocks over what can't be read.
    fn heal(&self, member: usize, unreadable: impl Iterator<Item = ByteRange>, ops: &mut Ops) -> Healing {
        let block_bytes = self.blocks[member];
        let end = self.members[member].size();
        let windows = ByteRange::joined(unreadable.map(|range| range.widened(block_bytes, u64::MAX)));
        let mut healing = Healing::default();
        for window in windows {
            let mut at = window.start;
            while at < window.end {
                let block = ByteRange::new(at, (at + block_bytes).min(window.end));
                // What lies behind the member's end can be written by itself once the rest can be read.
                let held = ByteRange::new(block.start, block.end.min(end));
                let from = self.runs.partition_point(|run| run.range.end <= block.start);
                let inside: Vec<&Run> = self.runs[from..].iter().take_while(|run| run.range.start < block.end).collect();
                if let Some(op) = self.healed(member, held, &inside) {
                    healing.ops.push(op);
                    healing.blocks.push(held);
                } else {
                    ops.not_healed.extend(self.asked(member, block, &inside).into_iter().map(|range| (member, range)));
                    healing.blocks.push(block);
                }
                at = block.end;
            }
        }
        healing
    }

    /// The parts of a block that the plan asks for.
    fn asked(&self, member: usize, block: ByteRange, inside: &[&Run]) -> Vec<ByteRange> {
        let planned = inside.iter().filter(|run| self.plan.duties(run).all() >> member & 1 == 1);
        planned.filter_map(|run| run.range.and(block)).collect()
    }

    /// The whole block with what was decided, and with the member's own bytes where nothing was; none where those can't be read.
    fn healed(&self, member: usize, block: ByteRange, inside: &[&Run]) -> Option<Op> {
        let asked = self.asked(member, block, inside);
        let mut op = Op { member, range: block, own: Some(self.voted.bytes(block).into_owned()), heals: Vec::new(), asked, guest: None };
        for part in ByteRange::without(&[block], self.ranges) {
            self.keep(&mut op, part)?; // what nobody voted on
        }
        for run in inside {
            let Some(part) = run.range.and(block) else { continue };
            let grouping = &run.vote.grouping;
            if grouping.unreadable() >> member & 1 == 1 {
                if run.vote.verdict == Verdict::Undecided {
                    return None;
                }
                op.heals.push(part);
            } else if run.vote.verdict == Verdict::Undecided {
                grouping.version(member)?;
                self.keep(&mut op, part)?;
            }
        }
        Some(op)
    }

    /// Lets the write hold in `part` what the member holds there; none where that can't be read.
    fn keep(&self, op: &mut Op, part: ByteRange) -> Option<()> {
        let (at, length) = ((part.start - op.range.start) as usize, part.length() as usize);
        let own = op.own.as_mut()?;
        let bytes = &mut own[at..at + length];
        let member = self.members[op.member];
        // Only an error that repeats is believed.
        member.read(part.start, bytes, &mut None).or_else(|_| member.read(part.start, bytes, &mut None)).ok()
    }
}

/// Healing writes of one member, ascending.
#[derive(Default)]
struct Healing {
    ops: Vec<Op>,
    /// Where no other write may go: what they cover, and whole blocks that can't be healed.
    blocks: Vec<ByteRange>,
}

//! Carries out the plan: votes once more on what differs, journals, writes, syncs, reads back.

use super::{
    RepairError,
    journal::{Ended, Entry, JournalWriter, Old, unit_hashes},
    ops::{Basis, Op, Ops},
    plan::Plan,
    portions::{Digest, Portion},
    voted::{Collector, Voted},
};
use crate::{
    member::{Extent, Member, MemberName},
    scan::{Job, Outcome, Poll, Question, Watch, scan, workers},
    sys::storage::{Stamp, Storage},
    vote::{ByteRange, Fill, Run, members_of},
};

/// Voted bytes held at a time.
const VOTED_BYTES_MAX: usize = 64 << 20;
/// Bytes of a cut surplus that are journalled at a time.
const CUT_BYTES: u64 = 32 << 20;
/// The smallest piece of one long divergence that is worked on at a time, in bytes.
const PIECE_BYTES_MIN: u64 = 1 << 20;
/// Ranges remembered of each kind, for the report.
const LISTED_MAX: usize = 100_000;

/// What became of one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Bytes written to it.
    pub(super) written: u64,
    /// Why nothing more is written to it.
    pub(super) error: Option<String>,
    /// Bytes that can be read again, and bytes that can't.
    pub(super) healed_bytes: u64,
    pub(super) not_healed_bytes: u64,
    pub(super) healed: Vec<ByteRange>,
    pub(super) not_healed: Vec<ByteRange>,
}

/// Why the work ended early.
pub(super) enum Stop {
    /// A signal.
    Interrupted,
    /// Nothing more can be done.
    Failed(RepairError),
}

impl From<RepairError> for Stop {
    fn from(error: RepairError) -> Self {
        Self::Failed(error)
    }
}

/// The work on the members.
pub(super) struct Rewriter<'a> {
    pub(super) members: &'a [&'a dyn Member],
    /// Where each member's bytes are rewritten, if they are.
    pub(super) stores: &'a [Option<&'a dyn Storage>],
    pub(super) blocks: Vec<u64>,
    pub(super) question: &'a Question,
    pub(super) poll: &'a Poll,
    pub(super) plan: &'a Plan,
    pub(super) watch: &'a dyn Watch,
    /// The journal and its name; none where none was wanted.
    pub(super) journal: Option<(MemberName, JournalWriter)>,
    /// Members for which all batches so far are on stable storage, as a mask.
    pub(super) synced: u64,
    pub(super) progress: Vec<Progress>,
    /// Parts in which the second vote didn't say what the plan relies on.
    pub(super) unsteady: Vec<ByteRange>,
    /// Whether every read-back was past the page cache.
    pub(super) from_medium: bool,
}

/// How it went with a part.
enum Attempt {
    /// It is done; so many bytes of memory were needed.
    Done(usize),
    /// There are too many bytes to hold at a time.
    TooMuch,
}

impl Rewriter<'_> {
    /// Writes once more what an earlier session wrote and may not have reached stable storage: for each member such ranges.
    pub(super) fn again(&mut self, forced: &[Vec<ByteRange>]) -> Result<(), Stop> {
        let mut all: Vec<ByteRange> = forced.iter().flatten().copied().collect();
        all.sort_unstable();
        let unit = u64::from(self.poll.sector).max(super::journal::SAMPLE_BYTES);
        let mut portion: Vec<ByteRange> = Vec::new();
        let mut held = 0;
        let size = self.poll.size;
        let wide = all.iter().map(|range| range.widened(unit, size)).filter(|range| !range.is_empty());
        let mut pieces = wide.flat_map(|range| pieces_of(range, CUT_BYTES)).peekable();
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
            if held >= CUT_BYTES || pieces.peek().is_none() {
                self.again_in(forced, &std::mem::take(&mut portion))?;
                held = 0;
            }
        }
        Ok(())
    }

    fn again_in(&mut self, forced: &[Vec<ByteRange>], ranges: &[ByteRange]) -> Result<(), Stop> {
        let collector = Collector::new(2 * VOTED_BYTES_MAX);
        let (runs, _) = self.vote(ranges, Some(&collector))?;
        let voted = collector.finish();
        let basis = Basis { members: self.members, plan: self.plan, ranges, runs: &runs, voted: &voted, blocks: &self.blocks };
        let mut ops = Ops::default();
        for &range in ranges {
            ops.list.append(&mut basis.again(forced, range).list);
        }
        ops.list.sort_by_key(|op| (op.member, op.range));
        self.perform(ops, &runs, &voted)
    }

    /// Does what the plan says.
    pub(super) fn planned(&mut self) -> Result<(), Stop> {
        for portion in self.plan.portions() {
            let ranges = self.plan.ranges_in(portion.range);
            if let Attempt::TooMuch = self.attempt(&ranges, portion.digest)? {
                self.piecemeal(&ranges, portion)?;
            }
            self.watch.advanced(ranges.iter().map(|range| range.length()).sum());
        }
        Ok(())
    }

    /// A portion whose blocks are more than fit the memory: voted on first, then worked through divergence by divergence.
    fn piecemeal(&mut self, ranges: &[ByteRange], portion: Portion) -> Result<(), Stop> {
        let (runs, _) = self.vote(ranges, None)?;
        let wanted: Vec<Run> = runs.into_iter().filter(|run| self.plan.duties(run).all() != 0).collect();
        if digest_of(&wanted) != portion.digest {
            self.unsteady.push(portion.range);
            return Ok(());
        }
        let unit = self.blocks.iter().copied().max().unwrap_or(0).max(u64::from(self.poll.sector)).max(super::journal::SAMPLE_BYTES);
        let mut at = 0;
        while at < wanted.len() {
            // Those whose blocks touch go together.
            let first = wanted[at].range.widened(unit, self.poll.size);
            let mut end = first.end;
            let mut next = at + 1;
            while let Some(run) =
                wanted.get(next).filter(|run| run.range.start < end.next_multiple_of(unit) || end - first.start < PIECE_BYTES_MIN)
            {
                end = run.range.widened(unit, self.poll.size).end;
                next += 1;
            }
            self.in_pieces(ByteRange::new(first.start, end), &wanted[at..next], unit)?;
            at = next;
        }
        Ok(())
    }

    /// Works through `range` in pieces as large as the memory allows; `wanted` are its divergences.
    fn in_pieces(&mut self, range: ByteRange, wanted: &[Run], unit: u64) -> Result<(), Stop> {
        let mut step = range.length().max(1);
        let mut at = range.start;
        while at < range.end {
            let end = if step >= range.end - at { range.end } else { (at + step).next_multiple_of(unit).min(range.end) };
            let piece = ByteRange::new(at, end);
            let inside: Vec<Run> = wanted.iter().filter_map(|run| Some(Run { range: run.range.and(piece)?, ..*run })).collect();
            match self.attempt(&self.plan.looked_at_in(piece), digest_of(&inside))? {
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
    fn attempt(&mut self, ranges: &[ByteRange], expected: Digest) -> Result<Attempt, Stop> {
        let collector = Collector::new(VOTED_BYTES_MAX);
        let voted = self.vote(ranges, Some(&collector));
        if collector.overflowed() {
            return Ok(Attempt::TooMuch);
        }
        let (runs, _) = voted?;
        let voted = collector.finish();
        let wanted: Vec<Run> = runs.iter().copied().filter(|run| self.plan.duties(run).all() != 0).collect();
        if digest_of(&wanted) != expected {
            self.unsteady.extend(ranges.first().zip(ranges.last()).map(|(first, last)| ByteRange::new(first.start, last.end)));
            return Ok(Attempt::Done(0));
        }
        let basis = Basis { members: self.members, plan: self.plan, ranges, runs: &runs, voted: &voted, blocks: &self.blocks };
        let ops = basis.planned();
        let held = voted.held();
        self.perform(ops, &runs, &voted)?;
        Ok(Attempt::Done(held))
    }

    fn vote(&self, ranges: &[ByteRange], collector: Option<&Collector>) -> Result<(Vec<Run>, Outcome), Stop> {
        let mut runs = Vec::new();
        let quiet = Quiet(self.watch);
        let output = collector.map(|collector| (collector as _, Fill::Fail));
        let job = Job { output, ..Job::new(self.members, self.question, self.poll, ranges, &quiet) };
        let outcome = scan(&job, &mut |run| {
            runs.push(*run);
            Ok(())
        });
        let outcome = outcome.map_err(RepairError::from)?;
        if outcome.complete { Ok((runs, outcome)) } else { Err(Stop::Interrupted) }
    }

    fn perform(&mut self, ops: Ops, runs: &[Run], voted: &Voted) -> Result<(), Stop> {
        for (member, range) in ops.not_healed {
            self.progress[member].not_healed(range);
        }
        let mut list: Vec<Op> = ops.list.into_iter().filter(|op| self.progress[op.member].error.is_none()).collect();
        if list.is_empty() {
            return Ok(());
        }
        if self.watch.stopped() {
            return Err(Stop::Interrupted);
        }
        self.journalled(&mut list, runs, voted)?;
        let all_written = self.write(&list, voted);
        let touched = list.iter().fold(0, |mask, op| mask | 1 << op.member);
        self.sync(touched);
        if all_written && !self.watch.stopped() {
            self.read_back(&list, voted);
            return Ok(());
        }
        // What wasn't read back is written again by the next session.
        self.synced &= !touched;
        Err(Stop::Interrupted)
    }

    /// Puts into the journal what the writes replace; a write whose old bytes can't be had is left out.
    fn journalled(&mut self, list: &mut Vec<Op>, runs: &[Run], voted: &Voted) -> Result<(), Stop> {
        let synced = self.synced;
        let Some((name, journal)) = &mut self.journal else { return Ok(()) };
        let failed = |error| RepairError::JournalWrite { journal: name.clone(), error };
        let mut batch = journal.batch(synced).map_err(failed)?;
        let mut unreadable = Vec::new();
        let mut old = Vec::new();
        for (index, op) in list.iter().enumerate() {
            if self.watch.stopped() {
                return Err(Stop::Interrupted); // the batch is no record yet
            }
            let member = self.members[op.member];
            let bytes = op.bytes(voted);
            self.watch.spend(op.range.length());
            for (range, kind) in kinds_of(op, member, runs) {
                old.clear();
                if kind == Old::Data {
                    old.resize(range.length() as usize, 0);
                    // Only an error that repeats is believed.
                    let mut read = || member.read(range.start, &mut old, &mut None).is_ok();
                    if !read() && !read() {
                        unreadable.push(index);
                        break;
                    }
                }
                let at = (range.start - op.range.start) as usize;
                let new = unit_hashes(range.start, &bytes[at..at + range.length() as usize]);
                let entry = Entry { member: op.member, old: kind, cut: false, range };
                batch.entry(&entry, &unit_hashes(range.start, &old), &new, &old).map_err(failed)?;
            }
        }
        batch.finish().map_err(failed)?;
        for index in unreadable.into_iter().rev() {
            let op = list.remove(index);
            let end = self.members[op.member].size();
            if op.range.start < end && end < op.range.end {
                self.progress[op.member].not_healed(op.range); // a sector that it holds partly, and can't read
            } else {
                self.unsteady.push(op.range);
            }
        }
        Ok(())
    }

    /// Writes; a member that takes no more is left alone from there on. False where it was stopped before the end.
    fn write(&mut self, list: &[Op], voted: &Voted) -> bool {
        // The block of the last write that didn't heal: its other parts can't be written either.
        let mut sick: Option<(usize, ByteRange)> = None;
        for op in list {
            if self.watch.stopped() {
                return false;
            }
            let progress = &mut self.progress[op.member];
            let Some(store) = self.stores[op.member].filter(|_| progress.error.is_none()) else { continue };
            let bytes = op.bytes(voted);
            assert_eq!(bytes.len() as u64, op.range.length(), "a write of other bytes than planned");
            self.watch.spend(bytes.len() as u64);
            let written = if op.heals.is_empty() { store.write(op.range.start, &bytes) } else { store.overwrite(op.range.start, &bytes) };
            match written {
                Ok(()) => progress.written += bytes.len() as u64,
                // What doesn't heal shows when it is read back.
                Err(_) if !op.heals.is_empty() => sick = Some((op.member, op.range.widened(self.blocks[op.member], u64::MAX))),
                Err(_) if sick.is_some_and(|(member, block)| member == op.member && block.and(op.range).is_some()) => {}
                Err(error) => {
                    progress.error = Some(format!("writing {} bytes at offset {:#x}: {error}", bytes.len(), op.range.start));
                    self.synced &= !(1 << op.member);
                }
            }
        }
        true
    }

    /// Syncs the members of the mask, all at once. One that can't be synced is never believed again.
    fn sync(&mut self, touched: u64) {
        let results: Vec<(usize, std::io::Result<()>)> = std::thread::scope(|scope| {
            let stores = self.stores.iter().enumerate().filter(|(member, _)| touched >> member & 1 == 1);
            let running: Vec<_> = stores.filter_map(|(member, store)| store.map(|store| (member, scope.spawn(|| store.sync())))).collect();
            running
                .into_iter()
                .map(|(member, thread)| (member, thread.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))))
                .collect()
        });
        for (member, result) in results {
            if let Err(error) = result {
                self.synced &= !(1 << member);
                self.progress[member].error.get_or_insert(format!("syncing: {error}; what was written since the last sync may be lost"));
            }
        }
    }

    /// Reads back, and holds it against what was to be written.
    fn read_back(&mut self, list: &[Op], voted: &Voted) {
        let wrong = super::read_back::differences(list, voted, self.stores, workers(self.question.threads, self.members), self.watch);
        let mut wrong = wrong.into_iter().peekable();
        let mut sick: Option<(usize, ByteRange)> = None;
        for (index, op) in list.iter().enumerate() {
            let found = wrong.next_if(|(at, _)| *at == index).map(|(_, found)| found);
            let progress = &mut self.progress[op.member];
            if progress.error.is_some() {
                continue;
            }
            self.from_medium &= self.stores[op.member].is_none_or(Storage::reaches_medium);
            match found {
                None => op.heals.iter().for_each(|&range| progress.healed(range)),
                Some(_) if !op.heals.is_empty() => {
                    op.asked.iter().for_each(|&range| progress.not_healed(range));
                    sick = Some((op.member, op.range.widened(self.blocks[op.member], u64::MAX)));
                }
                Some(_) if sick.is_some_and(|(member, block)| member == op.member && block.and(op.range).is_some()) => {
                    progress.not_healed(op.range);
                }
                Some(found) => {
                    progress.error = Some(found);
                    self.synced &= !(1 << op.member);
                }
            }
        }
    }

    /// Cuts off what members hold behind the image's end, where that is wanted.
    pub(super) fn cut(&mut self) -> Result<(), Stop> {
        for member in 0..self.members.len() {
            let Some(length) = self.plan.members[member].truncate_to.filter(|_| self.progress[member].error.is_none()) else { continue };
            let surplus = ByteRange::new(length, self.members[member].size());
            for piece in pieces_of(surplus, CUT_BYTES) {
                if self.watch.stopped() {
                    return Err(Stop::Interrupted);
                }
                self.journal_surplus(member, piece)?;
            }
            self.set_length(member, length);
        }
        Ok(())
    }

    fn journal_surplus(&mut self, index: usize, piece: ByteRange) -> Result<(), Stop> {
        let (member, synced) = (self.members[index], self.synced);
        let Some((name, journal)) = &mut self.journal else { return Ok(()) };
        let failed = |error| RepairError::JournalWrite { journal: name.clone(), error };
        let unreadable = |offset| RepairError::Surplus { member: member.name().clone(), offset };
        let mut batch = journal.batch(synced).map_err(failed)?;
        let mut at = piece.start;
        let mut bytes = Vec::new();
        while at < piece.end {
            let step_end = (at - at % (1 << 20) + (1 << 20)).min(piece.end);
            match member.extent(at) {
                Ok(Extent::Zero(end)) if end > at => at = end.min(piece.end),
                _ => {
                    let range = ByteRange::new(at, step_end);
                    bytes.resize(range.length() as usize, 0);
                    self.watch.spend(range.length());
                    member.read(at, &mut bytes, &mut None).map_err(|_| unreadable(at))?;
                    let entry = Entry { member: index, old: Old::Data, cut: true, range };
                    batch.entry(&entry, &unit_hashes(at, &bytes), &[], &bytes).map_err(failed)?;
                    at = step_end;
                }
            }
        }
        if batch.entries() > 0 {
            batch.finish().map_err(failed)?;
        }
        Ok(())
    }

    /// Gives members that ended too early their length.
    pub(super) fn extend(&mut self) {
        for member in 0..self.members.len() {
            let Some(length) = self.plan.members[member].extend_to.filter(|_| self.progress[member].error.is_none()) else { continue };
            let short = self.stores[member].is_some_and(|store| store.length().is_ok_and(|now| now < length));
            if short {
                self.set_length(member, length);
            }
        }
    }

    /// Sets the lengths of these members once more, as they are: an earlier session may have set them, and its sync failed.
    pub(super) fn settle(&mut self, unsettled: u64) {
        for member in members_of(unsettled).take_while(|&member| member < self.members.len()) {
            let store = self.stores[member].filter(|store| store.resizable() && self.progress[member].error.is_none());
            if let Some(Ok(length)) = store.map(Storage::length) {
                self.set_length(member, length);
            }
        }
    }

    fn set_length(&mut self, member: usize, length: u64) {
        let Some(store) = self.stores[member] else { return };
        match store.set_length(length) {
            Ok(()) => self.sync(1 << member),
            Err(error) => {
                self.progress[member].error = Some(format!("setting its length to {length} bytes: {error}"));
                self.synced &= !(1 << member);
            }
        }
    }

    /// Ends the session in the journal; `through` tells that all stages were gone through.
    pub(super) fn close(&mut self, through: bool) -> Result<(), RepairError> {
        // What couldn't be synced may be another file after a power cut, its times included.
        let sound = self.stores.iter().zip(&self.progress).map(|(store, progress)| store.filter(|_| progress.error.is_none()));
        let stamps: Vec<Option<Stamp>> = sound.map(|store| store.and_then(|store| store.stamp().ok().flatten())).collect();
        let complete = through && self.unsteady.is_empty() && self.progress.iter().all(|progress| progress.error.is_none());
        let synced = self.synced;
        let Some((name, journal)) = &mut self.journal else { return Ok(()) };
        let ended = Ended { synced, settled: if through { synced } else { 0 }, complete, stamps };
        journal.end(&ended).map_err(|error| RepairError::JournalWrite { journal: name.clone(), error })
    }
}

impl Progress {
    fn healed(&mut self, range: ByteRange) {
        self.healed_bytes += range.length();
        note(&mut self.healed, range);
    }

    fn not_healed(&mut self, range: ByteRange) {
        self.not_healed_bytes += range.length();
        note(&mut self.not_healed, range);
    }
}

/// Adds to a list for the report: ascending, joined, and not without end.
fn note(list: &mut Vec<ByteRange>, range: ByteRange) {
    match list.last_mut() {
        Some(before) if before.end == range.start => before.end = range.end,
        _ => {
            if list.len() < LISTED_MAX {
                list.push(range);
            }
        }
    }
}

/// Cuts the range of a write where what it replaces is of another kind.
fn kinds_of(op: &Op, member: &dyn Member, runs: &[Run]) -> Vec<(ByteRange, Old)> {
    let end = member.size();
    let (held, beyond) = if op.range.end <= end {
        (Some(op.range), None)
    } else if op.range.start >= end {
        (None, Some(op.range))
    } else {
        (Some(ByteRange::new(op.range.start, end)), Some(ByteRange::new(end, op.range.end)))
    };
    let mut kinds = Vec::new();
    if let Some(held) = held {
        let hole = op.heals.is_empty() && matches!(member.extent(held.start), Ok(Extent::Zero(zeros)) if zeros >= held.end);
        let mut at = held.start;
        for heals in &op.heals {
            if at < heals.start {
                kinds.push((ByteRange::new(at, heals.start), Old::Data));
            }
            kinds.push((*heals, Old::Unreadable));
            at = heals.end;
        }
        if at < held.end {
            kinds.push((ByteRange::new(at, held.end), if hole { Old::Hole } else { Old::Data }));
        }
    }
    debug_assert!(runs.iter().all(|run| !run.range.is_empty()));
    kinds.extend(beyond.map(|range| (range, Old::Beyond)));
    kinds
}

fn digest_of(runs: &[Run]) -> Digest {
    runs.iter().map(Digest::of).sum()
}

/// Pieces of at most `step` bytes.
fn pieces_of(range: ByteRange, step: u64) -> impl Iterator<Item = ByteRange> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let piece = ByteRange::new(at, (at - at % step).saturating_add(step).min(range.end).max(at));
        at = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The second vote shows no progress of its own: what counts is what is written.
struct Quiet<'a>(&'a dyn Watch);

impl Watch for Quiet<'_> {
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
    fn spend(&self, bytes: u64) {
        self.0.spend(bytes);
    }
    fn pause(&self) {
        self.0.pause();
    }
}

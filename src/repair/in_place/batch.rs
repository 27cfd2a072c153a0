//! One batch of writes: what they replace is journalled, then they are written, synced and read back.

use std::{
    sync::Arc,
    thread::{Scope, ScopedJoinHandle},
};

use super::{
    ops::{Op, Ops},
    read_back::differences,
    rewriter::{Rewriter, Stop},
    voted::Voted,
};
use crate::{
    member::{Extent, HostFile, KnownExtent, Readable},
    repair::{
        RepairError,
        journal::{Entry, Old, unit_hashes},
    },
    scan::workers,
    sys::storage::{Origin, Storage},
    vote::{ByteRange, mask_of, members_of},
};

/// What was read back, and where it differs: by the number of the write.
pub(super) struct ReadBack {
    list: Vec<Op>,
    wrong: Vec<(usize, String)>,
}

/// One batch is read back while the next one is voted on.
pub(super) struct Flow<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    running: Option<ScopedJoinHandle<'scope, ReadBack>>,
}

impl<'scope, 'env> Flow<'scope, 'env> {
    /// Nothing is going on yet.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { scope, running: None }
    }

    fn start(&mut self, work: impl FnOnce() -> ReadBack + Send + 'scope) {
        self.running = Some(self.scope.spawn(work));
    }

    fn finish(&mut self) -> Option<ReadBack> {
        let running = self.running.take()?;
        Some(running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl<'a> Rewriter<'a> {
    /// Carries out writes to members; those to images become writes to their files, with new clusters where they are needed.
    pub(super) fn perform<'s>(&mut self, flow: &mut Flow<'s, '_>, ops: Ops, voted: Voted) -> Result<(), Stop>
    where
        'a: 's,
    {
        let voted = Arc::new(voted);
        for (member, range) in ops.not_healed {
            self.progress[member].not_healed(range);
        }
        let (direct, allocating) = self.parted(ops.list);
        self.batch(flow, direct, &voted)?;
        for (member, mut pending) in allocating {
            while !pending.is_empty() && self.progress[member].error.is_none() {
                let Some(image) = &mut self.images[member] else { break };
                match image.allocate(&mut pending, &voted) {
                    Ok((list, not_healed)) => {
                        for range in not_healed {
                            self.progress[member].not_healed(range);
                        }
                        self.batch(flow, list, &voted)?;
                        self.forget(member);
                    }
                    Err(error) => self.give_up(member, error),
                }
            }
        }
        Ok(())
    }

    /// Writes that can be done as they are, and by member those that take new clusters.
    fn parted(&mut self, list: Vec<Op>) -> (Vec<Op>, Vec<(usize, Vec<Op>)>) {
        let (mut direct, mut allocating) = (Vec::new(), Vec::new());
        let mut list = list.into_iter().peekable();
        while let Some(first) = list.next() {
            let member = first.member;
            let mut ops = vec![first];
            while let Some(next) = list.next_if(|op| op.member == member) {
                ops.push(next);
            }
            let block_bytes = self.blocks[member];
            let Some(image) = &mut self.images[member] else {
                direct.append(&mut ops);
                continue;
            };
            match image.part(ops, block_bytes) {
                Ok(parted) => {
                    direct.extend(image.take_prelude());
                    let mut writes = parted.direct;
                    writes.sort_by_key(|op| op.range);
                    direct.append(&mut writes);
                    allocating.push((member, parted.allocating));
                    for range in parted.not_healed {
                        self.progress[member].not_healed(range);
                    }
                }
                Err(error) => self.give_up(member, error),
            }
        }
        (direct, allocating)
    }

    /// The file of an image was written to: what was read of it counts no more.
    fn forget(&mut self, member: usize) {
        if let (Some(image), Some(store)) = (&self.images[member], self.stores[member]) {
            match store.length() {
                Ok(length) => image.written(length),
                Err(error) => self.give_up(member, error.to_string()),
            }
        }
    }

    /// Journals what the writes replace, writes, syncs and reads back.
    fn batch<'s>(&mut self, flow: &mut Flow<'s, '_>, list: Vec<Op>, voted: &Arc<Voted>) -> Result<(), Stop>
    where
        'a: 's,
    {
        // The record that comes next tells what earlier ones have behind them: that must be known.
        self.heed_read_back(flow);
        let mut list: Vec<Op> = list.into_iter().filter(|op| self.progress[op.member].error.is_none()).collect();
        if list.is_empty() {
            return Ok(());
        }
        if self.watch.stopped() {
            return Err(Stop::Interrupted);
        }
        self.journalled(&mut list, voted)?;
        for member in members_of(mask_of(list.iter().map(|op| op.member))) {
            if let Some(why) = self.members[member].files().into_iter().find_map(HostFile::lost_locks) {
                self.give_up(member, format!("{why}; nothing more was written to it"));
            }
        }
        let all_written = self.write(&list, voted);
        let touched = mask_of(list.iter().map(|op| op.member));
        self.sync(touched);
        if all_written && !self.watch.stopped() {
            let (stores, watch, threads) = (self.stores, self.watch, workers(self.question.threads, self.members));
            let voted = Arc::clone(voted);
            flow.start(move || {
                let wrong = differences(&list, &voted, stores, threads, watch);
                ReadBack { list, wrong }
            });
            return Ok(());
        }
        // What wasn't read back is written again by the next session.
        self.synced &= !touched;
        Err(Stop::Interrupted)
    }

    /// Puts into the journal what the writes replace; a write whose old bytes can't be had is left out.
    fn journalled(&mut self, list: &mut Vec<Op>, voted: &Voted) -> Result<(), Stop> {
        let synced = self.synced;
        let Some((name, journal)) = &mut self.journal else { return Ok(()) };
        let failed = |error| RepairError::JournalWrite { journal: name.clone(), error };
        let mut batch = journal.batch(synced).map_err(failed)?;
        let mut known = vec![KnownExtent::default(); self.members.len()];
        let mut unreadable = Vec::new();
        let mut old = Vec::new();
        for (index, op) in list.iter().enumerate() {
            if self.watch.stopped() {
                return Err(Stop::Interrupted); // the batch is no record yet
            }
            let member = self.files[op.member];
            let bytes = op.bytes(voted);
            self.watch.spend(op.range.length());
            self.watch.advanced(op.range.length());
            for (range, kind) in kinds_of(op, member, &mut known[op.member]) {
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
        let mut broken = Vec::new();
        for index in unreadable.into_iter().rev() {
            let op = list.remove(index);
            if self.images[op.member].is_some() {
                // Tables are changed as a whole or not at all.
                broken.push((
                    op.member,
                    format!("what lies at offset {:#x} of its file can't be read, and so not be journalled", op.range.start),
                ));
                continue;
            }
            let end = self.files[op.member].size();
            if op.range.start < end && end < op.range.end {
                self.progress[op.member].not_healed(op.seen(op.range)); // a sector that it holds partly, and can't read
            } else {
                self.unsteady.push(op.seen(op.range));
            }
        }
        for (member, error) in broken {
            list.retain(|op| op.member != member);
            self.give_up(member, error);
        }
        Ok(())
    }

    /// Writes; a member that takes no more is left alone from there on. False where it was stopped before the end.
    fn write(&mut self, list: &[Op], voted: &Voted) -> bool {
        // The block of the last write that didn't heal: its other parts can't be written either.
        let mut sick: Option<(usize, ByteRange)> = None;
        // In the middle of its tables an image is none: such a batch is carried out to its end.
        let whole = list.iter().any(|op| self.images[op.member].is_some());
        for op in list {
            if !whole && self.watch.stopped() {
                return false;
            }
            let progress = &mut self.progress[op.member];
            let Some(store) = self.stores[op.member].filter(|_| progress.error.is_none()) else { continue };
            let bytes = op.bytes(voted);
            assert_eq!(bytes.len() as u64, op.range.length(), "a write of other bytes than planned");
            self.watch.spend(bytes.len() as u64);
            self.watch.advanced(bytes.len() as u64);
            let written = if op.heals.is_empty() { store.write(op.range.start, &bytes) } else { store.overwrite(op.range.start, &bytes) };
            match written {
                Ok(()) => progress.written += bytes.len() as u64,
                // What doesn't heal shows when it is read back.
                Err(error) if !op.heals.is_empty() && error.raw_os_error() == Some(libc::EIO) => {
                    sick = Some((op.member, op.range.widened(self.blocks[op.member], u64::MAX)));
                }
                Err(_) if sick.is_some_and(|(member, block)| member == op.member && block.and(op.range).is_some()) => {}
                Err(error) => {
                    progress.error = Some(format!("writing {} bytes at offset {:#x}: {error}", bytes.len(), op.range.start));
                    self.synced &= !(1 << op.member);
                }
            }
        }
        true
    }

    /// Waits for what is being read back, and heeds what was found.
    pub(super) fn heed_read_back(&mut self, flow: &mut Flow<'_, '_>) {
        let Some(ReadBack { list, wrong }) = flow.finish() else { return };
        let mut wrong = wrong.into_iter().peekable();
        let mut sick: Option<(usize, ByteRange)> = None;
        for (index, op) in list.iter().enumerate() {
            let found = wrong.next_if(|(at, _)| *at == index).map(|(_, found)| found);
            let progress = &mut self.progress[op.member];
            if progress.error.is_some() {
                continue;
            }
            self.origin = self.origin.min(self.stores[op.member].map_or(Origin::Medium, Storage::origin));
            match found {
                None => op.heals.iter().for_each(|&range| progress.healed(op.seen(range))),
                Some(_) if !op.heals.is_empty() => {
                    op.asked.iter().for_each(|&range| progress.not_healed(op.seen(range)));
                    sick = Some((op.member, op.range.widened(self.blocks[op.member], u64::MAX)));
                }
                Some(_) if sick.is_some_and(|(member, block)| member == op.member && block.and(op.range).is_some()) => {
                    progress.not_healed(op.seen(op.range));
                }
                Some(found) => {
                    progress.error = Some(found);
                    self.synced &= !(1 << op.member);
                }
            }
        }
    }
}

/// Cuts the range of a write where what it replaces is of another kind.
fn kinds_of(op: &Op, member: &dyn Readable, known: &mut KnownExtent) -> Vec<(ByteRange, Old)> {
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
        let hole = op.heals.is_empty() && matches!(known.at(member, held.start), Ok(Extent::Zero(zeros)) if zeros >= held.end);
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
    kinds.extend(beyond.map(|range| (range, Old::Beyond)));
    kinds
}

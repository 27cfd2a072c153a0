//! What differs is read once more, past the page cache, before it is believed: rot in memory, a flaky path and a medium that answers
//! differently each time aren't what a member holds.

use std::sync::atomic::Ordering::Relaxed;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{
    chunk::{Chunk, Interruption},
    doubts::{Reading, Said},
    extents::{BLOCK_BYTES, State},
    worker::{Mark, Worker},
};
use crate::{
    sys::ring::{Done, Ring},
    vote::{ByteRange, Rule},
};

/// Direct readings of one thread that are in flight at once, and the memory in bytes from which on no more are begun: of one thread, and of all
/// together.
const DIRECT_MAX: u32 = 64;
const DIRECT_BYTES_MAX: usize = 4 << 20;
const DIRECT_BYTES_ALL: usize = 64 << 20;
/// What lies between two readings is rather read than stepped over, up to so many bytes, and within blocks of so many.
const GAP_BYTES_MAX: u64 = 16 << 10;
const TOGETHER_BYTES: u64 = 256 << 10;
/// Bytes of what differs, in whole blocks and of all members, that wait for their second reading: of one thread, and of all together.
const WAITING_BYTES_MAX: u64 = 4 << 20;
const WAITING_BYTES_ALL: u64 = 32 << 20;

impl Worker<'_> {
    /// Reads once more what differs in the chunk since `mark`; where a member answers otherwise it is noted, and the chunk voted on anew.
    ///
    /// Where nothing is done with the chunk until its window is through, that waits for others: a disk serves many readings as fast as one.
    pub(super) fn confirm(&mut self, chunk: &Chunk, mark: &Mark) -> Result<(), Interruption> {
        // Who compares again and again until writers have caught up has read anew already; and noted places are noted.
        let job = self.shared.job;
        let believed = chunk.rule == Rule::First || job.rereads > 0 || !self.unstable.is_empty();
        if believed || !self.found.grew_since(mark) {
            return Ok(());
        }
        let differing = self.found.since(mark, chunk.range);
        let mut readings = Vec::new();
        for near in differing.chunk_by(|a, b| b.start - a.end < BLOCK_BYTES) {
            let Some(all) = near.first().zip(near.last()).map(|(first, last)| ByteRange::new(first.start, last.end)) else { continue };
            // What the medium reads counts.
            let bytes = all.widened(BLOCK_BYTES, u64::MAX).length();
            // What was believed the first time isn't any more.
            if !self.doubts.again && self.shared.unconfirmed.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_err() {
                break;
            }
            for member in chunk.with_state(|state| matches!(state, State::Data | State::Partial)) {
                let (sector, size) = (u64::from(job.sector), job.members[member].size());
                let end = size - if chunk.states[member] == State::Partial { size % sector } else { 0 };
                let places = near.iter().filter_map(|place| place.and(ByteRange::new(0, end)));
                let copy = &self.copies[chunk.source(member)];
                readings.extend(Reading::of(member, places, sector, copy, chunk.range.start));
            }
        }
        self.doubts.add(readings);
        if !self.doubts.again && job.output.is_none() && !self.hashes() {
            let most = WAITING_BYTES_MAX.min(WAITING_BYTES_ALL / job.threads as u64);
            self.read_directly(most);
            if self.doubts.bytes > most {
                self.read_with_care();
            }
            return Ok(());
        }
        let before = self.doubts.said.len();
        self.read_directly(0);
        self.read_with_care();
        for (member, said) in self.doubts.said.split_off(before) {
            match said {
                Said::Otherwise(sectors) => self.unstable.extend(sectors.into_iter().map(|sector| (member, sector))),
                Said::Failed => return Err(Interruption::Again),
            }
        }
        if self.unstable.is_empty() { Ok(()) } else { Err(Interruption::Again) }
    }

    /// Does what waits for its second reading; whether all that waited in the window is as it was, and is known to be.
    pub(super) fn confirm_waiting(&mut self) -> bool {
        self.read_directly(0);
        // What a dying disk takes minutes for isn't waited for: what wasn't confirmed doesn't count.
        if self.shared.stopped() && !self.doubts.left.is_empty() {
            return false;
        }
        self.read_with_care();
        self.doubts.said.is_empty()
    }

    /// Takes what was read meanwhile, and begins what there is room for; waits for it as long as more than so many bytes are still to be read.
    fn read_directly(&mut self, bytes_max: u64) {
        loop {
            self.begin_reading();
            let Self { shared, doubts, ring: Some(Ok(ring)), .. } = self else { return };
            let waits = doubts.bytes > bytes_max;
            let Some(Done { token, buffer, read }) = (if waits { ring.wait() } else { ring.ready() }) else {
                if waits {
                    doubts.give_up_waiting();
                }
                return;
            };
            doubts.bytes_under_way -= buffer.len();
            let Some(group) = doubts.under_way.remove(&token) else { continue };
            let blocks = blocks_of(&group);
            let end = group.last().map_or(blocks.end, |last| last.all.end);
            match read {
                Ok(read) if blocks.start + read as u64 >= end => {
                    for reading in &group {
                        let same = |place: ByteRange, before: &[u8]| {
                            Ok(buffer[(place.start - blocks.start) as usize..][..before.len()] == *before)
                        };
                        let said = reading.compare(u64::from(shared.job.sector), same);
                        doubts.settle(reading, said);
                    }
                }
                // It ends there, or can't be read.
                _ => doubts.left.extend(group),
            }
            ring.keep(buffer);
        }
    }

    /// Begins those readings that this thread can leave to the kernel, as many as there is room for.
    fn begin_reading(&mut self) {
        let Self { shared, doubts, ring, .. } = self;
        let most = DIRECT_BYTES_MAX.min(DIRECT_BYTES_ALL / shared.job.threads);
        while doubts.bytes_under_way < most {
            let Some(first) = doubts.waiting.front() else { return };
            let Some(file) = shared.job.members[first.member].direct_file() else {
                doubts.left.extend(doubts.waiting.pop_front());
                continue;
            };
            let Ok(ring) = ring.get_or_insert_with(|| Ring::new(DIRECT_MAX)) else {
                doubts.left.extend(doubts.waiting.drain(..));
                return;
            };
            if ring.room() == 0 {
                return;
            }
            let group = doubts.next_group(goes_with);
            let blocks = blocks_of(&group);
            shared.job.watch.spend(blocks.length());
            let buffer = ring.buffer(blocks.length() as usize);
            doubts.bytes_under_way += buffer.len();
            doubts.token += 1;
            ring.start(file, [(blocks.start, blocks.length() as usize, buffer, doubts.token)]);
            doubts.under_way.insert(doubts.token, group);
        }
    }

    /// Reads with care what is left, and all that the kernel didn't do.
    fn read_with_care(&mut self) {
        let Self { shared, doubts, .. } = self;
        let left = std::mem::take(&mut doubts.left);
        if left.is_empty() {
            return;
        }
        let shared = *shared;
        let one = |reading: &Reading| reading.read_with_care(shared);
        // A reading waits for the medium: several are under way at once.
        let said: Vec<Option<Said>> = match (left.len() > 1).then(|| shared.rereaders()).flatten() {
            Some(pool) => pool.install(|| left.par_iter().map(one).collect()),
            None => left.iter().map(one).collect(),
        };
        for (reading, said) in left.iter().zip(said) {
            doubts.settle(reading, said);
        }
    }
}

/// The blocks of readings that are done in one go.
fn blocks_of(group: &[Reading]) -> ByteRange {
    let (first, last) = (group[0].blocks(), group[group.len() - 1].blocks());
    ByteRange::new(first.start, last.end)
}

/// Whether two readings that follow each other are done in one go.
fn goes_with(one: &Reading, next: &Reading) -> bool {
    let (a, b) = (one.blocks(), next.blocks());
    one.member == next.member && b.start.saturating_sub(a.end) <= GAP_BYTES_MAX && a.end / TOGETHER_BYTES == b.end / TOGETHER_BYTES
}

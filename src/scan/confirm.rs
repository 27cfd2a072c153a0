//! What differs is read once more, past the page cache, before it is believed: rot in memory, a flaky path and a medium that answers
//! differently each time aren't what a member holds.

use std::sync::atomic::Ordering::Relaxed;

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{
    chunk::{Chunk, Interruption},
    extents::{BLOCK_BYTES, State},
    private::Copy,
    shared::Shared,
    worker::{Mark, Worker},
};
use crate::{
    member::ReadError,
    sys::{
        buffer::{ALIGNMENT, Buffer},
        ring::Ring,
    },
    vote::{ByteRange, Rule},
};

/// Direct readings of one thread that are in flight at once.
const DIRECT_MAX: u32 = 64;

/// What a second reading of one member says.
enum Said {
    /// It answers otherwise in these sectors, ascending.
    Otherwise(Vec<ByteRange>),
    /// It failed as a whole, which is remembered.
    Failed,
}

impl Worker<'_> {
    /// Reads once more what differs in the chunk since `mark`; where a member answers otherwise it is noted, and the chunk voted on anew.
    pub(super) fn confirm(&mut self, chunk: &Chunk, mark: &Mark) -> Result<(), Interruption> {
        // Who compares again and again until writers have caught up has read anew already; and noted places are noted.
        let believed = chunk.rule == Rule::First || self.shared.job.rereads > 0 || !self.unstable.is_empty();
        if believed || !self.found.grew_since(mark) {
            return Ok(());
        }
        let differing = self.found.since(mark, chunk.range);
        let mut readings = Vec::new();
        for near in differing.chunk_by(|a, b| b.start - a.end < BLOCK_BYTES) {
            let Some(all) = near.first().zip(near.last()).map(|(first, last)| ByteRange::new(first.start, last.end)) else { continue };
            // What the medium reads counts.
            let bytes = all.widened(BLOCK_BYTES, u64::MAX).length();
            if self.shared.unconfirmed.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_err() {
                break;
            }
            let members = chunk.with_state(|state| matches!(state, State::Data | State::Partial));
            readings.extend(members.filter_map(|member| Reading::of(self.shared, chunk, member, near)));
        }
        self.read_directly(&mut readings);
        let (shared, copies) = (self.shared, &self.copies);
        // A reading waits for the medium: several are under way at once.
        let one = |reading: &mut Reading| (reading.member, reading.compare(shared, chunk, &copies[chunk.source(reading.member)]));
        let (mut at_hand, mut others): (Vec<Reading>, Vec<Reading>) = readings.into_iter().partition(|reading| reading.bytes.is_some());
        let mut said: Vec<(usize, Said)> = at_hand.iter_mut().map(one).collect();
        said.extend(match shared.rereaders().filter(|_| others.len() > 1) {
            Some(pool) => pool.install(|| others.par_iter_mut().map(one).collect::<Vec<_>>()),
            None => others.iter_mut().map(one).collect(),
        });
        for (member, said) in said {
            match said {
                Said::Otherwise(sectors) => self.unstable.extend(sectors.into_iter().map(|sector| (member, sector))),
                Said::Failed => return Err(Interruption::Again),
            }
        }
        if self.unstable.is_empty() { Ok(()) } else { Err(Interruption::Again) }
    }

    /// Reads what can be read so by this thread alone, all of it in flight at once; what fails is left to a reading with care.
    fn read_directly(&mut self, readings: &mut [Reading]) {
        let direct = |reading: &Reading| self.shared.job.members[reading.member].direct_file();
        if !readings.iter().any(|reading| direct(reading).is_some()) {
            return;
        }
        let Ok(ring) = self.ring.get_or_insert_with(|| Ring::new(DIRECT_MAX)) else { return };
        for some in readings.chunks_mut(DIRECT_MAX as usize) {
            for (token, reading) in (0u64..).zip(some.iter()) {
                if let Some(file) = direct(reading) {
                    let blocks = reading.blocks();
                    self.shared.job.watch.spend(blocks.length());
                    let length = blocks.length() as usize;
                    ring.start(file, [(blocks.start, length, Buffer::new(length), token)]);
                }
            }
            while let Some(done) = ring.wait() {
                let reading = &mut some[done.token as usize];
                let wanted = reading.all.end - reading.blocks().start;
                reading.bytes = done.read.is_ok_and(|read| read as u64 >= wanted).then_some(done.buffer);
            }
        }
    }
}

/// Places of a member that are near to each other, to be read once more.
struct Reading {
    member: usize,
    /// What of them the member holds, and all of that with what lies between.
    held: Vec<ByteRange>,
    all: ByteRange,
    /// What was read of the blocks that hold all of it, where it was already.
    bytes: Option<Buffer>,
}

impl Reading {
    /// None where the member holds nothing of it.
    fn of(shared: &Shared, chunk: &Chunk, member: usize, places: &[ByteRange]) -> Option<Self> {
        let (sector, size) = (u64::from(shared.job.sector), shared.job.members[member].size());
        let end = size - if chunk.states[member] == State::Partial { size % sector } else { 0 };
        let held: Vec<ByteRange> = places.iter().filter_map(|place| place.and(ByteRange::new(0, end))).collect();
        let all = ByteRange::new(held.first()?.start, held.last()?.end);
        Some(Self { member, held, all, bytes: None })
    }

    /// The blocks that direct reading wants.
    fn blocks(&self) -> ByteRange {
        self.all.widened(ALIGNMENT as u64, u64::MAX)
    }

    /// Compares them with what was read before; reads them first where that wasn't done.
    fn compare(&mut self, shared: &Shared, chunk: &Chunk, copy: &Copy) -> Said {
        let (sector, member) = (u64::from(shared.job.sector), self.member);
        let read = |range: ByteRange, bytes: &mut [u8]| match shared.job.members[member].read_anew(range.start, bytes, &mut None) {
            Ok(()) => Ok(true),
            Err(ReadError::Medium(_) | ReadError::Ended) => Ok(false),
            Err(ReadError::Member(error)) => {
                shared.member_failed(member, error.to_string());
                Err(Said::Failed)
            }
        };
        let (mut bytes, start, whole) = if let Some(bytes) = self.bytes.take() {
            (bytes, self.blocks().start, true)
        } else {
            shared.job.watch.spend(self.all.length());
            let mut bytes = Buffer::new(self.all.length() as usize);
            match read(self.all, &mut bytes[..self.all.length() as usize]) {
                Ok(whole) => (bytes, self.all.start, whole),
                Err(failed) => return failed,
            }
        };
        let mut otherwise = Vec::new();
        for sector in self.held.iter().flat_map(|place| place.pieces(sector)).filter(|&sector| copy.flaw(sector).is_none()) {
            let length = sector.length() as usize;
            let at = (sector.start - start) as usize;
            // An unreadable place beside it spoils the reading of all.
            let bytes = &mut bytes[at..at + length];
            // Only an error that repeats is believed.
            let readable = match if whole { Ok(true) } else { read(sector, bytes) } {
                Ok(false) => read(sector, bytes),
                known => known,
            };
            let same = match readable {
                Ok(readable) => readable && *bytes == *copy.bytes(chunk.at(sector.start), length),
                Err(failed) => return failed,
            };
            if !same {
                otherwise.push(sector);
            }
        }
        Said::Otherwise(ByteRange::joined(otherwise))
    }
}

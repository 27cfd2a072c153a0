//! What differs is read once more, past the page cache, before it is believed: rot in memory, a flaky path and a medium that answers
//! differently each time aren't what a member holds.

use std::sync::atomic::Ordering::Relaxed;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{
    chunk::{Chunk, Interruption},
    extents::{BLOCK_BYTES, State},
    private::Copy,
    shared::Shared,
    worker::{Mark, Worker},
};
use crate::{
    member::ReadError,
    sys::buffer::Buffer,
    vote::{ByteRange, Rule},
};

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
            readings.extend(chunk.with_state(|state| matches!(state, State::Data | State::Partial)).map(|member| (member, near)));
        }
        let (shared, copies) = (self.shared, &self.copies);
        // A reading waits for the medium: several are under way at once.
        let one = |&(member, places): &(usize, &[ByteRange])| (member, again(shared, chunk, member, &copies[member], places));
        let said: Vec<(usize, Said)> = match shared.rereaders() {
            Some(pool) => pool.install(|| readings.par_iter().map(one).collect()),
            None => readings.iter().map(one).collect(),
        };
        for (member, said) in said {
            match said {
                Said::Otherwise(sectors) => self.unstable.extend(sectors.into_iter().map(|sector| (member, sector))),
                Said::Failed => return Err(Interruption::Again),
            }
        }
        if self.unstable.is_empty() { Ok(()) } else { Err(Interruption::Again) }
    }
}

/// Reads places that are near to each other once more, and compares them with what was read before.
fn again(shared: &Shared, chunk: &Chunk, member: usize, copy: &Copy, places: &[ByteRange]) -> Said {
    let (sector, size) = (u64::from(shared.job.sector), shared.job.members[member].size());
    let end = size - if chunk.states[member] == State::Partial { size % sector } else { 0 };
    let held: Vec<ByteRange> = places.iter().filter_map(|place| place.and(ByteRange::new(0, end))).collect();
    let Some(all) = held.first().zip(held.last()).map(|(first, last)| ByteRange::new(first.start, last.end)) else {
        return Said::Otherwise(Vec::new());
    };
    shared.job.watch.spend(all.length());
    let mut bytes = Buffer::new(all.length() as usize);
    let read = |range: ByteRange, bytes: &mut [u8]| match shared.job.members[member].read_anew(range.start, bytes, &mut None) {
        Ok(()) => Ok(true),
        Err(ReadError::Medium(_) | ReadError::Ended) => Ok(false),
        Err(ReadError::Member(error)) => {
            shared.member_failed(member, error.to_string());
            Err(Said::Failed)
        }
    };
    let whole = match read(all, &mut bytes[..all.length() as usize]) {
        Ok(whole) => whole,
        Err(failed) => return failed,
    };
    let mut otherwise = Vec::new();
    for sector in held.iter().flat_map(|place| place.pieces(sector)).filter(|&sector| copy.flaw(sector).is_none()) {
        let length = sector.length() as usize;
        let at = (sector.start - all.start) as usize;
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

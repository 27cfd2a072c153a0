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
    sys::ring::Ring,
    vote::{ByteRange, Rule},
};

/// Direct readings of one thread that are in flight at once, and the memory in bytes from which on no more are begun.
const DIRECT_MAX: u32 = 64;
const DIRECT_BYTES_MAX: usize = 4 << 20;
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
                if let Some(reading) = Reading::of(member, places, sector, &self.copies[chunk.source(member)], chunk.range.start) {
                    self.doubts.bytes += reading.blocks().length();
                    self.doubts.readings.push(reading);
                }
            }
        }
        if !self.doubts.again && job.output.is_none() && !self.hashes() {
            if self.doubts.bytes >= WAITING_BYTES_MAX.min(WAITING_BYTES_ALL / job.threads as u64) {
                let said = self.read_doubts();
                self.doubts.take(said);
            }
            return Ok(());
        }
        for (member, said) in self.read_doubts() {
            match said {
                Said::Otherwise(sectors) => self.unstable.extend(sectors.into_iter().map(|sector| (member, sector))),
                Said::Failed => return Err(Interruption::Again),
            }
        }
        if self.unstable.is_empty() { Ok(()) } else { Err(Interruption::Again) }
    }

    /// Does what waits for its second reading; whether all that waited in the window is as it was.
    pub(super) fn confirm_waiting(&mut self) -> bool {
        let said = self.read_doubts();
        self.doubts.take(said);
        self.doubts.are_cleared()
    }

    /// Does the readings that wait, and returns who said something else.
    fn read_doubts(&mut self) -> Vec<(usize, Said)> {
        self.doubts.bytes = 0;
        let readings = std::mem::take(&mut self.doubts.readings);
        let (mut said, left) = self.read_directly(readings);
        let shared = self.shared;
        let one = |reading: &Reading| Some((reading.member, reading.read_with_care(shared)?));
        // A reading waits for the medium: several are under way at once.
        said.extend(match shared.rereaders().filter(|_| left.len() > 1) {
            Some(pool) => pool.install(|| left.par_iter().filter_map(one).collect::<Vec<_>>()),
            None => left.iter().filter_map(one).collect(),
        });
        said
    }

    /// Reads what can be read so by this thread alone, many of it in flight at once. Returns who said something else, and what is left to a reading with
    /// care.
    fn read_directly(&mut self, mut readings: Vec<Reading>) -> (Vec<(usize, Said)>, Vec<Reading>) {
        let direct = |reading: &Reading| self.shared.job.members[reading.member].direct_file();
        if !readings.iter().any(|reading| direct(reading).is_some()) {
            return (Vec::new(), readings);
        }
        let Ok(ring) = self.ring.get_or_insert_with(|| Ring::new(DIRECT_MAX)) else { return (Vec::new(), readings) };
        readings.sort_by_key(|reading| (reading.member, reading.all.start));
        // Neighbours are read in one go.
        let near = |a: &Reading, b: &Reading| {
            a.member == b.member
                && b.blocks().start.saturating_sub(a.blocks().end) <= GAP_BYTES_MAX
                && a.blocks().end / TOGETHER_BYTES == b.blocks().end / TOGETHER_BYTES
        };
        let groups: Vec<&[Reading]> = readings.chunk_by(near).collect();
        let blocks = |group: &[Reading]| ByteRange::new(group[0].blocks().start, group[group.len() - 1].blocks().end);
        let reads = groups.iter().zip(0..).filter_map(|(group, number)| {
            let (file, range) = (direct(&group[0])?, blocks(group));
            self.shared.job.watch.spend(range.length());
            Some((number, file, range.start..range.end))
        });
        let mut said = Vec::new();
        let mut read = vec![false; groups.len()];
        ring.read_each(reads, DIRECT_BYTES_MAX, |number, bytes| {
            let group = groups[number as usize];
            let start = blocks(group).start;
            if (start + bytes.len() as u64) < group[group.len() - 1].all.end {
                return; // it ends, or the kernel likes it shorter
            }
            let sector = u64::from(self.shared.job.sector);
            for reading in group {
                let same = |place: ByteRange, before: &[u8]| Ok(bytes[(place.start - start) as usize..][..before.len()] == *before);
                said.extend(reading.compare(sector, same).map(|said| (reading.member, said)));
            }
            read[number as usize] = true;
        });
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let mut read = lengths.into_iter().zip(read).flat_map(|(length, read)| std::iter::repeat_n(read, length));
        readings.retain(|_| !read.next().unwrap_or(false));
        (said, readings)
    }
}

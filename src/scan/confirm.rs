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
    sys::{
        buffer::{ALIGNMENT, Buffer},
        ring::Ring,
    },
    vote::{ByteRange, Rule},
};

/// What a second reading of one member says.
enum Said {
    /// It answers otherwise in these sectors, ascending.
    Otherwise(Vec<ByteRange>),
    /// It failed as a whole, which is remembered.
    Failed,
}

/// Direct readings of one thread that are in flight at once, and the memory in bytes from which on no more are begun.
const DIRECT_MAX: u32 = 64;
const DIRECT_BYTES_MAX: usize = 4 << 20;
/// What lies between two readings is rather read than stepped over, up to so many bytes, and within blocks of so many.
const GAP_BYTES_MAX: u64 = 16 << 10;
const TOGETHER_BYTES: u64 = 256 << 10;
/// Bytes of what differs, in whole blocks and of all members, that wait for their second reading: of one thread, and of all together.
const WAITING_BYTES_MAX: u64 = 4 << 20;
const WAITING_BYTES_ALL: u64 = 32 << 20;

/// Second readings that are still to be done.
#[derive(Default)]
pub(super) struct Doubts {
    readings: Vec<Reading>,
    bytes: u64,
    /// Whether the window is gone through once more, since one of those that waited said something else: now none may wait.
    pub(super) again: bool,
    /// Sectors in which a member answered differently when it was its turn.
    unstable: Vec<(usize, ByteRange)>,
    /// Whether a member failed then.
    failed: bool,
}

impl Doubts {
    /// What is known of sectors of a chunk.
    pub(super) fn unstable_in(&self, range: ByteRange) -> impl Iterator<Item = (usize, ByteRange)> {
        self.unstable.iter().filter_map(move |&(member, sectors)| Some((member, sectors.and(range)?)))
    }

    fn take(&mut self, said: Vec<(usize, Said)>) {
        for (member, said) in said {
            match said {
                Said::Otherwise(sectors) => self.unstable.extend(sectors.into_iter().map(|sectors| (member, sectors))),
                Said::Failed => self.failed = true,
            }
        }
    }
}

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
                if let Some(reading) = Reading::of(self.shared, chunk, member, near, &self.copies[chunk.source(member)]) {
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
        self.doubts.unstable.is_empty() && !self.doubts.failed
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

/// Places of a member that are near to each other, to be read once more.
struct Reading {
    member: usize,
    /// What of them was read before, in whole sectors, and all of that with what lies between.
    held: Vec<ByteRange>,
    all: ByteRange,
    /// What it was, one behind the other.
    before: Vec<u8>,
}

impl Reading {
    /// None where nothing was read of it.
    fn of(shared: &Shared, chunk: &Chunk, member: usize, places: &[ByteRange], copy: &Copy) -> Option<Self> {
        let (sector, size) = (u64::from(shared.job.sector), shared.job.members[member].size());
        let end = size - if chunk.states[member] == State::Partial { size % sector } else { 0 };
        let held = places.iter().filter_map(|place| place.and(ByteRange::new(0, end)));
        let held = if copy.whole() {
            held.collect::<Vec<_>>()
        } else {
            ByteRange::joined(held.flat_map(|place| place.pieces(sector)).filter(|&sector| copy.flaw(sector).is_none()))
        };
        let all = ByteRange::new(held.first()?.start, held.last()?.end);
        let before = held.iter().flat_map(|place| copy.bytes(chunk.at(place.start), place.length() as usize)).copied().collect();
        Some(Self { member, held, all, before })
    }

    /// The blocks that direct reading wants.
    fn blocks(&self) -> ByteRange {
        self.all.widened(ALIGNMENT as u64, u64::MAX)
    }

    /// Compares each of their sectors with what was read before, as `same` tells; None where all is as it was.
    fn compare(&self, sector: u64, mut same: impl FnMut(ByteRange, &[u8]) -> Result<bool, Said>) -> Option<Said> {
        let (mut otherwise, mut before) = (Vec::new(), &self.before[..]);
        for sector in self.held.iter().flat_map(|place| place.pieces(sector)) {
            let (then, rest) = before.split_at(sector.length() as usize);
            before = rest;
            match same(sector, then) {
                Ok(true) => {}
                Ok(false) => otherwise.push(sector),
                Err(failed) => return Some(failed),
            }
        }
        (!otherwise.is_empty()).then(|| Said::Otherwise(ByteRange::joined(otherwise)))
    }

    /// Reads and compares them; what can't be read is tried by itself.
    fn read_with_care(&self, shared: &Shared) -> Option<Said> {
        let member = self.member;
        let read = |range: ByteRange, bytes: &mut [u8]| match shared.job.members[member].read_anew(range.start, bytes, &mut None) {
            Ok(()) => Ok(true),
            Err(ReadError::Medium(_) | ReadError::Ended) => Ok(false),
            Err(ReadError::Member(error)) => {
                shared.member_failed(member, error.to_string());
                Err(Said::Failed)
            }
        };
        shared.job.watch.spend(self.all.length());
        let mut bytes = Buffer::new(self.all.length() as usize);
        let whole = match read(self.all, &mut bytes[..self.all.length() as usize]) {
            Ok(whole) => whole,
            Err(failed) => return Some(failed),
        };
        self.compare(u64::from(shared.job.sector), |sector, before| {
            let bytes = &mut bytes[(sector.start - self.all.start) as usize..][..before.len()];
            // An unreadable place beside it spoils the reading of all; and only an error that repeats is believed.
            let readable = whole || read(sector, bytes)? || read(sector, bytes)?;
            Ok(readable && *bytes == *before)
        })
    }
}

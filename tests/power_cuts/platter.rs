//! One file of the simulated disk: what is on the medium for certain, what was written since, and what reads show.

use std::{collections::BTreeSet, io};

use crate::random::Random;

/// What is torn: a write is cut at its multiples.
pub const SECTOR: u64 = 512;
/// What is bad or good as a whole, allocated as a whole, and written by the page cache as a whole.
pub const BLOCK: u64 = 4096;

/// What was done since the last sync.
#[derive(Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8>, heals: bool },
    Length(u64),
}

/// Bytes, the sectors among them that can't be read, and the blocks that aren't holes.
#[derive(Clone, Default)]
pub struct View {
    pub bytes: Vec<u8>,
    pub bad: BTreeSet<u64>,
    pub allocated: BTreeSet<u64>,
}

/// A file.
#[derive(Clone, Default)]
pub struct Platter {
    /// What a power cut leaves for certain.
    durable: View,
    /// What reads show.
    cached: View,
    pending: Vec<Change>,
    /// Blocks that never heal.
    stubborn: BTreeSet<u64>,
    /// Writing over such a block says that it went well, and does nothing.
    lies: bool,
    /// Moves with each change; and as it was at the last sync.
    modified: i64,
    durable_modified: i64,
    /// Moves with each change of what is durable.
    pub generation: u64,
    /// The most bytes that it had.
    pub peak: u64,
}

/// How much of what was pending reaches the medium, in percent, and whether it may be torn.
struct Mood {
    kept: u64,
    torn: bool,
}

impl Mood {
    fn of(random: &mut Random) -> Self {
        Self { kept: random.pick(&[0, 10, 50, 50, 90, 100, 100]), torn: random.chance(60) }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// The parts of a range that lie in one `unit` each.
fn pieces(start: u64, end: u64, unit: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let piece = (at, (at - at % unit + unit).min(end));
        at = piece.1;
        (piece.0 < end).then_some(piece)
    })
}

impl View {
    /// Whether a sector of `start..end` can't be read.
    pub fn is_bad(&self, start: u64, end: u64) -> bool {
        start < end && self.bad.range(start / SECTOR..end.div_ceil(SECTOR)).next().is_some()
    }

    pub fn with_length(mut self, length: u64) -> Self {
        self.set_length(length);
        self
    }

    /// The first byte at or after `offset` that lies in no hole.
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let block = *self.allocated.range(offset / BLOCK..).next()?;
        Some((block * BLOCK).max(offset)).filter(|&at| at < self.bytes.len() as u64)
    }

    /// The first byte at or after `offset` that lies in a hole, or the end.
    pub fn next_hole(&self, offset: u64) -> u64 {
        let mut block = offset / BLOCK;
        while self.allocated.contains(&block) {
            block += 1;
        }
        (block * BLOCK).clamp(offset, self.bytes.len() as u64)
    }

    fn set_length(&mut self, length: u64) {
        self.bytes.resize(length as usize, 0);
        self.allocated.retain(|block| block * BLOCK < length);
        self.bad.retain(|sector| sector * SECTOR < length);
    }

    /// Puts bytes there, as far as it is long enough.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let end = (offset + bytes.len() as u64).min(self.bytes.len() as u64);
        if offset < end {
            self.bytes[offset as usize..end as usize].copy_from_slice(&bytes[..(end - offset) as usize]);
            self.allocated.extend(offset / BLOCK..end.div_ceil(BLOCK));
        }
    }

    fn heal(&mut self, start: u64, end: u64) {
        self.bad.retain(|sector| !(start / SECTOR..end.div_ceil(SECTOR)).contains(sector));
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes, heals } => {
                self.put(*offset, bytes);
                if *heals {
                    self.heal(*offset, offset + bytes.len() as u64);
                }
            }
            Change::Length(length) => self.set_length(*length),
        }
    }
}

impl Platter {
    pub fn new(view: View, stubborn: BTreeSet<u64>, lies: bool) -> Self {
        Self { durable: view.clone(), cached: view, stubborn, lies, ..Self::default() }
    }

    pub fn durable(&self) -> &View {
        &self.durable
    }

    pub fn cached(&self) -> &View {
        &self.cached
    }

    pub fn modified(&self) -> i64 {
        self.modified
    }

    pub fn length(&self) -> u64 {
        self.cached.bytes.len() as u64
    }

    /// What the medium would give, were all that is pending on it.
    pub fn medium(&self) -> View {
        let mut view = self.durable.clone();
        self.pending.iter().for_each(|change| view.apply(change));
        view
    }

    /// What isn't dirty is read from the medium again.
    pub fn forget_cached(&mut self) {
        let length = self.length();
        self.cached = self.medium();
        self.cached.set_length(length);
    }

    /// Block by block, up to the first that can't be written.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let long = self.length().max(end);
        // Neighbours go to the medium together, as one write that may be torn.
        let mut sound = offset;
        for (start, to) in pieces(offset, end, BLOCK) {
            let (block, stubborn) = (start / BLOCK, self.stubborn.contains(&(start / BLOCK)));
            let block_end = (block * BLOCK + BLOCK).min(long);
            if self.cached.is_bad(block * BLOCK, block_end) {
                self.put(sound, &bytes[(sound - offset) as usize..(start - offset) as usize], false);
                let whole = start == block * BLOCK && to == block_end;
                if !whole || (stubborn && !self.lies) {
                    return Err(eio()); // it would have to be read first; or it can't be written either
                }
                if !stubborn {
                    self.put(start, &bytes[(start - offset) as usize..(to - offset) as usize], true);
                }
                sound = to;
            } else if !stubborn && self.durable.is_bad(block * BLOCK, block_end) {
                // It was healed, and that may have been lost; the page cache still has all of it, and writes whole pages.
                self.put(sound, &bytes[(sound - offset) as usize..(to - offset) as usize], false);
                let page = self.cached.bytes[(block * BLOCK) as usize..block_end as usize].to_vec();
                self.put(block * BLOCK, &page, true);
                sound = to;
            }
        }
        self.put(sound, &bytes[(sound - offset) as usize..], false);
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8], heals: bool) {
        let end = offset + bytes.len() as u64;
        if end > self.length() {
            self.change(Change::Length(end));
        }
        if !bytes.is_empty() {
            self.change(Change::Write { offset, bytes: bytes.to_vec(), heals });
        }
    }

    /// A write that reads show, and that never reaches the medium.
    pub fn lose(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if end > self.length() {
            self.change(Change::Length(end));
        }
        self.cached.apply(&Change::Write { offset, bytes: bytes.to_vec(), heals: false });
    }

    pub fn set_length(&mut self, length: u64) {
        self.change(Change::Length(length));
    }

    fn change(&mut self, change: Change) {
        self.modified += 1;
        self.cached.apply(&change);
        self.peak = self.peak.max(self.length());
        self.pending.push(change);
    }

    pub fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.durable.apply(&change);
        }
        self.durable_modified = self.modified;
        self.generation += 1;
    }

    /// As Linux does: some of it never gets there, reads show it all the same, and it counts as clean from now on.
    pub fn fail_sync(&mut self, random: &mut Random) {
        self.land(random);
        // The length is the inode's, which stays dirty.
        if self.durable.bytes.len() != self.cached.bytes.len() {
            self.pending.push(Change::Length(self.length()));
        }
    }

    /// The power goes.
    pub fn crash(&mut self, random: &mut Random) {
        let kept = random.chance(50);
        self.land(random);
        self.cached = self.durable.clone();
        self.modified = if kept { self.modified } else { self.durable_modified };
        self.durable_modified = self.modified;
    }

    /// Any subset of what is pending reaches the medium, in any order, torn anywhere. Lengths are the file system's own, kept in
    /// order: the first few of them.
    fn land(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let lengths: Vec<u64> =
            pending.iter().filter_map(|change| if let Change::Length(to) = change { Some(*to) } else { None }).collect();
        let all = lengths.len();
        let kept = match random.below(3) {
            0 => all,
            1 => 0,
            _ => random.below(all as u64 + 1) as usize,
        };
        lengths[..kept].iter().for_each(|&length| self.durable.set_length(length));
        let mut writes: Vec<&Change> = pending.iter().filter(|change| matches!(change, Change::Write { .. })).collect();
        if random.chance(50) {
            random.shuffle(&mut writes);
        }
        let mood = Mood::of(random);
        for write in writes {
            let Change::Write { offset, bytes, heals } = write else { continue };
            if !random.chance(mood.kept) {
                continue;
            }
            let torn = mood.torn && random.chance(60);
            // A bad block is written as a whole or not at all: that is what a physical sector is.
            let unit = if *heals { BLOCK } else { SECTOR };
            for (start, to) in pieces(*offset, offset + bytes.len() as u64, unit) {
                if !torn || random.chance(50) {
                    let part = bytes[(start - offset) as usize..(to - offset) as usize].to_vec();
                    self.durable.apply(&Change::Write { offset: start, bytes: part, heals: *heals });
                }
            }
        }
        self.generation += 1;
    }
}

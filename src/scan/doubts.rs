//! What is still to be read a second time, and what such a reading says.

use std::collections::{HashMap, VecDeque};

use super::{private::Copy, shared::Shared};
use crate::{
    member::ReadError,
    sys::buffer::{ALIGNMENT, Buffer},
    vote::ByteRange,
};

/// Second readings that are still to be done.
#[derive(Default)]
pub(super) struct Doubts {
    /// Those that weren't begun, those that the kernel does, by their token, and those that want care.
    pub(super) waiting: VecDeque<Reading>,
    pub(super) under_way: HashMap<u64, Vec<Reading>>,
    pub(super) left: Vec<Reading>,
    /// What the medium reads for all of them, in bytes.
    pub(super) bytes: u64,
    /// Bytes under way, with what lies between the readings.
    pub(super) bytes_under_way: usize,
    pub(super) token: u64,
    /// Whether the window is gone through once more, since one of those that waited said something else: now none may wait.
    pub(super) again: bool,
    /// Who said something else.
    pub(super) said: Vec<(usize, Said)>,
}

impl Doubts {
    /// Takes those of one chunk, to be read in the order of each file.
    pub(super) fn add(&mut self, mut readings: Vec<Reading>) {
        readings.sort_by_key(|reading| (reading.member, reading.all.start));
        self.bytes += readings.iter().map(|reading| reading.blocks().length()).sum::<u64>();
        self.waiting.extend(readings);
    }

    /// The first that waits, with those behind it that go with the one before them.
    pub(super) fn next_group(&mut self, goes_with: impl Fn(&Reading, &Reading) -> bool) -> Vec<Reading> {
        let mut group = Vec::from_iter(self.waiting.pop_front());
        while group.last().zip(self.waiting.front()).is_some_and(|(last, next)| goes_with(last, next)) {
            group.extend(self.waiting.pop_front());
        }
        group
    }

    /// Takes what became of one.
    pub(super) fn settle(&mut self, reading: &Reading, said: Option<Said>) {
        self.bytes -= reading.blocks().length();
        self.said.extend(said.map(|said| (reading.member, said)));
    }

    /// Nothing more comes of what was left to the kernel: what it didn't do wants care.
    pub(super) fn give_up_waiting(&mut self) {
        self.left.extend(self.waiting.drain(..));
        self.left.extend(self.under_way.drain().flat_map(|(_, group)| group));
        self.bytes_under_way = 0;
    }

    /// Where members are known to answer otherwise, of the sectors in `range`.
    pub(super) fn unstable_in(&self, range: ByteRange) -> impl Iterator<Item = (usize, ByteRange)> {
        self.said.iter().flat_map(move |(member, said)| {
            let sectors = if let Said::Otherwise(sectors) = said { &sectors[..] } else { &[] };
            sectors.iter().filter_map(move |sectors| Some((*member, sectors.and(range)?)))
        })
    }
}

/// What a second reading of one member says.
pub(super) enum Said {
    /// It answers otherwise in these sectors, ascending.
    Otherwise(Vec<ByteRange>),
    /// It failed as a whole, which is remembered.
    Failed,
}

/// Places of a member that are near to each other, to be read once more.
pub(super) struct Reading {
    pub(super) member: usize,
    /// What of them was read before, in whole sectors, and all of that with what lies between.
    held: Vec<ByteRange>,
    pub(super) all: ByteRange,
    /// What it was, one behind the other.
    before: Vec<u8>,
}

impl Reading {
    /// Of those `places` that `copy` holds, whose first byte lies at `start`; none where that is nothing.
    pub(super) fn of(member: usize, places: impl Iterator<Item = ByteRange>, sector: u64, copy: &Copy, start: u64) -> Option<Self> {
        let held = if copy.whole() {
            places.collect::<Vec<_>>()
        } else {
            ByteRange::joined(places.flat_map(|place| place.pieces(sector)).filter(|&sector| copy.flaw(sector).is_none()))
        };
        let all = ByteRange::new(held.first()?.start, held.last()?.end);
        let mut before = Vec::with_capacity(held.iter().map(|place| place.length() as usize).sum());
        for place in &held {
            before.extend_from_slice(copy.bytes((place.start - start) as usize, place.length() as usize));
        }
        Some(Self { member, held, all, before })
    }

    /// The blocks that direct reading wants.
    pub(super) fn blocks(&self) -> ByteRange {
        self.all.widened(ALIGNMENT as u64, u64::MAX)
    }

    /// Compares each of their sectors with what was read before, as `same` tells; None where all is as it was.
    pub(super) fn compare(&self, sector: u64, mut same: impl FnMut(ByteRange, &[u8]) -> Result<bool, Said>) -> Option<Said> {
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
    pub(super) fn read_with_care(&self, shared: &Shared) -> Option<Said> {
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

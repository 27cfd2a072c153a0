//! Reading back what was written.

use std::{io, sync::Mutex};

use rayon::iter::{ParallelBridge, ParallelIterator};

use super::writer::ZEROS;
use crate::{
    digest::{Sum, SumKind, Summer},
    member::{Extent, Member, ReadError},
    repair::fingerprint::{Fingerprint, GROUP_BYTES, sum_of},
    scan::{Output, Watch},
    sys::{
        buffer::Buffer,
        storage::{Origin, Storage},
    },
    vote::ByteRange,
};

/// Bytes read in one go.
const STEP_BYTES: usize = 1 << 20;

/// What is read back.
#[derive(Clone, Copy)]
pub(super) enum ReadBack<'a> {
    /// A raw image, past the page cache where that works.
    Medium(&'a dyn Storage),
    /// A raw image, by way of the page cache.
    Cached(&'a dyn Storage),
    /// An image of another format, as a guest sees it.
    Image(&'a dyn Member),
}

impl ReadBack<'_> {
    /// Where it comes from.
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::Medium(storage) => storage.origin(),
            Self::Cached(_) => Origin::Cache,
            Self::Image(image) => image.origin(),
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> io::Result<usize> {
        match self {
            Self::Medium(storage) => storage.read_medium(offset, bytes),
            Self::Cached(storage) => storage.read(offset, bytes),
            Self::Image(image) => match image.read(offset, bytes, bounce) {
                Ok(()) => Ok(bytes.len()),
                Err(ReadError::Ended) => Ok(0),
                Err(ReadError::Medium(error) | ReadError::Member(error)) => Err(error),
            },
        }
    }

    /// The first byte at or after `offset` that may not be zero.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let image = match self {
            Self::Medium(storage) | Self::Cached(storage) => return storage.next_data(offset),
            Self::Image(image) => image,
        };
        let mut at = offset;
        while at < image.size() {
            match image.extent(at) {
                Ok(Extent::Zero(end)) => at = end,
                Ok(Extent::Data(_)) | Err(ReadError::Ended) => return Ok(Some(at)),
                Err(ReadError::Medium(error) | ReadError::Member(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Reads `ranges` (ascending, in whole sectors) back and compares; returns a part that differs, or none.
///
/// # Errors
/// What reading says.
pub(super) fn find_difference(
    reader: &ReadBack,
    ranges: &[ByteRange],
    expected: &Fingerprint,
    threads: usize,
    watch: &dyn Watch,
) -> io::Result<Option<ByteRange>> {
    // What was written and isn't data any more would be skipped below.
    for group in expected.groups() {
        let data = reader.next_data(group.start)?;
        if data.is_none_or(|data| data >= group.end) {
            return Ok(Some(group));
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)?;
    let found = pool.install(|| {
        Groups { reader, ranges, at: 0 }
            .par_bridge()
            .map(|group| differs(reader, &group?, expected, watch))
            .find_any(|result| !matches!(result, Ok(None)))
    });
    found.unwrap_or(Ok(None))
}

/// The parts of one group.
struct Group {
    whole: ByteRange,
    parts: Vec<ByteRange>,
}

/// Groups in which there is data in the ranges.
struct Groups<'a> {
    reader: &'a ReadBack<'a>,
    ranges: &'a [ByteRange],
    at: u64,
}

impl Iterator for Groups<'_> {
    type Item = io::Result<Group>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.ranges.first().is_some_and(|range| range.end <= self.at) {
                self.ranges = &self.ranges[1..];
            }
            let at = self.at.max(self.ranges.first()?.start);
            match self.reader.next_data(at) {
                Ok(Some(data)) if data > at => self.at = data,
                Ok(None) => return None,
                Ok(Some(_)) => {
                    let start = at - at % GROUP_BYTES;
                    let whole = ByteRange { start, end: start.saturating_add(GROUP_BYTES) };
                    self.at = whole.end;
                    let parts =
                        self.ranges.iter().take_while(|range| range.start < whole.end).filter_map(|range| range.and(whole)).collect();
                    return Some(Ok(Group { whole, parts }));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn differs(reader: &ReadBack, group: &Group, expected: &Fingerprint, watch: &dyn Watch) -> io::Result<Option<ByteRange>> {
    let mut bytes = Buffer::new(STEP_BYTES);
    let mut bounce = None;
    let mut sum = 0;
    for part in &group.parts {
        let mut at = part.start;
        while at < part.end && !watch.stopped() {
            let step = &mut bytes[..STEP_BYTES.min((part.end - at) as usize)];
            watch.spend(step.len() as u64);
            if reader.read(at, step, &mut bounce)? < step.len() {
                return Ok(Some(*part));
            }
            sum ^= sum_of(at, step);
            watch.advanced(step.len() as u64);
            at += step.len() as u64;
        }
    }
    Ok((sum != expected.sum_at(group.whole.start) && !watch.stopped()).then_some(group.whole))
}

/// Takes voted bytes and keeps none.
pub(super) struct Nowhere;

impl Output for Nowhere {
    fn write(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn zeros(&self, _range: ByteRange) -> io::Result<()> {
        Ok(())
    }

    fn wants_all_zeros(&self) -> bool {
        false
    }
}

/// Hashes voted bytes that come in ascending order.
pub(super) struct VotedDigest(Mutex<(Summer, u64)>);

impl VotedDigest {
    /// By that kind of sum.
    pub(super) fn by(kind: SumKind) -> Self {
        Self(Mutex::new((kind.summer(), 0)))
    }

    /// The sum of all.
    pub(super) fn finish(self) -> Sum {
        self.0.into_inner().expect("no thread panics with it").0.finish()
    }

    fn add(&self, offset: u64, bytes: &[u8]) {
        let (hasher, at) = &mut *self.0.lock().expect("no thread panics with it");
        assert_eq!(offset, *at, "voted bytes must come in order to be hashed");
        hasher.update(bytes);
        *at += bytes.len() as u64;
    }
}

impl Output for VotedDigest {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.add(offset, bytes);
        Ok(())
    }

    fn zeros(&self, range: ByteRange) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(ZEROS.len() as u64);
            self.add(at, &ZEROS[..length as usize]);
            at += length;
        }
        Ok(())
    }

    fn wants_all_zeros(&self) -> bool {
        true
    }
}

/// The sum of the first `size` bytes; none where it was stopped.
///
/// # Errors
/// What reading says.
pub(super) fn sum_up(reader: &ReadBack, size: u64, kind: SumKind, watch: &dyn Watch) -> io::Result<Option<Sum>> {
    let mut bounce = None;
    let mut summer = kind.summer();
    let mut bytes = vec![0; STEP_BYTES];
    let mut at = 0;
    while at < size {
        if watch.stopped() {
            return Ok(None);
        }
        let step = &mut bytes[..STEP_BYTES.min((size - at) as usize)];
        watch.spend(step.len() as u64);
        if reader.read(at, step, &mut bounce)? < step.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        summer.update(step);
        watch.advanced(step.len() as u64);
        at += step.len() as u64;
    }
    Ok(Some(summer.finish()))
}

//! Losing bytes that stand elsewhere in the image: a write or a read that went to the wrong place.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::job::Watch;
use crate::{
    member::{Extent, KnownExtent, Member},
    vote::{ByteRange, SECTOR_MIN},
};

/// Bytes that are compared, at multiples of as many.
const SECTOR: usize = SECTOR_MIN as usize;
/// Bytes of a place that are compared before it is believed to stand elsewhere.
const COMPARED_BYTES: u64 = 64 << 10;
/// Bytes of the image that are read in one go.
const WINDOW_BYTES: u64 = 1 << 20;

/// A sector that lost.
#[derive(Clone, Debug)]
pub struct LostSector {
    /// Where, in bytes.
    pub offset: u64,
    /// What is held there.
    pub bytes: [u8; SECTOR],
}

impl LostSector {
    /// The sector that `member` holds at `offset`; none where it can't be read, or says nothing: what repeats itself is found everywhere.
    #[must_use]
    pub fn of(member: &dyn Member, offset: u64) -> Option<Self> {
        // A part of a sector at the end is none; asking for more than there is would make the member a failed one.
        if offset.checked_add(SECTOR as u64).is_none_or(|end| end > member.size()) {
            return None;
        }
        let mut bytes = [0; SECTOR];
        member.read(offset, &mut bytes, &mut None).ok()?;
        let mut values = bytes.to_vec();
        values.sort_unstable();
        values.dedup();
        (values.len() > 8).then_some(Self { offset, bytes })
    }
}

/// Whether `image` holds, so many bytes further on, all that `member` holds in `range` (up to 64 KiB of it).
#[must_use]
pub fn stands_elsewhere(image: &dyn Member, member: &dyn Member, range: ByteRange, further: i64) -> bool {
    let length = range.length().min(COMPARED_BYTES);
    let Some(there) = range.start.checked_add_signed(further) else { return false };
    let read = |member: &dyn Member, at: u64| {
        let mut bytes = vec![0; length as usize];
        let inside = at.checked_add(length).is_some_and(|end| end <= member.size());
        (inside && member.read(at, &mut bytes, &mut None).is_ok()).then_some(bytes)
    };
    read(image, there).is_some_and(|bytes| Some(bytes) == read(member, range.start))
}

/// For each of `lost` the nearest other place at which `image` holds the same sector; `threads` read at once.
#[must_use]
pub fn find_elsewhere(image: &dyn Member, lost: &[LostSector], threads: usize, watch: &dyn Watch) -> Vec<Option<u64>> {
    let mut wanted: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, lost) in lost.iter().enumerate() {
        wanted.entry(xxh3_64(&lost.bytes)).or_default().push(index);
    }
    let nearest: Mutex<Vec<Option<u64>>> = Mutex::new(vec![None; lost.len()]);
    let open = || nearest.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() else { return vec![None; lost.len()] };
    let look = |bytes: &mut Vec<u8>, window: ByteRange| {
        if watch.stopped() {
            return;
        }
        let bytes = &mut bytes[..window.length() as usize];
        watch.spend(bytes.len() as u64);
        if image.read(window.start, bytes, &mut None).is_err() {
            return; // what can't be read isn't found
        }
        for (at, sector) in (window.start..).step_by(SECTOR).zip(bytes.chunks_exact(SECTOR)) {
            for &index in wanted.get(&xxh3_64(sector)).into_iter().flatten() {
                let lost = &lost[index];
                if at != lost.offset && lost.bytes == sector {
                    let mut nearest = open();
                    let better = |other: u64| at.abs_diff(lost.offset) < other.abs_diff(lost.offset);
                    nearest[index] = nearest[index].filter(|&other| !better(other)).or(Some(at));
                }
            }
        }
    };
    let windows = Windows { image, known: KnownExtent::default(), at: 0, watch };
    pool.install(|| windows.par_bridge().for_each_init(|| vec![0; WINDOW_BYTES as usize], look));
    nearest.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The windows of an image that may hold data, one after the other; they begin at sectors, wherever extents do.
struct Windows<'a> {
    image: &'a dyn Member,
    known: KnownExtent,
    at: u64,
    watch: &'a dyn Watch,
}

impl Iterator for Windows<'_> {
    type Item = ByteRange;

    fn next(&mut self) -> Option<ByteRange> {
        while self.at < self.image.size() && !self.watch.stopped() {
            let (start, extent) = (self.at, self.known.at(self.image, self.at).ok()?);
            let end = extent.end().checked_next_multiple_of(SECTOR as u64).unwrap_or(u64::MAX).min(self.image.size());
            let data = matches!(extent, Extent::Data(_));
            self.at = if data { end.min(start.saturating_add(WINDOW_BYTES)) } else { end };
            self.watch.advanced(self.at - start);
            if data {
                return Some(ByteRange::new(start, self.at));
            }
        }
        None
    }
}

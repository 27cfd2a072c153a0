//! Losing bytes that stand elsewhere in the image: a write or a read that went to the wrong place.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::job::Watch;
use crate::{
    member::{KnownExtent, Member},
    vote::{ByteRange, SECTOR_MIN},
};

/// Bytes that are compared, at multiples of as many.
const SECTOR: usize = SECTOR_MIN as usize;
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
        let mut bytes = [0; SECTOR];
        member.read(offset, &mut bytes, &mut None).ok()?;
        let mut values = bytes.to_vec();
        values.sort_unstable();
        values.dedup();
        (values.len() > 8).then_some(Self { offset, bytes })
    }
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
    let look = |window: ByteRange| {
        if watch.stopped() {
            return;
        }
        each_sector(image, window, watch, &mut |at, sector| {
            for &index in wanted.get(&xxh3_64(sector)).into_iter().flatten() {
                let lost = &lost[index];
                if at != lost.offset && lost.bytes == sector {
                    let mut nearest = open();
                    let better = |other: u64| at.abs_diff(lost.offset) < other.abs_diff(lost.offset);
                    nearest[index] = nearest[index].filter(|&other| !better(other)).or(Some(at));
                }
            }
        });
        watch.advanced(window.length());
    };
    let windows: Vec<u64> = (0..image.size().div_ceil(WINDOW_BYTES)).collect();
    pool.install(|| {
        windows.into_par_iter().for_each(|window| {
            let start = window * WINDOW_BYTES;
            look(ByteRange::new(start, (start + WINDOW_BYTES).min(image.size())));
        });
    });
    nearest.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Tells of each whole sector of `window` that may hold data and can be read.
fn each_sector(image: &dyn Member, window: ByteRange, watch: &dyn Watch, tell: &mut dyn FnMut(u64, &[u8])) {
    let (mut known, mut bounce, mut at) = (KnownExtent::default(), None, window.start);
    let mut bytes = vec![0; WINDOW_BYTES as usize];
    while at < window.end {
        let Ok(extent) = known.at(image, at) else { return };
        // Sectors begin at multiples of their size, wherever extents do.
        let end = extent.end().next_multiple_of(SECTOR as u64).min(window.end);
        if matches!(extent, crate::member::Extent::Data(_)) {
            let part = &mut bytes[..(end - at) as usize];
            watch.spend(part.len() as u64);
            if image.read(at, part, &mut bounce).is_ok() {
                for (index, sector) in part.chunks_exact(SECTOR).enumerate() {
                    tell(at + (index * SECTOR) as u64, sector);
                }
            }
        }
        at = end;
    }
}

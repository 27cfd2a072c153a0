//! Entries of L1 and L2 tables, read in slices that a bounded cache keeps.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use lru::LruCache;

use crate::{
    member::{RawMember, ReadError, Readable},
    sys::buffer::Buffer,
};

/// Bytes of a slice at most: a table's cluster is often as large.
const SLICE_BYTES_MAX: u64 = 64 << 10;
const SLICE_BYTES_MIN: u64 = 4 << 10;
/// Lost clusters that are remembered.
const LOST_MAX: usize = 16 << 10;
/// What unreadable places are narrowed down to, in bytes.
const SECTOR: u64 = 512;
const _: () = assert!(SLICE_BYTES_MAX / SECTOR <= 128);

/// An image among those that share the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ImageId(u32);

/// Table slices and inflated clusters of all images, within a bound for all of them together.
#[derive(Debug)]
pub struct Caches {
    images: AtomicU32,
    slices: Mutex<Weighed<Slice>>,
    clusters: Mutex<Weighed<[u8]>>,
    lost: Mutex<LruCache<(ImageId, u64, u64), Lost>>,
}

/// Why there is no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its compressed bytes can't be read: the system's error, where it has a number.
    Unreadable(Option<i32>),
    /// They don't inflate to a whole one.
    Garbage,
}

/// The least recently used ones go when there are too many bytes.
#[derive(Debug)]
struct Weighed<T: ?Sized> {
    entries: LruCache<(ImageId, u64), (Arc<T>, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl<T: ?Sized> Weighed<T> {
    fn new(bytes_max: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    fn get(&mut self, key: (ImageId, u64)) -> Option<Arc<T>> {
        self.entries.get(&key).map(|(value, _)| Arc::clone(value))
    }

    fn put(&mut self, key: (ImageId, u64), value: Arc<T>, bytes: usize) {
        if let Some((_, replaced)) = self.entries.put(key, (value, bytes)) {
            self.bytes -= replaced;
        }
        self.bytes += bytes;
        // The one just put stays, whatever its size.
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            let (_, (_, dropped)) = self.entries.pop_lru().expect("there are two");
            self.bytes -= dropped;
        }
    }
}

/// Memory for tables of images, and for inflated clusters, of all members together, in bytes.
const TABLE_BYTES_MAX: usize = 32 << 20;
const CLUSTER_BYTES_MAX: usize = 48 << 20;

impl Caches {
    /// Those that the members of one vote share.
    #[must_use]
    pub fn of_all_members() -> Self {
        Self::new(TABLE_BYTES_MAX, CLUSTER_BYTES_MAX)
    }

    /// Caches that keep at most so many bytes of tables, and of inflated clusters.
    #[must_use]
    pub fn new(table_bytes: usize, cluster_bytes: usize) -> Self {
        Self {
            images: AtomicU32::new(0),
            slices: Mutex::new(Weighed::new(table_bytes)),
            clusters: Mutex::new(Weighed::new(cluster_bytes)),
            lost: Mutex::new(LruCache::unbounded()),
        }
    }

    fn new_image(&self) -> u32 {
        self.images.fetch_add(1, Ordering::Relaxed)
    }
}

/// A stretch of a file as big-endian numbers.
#[derive(Debug)]
pub(super) struct Slice {
    start: u64,
    numbers: Vec<u64>,
    /// Which of its sectors can't be read.
    unreadable: u128,
}

/// What stands at a place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Is(u64),
    /// The file ends before it.
    Missing,
    Unreadable,
}

impl Slice {
    /// The number at `offset` bytes of the file; none where the slice doesn't reach there.
    fn at(&self, offset: u64) -> Number {
        let inside = offset - self.start;
        if self.unreadable >> (inside / SECTOR) & 1 == 1 {
            return Number::Unreadable;
        }
        self.numbers.get((inside / 8) as usize).map_or(Number::Missing, |&number| Number::Is(number))
    }
}

/// The tables of one file.
#[derive(Debug)]
pub(super) struct Tables {
    caches: Arc<Caches>,
    /// Changed where the file was written to: what is cached counts no more then.
    image: AtomicU32,
    /// Where the file ends, in bytes.
    end: AtomicU64,
    slice_bytes: u64,
}

/// A slice at hand: neighbours are looked up without the cache.
#[derive(Default)]
pub(super) struct AtHand(Option<Arc<Slice>>);

impl Tables {
    pub(super) fn new(caches: Arc<Caches>, cluster_bytes: u64, end: u64) -> Self {
        let image = AtomicU32::new(caches.new_image());
        Self { caches, image, end: AtomicU64::new(end), slice_bytes: cluster_bytes.clamp(SLICE_BYTES_MIN, SLICE_BYTES_MAX) }
    }

    /// Forgets what was read: the file was written to, and ends elsewhere now.
    pub(super) fn forget(&self, end: u64) {
        self.image.store(self.caches.new_image(), Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// Where the file ends, in bytes.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn image(&self) -> ImageId {
        ImageId(self.image.load(Ordering::Relaxed))
    }

    /// An inflated cluster, by where its compressed bytes start.
    pub(super) fn cluster(&self, at: u64) -> Option<Arc<[u8]>> {
        self.caches.clusters.lock().expect("no panics").get((self.image(), at))
    }

    pub(super) fn keep_cluster(&self, at: u64, bytes: Arc<[u8]>) {
        let length = bytes.len();
        self.caches.clusters.lock().expect("no panics").put((self.image(), at), bytes, length);
    }

    /// Why a cluster of so many compressed bytes is lost, where that is known: a place that can't be read is narrowed down sector by
    /// sector, and each of them asks for the same cluster.
    pub(super) fn lost(&self, at: u64, length: u64) -> Option<Lost> {
        self.caches.lost.lock().expect("no panics").get(&(self.image(), at, length)).copied()
    }

    pub(super) fn remember_lost(&self, at: u64, length: u64, why: Lost) {
        let mut lost = self.caches.lost.lock().expect("no panics");
        lost.put((self.image(), at, length), why);
        if lost.len() > LOST_MAX {
            lost.pop_lru();
        }
    }

    /// The number at `offset` bytes of `file`, a multiple of 8.
    ///
    /// # Errors
    /// Where the file as a whole can't be reached.
    pub(super) fn number(&self, file: &RawMember, offset: u64, at_hand: &mut AtHand) -> Result<Number, ReadError> {
        let start = offset - offset % self.slice_bytes;
        if let Some(slice) = at_hand.0.as_ref().filter(|slice| slice.start == start) {
            return Ok(slice.at(offset));
        }
        let key = (self.image(), start);
        let cached = self.caches.slices.lock().expect("no panics").get(key);
        let slice = if let Some(slice) = cached {
            slice
        } else {
            let slice = Arc::new(read_slice(file, start, self.slice_bytes.min(self.end().saturating_sub(start)))?);
            self.caches.slices.lock().expect("no panics").put(key, Arc::clone(&slice), self.slice_bytes as usize);
            slice
        };
        let number = slice.at(offset);
        at_hand.0 = Some(slice);
        Ok(number)
    }
}

fn read_slice(file: &RawMember, start: u64, length: u64) -> Result<Slice, ReadError> {
    let (mut bytes, mut bounce) = (vec![0; length as usize], None);
    let mut unreadable = 0;
    match file.read(start, &mut bytes, &mut bounce) {
        Ok(()) => {}
        Err(ReadError::Member(error)) => return Err(ReadError::Member(error)),
        Err(_) => unreadable = read_by_sectors(file, start, &mut bytes, &mut bounce)?,
    }
    let numbers = bytes.chunks_exact(8).map(|number| u64::from_be_bytes(number.try_into().expect("eight bytes"))).collect();
    Ok(Slice { start, numbers, unreadable })
}

/// Reads what can be read; the sectors that can't, as a mask.
fn read_by_sectors(file: &RawMember, start: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<u128, ReadError> {
    let mut unreadable = 0;
    for (index, sector) in bytes.chunks_mut(SECTOR as usize).enumerate() {
        match file.read(start + index as u64 * SECTOR, sector, bounce) {
            Ok(()) => {}
            Err(ReadError::Member(error)) => return Err(ReadError::Member(error)),
            Err(_) => unreadable |= 1 << index,
        }
    }
    Ok(unreadable)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Caches, Tables};

    #[test]
    fn caches_keep_their_bound() {
        let tables = Tables::new(Arc::new(Caches::new(0, 100)), 512, 0);
        for at in 0..10 {
            tables.keep_cluster(at, Arc::from([0; 40]));
        }
        let kept: Vec<u64> = (0..10).filter(|&at| tables.cluster(at).is_some()).collect();
        assert_eq!(kept, [8, 9]);
        tables.keep_cluster(99, Arc::from([0; 400]));
        assert!(tables.cluster(99).is_some(), "too large for the bound, and still of use");
        assert!(tables.cluster(9).is_none());
        tables.forget(0);
        assert!(tables.cluster(99).is_none(), "what was written to is read again");
    }
}

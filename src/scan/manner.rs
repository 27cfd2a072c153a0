//! Whether a member that can be mapped is better read: that depends on how its pages lie in the page cache. Pages that came one by one, as a
//! guest or a copying program writes them, cost more to map than to copy (docs/performance.md); those of large folios don't.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use super::{extents::State, feeder::WindowTask, worker::Worker};
use crate::{sys::buffer::Buffer, vote::ByteRange};

/// What is mapped for a try: a huge page, so that who has such isn't wronged. Half as many bytes behind it are read.
const MAPPED_BYTES: u64 = 2 << 20;
const READ_BYTES: u64 = MAPPED_BYTES / 2;
/// Tries in a window; the best of each kind counts, since anything else may take a processor's time meanwhile.
const TRIES: u64 = 2;
/// Windows that are tried: some at the beginning, and then one in so many, since a file may be mixed.
const FIRST: [u64; 2] = [0, 8];
const EVERY: u64 = 64;
/// Reading must be better by this, in percent of the time that mapping takes.
const BETTER_BY: u32 = 10;

/// Who is read though it could be mapped.
pub(super) struct Manners(Vec<AtomicBool>);

impl Manners {
    /// All are mapped.
    pub(super) fn new(members: usize) -> Self {
        Self((0..members).map(|_| AtomicBool::new(false)).collect())
    }

    /// Whether the member is better read.
    pub(super) fn reads(&self, member: usize) -> bool {
        self.0[member].load(Relaxed)
    }
}

/// Whether reading took so much less than mapping as many bytes.
fn is_better(mapping: Duration, reading: Duration) -> bool {
    reading < mapping * (100 - BETTER_BY) / 100
}

impl Worker<'_> {
    /// Tries both ways on a part of some windows that are in the page cache, where somebody tells the time.
    pub(super) fn try_manners(&mut self, task: &WindowTask, states: &[State]) {
        let due = FIRST.contains(&task.index) || task.index.is_multiple_of(EVERY);
        if !due || self.shared.job.watch.elapsed() == Duration::ZERO {
            return;
        }
        let start = task.range.start.next_multiple_of(MAPPED_BYTES);
        let places: Vec<ByteRange> = (0..TRIES)
            .map(|number| start.saturating_add(2 * MAPPED_BYTES * number))
            .map(|start| ByteRange::new(start, start.saturating_add(MAPPED_BYTES + READ_BYTES)))
            .filter(|place| place.end <= task.range.end)
            .collect();
        for member in (0..states.len()).filter(|&member| states[member] == State::Data) {
            let tries: Vec<(Duration, Duration)> = places.iter().filter_map(|&place| self.try_both(member, place)).collect();
            let best = |of: fn(&(Duration, Duration)) -> Duration| tries.iter().map(of).min();
            if let (Some(mapping), Some(reading)) = (best(|both| both.0), best(|both| both.1)) {
                self.shared.manners.0[member].store(is_better(mapping, reading), Relaxed);
            }
        }
    }

    /// How long it takes to map, and to read, as many bytes; none where that can't be told: what isn't in the page cache takes the disk's
    /// time.
    fn try_both(&mut self, index: usize, place: ByteRange) -> Option<(Duration, Duration)> {
        let Self { shared, copies, .. } = self;
        let (member, watch) = (shared.job.members[index], shared.job.watch);
        if place.end > member.size() || !member.mappable() || !member.is_cached(place) {
            return None;
        }
        let (mapped, read) =
            (ByteRange::new(place.start, place.start + MAPPED_BYTES), ByteRange::new(place.start + MAPPED_BYTES, place.end));
        let begun = watch.elapsed();
        let window = member.window(mapped)?;
        // Each byte is looked at once, either way.
        let whole = window.alike(black_box(&window), 0..MAPPED_BYTES as usize) && !window.spoilt();
        drop(window);
        let mapping = watch.elapsed().saturating_sub(begun);
        let mut bytes = Buffer::new(shared.chunk_bytes);
        let begun = watch.elapsed();
        for piece in read.pieces(bytes.len() as u64) {
            let bytes = &mut bytes[..piece.length() as usize];
            member.read(piece.start, bytes, copies[index].bounce()).ok()?;
            black_box(black_box(&*bytes) == black_box(&*bytes));
        }
        let reading = watch.elapsed().saturating_sub(begun) * (MAPPED_BYTES / READ_BYTES) as u32;
        whole.then_some((mapping, reading))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::is_better;

    /// Mapping stays where both are as good: noise decides nothing.
    #[test]
    fn a_tenth_decides() {
        let micros = Duration::from_micros;
        assert!(is_better(micros(1000), micros(899)));
        assert!(!is_better(micros(1000), micros(901)));
        assert!(!is_better(Duration::ZERO, Duration::ZERO));
    }
}

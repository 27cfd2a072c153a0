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
/// Windows that are tried: some near the beginning of what is long enough for it to pay, and then one in so many, since a file may be mixed.
const FIRST: [u64; 2] = [4, 6];
const EVERY: u64 = 64;
/// Reading must be better by this, in percent of the time that mapping takes.
const BETTER_BY: u32 = 10;

/// Who is read though it could be mapped.
pub(super) struct Manners(Vec<Manner>);

/// One member's. Anything else may take a processor's time meanwhile: one try alone changes nothing.
#[derive(Default)]
struct Manner {
    reads: AtomicBool,
    /// What the last try said.
    last: AtomicBool,
}

impl Manners {
    /// All are mapped.
    pub(super) fn new(members: usize) -> Self {
        Self((0..members).map(|_| Manner::default()).collect())
    }

    /// Takes what a try said; with the one before it that counts.
    fn tried(&self, member: usize, better: bool) {
        if self.0[member].last.swap(better, Relaxed) == better {
            self.0[member].reads.store(better, Relaxed);
        }
    }

    /// Whether the member is better read.
    pub(super) fn reads(&self, member: usize) -> bool {
        self.0[member].reads.load(Relaxed)
    }
}

/// Whether reading took so much less than mapping as many bytes.
fn is_better(mapping: Duration, reading: Duration) -> bool {
    reading < mapping * (100 - BETTER_BY) / 100
}

impl Worker<'_> {
    /// Tries both ways on a part of some windows that are in the page cache, where somebody tells the time.
    pub(super) fn try_manners(&mut self, task: &WindowTask, states: &[State]) {
        let due = FIRST.contains(&task.index) || (task.index > 0 && task.index.is_multiple_of(EVERY));
        let start = task.range.start.next_multiple_of(MAPPED_BYTES);
        let place = ByteRange::new(start, start.saturating_add(MAPPED_BYTES + READ_BYTES));
        if !due || place.end > task.range.end || self.shared.job.watch.elapsed() == Duration::ZERO {
            return;
        }
        for member in (0..states.len()).filter(|&member| states[member] == State::Data) {
            if let Some((mapping, reading)) = self.try_both(member, place) {
                self.shared.manners.tried(member, is_better(mapping, reading));
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

    use super::{Manners, is_better};

    /// Mapping stays where both are as good: noise decides nothing.
    #[test]
    fn a_tenth_decides() {
        let micros = Duration::from_micros;
        assert!(is_better(micros(1000), micros(899)));
        assert!(!is_better(micros(1000), micros(901)));
        assert!(!is_better(Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn two_tries_decide() {
        let manners = Manners::new(2);
        for (better, reads) in
            [(true, false), (false, false), (true, false), (true, true), (false, true), (true, true), (false, true), (false, false)]
        {
            manners.tried(1, better);
            assert_eq!((manners.reads(0), manners.reads(1)), (false, reads), "after {better}");
        }
    }
}

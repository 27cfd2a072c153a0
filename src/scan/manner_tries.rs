//! Tries of both ways to read a member, on a part of some windows.

use std::{hint::black_box, time::Duration};

use super::{extents::State, manner::is_better, worker::Worker};
use crate::{sys::buffer::Buffer, vote::ByteRange};

/// What is mapped for a try: a huge page, so that who has such isn't wronged. Half as many bytes behind it are read.
const MAPPED_BYTES: u64 = 2 << 20;
const READ_BYTES: u64 = MAPPED_BYTES / 2;
/// Windows that are tried: some near the beginning of what is long enough for it to pay, and then one in so many, since a file may be mixed.
const FIRST: [u64; 2] = [4, 6];
const EVERY: u64 = 64;

impl Worker<'_> {
    /// Tries both ways on a part of some windows that are in the page cache, where somebody tells the time.
    pub(super) fn try_manners(&mut self, index: u64, window: ByteRange, states: &[State]) {
        let due = FIRST.contains(&index) || (index > 0 && index.is_multiple_of(EVERY));
        let start = window.start.checked_next_multiple_of(MAPPED_BYTES).unwrap_or(u64::MAX);
        let place = ByteRange::new(start, start.saturating_add(MAPPED_BYTES + READ_BYTES));
        if !due || place.end > window.end || self.shared.job.watch.elapsed() == Duration::ZERO {
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

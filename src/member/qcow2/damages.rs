//! What was found to be wrong with a member's image, for the report.

use std::{collections::BTreeMap, sync::Mutex};

use crate::{member::ImageError, vote::ByteRange};

/// How many more are counted: what memory allows.
const COUNTED_MAX: usize = 250_000;
/// How many are told one by one.
pub const DAMAGES_LISTED_MAX: usize = 100;

/// Found while it was read, by several threads; the same place is met again and again.
#[derive(Debug, Default)]
pub(super) struct Damages(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// By offset; neighbours of one kind are one.
    listed: Vec<ImageError>,
    /// What isn't told, by where it starts, with its end: to be counted once.
    omitted: BTreeMap<u64, u64>,
}

impl Damages {
    pub(super) fn note(&self, error: ImageError) {
        self.0.lock().expect("no panics").add(error);
    }

    /// Those that are told, by offset, and how many more there are.
    pub(super) fn told(&self) -> (Vec<ImageError>, u64) {
        let found = self.0.lock().expect("no panics");
        (found.listed.clone(), found.omitted.len() as u64)
    }
}

impl Found {
    fn add(&mut self, error: ImageError) {
        let known = |range: ByteRange| range.start <= error.range.start && error.range.end <= range.end;
        let before = self.omitted.range(..=error.range.start).next_back();
        if before.is_some_and(|(&start, &end)| known(ByteRange::new(start, end))) || self.listed.iter().any(|listed| known(listed.range)) {
            return;
        }
        let touches = |listed: &ImageError| {
            let near = listed.range.start <= error.range.end && error.range.start <= listed.range.end;
            near && (listed.table, &listed.what, &listed.file) == (error.table, &error.what, &error.file)
        };
        if let Some(at) = self.listed.iter().position(touches) {
            let listed = &mut self.listed[at];
            if error.range.start < listed.range.start {
                listed.entry_offset = error.entry_offset;
            }
            listed.range = ByteRange::new(listed.range.start.min(error.range.start), listed.range.end.max(error.range.end));
            // It may touch the next one now.
            let grown = self.listed.remove(at);
            return self.add(grown);
        }
        if self.listed.len() < DAMAGES_LISTED_MAX {
            let at = self.listed.partition_point(|listed| listed.range.start < error.range.start);
            self.listed.insert(at, error);
        } else if self.omitted.len() < COUNTED_MAX {
            self.omitted.insert(error.range.start, error.range.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, DAMAGES_LISTED_MAX, Damages, ImageError};

    fn error(start: u64, end: u64, what: &str) -> ImageError {
        ImageError { table: "l2", file: None, entry_offset: Some(start), range: ByteRange::new(start, end), what: what.into() }
    }

    #[test]
    fn neighbours_of_one_kind_are_one_and_nothing_counts_twice() {
        let damages = Damages::default();
        for (start, end, what) in [(20, 30, "a"), (0, 10, "a"), (10, 20, "a"), (30, 40, "b"), (5, 8, "a"), (30, 40, "b")] {
            damages.note(error(start, end, what));
        }
        assert_eq!(damages.told(), (vec![error(0, 30, "a"), error(30, 40, "b")], 0));
        for i in 0..2 * DAMAGES_LISTED_MAX as u64 {
            damages.note(error(100 + i * 10, 105 + i * 10, "c"));
            damages.note(error(100 + i * 10, 105 + i * 10, "c"));
        }
        let (listed, omitted) = damages.told();
        assert_eq!((listed.len(), omitted), (DAMAGES_LISTED_MAX, DAMAGES_LISTED_MAX as u64 + 2));
    }
}

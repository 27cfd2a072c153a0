//! Counts the content of members while their bytes are in the processor's cache.

use super::{
    chunk::Chunk,
    extents::State,
    lost::{CONTENT_BLOCK, content_bytes},
    worker::{Slot, Worker},
};
use crate::vote::{ByteRange, Rule};

impl Worker<'_> {
    /// Counts the content of a range in which all data is alike, while it is in the processor's cache. Known zeros hold none.
    pub(super) fn count_alike(&mut self, chunk: &Chunk, reference: usize, range: ByteRange) {
        let zeros = chunk.with_state(|state| state == State::Zero).next().is_some();
        if self.shared.job.evidence.is_none() || zeros {
            return;
        }
        let (in_chunk, length) = (chunk.at(range.start), range.length() as usize);
        let content = match &self.slots[reference] {
            _ if chunk.has_filled(reference) => content_bytes(self.copies[reference].bytes(in_chunk, length)),
            Slot::Mapped(window) => {
                let start = (range.start - self.mapped.start) as usize;
                window.bytes_held(start..start + length, CONTENT_BLOCK as usize)
            }
            Slot::Unknown | Slot::Read => 0,
        };
        for member in chunk.with_state(|state| state == State::Data) {
            self.found.count_content(chunk.states.len(), member, content);
        }
    }

    /// Counts the content of each member's copy of `range`.
    pub(super) fn count_copies(&mut self, chunk: &Chunk, range: ByteRange) {
        if self.shared.job.evidence.is_none() || chunk.rule == Rule::First {
            return;
        }
        for member in chunk.with_state(|state| matches!(state, State::Data | State::Partial)) {
            let held = ByteRange::new(range.start, range.end.min(self.shared.job.members[member].size()).max(range.start));
            let content = content_bytes(self.copies[chunk.source(member)].bytes(chunk.at(held.start), held.length() as usize));
            self.found.count_content(chunk.states.len(), member, content);
        }
    }
}

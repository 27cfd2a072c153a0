//! Members that hold a chunk of which another has a copy already: they have none of their own. What several keep encoded, and alike, is decoded
//! once; and where most of the image differs, those who are alike are copied once.

use super::{
    chunk::{Chunk, Interruption},
    worker::{Slot, Worker},
};
use crate::vote::members_of;

impl Worker<'_> {
    /// Copies the member's chunk. Where it is kept encoded, just as that of another who was decoded, that is noted instead.
    pub(super) fn copy_or_twin(&mut self, chunk: &mut Chunk, member: usize) -> Result<(), Interruption> {
        let reader = self.shared.job.members[member];
        let first = chunk.original.is_none();
        let [decoded, other] = &mut self.encoded;
        let encoded = if first { &mut *decoded } else { &mut *other };
        if !reader.encoded(chunk.range, self.shared.chunk_bytes, encoded, self.copies[member].bounce()) {
            return self.copy_chunk(chunk, member);
        }
        if chunk.encoded && other.is_twin_of(decoded) {
            chunk.twins |= 1 << member;
            return Ok(());
        }
        let encoded = if first { decoded } else { other };
        let length = chunk.range.length() as usize;
        if !self.copies[member].decode(self.shared.chunk_bytes, length, |bytes| reader.decode(encoded, bytes)) {
            return self.copy_chunk(chunk, member);
        }
        chunk.holds(member);
        if first {
            (chunk.original, chunk.encoded) = (Some(member), true);
        }
        Ok(())
    }

    /// Whether the member's mapped bytes are those of another's copy; that one is then the original of all twins.
    pub(super) fn is_twin_by_bytes(&mut self, chunk: &mut Chunk, member: usize) -> bool {
        if !self.map(member) {
            return false;
        }
        let Slot::Mapped(window) = &self.slots[member] else { return false };
        let (start, length) = ((chunk.range.start - self.mapped.start) as usize, chunk.range.length() as usize);
        let holds = |&other: &usize| {
            let copy = &self.copies[other];
            chunk.has_filled(other) && copy.whole() && window.alike_bytes(start, copy.bytes(0, length))
        };
        let original = match chunk.original {
            Some(original) => Some(original).filter(holds),
            None => (0..member).find(holds),
        };
        chunk.original = chunk.original.or(original);
        original.is_some()
    }

    /// Gives each member a copy of its own: something differs, and all are looked at sector by sector.
    pub(super) fn part_twins(&mut self, chunk: &mut Chunk) {
        let Some(original) = chunk.original else { return };
        let length = chunk.range.length() as usize;
        for member in members_of(std::mem::take(&mut chunk.twins)) {
            if let Ok([from, to]) = self.copies.get_disjoint_mut([original, member]) {
                let copied = to.decode(self.shared.chunk_bytes, length, |bytes| {
                    bytes.copy_from_slice(from.bytes(0, length));
                    true
                });
                debug_assert!(copied);
            }
            chunk.holds(member);
        }
    }
}

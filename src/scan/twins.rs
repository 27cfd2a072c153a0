//! Members that keep a chunk encoded, and alike: it is decoded once, and neither copied nor compared for the others.

use super::{
    chunk::{Chunk, Interruption},
    worker::Worker,
};
use crate::vote::members_of;

impl Worker<'_> {
    /// Copies the member's chunk. Where it is kept encoded, just as that of another who was decoded, that is noted instead.
    pub(super) fn copy_or_twin(&mut self, chunk: &mut Chunk, member: usize) -> Result<(), Interruption> {
        let reader = self.shared.job.members[member];
        let [decoded, encoded] = &mut self.encoded;
        let to = if chunk.decoded.is_none() { &mut *decoded } else { &mut *encoded };
        if !reader.encoded(chunk.range, self.shared.chunk_bytes, to, self.copies[member].bounce()) {
            return self.copy_chunk(chunk, member);
        }
        if chunk.decoded.is_some() && encoded.is_twin_of(decoded) {
            chunk.twins |= 1 << member;
            return Ok(());
        }
        let (to, first) = if chunk.decoded.is_none() { (decoded, true) } else { (encoded, false) };
        let length = chunk.range.length() as usize;
        if !self.copies[member].decode(self.shared.chunk_bytes, length, |bytes| reader.decode(to, bytes)) {
            return self.copy_chunk(chunk, member);
        }
        chunk.holds(member);
        if first {
            chunk.decoded = Some(member);
        }
        Ok(())
    }

    /// Gives each member a copy of its own: something differs, and all are looked at sector by sector.
    pub(super) fn part_twins(&mut self, chunk: &mut Chunk) {
        let Some(decoded) = chunk.decoded else { return };
        let length = chunk.range.length() as usize;
        for member in members_of(std::mem::take(&mut chunk.twins)) {
            if let Ok([from, to]) = self.copies.get_disjoint_mut([decoded, member]) {
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

//! From writes to a guest's disk to writes to the file of its image.

use super::{ops::Op, voted::Voted};
use crate::{
    member::{Allocator, Image, Member},
    repair::journal::ENTRY_RANGE_MAX,
    vote::ByteRange,
};

/// What can be unreadable by itself, in bytes.
const SECTOR: u64 = 512;

/// One image that is rewritten.
pub(super) struct Clusters<'a> {
    member: &'a dyn Member,
    image: &'a dyn Image,
    index: usize,
    /// Whether the write that comes before all others was handed out, or done by the allocator.
    begun: bool,
}

/// Writes of one image, apart by how they are done.
#[derive(Default)]
pub(super) struct Parted {
    /// To the file, where the bytes lie already.
    pub(super) direct: Vec<Op>,
    /// To the guest's disk, where new clusters are needed.
    pub(super) allocating: Vec<Op>,
    /// What can't be healed.
    pub(super) not_healed: Vec<ByteRange>,
}

impl<'a> Clusters<'a> {
    pub(super) fn new(member: &'a dyn Member, image: &'a dyn Image, index: usize) -> Self {
        Self { member, image, index, begun: false }
    }

    /// Parts writes to the guest's disk; `block_bytes` is what the medium writes as a whole.
    ///
    /// # Errors
    /// Where the tables can't be followed.
    pub(super) fn part(&self, ops: Vec<Op>, block_bytes: u64) -> Result<Parted, String> {
        let mut parted = Parted::default();
        for op in ops {
            let mut at = op.range.start;
            while at < op.range.end.min(self.member.size()) {
                let (host, end) = self.image.owned(at).map_err(|unsound| unsound.to_string())?;
                let piece = ByteRange::new(at, end.min(op.range.end));
                let piece_of = op.piece(piece);
                let whole = |host: u64| {
                    host.is_multiple_of(block_bytes) && (piece.length().is_multiple_of(block_bytes) || piece.end == op.range.end)
                };
                match host {
                    // Only whole blocks of the medium can be healed.
                    Some(host) if !piece_of.heals.is_empty() && !whole(host) => parted.not_healed.extend(piece_of.asked),
                    Some(host) => match parted.direct.last_mut() {
                        Some(last) if last.takes(&piece_of, host) => last.join(&piece_of, host),
                        _ => parted.direct.push(piece_of.moved_to(host)),
                    },
                    None => parted.allocating.push(piece_of),
                }
                at = piece.end;
            }
        }
        Ok(parted)
    }

    /// Gives the first of `ops` (ascending) new clusters, until enough writes are held; returns what must be written to the file for
    /// that, and what can't be done. What is done is taken out of `ops`.
    ///
    /// # Errors
    /// What the allocator says.
    pub(super) fn allocate(&mut self, ops: &mut Vec<Op>, voted: &Voted) -> Result<(Vec<Op>, Vec<ByteRange>), String> {
        let cluster_bytes = self.image.cluster_bytes();
        let mut allocator = self.image.allocator()?;
        self.begun = true; // opening the image for writing brought that along
        let mut not_healed = Vec::new();
        let mut done = 0;
        while done < ops.len() && !allocator.is_full() {
            let cluster = ops[done].range.start / cluster_bytes;
            let count = ops[done..].iter().take_while(|op| op.range.start / cluster_bytes == cluster).count();
            let parts = &ops[done..done + count];
            let range = ByteRange::new(cluster * cluster_bytes, ((cluster + 1) * cluster_bytes).min(self.member.size()));
            match self.composed(range, parts, voted) {
                Some(bytes) => allocator
                    .write(range.start, &bytes)
                    .map_err(|error| format!("new clusters can't be had: {error}; repair -o makes a new image of it"))?,
                None => not_healed.extend(parts.iter().map(|op| op.range)),
            }
            done += count;
        }
        ops.drain(..done);
        Ok((self.file_writes(allocator)?, not_healed))
    }

    /// A whole cluster: the voted parts, and around them what the guest sees there.
    fn composed(&self, range: ByteRange, parts: &[Op], voted: &Voted) -> Option<Vec<u8>> {
        let mut bytes = vec![0; range.length() as usize];
        if self.member.read(range.start, &mut bytes, &mut None).is_err() {
            let voted_on = |at: u64| parts.iter().any(|op| op.range.start <= at && at + SECTOR.min(range.end - at) <= op.range.end);
            for at in (range.start..range.end).step_by(SECTOR as usize).filter(|&at| !voted_on(at)) {
                let place = (at - range.start) as usize;
                let end = (place + SECTOR as usize).min(bytes.len());
                let sector = &mut bytes[place..end];
                let mut read = || self.member.read(at, sector, &mut None);
                read().or_else(|_| read()).ok()?;
            }
        }
        for op in parts {
            let place = (op.range.start - range.start) as usize;
            bytes[place..place + op.range.length() as usize].copy_from_slice(&op.bytes(voted));
        }
        Some(bytes)
    }

    /// What the allocator has written, as writes to the file.
    fn file_writes(&self, allocator: Box<dyn Allocator + '_>) -> Result<Vec<Op>, String> {
        let writes = allocator.into_writes().map_err(|error| error.to_string())?;
        debug_assert!(writes.iter().all(|(_, bytes)| bytes.len() as u64 <= ENTRY_RANGE_MAX));
        Ok(writes.into_iter().map(|(at, bytes)| Op::to_file(self.index, at, bytes)).collect())
    }

    /// What has to be written before anything else; once.
    pub(super) fn take_prelude(&mut self) -> Option<Op> {
        if self.begun {
            return None;
        }
        let (at, bytes) = self.image.prelude()?;
        self.begun = true;
        Some(Op::to_file(self.index, at, bytes))
    }

    /// The file holds what was handed out: it is read anew.
    pub(super) fn written(&self, length: u64) {
        self.image.forget(length);
    }
}

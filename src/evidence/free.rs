//! Which parts of a disk every member's file system calls free.

use std::{num::NonZeroUsize, sync::Mutex};

use lru::LruCache;

use super::{ReadAt, systems::FreeBlocks};
use crate::{member::Member, vote::ByteRange};

/// Pieces of bitmaps kept, of [`PIECE_BYTES`] each.
const PIECES_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");
const PIECE_BYTES: u64 = 4096;

type Pieces = LruCache<(usize, u64), Option<Box<[u8]>>>;

/// The file systems that all members share, each by its own bitmaps. They are held as long as it lives.
pub struct FreeSpace<'a> {
    members: &'a [&'a dyn Member],
    /// Each file system with those who hold it, by number: more than half of the members, while nobody holds another one there.
    systems: Vec<Vec<(usize, FreeBlocks)>>,
    pieces: Mutex<Pieces>,
}

impl<'a> FreeSpace<'a> {
    /// Of the file systems that start at `starts` (in bytes) in every one of `members` that can be read.
    pub(super) fn of(members: &'a [&'a dyn Member], starts: &[u64]) -> Self {
        let shared = |&start: &u64| {
            let readable = members.iter().enumerate().filter(|(_, member)| member.failure().is_none());
            // A damaged superblock says nothing, and is no other file system.
            let each: Vec<_> = readable.filter_map(|(index, &member)| Some((index, super::systems::free_blocks(member, start)?))).collect();
            let alike = each.iter().all(|(_, other)| each[0].1.is_like(other));
            (each.len() > members.len() / 2 && alike).then_some(each)
        };
        Self { members, systems: starts.iter().filter_map(shared).collect(), pieces: Mutex::new(LruCache::new(PIECES_MAX)) }
    }

    /// Whether all of `range` (in bytes) is free by the bitmaps of all who hold the file system there.
    #[must_use]
    pub fn has(&self, range: ByteRange) -> bool {
        let system = self.systems.iter().find(|system| system.first().is_some_and(|(_, first)| first.range().and(range) == Some(range)));
        system.is_some_and(|system| system.iter().all(|(index, blocks)| blocks.are_free(&Kept { space: self, index: *index }, range)))
    }
}

/// A member through the pieces that are kept of it.
struct Kept<'a> {
    space: &'a FreeSpace<'a>,
    index: usize,
}

impl ReadAt for Kept<'_> {
    fn length(&self) -> u64 {
        self.space.members[self.index].size()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, within) = (at - at % PIECE_BYTES, (at % PIECE_BYTES) as usize);
            let mut pieces = self.space.pieces.lock().expect("no thread panics with it");
            let held = pieces.get_or_insert((self.index, piece), || {
                let mut bytes = vec![0; PIECE_BYTES.min(self.length().saturating_sub(piece)) as usize];
                self.space.members[self.index].read(piece, &mut bytes, &mut None).is_ok().then(|| bytes.into_boxed_slice())
            });
            let Some(held) = held.as_ref().and_then(|held| held.get(within..)).filter(|held| !held.is_empty()) else { return false };
            let count = held.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&held[..count]);
            (at, rest) = (at + count as u64, later);
        }
        true
    }
}

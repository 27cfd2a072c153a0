//! Which parts of a disk every member's file system calls free.

use super::{pieces::Pieces, systems::FreeBlocks};
use crate::{member::Member, vote::ByteRange};

/// The file systems that all members share, each by its own bitmaps. They are held as long as it lives.
pub struct FreeSpace<'a> {
    members: Vec<Pieces<'a>>,
    /// Each file system with those who hold it, by number: more than half of the members, while nobody holds another one there.
    systems: Vec<Vec<(usize, FreeBlocks)>>,
}

impl<'a> FreeSpace<'a> {
    /// Of the file systems that start at `starts` (in bytes) in every one of `members` that can be read.
    pub(super) fn of(members: &[&dyn Member], pieces: Vec<Pieces<'a>>, starts: &[u64]) -> Self {
        let shared = |&start: &u64| {
            let readable = members.iter().enumerate().filter(|(_, member)| member.failure().is_none());
            // A damaged superblock says nothing, and is no other file system.
            let each: Vec<_> =
                readable.filter_map(|(index, _)| Some((index, super::systems::free_blocks(&pieces[index], start)?))).collect();
            let alike = each.iter().all(|(_, other)| each[0].1.is_like(other));
            (each.len() > members.len() / 2 && alike).then_some(each)
        };
        let mut systems: Vec<Vec<(usize, FreeBlocks)>> = starts.iter().filter_map(shared).collect();
        // Where one lies in another, the inner one is the younger one.
        systems.sort_by_key(|system| system.first().map_or(0, |(_, first)| first.range().length()));
        Self { systems, members: pieces }
    }

    /// Whether all of `range` (in bytes) is free by the bitmaps of all who hold the file system there, and by those of `member`.
    #[must_use]
    pub fn has(&self, member: usize, range: ByteRange) -> bool {
        let system = self.systems.iter().find(|system| system.first().is_some_and(|(_, first)| first.range().and(range) == Some(range)));
        system.is_some_and(|system| {
            let own = system.iter().any(|(index, _)| *index == member);
            // Whose superblock is damaged still has its bitmaps, where the others have theirs.
            let (_, first) = &system[0];
            let lent = || first.are_written(range) && self.members.get(member).is_some_and(|pieces| first.are_free(pieces, range));
            (own || lent()) && system.iter().all(|(index, blocks)| blocks.are_free(&self.members[*index], range))
        })
    }
}

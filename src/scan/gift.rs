//! What a donor gives. Pure.

use crate::vote::{ByteRange, MEMBERS_MAX, Verdict, Vote};

/// What a donor holds of a digest's chunk.
pub(super) struct Gift {
    /// Where.
    pub(super) range: ByteRange,
    pub(super) donor: usize,
    pub(super) bytes: Vec<u8>,
    /// Sectors that it can't read, or doesn't reach.
    pub(super) lacking: Vec<ByteRange>,
}

impl Gift {
    /// Its bytes of a sector, where it has them.
    pub(super) fn sector(&self, sector: ByteRange) -> Option<&[u8]> {
        if self.range.and(sector) != Some(sector) || self.lacking.iter().any(|lacking| lacking.and(sector).is_some()) {
            return None;
        }
        let at = (sector.start - self.range.start) as usize;
        Some(&self.bytes[at..at + sector.length() as usize])
    }
}

/// The bytes of a sector that a donor gives, where the vote says so.
pub(super) fn given<'g>(gifts: &'g [Gift], vote: &Vote, sector: ByteRange) -> Option<&'g [u8]> {
    let Verdict::Donated { donor } = vote.verdict else { return None };
    gifts.iter().filter(|gift| gift.donor == donor).find_map(|gift| gift.sector(sector))
}

/// The word of a witness for what a donor holds, beside the numbers of members.
pub(super) fn number_of(donor: usize) -> u8 {
    (MEMBERS_MAX + donor) as u8
}

/// The donor whose bytes a witness's word means; none where it means a member's.
pub(super) fn donor_of(number: u8) -> Option<usize> {
    usize::from(number).checked_sub(MEMBERS_MAX)
}

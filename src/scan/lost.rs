//! What members hold and lose, counted while they are read: what the guards weigh. Pure.

use serde::{Deserialize, Serialize};

use crate::{
    evidence::{By, Evidence, has_few_flips, looks_like_rot},
    vote::{Ballot, ByteRange, Rule, Vote, is_zero, members_of},
};

/// The unit of content in bytes: a block that holds anything but zeros counts as a whole.
pub(super) const CONTENT_BLOCK: u64 = 4096;
/// The unit of loss, whatever the sector size.
const PIECE_BYTES: usize = 512;

/// What one member holds, and what it would lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Lost {
    /// Bytes in its blocks of 4 KiB that hold anything but zeros: its content.
    pub content_held: u64,
    /// Bytes of its zeros that were outvoted by data.
    pub zeros_replaced: u64,
    /// Bytes of its data that were outvoted by zeros.
    pub data_zeroed: u64,
    /// Bytes in pieces of 512 that hold anything but zeros and were outvoted by a vote.
    pub content: u64,
    /// Those of them in which it is newer than all who outvote it, by contents, and that don't look like rot.
    pub newer_by_contents: u64,
    /// The same by its file's time, whatever it looks like.
    pub newer_by_time: u64,
    /// Bytes in pieces of 512 that zeros outvote, that aren't a few bits or all ones, that no file system which all share calls free, and in which it
    /// isn't older than those who outvote it.
    pub zeroed_in_use: u64,
    /// The same whichever is older.
    pub zeroed_content: u64,
    /// Who outvoted it anywhere, and who did with zeros: as masks.
    pub outvoted_by: u64,
    /// See `outvoted_by`.
    pub zeroed_by: u64,
}

impl Lost {
    /// Adds what was counted in another part.
    pub(super) fn add(&mut self, other: &Self) {
        self.content_held += other.content_held;
        self.zeros_replaced += other.zeros_replaced;
        self.data_zeroed += other.data_zeroed;
        self.content += other.content;
        self.newer_by_contents += other.newer_by_contents;
        self.newer_by_time += other.newer_by_time;
        self.zeroed_in_use += other.zeroed_in_use;
        self.zeroed_content += other.zeroed_content;
        self.outvoted_by |= other.outvoted_by;
        self.zeroed_by |= other.zeroed_by;
    }
}

/// A sector that was voted on.
#[derive(Clone, Copy)]
pub(super) struct Voted<'a> {
    /// Where.
    pub(super) range: ByteRange,
    pub(super) vote: &'a Vote,
    pub(super) rule: Rule,
    pub(super) ballots: &'a [Ballot<'a>],
    /// What a donor gives, where one does.
    pub(super) donated: Option<&'a [u8]>,
    /// Members, as a mask, for whom a digest proves what won, and that are untouched since it was made: they can't be newer there.
    pub(super) proven_for: u64,
}

/// Counts a sector in which a version won, for each member whose data lost. A person's decision (`--trust`, `--pick`) is none
/// that the vote has to answer for: there only who outvoted whom is noted.
pub(super) fn count(lost: &mut [Lost], sector: &Voted, evidence: Option<&Evidence>) {
    let Voted { range, vote, rule, ballots, donated, proven_for } = *sector;
    let (won, outvoting) = match (vote.winner().map(|winner| (ballots[winner], vote.grouping.holders(winner))), donated) {
        (Some((Ballot::Data(won), holders)), _) => (won, holders),
        (None, Some(donated)) => (donated, 0),
        _ => return,
    };
    let zeros_won = is_zero(won);
    for member in members_of(vote.dissenters()) {
        let Ballot::Data(bytes) = ballots[member] else { continue };
        let (length, lost) = (bytes.len() as u64, &mut lost[member]);
        lost.outvoted_by |= outvoting;
        if is_zero(bytes) {
            lost.zeros_replaced += length;
            continue;
        }
        if zeros_won {
            lost.data_zeroed += length;
            lost.zeroed_by |= outvoting;
        }
        let Some(evidence) = evidence.filter(|_| rule.is_vote()) else { continue };
        let free = |at| zeros_won && evidence.is_free(member, at);
        let gone = content_lost(range.start, bytes, won, &free);
        lost.content += gone.all;
        match evidence.seniority.newer(member, outvoting, range.start) {
            Some(_) if proven_for >> member & 1 == 1 => {}
            Some(By::Contents) if !looks_like_rot(bytes, won) => lost.newer_by_contents += gone.all,
            Some(By::Time) => lost.newer_by_time += gone.all,
            _ => {}
        }
        if zeros_won {
            lost.zeroed_content += gone.no_flips;
            if !evidence.seniority.is_older(member, outvoting, range.start) {
                lost.zeroed_in_use += gone.no_flips;
            }
        }
    }
}

/// Content that a sector loses, in bytes.
struct Gone {
    all: u64,
    /// Without what is only a few bits in an empty piece, or all ones: rot, or erased, and no content.
    no_flips: u64,
}

/// What is lost of a sector at `offset`, in pieces of 512 that differ: of a large sector not all is. Where zeros won, what lies
/// in blocks that are free is nobody's content: one copy was trimmed and the other wasn't.
fn content_lost(offset: u64, bytes: &[u8], won: &[u8], is_free: &dyn Fn(ByteRange) -> bool) -> Gone {
    let mut gone = Gone { all: 0, no_flips: 0 };
    for ((piece, won), at) in bytes.chunks(PIECE_BYTES).zip(won.chunks(PIECE_BYTES)).zip((offset..).step_by(PIECE_BYTES)) {
        let length = piece.len() as u64;
        if piece != won && !is_zero(piece) && !is_free(ByteRange::new(at, at + length)) {
            gone.all += length;
            // A new disk of another make is full of ones.
            let ones = piece.iter().all(|&byte| byte == 0xff);
            gone.no_flips += if ones || has_few_flips(piece, won) { 0 } else { length };
        }
    }
    gone
}

/// Bytes of `bytes` in blocks that hold anything but zeros; they begin at a block's start.
#[must_use]
pub fn content_bytes(bytes: &[u8]) -> u64 {
    bytes.chunks(CONTENT_BLOCK as usize).filter(|block| !is_zero(block)).map(|block| block.len() as u64).sum()
}

//! The vote itself: ballots in, verdicts out. No I/O, no clock, no threads, and no allocation for a sector.

mod coarse;
mod fill;
mod filler;
mod range;
mod rules;
mod runs;
mod size;
mod witness;
mod zeros;

#[cfg(test)]
mod properties;

pub use coarse::CoarseRanges;
pub use fill::{Fill, marker, vote_bytes};
pub use filler::{Fillers, Pattern};
pub use range::ByteRange;
pub use rules::{Rule, Rules};
pub use runs::{Run, Runs};
pub use size::{VirtualSize, elect_size};
pub use witness::Confirmation;
pub use zeros::is_zero;

/// Fewest members that make a vote.
pub const MEMBERS_MIN: usize = 2;
/// Most members of one vote: a set of them fits a 64-bit mask.
pub const MEMBERS_MAX: usize = 64;
/// Most sources that don't vote.
pub const DONORS_MAX: usize = 16;
/// Smallest unit of the vote in bytes, QEMU's `BDRV_SECTOR_SIZE`.
pub const SECTOR_MIN: u32 = 512;
/// Largest unit of the vote in bytes, a default qcow2 cluster.
pub const SECTOR_MAX: u32 = 65536;

/// What one member says of one sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot<'a> {
    /// The sector's bytes; the last sector of an image may be short.
    Data(&'a [u8]),
    /// The member ends before this sector, or inside of it.
    Absent,
    /// Reading it failed, and failed again; never a version, never a winner.
    Unreadable,
    /// The member as a whole can't be read any more; it still counts among the members.
    Failed,
    /// Bytes that say of themselves that nothing was read there, where another member holds something else: never a version.
    Filler,
    /// Read twice, it answered differently: never a version.
    Unstable,
    /// Not read, since a member before it could be (read pattern fifo).
    Unasked,
}

impl Ballot<'_> {
    /// Whether both say the same; where that is the very same memory, nobody looks at it.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Data(one), Self::Data(two)) => std::ptr::eq(*one, *two) || one == two,
            (one, two) => one == two,
        }
    }
}

/// What the members together say of one sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every member holds the same bytes.
    Unanimous,
    /// One version won; the others that hold data dissent.
    Decided {
        /// The lowest-numbered member that holds the winning version.
        winner: usize,
    },
    /// No version won, and a digest proves what a source that doesn't vote holds there; all who hold anything dissent.
    Donated {
        /// The number of that source.
        donor: usize,
    },
    /// No version won, be it for a tie or for too few ballots.
    Undecided,
}

impl Verdict {
    /// Whether it is known what is to stand there, though not all hold it.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Decided { .. } | Self::Donated { .. })
    }
}

/// Which members hold the same version of a sector: for each member the lowest-numbered one that holds the same bytes,
/// or why it holds none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    labels: [u8; MEMBERS_MAX],
    members: u8,
}

const ABSENT: u8 = 0xff;
const UNREADABLE: u8 = 0xfe;
const FAILED: u8 = 0xfd;
const UNASKED: u8 = 0xfc;
const FILLER: u8 = 0xfb;
const UNSTABLE: u8 = 0xfa;

impl Grouping {
    /// Groups the ballots by their bytes.
    ///
    /// # Panics
    /// With more than [`MEMBERS_MAX`] ballots.
    #[must_use]
    pub fn of(ballots: &[Ballot]) -> Self {
        assert!(ballots.len() <= MEMBERS_MAX, "{} ballots; at most {MEMBERS_MAX} members vote", ballots.len());
        let mut labels = [ABSENT; MEMBERS_MAX];
        for (member, ballot) in ballots.iter().enumerate() {
            labels[member] = match ballot {
                Ballot::Absent => ABSENT,
                Ballot::Unreadable => UNREADABLE,
                Ballot::Failed => FAILED,
                Ballot::Filler => FILLER,
                Ballot::Unstable => UNSTABLE,
                Ballot::Unasked => UNASKED,
                // The first ballots of versions alone are compared: as many comparisons as there are versions.
                Ballot::Data(_) => {
                    (0..member).find(|&first| usize::from(labels[first]) == first && ballots[first].is_same(ballot)).unwrap_or(member) as u8
                }
            };
        }
        Self { labels, members: ballots.len() as u8 }
    }

    /// How many members there are.
    #[must_use]
    pub fn members(&self) -> usize {
        usize::from(self.members)
    }

    /// The lowest-numbered member that holds the same version as this one; none where it holds no data.
    #[must_use]
    pub fn version(&self, member: usize) -> Option<usize> {
        let label = self.labels[..self.members()][member];
        (usize::from(label) < MEMBERS_MAX).then_some(usize::from(label))
    }

    /// The members that hold `version`, as a mask with bit N for member N.
    #[must_use]
    pub fn holders(&self, version: usize) -> u64 {
        self.mask(|label| usize::from(label) == version)
    }

    /// The members that end before the sector, as a mask.
    #[must_use]
    pub fn absent(&self) -> u64 {
        self.mask(|label| label == ABSENT)
    }

    /// The members whose sector can't be read, as a mask.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.mask(|label| label == UNREADABLE)
    }

    /// The members that failed as a whole, as a mask.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.mask(|label| label == FAILED)
    }

    /// The members that hold a filler, as a mask.
    #[must_use]
    pub fn fillers(&self) -> u64 {
        self.mask(|label| label == FILLER)
    }

    /// The members that answered differently when they were read again, as a mask.
    #[must_use]
    pub fn unstable(&self) -> u64 {
        self.mask(|label| label == UNSTABLE)
    }

    /// Whether nothing is amiss but that members have failed: the others hold one version.
    #[must_use]
    pub fn only_lacks(&self) -> bool {
        self.failed() != 0 && self.versions().nth(1).is_none() && self.absent() | self.unreadable() | self.fillers() | self.unstable() == 0
    }

    /// The versions, each named by its lowest-numbered holder, in that order.
    pub fn versions(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.members()).filter(|&member| usize::from(self.labels[member]) == member)
    }

    fn mask(&self, wanted: impl Fn(u8) -> bool) -> u64 {
        mask_of((0..self.members()).filter(|&member| wanted(self.labels[member])))
    }
}

impl std::fmt::Debug for Grouping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        for &label in &self.labels[..self.members()] {
            match label {
                ABSENT => list.entry(&"absent"),
                UNREADABLE => list.entry(&"unreadable"),
                FAILED => list.entry(&"failed"),
                UNASKED => list.entry(&"unasked"),
                FILLER => list.entry(&"filler"),
                UNSTABLE => list.entry(&"unstable"),
                version => list.entry(&version),
            };
        }
        list.finish()
    }
}

/// A verdict together with who said what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// What was decided.
    pub verdict: Verdict,
    /// Who holds which version.
    pub grouping: Grouping,
}

impl Vote {
    /// Holds the vote of these ballots under `rule`.
    #[must_use]
    pub fn of(ballots: &[Ballot], rule: Rule) -> Self {
        let grouping = Grouping::of(ballots);
        Self { verdict: rule.judge(&grouping), grouping }
    }

    /// Bytes that tell this vote from others.
    #[must_use]
    pub fn digest(&self) -> [u8; MEMBERS_MAX + 1] {
        let mut bytes = [0; MEMBERS_MAX + 1];
        bytes[..MEMBERS_MAX].copy_from_slice(&self.grouping.labels);
        bytes[MEMBERS_MAX] = match self.verdict {
            Verdict::Unanimous => UNASKED,
            Verdict::Decided { winner } => winner as u8,
            Verdict::Donated { donor } => (MEMBERS_MAX + donor) as u8,
            Verdict::Undecided => ABSENT,
        };
        bytes
    }

    /// The members whose data lost, as a mask; none where nothing was decided.
    #[must_use]
    pub fn dissenters(&self) -> u64 {
        let winner = self.winner();
        if !self.verdict.is_decided() {
            return 0;
        }
        self.grouping.mask(|label| usize::from(label) < MEMBERS_MAX && Some(usize::from(label)) != winner)
    }

    /// The version that won, if one did.
    #[must_use]
    pub fn winner(&self) -> Option<usize> {
        match self.verdict {
            Verdict::Decided { winner } => Some(winner),
            Verdict::Unanimous | Verdict::Donated { .. } | Verdict::Undecided => None,
        }
    }

    /// All versions, the one that won first; then by how many hold them, then by the first who does.
    #[must_use]
    pub fn ordered_versions(&self) -> Vec<usize> {
        let winner = self.winner();
        let mut versions: Vec<usize> = self.grouping.versions().collect();
        versions.sort_by_key(|&version| (Some(version) != winner, u32::MAX - self.grouping.holders(version).count_ones(), version));
        versions
    }
}

/// Votes on one sector: a version wins with at least `threshold` ballots and strictly more than any other.
///
/// A tie is undecided, whatever the threshold: QEMU's quorum lets the version it saw last win there (`block/quorum.c`,
/// `quorum_get_vote_winner`), and we do not guess.
///
/// ```
/// use quorum_img::vote::{elect, Ballot::{Data, Unreadable}, Verdict};
/// assert_eq!(elect(&[Data(b"b"), Data(b"a"), Data(b"a")], 2), Verdict::Decided { winner: 1 });
/// assert_eq!(elect(&[Data(b"a"), Data(b"b"), Unreadable], 2), Verdict::Undecided);
/// ```
#[must_use]
pub fn elect(ballots: &[Ballot], threshold: usize) -> Verdict {
    Vote::of(ballots, Rule::Threshold(threshold)).verdict
}

/// The mask of `members`, by their numbers: the other way round as [`members_of`].
#[must_use]
pub fn mask_of(members: impl IntoIterator<Item = usize>) -> u64 {
    members.into_iter().fold(0, |mask, member| mask | 1 << member)
}

/// The members of a mask, ascending.
pub fn members_of(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let member = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        member
    })
}

#[cfg(test)]
mod tests {
    use super::{
        Ballot::{Absent, Data, Failed, Unreadable},
        Verdict::{Decided, Unanimous, Undecided},
        elect,
    };

    #[test]
    fn elects_by_the_book() {
        let (a, b, c) = (Data(b"a"), Data(b"b"), Data(b"c"));
        for (ballots, threshold, expected, why) in [
            (vec![a, a, a], 2, Unanimous, "all alike"),
            (vec![b, a, a], 2, Decided { winner: 1 }, "the first ballot is not special"),
            (vec![a, b, b, a, b], 2, Decided { winner: 1 }, "more ballots than any other"),
            (vec![a, a, b, b, c], 2, Undecided, "a tie above a third version is still a tie"),
            (vec![a, a, b, b], 2, Undecided, "QEMU lets the last one win; we call a tie a tie"),
            (vec![a, a, b], 3, Undecided, "two ballots are not three"),
            (vec![a, a, Unreadable], 2, Decided { winner: 0 }, "unreadable is outvoted, not ignored"),
            (vec![a, a, Failed], 2, Decided { winner: 0 }, "so is a failed member"),
            (vec![a, a, Absent], 3, Undecided, "what is absent lends no ballot"),
            (vec![a, Absent, Absent], 2, Undecided, "absence is never a version"),
            (vec![Unreadable, Unreadable], 2, Undecided, "nor is unreadability"),
            (vec![Absent, Absent], 2, Undecided, "even where all are absent"),
        ] {
            assert_eq!(elect(&ballots, threshold), expected, "{why}: {ballots:?}, threshold {threshold}");
        }
    }
}

//! Before the scan: the virtual size, who decides where, and what is looked at. Pure.

use std::sync::Arc;

use crate::{
    digest::Hearing,
    member::Member,
    report::ReadPattern,
    vote::{ByteRange, Fillers, MEMBERS_MAX, MEMBERS_MIN, Rule, Rules, SECTOR_MAX, SECTOR_MIN, VirtualSize, elect_size},
};

/// Most threads; beyond that the windows' results alone would pass the memory's bound.
pub const THREADS_MAX: usize = 64;

/// Sources that don't vote.
#[derive(Clone, Default)]
pub struct Donors(pub Vec<Arc<dyn Member>>);

impl std::fmt::Debug for Donors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|donor| donor.name())).finish()
    }
}

/// What the user wants of a vote.
#[derive(Clone, Debug)]
pub struct Question {
    /// The unit of the vote in bytes.
    pub sector: u32,
    /// Ballots that a version needs; a majority where it isn't given.
    pub threshold: Option<usize>,
    /// The virtual size in bytes, where the user knows it.
    pub size: Option<u64>,
    /// The part to look at.
    pub range: Option<ByteRange>,
    /// Those who vote, as a mask: others are compared, and have no ballot, though they count among the members. All do where it isn't given.
    pub voters: Option<u64>,
    /// What the user calls that part.
    pub range_is: &'static str,
    /// How members are read.
    pub read_pattern: ReadPattern,
    /// The member that is right everywhere.
    pub trust: Option<usize>,
    /// Members that are right in a range.
    pub picks: Vec<(ByteRange, usize)>,
    /// What is taken for a filler: it has no ballot where another member holds something else.
    pub fillers: Fillers,
    /// Parts that are left out of the vote and of all writing; an output takes them from the first member that has them.
    pub skipped: Vec<ByteRange>,
    /// How often what differs is read again before it is believed; see [`Job`](super::Job).
    pub rereads: u32,
    /// Digests that vote.
    pub hearing: Option<Arc<Hearing>>,
    /// Sources that don't vote, whose bytes count where a digest proves them.
    pub donors: Donors,
    /// Fewest members: one alone can be read, and be held against digests.
    pub members_min: usize,
    /// Threads, from 1 to [`THREADS_MAX`].
    pub threads: usize,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            sector: SECTOR_MIN,
            threshold: None,
            size: None,
            range: None,
            voters: None,
            range_is: "--range",
            read_pattern: ReadPattern::Quorum,
            trust: None,
            picks: Vec::new(),
            fillers: Fillers::default(),
            skipped: Vec::new(),
            rereads: 0,
            hearing: None,
            donors: Donors::default(),
            members_min: MEMBERS_MIN,
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
        }
    }
}

/// A question that makes no sense for these members.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// Too few or too many.
    #[error("{0} members can't vote\nhint: name from {MEMBERS_MIN} to {MEMBERS_MAX} copies")]
    Members(usize),
    /// Out of bounds.
    #[error("a threshold of {threshold} makes no sense for {members} members\nhint: from 2 to {members}; a majority is {majority}")]
    Threshold {
        /// As given.
        threshold: usize,
        /// How many there are.
        members: usize,
        /// The default.
        majority: usize,
    },
    /// Not a power of two, or out of bounds.
    #[error("a sector of {0} bytes is not possible\nhint: a power of two from {SECTOR_MIN} to {SECTOR_MAX}")]
    Sector(u32),
    /// Begins or ends outside of the image.
    #[error(
        "{option} {offset:#x}:{length} does not lie within the image, which ends at {size:#x} ({size} bytes)\nhint: offsets from 0 to {size} are possible; --size says another size"
    )]
    Range {
        /// Which option names it.
        option: &'static str,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// The image's size in bytes.
        size: u64,
    },
    /// A range without bytes.
    #[error("{option} {offset:#x}:0 holds no byte\nhint: OFFSET:LENGTH, for instance {offset:#x}:64k")]
    Empty {
        /// Which option names it.
        option: &'static str,
        /// Its offset.
        offset: u64,
    },
    /// A disk of no bytes.
    #[error("--size 0: there is nothing in such an image to vote on\nhint: leave it out, or name a size, for instance --size 10G")]
    NoBytes,
    /// Two decisions for one place.
    #[error("two picks say different things about offset {offset:#x}\nhint: leave one of them out, or make the ranges smaller")]
    PicksOverlap {
        /// The first byte that both name.
        offset: u64,
    },
    /// A member by a number that there isn't.
    #[error("there is no member #{0}\nhint: they are numbered from #0 in the order given")]
    NoMember(usize),
    /// The trusted one can't be read.
    #[error(
        "--trust: member #{0} can't be read as what it is, so there is nothing in it to trust\nhint: trust another one, or let them vote"
    )]
    TrustFailed(usize),
    /// Under fifo nobody is compared.
    #[error(
        "--read-pattern fifo asks one member after the other and compares nothing: it can't go with {0}\nhint: leave one of the two out"
    )]
    Fifo(&'static str),
}

/// What is known before the first sector is read.
#[derive(Clone, Debug)]
pub struct Poll {
    /// How the vote on the size ended.
    pub size_vote: VirtualSize,
    /// Bytes to look at, in all.
    pub size: u64,
    /// The unit of the vote in bytes.
    pub sector: u32,
    /// Ballots that a version needs.
    pub threshold: usize,
    /// Who decides where.
    pub rules: Rules,
    /// The part to look at, in whole sectors.
    pub range: ByteRange,
    /// What is taken for a filler.
    pub fillers: Fillers,
    /// Parts that are left out, in whole sectors: ascending, apart from each other.
    pub skipped: Vec<ByteRange>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The size that all have who have any, where there are two of them.
fn common(sizes: &[Option<u64>]) -> Option<u64> {
    let mut known = sizes.iter().flatten();
    let first = *known.next()?;
    let rest: Vec<u64> = known.copied().collect();
    (!rest.is_empty() && rest.iter().all(|&size| size == first)).then_some(first)
}

/// The default threshold: more than half.
#[must_use]
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

impl Poll {
    /// Takes the poll on the size, and settles who decides where. `sizes` are the members', in bytes; a failed one has none.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn new(sizes: &[Option<u64>], question: &Question) -> Result<Self, QuestionError> {
        let count = sizes.len();
        if !(question.members_min..=MEMBERS_MAX).contains(&count) {
            return Err(QuestionError::Members(count));
        }
        if !question.sector.is_power_of_two() || !(SECTOR_MIN..=SECTOR_MAX).contains(&question.sector) {
            return Err(QuestionError::Sector(question.sector));
        }
        // One alone that nothing is held against can't be outvoted.
        let least = if count == 1 && question.hearing.is_none() { 1 } else { 2 };
        let majority = majority(count).max(least);
        let threshold = question.threshold.unwrap_or(majority);
        if !(least..=count.max(least)).contains(&threshold) {
            return Err(QuestionError::Threshold { threshold, members: count, majority });
        }
        if let Some(&missing) = question.trust.iter().chain(question.picks.iter().map(|(_, member)| member)).find(|&&m| m >= count) {
            return Err(QuestionError::NoMember(missing));
        }
        if question.size == Some(0) {
            return Err(QuestionError::NoBytes);
        }
        let fifo = question.read_pattern == ReadPattern::Fifo;
        if fifo && question.trust.is_some() {
            return Err(QuestionError::Fifo("--trust"));
        }
        let mut warnings = question.hearing.as_ref().map_or_else(Vec::new, |hearing| hearing.warnings.clone());
        if threshold < majority && question.trust.is_none() && !fifo {
            warnings.push(format!(
                "a threshold of {threshold} is below the majority of {count} members ({majority}): a version can win that most members don't hold"
            ));
        }
        let size_vote = match (question.size, question.trust) {
            (Some(size), _) => VirtualSize::Decided(size),
            (None, Some(member)) => VirtualSize::Decided(sizes[member].ok_or(QuestionError::TrustFailed(member))?),
            // What all say nobody has to vote on.
            (None, None) if let (Some(_), Some(size)) = (question.voters, common(sizes)) => VirtualSize::Decided(size),
            (None, None) => {
                let seated = |index: usize| question.voters.is_none_or(|voters| voters >> index & 1 == 1);
                let sizes: Vec<Option<u64>> = sizes.iter().enumerate().map(|(index, size)| size.filter(|_| seated(index))).collect();
                let sizes = &sizes[..];
                let heard = question.hearing.iter().flat_map(|hearing| hearing.sizes(sizes)).map(Some);
                let all: Vec<Option<u64>> = sizes.iter().copied().chain(heard).collect();
                match elect_size(&all, threshold) {
                    // A size that nobody has is nobody's.
                    decided @ VirtualSize::Decided(size) if sizes.contains(&Some(size)) => decided,
                    _ if count == 1 => VirtualSize::Decided(sizes[0].unwrap_or(0)),
                    _ => elect_size(sizes, threshold),
                }
            }
        };
        let size = size_vote.bytes();
        let general = match question.trust {
            _ if fifo => Rule::First,
            Some(member) => Rule::Member(member),
            None => match question.voters {
                Some(voters) => Rule::Seated { threshold, voters },
                None => Rule::Threshold(threshold),
            },
        };
        let mut rules = Rules::new(general);
        if let VirtualSize::Undecided { longest, shortest } = size_vote {
            // Nobody knows whether the disk goes on there; a sector that all of those hold who go on would not settle it.
            let tail = ByteRange::new(shortest, longest).widened(u64::from(question.sector), longest);
            rules.except(tail, Rule::Unanimity);
        }
        for part in &question.skipped {
            rules.except(part.widened(u64::from(question.sector), size), Rule::First);
        }
        let mut picked: Vec<(ByteRange, usize)> = Vec::new();
        for &(range, member) in &question.picks {
            let widened = within(range, size, question.sector, "--pick", &mut warnings)?;
            if let Some(both) = picked.iter().find_map(|&(other, who)| other.and(widened).filter(|_| who != member)) {
                return Err(QuestionError::PicksOverlap { offset: both.start });
            }
            picked.push((widened, member));
            rules.except(widened, Rule::Member(member));
        }
        let range = match question.range {
            Some(range) => within(range, size, question.sector, question.range_is, &mut warnings)?,
            None => ByteRange::new(0, size),
        };
        let mut skipped: Vec<ByteRange> = question.skipped.iter().map(|part| part.widened(u64::from(question.sector), size)).collect();
        skipped.sort_unstable();
        let skipped = ByteRange::joined(skipped);
        Ok(Self {
            size_vote,
            size,
            sector: question.sector,
            threshold,
            rules,
            range,
            fillers: question.fillers.in_sectors(question.sector.into()),
            skipped,
            warnings,
        })
    }
}

impl Poll {
    /// What is voted on: the part to look at without what is left out.
    #[must_use]
    pub fn ranges(&self) -> Vec<ByteRange> {
        self.voted_in(&[self.range])
    }

    /// The same of some parts: these without what is left out.
    #[must_use]
    pub fn voted_in(&self, parts: &[ByteRange]) -> Vec<ByteRange> {
        parts.iter().flat_map(|part| ByteRange::without(&[*part], &self.skipped)).collect()
    }
}

/// The range in whole sectors; what was added is said.
fn within(range: ByteRange, size: u64, sector: u32, option: &'static str, warnings: &mut Vec<String>) -> Result<ByteRange, QuestionError> {
    if range.is_empty() {
        return Err(QuestionError::Empty { option, offset: range.start });
    }
    if range.start >= size {
        return Err(QuestionError::Range { option, offset: range.start, length: range.length(), size });
    }
    let widened = range.widened(u64::from(sector), size);
    if range.end > size {
        warnings.push(format!("{option} {:#x}:{} was cut at the image's end, {size:#x}", range.start, range.length()));
    } else if widened != range {
        warnings.push(format!(
            "{option} {:#x}:{} was widened to whole sectors: {:#x}:{}",
            range.start,
            range.length(),
            widened.start,
            widened.length()
        ));
    }
    Ok(widened)
}

//! What to scan, how, and what comes of it.

use std::{io, sync::Arc, time::Duration};

use super::{
    extents::BLOCK_BYTES,
    hashed::Hashed,
    hearing::Heard,
    poll::{Poll, Question, THREADS_MAX},
    tally::Tally,
};
use crate::{
    digest::{Geometry, Hearing},
    evidence::Evidence,
    member::{Member, ReadsAhead},
    sys::storage::Origin,
    vote::{ByteRange, Fill, Fillers, Rules},
};

/// More threads than cores where they wait for the medium: several requests in flight.
const DIRECT_THREADS_FACTOR: usize = 4;

/// Bytes of differences that one scan reads again: what differs by more than that isn't rot.
const CONFIRMED_BYTES_MAX: u64 = 64 << 20;

/// What a scan reports to and obeys while it runs. Called from all its threads.
pub trait Watch: Sync {
    /// Whether to stop: the scan then ends early, with what is complete up to there.
    fn stopped(&self) -> bool {
        false
    }
    /// So many bytes are about to be read or written; it may wait here.
    fn spend(&self, _bytes: u64) {}
    /// Whether it waits there, so that reading before it is needed would be against somebody's wish.
    fn is_limited(&self) -> bool {
        false
    }
    /// What differs is about to be read again: time to let writers catch up.
    fn pause(&self) {}
    /// Time that has gone by since the run began, as whoever runs it tells; zero where nobody looks at a clock.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
    /// So many bytes of the image are done.
    fn advanced(&self, _bytes: u64) {}
}

/// Nobody watches.
impl Watch for () {}

/// Where the voted bytes go. Called from all threads, in any order, each range once.
pub trait Output: Sync {
    /// Voted bytes at `offset` bytes.
    ///
    /// # Errors
    /// What the system says; the scan ends then.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Voted zeros.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn zeros(&self, range: ByteRange) -> io::Result<()>;
    /// Whether it must be told of zeros that every member holds as holes.
    fn wants_all_zeros(&self) -> bool;
}

/// What to scan, and how.
pub struct Job<'a> {
    /// Those who vote, in the user's order.
    pub(super) members: &'a [&'a dyn Member],
    /// The image's size in bytes.
    pub(super) size: u64,
    /// The unit of the vote in bytes, a power of two from 512 to 65536.
    pub(super) sector: u32,
    /// What to look at: ascending, apart from each other, in whole sectors (or up to `size`).
    pub(super) ranges: &'a [ByteRange],
    /// Who decides where.
    pub(super) rules: &'a Rules,
    /// For `fill`: how many ballots a byte needs.
    pub(super) threshold: usize,
    /// Threads, from 1 to [`THREADS_MAX`]; see [`workers`]. With one alone, the output is written in ascending order.
    pub(super) threads: usize,
    /// Where the voted bytes go, if anywhere, and what goes there for undecided sectors.
    pub(super) output: Option<(&'a dyn Output, Fill)>,
    /// How often what differs is read again before it is believed, with a pause before each: members that are written to one after
    /// the other differ for moments.
    pub(super) rereads: u32,
    /// Whether places of servers that take minutes to say that they can't be read needn't be narrowed down.
    pub(super) in_a_hurry: bool,
    /// Bytes of what differs that are read once more, past the page cache, before they are believed.
    pub(super) confirmed_bytes: u64,
    /// Memory in bytes that the output takes for each thread.
    pub(super) scratch_bytes: usize,
    /// What is known beside the ballots: what members hold and lose is weighed by it, where that is wanted.
    pub(super) evidence: Option<&'a Evidence<'a>>,
    /// What is taken for a filler.
    pub(super) fillers: &'a Fillers,
    /// Digests that vote.
    pub(super) hearing: Option<&'a Hearing>,
    /// Sources whose bytes count where a digest proves them.
    pub(super) donors: &'a [Arc<dyn Member>],
    /// A digest in the making.
    pub(super) hashed: Option<&'a dyn Hashed>,
    /// Who watches.
    pub(super) watch: &'a dyn Watch,
}

impl<'a> Job<'a> {
    /// A vote on `ranges` as `question` and `poll` want it, with no output.
    #[must_use]
    pub fn new(
        members: &'a [&'a dyn Member],
        question: &'a Question,
        poll: &'a Poll,
        ranges: &'a [ByteRange],
        watch: &'a dyn Watch,
    ) -> Self {
        Self {
            members,
            size: poll.size,
            sector: poll.sector,
            ranges,
            rules: &poll.rules,
            threshold: poll.threshold,
            threads: workers(question.threads, members),
            output: None,
            rereads: question.rereads,
            in_a_hurry: false,
            confirmed_bytes: CONFIRMED_BYTES_MAX,
            scratch_bytes: 0,
            evidence: None,
            fillers: &poll.fillers,
            hearing: question.hearing.as_deref(),
            donors: if question.hearing.is_some() { &question.donors.0 } else { &[] },
            hashed: None,
            watch,
        }
    }

    /// The same by other rules than the poll's.
    #[must_use]
    pub fn ruled_by(self, rules: &'a Rules) -> Self {
        Self { rules, ..self }
    }

    /// The same with so many threads, from 1 to [`THREADS_MAX`]. With one alone, the output is written in ascending order.
    #[must_use]
    pub fn in_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The same with the voted bytes handed to `output`, and `fill` where nobody won.
    #[must_use]
    pub fn writing_to(self, output: &'a dyn Output, fill: Fill) -> Self {
        Self { output: Some((output, fill)), ..self }
    }

    /// The same where nothing is going to be written by it: it isn't waited without end for servers that take their time to say of each
    /// sector that it can't be read.
    #[must_use]
    pub fn in_a_hurry(self) -> Self {
        Self { in_a_hurry: true, ..self }
    }

    /// The same, a second time: what differs was read again then, and that is worth doing once more only where some of it was `unstable`.
    #[must_use]
    pub fn as_before(self, unstable: bool) -> Self {
        Self { confirmed_bytes: if unstable { self.confirmed_bytes } else { 0 }, ..self }
    }

    /// The same with what members hold and lose weighed by `evidence`.
    #[must_use]
    pub fn weighing(self, evidence: &'a Evidence<'a>) -> Self {
        Self { evidence: Some(evidence), ..self }
    }

    /// The same with a digest made of what is voted.
    #[must_use]
    pub fn hashed_by(self, hashed: &'a dyn Hashed) -> Self {
        Self { hashed: Some(hashed), ..self }
    }

    /// The ways in which the image is cut into chunks that are hashed, each once.
    pub(super) fn geometries(&self) -> Vec<Geometry> {
        let mut all = self.hearing.map_or_else(Vec::new, Hearing::geometries);
        if let Some(hashed) = self.hashed.map(Hashed::geometry)
            && !all.contains(&hashed)
        {
            all.push(hashed);
        }
        all
    }

    /// What members' states are narrowed down to, in bytes: a chunk that is hashed is never half known.
    pub(super) fn grain(&self) -> u64 {
        let chunks = self.geometries().into_iter().map(|geometry| geometry.chunk_bytes).max().unwrap_or(0);
        BLOCK_BYTES.max(u64::from(self.sector)).max(chunks)
    }

    /// The same where the output takes so many bytes of memory for each thread.
    #[must_use]
    pub fn with_scratch(self, scratch_bytes: usize) -> Self {
        Self { scratch_bytes, ..self }
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The totals.
    pub tally: Tally,
    /// Bytes of the ranges that were looked at; all of them unless it was stopped.
    pub scanned_bytes: u64,
    /// Whether the scan came to its end.
    pub complete: bool,
    /// Why a member failed, for each of them.
    pub failures: Vec<Option<String>>,
    /// Members, by number, that failed only when all was read: their ballots are counted, and aren't to be relied on.
    pub late: Vec<usize>,
    /// For each member: whether what can't be read of it took so long to say so that it was no longer narrowed down.
    pub hurried: Vec<bool>,
    /// Whether what members hold and lose was weighed.
    pub weighed: bool,
    /// Undecided sectors for which the output got no bytes.
    pub unfilled_sectors: u64,
    /// What witnesses said.
    pub heard: Heard,
    /// Why a donor could give no more, for each of them; none at all where there are none.
    pub donor_failures: Vec<Option<String>>,
    /// Sectors that a donor couldn't read where they were wanted, for each of them; a place may be counted more than once.
    pub donor_unread: Vec<u64>,
}

impl Outcome {
    /// Nothing looked at yet of so many members.
    #[must_use]
    pub fn unscanned(members: usize) -> Self {
        Self { tally: Tally::new(members), failures: vec![None; members], hurried: vec![false; members], ..Self::default() }
    }

    /// Takes what was found in another part, of the same members. Whoever failed there has failed.
    pub fn join(&mut self, other: Self) {
        self.tally.join(&other.tally);
        self.scanned_bytes += other.scanned_bytes;
        self.complete &= other.complete;
        self.weighed |= other.weighed;
        self.unfilled_sectors += other.unfilled_sectors;
        self.heard.add(other.heard);
        for (own, other) in self.failures.iter_mut().zip(other.failures) {
            if own.is_none() {
                *own = other;
            }
        }
        self.hurried.iter_mut().zip(other.hurried).for_each(|(own, other)| *own |= other);
        self.late.extend(other.late);
        self.late.sort_unstable();
        self.late.dedup();
    }
}

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The output took no more.
    #[error("writing {length} bytes at offset {offset:#x}: {error}")]
    Write {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// The system's word.
        error: io::Error,
    },
    /// The divergences found nobody to take them.
    #[error("{0}")]
    Sink(io::Error),
    /// No threads to be had.
    #[error("no threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// The members' sizes in bytes, as the vote on them takes them: a failed member has none.
#[must_use]
pub fn sizes(members: &[&dyn Member]) -> Vec<Option<u64>> {
    members.iter().map(|member| member.failure().is_none().then(|| member.size())).collect()
}

/// Threads that keep `threads` processors busy: more of them where they wait for the medium, for several requests in flight.
#[must_use]
pub fn workers(threads: usize, members: &[&dyn Member]) -> usize {
    let direct = members.iter().any(|member| member.origin() != Origin::Cache && member.reads_ahead() == ReadsAhead::Never);
    if direct { (threads * DIRECT_THREADS_FACTOR).min(THREADS_MAX) } else { threads }
}

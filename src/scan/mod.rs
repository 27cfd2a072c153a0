//! The engine: walks a range of the members in parallel, compares them at a glance, narrows down what differs, and delivers the
//! divergences in order.

mod check;
mod chunk;
mod composed;
mod extents;
mod feeder;
mod findings;
mod ordered;
mod poll;
mod private;
mod tally;
mod worker;

#[cfg(test)]
mod oracle;

use std::{
    io,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub use check::{Checked, Listener, check, make_report, newer_warnings};
pub use findings::{Findings, Limits};
pub use poll::{Poll, Question, QuestionError, majority};
pub use tally::{MemberTally, Tally};

use crate::{
    member::Member,
    vote::{ByteRange, Fill, Rules, Run},
};

/// Bytes of the image that a thread takes on at a time, and maps of each member; less where there are many threads, since each
/// window may hold 100 bytes of result for each of its sectors.
const WINDOW_BYTES: u64 = 16 << 20;
/// Threads that may have windows of full length.
const WINDOW_THREADS: usize = 8;
/// Where windows start: a multiple of every page size in use.
const WINDOW_ALIGNMENT: u64 = 64 << 10;
/// Private memory for chunks of all members in all threads together.
const CHUNKS_BYTES_MAX: usize = 96 << 20;
/// Memory that reads of all threads together may take beside that: a thread reads one member at a time.
const SCRATCH_BYTES_MAX: usize = 64 << 20;
/// The chunk compared at a glance where members are mapped: the first one's part stays in the processor's cache for the others.
const CHUNK_BYTES: usize = 128 << 10;
/// The chunk where members are read: fewer, larger requests keep a device busy.
const CHUNK_BYTES_READ: usize = 1 << 20;
/// The smallest chunk: a largest sector.
const CHUNK_BYTES_MIN: usize = 64 << 10;
/// Less data than this between holes is read, not mapped: for a few pages copying costs less than faults and unmapping do
/// (docs/performance.md).
const MAPPED_BYTES_MIN: u64 = 4 << 20;
/// Nor is a window as short as this mapped, where it stands alone: a list of places to look at again may be long.
const MAPPED_ALONE_BYTES_MIN: u64 = 64 << 10;
/// What a differing chunk is narrowed down to before its bytes are copied and voted on.
const BLOCK_BYTES: u64 = 4096;
/// More threads than cores where they wait for the medium: several requests in flight.
const DIRECT_THREADS_FACTOR: usize = 4;
/// Most threads; beyond that the windows' results alone would pass the memory's bound.
pub const THREADS_MAX: usize = 64;

/// What a scan reports to and obeys while it runs. Called from all its threads.
pub trait Watch: Sync {
    /// Whether to stop: the scan then ends early, with what is complete up to there.
    fn stopped(&self) -> bool {
        false
    }
    /// So many bytes are about to be read or written; it may wait here.
    fn spend(&self, _bytes: u64) {}
    /// What differs is about to be read again: time to let writers catch up.
    fn pause(&self) {}
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
    pub members: &'a [&'a dyn Member],
    /// The image's size in bytes.
    pub size: u64,
    /// The unit of the vote in bytes, a power of two from 512 to 65536.
    pub sector: u32,
    /// What to look at: ascending, apart from each other, in whole sectors (or up to `size`).
    pub ranges: &'a [ByteRange],
    /// Who decides where.
    pub rules: &'a Rules,
    /// For `fill`: how many ballots a byte needs.
    pub threshold: usize,
    /// Threads, from 1 to [`THREADS_MAX`]; see [`workers`]. With one alone, the output is written in ascending order.
    pub threads: usize,
    /// Where the voted bytes go, if anywhere, and what goes there for undecided sectors.
    pub output: Option<(&'a dyn Output, Fill)>,
    /// How often what differs is read again before it is believed, with a pause before each: members that are written to one after
    /// the other differ for moments.
    pub rereads: u32,
    /// Memory in bytes that the output takes for each thread.
    pub scratch_bytes: usize,
    /// Who watches.
    pub watch: &'a dyn Watch,
}

impl<'a> Job<'a> {
    /// A vote on `ranges` as `question` and `poll` want it, with no output.
    #[must_use]
    pub fn new(members: &'a [&'a dyn Member], question: &Question, poll: &'a Poll, ranges: &'a [ByteRange], watch: &'a dyn Watch) -> Self {
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
            scratch_bytes: 0,
            watch,
        }
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
    /// Undecided sectors for which the output got no bytes.
    pub unfilled_sectors: u64,
}

impl Outcome {
    /// Nothing looked at yet of so many members.
    #[must_use]
    pub fn unscanned(members: usize) -> Self {
        Self { tally: Tally::new(members), failures: vec![None; members], ..Self::default() }
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

/// What all threads of a scan share.
struct Shared<'a> {
    job: &'a Job<'a>,
    failures: Vec<OnceLock<String>>,
    /// The first error; it ends the scan.
    error: Mutex<Option<ScanError>>,
    ended: AtomicBool,
    chunk_bytes: usize,
}

/// Ends the scan for all threads where one of them panics.
struct EndOnPanic<'a> {
    shared: &'a Shared<'a>,
    wake: &'a dyn Fn(),
}

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.ended.store(true, Ordering::Relaxed);
            (self.wake)();
        }
    }
}

impl Shared<'_> {
    fn fail(&self, error: ScanError) {
        self.error.lock().expect("no thread panics with it").get_or_insert(error);
        self.ended.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.job.watch.stopped()
    }
}

/// Scans; `sink` gets every divergence, in ascending order.
///
/// # Errors
/// Where the output or the sink takes no more. What members say or fail to say is no error but part of the outcome.
///
/// # Panics
/// Where the job breaks a rule that its fields name.
pub fn scan(job: &Job, sink: &mut (dyn FnMut(&Run) -> io::Result<()> + Send)) -> Result<Outcome, ScanError> {
    assert!(job.sector.is_power_of_two() && (crate::vote::SECTOR_MIN..=crate::vote::SECTOR_MAX).contains(&job.sector));
    assert!((1..=crate::vote::MEMBERS_MAX).contains(&job.members.len()) && (1..=THREADS_MAX).contains(&job.threads));
    let (threads, chunk_bytes) = dimensions(job);
    let shared = Shared {
        job,
        failures: job
            .members
            .iter()
            .map(|member| member.failure().map_or_else(OnceLock::new, |why| OnceLock::from(why.to_owned())))
            .collect(),
        error: Mutex::new(None),
        ended: AtomicBool::new(false),
        chunk_bytes,
    };
    let feeder = Mutex::new(feeder::Feeder::new(job, window_bytes(threads)));
    let delivery = ordered::Delivery::new(threads, job.sector, job.members.len(), sink);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("scan-{n}")).build()?;
    pool.broadcast(|_| {
        // A thread that panics delivers nothing more: nobody may wait for it.
        let _end = EndOnPanic { shared: &shared, wake: &|| delivery.wake_all() };
        let mut worker = worker::Worker::new(&shared);
        while let Some(window) =
            delivery.wait_for_room(|| shared.stopped()).then(|| feeder.lock().expect("no panics").next(&shared)).flatten()
        {
            let result = worker.window(&window);
            if let Err(error) = delivery.deliver(window.index, result) {
                shared.fail(ScanError::Sink(error));
            }
        }
        delivery.wake_all();
    });
    let looked_at_all = feeder.into_inner().expect("no panics").exhausted();
    let (mut outcome, closed) = delivery.finish();
    if let Some(error) = shared.error.into_inner().expect("no panics") {
        return Err(error);
    }
    closed.map_err(ScanError::Sink)?;
    outcome.complete &= looked_at_all;
    if outcome.complete {
        outcome.scanned_bytes = job.ranges.iter().map(|range| range.length()).sum();
    }
    outcome.failures = shared.failures.into_iter().map(OnceLock::into_inner).collect();
    Ok(outcome)
}

/// The members' sizes in bytes, as the vote on them takes them: a failed member has none.
#[must_use]
pub fn sizes(members: &[&dyn Member]) -> Vec<Option<u64>> {
    members.iter().map(|member| member.failure().is_none().then(|| member.size())).collect()
}

/// Threads that keep `threads` processors busy: more of them where they wait for the medium, for several requests in flight.
#[must_use]
pub fn workers(threads: usize, members: &[&dyn Member]) -> usize {
    let direct = members.iter().any(|member| member.reads_medium());
    if direct { (threads * DIRECT_THREADS_FACTOR).min(THREADS_MAX) } else { threads }
}

/// Bytes of a window where so many threads work.
fn window_bytes(threads: usize) -> u64 {
    WINDOW_BYTES >> threads.div_ceil(WINDOW_THREADS).next_power_of_two().ilog2()
}

/// How many threads, and how large the chunks: all private copies together stay within [`CHUNKS_BYTES_MAX`].
fn dimensions(job: &Job) -> (usize, usize) {
    let buffers = job.members.len() + 2;
    let scratch = job.members.iter().map(|member| member.scratch_bytes()).max().unwrap_or(0).max(job.scratch_bytes);
    let threads = job.threads.min(CHUNKS_BYTES_MAX / (buffers * CHUNK_BYTES_MIN)).min(SCRATCH_BYTES_MAX / scratch.max(1)).max(1);
    let mapped = job.members.iter().all(|member| member.mappable());
    let wanted = if mapped { CHUNK_BYTES } else { CHUNK_BYTES_READ };
    let room = CHUNKS_BYTES_MAX / (buffers * threads);
    let fits = 1 << room.max(1).ilog2();
    (threads, wanted.min(fits).max(CHUNK_BYTES_MIN))
}

//! A scan from end to end: threads take windows, and deliver what they find in order.

use std::{
    io,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    answers::Answers,
    feeder::Feeder,
    job::{Job, Outcome, ScanError},
    look_ahead::LookAhead,
    manner::Manners,
    ordered::Delivery,
    poll::THREADS_MAX,
    shared::Shared,
    worker::Worker,
};
use crate::vote::Run;

/// Bytes of the image that a thread takes on at a time, and maps of each member; less where there are many threads, since each
/// window may hold 100 bytes of result for each of its sectors.
const WINDOW_BYTES: u64 = 16 << 20;
/// Threads that may have windows of full length.
const WINDOW_THREADS: usize = 8;
/// Private memory for chunks of all members in all threads together.
const CHUNKS_BYTES_MAX: usize = 96 << 20;
/// Memory that reads of all threads together may take beside that: a thread reads one member at a time.
const SCRATCH_BYTES_MAX: usize = 64 << 20;
/// The chunk compared at a glance where members are mapped: the first one's part stays in the processor's cache for the others.
const CHUNK_BYTES: usize = 256 << 10;
/// The chunk where members are read: fewer, larger requests keep a device busy.
const CHUNK_BYTES_READ: usize = 1 << 20;
/// The smallest chunk: a largest sector.
const CHUNK_BYTES_MIN: usize = 64 << 10;

/// Scans; `sink` gets every divergence, in ascending order.
///
/// # Errors
/// Where the output or the sink takes no more. What members say or fail to say is no error but part of the outcome.
///
/// # Panics
/// Where the job breaks a rule that its fields name.
pub fn scan(job: &Job, sink: &mut (dyn FnMut(&Run) -> io::Result<()> + Send)) -> Result<Outcome, ScanError> {
    match scan_as_far(job, sink) {
        (outcome, None) => Ok(outcome),
        (_, Some(error)) => Err(error),
    }
}

/// Scans likewise. Where the output or the sink takes no more the outcome is that of the part before, not complete, with the error beside it.
///
/// # Panics
/// As [`scan`].
pub fn scan_as_far(job: &Job, sink: &mut (dyn FnMut(&Run) -> io::Result<()> + Send)) -> (Outcome, Option<ScanError>) {
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
        manners: Manners::new(job.members.len()),
        answers: job.members.iter().map(|_| Answers::default()).collect(),
        waited_ms: job.members.iter().map(|_| AtomicU64::new(0)).collect(),
        rereaders: OnceLock::new(),
        unconfirmed: AtomicU64::new(job.confirmed_bytes),
        geometries: job.geometries(),
        grain: job.grain(),
        combining_ms: AtomicU64::new(0),
        donor_failures: job.donors.iter().map(|_| OnceLock::new()).collect(),
        donor_unread: job.donors.iter().map(|_| AtomicU64::new(0)).collect(),
    };
    let ahead = LookAhead::of(job);
    let window_bytes = ahead.as_ref().map_or_else(|| window_bytes(threads), LookAhead::window_bytes);
    let feeder = Mutex::new(Feeder::new(job, window_bytes, ahead));
    let delivery = Delivery::new(threads, job.sector, job.members.len(), job.hashed, sink);
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("scan-{n}")).build() {
        Ok(pool) => pool,
        Err(error) => return (Outcome::unscanned(job.members.len()), Some(error.into())),
    };
    pool.broadcast(|_| {
        // A thread that panics delivers nothing more: nobody may wait for it.
        let _end = EndOnPanic { shared: &shared, wake: &|| delivery.wake_all() };
        let mut worker = Worker::new(&shared);
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
    job.members.iter().for_each(|member| member.forget_ahead());
    let mut late = Vec::new();
    // Up to here it was read; whether that was a member that can still be asked, under locks that still hold, shows now.
    for (index, member) in job.members.iter().enumerate() {
        // Where the run is to end no server is given the time to answer; what was found so far is told as that.
        if shared.failures[index].get().is_some() || shared.stopped() {
            continue;
        }
        if let Some(why) = member.gone() {
            // What it said has been counted; it isn't asked any more.
            late.push(index);
            let servers = member.files().into_iter().filter_map(|file| file.served().server());
            servers.for_each(|server| server.fall_silent(&why));
            shared.member_failed(index, why);
        }
    }
    let feeder = feeder.into_inner().expect("no panics");
    let looked_at_all = feeder.exhausted();
    let (mut outcome, closed) = delivery.finish();
    outcome.heard.add(feeder.heard());
    outcome.hurried = (0..job.members.len()).map(|member| shared.hurries(member)).collect();
    let error = shared.error.into_inner().expect("no panics").or(closed.err().map(ScanError::Sink));
    outcome.complete &= looked_at_all && error.is_none();
    if outcome.complete {
        outcome.scanned_bytes = job.ranges.iter().map(|range| range.length()).sum();
    }
    outcome.weighed = job.evidence.is_some();
    outcome.late = late;
    outcome.donor_unread = shared.donor_unread.into_iter().map(AtomicU64::into_inner).collect();
    outcome.donor_failures = shared.donor_failures.into_iter().map(OnceLock::into_inner).collect();
    outcome.failures = shared.failures.into_iter().map(OnceLock::into_inner).collect();
    (outcome, error)
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

/// Bytes of a window where so many threads work.
fn window_bytes(threads: usize) -> u64 {
    WINDOW_BYTES >> threads.div_ceil(WINDOW_THREADS).next_power_of_two().ilog2()
}

/// How many threads, and how large the chunks: all private copies together stay within [`CHUNKS_BYTES_MAX`].
fn dimensions(job: &Job) -> (usize, usize) {
    // Of each member one, zeros, the votes, and two as members keep them.
    let buffers = job.members.len() + 4;
    let scratch = job.members.iter().map(|member| member.scratch_bytes()).max().unwrap_or(0).max(job.scratch_bytes);
    // A chunk that is hashed is held as a whole.
    let least = CHUNK_BYTES_MIN.max(job.grain() as usize);
    // Each thread has room for one more of each member's, of which only a part is looked at.
    let buffers = if job.hearing.is_some() { 2 * buffers + job.donors.len() } else { buffers };
    let threads = job.threads.min(CHUNKS_BYTES_MAX / (buffers * least)).min(SCRATCH_BYTES_MAX / scratch.max(1)).max(1);
    let mapped = job.members.iter().all(|member| member.mappable());
    let wanted = if mapped { CHUNK_BYTES } else { CHUNK_BYTES_READ };
    let room = CHUNKS_BYTES_MAX / (buffers * threads);
    let fits = 1 << room.max(1).ilog2();
    (threads, wanted.min(fits).max(least))
}

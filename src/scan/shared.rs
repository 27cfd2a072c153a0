//! What all threads of a scan share.

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{
    answers::Answers,
    job::{Job, ScanError},
    manner::Manners,
};
use crate::digest::Geometry;

/// Where windows start: a multiple of every page size in use.
pub(super) const WINDOW_ALIGNMENT: u64 = 64 << 10;
/// Less data than this between holes is read, not mapped: for a few pages copying costs less than faults and unmapping do
/// (docs/performance.md).
pub(super) const MAPPED_BYTES_MIN: u64 = 4 << 20;
/// Nor is a window as short as this mapped, where it stands alone: a list of places to look at again may be long.
pub(super) const MAPPED_ALONE_BYTES_MIN: u64 = 64 << 10;

/// What all threads of a scan share.
pub(super) struct Shared<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) failures: Vec<OnceLock<String>>,
    /// The first error; it ends the scan.
    pub(super) error: Mutex<Option<ScanError>>,
    pub(super) ended: AtomicBool,
    pub(super) chunk_bytes: usize,
    pub(super) manners: Manners,
    pub(super) answers: Vec<Answers>,
    /// For each member the milliseconds that readings took which failed.
    pub(super) waited_ms: Vec<AtomicU64>,
    /// Bytes of differences that may still be read again.
    pub(super) unconfirmed: AtomicU64,
    /// Those who read again what differs, once anything does.
    pub(super) rereaders: OnceLock<Option<ThreadPool>>,
    /// The ways in which chunks are hashed, and what states are narrowed down to for that; see [`Job::grain`].
    pub(super) geometries: Vec<Geometry>,
    pub(super) grain: u64,
    /// Milliseconds that went into combinations.
    pub(super) combining_ms: AtomicU64,
    /// Why a donor isn't asked any more.
    pub(super) donor_failures: Vec<OnceLock<String>>,
    /// Sectors that a donor couldn't read where they were wanted.
    pub(super) donor_unread: Vec<AtomicU64>,
}

/// Readings of what differs that are under way at once.
const REREADERS: usize = 8;

/// Time in milliseconds for readings of a server that fail, one by one, in all: from then on what can't be read isn't narrowed down further than
/// to blocks of so many bytes.
const WAITED_MS_MAX: u64 = 120_000;
pub(super) const HURRIED_BYTES: u64 = 64 << 10;

impl Shared<'_> {
    /// Notes that a member failed as a whole; the first word counts.
    pub(super) fn member_failed(&self, member: usize, why: String) {
        let _ = self.failures[member].set(why);
    }

    /// Notes that a reading of a server failed after so long; who holds its bytes on this machine has all the time.
    pub(super) fn waited(&self, member: usize, time: Duration) {
        if self.job.members[member].is_served() {
            self.waited_ms[member].fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Whether that took too long already to go on with it.
    pub(super) fn hurries(&self, member: usize) -> bool {
        self.job.in_a_hurry && self.waited_ms[member].load(Ordering::Relaxed) >= WAITED_MS_MAX
    }

    /// Time that went into combinations so far.
    pub(super) fn combining(&self) -> Duration {
        Duration::from_millis(self.combining_ms.load(Ordering::Relaxed))
    }

    /// Notes time that went into them.
    pub(super) fn has_combined(&self, time: Duration) {
        self.combining_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Those who read again what differs; none where threads can't be had.
    pub(super) fn rereaders(&self) -> Option<&ThreadPool> {
        let build = || ThreadPoolBuilder::new().num_threads(REREADERS).thread_name(|n| format!("again-{n}")).build().ok();
        self.rereaders.get_or_init(build).as_ref()
    }

    pub(super) fn fail(&self, error: ScanError) {
        self.error.lock().expect("no thread panics with it").get_or_insert(error);
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.job.watch.stopped()
    }
}

//! The ceiling of the writing: the least work that any journalled repair in place must do once it knows what is bad. Writes a
//! journal's bytes one after the other and syncs them; then the bad blocks past the page cache, many at once, and syncs those. No
//! vote, no look at what was there, nothing is read back. It runs as a process of its own, since its rivals do.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// What is written at a time: a page, the least that the page cache would write as well.
pub const BLOCK_BYTES: u64 = 4096;
/// How many writes are under way at a time.
const IN_FLIGHT: usize = 32;
/// How much of the journal is written at once.
const STEP_BYTES: usize = 1 << 20;

/// What to do.
pub struct Work {
    /// Length of the journal.
    pub journal_bytes: u64,
    /// The journal, which isn't there yet.
    pub journal: PathBuf,
    /// The offsets of the bad blocks, each a u64 of this machine's byte order.
    pub offsets: PathBuf,
    /// Where the right bytes are.
    pub good: PathBuf,
    /// Where they go.
    pub bad: PathBuf,
}

/// A block as direct writing wants it.
#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES as usize]);

/// Exit code 0, or 2 where it couldn't be done.
pub fn main(work: &Work) -> ExitCode {
    match write_journal(work).and_then(|()| write_blocks(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("write ceiling: {error}");
            ExitCode::from(2)
        }
    }
}

/// Writes as many bytes as the journal has.
fn write_journal(work: &Work) -> io::Result<()> {
    let mut journal = File::create_new(&work.journal)?;
    let step = vec![0x5A; STEP_BYTES];
    let mut left = work.journal_bytes;
    while left > 0 {
        let count = left.min(STEP_BYTES as u64);
        journal.write_all(&step[..count as usize])?;
        left -= count;
    }
    journal.sync_all()
}

/// Writes the blocks. Threads take one after the other from one counter.
fn write_blocks(work: &Work) -> io::Result<()> {
    let offsets: Vec<u64> = fs::read(&work.offsets)?.as_chunks().0.iter().map(|&bytes| u64::from_ne_bytes(bytes)).collect();
    let good = File::open(&work.good)?;
    let bad = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&work.bad)?;
    let next = AtomicUsize::new(0);
    let worker = || -> io::Result<()> {
        let mut block = Box::new(Block([0; BLOCK_BYTES as usize]));
        while let Some(&offset) = offsets.get(next.fetch_add(1, Ordering::Relaxed)) {
            good.read_exact_at(&mut block.0, offset)?;
            bad.write_all_at(&block.0, offset)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker doesn't panic"))
    })?;
    bad.sync_all()
}

//! The ceiling: the least work that any check of warm files must do. Maps windows of every file and compares them by memcmp; no vote,
//! no holes, no errors handled. It runs as a process of its own, since its rivals do.

use std::{
    fs::File,
    io,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use memmap2::{MmapOptions, MmapRaw};

/// How much of each file is mapped at once.
const WINDOW_BYTES: u64 = 16 << 20;
/// How much is compared at once: small enough that the first file's part stays in the cache for the others.
const CHUNK_BYTES: usize = 256 << 10;

/// Exit code 0 where the files are alike over the first one's length, 1 where they differ, 2 where that couldn't be found out.
pub fn main(threads: usize, files: &[PathBuf]) -> ExitCode {
    match alike(threads, files) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("ceiling: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the files are alike over the first one's length. Threads take window after window from one counter.
fn alike(threads: usize, files: &[PathBuf]) -> io::Result<bool> {
    let files = files.iter().map(File::open).collect::<io::Result<Vec<_>>>()?;
    let lengths = files.iter().map(|file| Ok(file.metadata()?.len())).collect::<io::Result<Vec<_>>>()?;
    let size = lengths.first().copied().unwrap_or(0);
    if lengths.iter().any(|&length| length < size) {
        return Ok(false); // mapped past its end it would raise SIGBUS
    }
    let next = AtomicU64::new(0);
    let worker = || -> io::Result<bool> {
        let mut alike = true;
        loop {
            let offset = next.fetch_add(WINDOW_BYTES, Ordering::Relaxed);
            if offset >= size {
                return Ok(alike);
            }
            alike &= window_alike(&files, offset, WINDOW_BYTES.min(size - offset) as usize)?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_fold(true, |alike, worker| Ok(alike & worker.join().expect("a worker doesn't panic")?))
    })
}

/// Whether one window of all the files holds the same bytes.
fn window_alike(files: &[File], offset: u64, length: usize) -> io::Result<bool> {
    let map = |file| MmapOptions::new().offset(offset).len(length).map_raw_read_only(file);
    let maps: Vec<MmapRaw> = files.iter().map(map).collect::<io::Result<_>>()?;
    let mut alike = true;
    for start in (0..length).step_by(CHUNK_BYTES) {
        let count = CHUNK_BYTES.min(length - start);
        for other in &maps[1..] {
            // SAFETY: `start + count <= length`, and both mappings are that long, alive, and within their files, which nobody
            // changes during a race. The bytes are read through raw pointers only.
            let order = unsafe { libc::memcmp(maps[0].as_ptr().add(start).cast(), other.as_ptr().add(start).cast(), count) };
            alike &= order == 0;
        }
    }
    Ok(alike)
}

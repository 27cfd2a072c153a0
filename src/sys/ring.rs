//! Many reads in flight by one thread, handed to the kernel in their order: `io_uring(7)`.

use std::{fs::File, io, ops::Range, os::fd::AsRawFd, time::Duration};

use io_uring::{IoUring, opcode, types::Fd};

use super::buffer::Buffer;

/// How long a kernel that has no memory for a request is left alone, and how often before it is asked no more.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSES_MAX: u32 = 1000;

/// The least that a buffer holds that is used again, in bytes, and what all of them take at most, about.
const SPARE_BYTES_MIN: usize = 16 << 10;
const SPARE_BYTES_MAX: usize = 1 << 20;

/// A read that came to its end.
pub struct Done {
    /// What it was called.
    pub token: u64,
    /// Where its bytes are, as many as `read` says; anything behind them.
    pub buffer: Buffer,
    /// How many bytes; fewer than asked for at the file's end, and wherever the kernel likes.
    pub read: io::Result<usize>,
}

/// Reads in flight. Their buffers belong to it until they have come to their end.
pub struct Ring {
    // Dropped after what is in flight was waited for.
    kernel: IoUring,
    slots: Vec<Option<(u64, Buffer)>>,
    in_flight: usize,
    /// Buffers of reads that are done, for others.
    spare: Vec<Buffer>,
    /// What the kernel made of a request can't be told any more.
    broken: bool,
}

impl Ring {
    /// A ring for at most `depth` reads at a time.
    ///
    /// # Errors
    /// What the kernel says: it may know no rings, or let this program have none (`kernel.io_uring_disabled`, seccomp).
    pub fn new(depth: u32) -> io::Result<Self> {
        let kernel = IoUring::builder().dontfork().build(depth)?;
        Ok(Self { kernel, slots: (0..depth).map(|_| None).collect(), in_flight: 0, spare: Vec::new(), broken: false })
    }

    /// How many more reads it takes.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.broken { 0 } else { self.slots.len() - self.in_flight }
    }

    /// How many reads are on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts reads of `file`: each from an offset on, in bytes, of so many bytes (no more than its buffer has), with a token that names it.
    /// Those for which there is no room aren't started.
    pub fn start(&mut self, file: &File, reads: impl IntoIterator<Item = (u64, usize, Buffer, u64)>) {
        let mut free = 0;
        for (offset, length, mut buffer, token) in reads {
            let Some(slot) = (free..self.slots.len()).find(|&slot| self.slots[slot].is_none()).filter(|_| self.room() > 0) else { break };
            free = slot + 1;
            let length = u32::try_from(length.min(buffer.len())).unwrap_or(u32::MAX);
            let read = opcode::Read::new(Fd(file.as_raw_fd()), buffer.as_mut_ptr(), length).offset(offset).build().user_data(slot as u64);
            // SAFETY: the buffer's memory doesn't move with it, holds `length` bytes, and is kept in the slot, where nobody touches it, until
            // the kernel has told that it is done with it (`wait`, `drop`), or for ever. The file stays open until the request was handed
            // over, below, from when on the kernel holds it itself.
            let pushed = unsafe { self.kernel.submission().push(&read) };
            if pushed.is_err() {
                break; // as long as the slots: it can't be full
            }
            self.slots[slot] = Some((token, buffer));
            self.in_flight += 1;
        }
        self.hand_over(0);
    }

    /// Hands over what was pushed, and waits for so many to be done.
    fn hand_over(&mut self, wanted: usize) {
        let mut pauses = 0;
        loop {
            let result = self.kernel.submit_and_wait(wanted);
            let left = !self.kernel.submission().is_empty();
            match result {
                Ok(_) if !left => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No memory for a request at this moment, or too many that are done: one of them makes room.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) && pauses < PAUSES_MAX => {
                    pauses += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// A buffer for so many bytes, at least one: one of those that were kept, if it is long enough.
    pub fn buffer(&mut self, length: usize) -> Buffer {
        let fits = self.spare.pop().filter(|buffer| buffer.len() >= length);
        fits.unwrap_or_else(|| Buffer::new(length.max(SPARE_BYTES_MIN)))
    }

    /// Keeps a buffer for other reads, unless there are enough.
    pub fn keep(&mut self, buffer: Buffer) {
        if self.spare.iter().map(|buffer| buffer.len()).sum::<usize>() < SPARE_BYTES_MAX {
            self.spare.push(buffer);
        }
    }

    /// One that is done, in any order, without waiting.
    pub fn ready(&mut self) -> Option<Done> {
        if self.broken {
            return None;
        }
        let entry = self.kernel.completion().next()?;
        let (token, buffer) = self.slots.get_mut(entry.user_data() as usize).and_then(Option::take)?;
        self.in_flight -= 1;
        let read = usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
        Some(Done { token, buffer, read })
    }

    /// Waits for one that is done, in any order; none where none is on its way.
    pub fn wait(&mut self) -> Option<Done> {
        loop {
            if self.in_flight == 0 || self.broken {
                return None;
            }
            if let Some(done) = self.ready() {
                return Some(done);
            }
            self.hand_over(1);
        }
    }

    /// Does many reads, each of whole blocks of a file and with a number of its own, and hands on what was read of each, in any order; those of which nothing is
    /// heard failed. From so many bytes in flight on no more are started.
    pub fn read_each<'f>(
        &mut self,
        reads: impl IntoIterator<Item = (u64, &'f File, Range<u64>)>,
        bytes_max: usize,
        mut each: impl FnMut(u64, &[u8]),
    ) {
        let mut reads = reads.into_iter();
        let mut in_flight = 0;
        loop {
            while self.room() > 0 && in_flight < bytes_max {
                let Some((token, file, range)) = reads.next() else { break };
                let length = (range.end - range.start) as usize;
                let buffer = self.buffer(length);
                in_flight += buffer.len();
                self.start(file, [(range.start, length, buffer, token)]);
            }
            let Some(Done { token, buffer, read }) = self.wait() else { return };
            in_flight -= buffer.len();
            if let Ok(read) = read {
                each(token, &buffer[..read]);
            }
            self.keep(buffer);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.wait().is_some() {}
        // What the kernel may still write to is nobody else's memory.
        for (_, buffer) in self.slots.drain(..).flatten() {
            std::mem::forget(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Buffer, Ring};

    fn ring(depth: u32) -> Option<Ring> {
        match Ring::new(depth) {
            Ok(ring) => Some(ring),
            Err(error) => {
                // Not eprintln: the harness would keep that to itself. No tool is missing: some machines let nobody have one.
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: no io_uring here: {error}\n").as_bytes());
                None
            }
        }
    }

    #[test]
    fn each_read_brings_its_own_bytes() {
        let Some(mut ring) = ring(8) else { return };
        let mut file = tempfile::tempfile().expect("a temporary file");
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).expect("it can be written");
        assert!(ring.wait().is_none(), "nothing is on its way");
        for _ in 0..50 {
            ring.start(&file, (0..12).map(|n| (n * 9000, 8192, Buffer::new(8192), n)));
            assert_eq!((ring.in_flight(), ring.room()), (8, 0), "no more than there is room for");
            let mut seen = Vec::new();
            while let Some(done) = ring.wait() {
                let at = done.token as usize * 9000;
                let read = done.read.expect("it can be read");
                assert_eq!(done.buffer[..read], bytes[at..at + 8192], "read {}", done.token);
                seen.push(done.token);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..8).collect::<Vec<_>>());
        }
        ring.start(&file, [(98_000, 8192, Buffer::new(8192), 7), (1 << 40, 8192, Buffer::new(8192), 8)]);
        let mut ends: Vec<_> =
            std::iter::from_fn(|| ring.wait()).map(|done| (done.token, done.read.expect("the end is no error"))).collect();
        ends.sort_unstable();
        assert_eq!(ends, [(7, 2000), (8, 0)]);
    }

    #[test]
    fn more_reads_than_there_is_room_for() {
        let Some(mut ring) = ring(4) else { return };
        let mut file = tempfile::tempfile().expect("a temporary file");
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).expect("it can be written");
        let folder = std::fs::File::open("/").expect("a folder");
        let wanted = |n: u64| n * 7919..n * 7919 + 1 + n * 300 % 40_000;
        let reads = (0..140).map(|n| (n, if n % 10 == 3 { &folder } else { &file }, wanted(n)));
        let mut seen = Vec::new();
        ring.read_each(reads, 50_000, |n, read| {
            let all = wanted(n);
            let end = (all.end as usize).min(bytes.len()).max(all.start as usize).min(bytes.len());
            assert_eq!(read, &bytes[(all.start as usize).min(end)..end], "read {n}");
            seen.push(n);
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..140).filter(|n| n % 10 != 3).collect::<Vec<_>>(), "a folder can't be read");
    }

    #[test]
    fn errors_are_those_of_their_reads() {
        let Some(mut ring) = ring(4) else { return };
        let folder = std::fs::File::open("/").expect("a folder");
        let file = tempfile::tempfile().expect("a temporary file");
        ring.start(&folder, [(0, 4096, Buffer::new(4096), 1)]);
        ring.start(&file, [(0, 4096, Buffer::new(4096), 2)]);
        for _ in 0..2 {
            let done = ring.wait().expect("two are on their way");
            match done.token {
                1 => assert_eq!(done.read.expect_err("a folder").raw_os_error(), Some(libc::EISDIR)),
                _ => assert_eq!(done.read.expect("it is empty"), 0),
            }
        }
    }

    /// What is on its way when nobody wants it any more is waited for: its memory is used again right after.
    #[test]
    fn dropped_in_flight() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&vec![0xaa; 8 << 20]).expect("it can be written");
        for _ in 0..50 {
            let Some(mut ring) = ring(8) else { return };
            ring.start(&file, (0..8).map(|n| (n << 20, 1 << 20, Buffer::new(1 << 20), n)));
            drop(ring);
            let after: Vec<Buffer> = (0..8).map(|_| Buffer::new(1 << 20)).collect();
            assert!(after.iter().all(|buffer| buffer.iter().all(|&byte| byte == 0)));
        }
    }
}

//! A digest in the making.

use std::io;

use super::{format::Header, page::PageBuilder, tree::Entry};
use crate::sys::storage::Storage;

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// What is known of a digest only when it is complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    /// When the first byte was read, in seconds and nanoseconds since 1970.
    pub started: (i64, u32),
    /// When the last one was.
    pub finished: (i64, u32),
}

/// Takes what is to be said of chunk after chunk.
pub struct Writer<'a> {
    storage: &'a dyn Storage,
    header: Header,
    seed: u64,
    at: u64,
    buffer: Vec<u8>,
    page: PageBuilder,
}

impl<'a> Writer<'a> {
    /// A digest in `storage`, which is empty; what `header` says of pages, counts and times is settled at the end.
    ///
    /// # Errors
    /// What writing says.
    pub fn new(storage: &'a dyn Storage, mut header: Header) -> io::Result<Self> {
        (header.pages, header.values, header.unknown) = (0, 0, 0);
        let at = header.encode().len() as u64;
        let first = header.part.start / header.geometry.chunk_bytes;
        let page = PageBuilder::new(header.geometry.hash, first);
        Ok(Self { storage, seed: header.seed(), header, at, buffer: Vec::new(), page })
    }

    /// The chunk that comes next.
    #[must_use]
    pub fn next_chunk(&self) -> u64 {
        self.page.end()
    }

    /// What it is of, so far.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Takes what is said of the next `count` chunks, of values one.
    ///
    /// # Errors
    /// What writing says.
    pub fn push(&mut self, entry: Entry, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        if !self.page.push(entry, count) {
            self.turn()?;
            let fits = self.page.push(entry, count);
            debug_assert!(fits, "an empty page takes anything");
        }
        match entry {
            Entry::Value(_) => self.header.values += count,
            Entry::Unknown => self.header.unknown += count,
            Entry::Zero => {}
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let hash = self.header.geometry.hash;
        let (bytes, next) = std::mem::replace(&mut self.page, PageBuilder::new(hash, 0)).finish(self.seed);
        self.page = next;
        self.header.pages += 1;
        self.buffer.extend(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.storage.write(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Fills up what wasn't told of with "unknown", and writes the header, last of all. Returns what was written of.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(mut self, ending: Ending) -> io::Result<Header> {
        let end = self.header.part.end.div_ceil(self.header.geometry.chunk_bytes);
        self.push(Entry::Unknown, end.saturating_sub(self.page.end()))?;
        if !self.page.is_empty() {
            self.turn()?;
        }
        self.flush()?;
        (self.header.started, self.header.finished) = (ending.started, ending.finished);
        self.storage.write(0, &self.header.encode())?;
        Ok(self.header)
    }
}

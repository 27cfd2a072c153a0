//! Takes voted bytes from all threads and writes them where they belong.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::qcow2::Qcow2Image;
use crate::{
    repair::fingerprint::Fingerprint,
    scan::{Output, Watch},
    sys::storage::Storage,
    vote::{ByteRange, is_zero},
};

/// Zeros, to be written in one go.
pub(super) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What the output holds before the first write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// Holes: zeros may be left out, in blocks of so many bytes; 0: nothing is left out.
    Holes(u64),
    /// Anything: every byte counts.
    Anything,
}

/// What takes the voted bytes.
pub(super) enum Sink<'a> {
    /// A file or device, byte for byte.
    Raw(&'a dyn Storage),
    /// A qcow2 image.
    Qcow2(Box<Qcow2Image<'a>>),
}

/// The output while it is written.
pub(super) struct Writer<'a> {
    sink: Sink<'a>,
    ground: Ground,
    watch: &'a dyn Watch,
    fingerprint: Mutex<Fingerprint>,
    written: AtomicU64,
    /// There will be no output any more: what comes is only counted.
    doomed: AtomicBool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(file: &'a dyn Storage, ground: Ground, watch: &'a dyn Watch) -> Self {
        Self::to(Sink::Raw(file), ground, watch)
    }

    pub(super) fn to(sink: Sink<'a>, ground: Ground, watch: &'a dyn Watch) -> Self {
        Self {
            sink,
            ground,
            watch,
            fingerprint: Mutex::new(Fingerprint::default()),
            written: AtomicU64::new(0),
            doomed: AtomicBool::new(false),
        }
    }

    /// Writes no more.
    pub(super) fn doom(&self) {
        self.doomed.store(true, Relaxed);
    }

    pub(super) fn bytes_written(&self) -> u64 {
        match &self.sink {
            Sink::Raw(_) => self.written.load(Relaxed),
            Sink::Qcow2(image) => image.bytes_written(),
        }
    }

    /// Completes what the sink still holds back.
    pub(super) fn finish(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Raw(_) => Ok(()),
            Sink::Qcow2(image) => image.finish(),
        }
    }

    pub(super) fn into_fingerprint(self) -> Fingerprint {
        self.fingerprint.into_inner().expect("no thread panics with it")
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.watch.spend(bytes.len() as u64);
        let file = match &self.sink {
            Sink::Raw(file) => file,
            Sink::Qcow2(image) => return image.put(offset, bytes, if let Ground::Holes(block) = self.ground { block } else { 0 }),
        };
        file.write(offset, bytes)?;
        self.written.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    /// Leaves out whole blocks of zeros, and writes what is between them in one go.
    fn put_sparse(&self, offset: u64, bytes: &[u8], block: u64) -> io::Result<()> {
        let mut pending: Option<usize> = None;
        let mut at = 0;
        while at < bytes.len() {
            let absolute = offset + at as u64;
            let end = (at + (block - absolute % block) as usize).min(bytes.len());
            // A block cut off by the chunk counts too: its other part may be written, and is then no hole, which is no harm.
            if is_zero(&bytes[at..end]) {
                if let Some(start) = pending.take() {
                    self.put(offset + start as u64, &bytes[start..at])?;
                }
            } else {
                pending.get_or_insert(at);
            }
            at = end;
        }
        match pending {
            Some(start) => self.put(offset + start as u64, &bytes[start..]),
            None => Ok(()),
        }
    }
}

impl Output for Writer<'_> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.doomed.load(Relaxed) {
            return Ok(());
        }
        let mut print = Fingerprint::default();
        print.add(offset, bytes);
        self.fingerprint.lock().expect("no thread panics with it").join(&print);
        match self.ground {
            _ if matches!(self.sink, Sink::Qcow2(_)) => self.put(offset, bytes),
            Ground::Holes(block) if block > 0 => self.put_sparse(offset, bytes, block),
            Ground::Holes(_) | Ground::Anything => self.put(offset, bytes),
        }
    }

    fn zeros(&self, range: ByteRange) -> io::Result<()> {
        if !self.wants_all_zeros() || self.doomed.load(Relaxed) {
            return Ok(());
        }
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(ZEROS.len() as u64);
            self.put(at, &ZEROS[..length as usize])?;
            at += length;
        }
        Ok(())
    }

    fn wants_all_zeros(&self) -> bool {
        !matches!(self.ground, Ground::Holes(1..))
    }
}

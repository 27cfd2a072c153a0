//! A new qcow2 image: clusters are taken one after the other as voted bytes come, and the tables that lead to them are written around.
//!
//! The format is QEMU's docs/interop/qcow2.rst. Everything is new here: no cluster has two owners, and none is ever given back but a
//! compressed one whose guest cluster got more bytes later.

mod assembly;
mod compress;
mod counts;
mod head;
#[cfg(test)]
mod properties;
mod tables;

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub use head::{Compat, Options, OptionsError};

use self::{
    assembly::{Assembly, Piece},
    compress::compress,
    counts::Counts,
    tables::{Entry, Tables},
};
use crate::{member::qcow2::inflate, sys::storage::Storage, vote::is_zero};

/// Bytes of clusters that wait for their other parts, at most.
const ASSEMBLY_BYTES_MAX: usize = 32 << 20;

/// The image while it is written. Takes each byte once, from all threads, in any order; what isn't given reads as zeros.
pub(super) struct Qcow2Image<'a> {
    file: &'a dyn Storage,
    options: Options,
    size: u64,
    books: Mutex<Books>,
    assembly: Mutex<Assembly>,
    assembly_bytes_max: usize,
    written: AtomicU64,
}

/// What is where, and how often it is used.
struct Books {
    tables: Tables,
    counts: Counts,
    /// Where the next compressed cluster goes, while the file's last cluster has room for it.
    packed_to: Option<u64>,
}

impl<'a> Qcow2Image<'a> {
    /// Begins an image of `size` bytes in `file`, which is empty.
    ///
    /// # Errors
    /// Where the options don't allow a disk of that size.
    pub(super) fn new(file: &'a dyn Storage, options: Options, size: u64) -> Result<Self, OptionsError> {
        let l1_entries = options.l1_entries(size)?;
        let mut counts = Counts::new(options.cluster_bits);
        counts.take(1); // the header
        let l1_clusters = (l1_entries * 8).div_ceil(options.cluster_bytes());
        let l1 = counts.take(l1_clusters);
        let books = Books { tables: Tables::new(options.cluster_bits, l1, l1_entries), counts, packed_to: None };
        Ok(Self {
            file,
            options,
            size,
            books: Mutex::new(books),
            assembly: Mutex::new(Assembly::new(options.cluster_bytes() as usize, size)),
            assembly_bytes_max: ASSEMBLY_BYTES_MAX,
            written: AtomicU64::new(0),
        })
    }

    /// Bytes of guests' data that went to the file.
    pub(super) fn bytes_written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Takes `bytes` at `offset` of the guest's disk; zeros are left out in blocks of `sparse` bytes, none where that is 0.
    ///
    /// # Errors
    /// What writing says.
    pub(super) fn put(&self, offset: u64, bytes: &[u8], sparse: u64) -> io::Result<()> {
        let cluster_bytes = self.options.cluster_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let guest = offset + at as u64;
            let inside = guest % cluster_bytes;
            let end = (at + (cluster_bytes - inside) as usize).min(bytes.len());
            self.put_part(guest / cluster_bytes, inside as usize, &bytes[at..end], sparse)?;
            at = end;
        }
        Ok(())
    }

    fn put_part(&self, cluster: u64, inside: usize, part: &[u8], sparse: u64) -> io::Result<()> {
        if !self.options.compressed {
            return self.put_standard(cluster, inside, part, sparse);
        }
        let whole =
            inside == 0 && part.len() as u64 == self.options.cluster_bytes().min(self.size - cluster * self.options.cluster_bytes());
        if whole {
            return self.put_compressed(cluster, part);
        }
        let ready = self.assembly.lock().expect("no panics").add(cluster, inside, part, self.assembly_bytes_max);
        ready.into_iter().try_for_each(|piece| self.put_assembled(&piece))
    }

    fn put_assembled(&self, piece: &Piece) -> io::Result<()> {
        self.put_compressed(piece.cluster, &piece.bytes)
    }

    /// A part of a cluster as it is.
    fn put_standard(&self, cluster: u64, inside: usize, part: &[u8], sparse: u64) -> io::Result<()> {
        let host = {
            let mut books = self.books.lock().expect("no panics");
            match books.tables.get(self.file, cluster)? {
                Entry::Standard(host) => host,
                Entry::None if sparse > 0 && is_zero(part) => return Ok(()),
                Entry::None => books.take_standard(self.file, cluster)?,
                Entry::Compressed { at, length } => self.unpack(&mut books, cluster, at, length)?,
            }
        };
        let mut at = 0;
        while at < part.len() {
            // What lies behind the file's end, or was never written, reads as zeros.
            let step = if sparse == 0 { part.len() } else { (sparse - (inside + at) as u64 % sparse) as usize };
            let end = (at + step).min(part.len());
            if sparse == 0 || !is_zero(&part[at..end]) {
                self.write(host + (inside + at) as u64, &part[at..end])?;
            }
            at = end;
        }
        Ok(())
    }

    /// A whole cluster, or all of it that isn't zeros; more of it may have come before.
    fn put_compressed(&self, cluster: u64, bytes: &[u8]) -> io::Result<()> {
        if is_zero(bytes) {
            return Ok(());
        }
        let cluster_bytes = self.options.cluster_bytes() as usize;
        let mut padded;
        let whole = if bytes.len() == cluster_bytes {
            bytes
        } else {
            padded = bytes.to_vec();
            padded.resize(cluster_bytes, 0);
            &padded
        };
        let compressed = compress(self.options.compression, whole);
        // From here on alone: nobody may see an entry whose bytes aren't there yet, or change one that was looked at.
        let mut books = self.books.lock().expect("no panics");
        let host = match (books.tables.get(self.file, cluster)?, compressed) {
            (Entry::None, Some(compressed)) => {
                let at = books.take_packed(self.file, cluster, compressed.len() as u64)?;
                return self.write(at, &compressed);
            }
            (Entry::None, None) => books.take_standard(self.file, cluster)?,
            (Entry::Compressed { at, length }, _) => self.unpack(&mut books, cluster, at, length)?,
            (Entry::Standard(host), _) => host,
        };
        drop(books);
        self.write_nonzero(host, bytes)
    }

    /// Makes a standard cluster of one that was compressed too early, since more of it comes; returns where it is.
    fn unpack(&self, books: &mut Books, cluster: u64, at: u64, length: u64) -> io::Result<u64> {
        let mut whole = vec![0; self.options.cluster_bytes() as usize];
        let mut compressed = vec![0; length as usize];
        let read = self.file.read(at, &mut compressed)?;
        if inflate(self.options.compression, &compressed[..read], &mut whole).is_none() {
            return Err(io::Error::other("a cluster just written can't be inflated"));
        }
        let cluster_bits = self.options.cluster_bits;
        for host in at >> cluster_bits..=(at + length - 1) >> cluster_bits {
            books.counts.change(self.file, host, -1)?;
        }
        let host = books.take_standard(self.file, cluster)?;
        self.write_nonzero(host, &whole)?;
        Ok(host)
    }

    fn write_nonzero(&self, host: u64, bytes: &[u8]) -> io::Result<()> {
        let blocks = bytes.chunks(512).zip((host..).step_by(512));
        blocks.filter(|(block, _)| !is_zero(block)).try_for_each(|(block, at)| self.write(at, block))
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(at, bytes)?;
        self.written.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    /// Writes what waits, and all tables; the image is complete then.
    ///
    /// # Errors
    /// What writing says.
    pub(super) fn finish(&self) -> io::Result<()> {
        let rest = self.assembly.lock().expect("no panics").take_all();
        rest.iter().try_for_each(|piece| self.put_assembled(piece))?;
        let mut books = self.books.lock().expect("no panics");
        let Books { tables, counts, .. } = &mut *books;
        tables.finish(self.file)?;
        let table = counts.finish(self.file)?;
        let (l1_offset, l1_entries) = tables.l1();
        self.file.write(0, &head::bytes(self.options, self.size, (l1_offset, l1_entries), table))?;
        // No cluster may lie behind the file's end.
        self.file.set_length(counts.end())
    }
}

impl Books {
    fn take_standard(&mut self, file: &dyn Storage, cluster: u64) -> io::Result<u64> {
        self.ready_table(file, cluster)?;
        let host = self.counts.take_one(file)?;
        self.tables.set(file, cluster, Entry::Standard(host))?;
        Ok(host)
    }

    fn ready_table(&mut self, file: &dyn Storage, cluster: u64) -> io::Result<()> {
        if !self.tables.has(cluster) {
            let host = self.counts.take_one(file)?;
            self.tables.add(file, cluster, host)?;
        }
        Ok(())
    }

    /// Room for `length` compressed bytes, next to the last ones where that is possible.
    fn take_packed(&mut self, file: &dyn Storage, cluster: u64, length: u64) -> io::Result<u64> {
        self.ready_table(file, cluster)?;
        let cluster_bytes = self.counts.cluster_bytes();
        let at = match self.packed_to.filter(|at| at % cluster_bytes != 0) {
            // What doesn't fit goes on in the next cluster, if that is the file's next one.
            Some(at) if at % cluster_bytes + length <= cluster_bytes => at,
            Some(at) if at - at % cluster_bytes + cluster_bytes == self.counts.end() => {
                let next = self.counts.take_one(file)?;
                if next == at - at % cluster_bytes + cluster_bytes { at } else { next }
            }
            _ => self.counts.take_one(file)?,
        };
        // A fresh cluster counts once already.
        let fresh = self.packed_to.is_none_or(|to| to != at || to % cluster_bytes == 0);
        let (first, last) = (at / cluster_bytes, (at + length - 1) / cluster_bytes);
        if !fresh {
            self.counts.change(file, first, 1)?;
        }
        debug_assert!(last <= first + 1, "less than a cluster");
        self.packed_to = Some(at + length);
        self.tables.set(file, cluster, Entry::Compressed { at, length })?;
        Ok(at)
    }
}

//! Asking the kernel for data ahead of the reader, where its own read-ahead is too small to keep the storage busy.

use std::{
    fs,
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

use nix::{
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    sys::stat::{major, minor},
};

/// From this read-ahead on the kernel keeps the storage busy by itself. Linux' default, and that of NFS mounts, is 128 KiB.
const ENOUGH_BYTES: u64 = 1 << 20;

/// The read-ahead in bytes of what `file` lies on where it is small (below 1 MiB) or unknown; none where it is big enough.
#[must_use]
pub fn small_read_ahead(file: &File) -> Option<u64> {
    let meta = file.metadata().ok()?;
    let device = if meta.rdev() != 0 { meta.rdev() } else { meta.dev() };
    let path = format!("/sys/class/bdi/{}:{}/read_ahead_kb", major(device), minor(device));
    let bytes = match fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(kib) => kib.saturating_mul(1024),
        None => 128 << 10, // btrfs' anonymous devices, for instance
    };
    (bytes < ENOUGH_BYTES).then(|| bytes.max(64 << 10))
}

/// Starts reading `range` into the page cache without waiting for it, unless it seems to be there already.
pub fn start(file: &File, range: Range<u64>, read_ahead_bytes: u64) {
    if range.is_empty() || (cached(file, range.start) && cached(file, range.end - 1)) {
        return;
    }
    // One call brings in no more than the read-ahead of the device (Linux, mm/readahead.c, force_page_cache_ra).
    let mut at = range.start;
    while at < range.end {
        let length = read_ahead_bytes.min(range.end - at);
        let (Ok(from), Ok(bytes)) = (i64::try_from(at), i64::try_from(length)) else { return };
        if posix_fadvise(file, from, bytes, PosixFadviseAdvice::POSIX_FADV_WILLNEED).is_err() {
            return; // advice is all it was
        }
        at += length;
    }
}

/// Lets the page cache forget `range`, as far as it is clean and nobody maps it: the next reading asks the medium.
pub fn forget(file: &File, range: Range<u64>) {
    if let (Ok(from), Ok(bytes)) = (i64::try_from(range.start), i64::try_from(range.end - range.start)) {
        let _ = posix_fadvise(file, from, bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED); // advice is all it is
    }
}

/// Whether the byte at `offset` can be had without waiting; false where the file system can't tell.
#[must_use]
pub fn cached(file: &File, offset: u64) -> bool {
    let Ok(offset) = i64::try_from(offset) else { return true };
    let mut byte = [0];
    let slices = [IoSliceMut::new(&mut byte)];
    // SAFETY: one valid, exclusive slice of one byte; IoSliceMut has the layout of an iovec.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), slices.as_ptr().cast(), 1, offset, libc::RWF_NOWAIT) };
    read >= 0 || io::Error::last_os_error().kind() == io::ErrorKind::UnexpectedEof
}

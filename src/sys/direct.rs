//! Reading past the page cache.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
};

use super::buffer::{ALIGNMENT, Buffer};

/// The smallest sector there is.
const SECTOR: usize = 512;

/// Opens the file behind an open one once more, for direct reading.
///
/// # Errors
/// EINVAL where the file system refuses direct I/O.
pub fn reopen(file: &File) -> io::Result<File> {
    // By way of /proc it is the same file, whatever its name means by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT | libc::O_CLOEXEC).open(path)?;
    // Some file systems take the flag and refuse the reading.
    let mut probe = Buffer::new(ALIGNMENT);
    match direct.read_at(&mut probe, 0) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(error),
        _ => Ok(direct),
    }
}

/// The smallest aligned read that `file` (opened for direct reading) takes, in bytes: 512 where its device has such sectors.
#[must_use]
pub fn unit_bytes(file: &File) -> usize {
    let mut probe = Buffer::new(ALIGNMENT);
    // An error of the medium says nothing of alignment, and EINVAL all.
    match file.read_at(&mut probe[..SECTOR], SECTOR as u64) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => ALIGNMENT,
        _ => SECTOR,
    }
}

/// Reads `bytes` from `offset` on past the page cache; less only at the end of the file. Any offset and length will do: what isn't
/// aligned to `unit` is read into `bounce` first.
///
/// # Errors
/// What pread says.
pub fn read(file: &File, unit: usize, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> io::Result<usize> {
    let aligned = |n: u64| n.is_multiple_of(unit as u64);
    if aligned(offset) && aligned(bytes.len() as u64) && aligned(bytes.as_ptr() as u64) {
        return fill(file, unit, offset, bytes);
    }
    let mut done = 0;
    while done < bytes.len() {
        let bounce = bounce.get_or_insert_with(|| Buffer::new(256 << 10));
        let at = offset + done as u64;
        let skip = (at % unit as u64) as usize;
        let wanted = (skip + bytes.len() - done).next_multiple_of(unit).min(bounce.len());
        let held = fill(file, unit, at - skip as u64, &mut bounce[..wanted])?;
        let usable = held.saturating_sub(skip).min(bytes.len() - done);
        if usable == 0 {
            break;
        }
        bytes[done..done + usable].copy_from_slice(&bounce[skip..skip + usable]);
        done += usable;
    }
    Ok(done)
}

fn fill(file: &File, unit: usize, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // A short read at the end leaves an unaligned rest, which could only be refused.
        if !done.is_multiple_of(unit) {
            break;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn any_offset_and_length_can_be_read() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let bytes: Vec<u8> = (0..300_001u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).expect("it can be written");
        file.sync_all().expect("it can be synced");
        let Ok(direct) = super::reopen(&file) else {
            // Not eprintln: the harness would keep that to itself.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let words = format!("SKIPPED: {test}: no direct I/O on the file system of temporary files\n");
            let _ = std::io::stderr().write_all(words.as_bytes());
            return;
        };
        let unit = super::unit_bytes(&direct);
        let mut bounce = None;
        for (offset, length) in [(0, 4096), (1, 1), (511, 300_000), (299_999, 10), (300_001, 5), (4096, 8192)] {
            let mut read = vec![0; length];
            let count = super::read(&direct, unit, offset as u64, &mut read, &mut bounce).expect("it can be read");
            let end = bytes.len().min(offset + length);
            assert_eq!(&read[..count], &bytes[offset.min(end)..end], "{length} bytes from {offset} on");
        }
    }
}

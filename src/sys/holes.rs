//! Where a file holds data, and where only holes.

use std::{fs::File, io, ops::Range};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    unistd::{Whence, lseek},
};

/// The first data at or after `offset` (bytes); none where there is only a hole up to the end.
///
/// A file system that knows of no holes says `offset` itself (lseek(2), `SEEK_DATA`).
///
/// # Errors
/// What lseek says, other than that there is no data.
pub fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, offset, Whence::SeekData) {
        // "whence is SEEK_DATA and offset is beyond the end, or within a hole at the end of the file": lseek(2).
        Err(Errno::ENXIO) => Ok(None),
        // Devices and file systems without the call: all is data.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ESPIPE) => Ok(Some(offset)),
        found => Ok(Some(found?)),
    }
}

/// The first hole at or after `offset` (bytes), the end of the file counting as one; none where holes aren't known.
///
/// # Errors
/// What lseek says.
pub fn next_hole(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, offset, Whence::SeekHole) {
        Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ESPIPE | Errno::ENXIO) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// Makes a hole of `range` (fallocate(2), `FALLOC_FL_PUNCH_HOLE`); the length stays.
///
/// # Errors
/// What fallocate says.
pub fn punch(file: &File, range: Range<u64>) -> io::Result<()> {
    let wide = |bytes: u64| i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, how, wide(range.start)?, wide(range.end.saturating_sub(range.start))?)?)
}

fn seek(file: &File, offset: u64, whence: Whence) -> Result<u64, Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::ENXIO)?;
    lseek(file, offset, whence).map(i64::cast_unsigned)
}

/// Bytes of data (not holes) among the first `size` bytes of `file`; `size` where that can't be told.
#[must_use]
pub fn data_bytes(file: &File, size: u64) -> u64 {
    let (mut at, mut sum) = (0, 0);
    while at < size {
        let Ok(Some(data)) = next_data(file, at) else { break };
        let hole = next_hole(file, data).ok().flatten().unwrap_or(size).min(size);
        if data >= hole {
            break;
        }
        sum += hole - data;
        at = hole;
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::{data_bytes, next_data, next_hole};

    #[test]
    fn finds_data_between_holes() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(4 << 20).expect("it can grow");
        file.write_all_at(&[1; 4096], 1 << 20).expect("it can be written");
        let data = next_data(&file, 0).expect("lseek works").expect("there is data");
        let hole = next_hole(&file, data).expect("lseek works").expect("there is an end");
        assert!(data <= 1 << 20 && hole >= (1 << 20) + 4096, "data must never be called a hole: {data} {hole}");
        assert!(data_bytes(&file, 4 << 20) >= 4096);
        assert!(next_data(&file, u64::MAX).expect("no error").is_none());
    }
}

//! A file that is only seemingly written to: writes are kept in memory, to be journalled and carried out by somebody else. It is what
//! imago gets to write its tables and clusters to.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use imago::{
    Storage as ImagoStorage,
    io_buffers::{IoVector, IoVectorMut},
    storage::{PreallocateMode, drivers::CommonStorageHelper},
};

use super::storage::Storage;

/// What is kept together: no write is smaller than what a medium writes at a time.
const SECTOR: usize = 512;
/// Longest stretch handed out, in bytes.
const STRETCH_BYTES_MAX: usize = 1 << 20;

/// A file's bytes with writes over them. Clones are the same one.
#[derive(Clone)]
pub struct Overlay {
    shared: Arc<Shared>,
}

struct Shared {
    file: File,
    state: Mutex<State>,
    helper: CommonStorageHelper,
}

struct State {
    /// Sectors that were written, by their number.
    sectors: BTreeMap<u64, [u8; SECTOR]>,
    length: u64,
}

impl Overlay {
    /// Over `file`, which is only read.
    ///
    /// # Errors
    /// Where its length can't be had.
    pub fn new(file: File) -> io::Result<Self> {
        let length = Storage::length(&file)?;
        let state = Mutex::new(State { sectors: BTreeMap::new(), length });
        Ok(Self { shared: Arc::new(Shared { file, state, helper: CommonStorageHelper::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panics")
    }

    /// Bytes that writes take in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state().sectors.len() * SECTOR
    }

    /// The length that the file is to have.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.state().length
    }

    /// Hands out what was written, by offset, as far as it isn't in the file already; the file is expected to hold it from now on.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn take_writes(&self) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut state = self.state();
        let end = Storage::length(&self.shared.file)?;
        let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
        for (number, sector) in std::mem::take(&mut state.sectors) {
            let at = number * SECTOR as u64;
            let mut there = [0; SECTOR];
            if at + SECTOR as u64 <= end && Storage::read(&self.shared.file, at, &mut there)? == SECTOR && there == sector {
                continue;
            }
            match writes.last_mut() {
                Some((start, bytes)) if *start + bytes.len() as u64 == at && bytes.len() < STRETCH_BYTES_MAX => bytes.extend(sector),
                _ => writes.push((at, sector.to_vec())),
            }
        }
        Ok(writes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let held = Storage::read(&self.shared.file, offset, bytes)?;
        bytes[held..].fill(0);
        let first = offset / SECTOR as u64;
        let end = (offset + bytes.len() as u64).div_ceil(SECTOR as u64);
        for (number, sector) in state.sectors.range(first..end) {
            let at = number * SECTOR as u64;
            let (from, to) = (at.max(offset), (at + SECTOR as u64).min(offset + bytes.len() as u64));
            bytes[(from - offset) as usize..(to - offset) as usize].copy_from_slice(&sector[(from - at) as usize..(to - at) as usize]);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = offset;
        while at < end {
            let number = at / SECTOR as u64;
            let start = number * SECTOR as u64;
            let next = (start + SECTOR as u64).min(end);
            let part = &bytes[(at - offset) as usize..(next - offset) as usize];
            let mut sector = [0; SECTOR];
            if part.len() < SECTOR {
                self.read_at(start, &mut sector)?;
            }
            sector[(at - start) as usize..(next - start) as usize].copy_from_slice(part);
            self.state().sectors.insert(number, sector);
            at = next;
        }
        let mut state = self.state();
        state.length = state.length.max(end);
        Ok(())
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a file with {} bytes over it", self.held())
    }
}

// SAFETY of the `unsafe fn`s: imago calls them unsafe since other implementations rely on aligned and serialised requests; these have
// no preconditions, and use no unsafe code.
impl ImagoStorage for Overlay {
    fn size(&self) -> io::Result<u64> {
        Ok(self.length())
    }

    unsafe fn pure_readv(&self, mut vector: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let mut bytes = vec![0; vector.len() as usize];
        self.read_at(offset, &mut bytes)?;
        vector.copy_from_slice(&bytes);
        Ok(())
    }

    unsafe fn pure_writev(&self, vector: IoVector<'_>, offset: u64) -> io::Result<()> {
        let mut bytes = vec![0; vector.len() as usize];
        vector.copy_into_slice(&mut bytes);
        self.write_at(offset, &bytes)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(()) // nothing is held back from the overlay
    }

    fn sync(&self) -> io::Result<()> {
        Ok(()) // that is for whoever carries the writes out
    }

    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.shared.helper
    }

    fn resize(&self, new_size: u64, _preallocation: PreallocateMode) -> io::Result<()> {
        let mut state = self.state();
        if new_size < state.length {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a member's file isn't cut"));
        }
        state.length = new_size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::FileExt};

    use super::Overlay;

    #[test]
    fn writes_lie_over_the_file_and_come_out_once() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&[1; 2000]).expect("it can be written");
        let overlay = Overlay::new(file.try_clone().expect("a descriptor")).expect("a length");
        overlay.write_at(100, &[2; 10]).expect("memory");
        overlay.write_at(1024, &[1; 512]).expect("memory");
        overlay.write_at(3000, &[3; 100]).expect("memory");
        assert_eq!(overlay.length(), 3100);
        let mut seen = vec![9; 3100];
        overlay.read_at(0, &mut seen).expect("it reads");
        let mut expected = vec![1; 2000];
        expected[100..110].fill(2);
        expected.resize(3000, 0);
        expected.resize(3100, 3);
        assert!(seen == expected);
        let writes = overlay.take_writes().expect("it reads");
        let places: Vec<(u64, usize)> = writes.iter().map(|(at, bytes)| (*at, bytes.len())).collect();
        assert_eq!(places, [(0, 512), (2560, 1024)], "what the file holds already isn't written");
        assert_eq!(overlay.held(), 0);
        for (at, bytes) in writes {
            file.write_all_at(&bytes, at).expect("it can be written");
        }
        overlay.read_at(0, &mut seen).expect("it reads");
        assert!(seen == expected);
    }
}

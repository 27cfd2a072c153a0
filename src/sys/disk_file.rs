//! A file or block device that is rewritten in place.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    sync::OnceLock,
};

use nix::sys::{stat::futimens, time::TimeSpec};

use super::{
    buffer::Buffer,
    device, direct, holes,
    locks::{self, Claim},
    mount,
    served::ServedFile,
    storage::{Origin, PAGE_BYTES, Stamp, Storage},
};

/// Largest block that is written at a time, in bytes: what a largest sector holds.
const BLOCK_BYTES_MAX: u64 = 64 << 10;

/// An open file or device with a second way to it, past the page cache.
pub struct DiskFile {
    file: ServedFile,
    /// For direct reading and writing, with its alignment in bytes; none where the file system refuses it. Opened when it is first used:
    /// a file that is empty yet can't tell.
    direct: OnceLock<Option<(ServedFile, usize)>>,
    device: bool,
    network: bool,
    block_bytes: u64,
}

impl DiskFile {
    /// The file or device that is open in `file` for reading and writing.
    ///
    /// # Errors
    /// Where it can't be looked at.
    pub fn new(file: File) -> io::Result<Self> {
        Self::of(ServedFile::new(file, None))
    }

    /// The same of one that a server may hold.
    ///
    /// # Errors
    /// Where it can't be looked at.
    pub fn of(served: ServedFile) -> io::Result<Self> {
        let file = served.file();
        let device = file.metadata()?.file_type().is_block_device();
        let physical = if device { device::physical_block_bytes(file).map_or(PAGE_BYTES, u64::from) } else { PAGE_BYTES };
        let block_bytes = if physical.is_power_of_two() { physical.clamp(PAGE_BYTES, BLOCK_BYTES_MAX) } else { PAGE_BYTES };
        let network = mount::network(file).is_some();
        Ok(Self { file: served, direct: OnceLock::new(), device, network, block_bytes })
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.file()
    }

    fn direct(&self) -> Option<&(ServedFile, usize)> {
        let open = || {
            let (direct, unit) = self.file.ask("opening", |file| Ok(open_direct(file))).ok()??;
            Some((self.file.another(direct), unit)).filter(|(direct, _)| direct.takes_locks())
        };
        self.direct.get_or_init(open).as_ref()
    }
}

/// The same file for direct reading and writing, with its alignment.
fn open_direct(file: &File) -> Option<(File, usize)> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let direct = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_CLOEXEC).open(path).ok()?;
    let unit = direct::unit_bytes(&direct);
    // Some file systems take the flag and refuse the reading.
    let mut probe = Buffer::new(unit);
    let refuses = direct.read_at(&mut probe, 0).is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL));
    (!refuses).then_some((direct, unit))
}

impl Storage for DiskFile {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(None, offset, bytes, &mut None)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn length(&self) -> io::Result<u64> {
        if self.device { device::size_bytes(self.file()) } else { self.file.ask("looking at it", Storage::length) }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.ask("setting its length", move |file| Storage::set_length(file, length))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.ask("syncing", Storage::sync)
    }

    fn forget_cached(&self) {
        Storage::forget_cached(self.file());
    }

    fn read_medium(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        match self.direct() {
            Some((direct, unit)) => direct.read(Some(*unit), offset, bytes, &mut None),
            None => self.read(offset, bytes),
        }
    }

    fn direct_file(&self) -> Option<&File> {
        self.direct().filter(|_| !self.network).map(|(direct, _)| direct.file())
    }

    fn origin(&self) -> Origin {
        match (self.direct(), self.network) {
            (None, _) => Origin::Cache,
            (Some(_), true) => Origin::Server,
            (Some(_), false) => Origin::Medium,
        }
    }

    fn overwrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some((direct, unit)) = self.direct() else { return self.write(offset, bytes) };
        let aligned = |n: u64| n.is_multiple_of(*unit as u64);
        if !aligned(offset) || !aligned(bytes.len() as u64) || bytes.is_empty() {
            return self.write(offset, bytes);
        }
        let mut buffer = Buffer::new(bytes.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        direct.ask("writing", move |file| file.write_all_at(&buffer, offset))
    }

    fn lost_locks(&self) -> Option<String> {
        self.file.lost_locks()
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        if self.device {
            return Err(io::ErrorKind::Unsupported.into()); // what a discarded part of a device reads as is its own affair
        }
        self.file.ask("punching a hole", move |file| holes::punch(file, range))
    }

    fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        if self.device { Ok(Some(offset)) } else { self.file.ask("looking for data", move |file| holes::next_data(file, offset)) }
    }

    fn claim(&self, alone: bool) -> io::Result<Claim> {
        self.file.ask("locking", move |file| locks::claim(file, alone))
    }

    fn resizable(&self) -> bool {
        !self.device
    }

    fn set_modified(&self, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
        if self.device {
            return Ok(());
        }
        let time = TimeSpec::new(seconds, i64::from(nanoseconds));
        self.file.ask("setting its time", move |file| Ok(futimens(file, &TimeSpec::UTIME_OMIT, &time)?))
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        if self.device {
            return Ok(None);
        }
        let meta = self.file.ask("looking at it", File::metadata)?;
        let nanoseconds = |n: i64| u32::try_from(n).unwrap_or(0);
        Ok(Some(Stamp {
            length: meta.len(),
            modified: (meta.mtime(), nanoseconds(meta.mtime_nsec())),
            changed: (meta.ctime(), nanoseconds(meta.ctime_nsec())),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskFile, Storage};

    #[test]
    fn both_ways_lead_to_the_same_bytes() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(1 << 20).expect("it can grow");
        let disk = DiskFile::new(file).expect("it can be looked at");
        disk.write(5, b"through the cache").expect("it can be written");
        disk.overwrite(8192, &[7; 4096]).expect("it can be overwritten");
        disk.overwrite(777, &[8; 3]).expect("what isn't aligned goes through the cache");
        disk.sync().expect("it can be synced");
        let mut bytes = vec![0; 20_000];
        assert_eq!(disk.read_medium(0, &mut bytes).expect("it can be read"), 20_000);
        let mut cached = vec![0; 20_000];
        assert_eq!(disk.read(0, &mut cached).expect("it can be read"), 20_000);
        assert_eq!(bytes, cached);
        assert_eq!((&bytes[5..22], &bytes[777..780], &bytes[8192..8196]), (&b"through the cache"[..], &[8; 3][..], &[7; 4][..]));
        let stamp = disk.stamp().expect("it can be looked at").expect("a file has times");
        assert_eq!(stamp.length, 1 << 20);
    }
}

//! A regular file or block device, byte for byte.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use super::facts::device_facts;
use crate::{
    member::{Cache, Extent, Facts, HostFile, Member, MemberName, OpenError, ReadError, Readable, Rewritable},
    sys::{
        buffer::Buffer,
        direct, holes,
        mapping::{self, Window},
        prefetch,
        storage::Storage,
    },
    vote::ByteRange,
};

/// A regular file or a block device, byte for byte.
pub struct RawMember {
    host: HostFile,
    /// For direct reading, where that was asked for and works, with its alignment in bytes.
    direct: Option<(File, usize)>,
    mappable: bool,
    /// Block devices and file systems without holes: not asked again.
    no_holes: AtomicBool,
    read_ahead: Option<u64>,
    /// Zeros that are shown behind the file's end, in bytes.
    padding: u64,
    /// Where reads ended although its size says that there is more: nothing that it says is believed any more.
    broke_off: OnceLock<u64>,
}

impl RawMember {
    /// Opens `path` for reading, without ever waiting for it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: MemberName, path: &Path, cache: Cache) -> Result<Self, OpenError> {
        HostFile::open(name, path).map(|host| Self::of(host, cache))
    }

    /// Opens `path` for reading and rewriting; see [`HostFile::open_to_rewrite`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_to_rewrite(name: MemberName, path: &Path, cache: Cache) -> Result<Self, OpenError> {
        HostFile::open_to_rewrite(name, path).map(|host| Self::of(host, cache))
    }

    /// Takes a file that is open already; `path` is where it was opened.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn of_file(name: MemberName, path: &Path, file: File, cache: Cache) -> Result<Self, OpenError> {
        HostFile::of_file(name, path, file).map(|host| Self::of(host, cache))
    }

    fn of(host: HostFile, cache: Cache) -> Self {
        let direct = (cache == Cache::None).then(|| direct::reopen(host.file()).ok()).flatten();
        let direct = direct.map(|direct| {
            let unit = direct::unit_bytes(&direct);
            (direct, unit)
        });
        let mappable = cache == Cache::Writeback && mapping::mappable(host.file(), host.size());
        let read_ahead = prefetch::small_read_ahead(host.file());
        let no_holes = AtomicBool::new(host.is_device());
        Self { host, direct, mappable, no_holes, read_ahead, padding: 0, broke_off: OnceLock::new() }
    }

    /// The file or device that it is.
    #[must_use]
    pub fn host(&self) -> &HostFile {
        &self.host
    }

    /// Sorts a read that came too short. A file that was cut meanwhile says so; one that doesn't is served by something that fails, as
    /// sshfs makes an end of the file of a remote read error, and around that place the page cache shows zeros that nobody wrote.
    fn short(&self, end: u64) -> ReadError {
        let shrank = self.host.is_device() || self.host.file().metadata().is_ok_and(|now| now.len() < self.host.size());
        if shrank {
            return ReadError::Ended;
        }
        let _ = self.broke_off.set(end); // the first place is as good as any
        self.broken()
    }

    fn broken(&self) -> ReadError {
        let (end, size) = (self.broke_off.get().copied().unwrap_or(0), self.host.size());
        ReadError::Member(io::Error::other(format!(
            "a read ended at offset {end:#x}, though its size is {size} bytes: what serves it fails"
        )))
    }

    /// Takes note of what became of the file since it was opened, where that was this program's own doing.
    ///
    /// # Errors
    /// Where it can't be looked at.
    pub fn look_again(&mut self) -> io::Result<()> {
        self.host.look_again()
    }
}

impl Readable for RawMember {
    fn size(&self) -> u64 {
        self.host.size() + self.padding
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        if self.broke_off.get().is_some() {
            return Err(self.broken());
        }
        if offset >= self.host.size() {
            return Ok(Extent::Zero(self.size()));
        }
        if self.no_holes.load(Ordering::Relaxed) {
            return Ok(Extent::Data(self.host.size()));
        }
        let end = |found: Option<u64>| found.map_or(self.host.size(), |at| at.min(self.host.size()));
        let data = end(holes::next_data(self.host.file(), offset).map_err(ReadError::of)?);
        if data > offset {
            return Ok(Extent::Zero(data));
        }
        match holes::next_hole(self.host.file(), offset).map_err(ReadError::of)? {
            // Shrunk meanwhile: reading will show it.
            Some(hole) if hole > offset => Ok(Extent::Data(hole.min(self.host.size()))),
            _ => {
                self.no_holes.store(true, Ordering::Relaxed);
                Ok(Extent::Data(self.host.size()))
            }
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        if self.broke_off.get().is_some() {
            return Err(self.broken());
        }
        let held = usize::try_from(self.host.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = if held < bytes.len() && offset + bytes.len() as u64 <= self.size() {
            let (held, padding) = bytes.split_at_mut(held);
            padding.fill(0);
            held
        } else {
            bytes
        };
        let read = match &self.direct {
            Some((direct, unit)) => direct::read(direct, *unit, offset, bytes, bounce),
            None => Storage::read(self.host.file(), offset, bytes),
        };
        match read {
            // What was read while another thread's read broke off may be made up, too.
            Ok(_) if self.broke_off.get().is_some() => Err(self.broken()),
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(count) => Err(self.short(offset + count as u64)),
            Err(error) => Err(ReadError::of(error)),
        }
    }

    fn window(&self, range: ByteRange) -> Option<Window> {
        let length = usize::try_from(range.length()).ok()?;
        (self.mappable && self.broke_off.get().is_none() && range.end <= self.host.size())
            .then(|| Window::new(self.host.file(), range.start, length).ok())
            .flatten()
    }

    fn mappable(&self) -> bool {
        self.mappable
    }

    fn prefetch(&self, range: ByteRange) {
        if let (Some(read_ahead), true) = (self.read_ahead, self.direct.is_none()) {
            let end = range.end.min(self.host.size());
            prefetch::start(self.host.file(), range.start.min(end)..end, read_ahead);
        }
    }

    fn read_unit(&self) -> u64 {
        // Direct reads come in aligned blocks: an error can't be narrowed down further.
        self.direct.as_ref().map_or(u64::from(crate::vote::SECTOR_MIN), |&(_, unit)| unit as u64)
    }

    fn plain_file(&self) -> Option<&File> {
        (!self.host.is_device()).then_some(self.host.file())
    }

    fn reads_medium(&self) -> bool {
        self.direct.is_some()
    }
}

impl Rewritable for RawMember {
    fn store(&self) -> Option<&dyn Storage> {
        self.host.disk()
    }

    fn refuses_writes(&self) -> Option<String> {
        self.host.refuses_writes()
    }
}

impl Member for RawMember {
    fn name(&self) -> &MemberName {
        self.host.name()
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn modified(&self) -> Option<SystemTime> {
        // A device node's own time says nothing of its contents.
        (!self.host.is_device()).then(|| self.host.metadata().modified().ok()).flatten()
    }

    fn files(&self) -> Vec<&HostFile> {
        vec![&self.host]
    }

    fn pad(&mut self, size: u64) {
        self.padding = size.saturating_sub(self.host.size());
    }

    fn padding(&self) -> u64 {
        self.padding
    }

    fn facts(&self) -> Vec<Facts> {
        if self.host.is_device() { vec![device_facts(&self.host)] } else { Vec::new() }
    }

    fn changed(&self) -> Option<String> {
        self.host.changed()
    }
}

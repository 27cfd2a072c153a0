//! A regular file or block device, byte for byte.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use super::{bad::Bad, direct::Direct, facts::device_facts};
use crate::{
    member::{
        Cache, Extent, Facts, HostFile, Member, MemberName, OpenError, ReadError, Readable, ReadsAhead, Rewritable, ahead::Ahead,
        reading::data_of,
    },
    sys::{
        buffer::{ALIGNMENT, Buffer},
        direct, holes,
        mapping::{self, Window},
        prefetch,
        served::{self, ServedFile},
        storage::{Origin, Storage},
    },
    vote::ByteRange,
};

/// A regular file or a block device, byte for byte.
pub struct RawMember {
    pub(super) host: HostFile,
    /// For direct reading, where that was asked for and works, with its alignment in bytes.
    direct: Option<(ServedFile, usize)>,
    /// What was read by that way before anybody asked; none where it can't be, and made when it is first wanted.
    ahead: OnceLock<Option<Ahead<Direct>>>,
    /// Whether that way holds the file's locks as well: it is opened before they are taken.
    covered: AtomicBool,
    /// The same for a second reading past the page cache; opened when it is first needed.
    second: OnceLock<Option<(ServedFile, usize)>>,
    mappable: bool,
    /// Block devices and file systems without holes: not asked again.
    no_holes: AtomicBool,
    read_ahead: Option<u64>,
    /// Zeros that are shown behind the file's end, in bytes.
    padding: u64,
    /// Why nothing that it says is believed any more.
    pub(super) failed: OnceLock<String>,
    /// Where something couldn't be read although its server answered.
    pub(super) bad: Mutex<Bad>,
}

impl RawMember {
    /// Opens `path` for reading, without ever waiting for it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: MemberName, path: &Path, cache: Cache) -> Result<Self, OpenError> {
        Self::opened(name, path, move |name, path| HostFile::open(name, path).map(|host| Self::of(host, cache)))
    }

    /// Opens `path` for reading and rewriting; see [`HostFile::open_to_rewrite`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_to_rewrite(name: MemberName, path: &Path, cache: Cache) -> Result<Self, OpenError> {
        Self::opened(name, path, move |name, path| HostFile::open_to_rewrite(name, path).map(|host| Self::of(host, cache)))
    }

    /// Opens it where that may be given up: what lies under a path shows only then.
    fn opened(
        name: MemberName,
        path: &Path,
        open: impl FnOnce(MemberName, &Path) -> Result<Self, OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (own, at) = (name.clone(), path.to_owned());
        served::call(&name.to_string().into(), "opening", move || open(own, &at)).unwrap_or_else(|why| Err(OpenError::silent(name, &why)))
    }

    /// Takes a file that is open already; `path` is where it was opened.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn of_file(name: MemberName, path: &Path, file: File, cache: Cache) -> Result<Self, OpenError> {
        HostFile::of_file(name, path, file).map(|host| Self::of(host, cache))
    }

    fn of(host: HostFile, cache: Cache) -> Self {
        let direct = (cache == Cache::None).then(|| open_direct(&host)).flatten();
        // A page of a server that fails can't be waited for, nor told from one that it made up.
        let mappable = cache == Cache::Writeback && host.network().is_none() && mapping::mappable(host.file(), host.size());
        let read_ahead = prefetch::small_read_ahead(host.file());
        let no_holes = AtomicBool::new(host.is_device());
        Self {
            host,
            direct,
            mappable,
            no_holes,
            read_ahead,
            ahead: OnceLock::new(),
            covered: AtomicBool::new(false),
            second: OnceLock::new(),
            padding: 0,
            failed: OnceLock::new(),
            bad: Mutex::default(),
        }
    }

    /// The file or device that it is.
    #[must_use]
    pub fn host(&self) -> &HostFile {
        &self.host
    }

    /// What reads ahead; none where reads go through the page cache, and of a server, who may never answer.
    fn ahead(&self) -> Option<&Ahead<Direct>> {
        let (direct, _) = self.direct.as_ref().filter(|_| self.host.network().is_none())?;
        self.ahead.get_or_init(|| Direct::of(direct.file()).map(Ahead::by)).as_ref()
    }

    /// For reading past the page cache, where that works.
    fn past_cache(&self) -> Option<&(ServedFile, usize)> {
        self.direct.as_ref().or_else(|| self.second.get_or_init(|| open_direct(&self.host)).as_ref())
    }

    pub(super) fn pread(
        &self,
        direct: Option<&(ServedFile, usize)>,
        offset: u64,
        bytes: &mut [u8],
        bounce: &mut Option<Buffer>,
    ) -> io::Result<usize> {
        match direct {
            Some((direct, unit)) => direct.read(Some(*unit), offset, bytes, bounce),
            None => self.host.served().read(None, offset, bytes, bounce),
        }
    }

    /// Reads by the page cache, or past it.
    fn read_by(
        &self,
        direct: Option<&(ServedFile, usize)>,
        offset: u64,
        bytes: &mut [u8],
        bounce: &mut Option<Buffer>,
    ) -> Result<(), ReadError> {
        if let Some(failure) = self.failure_met() {
            return Err(failure);
        }
        let held = usize::try_from(self.host.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = if held < bytes.len() && offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.size()) {
            let (held, padding) = bytes.split_at_mut(held);
            padding.fill(0);
            held
        } else {
            bytes
        };
        if let Some((direct, _)) = &self.direct
            && direct.has_locks_to_lose()
            && !self.covered.swap(true, Ordering::Relaxed)
            && !direct.takes_locks()
        {
            return Err(self.fail("its locks were lost: they can't be taken for direct reading".to_owned()));
        }
        let read = self.pread(direct, offset, bytes, bounce);
        // What was read while another thread's read broke off may be made up, too.
        if let Some(failure) = self.failure_met() {
            return Err(failure);
        }
        match read {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(count) => Err(self.short(offset + count as u64)),
            Err(error) => Err(self.sorted(direct, offset, bytes.len() as u64, error)),
        }
    }

    /// Takes note of what became of the file since it was opened, where that was this program's own doing.
    ///
    /// # Errors
    /// Where it can't be looked at.
    pub fn look_again(&mut self) -> io::Result<()> {
        self.host.look_again()
    }
}

/// The file once more for direct reading, where that works.
fn open_direct(host: &HostFile) -> Option<(ServedFile, usize)> {
    let open = |file: &File| {
        let direct = direct::reopen(file)?;
        let unit = direct::unit_bytes(&direct);
        Ok((direct, unit))
    };
    let (direct, unit) = host.served().ask("opening", open).ok()?;
    let direct = host.served().another(direct);
    direct.takes_locks().then_some((direct, unit))
}

impl Readable for RawMember {
    fn size(&self) -> u64 {
        self.host.size() + self.padding
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        if let Some(failure) = self.failure_met() {
            return Err(failure);
        }
        if offset >= self.host.size() {
            return Ok(Extent::Zero(self.size()));
        }
        if self.no_holes.load(Ordering::Relaxed) {
            return Ok(Extent::Data(self.host.size()));
        }
        let end = |found: Option<u64>| found.map_or(self.host.size(), |at| at.min(self.host.size()));
        let data = end(self.host.served().ask("looking for data", move |file| holes::next_data(file, offset)).map_err(ReadError::of)?);
        if data > offset {
            return Ok(Extent::Zero(data));
        }
        match self.host.served().ask("looking for data", move |file| holes::next_hole(file, offset)).map_err(ReadError::of)? {
            // Shrunk meanwhile: reading will show it.
            Some(hole) if hole > offset => Ok(Extent::Data(hole.min(self.host.size()))),
            _ => {
                self.no_holes.store(true, Ordering::Relaxed);
                Ok(Extent::Data(self.host.size()))
            }
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        if let Some(Some(ahead)) = self.ahead.get()
            && ahead.take(offset, bytes)
        {
            return Ok(());
        }
        self.read_by(self.direct.as_ref(), offset, bytes, bounce)
    }

    fn read_anew(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        let direct = self.past_cache();
        if direct.is_none() {
            prefetch::forget(self.host.file(), offset..offset.saturating_add(bytes.len() as u64));
        }
        self.read_by(direct, offset, bytes, bounce)
    }

    fn window(&self, range: ByteRange) -> Option<Window> {
        let length = usize::try_from(range.length()).ok()?;
        (self.mappable && self.failed.get().is_none() && range.end <= self.host.size())
            .then(|| Window::new(self.host.file(), range.start, length).ok())
            .flatten()
    }

    fn mappable(&self) -> bool {
        self.mappable
    }

    fn is_cached(&self, range: ByteRange) -> bool {
        let step = ((range.length() / 8).max(1)) as usize;
        self.mappable && (range.start..range.end).step_by(step).all(|at| prefetch::cached(self.host.file(), at))
    }

    fn prefetch(&self, range: ByteRange) {
        if let (Some(read_ahead), true) = (self.read_ahead, self.direct.is_none()) {
            let end = range.end.min(self.host.size());
            let start = range.start.min(end);
            // Of a server, holes would be asked for as well, and come over the wire as zeros.
            let holes = self.host.network().is_some() && !self.no_holes.load(Ordering::Relaxed);
            let _ = self.host.served().ask("reading ahead", move |file| {
                let mut at = start;
                while at < end {
                    let data = if holes { holes::next_data(file, at)?.unwrap_or(end).min(end) } else { at };
                    let hole = if holes { holes::next_hole(file, data)?.unwrap_or(end).min(end) } else { end };
                    prefetch::start(file, data..hole, read_ahead);
                    at = hole.max(data + 1);
                }
                Ok(())
            }); // advice is all it was
        }
    }

    fn reads_ahead(&self) -> ReadsAhead {
        if self.ahead().is_some() { ReadsAhead::Always } else { ReadsAhead::Never }
    }

    fn read_ahead(&self, range: ByteRange) {
        if let Some(ahead) = self.ahead() {
            let data = data_of(self, range.up_to(self.host.size()));
            data.for_each(|data| ahead.start(ByteRange::new(data.start - data.start % ALIGNMENT as u64, data.end)));
        }
    }

    fn forget_ahead(&self) {
        if let Some(Some(ahead)) = self.ahead.get() {
            ahead.forget();
        }
    }

    fn read_unit(&self) -> u64 {
        // Direct reads come in aligned blocks: an error can't be narrowed down further.
        self.direct.as_ref().map_or(u64::from(crate::vote::SECTOR_MIN), |&(_, unit)| unit as u64)
    }

    fn direct_file(&self) -> Option<&File> {
        self.past_cache().filter(|_| self.host.network().is_none() && self.failed.get().is_none()).map(|(direct, _)| direct.file())
    }

    fn plain_file(&self) -> Option<&File> {
        (!self.host.is_device()).then_some(self.host.file())
    }

    fn is_served(&self) -> bool {
        self.host.network().is_some()
    }

    fn origin(&self) -> Origin {
        match (&self.direct, self.host.network()) {
            (None, _) => Origin::Cache,
            (Some(_), Some(_)) => Origin::Server,
            (Some(_), None) => Origin::Medium,
        }
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

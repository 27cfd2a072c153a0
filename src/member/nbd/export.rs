//! An export of an NBD server.

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::Ordering},
    time::SystemTime,
};

use super::{facts::export_facts, lines::Lines, link::Link};
use crate::{
    member::{Extent, Facts, Member, MemberName, ReadError, Readable, ReadsAhead, Rewritable, ahead::Ahead, escaped, reading::data_of},
    sys::{
        buffer::Buffer,
        libnbd::{Connection, Export, NbdError, Stop},
        nbd_origin::Origin,
        storage::{PAGE_BYTES, Storage},
    },
    vote::ByteRange,
};

/// Connections that read, where the server allows several: as many as nbdcopy(1) makes.
const CONNECTIONS: usize = 4;
/// What a server is asked to tell of at a time, in bytes; the protocol counts them in 32 bits.
const STATUS_BYTES: u64 = 1 << 30;

/// An export that can't be had.
#[derive(Debug, thiserror::Error)]
#[error("{member}: {}\nhint: {hint}", escaped(&error.to_string()))]
pub struct NbdOpenError {
    /// Which one.
    pub member: MemberName,
    /// What libnbd says.
    pub error: NbdError,
    /// The way out.
    pub hint: &'static str,
}

/// An export of an NBD server.
pub struct NbdMember {
    name: MemberName,
    pub(super) link: Arc<Link>,
    origin: Option<Origin>,
    /// What is read before anybody asks, once that is wanted.
    ahead: OnceLock<Ahead<Lines>>,
    /// Whether it was opened to be rewritten.
    writes: bool,
    /// What the server told last of holes and zeros: stretches by their ends, and where the first one starts.
    known: Mutex<(u64, Vec<(u64, bool)>)>,
}

impl NbdMember {
    /// Connects to the export at `uri`; where `stop` is set, its server isn't waited for any longer.
    ///
    /// # Errors
    /// See [`NbdOpenError`].
    pub fn open(name: MemberName, uri: &str, stop: Stop) -> Result<Self, NbdOpenError> {
        Self::open_as(name, uri, stop, false)
    }

    /// The same for rewriting it.
    ///
    /// # Errors
    /// See [`NbdOpenError`]: also where the server lets nobody write.
    pub fn open_to_rewrite(name: MemberName, uri: &str, stop: Stop) -> Result<Self, NbdOpenError> {
        Self::open_as(name, uri, stop, true)
    }

    fn open_as(name: MemberName, uri: &str, stop: Stop, writes: bool) -> Result<Self, NbdOpenError> {
        let connection = Connection::open(uri, &stop).map_err(|error| {
            let hint = match &error {
                NbdError::Interrupted => "run it again",
                NbdError::Lost(words) if words.contains("TLS") => {
                    "the server and the address must agree on TLS: nbds:// and nbds+unix:// ask for it, and tls-psk-file= or tls-certificates= \
                     say where the keys are (nbd_connect_uri(3))"
                }
                NbdError::Library(_) => "install libnbd (the package libnbd0, or libnbd), or name a file",
                _ => "is the server running, and is the name of the export right? nbdinfo shows what it exports",
            };
            NbdOpenError { member: name.clone(), error, hint }
        })?;
        let (export, origin) = (connection.export(), connection.origin(uri));
        if writes && export.read_only {
            let error = NbdError::Request { errno: libc::EROFS, words: "the export is read-only".into() };
            let hint = "--no-write lets it vote only; a server that exports it writable lets it be repaired";
            return Err(NbdOpenError { member: name, error, hint });
        }
        let link = Arc::new(Link::new(uri, connection, stop));
        Ok(Self { name, link, origin, ahead: OnceLock::new(), writes, known: Mutex::new((0, Vec::new())) })
    }

    /// What the server says of the export.
    #[must_use]
    pub fn export(&self) -> Export {
        self.link.export
    }

    /// Whether both are the same export of one server, as far as can be told from here.
    #[must_use]
    pub fn is_same_export(&self, other: &Self) -> bool {
        self.origin.is_some() && self.origin == other.origin
    }

    /// Writes whole units, each request durable by itself where the server can only do that.
    pub(super) fn write_units(&self, offset: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let piece = self.link.piece.load(Ordering::Relaxed);
        let durable = !self.link.export.can_flush && self.link.export.can_fua;
        *self.known.lock().expect("no panics") = (0, Vec::new());
        self.link.line.lock().expect("no panics").unflushed = true;
        self.link.over(|connection| connection.write(offset, bytes, piece, durable))
    }

    /// The extent that is known already.
    fn known(&self, offset: u64) -> Option<Extent> {
        let known = self.known.lock().expect("no panics");
        if offset < known.0 { None } else { found(&known.1, offset) }
    }

    /// The ends of what the server told from `start` on: neighbours of one kind are one, and the last one ends where a block does, for
    /// what comes behind it may be the same.
    fn ends(&self, start: u64, told: Vec<(u64, bool)>) -> Vec<(u64, bool)> {
        let mut end = start;
        let mut ends: Vec<(u64, bool)> = Vec::with_capacity(told.len());
        for (bytes, zero) in told.into_iter().filter(|&(bytes, _)| bytes > 0) {
            end = end.saturating_add(bytes).min(self.link.export.size);
            match ends.last_mut() {
                Some((last, same)) if *same == zero => *last = end,
                _ => ends.push((end, zero)),
            }
        }
        if let Some((last, _)) = ends.last_mut().filter(|(last, _)| *last < self.link.export.size) {
            *last -= *last % PAGE_BYTES;
        }
        ends
    }
}

/// The extent that holds `offset`, by the ends of all.
fn found(ends: &[(u64, bool)], offset: u64) -> Option<Extent> {
    let at = ends.partition_point(|&(end, _)| end <= offset);
    ends.get(at).map(|&(end, zero)| if zero { Extent::Zero(end) } else { Extent::Data(end) })
}

impl Readable for NbdMember {
    fn size(&self) -> u64 {
        self.link.export.size
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        if !self.link.export.block_status {
            return Ok(Extent::Data(self.link.export.size));
        }
        if let Some(extent) = self.known(offset) {
            return Ok(extent);
        }
        let start = offset - offset % self.link.unit().max(PAGE_BYTES);
        // No question is asked for less than a block.
        let block_end = (offset + 1).next_multiple_of(PAGE_BYTES).min(self.link.export.size);
        let length = STATUS_BYTES.min(self.link.export.size - start);
        match self.link.over(|connection| connection.block_status(start, length)) {
            Ok(told) => {
                let ends = self.ends(start, told);
                let extent = found(&ends, offset).filter(|extent| extent.end() >= block_end);
                *self.known.lock().expect("no panics") = (start, ends);
                Ok(extent.unwrap_or(Extent::Data(block_end)))
            }
            Err(ReadError::Member(error)) => Err(ReadError::Member(error)),
            // What it doesn't tell must be read.
            Err(_) => Ok(Extent::Data(start + length)),
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        if self.ahead.get().is_some_and(|ahead| ahead.take(offset, bytes)) { Ok(()) } else { self.read_anew(offset, bytes, bounce) }
    }

    fn reads_ahead(&self) -> ReadsAhead {
        ReadsAhead::IfLate
    }

    fn read_ahead(&self, range: ByteRange) {
        // What is written by one connection others needn't see before it was flushed.
        let connections = if self.link.export.can_multi_conn && !self.writes { CONNECTIONS } else { 1 };
        let ahead = self.ahead.get_or_init(|| Ahead::by(Lines::new(&self.link, connections)));
        let unit = self.link.unit().max(PAGE_BYTES);
        data_of(self, range.up_to(self.link.export.size))
            .for_each(|data| ahead.start(ByteRange::new(data.start - data.start % unit, data.end)));
    }

    fn forget_ahead(&self) {
        if let Some(ahead) = self.ahead.get() {
            ahead.forget();
        }
    }

    fn read_anew(&self, offset: u64, bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= self.link.export.size).ok_or(ReadError::Ended)?;
        let unit = self.link.unit();
        if offset.is_multiple_of(unit) && end.is_multiple_of(unit) {
            return self.link.read_units(offset, bytes);
        }
        let start = offset - offset % unit;
        let mut whole = vec![0; (end.next_multiple_of(unit).min(self.link.export.size) - start) as usize];
        self.link.read_units(start, &mut whole)?;
        let inside = (offset - start) as usize;
        bytes.copy_from_slice(&whole[inside..inside + bytes.len()]);
        Ok(())
    }

    fn read_unit(&self) -> u64 {
        self.link.unit().max(u64::from(crate::vote::SECTOR_MIN))
    }
}

impl Rewritable for NbdMember {
    fn store(&self) -> Option<&dyn Storage> {
        self.writes.then_some(self as &dyn Storage)
    }

    fn refuses_writes(&self) -> Option<String> {
        self.link.export.read_only.then(|| "the export is read-only".to_owned())
    }
}

impl Member for NbdMember {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        "nbd"
    }

    fn modified(&self) -> Option<SystemTime> {
        None
    }

    fn address(&self) -> Option<&str> {
        Some(&self.link.uri)
    }

    fn facts(&self) -> Vec<Facts> {
        vec![export_facts(self.link.export)]
    }

    fn changed(&self) -> Option<String> {
        None // nobody can tell from here
    }
}

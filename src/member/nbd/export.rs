//! An export of an NBD server, over a connection that is made anew where it is lost.

use std::{
    io,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use super::facts::export_facts;
use crate::{
    member::{Extent, Facts, Member, MemberName, ReadError, Readable, Rewritable, escaped},
    sys::{
        buffer::Buffer,
        libnbd::{Connection, Export, NbdError, Stop},
        nbd_origin::Origin,
        storage::{PAGE_BYTES, Storage},
    },
};

/// Bytes of a request: several of them are in flight for one chunk.
const PIECE_BYTES: usize = 128 << 10;
/// What a server must be able to answer in one piece (NBD's doc/proto.md, `NBD_CMD_FLAG_DF`).
const DF_BYTES: usize = 64 << 10;
/// Tries to connect again before the member is taken for lost.
const TRIES: u32 = 3;
/// The pause before the first of them; each further one is four times as long.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections made anew in all; a server that drops more isn't worth it.
const RECONNECTS_MAX: u32 = 1000;
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
    uri: String,
    pub(super) export: Export,
    origin: Option<Origin>,
    pub(super) line: Mutex<Line>,
    stop: Stop,
    /// Bytes of a request.
    piece: AtomicUsize,
    /// Whether it was opened to be rewritten.
    writes: bool,
    /// What the server told last of holes and zeros: stretches by their ends, and where the first one starts.
    known: Mutex<(u64, Vec<(u64, bool)>)>,
}

/// The connection, and what it went through.
pub(super) struct Line {
    connection: Option<Connection>,
    reconnects: u32,
    /// Whether something was written that no flush has made durable, and whether a connection was lost meanwhile.
    pub(super) unflushed: bool,
    pub(super) lost_writes: bool,
    /// Why nobody tries any more.
    failed: Option<String>,
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
        let line = Line { connection: Some(connection), reconnects: 0, unflushed: false, lost_writes: false, failed: None };
        let piece = export.maximum.map_or(PIECE_BYTES, |most| (most as usize).clamp(512, PIECE_BYTES));
        Ok(Self {
            name,
            uri: uri.to_owned(),
            export,
            origin,
            line: Mutex::new(line),
            stop,
            piece: AtomicUsize::new(piece),
            writes,
            known: Mutex::new((0, Vec::new())),
        })
    }

    /// What the server says of the export.
    #[must_use]
    pub fn export(&self) -> Export {
        self.export
    }

    /// Whether both are the same export of one server, as far as can be told from here.
    #[must_use]
    pub fn is_same_export(&self, other: &Self) -> bool {
        self.origin.is_some() && self.origin == other.origin
    }

    /// The unit of requests in bytes.
    pub(super) fn unit(&self) -> u64 {
        // The protocol allows no more than 64 KiB (NBD's doc/proto.md, "Block size constraints").
        self.export.minimum.filter(|bytes| bytes.is_power_of_two() && *bytes <= 64 << 10).unwrap_or(1)
    }

    /// Does something over the connection, made anew where it was lost.
    ///
    /// # Errors
    /// The medium's where the server says no, or drops the connection at this very request again; the member's where no connection
    /// can be had.
    pub(super) fn over<T>(&self, request: impl Fn(&mut Connection) -> Result<T, NbdError>) -> Result<T, ReadError> {
        let mut line = self.line.lock().expect("no panics");
        let mut dropped = false;
        loop {
            let connection = self.connected(&mut line)?;
            match request(connection) {
                Ok(done) => return Ok(done),
                Err(NbdError::Request { errno, words }) => return Err(ReadError::Medium(numbered(errno, &words))),
                Err(error @ (NbdError::Silent | NbdError::Interrupted)) => {
                    line.connection = None;
                    line.failed = Some(error.to_string());
                    return Err(ReadError::Member(io::Error::other(error.to_string())));
                }
                Err(error) => {
                    line.connection = None;
                    if dropped {
                        let words = format!("the server drops the connection at this request: {error}");
                        return Err(ReadError::Medium(io::Error::other(words)));
                    }
                    dropped = true;
                }
            }
        }
    }

    fn connected<'l>(&self, line: &'l mut MutexGuard<'_, Line>) -> Result<&'l mut Connection, ReadError> {
        if line.connection.is_none() {
            let again = self.connect_again(line);
            if let Err(why) = again {
                line.failed = Some(why.clone());
                return Err(ReadError::Member(io::Error::other(why)));
            }
        }
        Ok(line.connection.as_mut().expect("just made"))
    }

    fn connect_again(&self, line: &mut Line) -> Result<(), String> {
        if let Some(why) = &line.failed {
            return Err(why.clone());
        }
        if line.reconnects >= RECONNECTS_MAX {
            return Err(format!("the connection was lost {RECONNECTS_MAX} times"));
        }
        line.reconnects += 1;
        let mut last = String::new();
        for attempt in 0..TRIES {
            match Connection::open(&self.uri, &self.stop) {
                Ok(connection) if connection.export().size != self.export.size => {
                    let size = connection.export().size;
                    return Err(format!("after the connection was lost, the export has {size} bytes instead of {}", self.export.size));
                }
                Ok(connection) => {
                    line.lost_writes |= line.unflushed;
                    line.connection = Some(connection);
                    return Ok(());
                }
                Err(error @ (NbdError::Silent | NbdError::Interrupted)) => return Err(error.to_string()),
                Err(error) => last = error.to_string(),
            }
            thread::sleep(PAUSE * 4u32.pow(attempt));
        }
        Err(format!("the connection was lost, and {TRIES} tries to make it again failed: {last}"))
    }

    /// Reads whole units.
    pub(super) fn read_units(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        let piece = self.piece.load(Ordering::Relaxed);
        let bytes = Mutex::new(bytes); // only ever used by one try at a time
        let read = self.over(|connection| connection.read(offset, &mut bytes.lock().expect("no panics"), piece));
        match read {
            // "The server can't answer so much in one piece": less at a time, once and for all.
            Err(ReadError::Medium(error)) if error.raw_os_error() == Some(libc::EOVERFLOW) && piece > DF_BYTES => {
                self.piece.store(DF_BYTES, Ordering::Relaxed);
                self.over(|connection| connection.read(offset, &mut bytes.lock().expect("no panics"), DF_BYTES))
            }
            read => read,
        }
    }

    /// Writes whole units, each request durable by itself where the server can only do that.
    pub(super) fn write_units(&self, offset: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let piece = self.piece.load(Ordering::Relaxed);
        let durable = !self.export.can_flush && self.export.can_fua;
        *self.known.lock().expect("no panics") = (0, Vec::new());
        self.line.lock().expect("no panics").unflushed = true;
        self.over(|connection| connection.write(offset, bytes, piece, durable))
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
            end = end.saturating_add(bytes).min(self.export.size);
            match ends.last_mut() {
                Some((last, same)) if *same == zero => *last = end,
                _ => ends.push((end, zero)),
            }
        }
        if let Some((last, _)) = ends.last_mut().filter(|(last, _)| *last < self.export.size) {
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

/// The server's error number with its words; the number decides what becomes of it.
fn numbered(errno: i32, words: &str) -> io::Error {
    match errno {
        0 => io::Error::other(words.to_owned()),
        _ => io::Error::from_raw_os_error(errno),
    }
}

impl Readable for NbdMember {
    fn size(&self) -> u64 {
        self.export.size
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        if !self.export.block_status {
            return Ok(Extent::Data(self.export.size));
        }
        if let Some(extent) = self.known(offset) {
            return Ok(extent);
        }
        let start = offset - offset % self.unit().max(PAGE_BYTES);
        // No question is asked for less than a block.
        let block_end = (offset + 1).next_multiple_of(PAGE_BYTES).min(self.export.size);
        let length = STATUS_BYTES.min(self.export.size - start);
        match self.over(|connection| connection.block_status(start, length)) {
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

    fn read(&self, offset: u64, bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= self.export.size).ok_or(ReadError::Ended)?;
        let unit = self.unit();
        if offset.is_multiple_of(unit) && end.is_multiple_of(unit) {
            return self.read_units(offset, bytes);
        }
        let start = offset - offset % unit;
        let mut whole = vec![0; (end.next_multiple_of(unit).min(self.export.size) - start) as usize];
        self.read_units(start, &mut whole)?;
        let inside = (offset - start) as usize;
        bytes.copy_from_slice(&whole[inside..inside + bytes.len()]);
        Ok(())
    }

    fn read_unit(&self) -> u64 {
        self.unit().max(u64::from(crate::vote::SECTOR_MIN))
    }
}

impl Rewritable for NbdMember {
    fn store(&self) -> Option<&dyn Storage> {
        self.writes.then_some(self as &dyn Storage)
    }

    fn refuses_writes(&self) -> Option<String> {
        self.export.read_only.then(|| "the export is read-only".to_owned())
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
        Some(&self.uri)
    }

    fn facts(&self) -> Vec<Facts> {
        vec![export_facts(self.export)]
    }

    fn changed(&self) -> Option<String> {
        None // nobody can tell from here
    }
}

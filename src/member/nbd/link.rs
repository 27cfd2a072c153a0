//! The connection to an export, made anew where it is lost.

use std::{
    io,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    member::ReadError,
    sys::libnbd::{Connection, Export, NbdError, Stop},
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

/// An export, and the way to it.
pub(super) struct Link {
    pub(super) uri: String,
    pub(super) export: Export,
    pub(super) line: Mutex<Line>,
    pub(super) stop: Stop,
    /// Bytes of a request.
    pub(super) piece: AtomicUsize,
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

impl Link {
    /// To the export of that connection.
    pub(super) fn new(uri: &str, connection: Connection, stop: Stop) -> Self {
        let export = connection.export();
        let line = Line { connection: Some(connection), reconnects: 0, unflushed: false, lost_writes: false, failed: None };
        let piece = export.maximum.map_or(PIECE_BYTES, |most| (most as usize).clamp(512, PIECE_BYTES));
        Self { uri: uri.to_owned(), export, line: Mutex::new(line), stop, piece: AtomicUsize::new(piece) }
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
}

/// The server's error number with its words; the number decides what becomes of it.
fn numbered(errno: i32, words: &str) -> io::Error {
    match errno {
        0 => io::Error::other(words.to_owned()),
        _ => io::Error::from_raw_os_error(errno),
    }
}

/// As the system would say it.
pub(super) fn as_io(error: ReadError) -> io::Error {
    match error {
        ReadError::Medium(error) | ReadError::Member(error) => error,
        ReadError::Ended => io::ErrorKind::UnexpectedEof.into(),
    }
}

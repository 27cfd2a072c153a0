//! NBD through libnbd's C library (libnbd(3)), loaded when the first export is opened: without it the program starts all the same.
//!
//! Commands are issued asynchronously and waited for together, so that several are in flight, and none is waited for without end.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    fmt, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    nbd_functions::{Callback, Functions, Handle, NO_CALLBACK, functions},
    nbd_origin::{self, Origin},
};

/// How long one look at the socket waits, in milliseconds.
const TICK_MS: c_int = 200;
/// Looks without any news after which a server is given up on: 30 seconds.
const TICKS_MAX: u32 = 150;
/// Extents taken of one answer.
const EXTENTS_MAX: usize = 1 << 16;
const META_CONTEXT: &CStr = c"base:allocation";
const DF: u32 = 4;
const FUA: u32 = 1;
/// `NBD_STATE_ZERO` (NBD's doc/proto.md, "`base:allocation` metadata context").
const STATE_ZERO: u32 = 2;
/// `LIBNBD_READ_ERROR` (`nbd_pread_structured(3)`): a chunk without bytes.
const READ_ERROR: c_uint = 3;
const SIZE_MINIMUM: c_int = 0;
const SIZE_MAXIMUM: c_int = 2;

/// What went wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NbdError {
    /// libnbd itself isn't there; the loader's words.
    Library(String),
    /// The server said no to this request; the connection stands.
    Request {
        /// The error number that the server sent, as this system's.
        errno: i32,
        /// libnbd's words.
        words: String,
    },
    /// There is no connection (any more); libnbd's words.
    Lost(String),
    /// The server doesn't answer any more.
    Silent,
    /// Nobody waits for it any longer.
    Interrupted,
}

impl fmt::Display for NbdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(words) => write!(f, "libnbd can't be loaded: {words}"),
            Self::Request { words, .. } | Self::Lost(words) => f.write_str(words),
            Self::Silent => f.write_str("the server doesn't answer within 30 s"),
            Self::Interrupted => f.write_str("it was interrupted"),
        }
    }
}

/// What a server says of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Bytes.
    pub size: u64,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether it can be told to make writes durable.
    pub can_flush: bool,
    /// Whether single writes can be durable.
    pub can_fua: bool,
    /// Whether several connections see the same (NBD's doc/proto.md, `NBD_FLAG_CAN_MULTI_CONN`).
    pub can_multi_conn: bool,
    /// Whether it can be told not to fragment a reply.
    pub can_df: bool,
    /// Whether it tells holes and zeros.
    pub block_status: bool,
    /// Smallest request in bytes, where it says.
    pub minimum: Option<u64>,
    /// Largest request in bytes, where it says.
    pub maximum: Option<u64>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// A connection to an export. Used by one thread at a time.
pub struct Connection {
    functions: &'static Functions,
    /// Null once it was given up.
    handle: Handle,
    export: Export,
    stop: Stop,
}

/// Set where nobody waits any longer.
pub type Stop = Arc<AtomicBool>;

// SAFETY: a handle belongs to no thread: libnbd takes a lock in each call (libnbd(3), "Multithreading"). Its errors are kept per thread,
// and are fetched right after the call that failed, in the same thread.
unsafe impl Send for Connection {}

impl Drop for Connection {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The words of the last error of this thread.
fn last_error(functions: &Functions) -> (i32, String) {
    // SAFETY: both take nothing; the text lives until this thread's next call into libnbd, and is copied before.
    unsafe {
        let text = (functions.get_error)();
        let words = if text.is_null() { "no reason given".into() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
        ((functions.get_errno)(), words)
    }
}

impl Connection {
    /// Connects to the export at `uri`. Where `stop` is set, nothing is waited for any longer.
    ///
    /// # Errors
    /// See [`NbdError`].
    pub fn open(uri: &str, stop: &Stop) -> Result<Self, NbdError> {
        let functions = functions().map_err(NbdError::Library)?;
        let lost = || NbdError::Lost(last_error(functions).1);
        let address = CString::new(uri).map_err(|_| NbdError::Lost("an address holds no zero byte".into()))?;
        // SAFETY: takes nothing.
        let handle = unsafe { (functions.create)() };
        if handle.is_null() {
            return Err(lost());
        }
        let nothing = Export { read_only: true, ..Export::default() };
        let mut connection = Self { functions, handle, export: nothing, stop: Arc::clone(stop) };
        // SAFETY: the handle is live, and the texts end with zero and are copied by libnbd.
        let begun = unsafe {
            (functions.add_meta_context)(handle, META_CONTEXT.as_ptr()) != -1
                // The user named the address, and with it the files for TLS.
                && (functions.set_uri_allow_local_file)(handle, true) != -1
                // Its own name for the export.
                && (functions.set_full_info)(handle, true) != -1
                && (functions.aio_connect_uri)(handle, address.as_ptr()) != -1
        };
        if !begun {
            return Err(lost());
        }
        // SAFETY: the handle is live.
        let busy = || unsafe { (functions.aio_is_connecting)(handle) == 1 || (functions.aio_is_negotiating)(handle) == 1 };
        let mut quiet = 0;
        while busy() {
            // SAFETY: the handle is live.
            match unsafe { (functions.poll)(handle, TICK_MS) } {
                -1 => return Err(lost()),
                0 => quiet += 1,
                _ => {}
            }
            connection.be_patient(quiet)?;
        }
        if !connection.is_usable() {
            return Err(lost());
        }
        connection.export = connection.ask()?;
        Ok(connection)
    }

    fn ask(&self) -> Result<Export, NbdError> {
        let (functions, handle) = (self.functions, self.handle);
        // SAFETY: the handle is live and connected; the text ends with zero.
        unsafe {
            let size = (functions.get_size)(handle);
            let Ok(size) = u64::try_from(size) else { return Err(NbdError::Lost(last_error(functions).1)) };
            let bytes = |kind| u64::try_from((functions.get_block_size)(handle, kind)).ok().filter(|&bytes| bytes > 0);
            Ok(Export {
                size,
                read_only: (functions.is_read_only)(handle) != 0,
                can_flush: (functions.can_flush)(handle) == 1,
                can_fua: (functions.can_fua)(handle) == 1,
                can_multi_conn: (functions.can_multi_conn)(handle) == 1,
                can_df: (functions.can_df)(handle) == 1,
                block_status: (functions.can_meta_context)(handle, META_CONTEXT.as_ptr()) == 1,
                minimum: bytes(SIZE_MINIMUM),
                maximum: bytes(SIZE_MAXIMUM),
                tls: (functions.get_tls_negotiated)(handle) == 1,
            })
        }
    }

    /// What the server says of the export.
    #[must_use]
    pub fn export(&self) -> Export {
        self.export
    }

    /// Where the export comes from that was connected to by `uri`; none where that can't be told.
    #[must_use]
    pub fn origin(&self, uri: &str) -> Option<Origin> {
        nbd_origin::of(self.functions, self.handle, uri)
    }

    /// Fills `bytes` from `offset` on, in requests of `piece` bytes that are in flight together.
    ///
    /// # Errors
    /// The first one's; `bytes` holds anything then.
    pub fn read(&mut self, offset: u64, bytes: &mut [u8], piece: usize) -> Result<(), NbdError> {
        let length = bytes.len();
        // A reply in one piece: qemu-nbd drops the connection where it has begun one that it can't end.
        let flags = if self.export.can_df { DF } else { 0 };
        let pieces = bytes.chunks_mut(piece).zip(0u64..).map(|(part, i)| (part.as_mut_ptr(), part.len(), offset + i * piece as u64));
        let pieces: Vec<_> = pieces.collect();
        let mut sent: Sent = Vec::new();
        let chunks = Callback { function: on_chunk as *const c_void, user_data: (&raw mut sent).cast(), free: ptr::null() };
        // SAFETY: each part lies in `bytes`, which stays borrowed until all commands are retired or the handle is closed (`together`); so
        // does `sent`, which only the callback touches until then, in this thread, from `nbd_poll`.
        self.together(pieces.into_iter(), |functions, handle, (part, length, at)| unsafe {
            (functions.aio_pread_structured)(handle, part.cast(), length, at, chunks, NO_CALLBACK, flags)
        })?;
        // What a server leaves out of its reply would read as zeros.
        if covers(&mut sent, offset, length as u64) {
            Ok(())
        } else {
            Err(NbdError::Request { errno: libc::EIO, words: "the server didn't send all of it, or some of it twice".into() })
        }
    }

    /// Writes `bytes` at `offset`, in requests of `piece` bytes; `durable`: each is on stable storage when this returns.
    ///
    /// # Errors
    /// The first one's; any part may be written then.
    pub fn write(&mut self, offset: u64, bytes: &[u8], piece: usize, durable: bool) -> Result<(), NbdError> {
        let flags = if durable { FUA } else { 0 };
        let pieces: Vec<_> = bytes.chunks(piece).zip(0u64..).map(|(part, i)| (part, offset + i * piece as u64)).collect();
        // SAFETY: as in `read`.
        self.together(pieces.into_iter(), |functions, handle, (part, at)| unsafe {
            (functions.aio_pwrite)(handle, part.as_ptr().cast(), part.len(), at, NO_CALLBACK, flags)
        })
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the server says, also where it can't do that.
    pub fn flush(&mut self) -> Result<(), NbdError> {
        // SAFETY: nothing is borrowed.
        self.together(std::iter::once(()), |functions, handle, ()| unsafe { (functions.aio_flush)(handle, NO_CALLBACK, 0) })
    }

    /// What the server knows of `length` bytes from `offset` on: stretches one after the other, each with its bytes and whether it
    /// reads as zeros; fewer than asked for where it likes.
    ///
    /// # Errors
    /// What the server says.
    pub fn block_status(&mut self, offset: u64, length: u64) -> Result<Vec<(u64, bool)>, NbdError> {
        let mut extents: Vec<(u64, bool)> = Vec::new();
        let user_data = (&raw mut extents).cast();
        let callback = Callback { function: on_extents as *const c_void, user_data, free: ptr::null() };
        // SAFETY: `extents` lives until the command is retired or the handle is closed (`together`), and only the callback touches it
        // until then, in this thread, from `nbd_poll`.
        self.together(std::iter::once(()), |functions, handle, ()| unsafe {
            (functions.aio_block_status)(handle, length, offset, callback, NO_CALLBACK, 0)
        })?;
        Ok(extents)
    }

    /// Issues all commands and waits until each is retired, so that nothing of the caller's is in libnbd's hands afterwards; where a
    /// server doesn't answer, the handle is closed, which comes to the same.
    fn together<T>(
        &mut self,
        commands: impl ExactSizeIterator<Item = T>,
        issue: impl Fn(&Functions, Handle, T) -> i64,
    ) -> Result<(), NbdError> {
        if self.handle.is_null() {
            return Err(NbdError::Lost("the connection was given up".into()));
        }
        let (functions, handle) = (self.functions, self.handle);
        let mut pending = Vec::with_capacity(commands.len());
        let mut failed = None;
        for command in commands {
            let Ok(cookie) = u64::try_from(issue(functions, handle, command)) else {
                failed = Some(last_error(functions));
                break;
            };
            pending.push(cookie);
        }
        let mut quiet = 0;
        while !pending.is_empty() {
            // SAFETY: the handle is live.
            pending.retain(|&cookie| match unsafe { (functions.aio_command_completed)(handle, cookie) } {
                0 => true,
                1 => false,
                _ => {
                    failed.get_or_insert_with(|| last_error(functions));
                    false
                }
            });
            if pending.is_empty() {
                break;
            }
            // SAFETY: as above.
            // Whoever sends a byte now and then is given up on, too.
            match unsafe { (functions.poll)(handle, TICK_MS) } {
                1 => {}
                // Nothing came, or the connection broke: then all commands are retired now, and tell so.
                _ => quiet += 1,
            }
            if let Err(error) = self.be_patient(quiet) {
                self.give_up();
                return Err(error);
            }
        }
        match failed {
            None => Ok(()),
            Some((errno, words)) if self.is_usable() => Err(NbdError::Request { errno, words }),
            Some((_, words)) => {
                self.give_up();
                Err(NbdError::Lost(words))
            }
        }
    }

    /// Whether to look once more after so many looks without news.
    fn be_patient(&self, quiet: u32) -> Result<(), NbdError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(NbdError::Interrupted);
        }
        if quiet >= TICKS_MAX { Err(NbdError::Silent) } else { Ok(()) }
    }

    fn is_usable(&self) -> bool {
        // SAFETY: the handle is live where it isn't null.
        !self.handle.is_null()
            && unsafe { (self.functions.aio_is_ready)(self.handle) == 1 || (self.functions.aio_is_processing)(self.handle) == 1 }
    }

    /// Closes the handle: whatever is in flight is forgotten, and its memory never touched again (`nbd_close(3)`).
    fn give_up(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is live, and not used afterwards.
            unsafe { (self.functions.close)(self.handle) };
            self.handle = ptr::null_mut();
        }
    }
}

/// Chunks of replies: their offsets and lengths in bytes.
type Sent = Vec<(u64, u64)>;

/// Whether the chunks are just the bytes from `offset` on, each once.
fn covers(sent: &mut Sent, offset: u64, length: u64) -> bool {
    sent.sort_unstable();
    let end = sent.iter().try_fold(offset, |at, &(start, length)| if start == at { at.checked_add(length) } else { None });
    end == offset.checked_add(length)
}

/// libnbd's `nbd_chunk_callback`: the bytes are where they belong already; what came is noted.
///
/// # Safety
/// `user_data` is the list of [`Connection::read`].
unsafe extern "C" fn on_chunk(
    user_data: *mut c_void,
    _: *const c_void,
    length: usize,
    offset: u64,
    status: c_uint,
    _: *mut c_int,
) -> c_int {
    if status != READ_ERROR {
        // SAFETY: the caller's promise.
        unsafe { (*user_data.cast::<Sent>()).push((offset, length as u64)) };
    }
    0
}

/// libnbd's `nbd_extent_callback`: pairs of a length and its flags.
///
/// # Safety
/// `user_data` is the list given to [`Connection::block_status`]; `entries` holds `count` numbers.
unsafe extern "C" fn on_extents(
    user_data: *mut c_void,
    context: *const c_char,
    _offset: u64,
    entries: *const c_uint,
    count: usize,
    _error: *mut c_int,
) -> c_int {
    // SAFETY: the caller's promise; libnbd's texts end with zero.
    let (extents, entries, ours) = unsafe {
        let ours = CStr::from_ptr(context) == META_CONTEXT;
        (&mut *user_data.cast::<Vec<(u64, bool)>>(), std::slice::from_raw_parts(entries, count), ours)
    };
    if ours {
        let pairs = entries.chunks_exact(2).map(|pair| (u64::from(pair[0]), pair[1] & STATE_ZERO != 0));
        extents.extend(pairs.take(EXTENTS_MAX));
    }
    0
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Connection, NbdError};

    #[test]
    fn what_is_not_there_is_an_error_in_words() {
        match Connection::open("nbd+unix:///?socket=/nowhere/at/all", &super::Stop::default()) {
            Err(NbdError::Lost(words)) => assert!(words.contains("No such file"), "{words}"),
            Err(NbdError::Library(words)) => {
                assert!(words.contains("libnbd"), "{words}");
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{test} can't be skipped under CI=true: {words}");
                // Not eprintln: the harness would keep that to itself.
                let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: libnbd is not installed\n").as_bytes());
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("nobody listens there"),
        }
    }
}

//! How a member is read.

use std::{fs::File, io};

use crate::{
    sys::{buffer::Buffer, mapping::Window, storage::Origin},
    vote::ByteRange,
};

// A thread maps a window of each member at a time.
const _: () = assert!(crate::sys::mapping::WINDOWS_MAX >= crate::vote::MEMBERS_MAX);

/// How members are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// By way of this machine's page cache.
    #[default]
    Writeback,
    /// Past it: direct I/O, so that the medium answers.
    None,
}

/// Why a read gave no bytes.
#[derive(Debug)]
pub enum ReadError {
    /// The medium can't read this place; others may be fine.
    Medium(io::Error),
    /// The member ends before the place: it became shorter since it was opened.
    Ended,
    /// The member as a whole can't be reached any more.
    Member(io::Error),
}

impl ReadError {
    /// Sorts what the system said: an error of this place, or of the whole member.
    #[must_use]
    pub fn of(error: io::Error) -> Self {
        let whole = [
            libc::ESTALE,    // NFS: the file is gone on the server
            libc::ETIMEDOUT, // NFS, iSCSI: nobody answers
            libc::ENXIO,     // the device is gone
            libc::ENODEV,
            libc::ENOTCONN, // FUSE: its server died
            libc::ECONNABORTED,
            libc::ECONNRESET,
            libc::ECONNREFUSED,
            libc::EHOSTDOWN,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::ENETUNREACH,
            libc::ESHUTDOWN,
            libc::EPIPE,
            libc::EBADF,
            libc::EACCES, // NFS checks rights at each read
            libc::EPERM,
            libc::ENOLINK,
            libc::ENOMEDIUM,
            libc::EKEYEXPIRED,
            libc::ENOMEM, // says nothing about the medium
        ];
        match error.raw_os_error() {
            Some(code) if whole.contains(&code) => Self::Member(error),
            // Nobody answered, and nobody waits any more.
            None if error.kind() == io::ErrorKind::TimedOut => Self::Member(error),
            _ => Self::Medium(error),
        }
    }
}

/// Whether a stretch of a member holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that must be read, up to this offset.
    Data(u64),
    /// Known zeros, up to this offset.
    Zero(u64),
}

impl Extent {
    /// Where it ends, in bytes from the member's start.
    #[must_use]
    pub fn end(self) -> u64 {
        let (Self::Data(end) | Self::Zero(end)) = self;
        end
    }
}

/// Whether a member reads before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsAhead {
    /// It doesn't.
    Never,
    /// It does, and is the faster for it.
    Always,
    /// It does; that is worth its price where answers take their time.
    IfLate,
}

/// How a part of a member is kept in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Known zeros.
    Zero,
    /// Byte for byte.
    Stored,
    /// As a raw DEFLATE stream.
    Deflate,
    /// As a Zstandard frame.
    Zstd,
}

/// A part of a member as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct EncodedPart {
    /// How.
    pub form: Form,
    /// Bytes that it stands for.
    pub length: usize,
    /// Bytes that are at hand of it, some of which may belong to something else.
    pub held: usize,
    /// Those of them that it takes to decode it, known once that was done.
    pub needed: usize,
}

/// A stretch of a member as it is kept in its file, where that takes decoding. Two members that keep the same hold the same.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The parts one after the other.
    pub parts: Vec<EncodedPart>,
    bytes: Vec<u8>,
    used: usize,
}

impl Encoded {
    /// Forgets what it held, and keeps the memory.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.used = 0;
    }

    /// Takes one part more, and has `read` put its bytes there; false where they are more than `bytes_max` in all, or `read` says so.
    pub fn push(&mut self, part: EncodedPart, bytes_max: usize, read: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let Some(end) = self.used.checked_add(part.held).filter(|&end| end <= bytes_max) else { return false };
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let done = read(&mut self.bytes[self.used..end]);
        self.parts.push(part);
        self.used = end;
        done
    }

    /// Goes through the parts with the bytes that are at hand of each; ends early, and says so, where `each` says false.
    pub fn each(&mut self, mut each: impl FnMut(&mut EncodedPart, &[u8]) -> bool) -> bool {
        let mut at = 0;
        self.parts.iter_mut().all(|part| {
            let start = at;
            at += part.held;
            each(part, &self.bytes[start..at])
        })
    }

    /// Whether it comes to the same bytes as `decoded`, as far as that shows without decoding it.
    #[must_use]
    pub fn is_twin_of(&self, decoded: &Self) -> bool {
        let (mut at, mut there) = (0, 0);
        self.parts.len() == decoded.parts.len()
            && self.parts.iter().zip(&decoded.parts).all(|(own, other)| {
                let (from, to) = (at, there);
                at += own.held;
                there += other.held;
                (own.form, own.length) == (other.form, other.length)
                    && own.held >= other.needed
                    && self.bytes[from..from + other.needed] == decoded.bytes[to..to + other.needed]
            })
    }
}

/// The half of a member that is read from, as far as it holds bytes of the guest's disk.
pub trait Readable: Send + Sync {
    /// Bytes that a guest sees, as of when it was opened.
    fn size(&self) -> u64;

    /// What is known of the bytes from `offset` (less than the size) on.
    ///
    /// # Errors
    /// What the system says.
    fn extent(&self, offset: u64) -> Result<Extent, ReadError>;

    /// Reads all of `bytes` from `offset` on. `bounce` is memory that it may use, and keep there for the next call.
    ///
    /// # Errors
    /// See [`ReadError`]; `bytes` holds anything then.
    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError>;

    /// Reads once more, past this machine's page cache where that works: what memory or a path made up doesn't come twice.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn read_anew(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        self.read(offset, bytes, bounce)
    }

    /// The bytes of `range` as its file keeps them, in at most `bytes_max` bytes of memory, where some of it takes decoding. False where none
    /// does, and where it can't be had so for any reason: [`read`](Self::read) tells that.
    fn encoded(&self, _range: ByteRange, _bytes_max: usize, _into: &mut Encoded, _bounce: &mut Option<Buffer>) -> bool {
        false
    }

    /// Fills `bytes` with what [`encoded`](Self::encoded) gave, and notes how much of that it took; false where that isn't possible.
    fn decode(&self, _encoded: &mut Encoded, _bytes: &mut [u8]) -> bool {
        false
    }

    /// Maps `range` (starting at a multiple of the page size) where this member can be mapped.
    fn window(&self, _range: ByteRange) -> Option<Window> {
        None
    }

    /// Whether [`window`](Self::window) has anything to offer.
    fn mappable(&self) -> bool {
        false
    }

    /// Whether `range` seems to be in the page cache, from where [`window`](Self::window) and [`read`](Self::read) both take it.
    fn is_cached(&self, _range: ByteRange) -> bool {
        false
    }

    /// Starts reading `range` without waiting, where the system wouldn't by itself.
    fn prefetch(&self, _range: ByteRange) {}

    /// Whether [`read_ahead`](Self::read_ahead) keeps several reads in flight by itself: then one thread does the work of many.
    fn reads_ahead(&self) -> ReadsAhead {
        ReadsAhead::Never
    }

    /// Starts reading `range` to memory of its own, from where [`read`](Self::read) takes it once; of any amount, at most 64 MiB are kept.
    fn read_ahead(&self, _range: ByteRange) {}

    /// Forgets what was read ahead: from now on it is read anew.
    fn forget_ahead(&self) {}

    /// The smallest number of bytes that it can tell to be unreadable.
    fn read_unit(&self) -> u64 {
        u64::from(crate::vote::SECTOR_MIN)
    }

    /// The same file, opened for reading past the page cache: whoever keeps many readings anew in flight reads it by himself, in whole blocks
    /// of [`ALIGNMENT`](crate::sys::buffer::ALIGNMENT) bytes, and comes to [`read_anew`](Self::read_anew) with what fails or ends too soon.
    /// None where such a reading may never end, or bytes aren't what a guest sees.
    fn direct_file(&self) -> Option<&File> {
        None
    }

    /// The file whose bytes are just what a guest sees, where there is one: it can be cloned.
    fn plain_file(&self) -> Option<&File> {
        None
    }

    /// Where the bytes come from.
    fn origin(&self) -> Origin {
        Origin::Cache
    }

    /// Whether a server that may be slow has to answer each reading.
    fn is_served(&self) -> bool {
        false
    }

    /// Memory in bytes that one read may take beside its bytes.
    fn scratch_bytes(&self) -> usize {
        0
    }
}

/// The last extent that a member told, so that it isn't asked for the same one again.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownExtent(Option<(u64, Extent)>);

impl KnownExtent {
    /// The extent of that very member that holds `offset` (less than its size).
    ///
    /// # Errors
    /// As for [`Readable::extent`].
    pub fn at(&mut self, member: &(impl Readable + ?Sized), offset: u64) -> Result<Extent, ReadError> {
        if let Some((start, extent)) = self.0
            && (start..extent.end()).contains(&offset)
        {
            return Ok(extent);
        }
        let extent = member.extent(offset)?;
        self.0 = Some((offset, extent));
        Ok(extent)
    }

    /// The same where it may be asked for hours: zeros are forgotten, since somebody may put data there.
    ///
    /// # Errors
    /// As for [`Readable::extent`].
    pub fn data_at(&mut self, member: &(impl Readable + ?Sized), offset: u64) -> Result<Extent, ReadError> {
        let extent = self.at(member, offset)?;
        if matches!(extent, Extent::Zero(_)) {
            self.0 = None;
        }
        Ok(extent)
    }
}

/// The stretches of `range` that `member` isn't known to hold zeros in, ascending; it ends early where that can't be told.
pub(super) fn data_of<R: Readable + ?Sized>(member: &R, range: ByteRange) -> impl Iterator<Item = ByteRange> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        while at < range.end {
            let extent = member.extent(at).ok()?;
            let here = ByteRange::new(at, extent.end().max(at + 1).min(range.end));
            at = here.end;
            if let Extent::Data(_) = extent {
                return Some(here);
            }
        }
        None
    })
}

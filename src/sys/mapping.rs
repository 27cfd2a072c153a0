//! Windows on files: mapped, read-only, compared without ever being borrowed as bytes.

use std::{
    fs::File,
    io,
    ops::Range,
    os::fd::AsRawFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use memmap2::{MmapMut, MmapOptions, MmapRaw};

pub use super::guard::WINDOWS_MAX;

use super::guard::Guard;

/// Pieces mapped at a time, in all windows together: the kernel gives a process 65530 mappings (`vm.max_map_count`).
const PIECES_IN_USE_MAX: usize = 16 << 10;
static PIECES_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// A mapped stretch of a file, or of several, that survives I/O errors, truncation and change under it. It stays in the thread that
/// made it.
pub struct Window {
    // Dropped first: the guard's promise ends before the mapping does.
    guard: Guard,
    map: Map,
    _pieces: PiecesInUse,
}

/// A part of a file, and where in a window it goes; all at whole pages, but for the end.
pub struct Piece<'a> {
    /// Where in the window, in bytes.
    pub place: usize,
    /// The file.
    pub file: &'a File,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub length: usize,
}

enum Map {
    /// Of one file.
    File(MmapRaw),
    /// Zeros, with pieces of files over them.
    Pieces(MmapMut),
}

impl Map {
    fn as_ptr(&self) -> *const u8 {
        match self {
            Self::File(map) => map.as_ptr(),
            Self::Pieces(map) => map.as_ptr(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::File(map) => map.len(),
            Self::Pieces(map) => map.len(),
        }
    }
}

/// So many of the pieces that a process may map.
struct PiecesInUse(usize);

impl PiecesInUse {
    fn claim(count: usize) -> io::Result<Self> {
        let claimed = Self(count);
        if PIECES_IN_USE.fetch_add(count, Ordering::Relaxed) + count > PIECES_IN_USE_MAX {
            return Err(io::Error::other("too many mapped pieces"));
        }
        Ok(claimed)
    }
}

impl Drop for PiecesInUse {
    fn drop(&mut self) {
        PIECES_IN_USE.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Bytes of a page.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: sysconf has no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

impl Window {
    /// Pieces that one window may have.
    pub const PIECES_MAX: usize = 256;

    /// Zeros of `length` bytes with `pieces` of files over them, which don't overlap.
    ///
    /// # Errors
    /// Whatever mmap says; where this thread holds too many windows, or the process too many pieces.
    ///
    /// # Panics
    /// Where a piece would leave the window, or starts within a page.
    pub fn of_pieces(pieces: &[Piece], length: usize) -> io::Result<Self> {
        let claimed = PiecesInUse::claim(pieces.len())?;
        let page = page_bytes();
        let map = MmapOptions::new().len(length).map_anon()?;
        for piece in pieces {
            assert!(piece.place.checked_add(piece.length).is_some_and(|end| end <= map.len()) && piece.length > 0);
            assert!((piece.place as u64).is_multiple_of(page) && piece.offset.is_multiple_of(page));
            let offset = libc::off_t::try_from(piece.offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            // SAFETY: the piece lies inside of `map` (asserted), which owns that address range, has no references into it, and unmaps
            // all of it in the end, whatever lies there; whole pages are replaced, since the place is at a page's start and only the
            // window's own last page may be covered in part. The new mapping is read-only.
            let mapped = unsafe {
                let address = map.as_ptr().add(piece.place).cast_mut().cast();
                let flags = libc::MAP_SHARED | libc::MAP_FIXED;
                libc::mmap(address, piece.length, libc::PROT_READ, flags, piece.file.as_raw_fd(), offset)
            };
            if mapped == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: as in `new`: only `alike` and `alike_bytes` read it, by raw pointers, in this thread; nobody writes to it.
        let guard = unsafe { Guard::new(map.as_ptr() as usize, length)? };
        Ok(Self { guard, map: Map::Pieces(map), _pieces: claimed })
    }

    /// Maps `length` bytes of `file` from `offset` on, a multiple of the page size.
    ///
    /// # Errors
    /// Whatever mmap says; where this thread holds too many windows.
    pub fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset).len(length).map_raw_read_only(file)?;
        // SAFETY: the mapping is read-only, private to this window, and never lent out: only `alike` and `alike_bytes` read it, by
        // raw pointers, in this thread (a window isn't Send, since its guard isn't). The guard goes before the mapping.
        let guard = unsafe { Guard::new(map.as_ptr() as usize, length)? };
        Ok(Self { guard, map: Map::File(map), _pieces: PiecesInUse(0) })
    }

    /// Whether a page couldn't be had: the bytes of this window are not to be believed, read them another way.
    #[must_use]
    pub fn spoilt(&self) -> bool {
        self.guard.spoilt()
    }

    /// Whether both windows hold the same bytes at `range`, as far as anybody can say of memory that others may change. The answer
    /// counts only if neither window is [`spoilt`](Self::spoilt) afterwards.
    ///
    /// # Panics
    /// Where the range leaves a window.
    #[must_use]
    pub fn alike(&self, other: &Self, range: Range<usize>) -> bool {
        assert!(range.start <= range.end && range.end <= self.map.len() && range.end <= other.map.len());
        // SAFETY: the range lies inside of both mappings (asserted), which live as long as the windows. Mapped bytes may change at
        // any time, so no `&[u8]` is ever made of them: memcmp reads through raw pointers, and a wrong answer can only be "differs",
        // which the caller decides on a private copy, or "alike" for bytes that were alike when read. A page that vanished raises
        // SIGBUS; the handler puts zero pages there and marks the window, whose owner then reads it again with pread (see `guard`).
        unsafe { equal(self.map.as_ptr().add(range.start), other.map.as_ptr().add(range.start), range.len()) }
    }

    /// Whether the window holds `bytes` at `start`; the answer counts only if the window isn't [`spoilt`](Self::spoilt) afterwards.
    ///
    /// # Panics
    /// Where the bytes would leave the window.
    #[must_use]
    pub fn alike_bytes(&self, start: usize, bytes: &[u8]) -> bool {
        assert!(start.checked_add(bytes.len()).is_some_and(|end| end <= self.map.len()));
        // SAFETY: as in `alike`; `bytes` is ordinary memory.
        unsafe { equal(self.map.as_ptr().add(start), bytes.as_ptr(), bytes.len()) }
    }

    /// Bytes at `range` in blocks of `block` that hold anything but zeros, the last of which may be shorter; the answer counts only if
    /// the window isn't [`spoilt`](Self::spoilt) afterwards.
    ///
    /// # Panics
    /// Where the range leaves the window.
    #[must_use]
    pub fn bytes_held(&self, range: Range<usize>, block: usize) -> u64 {
        const ZEROS: [u8; 4096] = [0; 4096];
        assert!(range.start <= range.end && range.end <= self.map.len() && block > 0 && block <= ZEROS.len());
        let mut held = 0;
        let mut at = range.start;
        while at < range.end {
            let length = block.min(range.end - at);
            // SAFETY: as in `alike`: the block lies inside of the mapping (asserted), and is read through raw pointers alone. Its first
            // word, read as volatile since it may change, tells most blocks that hold anything without a call.
            let empty = unsafe {
                let first = self.map.as_ptr().add(at);
                #[allow(clippy::cast_ptr_alignment)] // looked at below
                let word = first.cast::<u64>();
                (length < 8 || !word.is_aligned() || word.read_volatile() == 0) && equal(first, ZEROS.as_ptr(), length)
            };
            held += if empty { 0 } else { length as u64 };
            at += length;
        }
        held
    }
}

/// # Safety
/// Both pointers are readable for `length` bytes.
unsafe fn equal(a: *const u8, b: *const u8, length: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { libc::memcmp(a.cast(), b.cast(), length) == 0 }
}

/// Whether `file` can be mapped at all, without reading any of it.
#[must_use]
pub fn mappable(file: &File, size: u64) -> bool {
    let length = usize::try_from(size.min(4096)).unwrap_or(4096);
    length > 0 && !huge_pages(file) && Window::new(file, 0, length).is_ok()
}

/// Files of hugetlbfs can't have a single small page replaced, which is what saves us from SIGBUS.
fn huge_pages(file: &File) -> bool {
    nix::sys::statfs::fstatfs(file).is_ok_and(|facts| facts.filesystem_type() == nix::sys::statfs::HUGETLBFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Window;

    fn file(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("it can be written");
        file
    }

    #[test]
    fn windows_compare() {
        let (a, b) = (file(&[7; 10000]), file(&[7; 10000]));
        let (a, b) = (Window::new(&a, 0, 10000).expect("maps"), Window::new(&b, 0, 10000).expect("maps"));
        assert!(a.alike(&b, 0..10000));
        assert!(a.alike_bytes(5000, &[7; 5000]));
        assert!(!a.alike_bytes(5000, &[8; 1]));
        assert!(!a.spoilt() && !b.spoilt());
    }

    /// The real thing: the file shrinks under the mapping, and touching it raises SIGBUS.
    #[test]
    fn a_truncated_file_spoils_its_window_and_kills_nobody() {
        let (short, long) = (file(&vec![7; 1 << 20]), file(&vec![7; 1 << 20]));
        let (a, b) = (Window::new(&short, 0, 1 << 20).expect("maps"), Window::new(&long, 0, 1 << 20).expect("maps"));
        short.set_len(64 << 10).expect("it can shrink");
        assert!(a.alike(&b, 0..64 << 10));
        assert!(!a.spoilt());
        assert!(!a.alike(&b, 0..1 << 20));
        assert!(a.spoilt() && !b.spoilt());
        assert!(a.alike_bytes((1 << 20) - 4096, &[0; 4096]), "zeros up to the window's end, in one go");
    }

    #[test]
    fn pieces_lie_in_a_window_as_they_are_told() {
        let mut one = vec![1; 8192];
        one.extend([2; 8192]);
        let (one, other) = (file(&one), file(&[3; 6000]));
        let piece = |place, file, offset, length| super::Piece { place, file, offset, length };
        let pieces = [piece(4096, &one, 8192, 8192), piece(16384, &one, 0, 4096), piece(20480, &other, 0, 5000)];
        let window = Window::of_pieces(&pieces, 25480).expect("maps");
        assert!(window.alike_bytes(0, &[0; 4096]));
        assert!(window.alike_bytes(4096, &[2; 8192]));
        assert!(window.alike_bytes(12288, &[0; 4096]));
        assert!(window.alike_bytes(16384, &[1; 4096]));
        assert!(window.alike_bytes(20480, &[3; 5000]));
        assert!(!window.spoilt());
        other.set_len(0).expect("it can shrink");
        assert!(window.alike_bytes(4096, &[2; 8192]) && !window.spoilt());
        assert!(!window.alike_bytes(20480, &[3; 5000]));
        assert!(window.spoilt(), "one piece is gone");
        drop(window);
        assert!(Window::of_pieces(&pieces[..1], 25480).is_ok(), "what is gone again is free for others");
    }

    /// Every window gets its own mark, in every thread, however often a place is used again.
    #[test]
    fn marks_do_not_mix() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..200 {
                        let (short, whole) = (file(&[1; 8192]), file(&[1; 8192]));
                        let (a, b) = (Window::new(&short, 0, 8192).expect("maps"), Window::new(&whole, 0, 8192).expect("maps"));
                        if round % 2 == 0 {
                            short.set_len(0).expect("it can shrink");
                        }
                        assert_eq!(a.alike(&b, 0..8192), round % 2 == 1);
                        assert_eq!((a.spoilt(), b.spoilt()), (round % 2 == 0, false));
                    }
                });
            }
        });
    }

    /// A bus error that isn't ours still ends the process: we hide nobody's faults.
    #[test]
    fn foreign_bus_errors_are_passed_on() {
        if std::env::var_os("QUORUM_IMG_TEST_BUS_ERROR").is_some() {
            let ours = file(&[1; 4096]);
            let _installed = Window::new(&ours, 0, 4096).expect("maps");
            let foreign = file(&[1; 4096]);
            let map = memmap2::MmapOptions::new().len(4096).map_raw_read_only(&foreign).expect("maps");
            foreign.set_len(0).expect("it can shrink");
            // SAFETY: none intended: this child process is to die here of SIGBUS.
            let byte = unsafe { std::ptr::read_volatile(map.as_ptr()) };
            unreachable!("read {byte} from a page that does not exist");
        }
        let child = std::process::Command::new(std::env::current_exe().expect("we run"))
            .args(["--exact", "sys::mapping::tests::foreign_bus_errors_are_passed_on", "--nocapture"])
            .env("QUORUM_IMG_TEST_BUS_ERROR", "1")
            .output()
            .expect("the child starts");
        let signal = std::os::unix::process::ExitStatusExt::signal(&child.status);
        assert_eq!(signal, Some(libc::SIGBUS), "{child:?}");
    }
}

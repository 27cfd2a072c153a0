//! Windows on files: mapped, read-only, compared without ever being borrowed as bytes.

use std::{fs::File, io, ops::Range};

use memmap2::{MmapOptions, MmapRaw};

pub use super::guard::WINDOWS_MAX;

use super::guard::Guard;

/// A mapped stretch of a file that survives I/O errors, truncation and change under it. It stays in the thread that made it.
pub struct Window {
    // Dropped first: the guard's promise ends before the mapping does.
    guard: Guard,
    map: MmapRaw,
}

impl Window {
    /// Maps `length` bytes of `file` from `offset` on, a multiple of the page size.
    ///
    /// # Errors
    /// Whatever mmap says; where this thread holds too many windows.
    pub fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset).len(length).map_raw_read_only(file)?;
        // SAFETY: the mapping is read-only, private to this window, and never lent out: only `alike` and `alike_bytes` read it, by
        // raw pointers, in this thread (a window isn't Send, since its guard isn't). The guard goes before the mapping.
        let guard = unsafe { Guard::new(map.as_ptr() as usize, length)? };
        Ok(Self { guard, map })
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

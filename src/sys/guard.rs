//! What happens when a mapped page can't be had.
//!
//! The kernel raises SIGBUS in the thread that touches a mapped page which it can't provide: an I/O error, a file that was
//! truncated meanwhile, an NFS server's error. The handler here looks the address up among the windows of its own thread, maps
//! zero pages from the fault to the window's end, and marks the window as spoilt; the read then goes on, and the window's owner
//! sees the mark and reads again with `pread`. A SIGBUS anywhere else goes to whoever had the signal before.

use std::{
    cell::Cell,
    io, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, compiler_fence},
    },
};

/// Windows that one thread may hold at a time.
pub const WINDOWS_MAX: usize = 64;

/// One window's place in memory. Only its own thread and that thread's signal handler look at it, so no order between threads
/// matters; atomics keep the handler's view whole.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    spoilt: AtomicBool,
}

thread_local! {
    // Const-initialised and without a destructor: reading it in a signal handler runs no lazy initialiser.
    static WINDOWS: [Slot; WINDOWS_MAX] = const {
        [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), spoilt: AtomicBool::new(false) } }; WINDOWS_MAX]
    };
    static PAGE: Cell<usize> = const { Cell::new(4096) };
}

static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();

/// A guarded stretch of this thread's memory; it must be dropped before the memory is unmapped or by the one who unmaps it.
pub(super) struct Guard {
    slot: usize,
    // Slots belong to their thread.
    _here: std::marker::PhantomData<*const ()>,
}

impl Guard {
    /// Guards `length` bytes from `start` on against SIGBUS, for accesses by this thread.
    ///
    /// # Errors
    /// Where the handler can't be installed, or this thread holds [`WINDOWS_MAX`] windows already.
    ///
    /// # Safety
    /// The bytes are a read-only mapping that nobody holds references into; until the guard is dropped, a fault in them replaces
    /// the rest of the mapping by zero pages.
    pub(super) unsafe fn new(start: usize, length: usize) -> io::Result<Self> {
        install()?;
        WINDOWS.with(|windows| {
            let slot = windows
                .iter()
                .position(|slot| slot.end.load(Relaxed) == 0)
                .ok_or_else(|| io::Error::other("too many mapped windows in one thread"))?;
            windows[slot].spoilt.store(false, Relaxed);
            windows[slot].start.store(start, Relaxed);
            compiler_fence(std::sync::atomic::Ordering::SeqCst);
            windows[slot].end.store(start + length, Relaxed);
            Ok(Self { slot, _here: std::marker::PhantomData })
        })
    }

    /// Whether a fault has put zeros where bytes of the file should be.
    pub(super) fn spoilt(&self) -> bool {
        WINDOWS.with(|windows| windows[self.slot].spoilt.load(Relaxed))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        WINDOWS.with(|windows| {
            windows[self.slot].end.store(0, Relaxed);
            compiler_fence(std::sync::atomic::Ordering::SeqCst);
            windows[self.slot].start.store(0, Relaxed);
        });
    }
}

fn install() -> io::Result<()> {
    // The page size is read here, since sysconf isn't promised to be safe in a handler.
    PAGE.with(|page| {
        // SAFETY: sysconf has no preconditions.
        page.set(usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096));
    });
    INSTALLED
        .get_or_init(|| {
            // SAFETY: both structures are plain data for which zero is a valid start, and live through the calls. The handler only
            // does what `on_bus_error` argues to be safe in one.
            unsafe {
                let mut previous: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut previous) != 0 {
                    return Err(*libc::__errno_location());
                }
                let _ = PREVIOUS.set(previous);
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_bus_error as extern "C" fn(_, _, _) as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&raw mut action.sa_mask);
                if libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) != 0 {
                    return Err(*libc::__errno_location());
                }
            }
            Ok(())
        })
        .map_err(io::Error::from_raw_os_error)
}

/// Runs in the faulting thread, in the middle of a read from a window.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO; __errno_location and mmap (on Linux a bare system
    // call) are safe in a handler. The address lies in a window that this very thread has registered as a read-only mapping
    // without references into it (`Guard::new`), so replacing its pages can't break any other memory.
    unsafe {
        let errno = *libc::__errno_location();
        // Sent by the kernel for a touched page, not by a process, and not "action optional" news of a bad page elsewhere.
        let touched = (*info).si_code > 0 && (*info).si_code != libc::BUS_MCEERR_AO;
        if touched && replace_with_zeros((*info).si_addr() as usize) {
            *libc::__errno_location() = errno;
            return;
        }
        // Not ours: hand it on. Returning makes a fault happen again under the old action; a signal that was sent is sent again.
        if let Some(previous) = PREVIOUS.get() {
            libc::sigaction(signal, previous, ptr::null_mut());
        } else {
            libc::signal(signal, libc::SIG_DFL);
        }
        if !touched {
            libc::raise(signal);
        }
        *libc::__errno_location() = errno;
    }
}

/// Puts zero pages from the page of `address` to the end of this thread's window that holds it; false where none does.
///
/// # Safety
/// Only for the signal handler: see there.
unsafe fn replace_with_zeros(address: usize) -> bool {
    WINDOWS.with(|windows| {
        for slot in windows {
            let (start, end) = (slot.start.load(Relaxed), slot.end.load(Relaxed));
            if address < start || address >= end {
                continue;
            }
            let page = PAGE.with(Cell::get);
            let from = address & !(page - 1);
            slot.spoilt.store(true, Relaxed);
            // SAFETY: as the caller's; `from..end` lies inside of the window, whose start is page-aligned.
            let zeros = unsafe {
                libc::mmap(
                    from as *mut libc::c_void,
                    end - from,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            return zeros != libc::MAP_FAILED;
        }
        false
    })
}

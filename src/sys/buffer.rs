//! Page-aligned private memory, as direct I/O wants it.

use std::{
    alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// What direct I/O is aligned to here, in memory and in files: no device in use asks for more.
pub const ALIGNMENT: usize = 4096;

/// Bytes of a huge page where there are any: buffers as large as this ask for them.
const HUGE_BYTES: usize = 2 << 20;

/// Bytes aligned to [`ALIGNMENT`], zero at first.
pub struct Buffer {
    bytes: NonNull<u8>,
    length: usize,
}

// SAFETY: a buffer owns its memory as a Box<[u8]> does; there is nothing of a thread in it.
unsafe impl Send for Buffer {}
// SAFETY: shared references only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `length` zero bytes, at least one.
    ///
    /// # Panics
    /// Where `length` is 0 or beyond what memory can hold.
    #[must_use]
    pub fn new(length: usize) -> Self {
        assert!(length > 0);
        let layout = Self::layout(length);
        // SAFETY: the layout isn't empty.
        let bytes = unsafe { if length < HUGE_BYTES { alloc_zeroed(layout) } else { alloc(layout) } };
        let bytes = NonNull::new(bytes).unwrap_or_else(|| handle_alloc_error(layout));
        if length >= HUGE_BYTES {
            // SAFETY: both calls concern just the bytes that were allocated. The advice changes nothing of what they hold, and may be refused;
            // a device is served by a few long pieces of memory at a time rather than by hundreds of pages.
            unsafe {
                libc::madvise(bytes.as_ptr().cast(), length, libc::MADV_HUGEPAGE);
                bytes.write_bytes(0, length);
            }
        }
        Self { bytes, length }
    }

    fn layout(length: usize) -> Layout {
        let alignment = if length < HUGE_BYTES { ALIGNMENT } else { HUGE_BYTES };
        Layout::from_size_align(length, alignment).expect("buffers are a few MiB at most")
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes` points to `length` initialised bytes that this buffer owns.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout.
        unsafe { dealloc(self.bytes.as_ptr(), Self::layout(self.length)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT, Buffer};

    #[test]
    fn buffers_are_aligned_and_zero() {
        for length in [1, 511, 65536, 1 << 20, 2 << 20, (4 << 20) + 4096] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.len() == length && buffer.iter().all(|&byte| byte == 0));
            buffer.fill(1);
        }
    }
}

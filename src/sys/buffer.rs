//! Page-aligned private memory, as direct I/O wants it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// What direct I/O is aligned to here, in memory and in files: no device in use asks for more.
pub const ALIGNMENT: usize = 4096;

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
        let bytes = unsafe { alloc_zeroed(layout) };
        Self { bytes: NonNull::new(bytes).unwrap_or_else(|| handle_alloc_error(layout)), length }
    }

    fn layout(length: usize) -> Layout {
        Layout::from_size_align(length, ALIGNMENT).expect("buffers are a few MiB at most")
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
        for length in [1, 511, 65536, 1 << 20] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.len() == length && buffer.iter().all(|&byte| byte == 0));
            buffer.fill(1);
        }
    }
}

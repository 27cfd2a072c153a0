//! Whole DEFLATE streams (RFC 1951) by libdeflate, which is twice as fast as those who inflate in steps.

use std::ptr::{self, NonNull};

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_deflate_decompress_ex, libdeflate_free_decompressor,
    libdeflate_result_LIBDEFLATE_SUCCESS,
};

/// Inflates, with tables that are worth keeping from stream to stream.
pub struct Inflater(NonNull<libdeflate_decompressor>);

// SAFETY: a decompressor is plain memory of its own; nothing in it belongs to the thread that allocated it (libdeflate.h asks only that
// one isn't used by two threads at once, which `&mut self` sees to).
unsafe impl Send for Inflater {}

impl Inflater {
    /// One with tables of its own; none where there is no memory.
    #[must_use]
    pub fn new() -> Option<Self> {
        // SAFETY: no preconditions; null where there is no memory.
        NonNull::new(unsafe { libdeflate_alloc_decompressor() }).map(Self)
    }

    /// Fills all of `to` with a stream that begins where `from` does, and ends just where `to` is full; how many bytes of `from` it took.
    /// None where it isn't such a stream; `to` holds anything then.
    pub fn fill(&mut self, from: &[u8], to: &mut [u8]) -> Option<usize> {
        let mut taken = 0;
        // SAFETY: the decompressor is live and borrowed exclusively; both pairs of pointer and length are slices; `taken` is written before
        // the call returns. Without a place for the number of bytes put out, success means that all of `to` was filled (libdeflate.h).
        let result = unsafe {
            libdeflate_deflate_decompress_ex(
                self.0.as_ptr(),
                from.as_ptr().cast(),
                from.len(),
                to.as_mut_ptr().cast(),
                to.len(),
                &raw mut taken,
                ptr::null_mut(),
            )
        };
        (result == libdeflate_result_LIBDEFLATE_SUCCESS).then_some(taken)
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, and gone after this.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Inflater;

    #[test]
    fn whole_streams_and_no_others() {
        let plain: Vec<u8> = (0..70_000u32).map(|n| (n / 9 % 251) as u8).collect();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&plain).expect("it compresses");
        let stream = encoder.finish().expect("it ends");
        let mut inflater = Inflater::new().expect("there is memory");
        let mut to = vec![0; plain.len()];
        for tail in [0, 1, 300] {
            let padded: Vec<u8> = stream.iter().copied().chain(std::iter::repeat_n(0x5a, tail)).collect();
            assert_eq!(inflater.fill(&padded, &mut to), Some(stream.len()));
            assert_eq!(to, plain);
        }
        assert_eq!(inflater.fill(&stream[..stream.len() - 1], &mut to), None, "cut off");
        assert_eq!(inflater.fill(&stream, &mut vec![0; plain.len() - 1]), None, "too long");
        assert_eq!(inflater.fill(&stream, &mut vec![0; plain.len() + 1]), None, "too short");
        assert_eq!(inflater.fill(&[0xff; 64], &mut to), None, "garbage");
        assert_eq!(inflater.fill(&[], &mut to), None, "nothing");
        assert_eq!(inflater.fill(&stream, &mut to), Some(stream.len()), "and after all that");
    }
}

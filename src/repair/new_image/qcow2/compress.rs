//! Compresses clusters, as QEMU does (block/qcow2-threads.c).

use std::cell::RefCell;

use flate2::{Compress, FlushCompress, Status};

use crate::member::qcow2::Compression;

/// A window of 4 KiB is all that a reader must have (docs/interop/qcow2.rst, "Compressed Clusters Descriptor").
const WINDOW_BITS: u8 = 12;

thread_local! {
    static DEFLATE: RefCell<Compress> =
        RefCell::new(Compress::new_with_window_bits(flate2::Compression::default(), false, WINDOW_BITS));
}

/// The cluster in fewer bytes; none where that isn't possible.
#[must_use]
pub(super) fn compress(compression: Compression, cluster: &[u8]) -> Option<Vec<u8>> {
    // Room for what doesn't shrink, too: zlib-rs 0.6.8 panics at the next cluster where one had too little.
    let mut to = vec![0; cluster.len() + cluster.len() / 8 + 64];
    let length = match compression {
        Compression::Zlib => DEFLATE.with_borrow_mut(|deflate| {
            deflate.reset();
            let ended = matches!(deflate.compress(cluster, &mut to, FlushCompress::Finish), Ok(Status::StreamEnd));
            ended.then(|| deflate.total_out() as usize)
        })?,
        Compression::Zstd => zstd::bulk::compress_to_buffer(cluster, &mut to[..], 0).ok()?, // 0: the default level
    };
    to.truncate(length);
    (length < cluster.len()).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::{Compression, compress};
    use crate::member::qcow2::inflate;

    #[test]
    fn what_is_compressed_inflates() {
        let text: Vec<u8> = (0..65536u32).map(|i| (i * i / 1000) as u8).collect();
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(65536)
        .collect();
        for compression in [Compression::Zlib, Compression::Zstd] {
            let compressed = compress(compression, &text).expect("it shrinks");
            assert!(compressed.len() < text.len());
            let mut back = vec![0; text.len()];
            assert!(inflate(compression, &compressed, &mut back).is_some());
            assert_eq!(back, text);
            assert_eq!(compress(compression, &noise), None, "noise doesn't shrink");
        }
    }
}

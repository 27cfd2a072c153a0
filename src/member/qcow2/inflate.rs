//! Compressed clusters, as QEMU reads them (block/qcow2-threads.c): the cluster must be filled, what follows is ignored.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::header::Compression;

thread_local! {
    // Their tables are worth keeping from cluster to cluster.
    static DEFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static ZSTD: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
}

/// Fills `cluster` with what `compressed` inflates to; false where that isn't a whole cluster.
#[must_use]
pub fn inflate(compression: Compression, compressed: &[u8], cluster: &mut [u8]) -> bool {
    match compression {
        Compression::Zlib => DEFLATE.with_borrow_mut(|deflate| inflate_deflate(deflate, compressed, cluster)),
        Compression::Zstd => ZSTD.with_borrow_mut(|decoder| {
            if decoder.is_none() {
                *decoder = Decoder::new().ok();
            }
            decoder.as_mut().is_some_and(|decoder| inflate_zstd(decoder, compressed, cluster))
        }),
    }
}

fn inflate_deflate(deflate: &mut Decompress, compressed: &[u8], cluster: &mut [u8]) -> bool {
    deflate.reset(false);
    let inflated = deflate.decompress(compressed, cluster, FlushDecompress::Finish);
    inflated.is_ok() && deflate.total_out() == cluster.len() as u64
}

fn inflate_zstd(decoder: &mut Decoder, compressed: &[u8], cluster: &mut [u8]) -> bool {
    if decoder.reinit().is_err() {
        return false;
    }
    let (mut from, mut to) = (InBuffer::around(compressed), OutBuffer::around(cluster));
    loop {
        let before = (from.pos(), to.pos());
        match decoder.run(&mut from, &mut to) {
            Err(_) => return false,
            // A frame that goes on where the cluster is full holds more than a cluster.
            Ok(left) if to.pos() == to.capacity() => return left == 0,
            Ok(_) if before == (from.pos(), to.pos()) => return false,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Compression, inflate};

    #[test]
    fn inflates_whole_clusters_only() {
        let cluster: Vec<u8> = (0..4096u32).map(|i| (i / 7) as u8).collect();
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflated.write_all(&cluster).expect("it compresses");
        let deflated = deflated.finish().expect("it ends");
        let frame = zstd::bulk::compress(&cluster, 3).expect("it compresses");
        for (compression, bytes) in [(Compression::Zlib, deflated), (Compression::Zstd, frame)] {
            let mut padded = bytes.clone();
            padded.extend([0x55; 300]);
            let mut to = vec![0; 4096];
            assert!(inflate(compression, &padded, &mut to), "{compression:?} with what follows in its sector");
            assert_eq!(to, cluster);
            assert!(!inflate(compression, &bytes[..bytes.len() / 2], &mut to), "{compression:?} cut off");
            assert!(!inflate(compression, &padded, &mut [0; 8192]), "{compression:?} too little");
            assert!(!inflate(compression, &[0xff; 512], &mut to), "{compression:?} of garbage");
            assert!(inflate(compression, &padded, &mut to), "{compression:?} after garbage");
        }
    }
}

//! Compressed clusters, as QEMU reads them (block/qcow2-threads.c): the cluster must be filled, what follows is ignored.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::header::Compression;
use crate::sys::deflate::Inflater;

thread_local! {
    // Their tables are worth keeping from cluster to cluster.
    static WHOLE: RefCell<Option<Inflater>> = RefCell::new(Inflater::new());
    static DEFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static ZSTD: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
}

/// Fills `cluster` with what `compressed` inflates to; how many bytes of that it took, which are all that the outcome depends on. None
/// where it isn't a whole cluster.
#[must_use]
pub fn inflate(compression: Compression, compressed: &[u8], cluster: &mut [u8]) -> Option<usize> {
    match compression {
        Compression::Zlib => {
            let whole = WHOLE.with_borrow_mut(|whole| whole.as_mut().and_then(|whole| whole.fill(compressed, cluster)));
            // To QEMU a stream that goes on where the cluster is full is one, too.
            whole.or_else(|| DEFLATE.with_borrow_mut(|deflate| inflate_deflate(deflate, compressed, cluster)))
        }
        Compression::Zstd => ZSTD.with_borrow_mut(|decoder| {
            if decoder.is_none() {
                *decoder = Decoder::new().ok();
            }
            decoder.as_mut().and_then(|decoder| inflate_zstd(decoder, compressed, cluster))
        }),
    }
}

fn inflate_deflate(deflate: &mut Decompress, compressed: &[u8], cluster: &mut [u8]) -> Option<usize> {
    deflate.reset(false);
    let inflated = deflate.decompress(compressed, cluster, FlushDecompress::Finish);
    (inflated.is_ok() && deflate.total_out() == cluster.len() as u64).then(|| usize::try_from(deflate.total_in()).ok()).flatten()
}

fn inflate_zstd(decoder: &mut Decoder, compressed: &[u8], cluster: &mut [u8]) -> Option<usize> {
    decoder.reinit().ok()?;
    let (mut from, mut to) = (InBuffer::around(compressed), OutBuffer::around(cluster));
    loop {
        let before = (from.pos(), to.pos());
        match decoder.run(&mut from, &mut to) {
            Err(_) => return None,
            // A frame that goes on where the cluster is full holds more than a cluster.
            Ok(left) if to.pos() == to.capacity() => return (left == 0).then_some(from.pos()),
            Ok(_) if before == (from.pos(), to.pos()) => return None,
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
            assert_eq!(inflate(compression, &padded, &mut to), Some(bytes.len()), "{compression:?} with what follows in its sector");
            assert_eq!(to, cluster);
            assert!(inflate(compression, &bytes[..bytes.len() / 2], &mut to).is_none(), "{compression:?} cut off");
            assert!(inflate(compression, &padded, &mut [0; 8192]).is_none(), "{compression:?} too little");
            assert!(inflate(compression, &[0xff; 512], &mut to).is_none(), "{compression:?} of garbage");
            assert!(inflate(compression, &padded, &mut to).is_some(), "{compression:?} after garbage");
        }
    }

    /// QEMU takes a stream for whole as soon as the cluster is full.
    #[test]
    fn a_stream_that_goes_on_fills_a_cluster_as_well() {
        let plain: Vec<u8> = (0..8192u32).map(|i| (i / 7) as u8).collect();
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflated.write_all(&plain).expect("it compresses");
        let deflated = deflated.finish().expect("it ends");
        let mut to = vec![0; 4096];
        let taken = inflate(Compression::Zlib, &deflated, &mut to).expect("it fills it");
        assert!(taken < deflated.len() && to == plain[..4096]);
        let mut again = vec![0; 4096];
        assert_eq!(inflate(Compression::Zlib, &deflated[..taken], &mut again), Some(taken), "what it took is all that it needs");
        assert_eq!(again, to);
    }
}

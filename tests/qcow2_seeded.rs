//! Images whose tables are random, and images with random damage: the library reads them as a naive reader does, sector by sector.
//! `fuzz/` looks for more of them, guided by coverage; these are the same on every run.

#[path = "support/naive_qcow2.rs"]
mod naive_qcow2;
#[path = "support/qcow2_bytes.rs"]
mod qcow2_bytes;

use proptest::{collection::vec, prelude::*};
use qcow2_bytes::{compare, with_header};

/// A table's entry that leads to one of the first clusters, or nearly.
fn entry() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0u64..24, 9u32..17, any::<bool>()).prop_map(|(cluster, bits, copied)| cluster << bits | u64::from(copied) << 63),
        1 => Just(0),
        1 => Just(1),
        1 => any::<u64>(),
        1 => (any::<u32>(), 0u64..64).prop_map(|(at, sectors)| 1 << 62 | sectors << 54 | u64::from(at % 100_000)),
        1 => (0u32..32, 0u32..32).prop_map(|(zero, stored)| 1 << (32 + zero) | 1 << stored),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(100), ..ProptestConfig::default() })]

    #[test]
    fn random_tables_read_as_the_naive_reader_reads_them(
        kind in any::<u8>(),
        bits in any::<u8>(),
        tables in vec(entry(), 0..6000),
        deflated in any::<bool>(),
        cut in 0usize..4096,
    ) {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut rest: Vec<u8> = tables.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        if deflated {
            // A compressed cluster where entries may lead to.
            let text = vec![7; 1 << 16];
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &text).expect("it compresses");
            rest.extend(encoder.finish().expect("it ends"));
        }
        rest.truncate(rest.len().saturating_sub(cut));
        compare(&file, &with_header(kind, bits, &rest));
    }

    #[test]
    fn flipped_bits_read_as_the_naive_reader_reads_them(
        kind in any::<u8>(),
        bits in any::<u8>(),
        flips in vec((any::<prop::sample::Index>(), 0u32..8), 1..20),
        data in vec(any::<u8>(), 0..40_000),
    ) {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut image = with_header(kind, bits, &data);
        for (place, bit) in flips {
            // Most of them in the header and the first table.
            let at = place.index(image.len().min(600));
            image[at] ^= 1 << bit;
        }
        compare(&file, &image);
    }
}

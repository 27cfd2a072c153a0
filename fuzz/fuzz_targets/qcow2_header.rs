//! The first cluster of a file, whatever it holds: a header, or an error in words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorum_img::member::qcow2::Header;

fuzz_target!(|bytes: &[u8]| {
    match Header::parse(bytes) {
        Ok(header) => assert!((9..=21).contains(&header.cluster_bits) && header.size % 512 == 0),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

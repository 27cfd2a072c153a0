//! A whole small image: it reads as the naive reader reads it.
#![no_main]

#[path = "../images.rs"]
mod images;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| images::compare(bytes));

//! A sound header with any tables behind it: it reads as the naive reader reads it.
#![no_main]

#[path = "../images.rs"]
mod images;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (kind, bits, rest) = input;
    images::compare(&images::with_header(kind, bits, &rest));
});

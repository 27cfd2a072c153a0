//! Random numbers.

use std::{
    fs::File,
    io::{self, Read},
};

/// Random bytes of the system.
///
/// # Errors
/// Where there are none to be had.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

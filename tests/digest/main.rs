//! Digests: made, merged, damaged, and heard as witnesses, through the program.

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod believed;
mod donors;
mod files;
mod guards;
mod healed;
mod made;
mod sums;

use std::{
    fs::{self, File, FileTimes},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use support::{Lab, noise};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// Copies of a disk that were last written an hour ago, as copies are of which a digest is made.
fn copies<const N: usize>(lab: &Lab, bytes: &[u8]) -> [PathBuf; N] {
    let copies = lab.copies_of("disk.img", bytes);
    for copy in &copies {
        age(copy, 3600);
    }
    copies
}

/// A disk with some zeros in it.
fn disk(seed: u64, length: u64) -> Vec<u8> {
    let mut bytes = noise(seed, length as usize);
    let zeros = (length / 4) as usize..(length / 2) as usize;
    bytes[zeros].fill(0);
    bytes
}

/// Sets when a file was last written, so many seconds ago.
fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).and_then(|file| file.set_times(FileTimes::new().set_modified(time))).expect("a file of ours");
}

/// Rot: bytes become others, and no time tells of it.
fn rot(path: &Path, sectors: &[u64]) {
    let then = fs::metadata(path).and_then(|meta| meta.modified()).expect("it is there");
    let mut bytes = fs::read(path).expect("it is there");
    for (at, sector) in sectors.iter().enumerate() {
        bytes[(sector * SECTOR) as usize + at % 500] ^= 0x40;
    }
    fs::write(path, bytes).expect("it can be written");
    File::options().write(true).open(path).and_then(|file| file.set_times(FileTimes::new().set_modified(then))).expect("a file of ours");
}

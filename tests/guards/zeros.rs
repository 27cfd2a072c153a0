//! Content that most copies have lost to zeros.

use super::{
    check, files, guards, passes, stands_everywhere,
    support::{Lab, disks::bytes, noise},
};

/// Two copies with 256 KiB zeroed at one place, all of one age: the one good copy was overwritten, with code 0.
#[test]
fn zeros_do_not_outvote_content() {
    let lab = Lab::new();
    let good = noise(1, 4 << 20);
    let mut zeroed = good.clone();
    zeroed[1 << 20..(1 << 20) + (256 << 10)].fill(0);
    let members = files(&lab, &[zeroed.clone(), good, zeroed]);
    stands_everywhere(&lab, &members, "zeros", 1, "zeros");
}

/// 64 KiB are where it begins.
#[test]
fn a_little_may_be_zeroed() {
    for (length, stands) in [(63 << 10, false), (64 << 10, true)] {
        let lab = Lab::new();
        let good = noise(1, 4 << 20);
        let mut zeroed = good.clone();
        zeroed[1 << 20..(1 << 20) + length].fill(0);
        let members = files(&lab, &[zeroed.clone(), good, zeroed]);
        let run = check(&lab, &members).exits(if stands { 2 } else { 1 });
        assert_eq!(!guards(&run.json()).is_empty(), stands, "{run}");
    }
}

/// Flipped bits in empty blocks, hundreds of them, are rot: each stands in a block of its own.
#[test]
fn flipped_bits_in_empty_blocks_stand_in_nobodys_way() {
    let lab = Lab::new();
    let mut disk = noise(1, 8 << 20);
    disk[4 << 20..].fill(0);
    let members = files(&lab, &vec![disk; 3]);
    for block in 0..300 {
        lab.flip_bit(&members[1], (4 << 20) + block * 4096 + 77);
    }
    passes(&lab, &members);
}

/// One server discards what a guest trims and another doesn't: what lies in blocks that every copy's file system calls free is nobody's.
#[test]
fn trimmed_blocks_stand_in_nobodys_way() {
    let lab = Lab::new();
    let members = files(&lab, &[bytes("ext4-trimmed"), bytes("ext4-untrimmed"), bytes("ext4-trimmed")]);
    passes(&lab, &members);
}

/// The same blocks where the file system uses them.
#[test]
fn blocks_in_use_that_were_zeroed_are_missed() {
    let lab = Lab::new();
    let good = bytes("ext4-new");
    let mut zeroed = good.clone();
    zeroed[0x53_d000..0x53_d000 + (300 << 10)].fill(0);
    let members = files(&lab, &[zeroed.clone(), good, zeroed]);
    stands_everywhere(&lab, &members, "zeros", 1, "zeros,stale");
}

//! `quorum-img show --owners`: what a place belongs to, held against what the tools of real file systems say of them.

#[path = "../support/mod.rs"]
mod support;

mod ext4;
mod ntfs;
mod xfs;

use std::{fs, path::Path};

use serde_json::Value;
use support::{Lab, noise};

/// Whose the byte at `place` is, by two copies.
fn owner(lab: &Lab, place: u64) -> Value {
    let run = lab.quorum_img(["show", "--owners", "--output", "json", &place.to_string(), "a.img", "b.img"]).exits(0);
    run.json()["places"][0]["owner"].clone()
}

/// A tree of folders, with a large file and a folder of many.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("srv/deep/er/still")).expect("folders");
    fs::create_dir_all(at.join("many")).expect("folders");
    fs::write(at.join("srv/deep/er/still/large.bin"), noise(1, 3 << 20)).expect("a file");
    fs::write(at.join("srv/notes.txt"), "text\n".repeat(4000)).expect("a file");
    for number in 0..700 {
        fs::write(at.join(format!("many/a-file-with-number-{number}")), format!("{number}\n").repeat(400)).expect("a file");
    }
}

/// Bytes at random places of `disk` become others; its first `spared` bytes are left alone.
fn mutate(disk: &mut [u8], spared: usize, seed: u64) {
    let mut state = seed;
    for _ in 0..40 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
        let at = spared + (state >> 20) as usize % (disk.len() - spared);
        disk[at] = (state >> 50) as u8;
    }
}

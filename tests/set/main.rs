//! Sets, through the program: what is remembered, who votes, what is healed, what is refused.

#[path = "../support/mod.rs"]
mod support;

mod found;
mod lifecycle;
mod marks;
mod memory;
mod month;
mod record;
mod running;
mod stories;
mod writing;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Lab, Output, Run, noise};

const MIB: u64 = 1 << 20;

/// Three copies of a disk of `mib` MiB and a set of them, in parts of a MiB, checked once.
fn set_of_three(lab: &Lab, mib: u64) -> [PathBuf; 3] {
    let copies = lab.copies_of::<3>("disk.img", &disk(7, mib * MIB));
    create(lab, &copies).exits(0);
    copies
}

/// Makes a set of these.
fn create(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["set", "create", "vm.qset", "--policy", "part-size=1048576"]).args(members)
}

/// A disk with some zeros in it.
fn disk(seed: u64, length: u64) -> Vec<u8> {
    let mut bytes = noise(seed, length as usize);
    let zeros = (length / 4) as usize..(length / 2) as usize;
    bytes[zeros].fill(0);
    bytes
}

/// What the set is now.
fn status(lab: &Lab) -> Value {
    lab.quorum_img(["set", "status", "--output", "json", "vm.qset"]).output().json()[0].clone()
}

/// The states of its members.
fn states(lab: &Lab) -> Vec<String> {
    let status = status(lab);
    let members = status["members"].as_array().expect("it has members");
    members.iter().map(|member| member["state"].as_str().expect("a word").to_owned()).collect()
}

/// A check of all of it, anew.
fn check(lab: &Lab) -> Output {
    lab.quorum_img(["set", "check", "--restart", "vm.qset"]).output()
}

fn history(lab: &Lab) -> Vec<Value> {
    lab.quorum_img(["set", "history", "-n", "1000", "--places", "--output", "json", "vm.qset"])
        .exits(0)
        .json()
        .as_array()
        .expect("a list")
        .clone()
}

/// A medium that changes a byte by itself, as far as a test can do that: the file's times move all the same, so that the record is made to take
/// them for those that it knows.
fn rot_unseen(lab: &Lab, path: &Path, offset: u64) {
    use std::os::unix::fs::MetadataExt as _;
    let nanoseconds = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
    let of = |path: &Path| {
        let meta = std::fs::metadata(path).expect("our own file");
        (nanoseconds(meta.mtime(), meta.mtime_nsec()), nanoseconds(meta.ctime(), meta.ctime_nsec()), meta.ino().cast_signed())
    };
    let before = of(path);
    lab.flip_bit(path, offset);
    let now = of(path);
    let record = rusqlite::Connection::open(lab.path("vm.qset")).expect("it is a database");
    let sql = "UPDATE fingerprint SET modified = ?1, changed = ?2 WHERE modified = ?3 AND changed = ?4 AND inode = ?5";
    let rows = record.execute(sql, (now.0, now.1, before.0, before.1, now.2)).expect("it has fingerprints");
    assert!(rows > 0, "nothing was known of it");
}

/// Whether files here can carry marks; says aloud where not.
fn can_be_marked(lab: &Lab) -> bool {
    let file = lab.file("probe", b"x");
    let can = xattr::set(&file, "user.quorum-img-probe", b"x").is_ok();
    std::fs::remove_file(file).expect("our own file");
    can || support::skip("marks: this file system has no extended attributes")
}

/// The names of the members that `copies_of` made.
fn members(lab: &Lab) -> Vec<PathBuf> {
    let status = lab.quorum_img(["set", "status", "--output", "json", "old.qset"]).output().json();
    let members = status[0]["members"].as_array().expect("it has members").clone();
    members.iter().map(|member| PathBuf::from(member["name"].as_str().expect("a name"))).collect()
}

/// The bytes of all members, by the names of files.
fn members_of(lab: &Lab) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(lab.folder()).expect("our own folder").flatten().map(|entry| entry.path());
    let mut images: Vec<PathBuf> = files.filter(|path| path.is_file() && path.to_string_lossy().contains("disk")).collect();
    images.sort();
    images.iter().map(|image| lab.bytes(image)).collect()
}

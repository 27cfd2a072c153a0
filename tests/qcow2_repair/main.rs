//! qcow2 images that quorum-img writes: new ones (`repair -O qcow2 -o`), and those that are rewritten in place. QEMU's own tools make
//! what goes in, and judge what comes out: `qemu-img check` finds nothing to complain of, and every byte is what a guest should see.

#[path = "../qcow2/layout.rs"]
#[allow(dead_code)]
mod layout;
#[path = "../support/signals.rs"]
mod signals;
#[path = "../support/mod.rs"]
mod support;

mod backing;
mod big;
mod choices;
mod described;
mod fills;
mod foretold;
mod in_place;
mod kills;
mod kinds;
mod locks;
mod new_refused;
mod output;
mod refused;
mod set;
mod sizes;
mod undo;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use serde_json::Value;

use support::{
    Lab, Output, Run, noise,
    qemu::{have_qemu, qemu_img},
};

/// Runs these commands of `qemu-io` on a qcow2 image, discards and all.
fn qemu_io<I>(lab: &Lab, image: &str, commands: I)
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    support::qemu::qemu_io(lab, "qcow2", image, commands);
}

/// What a guest sees of the image, by QEMU.
fn guest_bytes(lab: &Lab, image: &str, snapshot: Option<&str>) -> Vec<u8> {
    let raw = lab.path("what-a-guest-sees.raw");
    let of_snapshot = snapshot.map(|name| format!("-l {name} ")).unwrap_or_default();
    qemu_img(lab, &format!("convert {of_snapshot}-f qcow2 -O raw {image} {}", raw.display()));
    let bytes = lab.bytes(&raw);
    fs::remove_file(&raw).expect("our own file");
    bytes
}

/// The names of the image's internal snapshots.
fn snapshots(lab: &Lab, image: &str) -> Vec<String> {
    let info = image_info(lab, image);
    let all = info["snapshots"].as_array().into_iter().flatten();
    all.map(|snapshot| snapshot["name"].as_str().expect("a name").to_owned()).collect()
}

/// What `qemu-img info` tells.
fn image_info(lab: &Lab, image: &str) -> Value {
    serde_json::from_str(&qemu_img(lab, &format!("info --output json -f qcow2 {image}"))).expect("JSON")
}

/// QEMU finds neither errors nor leaks (each has an exit code of its own), and a guest sees these bytes.
fn assert_image(lab: &Lab, image: &str, expected: &[u8], run: &Output) {
    let check = lab.program("qemu-img").args(["check", "-f", "qcow2", image]).output();
    assert!(check.code() == Some(0), "{image} is not clean\n{check}\n{run}");
    assert_guest(lab, image, expected, run);
}

/// A guest sees these bytes.
fn assert_guest(lab: &Lab, image: &str, expected: &[u8], run: &Output) {
    assert_equal(image, &guest_bytes(lab, image, None), expected, run);
}

fn assert_equal(name: &str, bytes: &[u8], expected: &[u8], run: &Output) {
    if bytes == expected {
        return;
    }
    let first = bytes.iter().zip(expected).position(|(one, other)| one != other);
    assert!(first.is_none(), "{name} is wrong from byte {} of {} on\n{run}", first.unwrap_or(0), bytes.len());
    assert_eq!(bytes.len(), expected.len(), "{name} has the wrong length\n{run}");
}

/// A disk as disks are: noise, zeros and text in turn, no two stretches alike, and no zeros at its end.
fn some_disk(seed: u64, size: u64) -> Vec<u8> {
    let size = usize::try_from(size).expect("a small disk");
    let mut bytes = Vec::with_capacity(size);
    for turn in 0.. {
        let length = 9000 + usize::from(noise(seed ^ (turn << 8), 1)[0]) * 100;
        match turn % 3 {
            0 => bytes.extend(noise(seed ^ turn, length)),
            1 => bytes.extend(vec![0; length]),
            _ => (0..length / 8).for_each(|line| bytes.extend(format!("{:07}\n", line * 7 % 1000 + length).into_bytes())),
        }
        if bytes.len() >= size {
            break;
        }
    }
    bytes.truncate(size);
    let end = size.saturating_sub(700);
    bytes[end..].fill(b'.');
    bytes
}

/// The bytes with zeros up to a whole sector: QEMU's disks have no other ends.
fn whole_sectors(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A file or folder as it stands: links and modes, its times (nanoseconds), and all its bytes.
#[derive(PartialEq, Eq)]
struct Standing {
    meta: [u64; 3],
    times: [i64; 4],
    bytes: Vec<u8>,
}

/// Everything in the lab's folder. Equal before and after means: nothing was written. (Digests take long in a debug build.)
fn state(lab: &Lab) -> BTreeMap<PathBuf, Standing> {
    let mut found = BTreeMap::new();
    let mut folders = vec![lab.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("our own folder") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("its metadata");
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = if meta.is_file() { lab.bytes(&path) } else { Vec::new() };
            let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
            found.insert(path, Standing { meta: [meta.ino(), meta.mode().into(), meta.len()], times, bytes });
        }
    }
    found
}

/// Fails where something in the lab's folder isn't as it was, and says what.
fn assert_state(before: &BTreeMap<PathBuf, Standing>, after: &BTreeMap<PathBuf, Standing>, run: &Output) {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> = paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "something was written: {changed:?}\n{run}");
}

/// The run ends with this code, complains with these words, and every file's bytes and times are as they were before.
fn refuses(lab: &Lab, run: Run, code: i32, words: &[&str]) -> Output {
    let before = state(lab);
    let output = run.exits(code);
    for word in words {
        output.complains(word);
    }
    assert_state(&before, &state(lab), &output);
    support::refusal::assert_clean(&output);
    output
}

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

//! `repair -o`: what it writes, what it refuses, and that nothing half-made is ever left behind.

#[path = "../support/signals.rs"]
mod signals;
#[path = "../support/mod.rs"]
mod support;

mod ext4;
mod failures;
mod oracle;
mod output;
mod sizes;
mod undecided;
mod who_is_right;

use std::path::{Path, PathBuf};

use serde_json::Value;

use support::{KIB, Lab, Output, Run, sectors, sha256};

/// Three copies of one disk, each damaged elsewhere: a vote restores all of it.
struct Damaged {
    lab: Lab,
    /// What they are copies of; a file outside of the lab's listing.
    original: Vec<u8>,
    members: [PathBuf; 3],
    output: PathBuf,
}

impl Damaged {
    fn new() -> Self {
        let lab = Lab::new();
        let members = lab.copies("disk.img", 256 * KIB);
        let original = lab.bytes(&members[0]);
        lab.damage(&members[0], sectors(10..12));
        lab.flip_bit(&members[1], 100 * 512 + 77);
        lab.damage(&members[2], sectors(300..303));
        let output = lab.path("out.img");
        Self { lab, original, members, output }
    }

    /// In one sector every copy is different, so that nobody wins: the bytes at 4096..4608.
    fn with_an_undecided_sector() -> Self {
        let set = Self::new();
        for member in &set.members {
            set.lab.damage(member, UNDECIDED);
        }
        set
    }

    fn repair(&self) -> Run {
        repair(&self.lab, &self.output, &self.members)
    }

    fn assert_restored(&self) {
        assert_holds(&self.output, &self.original);
    }
}

/// See [`Damaged::with_an_undecided_sector`].
const UNDECIDED: std::ops::Range<u64> = 4096..4608;

/// `repair --output json -o OUTPUT MEMBER...`, with more options to come.
fn repair<'a>(lab: &Lab, output: &Path, members: impl IntoIterator<Item = &'a PathBuf>) -> Run {
    lab.quorum_img(["repair", "--output", "json", "-o"]).arg(output).args(members)
}

/// The run ends with this code, complains with these words, and the folder is as it was before.
fn refuses(lab: &Lab, run: Run, code: i32, words: &[&str]) -> Output {
    let before = lab.listing();
    let output = run.exits(code);
    for word in words {
        output.complains(word);
    }
    assert_eq!(lab.listing(), before, "something was written\n{output}");
    output
}

/// The file holds exactly these bytes.
fn assert_holds(file: &Path, expected: &[u8]) {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let first = bytes.iter().zip(expected).position(|(one, other)| one != other);
    let name = file.display();
    assert!(first.is_none(), "{name} is wrong from byte {} of {} on", first.unwrap_or(0), bytes.len());
    assert_eq!(bytes.len(), expected.len(), "{name} has the wrong length");
    assert_eq!(sha256(&bytes), sha256(expected));
}

/// The ranges that the report calls filled: (offset, length).
fn filled(report: &Value) -> Vec<(u64, u64)> {
    let Some(ranges) = report["repair"]["filled"].as_array() else { return Vec::new() };
    let number = |range: &Value, key: &str| range[key].as_u64().unwrap_or_else(|| panic!("{key} of {range}"));
    ranges.iter().map(|range| (number(range, "offset"), number(range, "length"))).collect()
}

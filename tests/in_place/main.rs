//! `repair --in-place` and `undo`: what is written and what isn't, what is refused, and that all of it can be put back.

#[path = "../support/mod.rs"]
mod support;

mod choices;
mod damaged_journal;
mod dry_run;
mod info;
mod judged;
mod newer;
mod options;
mod oracle;
mod sizes;
mod standing;
mod told;
mod unattended;
mod undo;
mod undo_refused;
mod unfinished;
mod written;

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use support::{KIB, Lab, Output, Run, sectors};

/// Three copies of one disk, each damaged elsewhere: a vote restores all of it.
struct Damaged {
    lab: Lab,
    /// What they are copies of.
    original: Vec<u8>,
    members: [PathBuf; 3],
}

impl Damaged {
    fn new() -> Self {
        let lab = Lab::new();
        let members = lab.copies("disk.img", 256 * KIB);
        let original = lab.bytes(&members[0]);
        lab.damage(&members[0], sectors(10..12));
        lab.flip_bit(&members[1], 100 * 512 + 77);
        lab.damage(&members[2], sectors(300..303));
        Self { lab, original, members }
    }

    /// In one sector every copy is different, so that nobody wins: the bytes at 4096..4608.
    fn with_an_undecided_sector() -> Self {
        let set = Self::new();
        for member in &set.members {
            set.lab.damage(member, UNDECIDED);
        }
        set
    }

    /// Damaged, repaired, and the bytes that its members held before.
    fn repaired() -> (Self, Vec<Vec<u8>>) {
        let set = Self::new();
        let before = set.bytes();
        set.repair().exits(0);
        set.assert_repaired();
        (set, before)
    }

    fn repair(&self) -> Run {
        in_place(&self.lab, &self.members)
    }

    fn undo(&self) -> Run {
        self.lab.quorum_img(["undo"]).arg(self.journal())
    }

    /// The default journal.
    fn journal(&self) -> PathBuf {
        journal_of(&self.members[0])
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        all_bytes(&self.lab, &self.members)
    }

    fn assert_repaired(&self) {
        for member in &self.members {
            assert_holds(member, &self.original);
        }
    }

    fn assert_bytes(&self, expected: &[Vec<u8>]) {
        assert_all_hold(&self.members, expected);
    }
}

/// See [`Damaged::with_an_undecided_sector`].
const UNDECIDED: std::ops::Range<u64> = 4096..4608;

/// `repair --output json --in-place MEMBER...`, with more options to come.
fn in_place<'a>(lab: &Lab, members: impl IntoIterator<Item = &'a PathBuf>) -> Run {
    lab.quorum_img(["repair", "--output", "json", "--in-place", "-y"]).args(members)
}

/// Where the journal is unless an option says otherwise.
fn journal_of(member: &Path) -> PathBuf {
    let mut name = member.as_os_str().to_owned();
    name.push(".quorum-journal");
    name.into()
}

/// The run ends with this code, complains with these words, and every file's bytes and times are as they were before.
fn refuses(lab: &Lab, run: Run, code: i32, words: &[&str]) -> Output {
    let before = lab.state();
    let output = run.exits(code);
    for word in words {
        output.complains(word);
    }
    assert_eq!(lab.state(), before, "something was written\n{output}");
    support::refusal::assert_clean(&output);
    output
}

/// The file holds exactly these bytes.
fn assert_holds(file: &Path, expected: &[u8]) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let first = bytes.iter().zip(expected).position(|(one, other)| one != other);
    let name = file.display();
    assert!(first.is_none(), "{name} is wrong from byte {} of {} on", first.unwrap_or(0), bytes.len());
    assert_eq!(bytes.len(), expected.len(), "{name} has the wrong length");
}

fn assert_all_hold(files: &[PathBuf], expected: &[Vec<u8>]) {
    for (file, expected) in files.iter().zip(expected) {
        assert_holds(file, expected);
    }
}

fn all_bytes(lab: &Lab, members: &[PathBuf]) -> Vec<Vec<u8>> {
    members.iter().map(|member| lab.bytes(member)).collect()
}

/// A run that says how the members stand: `check` exits with this code.
fn checks(lab: &Lab, members: &[PathBuf], code: i32) -> Value {
    lab.quorum_img(["check", "--output", "json"]).args(members).exits(code).json()
}

/// What the report says of the work on member `index`.
fn work(report: &Value, index: usize) -> &Value {
    let all = report["repair"]["members"].as_array().unwrap_or_else(|| panic!("no list of members: {report}"));
    all.iter().find(|member| member["index"] == index).unwrap_or_else(|| panic!("nothing said of member {index}: {report}"))
}

/// The numbers of the members that there is work for.
fn worked_on(report: &Value) -> Vec<u64> {
    let all = report["repair"]["members"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(|member| number(member, "index")).collect()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"))
}

/// Does by hand what a plan says, on the members' bytes as they were.
fn apply_plan(before: &[Vec<u8>], report: &Value) -> Vec<Vec<u8>> {
    let repair = &report["repair"];
    let size = |value: u64| usize::try_from(value).expect("a small image");
    let mut after = before.to_vec();
    for member in repair["members"].as_array().into_iter().flatten().filter(|member| member["no-write"] != true) {
        for key in ["extend-to", "truncate-to"] {
            if let Some(length) = member[key].as_u64() {
                after[size(number(member, "index"))].resize(size(length), 0);
            }
        }
    }
    assert_eq!(repair["plan-omitted"], 0, "small plans are told in full: {report}");
    for step in repair["plan"].as_array().unwrap_or_else(|| panic!("no plan: {report}")) {
        let range = size(number(step, "offset"))..size(number(step, "offset") + number(step, "length"));
        let from = size(step["from"][0].as_u64().unwrap_or_else(|| panic!("from nobody: {step}")));
        for to in step["to"].as_array().unwrap_or_else(|| panic!("to nobody: {step}")) {
            let to = size(to.as_u64().expect("a member's number"));
            assert!(range.end <= after[to].len(), "beyond the end of member {to}: {step}");
            after[to][range.clone()].copy_from_slice(&before[from][range.clone()]);
        }
    }
    after
}

/// Seconds after some moment in 2023, as a time of modification.
fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// Sets when the file says that it was modified.
fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.set_modified(time).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Overwrites, again and again until the clock that file systems go by has moved on: a later write is told by its time.
fn write_later(lab: &Lab, path: &Path, offset: u64, bytes: &[u8]) {
    let before = modified(path);
    while modified(path) == before {
        lab.write(path, offset, bytes);
    }
}

/// Fails unless standard error names this offset, in decimal or hexadecimal.
fn names_offset(output: &Output, offset: u64) {
    let text = output.stderr();
    let is_it =
        |word: &str| word.parse() == Ok(offset) || word.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16) == Ok(offset));
    let found = text.split(|character: char| !character.is_ascii_alphanumeric()).any(is_it);
    assert!(found, "standard error should name the offset {offset} ({offset:#x})\n{output}");
}

/// A word of text and a path, which needn't be UTF-8.
fn joined(text: &str, path: &Path) -> OsString {
    let mut word = OsString::from(text);
    word.push(path);
    word
}

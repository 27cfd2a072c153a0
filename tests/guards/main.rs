//! What is not overwritten unasked, each as the story of those to whom it happened: small made-up disks, and real ones of
//! `testdata/evidence`. Of each guard also the everyday case that it lets pass.

#[path = "../support/mod.rs"]
mod support;

mod believed;
mod device_metadata;
mod empty_and_cuts;
mod filler;
mod newer;
mod next;
mod sizes;
mod strangers;
mod structure;
mod times;
mod told;
mod zeros;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Lab, Output, Run};

/// The words of the guards that stand, with the member that each is about.
fn guards(report: &Value) -> Vec<(String, Option<u64>)> {
    let all = report["guards"].as_array().into_iter().flatten();
    all.map(|guard| (guard["word"].as_str().expect("a word").to_owned(), guard["member"].as_u64())).collect()
}

fn has(report: &Value, word: &str, member: u64) -> bool {
    guards(report).contains(&(word.to_owned(), Some(member)))
}

/// The members as files of these bytes, called `0.img`, `1.img` and so on.
fn files(lab: &Lab, bytes: &[Vec<u8>]) -> Vec<PathBuf> {
    bytes.iter().enumerate().map(|(index, bytes)| lab.file(format!("{index}.img"), bytes)).collect()
}

fn check(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["check", "--output", "json"]).args(members)
}

fn in_place(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["repair", "--in-place", "--output", "json", "-y"]).args(members)
}

fn new_image(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["repair", "-o", "fixed.img", "--output", "json"]).args(members)
}

/// A check, a plan, a repair in place and a new image all meet the guard of that word before that member; nothing is written, and
/// `--force` with the words of `all` goes through.
fn stands_everywhere(lab: &Lab, members: &[PathBuf], word: &str, member: u64, all: &str) {
    let before = lab.state();
    let checked = check(lab, members).exits(2);
    assert!(has(&checked.json(), word, member), "{checked}");
    for run in [in_place(lab, members).arg("--dry-run"), in_place(lab, members), new_image(lab, members)] {
        let run = run.exits(2);
        assert!(has(&run.json(), word, member), "{run}");
        let refused = run.json()["repair"]["refused"].as_str().unwrap_or_default().to_owned();
        assert!(refused.contains(&members[usize::try_from(member).expect("a number")].display().to_string()), "{run}");
        assert!(refused.contains("--force") && refused.contains(word), "{run}");
        assert_eq!(lab.state(), before, "something was written\n{run}");
    }
    let forced = new_image(lab, members).args(["--force", all]).output();
    assert_eq!(forced.code(), Some(0), "{forced}");
    std::fs::remove_file(lab.path("fixed.img")).expect("it was made");
    in_place(lab, members).args(["--force", all]).exits(0);
}

/// Nobody's word is needed.
fn passes(lab: &Lab, members: &[PathBuf]) -> Output {
    let checked = check(lab, members).exits(1);
    assert_eq!(guards(&checked.json()), [], "{checked}");
    new_image(lab, members).exits(0);
    in_place(lab, members).exits(0)
}

/// A disk with an MBR of these parts: type, first sector, bytes.
fn parted(parts: &[(u8, usize, &[u8])]) -> Vec<u8> {
    let end = parts.iter().map(|(_, start, bytes)| start * 512 + bytes.len()).max().unwrap_or(512);
    let mut disk = vec![0; end];
    for (index, (kind, start, bytes)) in parts.iter().enumerate() {
        let entry = 0x1be + index * 16;
        disk[entry + 4] = *kind;
        disk[entry + 8..entry + 12].copy_from_slice(&u32::try_from(*start).expect("a small disk").to_le_bytes());
        let length = u32::try_from(bytes.len() / 512).expect("a small disk");
        disk[entry + 12..entry + 16].copy_from_slice(&length.to_le_bytes());
        disk[start * 512..start * 512 + bytes.len()].copy_from_slice(bytes);
    }
    disk[0x1b8..0x1bc].copy_from_slice(&[0x78, 0x56, 0x34, 0x12]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("it can be copied");
}

//! QEMU's quorum driver as an outside oracle: where it can decide, we come to the same bytes; where it can't, we do, or say why not.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use support::{KIB, Lab, MIB, Run, needs, noise, sectors};

/// `qemu-img convert` of a quorum of raw files, as its iotest 081 writes it. Its word counts; nothing is expected here.
fn convert(members: &[PathBuf], threshold: usize, more: &[&str], output: &Path) -> Output {
    let driver = format!("driver=raw,file.driver=quorum,file.vote-threshold={threshold}");
    let child = |(index, member): (usize, &PathBuf)| {
        format!("file.children.{index}.driver=raw,file.children.{index}.file.filename={}", member.display())
    };
    let options = std::iter::once(driver).chain(members.iter().enumerate().map(child)).collect::<Vec<_>>().join(",");
    Command::new("qemu-img").arg("convert").args(more).args(["--image-opts", &options, "-O", "raw"]).arg(output).output().expect("it runs")
}

fn repair(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["repair", "--output", "json", "-o", "ours.img"]).args(members)
}

/// Most that QEMU reads, and votes on, at once.
const REQUEST: u64 = 2 * MIB;

/// Small numbers that look random, the same on every run.
struct Dice(Vec<u8>);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        let at = self.0.len().checked_sub(8).expect("enough dice");
        u64::from_le_bytes(self.0.split_off(at).try_into().expect("eight bytes")) % limit
    }
}

/// One bad copy at most in each request of 2 MiB: there QEMU's vote on whole requests has a winner, and it must be ours.
#[test]
fn comes_to_the_same_bytes_as_qemu() {
    if !needs("qemu-img") {
        return;
    }
    for (round, count) in [3, 3, 3, 4, 5].into_iter().enumerate() {
        let lab = Lab::new();
        let mut dice = Dice(noise(round as u64, 4096));
        let length = 4 * REQUEST + dice.below(4000) * 512;
        let mut bytes = noise(100 + round as u64, usize::try_from(length).expect("a small image"));
        // Zeros too, which QEMU sees as holes in the output.
        bytes[1_000_000..1_500_000].fill(0);
        let members = lab.many_copies_of("disk.img", &bytes, count);
        let mut damaged = 0;
        for request in 0..length.div_ceil(REQUEST) {
            let member = &members[usize::try_from(dice.below(count as u64)).expect("a member")];
            let end = (request + 1) * REQUEST;
            for _ in 0..dice.below(6) {
                let from = request * REQUEST + dice.below(REQUEST);
                let to = (from + 1 + dice.below(20_000)).min(end).min(length);
                if from < to {
                    lab.damage(member, from..to);
                    damaged += 1;
                }
            }
        }
        assert!(damaged > 0, "a round without damage shows nothing");
        let theirs = lab.path("theirs.img");
        let output = convert(&members, count / 2 + 1, &[], &theirs);
        assert!(output.status.success(), "QEMU must be able to decide this: {output:?}");
        repair(&lab, &members).exits(0);
        lab.assert_same_bytes(&lab.path("ours.img"), &theirs);
        assert_eq!(lab.bytes(&theirs), bytes);
    }
}

/// Three copies, one bad sector in each, far apart but in one request: all three whole requests differ, and QEMU gives up.
#[test]
fn decides_what_qemu_cannot() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let members = lab.copies::<3>("disk.img", 2 * MIB).to_vec();
    let original = lab.bytes(&members[0]);
    for (member, sector) in members.iter().zip([7, 2000, 4000]) {
        lab.damage(member, sectors(sector..sector + 1));
    }
    let output = convert(&members, 2, &[], &lab.path("theirs.img"));
    assert!(!output.status.success(), "QEMU learned to decide this; rewrite this test: {output:?}");
    repair(&lab, &members).exits(0);
    assert_eq!(lab.bytes(&lab.path("ours.img")), original);
}

/// Two against two: QEMU silently takes the side that it saw last, with exit code 0. We call a tie a tie.
#[test]
fn calls_a_tie_what_qemu_decides_silently() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let members = lab.copies::<4>("disk.img", 256 * KIB).to_vec();
    let original = lab.bytes(&members[0]);
    for member in &members[2..] {
        lab.write(member, 5 * 512, &[0x55; 512]);
    }
    let output = convert(&members, 2, &[], &lab.path("theirs.img"));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_ne!(lab.bytes(&lab.path("theirs.img")), original, "it took the second pair");

    let run = lab.quorum_img(["check", "--output", "json", "--threshold", "2"]).args(&members).exits(2);
    let divergence = &run.json()["divergences"][0];
    assert_eq!(divergence["verdict"], "undecided", "{run}");
    assert_eq!(divergence["versions"], serde_json::json!([{"members": [0, 1]}, {"members": [2, 3]}]), "{run}");
    repair(&lab, &members).args(["--threshold", "2", "--force", "minority"]).exits(2);
    assert!(!lab.path("ours.img").exists());
}

/// QEMU can't open copies of different length, and doesn't say which one is short.
#[test]
fn names_the_short_copy_that_qemu_cannot_open() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let members = lab.copies::<3>("disk.img", MIB).to_vec();
    let original = lab.bytes(&members[0]);
    lab.set_length(&members[1], MIB - 10 * KIB);
    let output = convert(&members, 2, &[], &lab.path("theirs.img"));
    assert!(!output.status.success(), "QEMU learned to open this; rewrite this test: {output:?}");
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(1);
    assert_eq!(run.json()["members"][1]["absent-sectors"], 20, "{run}");
    assert_eq!(run.json()["divergences"][0]["absent"], serde_json::json!([1]), "{run}");
    repair(&lab, &members).exits(0);
    assert_eq!(lab.bytes(&lab.path("ours.img")), original);
}

/// Three different sectors: `--salvage` writes zeros and exits with 0. We write nothing, and exit with 2.
#[test]
fn does_not_salvage_by_making_zeros_up() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let members = lab.copies::<3>("disk.img", 256 * KIB).to_vec();
    for member in &members {
        lab.damage(member, sectors(9..10));
    }
    let theirs = lab.path("theirs.img");
    let output = convert(&members, 2, &["--salvage"], &theirs);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lab.read(&theirs, sectors(9..10)), [0; 512]);
    repair(&lab, &members).exits(2);
    assert!(!lab.path("ours.img").exists());
    // Asked for by name it is the same, and the exit code still says that something is made up.
    repair(&lab, &members).args(["--undecided", "zero"]).exits(2);
    lab.assert_same_bytes(&lab.path("ours.img"), &theirs);
}

/// A report of ours in QEMU's own events: what reads those, reads these.
#[test]
fn events_have_qemus_fields() {
    let lab = Lab::new();
    let members = lab.copies::<3>("disk.img", 256 * KIB).to_vec();
    lab.damage(&members[1], sectors(9..11));
    for member in &members {
        lab.damage(member, sectors(99..100));
    }
    let run = lab.quorum_img(["check", "--output", "events"]).args(&members).exits(2);
    let events = run.events();
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).cloned().collect::<Vec<_>>();
    let bad = named("QUORUM_REPORT_BAD");
    let bad = bad.iter().find(|event| event["data"]["sector-num"] == 9).unwrap_or_else(|| panic!("no event for the damage\n{run}"));
    assert_eq!(bad["data"]["sectors-count"], 2, "{run}");
    assert_eq!(bad["data"]["type"], "read", "{run}");
    assert!(bad["data"]["node-name"].is_string() && bad["data"].get("error").is_none(), "{run}");
    assert!(bad["timestamp"]["seconds"].is_u64() && bad["timestamp"]["microseconds"].is_u64(), "{run}");
    let failure = named("QUORUM_FAILURE");
    assert_eq!(failure.len(), 1, "{run}");
    assert_eq!((&failure[0]["data"]["sector-num"], &failure[0]["data"]["sectors-count"]), (&99.into(), &1.into()), "{run}");
    assert!(failure[0]["data"]["reference"].is_string(), "{run}");
}

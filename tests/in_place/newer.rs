//! A dissenter that was modified after those which outvote it may be the only copy that is up to date.

use std::path::PathBuf;

use super::{
    assert_all_hold, in_place, moment, refuses, set_modified,
    support::{Lab, MIB, Output, report::warnings},
};

/// Member 1 differs from the other two in this many places, each a divergence of its own.
fn scattered(places: u64) -> (Lab, [PathBuf; 3], Vec<u8>) {
    let lab = Lab::new();
    let members = lab.copies("disk.img", 4 * MIB);
    let original = lab.bytes(&members[0]);
    let mut bytes = original.clone();
    for place in 0..places {
        bytes[usize::try_from(place * 8 * 512 + 5).expect("a small image")] ^= 0x40;
    }
    lab.write(&members[1], 0, &bytes);
    (lab, members, original)
}

fn set_times(members: &[PathBuf], seconds: &[u64]) {
    for (member, &seconds) in members.iter().zip(seconds) {
        set_modified(member, moment(seconds));
    }
}

/// Where a warning may be shown: in the report or on standard error.
fn warned(run: &Output) -> String {
    [warnings(&run.json()), run.stderr().to_lowercase()].concat()
}

/// The majority may be what is stale: days of a guest's writes would be rolled back.
#[test]
fn a_newer_member_with_many_divergences_is_not_rewritten() {
    // (1001 sectors are 12 % of the image.)
    let (lab, members, original) = scattered(1001);
    set_times(&members, &[0, 86_400, 0]);
    let run = || in_place(&lab, &members).args(["--max-damage", "50"]);
    let refusal = refuses(&lab, run(), 2, &["disk-1.img", "--force newer"]);
    // Each member's time: 1 700 000 000 s are 2023-11-14T22:13:20Z.
    refusal.complains("2023-11-14").complains("2023-11-15");
    let text = refusal.stderr();
    assert!(["--no-write", "--trust", "--pick"].iter().any(|way| text.contains(way)), "the other ways out are missing\n{refusal}");
    refuses(&lab, run().args(["--force", "stale,minority,changed"]), 2, &["newer"]);
    run().args(["--force", "newer"]).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
}

/// To be told apart by: 1000 divergences, and more than 60 seconds after every member that outvotes it.
#[test]
fn what_counts_as_newer() {
    for (places, seconds, code, why) in [
        (1000, [0, 61, 0], 2, "a minute and a second"),
        (1001, [0, 60, 0], 0, "a minute"),
        (999, [0, 86_400, 0], 0, "too few divergences"),
        (1001, [0, 86_400, 86_350], 0, "one of the others is as new"),
        (1001, [86_400, 86_400, 86_400], 0, "all of one age"),
        (1001, [86_400, 0, 86_400], 0, "older"),
        (1001, [30, 100, 39], 2, "61 seconds after the later one"),
        (1001, [30, 100, 40], 0, "60 seconds after the later one"),
    ] {
        let (lab, members, original) = scattered(places);
        set_times(&members, &seconds);
        let run = in_place(&lab, &members).args(["--max-damage", "50"]);
        if code == 0 {
            let run = run.output();
            assert_eq!(run.code(), Some(0), "{why}\n{run}");
            assert_all_hold(&members, &vec![original; 3]);
        } else {
            refuses(&lab, run, code, &["newer"]);
        }
    }
}

/// With few divergences it is done, and pointed out.
#[test]
fn a_newer_member_with_few_divergences_is_warned_about() {
    let (lab, members, original) = scattered(20);
    set_times(&members, &[0, 86_400, 0]);
    let dry = in_place(&lab, &members).arg("--dry-run").exits(1);
    assert!(warned(&dry).contains("newer") || warned(&dry).contains("modified"), "{dry}");
    let run = in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
    let text = warned(&run);
    assert!((text.contains("newer") || text.contains("modified")) && text.contains("disk-1.img"), "a warning by name is missing\n{run}");
}

/// No warning where there is nothing to warn about.
#[test]
fn a_member_of_the_same_age_is_not_warned_about() {
    let (lab, members, _) = scattered(20);
    set_times(&members, &[0, 0, 0]);
    let run = in_place(&lab, &members).exits(0);
    assert_eq!(warnings(&run.json()), "", "{run}");
}

/// The newer one is left as it is, or it is the one that is right.
#[test]
fn the_other_ways_out_work() {
    let (lab, members, original) = scattered(1001);
    set_times(&members, &[0, 86_400, 0]);
    let newer = lab.bytes(&members[1]);
    let run = || in_place(&lab, &members).args(["--max-damage", "50"]);
    refuses(&lab, run().args(["--no-write", "#1"]), 1, &[]);
    run().args(["--trust", "#1"]).exits(0);
    assert_all_hold(&members, &vec![newer.clone(); 3]);
    assert_ne!(newer, original);
}

/// Two members that are both newer outvote nobody; each is told about.
#[test]
fn several_newer_members_are_all_named() {
    let lab = Lab::new();
    let members: [_; 5] = lab.copies("disk.img", 4 * MIB);
    let mut bytes = lab.bytes(&members[0]);
    for place in 0..1001 {
        bytes[place * 8 * 512] ^= 0x40;
    }
    for member in [1, 4] {
        lab.write(&members[member], 0, &bytes);
    }
    set_times(&members, &[0, 1000, 0, 0, 2000]);
    refuses(&lab, in_place(&lab, &members).args(["--max-damage", "50"]), 2, &["disk-1.img", "disk-4.img", "newer"]);
}

//! Members that aren't of one length.

use serde_json::json;

use super::{
    Damaged, assert_holds, refuses, repair,
    support::{KIB, Lab, noise},
};

#[test]
fn a_truncated_member_is_outvoted() {
    let set = Damaged::new();
    set.lab.set_length(&set.members[2], 200 * KIB + 17);
    let run = set.repair().exits(0);
    set.assert_restored();
    assert_eq!(run.json()["size"], 256 * KIB, "{run}");
    // The sector that it holds 17 bytes of is absent too.
    assert_eq!(run.json()["members"][2]["absent-sectors"], 112, "{run}");
}

/// Somebody may have put data there on purpose: to cut it off is a decision for a person.
#[test]
fn a_surplus_of_data_is_never_cut_off_unasked() {
    let set = Damaged::new();
    set.lab.set_length(&set.members[1], 260 * KIB);
    set.lab.write(&set.members[1], 259 * KIB, b"data");
    let report = refuses(&set.lab, set.repair(), 2, &["--size"]).json();
    assert_eq!((&report["exit-code"], &report["repair"]["written"]), (&json!(2), &json!(false)), "{report}");
    assert!(report["repair"]["refused"].as_str().is_some_and(|why| why.contains("disk-1.img") && why.contains("hint: ")), "{report}");
    // Nothing was compared, so nobody is said to agree.
    assert_eq!((&report["verdict"], &report["repair"]["format"]), (&json!("undecided"), &json!("raw")), "{report}");
    assert_ne!(report["members"][0]["status"], "ok", "{report}");
    set.repair().args(["--size", "256k"]).exits(0);
    set.assert_restored();
}

#[test]
fn a_surplus_of_zeros_is_cut_off() {
    let set = Damaged::new();
    set.lab.set_length(&set.members[1], 260 * KIB);
    let run = set.repair().exits(0);
    assert_eq!(run.json()["members"][1]["surplus-bytes"], 4 * KIB, "{run}");
    set.assert_restored();
}

/// Zeros that were written, not a hole, right up to the end; and the one byte that isn't zero hides where a fast look may miss it.
#[test]
fn one_byte_at_the_very_end_is_data() {
    let set = Damaged::new();
    set.lab.set_length(&set.members[0], 4 * 1024 * KIB + 3);
    set.lab.write(&set.members[0], 4 * 1024 * KIB + 2, &[1]);
    refuses(&set.lab, set.repair(), 2, &["--size"]);
}

#[test]
fn without_a_winner_it_asks_for_the_size() {
    let lab = Lab::new();
    let bytes = noise(1, 96 * 1024);
    let members = [60, 70, 80].map(|kib: usize| lab.file(format!("{kib}.img"), &bytes[..kib * 1024]));
    let output = lab.path("out.img");
    let before = lab.listing();
    let run = repair(&lab, &output, &members).output();
    assert_eq!(run.code(), Some(2), "{run}");
    run.complains("--size");
    assert_eq!(lab.listing(), before, "{run}");
    // Programs get a report of it, and people a message alone.
    let report = run.json();
    assert_eq!((&report["size-undecided"], &report["size"], &report["exit-code"]), (&json!(true), &json!(80 * 1024), &json!(2)), "{run}");
    assert_eq!((&report["partial"], &report["scanned-bytes"], &report["sectors"]["total"]), (&json!(true), &json!(0), &json!(0)), "{run}");
    let sizes: Vec<u64> = report["members"].as_array().expect("a list").iter().filter_map(|member| member["size"].as_u64()).collect();
    assert_eq!(sizes, [60 * 1024, 70 * 1024, 80 * 1024], "{run}");
    assert!(report["repair"]["refused"].as_str().is_some_and(|why| why.contains("--size")), "{run}");
    let run = lab.quorum_img(["repair", "-o", "out.img", "--report", "report.json"]).args(&members).exits(2);
    assert_eq!(run.stdout(), "", "{run}");
    let kept: serde_json::Value = serde_json::from_slice(&lab.bytes(&lab.path("report.json"))).expect("it is JSON");
    assert_eq!((&kept["size-undecided"], &kept["members"]), (&report["size-undecided"], &report["members"]), "the same in a file");
    repair(&lab, &output, &members).args(["--size", "70k"]).exits(0);
    assert_holds(&output, &bytes[..70 * 1024]);
}

/// The tail that only one member holds has one ballot of three: no size makes a winner of it.
#[test]
fn a_size_given_does_not_make_the_tail_right() {
    let lab = Lab::new();
    let bytes = noise(1, 96 * 1024);
    let members = [60, 70, 80].map(|kib: usize| lab.file(format!("{kib}.img"), &bytes[..kib * 1024]));
    let output = lab.path("out.img");
    refuses(&lab, repair(&lab, &output, &members).args(["--size", "80k"]), 2, &[]);
    repair(&lab, &output, &members).args(["--size", "80k", "--undecided", "first"]).exits(2);
    assert_holds(&output, &bytes[..80 * 1024]);
}

/// Sizes that aren't multiples of the sector: the last sector is short, and is voted on all the same.
#[test]
fn a_short_last_sector_is_repaired() {
    let lab = Lab::new();
    for length in [1usize, 511, 513, 4097, 100_001] {
        let bytes = noise(length as u64, length);
        let members: [_; 3] = lab.copies_of("disk.img", &bytes);
        lab.flip_bit(&members[0], length as u64 - 1);
        let output = lab.path(format!("{length}.img"));
        let run = repair(&lab, &output, &members).exits(0);
        assert_holds(&output, &bytes);
        assert_eq!(run.json()["sectors"]["total"], (length as u64).div_ceil(512), "{run}");
    }
}

//! What a repair in place tells of itself, in JSON and to people.

use serde_json::{Value, json};

use super::{
    Damaged, all_bytes, apply_plan, checks, in_place, joined, journal_of, number,
    support::{KIB, Lab, MIB, oracle::Question, report::keys, sectors},
    work, worked_on,
};

#[test]
fn the_report_has_all_that_was_promised() {
    let set = Damaged::new();
    let before = set.bytes();
    let run = set.repair().exits(0);
    let report = run.json();
    assert_eq!((&report["command"], &report["exit-code"], &report["schema"]), (&json!("repair"), &json!(0), &json!(1)), "{run}");
    let repair = &report["repair"];
    for (key, value) in [
        ("in-place", json!(true)),
        ("dry-run", json!(false)),
        ("completed", json!(true)),
        ("verified", json!(true)),
        ("composed-blocks", json!(0)),
        ("healed-sectors", json!(0)),
        ("not-healed-sectors", json!(0)),
        ("plan-omitted", json!(0)),
    ] {
        assert_eq!(repair[key], value, "{key}\n{run}");
    }
    assert!(matches!(repair["verified-from"].as_str(), Some("medium" | "cache")), "{run}");
    assert!(repair["journal"].as_str().is_some_and(|name| name.ends_with("disk-0.img.quorum-journal")), "{run}");
    assert!((6 * 512..=MIB).contains(&number(repair, "journal-bytes")), "the old bytes of six sectors, and what goes with them\n{run}");
    for key in ["healed", "not-healed", "picked"] {
        assert!(repair.get(key).is_none_or(|list| list == &json!([])), "{key}\n{run}");
    }
    assert_eq!(apply_plan(&before, &report), set.bytes(), "{run}");
}

#[test]
fn the_report_says_what_was_found_before() {
    let set = Damaged::with_an_undecided_sector();
    set.lab.set_length(&set.members[2], 255 * KIB);
    let before = checks(&set.lab, &set.members, 2);
    let run = set.repair().exits(2);
    assert_eq!(Question::relevant(&run.json()), Question::relevant(&before), "{run}");
}

/// Every member that there is work for, with all the figures, and no other one.
#[test]
fn each_member_is_accounted_for() {
    let lab = Lab::new();
    let members: [_; 4] = lab.copies("disk.img", 256 * KIB);
    lab.damage(&members[0], sectors(10..12));
    lab.set_length(&members[2], 250 * KIB);
    lab.damage(&members[2], sectors(20..21));
    lab.set_length(&members[3], 260 * KIB);
    let run = in_place(&lab, &members).args(["--size", "256k", "--truncate"]).exits(0);
    let report = run.json();
    assert_eq!(worked_on(&report), [0, 2, 3], "{run}");
    let must = [
        "index",
        "name",
        "written",
        "dissenting-bytes",
        "absent-bytes",
        "unreadable-bytes",
        "zeros-over-data-bytes",
        "data-over-zeros-bytes",
        "bytes-written",
    ];
    for (index, dissenting, absent, optional) in [(0, 1024, 0, None), (2, 512, 6 * KIB, Some("extend-to")), (3, 0, 0, Some("truncate-to"))]
    {
        let member = work(&report, index);
        let mut expected: Vec<_> = must.into_iter().chain(optional).collect();
        expected.sort_unstable();
        assert_eq!(keys(member), expected, "{run}");
        assert_eq!((number(member, "dissenting-bytes"), number(member, "absent-bytes")), (dissenting, absent), "{run}");
        assert_eq!((&member["written"], number(member, "unreadable-bytes")), (&json!(true), 0), "{run}");
        // What differs, rounded to blocks at most.
        let blocks = |bytes: u64| if bytes == 0 { 0 } else { bytes + 2 * 4096 };
        let written = number(member, "bytes-written");
        assert!((dissenting + absent..=blocks(dissenting) + blocks(absent)).contains(&written), "{written} bytes\n{run}");
    }
    let sum: u64 = [0, 2, 3].into_iter().map(|index| number(work(&report, index), "bytes-written")).sum();
    assert_eq!(number(&report["repair"], "bytes-written"), sum, "{run}");
}

/// Blocks that no member had whole were put together from several.
#[test]
fn composed_blocks_are_counted() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    // Block 1: each member has a bad sector of its own. Block 3: a and b are bad, c is whole.
    for (member, sector) in [(0, 8), (1, 10), (2, 15), (0, 24), (1, 25)] {
        lab.damage(&members[member], sectors(sector..sector + 1));
    }
    let run = in_place(&lab, &members).exits(0);
    assert_eq!(run.json()["repair"]["composed-blocks"], 1, "{run}");
}

#[test]
fn the_report_file_says_the_same() {
    let set = Damaged::new();
    let run = set.lab.quorum_img(["repair", "--in-place", "--report", "report.json"]).args(&set.members).exits(0);
    let report: Value = serde_json::from_slice(&set.lab.bytes(&set.lab.path("report.json"))).expect("JSON");
    assert_eq!(report["command"], "repair", "{run}");
    assert_eq!(report["repair"]["completed"], true, "{run}");
    assert_eq!(report["divergences"].as_array().map(Vec::len), Some(3), "{run}");
    assert_eq!(worked_on(&report), [0, 1, 2], "{run}");
}

/// Long plans are cut short in the report; what is done isn't.
#[test]
fn a_long_plan_is_shown_in_part() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 512 * KIB);
    let original = lab.bytes(&members[0]);
    for sector in 0..60 {
        lab.damage(&members[1], sectors(sector * 16..sector * 16 + 1));
    }
    let run = in_place(&lab, &members).args(["--max-divergences", "7"]).exits(0);
    super::assert_all_hold(&members, &vec![original; 3]);
    let report = run.json();
    let shown = report["repair"]["plan"].as_array().map_or(0, Vec::len) as u64;
    assert!(shown <= 7, "{run}");
    assert_eq!(shown + number(&report["repair"], "plan-omitted"), 60, "{run}");
    assert_eq!(work(&report, 1)["dissenting-bytes"], 60 * 512, "{run}");
}

/// People are told who was wrong, what was done, and where the way back is.
#[test]
fn people_are_told_the_members_and_the_journal() {
    let set = Damaged::new();
    let run = set.lab.quorum_img(["repair", "--in-place"]).args(&set.members).exits(0);
    for name in ["disk-0.img", "disk-1.img", "disk-2.img", "disk-0.img.quorum-journal", "undo"] {
        run.says(name);
    }
    // The plan's summary comes before the first write.
    run.complains("disk-0.img.quorum-journal");
    assert!(!run.stderr().contains("hint:"), "nothing is wrong\n{run}");
}

#[test]
fn people_are_told_what_is_left() {
    let set = Damaged::with_an_undecided_sector();
    set.lab.set_length(&set.members[1], 257 * KIB);
    let run = set.lab.quorum_img(["repair", "--in-place", "--no-write", "#2"]).args(&set.members).exits(2);
    let all = run.stdout() + &run.stderr();
    for word in ["--pick", "--truncate", "--no-write", "undecided"] {
        assert!(all.contains(word), "{word} is missing\n{run}");
    }
}

/// A member of mere zeros in place of data, and the reverse: "a class of its own" in the summary.
#[test]
fn zeros_against_data_are_told_apart() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    lab.write(&members[1], 100 * 512, &[0; 8 * 512]);
    let run = lab.quorum_img(["repair", "--in-place"]).args(&members).exits(0);
    let summary = run.stderr().to_lowercase();
    assert!(summary.contains("zero"), "{run}");
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    lab.write(&members[1], 100 * 512, &[0; 8 * 512]);
    let report = in_place(&lab, &members).exits(0).json();
    assert_eq!(work(&report, 1)["data-over-zeros-bytes"], 8 * 512, "{report}");
    assert_eq!(work(&report, 1)["zeros-over-data-bytes"], 0, "{report}");
}

/// Escape codes in names must not reach the terminal, neither of a repair nor of an undo.
#[test]
fn names_are_shown_with_control_characters_escaped() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("\u{1b}[31mred\n.img", 64 * KIB);
    lab.damage(&members[1], sectors(3..4));
    let before = all_bytes(&lab, &members);
    let journal = journal_of(&members[0]);
    let dry = lab.quorum_img(["repair", "--in-place", "--dry-run"]).args(&members).exits(1);
    let stale = lab.quorum_img(["repair", "--in-place", "--max-damage", "0"]).args(&members).exits(2);
    let run = lab.quorum_img(["repair", "--in-place"]).args(&members).exits(0);
    let info = lab.quorum_img(["info"]).arg(&journal).exits(0);
    let undo = lab.quorum_img(["undo"]).arg(&journal).exits(0);
    let undone = lab.quorum_img(["repair", "--in-place"]).args(&members).exits(3);
    for output in [dry, stale, run, info, undo, undone] {
        super::support::refusal::assert_clean(&output);
    }
    super::assert_all_hold(&members, &before);
}

/// Names that aren't UTF-8 are kept in the journal as they are.
#[test]
fn names_that_are_no_text_work() {
    use std::os::unix::ffi::OsStrExt;
    let lab = Lab::new();
    let bytes = super::support::noise(1, 64 << 10);
    let members = [&b"caf\xe9-0"[..], b"caf\xe9-1", b"--help"].map(|name| lab.file(std::ffi::OsStr::from_bytes(name), &bytes));
    lab.damage(&members[1], sectors(3..4));
    let before = all_bytes(&lab, &members);
    let run = in_place(&lab, &members).exits(0);
    assert_eq!(run.json()["repair"]["completed"], true, "{run}");
    super::assert_all_hold(&members, &vec![bytes; 3]);
    let moved = lab.path("moved.img");
    std::fs::rename(&members[1], &moved).expect("the same folder");
    let mut map = joined("", &members[1]);
    map.push(joined("=", &moved));
    lab.quorum_img(["undo"]).arg("--map").arg(map).arg(journal_of(&members[0])).exits(0);
    assert_eq!(lab.bytes(&moved), before[1]);
}

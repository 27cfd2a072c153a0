//! `--dry-run` prints the very plan that a run then follows, and touches nothing.

use serde_json::json;

use super::{
    Damaged, all_bytes, apply_plan, in_place, refuses,
    support::{KIB, Lab, sectors},
    work, worked_on,
};

#[test]
fn prints_the_plan_and_touches_nothing() {
    let set = Damaged::new();
    let run = refuses(&set.lab, set.repair().arg("--dry-run"), 1, &[]);
    let report = run.json();
    let repair = &report["repair"];
    assert_eq!(
        repair["plan"],
        json!([
            { "offset": 10 * 512, "length": 1024, "from": [1, 2], "to": [0] },
            { "offset": 100 * 512, "length": 512, "from": [0, 2], "to": [1] },
            { "offset": 300 * 512, "length": 1536, "from": [0, 1], "to": [2] },
        ]),
        "{run}"
    );
    assert_eq!((&repair["in-place"], &repair["dry-run"], &repair["completed"]), (&json!(true), &json!(true), &json!(false)), "{run}");
    assert!(repair.get("journal").is_none(), "{run}");
    assert_eq!(report["exit-code"], 1, "{run}");
    assert_eq!(worked_on(&report), [0, 1, 2], "{run}");
    for (member, bytes) in [(0, 1024), (1, 512), (2, 1536)] {
        assert_eq!(work(&report, member)["dissenting-bytes"], bytes, "{run}");
        assert_eq!(work(&report, member)["bytes-written"].as_u64().unwrap_or(0), 0, "{run}");
    }
    assert_eq!(apply_plan(&set.bytes(), &report), [set.original.clone(), set.original.clone(), set.original.clone()], "{run}");
}

/// For people: who gets what, and that nothing was done.
#[test]
fn tells_people_the_plan() {
    let set = Damaged::new();
    let run = set.lab.quorum_img(["repair", "--in-place", "--dry-run"]).args(&set.members);
    let run = refuses(&set.lab, run, 1, &[]);
    run.says("disk-0.img").says("disk-1.img").says("disk-2.img").says("plan");
    let names_offset = |offset: u64| run.stdout().contains(&offset.to_string()) || run.stdout().contains(&format!("{offset:#x}"));
    assert!([10 * 512, 100 * 512, 300 * 512].into_iter().all(names_offset), "the places are missing\n{run}");
}

#[test]
fn nothing_to_do_is_0() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    let run = refuses(&lab, in_place(&lab, &members).arg("--dry-run"), 0, &[]);
    assert_eq!(run.json()["exit-code"], 0, "{run}");
    assert_eq!(worked_on(&run.json()), [0; 0], "{run}");
}

#[test]
fn undecided_sectors_are_2() {
    let set = Damaged::with_an_undecided_sector();
    let run = refuses(&set.lab, set.repair().arg("--dry-run"), 2, &[]);
    assert_eq!(run.json()["exit-code"], 2, "{run}");
    assert_eq!(run.json()["repair"]["plan"].as_array().map(Vec::len), Some(3), "what nobody knows isn't planned\n{run}");
}

#[test]
fn a_surplus_is_1_with_and_without_truncate() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    lab.set_length(&members[1], 65 * KIB);
    refuses(&lab, in_place(&lab, &members).arg("--dry-run"), 1, &[]);
    let run = refuses(&lab, in_place(&lab, &members).args(["--dry-run", "--truncate"]), 1, &[]);
    assert_eq!(work(&run.json(), 1)["truncate-to"], 64 * KIB, "{run}");
}

#[test]
fn a_member_that_is_spared_is_1() {
    let set = Damaged::new();
    let run = refuses(&set.lab, set.repair().args(["--dry-run", "--no-write", "#0", "--no-write", "#1", "--no-write", "#2"]), 1, &[]);
    assert_eq!(run.json()["repair"]["plan"].as_array().map_or(0, Vec::len), 0, "nobody is written to\n{run}");
}

/// Every way to say what is right goes into the plan, and the run then does just that.
#[test]
fn the_run_does_what_the_plan_says() {
    for options in [
        &[][..],
        &["--trust", "#1"],
        &["--pick", "4096:512=#2"],
        &["--range", "0:60k"],
        &["--no-write", "#2"],
        &["--truncate"],
        &["--size", "250k", "--truncate"],
        &["--sector-size", "4096"],
        &["--from", "report.json"],
    ] {
        let set = Damaged::with_an_undecided_sector();
        set.lab.set_length(&set.members[0], 260 * KIB);
        set.lab.set_length(&set.members[1], 255 * KIB);
        set.lab.damage(&set.members[2], sectors(450..451));
        // With a's surplus and b's missing part no size has a majority of three: two more settle it.
        let more = ["disk-3.img", "disk-4.img"].map(|name| set.lab.file(name, &set.original));
        let members = [&set.members[..], &more].concat();
        set.lab.quorum_img(["check", "--report", "report.json"]).args(&members).exits(2);
        let before = all_bytes(&set.lab, &members);

        let run = || in_place(&set.lab, &members).args(["--threshold", "3", "--max-damage", "100"]).args(options);
        let kept = set.lab.state();
        let dry = run().arg("--dry-run").output();
        assert_eq!(set.lab.state(), kept, "{dry}");
        let real = run().output();
        assert!(matches!((dry.code(), real.code()), (Some(1..=2), Some(0..=2))), "{dry}\n{real}");
        let (planned, done) = (dry.json(), real.json());
        assert_eq!(planned["repair"]["plan"], done["repair"]["plan"], "{dry}\n{real}");
        assert_eq!(worked_on(&planned), worked_on(&done), "{dry}\n{real}");
        for member in worked_on(&planned) {
            let [planned, done] = [&planned, &done].map(|report| work(report, usize::try_from(member).expect("a small number")));
            for key in [
                "dissenting-bytes",
                "absent-bytes",
                "unreadable-bytes",
                "extend-to",
                "truncate-to",
                "left-bytes",
                "zeros-over-data-bytes",
                "data-over-zeros-bytes",
            ] {
                assert_eq!(planned[key], done[key], "{key} of member {member}\n{dry}\n{real}");
            }
        }
        assert_eq!(apply_plan(&before, &planned), all_bytes(&set.lab, &members), "{dry}\n{real}");
    }
}

/// Who only looks needs no right to write.
#[test]
fn needs_no_permission_to_write() {
    if !super::support::is_root() {
        super::support::skip("another user's files can't be tested without root");
        return;
    }
    let set = Damaged::new();
    let run = refuses(&set.lab, set.repair().arg("--dry-run").by_user(4321), 1, &[]);
    assert_eq!(run.json()["repair"]["plan"].as_array().map(Vec::len), Some(3), "{run}");
}

/// A journal that stands there is no matter of a run that writes none; the plan is told.
#[test]
fn asks_no_question_and_takes_yes_for_an_answer() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().args(["--dry-run"]), 1, &[]);
    refuses(&set.lab, set.repair().args(["--dry-run", "--no-journal"]), 1, &[]);
    refuses(&set.lab, set.repair().args(["--dry-run", "--journal", "undo.log"]), 1, &[]);
}

//! Where a person knows better, or wants a part only: `--trust`, `--pick`, `--range`, `--from`, `--no-write`, `--threshold`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use super::{
    Damaged, all_bytes, apply_plan, assert_all_hold, assert_holds, checks, in_place, modified, moment, refuses, set_modified,
    support::{KIB, Lab, is_root, report::file_name, sectors, skip},
    work, worked_on, write_later,
};

#[test]
fn the_others_become_like_the_trusted_member() {
    for by_number in [true, false] {
        let set = Damaged::new();
        let trusted = set.lab.bytes(&set.members[2]);
        let was = modified(&set.members[2]);
        let name = if by_number { "#2".to_owned() } else { set.members[2].display().to_string() };
        let run = set.repair().args(["--trust", &name]).exits(0);
        set.assert_bytes(&[trusted.clone(), trusted.clone(), trusted]);
        assert_eq!(modified(&set.members[2]), was, "it is only read\n{run}");
        assert_eq!(worked_on(&run.json()), [0, 1], "{run}");
        // a: its own two bad sectors and the trusted one's three; b: one and three.
        assert_eq!(work(&run.json(), 0)["dissenting-bytes"], 5 * 512, "{run}");
        assert_eq!(work(&run.json(), 1)["dissenting-bytes"], 4 * 512, "{run}");
    }
}

/// Two members, of which one is right: "I'd rather use a tool that knows which instance is okay and copies it".
#[test]
fn trust_works_between_two() {
    let lab = Lab::new();
    let members: [_; 2] = lab.copies("disk.img", 64 * KIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[1], sectors(3..5));
    refuses(&lab, in_place(&lab, &members), 2, &["--trust"]);
    in_place(&lab, &members).args(["--trust", "#0"]).exits(0);
    assert_all_hold(&members, &vec![original; 2]);
}

/// Its size is right too: longer members keep their surplus unless told otherwise, shorter ones grow.
#[test]
fn the_size_of_a_trusted_member_is_right() {
    let set = Damaged::new();
    set.lab.set_length(&set.members[0], 250 * KIB);
    let trusted = set.lab.bytes(&set.members[0]);
    set.repair().args(["--trust", "#0"]).exits(1);
    for member in &set.members[1..] {
        assert_eq!(set.lab.bytes(member).len(), 256 << 10);
        assert_eq!(set.lab.read(member, 0..250 * KIB), trusted);
    }
    set.repair().args(["--trust", "#0", "--truncate", "--force", "cuts", "--journal", "second"]).exits(0);
    set.assert_bytes(&[trusted.clone(), trusted.clone(), trusted]);

    let set = Damaged::new();
    set.lab.set_length(&set.members[0], 260 * KIB);
    set.lab.write(&set.members[0], 257 * KIB, b"data");
    let trusted = set.lab.bytes(&set.members[0]);
    set.repair().args(["--trust", "#0"]).exits(0);
    set.assert_bytes(&[trusted.clone(), trusted.clone(), trusted]);
}

#[test]
fn a_pick_settles_what_is_undecided() {
    for by_number in [true, false] {
        let set = Damaged::with_an_undecided_sector();
        let before = set.bytes();
        let mut expected = set.original.clone();
        expected[4096..4608].copy_from_slice(&before[1][4096..4608]);
        let name = if by_number { "#1".to_owned() } else { set.members[1].display().to_string() };
        let run = set.repair().args(["--pick", &format!("4096:512={name}")]).exits(0);
        set.assert_bytes(&[expected.clone(), expected.clone(), expected]);
        assert_eq!(apply_plan(&before, &run.json()), set.bytes(), "{run}");
        assert!(!run.json()["repair"]["picked"].is_null(), "the report must name what was picked\n{run}");
        set.undo().exits(0);
        set.assert_bytes(&before);
    }
}

/// A person outvotes them all, and only in the range that was named: the rest of the damage goes as voted.
#[test]
fn a_pick_overrides_the_majority() {
    let set = Damaged::new();
    let mut expected = set.original.clone();
    let range = 300 * 512..302 * 512;
    expected[range.clone()].copy_from_slice(&set.lab.bytes(&set.members[2])[range]);
    set.repair().args(["--pick", &format!("{}:1k=#2", 300 * 512)]).exits(0);
    set.assert_bytes(&[expected.clone(), expected.clone(), expected]);
}

#[test]
fn picks_can_be_repeated() {
    let set = Damaged::with_an_undecided_sector();
    for member in &set.members {
        set.lab.damage(member, 8192..8704);
    }
    let before = set.bytes();
    let mut expected = set.original.clone();
    expected[4096..4608].copy_from_slice(&before[0][4096..4608]);
    expected[8192..8704].copy_from_slice(&before[1][8192..8704]);
    set.repair().args(["--pick", "4096:512=#0", "--pick", "8192:512=#1"]).exits(0);
    set.assert_bytes(&[expected.clone(), expected.clone(), expected]);
}

/// Inside: a's damage. Outside: those of b and c, which nobody looked at.
#[test]
fn only_the_range_is_repaired() {
    let set = Damaged::new();
    let before = set.bytes();
    let run = set.repair().args(["--range", "0:16k"]).exits(0);
    set.assert_bytes(&[set.original.clone(), before[1].clone(), before[2].clone()]);
    assert_eq!(worked_on(&run.json()), [0], "{run}");
    let left = checks(&set.lab, &set.members, 1);
    assert_eq!(left["sectors"]["decided"], 4, "{left}");
}

/// It begins and ends within sectors: those are repaired as a whole, and no more.
#[test]
fn a_range_is_widened_to_sectors() {
    let set = Damaged::new();
    let before = set.bytes();
    let offset = 301 * 512 + 200;
    set.repair().args(["--range", &format!("{offset}:100")]).exits(0);
    let mut expected = before.clone();
    expected[2][301 * 512..302 * 512].copy_from_slice(&set.original[301 * 512..302 * 512]);
    set.assert_bytes(&expected);
}

/// What lies between a short member's end and the range is not known to be right, so it can't be filled in.
#[test]
fn a_range_beyond_a_members_end_does_not_extend_it() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    lab.set_length(&members[1], 250 * KIB);
    let before = all_bytes(&lab, &members);
    let run = in_place(&lab, &members).args(["--range", "252k:1k"]).output();
    assert!(run.code().is_some_and(|code| (1..=2).contains(&code)), "it still differs in the range\n{run}");
    assert_all_hold(&members, &before);
    // From its end on, but not to the end.
    let run = in_place(&lab, &members).args(["--range", "240k:12k"]).output();
    assert!(run.code().is_some_and(|code| code <= 2), "{run}");
    assert_holds(&members[1], &original[..252 << 10]);
}

/// Found today under shared locks, repaired tonight: only what the report lists is voted on.
#[test]
fn repairs_from_a_report() {
    let set = Damaged::with_an_undecided_sector();
    let before = set.bytes();
    set.lab.quorum_img(["check", "--report", "report.json"]).args(&set.members).exits(2);
    let run = set.repair().args(["--from", "report.json"]).exits(2);
    for (member, before) in set.members.iter().zip(&before) {
        let mut expected = set.original.clone();
        expected[4096..4608].copy_from_slice(&before[4096..4608]);
        assert_holds(member, &expected);
    }
    assert_eq!(apply_plan(&before, &run.json()), set.bytes(), "{run}");
    set.undo().exits(0);
    set.assert_bytes(&before);
}

/// A guest ran in between: the report doesn't speak of these bytes any more.
#[test]
fn a_report_that_is_older_than_a_member_is_refused() {
    for member in 0..3 {
        let set = Damaged::new();
        set.lab.quorum_img(["check", "--report", "report.json"]).args(&set.members).exits(1);
        let offset = 400 * 512;
        write_later(&set.lab, &set.members[member], offset, &set.lab.read(&set.members[member], offset..offset + 1));
        let name = file_name(&set.members[member]);
        refuses(&set.lab, set.repair().args(["--from", "report.json"]), 3, &["changed", name]);
        set.repair().args(["--from", "report.json", "--force", "changed"]).exits(0);
        set.assert_repaired();
    }
}

/// Even where it has the same time as before, and where the user insists: what was listed is voted on again, and that counts.
#[test]
fn what_a_report_lists_is_voted_on_again() {
    let set = Damaged::new();
    for member in &set.members {
        set_modified(member, moment(0));
    }
    set.lab.quorum_img(["check", "--report", "report.json"]).args(&set.members).exits(1);
    // Now a is alone where the report says that c was.
    let range = 300 * 512..303 * 512;
    let new = set.lab.read(&set.members[2], range.clone());
    set.lab.write(&set.members[1], range.start, &new);
    set_modified(&set.members[1], moment(0));
    set.repair().args(["--from", "report.json"]).exits(0);
    let mut expected = set.original.clone();
    expected[300 * 512..303 * 512].copy_from_slice(&new);
    set.assert_bytes(&[expected.clone(), expected.clone(), expected]);
}

#[test]
fn a_report_of_other_members_is_refused() {
    let set = Damaged::new();
    let [x, y, z] = set.lab.copies("other.img", 128 * KIB);
    set.lab.damage(&x, sectors(7..8));
    set.lab.quorum_img(["check", "--report", "report.json"]).args([&x, &y, &z]).exits(1);
    refuses(&set.lab, set.repair().args(["--from", "report.json"]), 3, &["report.json"]);
    set.lab.file("report.json", "{\"schema\": 1}");
    refuses(&set.lab, set.repair().args(["--from", "report.json"]), 3, &["report.json"]);
    refuses(&set.lab, set.repair().args(["--from", "missing.json"]), 3, &["missing.json"]);
}

#[test]
fn a_member_that_may_not_be_written_votes_only() {
    for by_number in [true, false] {
        let set = Damaged::new();
        let before = set.bytes();
        let name = if by_number { "#2".to_owned() } else { set.members[2].display().to_string() };
        let was = modified(&set.members[2]);
        let run = set.repair().args(["--no-write", &name]).exits(1);
        set.assert_bytes(&[set.original.clone(), set.original.clone(), before[2].clone()]);
        assert_eq!(modified(&set.members[2]), was, "{run}");
        let report = run.json();
        let spared = work(&report, 2);
        assert_eq!((&spared["no-write"], &spared["written"]), (&true.into(), &false.into()), "{run}");
        assert_eq!(report["exit-code"], 1, "{run}");
        let left = checks(&set.lab, &set.members, 1);
        assert_eq!(left["members"][2]["dissenting-sectors"], 3, "{left}");
    }
}

/// Nothing is left that an option would do.
#[test]
fn a_spared_member_that_agrees_is_no_work_left() {
    let set = Damaged::new();
    set.lab.write(&set.members[2], 0, &set.original);
    set.repair().args(["--no-write", "#2"]).exits(0);
    set.assert_repaired();
}

#[test]
fn several_members_can_be_spared() {
    let set = Damaged::new();
    let before = set.bytes();
    set.repair().args(["--no-write", "#2", "--no-write", "#0"]).exits(1);
    set.assert_bytes(&[before[0].clone(), set.original.clone(), before[2].clone()]);
}

/// It is opened for reading only: that it can't be written doesn't matter then. Without the option it does.
#[test]
fn a_member_without_permission_needs_to_be_spared() {
    let set = Damaged::new();
    let user = 4321;
    let root = is_root();
    if root {
        for path in set.members.iter().map(|member| &**member).chain([set.lab.folder()]) {
            chown(path, Some(user), Some(user)).expect("root may");
        }
        chown(&set.members[1], Some(0), Some(0)).expect("root may");
    }
    fs::set_permissions(&set.members[1], fs::Permissions::from_mode(if root { 0o644 } else { 0o444 })).expect("our own file");
    let before = set.bytes();
    let by = |run: super::Run| if root { run.by_user(user) } else { run };
    refuses(&set.lab, by(set.repair()), 3, &["disk-1.img", "--no-write"]);
    by(set.repair()).args(["--no-write", "#1"]).exits(1);
    set.assert_bytes(&[set.original.clone(), before[1].clone(), set.original.clone()]);
    by(set.undo()).exits(0);
    set.assert_bytes(&before);
    // A trusted one is only read, too.
    fs::remove_file(set.journal()).expect("it is there");
    by(set.repair()).args(["--trust", "#1"]).exits(0);
    set.assert_bytes(&[before[1].clone(), before[1].clone(), before[1].clone()]);
    if !root {
        skip("another user's files can't be tested without root");
    }
}

/// Two of three don't suffice where all three must agree.
#[test]
fn a_higher_threshold_decides_less() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().args(["--threshold", "3"]), 2, &[]);
}

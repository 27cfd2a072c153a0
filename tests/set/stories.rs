//! More ways in which a set once took what is newest for damage, or couldn't be led out of where it was.

use super::{
    Lab, can_be_marked, check, create,
    found::{MARK, away, back, begin_a_pass, epoch},
    history,
    marks::cp,
    set_of_three, states, status,
};
use crate::support::noise;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// One write to a file from now on.
fn guest_writes(lab: &Lab, offset: u64, members: &[&Path]) {
    std::thread::sleep(Duration::from_millis(60));
    for member in members {
        lab.write(member, offset, &noise(offset + 5, 512));
    }
}

/// A write to one member while a check was under way, in a part that was yet to be read, was told as silent corruption, and a repair took it back.
#[test]
fn a_write_during_a_check_is_no_silent_corruption() {
    let lab = Lab::new();
    let [a, b] = lab.copies_of::<2>("disk.img", &noise(7, 8 << 20));
    create(&lab, &[a.clone(), b.clone()]).exits(0);
    let child = lab.quorum_img(["set", "check", "-r", "4M", "vm.qset"]).start();
    std::thread::sleep(Duration::from_millis(900));
    guest_writes(&lab, 7_500_000 / 512 * 512, &[&a]);
    let newest = lab.bytes(&a);
    child.wait();
    check(&lab).says_nothing_of("silent corruption");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    assert!(lab.bytes(&a) == newest, "the only copy of what was written");
}

/// A backup had got its member's number of an inode, and with its mark it voted for the past.
#[test]
fn a_number_that_is_given_out_again_is_another_file() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    for member in [&b, &c] {
        let kept = lab.path("kept");
        cp(&["-a"], member, &kept);
        fs::remove_file(member).expect("our own");
        cp(&["-a"], &kept, member);
        fs::remove_file(&kept).expect("our own");
    }
    guest_writes(&lab, 0, &[&a]);
    check(&lab).expect_code(2).complains("its mark was copied with it");
}

/// A member that missed a write to all others was called corrupt, though it never changed.
#[test]
fn who_missed_a_write_isnt_corrupt() {
    let lab = Lab::new();
    let [a, b, _] = set_of_three(&lab, 2);
    guest_writes(&lab, 1 << 20, &[&a, &b]);
    check(&lab).expect_code(1).says_nothing_of("silent corruption");
    assert_eq!(states(&lab)[2], "suspect");
}

/// Parts that were compared before the others were written to gave a member its vote back.
#[test]
fn what_was_written_to_since_proves_nobody() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 8);
    away(&lab, &c);
    check(&lab);
    back(&lab, &c);
    begin_a_pass(&lab);
    for part in 0..3 {
        guest_writes(&lab, part << 20, &[&a, &b]);
    }
    lab.quorum_img(["set", "check", "vm.qset"]).output();
    assert_eq!(states(&lab)[2], "returning");
    check(&lab);
    assert_eq!(states(&lab)[2], "stale");
}

/// Any file that was named as its snapshot proved a member that was away; and one that wasn't there took a vote.
#[test]
fn a_snapshot_gives_no_vote_and_takes_none() {
    let lab = Lab::new();
    let [a, _, c] = set_of_three(&lab, 2);
    lab.quorum_img(["set", "check", "--via", "#2=nothing.img", "vm.qset"]).exits(3).complains("--via");
    assert_eq!(states(&lab), ["ok"; 3]);
    away(&lab, &c);
    check(&lab);
    back(&lab, &c);
    let snapshot = lab.file("snapshot.img", lab.bytes(&a));
    let via = format!("#2={}", snapshot.display());
    lab.quorum_img(["set", "check", "--restart", "--via", &via, "vm.qset"]).output().complains("proves nothing of its own file");
    assert_eq!(states(&lab)[2], "returning");
}

/// An older copy's mark stayed old for ever, whatever was made of the copy.
#[test]
fn a_resync_marks_anew_what_was_put_back() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, _, c] = set_of_three(&lab, 2);
    let (bytes, mark) = (lab.bytes(&c), xattr::get(&c, MARK).expect("it can be asked").expect("it has one"));
    guest_writes(&lab, 0, &[&a]);
    check(&lab);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    lab.write(&c, 0, &bytes);
    xattr::set(&c, MARK, &mark).expect("our own");
    check(&lab);
    assert_eq!(states(&lab)[2], "stale");
    lab.quorum_img(["set", "resync", "-y", "vm.qset", "#2"]).exits(0);
    check(&lab).expect_code(0);
    assert_eq!(states(&lab), ["ok"; 3]);
    assert_eq!(epoch(&c), epoch(&a));
    // A mark that was written, and cut off before the record knew, makes nobody older; nor does one that is older than a person's word block all.
    lab.quorum_img(["set", "mark", "vm.qset", "#2"]).exits(0);
    xattr::set(&c, MARK, &mark).expect("our own");
    check(&lab).expect_code(0);
    assert_eq!(states(&lab), ["ok"; 3]);
}

/// What was cut off couldn't be gone on with: its own first writes silence the set's digest, and that was one of its options.
#[test]
fn a_repair_that_was_cut_off_is_gone_on_with_or_left() {
    for writes_meanwhile in [false, true] {
        let lab = Lab::new();
        let copies = lab.copies_of::<3>("disk.img", &noise(7, 16 << 20));
        create(&lab, &copies).exits(0);
        let [a, b, c] = copies;
        lab.write(&b, 0, &noise(9, 1 << 20));
        let damaged = lab.bytes(&b);
        let child = lab.quorum_img(["set", "repair", "-y", "-r", "12M", "vm.qset"]).start();
        let begun = Instant::now();
        while lab.bytes(&b) == damaged && begun.elapsed() < Duration::from_mins(1) {
            std::thread::sleep(Duration::from_millis(10));
        }
        child.signal("KILL");
        child.wait();
        if writes_meanwhile {
            guest_writes(&lab, 8 << 20, &[&a, &b, &c]);
        }
        check(&lab);
        lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
        lab.assert_same_bytes(&a, &b);
        check(&lab).expect_code(0);
        assert_eq!(states(&lab), ["ok"; 3]);
    }
}

/// The number of the last run.
fn last_run(lab: &Lab) -> i64 {
    history(lab).iter().map(|run| run["run"].as_i64().expect("a number")).max().expect("there are some")
}

/// An undo gave whole states to members that hold what was wrong, and took them away only at its end.
#[test]
fn an_undo_leaves_nobody_well() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    lab.write(&c, 0, &noise(3, 4096));
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    let run = last_run(&lab);
    lab.quorum_img(["set", "undo", "-y", "vm.qset", &run.to_string()]).exits(0);
    assert_eq!(states(&lab), ["ok", "ok", "suspect"]);
    // What a person had said is right has no vote by that once it is taken back.
    let mut runs = Vec::new();
    for target in ["#1", "#2"] {
        lab.write(&a, 8192, &noise(4, 512));
        lab.quorum_img(["set", "resync", "-y", "--trust", "#0", "vm.qset", target]).output().says_nothing_of("older copy");
        runs.push(last_run(&lab));
    }
    for run in runs.iter().rev() {
        lab.quorum_img(["set", "undo", "-y", "vm.qset", &run.to_string()]).exits(0);
    }
    let newest = lab.bytes(&a);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    assert!(lab.bytes(&a) == newest, "who was trusted isn't outvoted by what that took away");
    let _ = b;
}

/// Who was to be replaced had gone before the guards were asked.
#[test]
fn a_replacement_that_is_refused_changes_nothing() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies_of::<3>("disk.img", &noise(7, 4 << 20));
    create(&lab, &[a.clone(), b.clone(), c.clone()]).exits(0);
    let new = lab.file("new.img", lab.bytes(&a));
    for member in [&a, &b] {
        lab.write(member, 256 << 10, &vec![0; 256 << 10]);
    }
    check(&lab).expect_code(2);
    lab.quorum_img(["set", "replace", "-y", "vm.qset", "#2", "new.img"]).exits(2);
    let told = status(&lab);
    assert_eq!(told["members"][2]["name"].as_str(), c.to_str(), "{told:#}");
    assert_eq!(told["members"].as_array().map(Vec::len), Some(3));
    if can_be_marked(&lab) {
        assert!(xattr::get(&c, MARK).expect("it can be asked").is_some() && xattr::get(&new, MARK).expect("it can be asked").is_none());
    }
}

/// A tie elsewhere made a member stale that was the same as another's.
#[test]
fn a_tie_elsewhere_makes_nobody_stale() {
    let lab = Lab::new();
    let [a, _, c] = set_of_three(&lab, 2);
    away(&lab, &c);
    check(&lab);
    back(&lab, &c);
    guest_writes(&lab, 0, &[&a]);
    check(&lab);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    assert_eq!(states(&lab)[2], "returning");
}

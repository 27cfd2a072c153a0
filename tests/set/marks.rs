//! Marks: another disk, another set, a copy of a copy, an older state aren't taken for a member.

use super::{Lab, MIB, can_be_marked, check, disk, set_of_three, states};
use crate::support::{
    fuse::{FaultyFile, FaultyMount},
    mounts::Mounted,
    sectors,
};
use std::{fs, path::Path, process::Command};

pub(super) fn cp(options: &[&str], from: &Path, to: &Path) {
    let done = Command::new("cp").args(options).args([from, to]).status().expect("cp is everywhere");
    assert!(done.success());
}

/// Two members that swapped their names are refused before anything is read, and put right by a person.
#[test]
fn swapped_members_are_refused() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, _] = set_of_three(&lab, 2);
    let other = lab.path("third");
    fs::rename(&a, &other).expect("our own");
    fs::rename(&b, &a).expect("our own");
    fs::rename(&other, &b).expect("our own");
    check(&lab).expect_code(2).complains("they were swapped");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2).complains("they were swapped");
    fs::rename(&b, &other).expect("our own");
    fs::rename(&a, &b).expect("our own");
    fs::rename(&other, &a).expect("our own");
    check(&lab).expect_code(0);
}

/// `cp -a` takes the mark along: the copy is another file, and a person says whether it is the member now.
#[test]
fn a_copy_with_its_mark_is_refused_until_a_person_says_who_it_is() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    // Doubled: b's place holds a copy of a.
    cp(&["-a", "--remove-destination"], &a, &b);
    check(&lab).expect_code(2).complains("carries the mark of");
    // Moved: c is on a new disk.
    let moved = lab.path("moved");
    cp(&["-a"], &c, &moved);
    fs::rename(&moved, &c).expect("our own");
    xattr::remove(&b, "user.quorum-img").expect("it has one");
    check(&lab).expect_code(2).complains("mark is lost").complains("quorum-img set mark");
    lab.quorum_img(["set", "mark", "vm.qset"]).arg(&b).exits(0);
    check(&lab).expect_code(2).complains("its mark was copied with it");
    lab.quorum_img(["set", "mark", "vm.qset"]).arg(&c).exits(0);
    assert_eq!(states(&lab), ["ok", "returning", "returning"]);
    check(&lab).expect_code(0);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
}

/// An older copy, put back into the same file, mark and all: a lower epoch takes the vote.
#[test]
fn an_older_state_has_no_vote() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    let old = (lab.bytes(&b), xattr::get(&b, "user.quorum-img").expect("it has one").expect("it has one"));
    // The set goes on: states change twice, and all is written to.
    lab.damage(&a, sectors(3..4));
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    for member in [&a, &b, &c] {
        lab.write(member, MIB, &disk(9, 4096));
    }
    check(&lab).expect_code(0);
    // A snapshot is rolled back.
    fs::write(&b, &old.0).expect("our own");
    xattr::set(&b, "user.quorum-img", &old.1).expect("it can be marked");
    let run = check(&lab);
    run.complains("an older copy was put back");
    assert_eq!(states(&lab), ["ok", "stale", "ok"]);
    lab.quorum_img(["set", "resync", "-y", "vm.qset", "#1"]).exits(0);
    lab.assert_same_bytes(&a, &b);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
}

/// Another host has an old copy of the record: its epochs are behind the marks', and it does nothing.
#[test]
fn an_old_record_is_refused() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, _, _] = set_of_three(&lab, 2);
    fs::copy(lab.path("vm.qset"), lab.path("old.qset")).expect("our own");
    lab.damage(&a, sectors(3..4));
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "check", "old.qset"]).exits(2).complains("newer than this record").complains("--adopt");
    lab.quorum_img(["set", "repair", "-y", "old.qset"]).exits(2);
    // The way out: a new record of the members.
    fs::remove_file(lab.path("vm.qset")).expect("our own");
    lab.quorum_img(["set", "create", "--adopt", "new.qset"]).args(super::members(&lab)).exits(1);
    lab.quorum_img(["set", "repair", "-y", "new.qset"]).exits(0);
    lab.quorum_img(["set", "check", "--restart", "new.qset"]).exits(0);
}

/// What belongs to another set is refused in a set, and told of without one.
#[test]
fn another_sets_member_is_a_stranger() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    let others = lab.copies_of::<2>("other.img", &disk(50, 2 * MIB));
    lab.quorum_img(["set", "create", "other.qset"]).args(&others).exits(0);
    // The cable was plugged in elsewhere.
    fs::rename(&b, lab.path("b.away")).expect("our own");
    fs::rename(&others[0], &b).expect("our own");
    check(&lab).expect_code(2).complains("belongs to another set");
    let plain = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(2);
    plain.complains("are they copies of one disk?").says("stranger").says("it belongs to another set");
    lab.quorum_img(["repair", "--in-place", "-y", "--force", "stale"]).args([&a, &b, &c]).exits(2).complains("belongs to another set");
    lab.quorum_img(["info"]).arg(&a).exits(0).says("mark:");
}

/// Without a set a copy of a member isn't a second vote, and a stale one is pointed out.
#[test]
fn plain_checks_read_marks() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    let twin = lab.path("twin.img");
    cp(&["-a"], &a, &twin);
    lab.quorum_img(["check"]).args([&a, &twin, &b]).output().complains("one was copied from the other, mark and all");
    lab.damage(&b, sectors(1..2));
    lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &twin, &b]).exits(2).complains("the same damage may have several votes");
    // The set goes on without b.
    fs::rename(&b, lab.path("b.away")).expect("our own");
    check(&lab);
    fs::rename(lab.path("b.away"), &b).expect("our own");
    lab.quorum_img(["check"]).args([&a, &b, &c]).output().complains("its set has gone on without it");
}

/// On a file system without attributes a member is known by its file; status says what that is worth.
#[test]
fn where_there_are_no_marks_it_is_said() {
    let lab = Lab::new();
    let bytes = disk(7, 2 * MIB);
    let Some(folder) = FaultyMount::new(lab.folder(), [("a.img", FaultyFile::new(bytes.clone()))]) else { return };
    let members = [folder.path("a.img"), lab.file("b.img", &bytes), lab.file("c.img", &bytes)];
    super::create(&lab, &members).exits(0);
    lab.quorum_img(["set", "status", "vm.qset"]).exits(0).says("carries no mark");
    lab.damage(&members[2], sectors(100..101));
    check(&lab).expect_code(1);
    // It is mounted read-only.
    lab.quorum_img(["set", "repair", "-y", "--no-write", "#0", "vm.qset"]).exits(0);
    check(&lab).expect_code(0).complains("lies where times don't tell");
}

/// Each of these file systems carries marks, and where its times are relied on two copies heal each other.
#[test]
fn every_file_system_with_marks_will_do() {
    let lab = Lab::new();
    let systems: Vec<(&str, Option<Mounted>)> = vec![
        ("ext4", Mounted::ext4(lab.folder(), 32)),
        ("xfs", Mounted::xfs(lab.folder())),
        ("btrfs", Mounted::btrfs(lab.folder())),
        ("tmpfs", Mounted::tmpfs(lab.folder(), 32 << 20)),
    ];
    for (name, system) in systems.iter().filter_map(|(name, system)| Some((*name, system.as_ref()?))) {
        let bytes = disk(7, 2 * MIB);
        let members = [system.join("a.img"), system.join("b.img")];
        for member in &members {
            fs::write(member, &bytes).expect("room for it");
        }
        super::create(&lab, &members).exits(0);
        lab.quorum_img(["set", "status", "vm.qset"]).exits(0).says_nothing_of("carries no mark");
        if name == "tmpfs" {
            // What is written through a mapping leaves its times as they are.
            check(&lab).expect_code(0).complains("lies where times don't tell");
        } else {
            super::rot_unseen(&lab, &members[0], 5000);
            super::rot_unseen(&lab, &members[1], 500_000);
            let run = lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).exits(1).json();
            assert_eq!(run["sectors"]["undecided"], 0, "{name}: {run:#}");
            lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
            assert!(members.iter().all(|member| lab.bytes(member) == bytes), "{name}");
        }
        // A copy of a copy, and a lost mark.
        let twin = system.join("twin.img");
        cp(&["-a"], &members[0], &twin);
        fs::rename(&twin, &members[0]).expect("our own");
        check(&lab).expect_code(2).complains("its mark was copied with it");
        fs::remove_file(lab.path("vm.qset")).expect("our own");
        fs::remove_dir_all(lab.path("vm.qset.d")).expect("our own");
    }
}

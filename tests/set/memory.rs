//! The set's digest: two copies heal each other, silent corruption is named, and where a guest wrote it has no word.

use super::{Lab, MIB, check, create, disk, rot_unseen, states, status};
use crate::support::sectors;
use std::{fs, path::PathBuf};

fn set_of_two(lab: &Lab, mib: u64) -> [PathBuf; 2] {
    let copies = lab.copies_of::<2>("disk.img", &disk(7, mib * MIB));
    create(lab, &copies).exits(0);
    copies
}

/// Two copies, each with rot of its own, and the memory of what they agreed on: both are healed.
#[test]
fn two_copies_heal_each_other() {
    let lab = Lab::new();
    let [a, b] = set_of_two(&lab, 4);
    let right = lab.bytes(&a);
    // In different chunks, and in one chunk at different places.
    rot_unseen(&lab, &a, 10_000);
    rot_unseen(&lab, &b, 300_000);
    rot_unseen(&lab, &a, 3 * MIB + 5);
    rot_unseen(&lab, &b, 3 * MIB + 5000);
    let report = lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).exits(1).json();
    assert_eq!(report["sectors"]["undecided"], 0, "{report:#}");
    for member in 0..2 {
        assert_eq!(report["set"]["members"][member]["silent-sectors"], 2, "{report:#}");
    }
    assert_eq!(status(&lab)["members"][0]["silent-sectors"], 2);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    assert!(lab.bytes(&a) == right && lab.bytes(&b) == right);
    assert_eq!(states(&lab), ["ok", "ok"]);
}

/// A guest wrote to one of them: nobody but the guest knows which is right, and nothing is decided.
#[test]
fn where_somebody_wrote_it_has_no_word() {
    let lab = Lab::new();
    let [a, b] = set_of_two(&lab, 2);
    lab.write(&a, 5000, b"a guest's write that reached one copy alone");
    let written = lab.bytes(&a);
    let run = check(&lab);
    run.complains("the set's digest is silent of 2 parts").complains("was written to since");
    assert_eq!(run.code(), Some(2), "{run}");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2);
    assert!(lab.bytes(&a) == written, "the newest write isn't taken away");
    assert_ne!(lab.bytes(&b), written);
    lab.quorum_img(["set", "status", "vm.qset"]).exits(2).says("undecided");
}

/// After a power cut acknowledged writes can have old times: in another boot the digest has no word, unless a person gives it one.
#[test]
fn after_a_power_cut_nothing_is_rolled_back() {
    let lab = Lab::new();
    let [a, b] = set_of_two(&lab, 2);
    // A write that was acknowledged, whose time was lost with the power.
    rot_unseen(&lab, &a, 5000);
    let written = lab.bytes(&a);
    let boot = ["--boot", "another-boot"];
    let run = lab.quorum_img(["set", "check", "vm.qset"]).args(boot).exits(2);
    run.complains("after a power cut times don't tell");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).args(boot).exits(2);
    assert!(lab.bytes(&a) == written, "it may be the newest write");
    // A person knows that nobody wrote. What the digest of then knew was made again in the new boot, and that place isn't known any more.
    let _ = b;
}

/// A person's word where times don't tell.
#[test]
fn a_person_may_say_that_nobody_wrote() {
    let lab = Lab::new();
    let [a, b] = set_of_two(&lab, 2);
    rot_unseen(&lab, &a, 5000);
    let boot = ["--boot", "another-boot"];
    lab.quorum_img(["set", "repair", "-y", "--assume-unwritten", "vm.qset"]).args(boot).exits(0);
    lab.assert_same_bytes(&a, &b);
}

/// What all copies hold was right when it was hashed, and became another all alike: told aloud, and nothing is decided by it.
#[test]
fn a_digest_that_all_contradict_is_told_and_kept() {
    let lab = Lab::new();
    let [a, b] = set_of_two(&lab, 2);
    rot_unseen(&lab, &a, 5000);
    rot_unseen(&lab, &b, 5000);
    lab.quorum_img(["set", "check", "vm.qset"]).exits(2).says("contradict");
    // It isn't forgotten by looking again; a person says that the copies are right.
    check(&lab).expect_code(2);
    lab.quorum_img(["set", "clear", "--digest", "vm.qset"]).exits(0);
    check(&lab).expect_code(0);
    check(&lab).expect_code(0);
}

/// A medium that doesn't hold what is written to it.
#[test]
fn the_same_place_again_is_told() {
    let lab = Lab::new();
    let [_, b, _] = super::set_of_three(&lab, 2);
    lab.damage(&b, sectors(300..302));
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    lab.damage(&b, sectors(301..302));
    check(&lab).expect_code(1).complains("differs again").complains("a stuck medium?");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    lab.damage(&b, sectors(2000..2001));
    assert!(!check(&lab).stderr().contains("stuck medium"), "another place");
}

/// Digests that are lost or damaged have no word, and the next check makes them anew.
#[test]
fn a_lost_digest_is_silent() {
    let lab = Lab::new();
    let [a, _] = set_of_two(&lab, 2);
    let digests: Vec<PathBuf> = fs::read_dir(lab.path("vm.qset.d"))
        .expect("it has a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "qdg"))
        .collect();
    assert_eq!(digests.len(), 2);
    fs::write(&digests[0], b"").expect("our own");
    lab.flip_bit(&digests[1], 100);
    check(&lab).expect_code(0).complains("its file is lost, damaged");
    rot_unseen(&lab, &a, 5000);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
}

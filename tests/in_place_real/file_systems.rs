//! In place on the file systems that members stand on: with clones, which share what is damaged, and without.

use std::{path::Path, process::Command};

use super::{
    Set, alone_with_loop_devices, assert_holds, refuses, repair, state,
    support::{
        KIB, Lab, MIB,
        mounts::{Mounted, run as shell},
        noise, sectors,
    },
    undo,
};

/// The same everywhere: repaired, verified, undone.
fn repaired_and_undone(mounted: &Mounted) {
    let set = Set::below(Lab::below(mounted.path()));
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    assert_eq!(run.json()["repair"]["verified"], true, "{run}");
    assert_eq!(state(&set.lab, &set.journal()), "complete");
    set.lab.quorum_img(["check", "-T", "none"]).args(&set.members).exits(0);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// A member that is cut off, of a disk that ends in zeros: it grows by a hole, and is cut again.
fn extended_by_a_hole_and_cut_again(mounted: &Mounted) {
    let lab = Lab::below(mounted.path());
    let mut original = noise(8, 4 << 20);
    original[1 << 20..].fill(0);
    original[(4 << 20) - 512..].fill(3);
    let members: [_; 3] = lab.copies_of("disk.img", &original);
    lab.set_length(&members[1], MIB + 100);
    sync(mounted.path());
    let before = lab.allocated(&members[1]);
    let run = repair(&lab, &members).args(["--max-damage", "100"]).exits(0);
    for member in &members {
        assert_holds(member, &original, &run);
    }
    sync(mounted.path());
    let grown = lab.allocated(&members[1]).saturating_sub(before);
    assert!(grown <= 128 * KIB, "a hole is no {grown} bytes\n{run}");
    let run = undo(&lab, &super::journal_of(&members[0])).exits(0);
    assert_holds(&members[1], &original[..(1 << 20) + 100], &run);
}

/// The first two are one copy in truth, and outvote the third: not without a word.
fn clones_take_a_word(mounted: &Mounted) {
    let lab = Lab::below(mounted.path());
    let original = noise(8, 2 << 20);
    let [a, c] = lab.copies_of("disk.img", &original);
    let b = lab.path("clone.img");
    sync(mounted.path());
    shell(Command::new("cp").arg("--reflink=always").arg(&a).arg(&b));
    lab.damage(&c, sectors(40..44));
    lab.damage(&b, sectors(1000..1001));
    sync(mounted.path());
    let members = [a, b, c];
    let before = members.clone().map(|member| lab.bytes(&member));
    refuses(&lab, &members, repair(&lab, &members), 2, &["--force shared", "disk-0.img", "clone.img"]);
    let run = repair(&lab, &members).args(["--force", "shared"]).exits(0);
    for member in &members {
        assert_holds(member, &original, &run);
    }
    let run = undo(&lab, &super::journal_of(&members[0])).exits(0);
    for (member, before) in members.iter().zip(&before) {
        assert_holds(member, before, &run);
    }
}

/// Damage to an extent that two members share is mended in one of them, and the other one stays as it is.
fn a_shared_extent_is_written_for_one_member_only(mounted: &Mounted) {
    let lab = Lab::below(mounted.path());
    let original = noise(8, 1 << 20);
    let mut wrong = original.clone();
    wrong[8192..8192 + 512].fill(0);
    let [a, b] = lab.copies_of("disk.img", &original);
    let bad = lab.file("bad.img", &wrong);
    let kept = lab.path("snapshot.img");
    sync(mounted.path());
    shell(Command::new("cp").arg("--reflink=always").arg(&bad).arg(&kept));
    sync(mounted.path());
    // The snapshot is no member: nothing is to be feared, and nothing happens to it.
    let run = repair(&lab, [&a, &b, &bad]).exits(0);
    assert_holds(&bad, &original, &run);
    assert_holds(&kept, &wrong, &run);
    let run = undo(&lab, &super::journal_of(&a)).exits(0);
    assert_holds(&bad, &wrong, &run);
}

fn sync(mounted: &Path) {
    shell(Command::new("sync").arg("-f").arg(mounted));
}

#[test]
fn on_xfs() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let Some(mounted) = Mounted::xfs(lab.folder()) else { return };
    repaired_and_undone(&mounted);
    extended_by_a_hole_and_cut_again(&mounted);
}

#[test]
fn on_btrfs() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let Some(mounted) = Mounted::btrfs(lab.folder()) else { return };
    repaired_and_undone(&mounted);
    extended_by_a_hole_and_cut_again(&mounted);
}

#[test]
fn on_ext4() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let Some(mounted) = Mounted::ext4(lab.folder(), 64) else { return };
    repaired_and_undone(&mounted);
    extended_by_a_hole_and_cut_again(&mounted);
}

#[test]
fn on_tmpfs() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let Some(mounted) = Mounted::tmpfs(lab.folder(), 64 * MIB) else { return };
    repaired_and_undone(&mounted);
    extended_by_a_hole_and_cut_again(&mounted);
}

#[test]
fn clones_on_xfs() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let Some(mounted) = Mounted::xfs(lab.folder()) else { return };
    clones_take_a_word(&mounted);
    a_shared_extent_is_written_for_one_member_only(&mounted);
}

#[test]
fn clones_on_btrfs() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let Some(mounted) = Mounted::btrfs(lab.folder()) else { return };
    clones_take_a_word(&mounted);
    a_shared_extent_is_written_for_one_member_only(&mounted);
}

//! What stands where the journal is to go: a complete one, one that was undone, or something else.

use std::{fs, os::unix::fs::symlink};

use super::{
    Damaged, assert_holds, modified, refuses,
    support::{KIB, Lab, sectors},
};

/// It is the undo log of the repair before: whoever doesn't need it any more removes it.
#[test]
fn a_complete_journal_is_never_overwritten() {
    let (set, before) = Damaged::repaired();
    let journal = set.lab.bytes(&set.journal());
    set.lab.damage(&set.members[1], sectors(50..52));
    let damaged = set.bytes();
    let run = refuses(&set.lab, set.repair(), 3, &["disk-0.img.quorum-journal", "undo", "--journal"]);
    assert!(run.stderr().contains("hint:"), "{run}");
    for words in ["overwrite", "stale,newer,minority,shared,no-locks,device,changed,space,overwrite"] {
        refuses(&set.lab, set.repair().args(["--force", words]), 3, &["undo"]);
    }
    refuses(&set.lab, set.repair().args(["--journal", "disk-0.img.quorum-journal"]), 3, &["undo"]);

    set.repair().args(["--journal", "second"]).exits(0);
    set.assert_repaired();
    assert_holds(&set.journal(), &journal);
    // Back through both, the later one first.
    set.lab.quorum_img(["undo", "second"]).exits(0);
    set.assert_bytes(&damaged);
    set.lab.quorum_img(["undo", "--force", "changed"]).arg(set.journal()).exits(0);
    for (index, member) in set.members.iter().enumerate() {
        let mut expected = before[index].clone();
        if index == 1 {
            expected[50 * 512..52 * 512].copy_from_slice(&damaged[1][50 * 512..52 * 512]);
        }
        assert_holds(member, &expected);
    }
}

/// The message tells what the journal holds: whose.
#[test]
fn a_complete_journal_of_other_members_is_told_apart() {
    let (set, _) = Damaged::repaired();
    let [x, y, z] = set.lab.copies("other.img", 64 * KIB);
    set.lab.damage(&y, sectors(7..8));
    let run = set.lab.quorum_img(["repair", "--in-place", "--journal"]).arg(set.journal()).args([&x, &y, &z]);
    refuses(&set.lab, run, 3, &["disk-1.img", "undo"]);
}

#[test]
fn an_undone_journal_is_not_overwritten_either() {
    let (set, before) = Damaged::repaired();
    set.undo().exits(0);
    set.assert_bytes(&before);
    let run = refuses(&set.lab, set.repair(), 3, &["undone"]);
    assert!(run.stderr().contains("remove") || run.stderr().contains("--journal"), "no way out is shown\n{run}");
    set.repair().args(["--journal", "second"]).exits(0);
    set.assert_repaired();
    // Or, as the message says, the old one goes.
    set.lab.quorum_img(["undo", "second"]).exits(0);
    fs::remove_file(set.journal()).expect("it is there");
    set.repair().exits(0);
    set.assert_repaired();
    set.undo().exits(0);
    set.assert_bytes(&before);
}

/// Nothing of it is ours.
#[test]
fn something_else_at_its_name_is_refused() {
    let set = Damaged::new();
    set.lab.file("text", "precious");
    fs::rename(set.lab.path("text"), set.journal()).expect("the same folder");
    refuses(&set.lab, set.repair(), 3, &["disk-0.img.quorum-journal"]);
    // That is asked of the journal's place only: without one there is nothing in the way.
    set.repair().arg("--no-journal").exits(0);
    set.assert_repaired();
    assert_holds(&set.journal(), b"precious");
}

/// Following it would make a file in a place that nobody named.
#[test]
fn a_dangling_symlink_is_refused() {
    let set = Damaged::new();
    symlink("nowhere", set.journal()).expect("a symlink");
    refuses(&set.lab, set.repair(), 3, &["disk-0.img.quorum-journal"]);
    refuses(&set.lab, set.repair().args(["--force", "overwrite"]), 3, &[]);
}

/// A journal that is damaged may still be the only way back: it isn't taken for rubbish.
#[test]
fn a_damaged_journal_is_not_overwritten() {
    let (set, _) = Damaged::repaired();
    set.lab.damage(&set.members[1], sectors(50..52));
    let journal = set.lab.bytes(&set.journal());
    for offset in [0, 20, 100, journal.len() / 2, journal.len() - 1] {
        set.lab.flip_bit(&set.journal(), offset as u64);
        refuses(&set.lab, set.repair(), 3, &["disk-0.img.quorum-journal"]);
        set.lab.write(&set.journal(), 0, &journal);
    }
}

/// Where all agree nothing needs a journal, whatever stands there.
#[test]
fn nothing_to_do_is_no_reason_to_complain() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    let journal = lab.file("disk-0.img.quorum-journal", "precious");
    let was = modified(&journal);
    super::in_place(&lab, &members).exits(0);
    assert_holds(&journal, b"precious");
    assert_eq!(modified(&journal), was);
}

//! Where an undo would overwrite what somebody wrote since, or where its journal can't be trusted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use super::{
    Damaged, assert_holds, modified, names_offset, refuses, set_modified,
    support::{KIB, is_root, noise, skip},
    write_later,
};

/// A guest wrote to a sector that had been repaired: neither the old nor the new bytes are there.
#[test]
fn a_repaired_sector_that_was_written_to_is_named() {
    let (set, before) = Damaged::repaired();
    let offset = 301 * 512;
    write_later(&set.lab, &set.members[2], offset, &noise(5, 512));
    let run = refuses(&set.lab, set.undo(), 3, &["disk-2.img", "--force changed"]);
    names_offset(&run, offset);
    refuses(&set.lab, set.undo().arg("--dry-run"), 3, &["disk-2.img"]);
    for words in ["no-locks", "device", "no-locks,device"] {
        refuses(&set.lab, set.undo().args(["--force", words]), 3, &["changed"]);
    }
    set.undo().args(["--force", "changed"]).exits(0);
    set.assert_bytes(&before);
}

/// Each of 512 bytes has a checksum of its own, so that a single bit doesn't hide.
#[test]
fn one_bit_in_a_repaired_sector_is_enough() {
    for at in [0, 255, 511] {
        let (set, _) = Damaged::repaired();
        let was = modified(&set.members[1]);
        set.lab.flip_bit(&set.members[1], 100 * 512 + at);
        // Its time is put back; only the bytes, and the time of change that nobody can set, tell.
        set_modified(&set.members[1], was);
        refuses(&set.lab, set.undo(), 3, &["disk-1.img", "changed"]);
    }
}

/// It was written to elsewhere: whoever did that may have relied on what the repair put there.
#[test]
fn a_member_that_was_written_to_elsewhere_is_refused() {
    let (set, before) = Damaged::repaired();
    let written = noise(5, 512);
    write_later(&set.lab, &set.members[2], 50 * 512, &written);
    refuses(&set.lab, set.undo(), 3, &["disk-2.img", "--force changed"]);
    set.undo().args(["--force", "changed"]).exits(0);
    assert_holds(&set.members[0], &before[0]);
    assert_holds(&set.members[1], &before[1]);
    // What is none of the repair's stays.
    let mut expected = before[2].clone();
    expected[50 * 512..51 * 512].copy_from_slice(&written);
    assert_holds(&set.members[2], &expected);
}

/// The time of modification can be put back by whoever wrote; that of change can't.
#[test]
fn a_member_whose_time_was_put_back_is_refused() {
    let (set, _) = Damaged::repaired();
    let was = modified(&set.members[2]);
    // The very bytes that were there: no checksum tells.
    write_later(&set.lab, &set.members[2], 50 * 512, &set.original[50 * 512..51 * 512]);
    set_modified(&set.members[2], was);
    refuses(&set.lab, set.undo(), 3, &["disk-2.img", "--force changed"]);
}

/// That it was moved is no excuse: moving a file changes its time of change, but not that of modification.
#[test]
fn a_moved_member_that_was_written_to_is_refused() {
    for (offset, same) in [(50 * 512, true), (50 * 512, false), (301 * 512, false)] {
        let (set, _) = Damaged::repaired();
        let bytes = if same { set.original[offset..offset + 512].to_vec() } else { noise(5, 512) };
        let moved = set.lab.path("moved.img");
        fs::rename(&set.members[2], &moved).expect("the same folder");
        write_later(&set.lab, &moved, offset as u64, &bytes);
        let map = format!("{}={}", set.members[2].display(), moved.display());
        refuses(&set.lab, set.undo().args(["--map", &map]), 3, &["moved.img", "--force changed"]);
    }
}

/// The very bytes that were there were written again: no byte tells, its times do.
#[test]
fn a_touched_member_is_refused() {
    let (set, before) = Damaged::repaired();
    let was = modified(&set.members[0]);
    set_modified(&set.members[0], was + std::time::Duration::from_secs(1));
    refuses(&set.lab, set.undo(), 3, &["disk-0.img", "changed"]);
    set_modified(&set.members[0], was);
    set.undo().args(["--force", "changed"]).exits(0);
    set.assert_bytes(&before);
}

#[test]
fn a_member_of_another_length_is_refused() {
    for length in [255 * KIB, 256 * KIB - 1, 256 * KIB + 1, 260 * KIB, 0] {
        let (set, before) = Damaged::repaired();
        let was = modified(&set.members[0]);
        set.lab.set_length(&set.members[0], length);
        set_modified(&set.members[0], was);
        if length < 256 * KIB {
            // What was cut off by others nobody can bring back: with what the journal has, it would be a file that never was.
            refuses(&set.lab, set.undo(), 3, &["disk-0.img", "lost"]);
            refuses(&set.lab, set.undo().args(["--force", "changed"]), 3, &["disk-0.img", "lost"]);
            continue;
        }
        refuses(&set.lab, set.undo(), 3, &["disk-0.img", "changed"]);
        set.undo().args(["--force", "changed"]).exits(0);
        assert_eq!(set.lab.bytes(&set.members[0])[..256 << 10], before[0]);
        assert_holds(&set.members[1], &before[1]);
        assert_holds(&set.members[2], &before[2]);
    }
}

/// All or nothing: the members that are as they should be aren't touched either.
#[test]
fn one_changed_member_stops_it_all() {
    let (set, _) = Damaged::repaired();
    write_later(&set.lab, &set.members[2], 300 * 512, &noise(5, 512));
    refuses(&set.lab, set.undo(), 3, &["disk-2.img"]);
    set.lab.quorum_img(["check"]).args(&set.members[..2]).exits(0);
}

/// The old bytes are back already, by whatever way: nothing is lost there, but somebody wrote.
#[test]
fn old_bytes_put_back_by_hand_are_no_loss() {
    let (set, before) = Damaged::repaired();
    write_later(&set.lab, &set.members[1], 100 * 512, &before[1][100 * 512..101 * 512]);
    refuses(&set.lab, set.undo(), 3, &["disk-1.img", "changed"]);
    set.undo().args(["--force", "changed"]).exits(0);
    set.assert_bytes(&before);
}

/// Another file took the name of a member.
#[test]
fn another_file_under_the_same_name_is_refused() {
    let (set, before) = Damaged::repaired();
    let other = set.lab.file("other", noise(77, 256 << 10));
    fs::rename(&set.members[1], set.lab.path("kept")).expect("the same folder");
    fs::rename(other, &set.members[1]).expect("the same folder");
    refuses(&set.lab, set.undo(), 3, &["disk-1.img"]);
    refuses(&set.lab, set.undo().args(["--force", "changed"]), 3, &["disk-1.img"]);

    // A copy of the very bytes is known by them, and was written since: by whoever copied it.
    fs::copy(set.lab.path("kept"), &set.members[1]).expect("a copy");
    refuses(&set.lab, set.undo(), 3, &["disk-1.img", "--force changed"]);
    set.undo().args(["--force", "changed"]).exits(0);
    set.assert_bytes(&before);
}

/// After an undo somebody works on: a second undo must not take that away.
#[test]
fn what_was_written_after_an_undo_is_safe() {
    let (set, before) = Damaged::repaired();
    set.undo().exits(0);
    let written = noise(6, 512);
    write_later(&set.lab, &set.members[1], 100 * 512, &written);
    let run = set.undo().output();
    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    let mut expected = before[1].clone();
    expected[100 * 512..101 * 512].copy_from_slice(&written);
    assert_holds(&set.members[1], &expected);
}

// --- the journal's owner and mode -------------------------------------------------------------------------------------------

/// That others can read it is nothing that could do harm here.
#[test]
fn a_journal_that_others_can_read_is_undone() {
    let (set, before) = Damaged::repaired();
    fs::set_permissions(set.journal(), fs::Permissions::from_mode(0o644)).expect("our own file");
    set.undo().exits(0);
    set.assert_bytes(&before);
}

/// Another user's journal can't be read, and hence nothing be done with it; nor may a repair go on with it.
#[test]
fn a_journal_is_its_owners_alone() {
    if !is_root() {
        skip("owners can't be tested without root");
        return;
    }
    let (set, _) = Damaged::repaired();
    refuses(&set.lab, set.undo().by_user(4321), 3, &["disk-0.img.quorum-journal"]);
    refuses(&set.lab, set.lab.quorum_img(["info"]).arg(set.journal()).by_user(4321), 3, &["disk-0.img.quorum-journal"]);
}

/// A user's own files, from end to end without root.
#[test]
fn works_for_a_user_without_privileges() {
    if !is_root() {
        return; // All the other tests show it.
    }
    let set = Damaged::new();
    for path in set.members.iter().map(|member| &**member).chain([set.lab.folder()]) {
        chown(path, Some(4321), Some(4321)).expect("root may");
    }
    let before = set.bytes();
    set.repair().by_user(4321).exits(0);
    set.assert_repaired();
    set.undo().by_user(4321).exits(0);
    set.assert_bytes(&before);
}

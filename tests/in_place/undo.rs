//! `undo`: every member is again what it was, bit for bit.

use std::{fs, path::Path, process::Command};

use super::{
    Damaged, all_bytes, assert_all_hold, assert_holds, in_place, joined, journal_of, refuses,
    support::{KIB, Lab, MIB, noise, sectors},
};

#[test]
fn restores_every_member_bit_for_bit() {
    let (set, before) = Damaged::repaired();
    let run = set.undo().exits(0);
    set.assert_bytes(&before);
    // What it is about to write to is told.
    run.complains("disk-0.img").complains("disk-1.img").complains("disk-2.img");
}

/// Everything at once: bad sectors, a missing part, a surplus, a hole amid data, data in a hole, a short last sector.
#[test]
fn restores_lengths_holes_and_all() {
    for sector in ["512", "4096", "65536"] {
        let lab = Lab::new();
        let mut bytes = vec![0; (2 << 20) + 333];
        bytes[..1 << 20].copy_from_slice(&noise(1, 1 << 20));
        bytes[(2 << 20) - 70_000..].copy_from_slice(&noise(2, 70_333));
        let members: [_; 5] = lab.copies_of("disk.img", &bytes);
        lab.set_length(&members[0], 2 * MIB - 50_000);
        lab.set_length(&members[1], 3 * MIB);
        lab.write(&members[1], 3 * MIB - 700, &noise(3, 700));
        lab.write(&members[2], 1_500_000, &noise(4, 9000));
        let sparse = lab.sparse("disk-3.img", bytes.len() as u64);
        lab.write(&sparse, 0, &bytes[..900 << 10]);
        lab.write(&sparse, 2 * MIB - 70_000, &bytes[(2 << 20) - 70_000..]);
        lab.damage(&members[3], sectors(7..9));
        let before = all_bytes(&lab, &members);
        in_place(&lab, &members).args(["--truncate", "--force", "stale,cuts", "--sector-size", sector]).exits(0);
        assert_all_hold(&members, &vec![bytes; 5]);
        lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
        assert_all_hold(&members, &before);
    }
}

/// A file keeps what is not bytes, too.
#[test]
fn keeps_inode_mode_and_owner() {
    use std::os::unix::fs::MetadataExt;
    let (set, _) = Damaged::repaired();
    let facts = || {
        let fact = |path| fs::metadata(path).map(|meta| (meta.ino(), meta.mode(), meta.nlink(), meta.uid(), meta.gid()));
        set.members.iter().map(|member| fact(member).expect("it is there")).collect::<Vec<_>>()
    };
    let before = facts();
    set.undo().exits(0);
    assert_eq!(facts(), before);
}

#[test]
fn a_dry_run_says_that_it_would_work() {
    let (set, before) = Damaged::repaired();
    let run = refuses(&set.lab, set.undo().arg("--dry-run"), 0, &["disk-1.img"]);
    super::support::refusal::assert_clean(&run);
    set.undo().exits(0);
    set.assert_bytes(&before);
}

/// It can be run again: the members stay as they are.
#[test]
fn a_second_undo_changes_nothing() {
    let (set, before) = Damaged::repaired();
    set.undo().exits(0);
    set.undo().exits(0);
    set.assert_bytes(&before);
    set.undo().arg("--dry-run").exits(0);
    set.undo().args(["--force", "changed"]).exits(0);
    set.assert_bytes(&before);
}

/// Paths were given relative to a folder; undo is run in another one.
#[test]
fn works_from_any_folder() {
    let set = Damaged::new();
    let before = set.bytes();
    set.lab.quorum_img(["repair", "--in-place", "disk-0.img", "./disk-1.img", "disk-2.img"]).exits(0);
    set.assert_repaired();
    set.undo().in_folder(Path::new("/")).exits(0);
    set.assert_bytes(&before);
}

/// The journal may have been moved: it names its members by their whole paths.
#[test]
fn a_moved_journal_works() {
    let (set, before) = Damaged::repaired();
    let folder = set.lab.path("folder");
    fs::create_dir(&folder).expect("a folder");
    fs::rename(set.journal(), folder.join("moved")).expect("the same file system");
    set.lab.quorum_img(["undo", "moved"]).in_folder(&folder).exits(0);
    set.assert_bytes(&before);
}

/// A member that was not written to isn't needed for an undo.
#[test]
fn members_that_were_not_written_to_do_not_matter() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    lab.damage(&members[1], sectors(7..8));
    let before = lab.bytes(&members[1]);
    in_place(&lab, &members).exits(0);
    fs::remove_file(&members[2]).expect("it is there");
    lab.damage(&members[0], sectors(9..10));
    let changed = lab.bytes(&members[0]);
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_holds(&members[1], &before);
    assert_holds(&members[0], &changed);
}

#[test]
fn quiet_says_nothing() {
    let (set, before) = Damaged::repaired();
    let run = set.undo().arg("-q").exits(0);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    set.assert_bytes(&before);
}

#[test]
fn yes_and_progress_are_taken() {
    let (set, before) = Damaged::repaired();
    set.undo().args(["-y", "-p"]).exits(0);
    set.assert_bytes(&before);
}

// --- members that moved -----------------------------------------------------------------------------------------------------

fn map(old: &Path, new: &Path) -> std::ffi::OsString {
    let mut map = joined("", old);
    map.push(joined("=", new));
    map
}

#[test]
fn a_missing_member_is_named_with_the_way_out() {
    let (set, before) = Damaged::repaired();
    let moved = set.lab.path("moved.img");
    fs::rename(&set.members[1], &moved).expect("the same folder");
    refuses(&set.lab, set.undo(), 3, &["disk-1.img", "--map"]);
    refuses(&set.lab, set.undo().arg("--dry-run"), 3, &["disk-1.img", "--map"]);
    set.undo().arg("--map").arg(map(&set.members[1], &moved)).exits(0);
    assert_holds(&set.members[0], &before[0]);
    assert_holds(&moved, &before[1]);
    assert_holds(&set.members[2], &before[2]);
}

#[test]
fn several_members_may_have_moved() {
    let (set, before) = Damaged::repaired();
    let folder = set.lab.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let mut run = set.undo();
    for member in &set.members {
        let moved = folder.join(member.file_name().expect("a name"));
        fs::rename(member, &moved).expect("the same file system");
        run = run.arg("--map").arg(map(member, &moved));
    }
    run.exits(0);
    let moved: Vec<_> = set.members.iter().map(|member| folder.join(member.file_name().expect("a name"))).collect();
    assert_all_hold(&moved, &before);
}

/// Onto another disk: another inode, the same bytes and the same time. That it was copied is told by its time of change.
#[test]
fn a_copied_member_is_known_by_its_bytes() {
    let (set, before) = Damaged::repaired();
    let copy = set.lab.path("copy.img");
    let copied = Command::new("cp").arg("--preserve=all").args([&set.members[1], &copy]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    fs::remove_file(&set.members[1]).expect("it is there");
    let run = set.undo().arg("--map").arg(map(&set.members[1], &copy));
    let run = run.output();
    if run.code() != Some(0) {
        assert_eq!(run.code(), Some(3), "{run}");
        run.complains("changed");
        set.undo().args(["--force", "changed"]).arg("--map").arg(map(&set.members[1], &copy)).exits(0);
    }
    assert_holds(&set.members[0], &before[0]);
    assert_holds(&copy, &before[1]);
}

/// Whatever else lies under the new name is none of ours: not even by force.
#[test]
fn a_stranger_under_the_new_name_is_refused() {
    let (set, _) = Damaged::repaired();
    let stranger = set.lab.file("stranger.img", noise(77, 256 << 10));
    let moved = set.lab.path("moved.img");
    fs::rename(&set.members[1], &moved).expect("the same folder");
    for force in [&[][..], &["--force", "changed"]] {
        let run = set.undo().args(force).arg("--map").arg(map(&set.members[1], &stranger));
        refuses(&set.lab, run, 3, &["stranger.img"]);
    }
    // Two members in one file can't be, either.
    let run = set.undo().arg("--map").arg(map(&set.members[1], &set.members[0]));
    refuses(&set.lab, run, 3, &[]);
}

/// A map that maps nothing is a typing error.
#[test]
fn a_map_of_nobody_is_refused() {
    let (set, _) = Damaged::repaired();
    for map in ["nobody.img=disk-1.img", "disk-1.img", "=", "=disk-1.img", "disk-1.img="] {
        refuses(&set.lab, set.undo().args(["--map", map]), 3, &[]);
    }
    refuses(&set.lab, set.undo().arg("--map").arg(map(&set.members[1], Path::new("nowhere.img"))), 3, &["nowhere.img"]);
}

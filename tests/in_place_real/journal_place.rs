//! Where the journal stands: on disks that are too small, that fail, that vanish; and members where nothing can be written at all.

use std::{fs, os::unix::fs::chown, path::PathBuf, process::Command};

use serde_json::json;

use super::{
    Set,
    fuse_disk::{BadDisk, Faults, Step},
    journal_of, repair, scattered, state,
    support::{
        Lab, MIB, Output, is_root,
        mounts::{Mounted, can_mount, run as shell},
        noise, skip,
    },
};

/// Files that are in a folder, hidden ones included.
fn names(folder: &std::path::Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("lost+found"))
        .collect()
}

fn speaks_of_space(run: &Output) {
    let said = run.stderr().to_lowercase();
    assert!(["no space", "no room", "not enough", "too small", "full"].iter().any(|words| said.contains(words)), "{run}");
}

/// About 1 MiB of old bytes: the space for them is taken before the first member is touched.
#[test]
fn a_journal_without_room_leaves_everything_as_it_was() {
    let (original, damaged) = scattered(41, true);
    let set = Set::of(original, damaged);
    for size in [4 << 10, 16 << 10, 64 << 10, 512 << 10, 1000 << 10] {
        let Some(small) = Mounted::tmpfs(set.lab.folder(), size) else { return };
        let journal = small.join("journal");
        let before = set.members.clone().map(|member| super::changed(&member));
        let run = repair(&set.lab, &set.members).args(["--size", "8M", "--truncate", "--journal"]).arg(&journal).exits(3);
        speaks_of_space(&run);
        run.complains("journal");
        assert_eq!(names(small.path()), Vec::<PathBuf>::new(), "{size} bytes\n{run}");
        assert_eq!(set.members.clone().map(|member| super::changed(&member)), before, "{size} bytes\n{run}");
        set.assert_as_before(&run);
        assert!(!set.journal().exists(), "{run}");
        let point = small.path().to_owned();
        drop(small);
        fs::remove_dir(point).expect("it is empty");
    }
}

/// The same on a real disk, where it fills up elsewhere.
#[test]
fn a_journal_on_a_full_ext4_leaves_everything_as_it_was() {
    let _alone = super::alone_with_loop_devices();
    let (original, damaged) = scattered(42, false);
    let set = Set::of(original, damaged);
    let Some(small) = Mounted::ext4(set.lab.folder(), 8) else { return };
    // Filled to the last block but about half a MiB.
    fs::write(small.join("reserve"), noise(1, 512 << 10)).expect("there is room");
    let mut rest = fs::File::create(small.join("filler")).expect("there is room");
    while std::io::Write::write_all(&mut rest, &noise(2, 4096)).is_ok() {}
    drop(rest);
    fs::remove_file(small.join("reserve")).expect("it is there");
    shell(Command::new("sync").arg("-f").arg(small.path()));
    let run = set.repair().arg("--journal").arg(small.join("journal")).exits(3);
    speaks_of_space(&run);
    assert_eq!(names(small.path()), [small.join("filler")], "{run}");
    set.assert_as_before(&run);
}

/// What lies in memory is gone with the power.
#[test]
fn a_journal_on_a_tmpfs_is_warned_about() {
    let set = Set::new();
    let Some(memory) = Mounted::tmpfs(set.lab.folder(), 8 * MIB) else { return };
    let run = set.repair().arg("--journal").arg(memory.join("journal")).exits(0);
    set.assert_repaired(&run);
    let said = run.json()["warnings"].to_string() + &run.stderr();
    assert!(said.contains("tmpfs"), "{run}");
    assert_eq!(state(&set.lab, &memory.join("journal")), "complete");

    let set = Set::new();
    let run = set.repair().exits(0);
    let said = run.json()["warnings"].to_string() + &run.stderr();
    assert!(!said.contains("tmpfs"), "a disk is none\n{run}");
}

/// A journal that can't be synced is no journal.
#[test]
fn a_journal_that_fails_leaves_everything_as_it_was() {
    for faults in [
        Faults { sync_error: Some(libc::EIO), ..Faults::default() },
        Faults { write_error: Some((0, libc::EIO)), ..Faults::default() },
        Faults { write_error: Some((4096, libc::EIO)), ..Faults::default() },
        Faults { write_error: Some((4096, libc::ENOSPC)), ..Faults::default() },
        Faults { write_error: Some((64 << 10, libc::EDQUOT)), ..Faults::default() },
    ] {
        let (original, damaged) = scattered(43, false);
        let set = Set::of(original, damaged);
        let Some(disk) = BadDisk::new(set.lab.folder(), faults) else { return };
        let run = set.repair().arg("--journal").arg(disk.path("journal")).exits(3);
        run.complains("journal");
        set.assert_as_before(&run);
        assert_eq!(disk.names(), Vec::<std::ffi::OsString>::new(), "it holds nothing that anybody needs\n{run}");
    }
}

/// The vote took hours: what it found is reported, although the journal fails at its creation or in the middle of the repair.
#[test]
fn a_journal_that_fails_in_the_middle_is_reported() {
    let mut in_the_middle = 0;
    for well in 0..6 {
        let (original, damaged) = scattered(44, false);
        let set = Set::of(original, damaged);
        let Some(disk) = BadDisk::new(set.lab.folder(), Faults { syncs_until: Some((well, libc::EIO)), ..Faults::default() }) else {
            return;
        };
        let run = set.repair().arg("--journal").arg(disk.path("journal")).output();
        if run.code() == Some(0) {
            assert!(well > 2, "there are more syncs\n{run}");
            set.assert_repaired(&run);
            continue;
        }
        assert_eq!(run.code(), Some(3), "{run}");
        run.complains("journal").complains("hint: ");
        let report = run.json();
        let error = report["repair"]["error"].as_str().unwrap_or_else(|| panic!("why it ended\n{run}"));
        assert!(error.contains("journal") && error.contains("hint: "), "{run}");
        assert_eq!((&report["exit-code"], &report["repair"]["completed"]), (&json!(3), &json!(false)), "{run}");
        assert!(
            report["sectors"]["decided"].as_u64() > Some(0) && report["divergences"].as_array().is_some_and(|list| !list.is_empty()),
            "{run}"
        );
        if error.contains("no member was changed") {
            set.assert_as_before(&run);
        } else {
            in_the_middle += 1;
            // Whatever was written stands in the journal, whose disk says so as long as it is asked nothing new.
            assert!(error.contains("undo") && disk.names() == ["journal"], "{run}");
        }
    }
    assert!(in_the_middle > 0, "no journal failed in the middle");
}

/// A file that is synced is still lost where its name isn't.
#[test]
fn a_journal_is_synced_and_so_is_its_folder() {
    let set = Set::new();
    let Some(disk) = BadDisk::new(set.lab.folder(), Faults::default()) else { return };
    let run = set.repair().arg("--journal").arg(disk.path("journal")).exits(0);
    set.assert_repaired(&run);
    let steps = disk.steps();
    let last = |step: Step| steps.iter().rposition(|it| *it == step).unwrap_or_else(|| panic!("no {step:?} in {steps:?}\n{run}"));
    assert!(last(Step::Write) < last(Step::Sync), "{steps:?}\n{run}");
    last(Step::SyncFolder);
    // The same that was read through the mount is on the disk.
    assert_eq!(set.lab.bytes(&disk.path("journal")), disk.bytes("journal"), "{run}");
}

#[test]
fn a_journal_in_a_folder_that_is_missing_is_a_clear_error() {
    let set = Set::new();
    set.refuses(set.repair().args(["--journal", "no/such/folder/journal"]), 3, &["no/such/folder/journal"]);
    set.refuses(set.repair().arg("--journal").arg(set.lab.folder()), 3, &["journal"]);
    set.refuses(set.repair().arg("--journal").arg(&set.members[1]), 3, &["disk-1.img"]);
}

/// Two copies on a disk, and the third one on a file system that is read-only.
struct WithReadOnly {
    // Unmounted before the folder goes.
    mounted: Mounted,
    set: Set,
}

impl WithReadOnly {
    fn new(damaged: bool) -> Option<Self> {
        if !can_mount("a read-only mount") {
            return None;
        }
        let mut set = Set::new();
        let folder = set.lab.path("elsewhere");
        fs::create_dir(&folder).expect("a folder");
        let third = folder.join("third.img");
        fs::rename(&set.members[2], &third).expect("within one file system");
        if !damaged {
            fs::write(&third, &set.original).expect("it can be written");
            set.damaged[2].clone_from(&set.original);
        }
        let mounted = Mounted::mount(set.lab.folder(), "bound", &["--bind"], &folder);
        shell(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(mounted.path()));
        set.members[2] = mounted.join("third.img");
        Some(Self { mounted, set })
    }
}

#[test]
fn a_member_on_a_read_only_mount_is_named() {
    let Some(WithReadOnly { set, mounted: _mounted }) = WithReadOnly::new(true) else { return };
    set.refuses(set.repair(), 3, &["third.img", "--no-write"]);
    let third = set.members[2].display().to_string();
    let run = set.repair().args(["--no-write", &third]).exits(1);
    super::assert_holds(&set.members[0], &set.original, &run);
    super::assert_holds(&set.members[1], &set.original, &run);
    super::assert_holds(&set.members[2], &set.damaged[2], &run);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

#[test]
fn a_whole_member_on_a_read_only_mount_leaves_nothing_to_do() {
    let Some(WithReadOnly { set, mounted: _mounted }) = WithReadOnly::new(false) else { return };
    let run = set.repair().args(["--no-write", "#2"]).exits(0);
    set.assert_repaired(&run);
}

/// It can vote and be the one that is trusted.
#[test]
fn a_trusted_member_need_not_be_writable() {
    let Some(WithReadOnly { set, mounted: _mounted }) = WithReadOnly::new(false) else { return };
    let run = set.repair().args(["--trust", "#2"]).exits(0);
    set.assert_repaired(&run);
}

/// The default journal stands beside member 0: where that can't be, it is to be named.
#[test]
fn a_journal_beside_a_read_only_member_is_a_clear_error() {
    let Some(WithReadOnly { set, mounted: _mounted }) = WithReadOnly::new(true) else { return };
    let [a, b, third] = &set.members;
    let members = [third.clone(), a.clone(), b.clone()];
    let again = || repair(&set.lab, &members).args(["--no-write", "#0"]);
    set.refuses(again(), 3, &["--journal"]);
    assert!(!journal_of(third).exists());
    let run = again().arg("--journal").arg(set.lab.path("journal")).exits(1);
    super::assert_holds(a, &set.original, &run);
    super::assert_holds(b, &set.original, &run);
}

/// As another user: the same answer for lack of a right.
#[test]
fn a_member_without_the_right_to_write_is_named() {
    if !is_root() {
        skip("only root can become another user");
        return;
    }
    let set = Set::below(Lab::new());
    // They can be read, but not written to; the journal's place is not the question.
    let folder = set.lab.path("own");
    fs::create_dir(&folder).expect("a folder");
    chown(&folder, Some(65534), Some(65534)).expect("root can");
    let run = set.repair().arg("--journal").arg(folder.join("journal")).by_user(65534);
    let run = set.refuses(run, 3, &["disk-0.img", "--no-write"]);
    assert!(run.stderr().to_lowercase().contains("permission"), "{run}");
}

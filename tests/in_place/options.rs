//! Which options go together, and what the journal and the report may not be.

use std::{ffi::OsString, fs, os::unix::fs::symlink};

use super::{
    Damaged, refuses,
    support::{
        is_root, mounts,
        refusal::{all_refused, refused},
        sha256,
    },
};

fn lines(set: &Damaged, options: &[&[&str]]) -> Vec<Vec<OsString>> {
    let line = |options: &&[&str]| {
        let options = options.iter().map(OsString::from);
        ["repair".into()].into_iter().chain(options).chain(set.members.iter().map(OsString::from)).collect()
    };
    options.iter().map(line).collect()
}

#[test]
fn exactly_one_of_the_two_ways_to_repair() {
    let set = Damaged::new();
    let wrong: &[&[&str]] = &[&[], &["-o", "out.img", "--in-place"], &["--in-place", "-o", "disk-0.img"]];
    all_refused(&set.lab, lines(&set, wrong), |_, _| None);
    let run = refused(&set.lab, lines(&set, &[&[]]).remove(0));
    run.complains("--in-place").complains("-o");
}

#[test]
fn what_makes_no_sense_in_place_is_refused() {
    let set = Damaged::new();
    let digest = sha256(b"");
    let wrong: &[&[&str]] = &[
        &["--in-place", "--read-pattern", "fifo"],
        &["--in-place", "-U"],
        &["--in-place", "--force-share"],
        &["--in-place", "--undecided", "zero"],
        &["--in-place", "--undecided", "first"],
        &["--in-place", "--expect-sha256", &digest],
        &["--in-place", "-S", "0"],
        &["--in-place", "-S", "4k"],
        &["--in-place", "--reflink", "never"],
        &["--in-place", "--no-verify"],
        &["--in-place", "--dry-run", "-U"],
        &["--in-place", "--journal", "j", "--no-journal"],
        &["--in-place", "--max-damage", "x"],
        &["--in-place", "--max-damage", "-5"],
        &["--in-place", "--max-damage", "101"],
        &["--in-place", "--max-damage", "nan"],
        &["--in-place", "--max-damage", ""],
        &["--in-place", "--no-write", "stranger.img"],
        &["--in-place", "--no-write", "#3"],
        &["--in-place", "--trust", "#3"],
        &["--in-place", "--trust", "stranger.img"],
        &["--in-place", "--pick", "4096:512=#3"],
        &["--in-place", "--pick", "4096=#1"],
        &["--in-place", "--threshold", "4"],
        &["--in-place", "--threshold", "1"],
        &["--in-place", "--range", "300k:1k"],
        &["--in-place", "--force", "everything"],
        &["--in-place", "--from", "missing.json"],
    ];
    all_refused(&set.lab, lines(&set, wrong), |_, _| None);
}

#[test]
fn what_makes_no_sense_for_an_output_is_refused() {
    let set = Damaged::new();
    let wrong: &[&[&str]] = &[
        &["-o", "out.img", "--dry-run"],
        &["-o", "out.img", "--max-damage", "5"],
        &["-o", "out.img", "--no-write", "#1"],
        &["-o", "out.img", "--truncate"],
        &["-o", "out.img", "--journal", "j"],
        &["-o", "out.img", "--no-journal"],
        &["-o", "out.img", "-y"],
        &["-o", "out.img", "--yes"],
    ];
    all_refused(&set.lab, lines(&set, wrong), |_, _| None);
}

/// The options of a repair aren't check's, and undo's are few.
#[test]
fn other_commands_do_not_take_them() {
    let set = Damaged::new();
    let line = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let wrong = [
        line(&["check", "--in-place", "disk-0.img", "disk-1.img"]),
        line(&["check", "--dry-run", "disk-0.img", "disk-1.img"]),
        line(&["undo"]),
        line(&["undo", "missing.quorum-journal"]),
        line(&["undo", "disk-0.img"]),
        line(&["undo", "."]),
        line(&["undo", ""]),
        line(&["undo", "--force", "everything", "disk-0.img"]),
        line(&["undo", "--map", "x", "disk-0.img"]),
        line(&["undo", "--in-place", "disk-0.img"]),
        line(&["undo", "disk-0.img", "disk-1.img"]),
    ];
    all_refused(&set.lab, wrong, |_, _| None);
}

/// Whatever its name, the last good copy of a disk is nothing to write a log to.
#[test]
fn a_journal_never_lands_on_a_member() {
    let set = Damaged::new();
    fs::hard_link(&set.members[1], set.lab.path("hard")).expect("a hard link");
    symlink("disk-1.img", set.lab.path("soft")).expect("a symlink");
    for journal in ["disk-0.img", "./disk-1.img", "hard", "soft"] {
        refuses(&set.lab, set.repair().args(["--journal", journal]), 3, &[]);
        refuses(&set.lab, set.repair().args(["--journal", journal, "--force", "overwrite"]), 3, &[]);
    }
}

/// Nor does the report, on either.
#[test]
fn a_report_never_lands_on_a_member_or_the_journal() {
    let set = Damaged::new();
    fs::hard_link(&set.members[1], set.lab.path("hard")).expect("a hard link");
    symlink(set.lab.folder(), set.lab.path("here")).expect("a symlink");
    for report in ["disk-0.img", "hard", "disk-0.img.quorum-journal", "here/disk-0.img.quorum-journal"] {
        refuses(&set.lab, set.repair().args(["--report", report]), 3, &[]);
    }
    for report in ["j", "here/j"] {
        refuses(&set.lab, set.repair().args(["--journal", "j", "--report", report]), 3, &[]);
    }
}

/// A report or a journal that can't be made is an error before anything is written.
#[test]
fn a_missing_folder_is_named() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().args(["--journal", "no/such/journal"]), 3, &["no/such"]);
    refuses(&set.lab, set.repair().args(["--report", "no/such/report"]), 3, &["no/such"]);
}

/// A journal beside a device node would lie in /dev, in memory.
#[test]
fn a_device_wants_its_journal_named() {
    if !is_root() {
        super::support::skip("a loop device needs root");
        return;
    }
    let set = Damaged::new();
    let Some(device) = mounts::LoopDevice::new(&set.members[0]) else { return };
    let members = [device.path(), &set.members[1], &set.members[2]];
    let run = set.lab.quorum_img(["repair", "--in-place"]).args(members);
    refuses(&set.lab, run, 3, &["--journal"]);
}

//! A plan is judged before the first write: what is refused, by which word, what the other ways out are, and that nothing is written.

use super::{
    Damaged, all_bytes, assert_all_hold, assert_holds, in_place, journal_of, refuses,
    support::{KIB, Lab, MIB, sectors},
    work,
};

/// 2048 sectors of data: 10 % of them are 204 and a bit.
fn damaged_by(sectors_lost: u64) -> (Lab, [std::path::PathBuf; 3], Vec<u8>) {
    let lab = Lab::new();
    let members = lab.copies("disk.img", MIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[1], sectors(300..300 + sectors_lost));
    (lab, members, original)
}

#[test]
fn a_member_that_lost_a_tenth_is_repaired() {
    let (lab, members, original) = damaged_by(204);
    in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
}

#[test]
fn a_member_that_lost_more_is_taken_for_stale() {
    let (lab, members, original) = damaged_by(205);
    let run = refuses(&lab, in_place(&lab, &members), 2, &["disk-1.img", "--force stale"]);
    let text = run.stderr();
    assert!(["--no-write", "--trust", "--pick"].iter().any(|way| text.contains(way)), "the other ways out are missing\n{run}");
    assert!(text.contains("hint:"), "{run}");
    in_place(&lab, &members).args(["--force", "stale"]).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
}

#[test]
fn how_much_may_be_lost_can_be_said() {
    for (percent, lost, code) in [("1", 20, 0), ("1", 21, 2), ("50", 1024, 0), ("50", 1025, 2), ("100", 2048, 0), ("0", 1, 2)] {
        let (lab, members, original) = damaged_by(0);
        lab.damage(&members[1], sectors(0..lost));
        let run = || in_place(&lab, &members).args(["--max-damage", percent]);
        if code == 0 {
            run().exits(0);
            assert_all_hold(&members, &vec![original; 3]);
        } else {
            refuses(&lab, run(), code, &["disk-1.img", "stale"]);
        }
    }
}

/// What it lacks is no loss of what it holds: a copy that was cut off is filled up. What it holds wrong is measured by what it still has.
#[test]
fn an_absent_part_is_no_loss() {
    for (damaged, missing, code) in [(0, 1500, 0), (100, 1024, 0), (103, 1024, 2)] {
        let (lab, members, original) = damaged_by(damaged);
        lab.set_length(&members[1], MIB - missing * 512);
        if code == 0 {
            in_place(&lab, &members).exits(0);
            assert_all_hold(&members, &vec![original; 3]);
        } else {
            refuses(&lab, in_place(&lab, &members), code, &["disk-1.img", "stale"]);
        }
    }
}

/// Most of a disk may be holes: a copy that lost a tenth of what there is has lost a lot. 64 KiB of data are 128 sectors.
#[test]
fn damage_is_measured_by_what_it_holds() {
    for (lost, code) in [(12, 0), (13, 2)] {
        let lab = Lab::new();
        let members = ["a.img", "b.img", "c.img"].map(|name| {
            let member = lab.sparse(name, 4 * MIB);
            lab.write(&member, MIB, &super::support::noise(1, 64 << 10));
            member
        });
        lab.damage(&members[2], MIB..MIB + lost * 512);
        let run = in_place(&lab, &members);
        if code == 0 {
            run.exits(0);
        } else {
            refuses(&lab, run, code, &["c.img", "stale"]);
        }
    }
}

/// One member is stale and another is merely damaged: neither is written to.
#[test]
fn one_bad_member_stops_it_all() {
    let (lab, members, original) = damaged_by(205);
    lab.damage(&members[0], sectors(3..5));
    let before = all_bytes(&lab, &members);
    refuses(&lab, in_place(&lab, &members), 2, &["disk-1.img", "stale"]);
    assert_all_hold(&members, &before);
    // The way out that leaves the suspect as it is.
    in_place(&lab, &members).args(["--no-write", "#1"]).exits(1);
    assert_all_hold(&members, &[original.clone(), before[1].clone(), original]);
}

/// What lies elsewhere is no reason: each member is judged by its own damage.
#[test]
fn damage_is_not_added_up_over_members() {
    let (lab, members, original) = damaged_by(200);
    lab.damage(&members[0], sectors(1000..1200));
    lab.damage(&members[2], sectors(1500..1700));
    in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
}

/// A word for one refusal doesn't open another door.
#[test]
fn other_words_do_not_help() {
    let (lab, members, _) = damaged_by(205);
    for words in ["newer", "minority,shared,no-locks", "changed,space,overwrite,device"] {
        refuses(&lab, in_place(&lab, &members).args(["--force", words]), 2, &["stale"]);
    }
    refuses(&lab, in_place(&lab, &members).args(["--force", "everything"]), 3, &["everything"]);
}

/// Naming the one that is right is the word for what the others lose to it. That it is another disk altogether it doesn't cover.
#[test]
fn trust_covers_what_is_lost_and_not_another_disk() {
    let lab = Lab::new();
    let [a, _] = lab.copies("disk.img", 64 * KIB);
    let [b, _] = lab.copies("other.img", 64 * KIB);
    let members = [a, b];
    let trusted = lab.bytes(&members[0]);
    in_place(&lab, &members).args(["--trust", "#0"]).exits(0);
    assert_holds(&members[1], &trusted);

    let members = [lab.path("one"), lab.path("two")];
    let disks = ["ext4-old", "xfs-old"].map(super::support::disks::bytes);
    members.iter().zip(&disks).for_each(|(member, disk)| std::fs::write(member, disk).expect("it can be written"));
    let run = || in_place(&lab, &members).args(["--trust", "#0"]);
    refuses(&lab, run(), 2, &["two", "another disk", "--force stranger"]);
    run().args(["--force", "stranger"]).exits(0);
    assert_holds(&members[1], &disks[0]);
}

/// Two of four are no majority: whoever wants that says so by name.
#[test]
fn a_threshold_below_the_majority_needs_force() {
    let lab = Lab::new();
    let members: [_; 4] = lab.copies("disk.img", 64 * KIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[0], sectors(5..6));
    lab.damage(&members[3], sectors(5..6));
    let run = || in_place(&lab, &members).args(["--threshold", "2"]);
    refuses(&lab, run(), 2, &["--force minority"]);
    refuses(&lab, run().args(["--force", "stale,newer"]), 2, &["minority"]);
    refuses(&lab, in_place(&lab, &members), 2, &[]);
    run().args(["--force", "minority"]).exits(0);
    assert_all_hold(&members, &vec![original; 4]);
}

/// No journal is left behind where one of its own was asked for, either.
#[test]
fn a_refusal_leaves_no_journal_of_any_name() {
    let (lab, members, _) = damaged_by(205);
    refuses(&lab, in_place(&lab, &members).args(["--journal", "undo.log"]), 2, &["stale"]);
    refuses(&lab, in_place(&lab, &members).arg("--no-journal"), 2, &["stale"]);
    assert!(!lab.path("undo.log").exists() && !journal_of(&members[0]).exists());
}

/// The dry run tells what the run would be told.
#[test]
fn a_dry_run_is_judged_too() {
    let (lab, members, _) = damaged_by(205);
    refuses(&lab, in_place(&lab, &members).arg("--dry-run"), 2, &["disk-1.img", "--force stale"]);
    let run = refuses(&lab, in_place(&lab, &members).args(["--dry-run", "--force", "stale"]), 1, &[]);
    assert_eq!(work(&run.json(), 1)["dissenting-bytes"], 205 * 512, "{run}");
}

/// One member twice is one vote.
#[test]
fn the_same_file_twice_is_refused() {
    let set = Damaged::new();
    std::fs::hard_link(&set.members[1], set.lab.path("link.img")).expect("a hard link");
    std::os::unix::fs::symlink(&set.members[1], set.lab.path("symlink.img")).expect("a symlink");
    for other in ["link.img", "symlink.img", "disk-1.img"] {
        refuses(&set.lab, set.lab.quorum_img(["repair", "--in-place", "disk-0.img", "disk-1.img", other]), 3, &[]);
    }
}

/// A typing error is no vote.
#[test]
fn what_cannot_be_opened_is_an_error() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().arg("missing.img"), 3, &["missing.img"]);
    refuses(&set.lab, set.repair().arg(set.lab.folder()), 3, &[]);
    refuses(&set.lab, set.lab.quorum_img(["repair", "--in-place"]).arg(&set.members[0]), 3, &[]);
    refuses(&set.lab, set.lab.quorum_img(["repair", "--in-place"]), 3, &[]);
}

//! No terminal, no question: what a person has to look at isn't written by a cron job, unless it was told so beforehand.

use std::path::PathBuf;

use super::{
    in_place, moment, refuses, set_modified,
    support::{KIB, Lab, MIB, Run, noise, sectors},
};

/// The same as a cron job runs it.
fn by_cron(lab: &Lab, members: &[PathBuf]) -> Run {
    lab.quorum_img(["repair", "--output", "json", "--in-place"]).args(members)
}

const NOBODY: &str = "nobody is there to be asked";

#[test]
fn everyday_damage_is_repaired_unasked() {
    let lab = Lab::new();
    let mut disk = noise(3, MIB as usize);
    disk[512 << 10..].fill(0);
    let members: Vec<PathBuf> = (0..3).map(|index| lab.file(format!("disk-{index}.img"), &disk)).collect();
    lab.damage(&members[1], sectors(100..140));
    // Rot in empty blocks becomes zeros again: that is no content.
    for block in 0..100 {
        lab.flip_bit(&members[2], 512 * KIB + block * 4096 + 77);
    }
    for member in &members {
        set_modified(member, moment(0));
    }
    by_cron(&lab, &members).exits(0);
    for member in &members {
        assert!(lab.bytes(member) == disk, "{}", member.display());
    }
}

/// Somebody's crontab said `--force stale` once and for all.
#[test]
fn words_that_override_guards_need_a_person() {
    let lab = Lab::new();
    let members: [PathBuf; 3] = lab.copies("disk.img", MIB);
    lab.damage(&members[1], sectors(0..1000));
    for member in &members {
        set_modified(member, moment(0));
    }
    let run = refuses(&lab, by_cron(&lab, &members).args(["--force", "stale"]), 2, &[NOBODY, "overridden (stale)", "-y"]);
    assert!(run.json()["refusal"]["message"].as_str().is_some_and(|text| text.contains(NOBODY)), "{run}");
    let plan = by_cron(&lab, &members).args(["--force", "stale", "--dry-run"]).exits(1);
    assert!(!plan.stderr().contains(NOBODY), "a plan asks nothing: {plan}");
    in_place(&lab, &members).args(["--force", "stale"]).exits(0);
}

#[test]
fn a_newer_member_needs_a_person() {
    let lab = Lab::new();
    let members: [PathBuf; 3] = lab.copies("disk.img", MIB);
    lab.damage(&members[1], sectors(9..12));
    for (member, seconds) in members.iter().zip([0, 86_400, 0]) {
        set_modified(member, moment(seconds));
    }
    refuses(&lab, by_cron(&lab, &members), 2, &[NOBODY, "disk-1.img is newer than all who outvote it"]);
    by_cron(&lab, &members).args(["--trust", "#0"]).exits(0);
}

//! Copies of other disks, and stale ones.

use super::{
    check, files, guards, has, in_place,
    support::{Lab, disks::bytes, noise},
};

/// Two copies of one disk and one of another VM, 2 MiB of content each on 64 MiB: what the third held was overwritten, since "data" was
/// the whole length of a file without holes.
#[test]
fn loss_is_measured_by_what_a_copy_holds() {
    let lab = Lab::new();
    let disk = |seed| {
        let mut disk = vec![0; 64 << 20];
        disk[8 << 20..10 << 20].copy_from_slice(&noise(seed, 2 << 20));
        disk
    };
    let members = files(&lab, &[disk(1), disk(2), disk(1)]);
    let run = check(&lab, &members).exits(2);
    assert_eq!(guards(&run.json()), [("stale".into(), Some(1))], "{run}");
    assert_eq!(run.json()["members"][1]["content-bytes"], 2 << 20, "{run}");
    in_place(&lab, &members).exits(2).complains("100.0 % of its content").complains("--force stale");
    assert!(lab.bytes(&members[1]) == disk(2));
    // A part of the disk, and a list of places: what wasn't looked at is counted, too.
    in_place(&lab, &members).args(["--range", "8M:64k", "--dry-run"]).exits(1);
    in_place(&lab, &members).args(["--range", "8M:512k", "--dry-run"]).exits(2).complains("25.0 % of its content");
    check(&lab, &members).args(["--report", "list.json"]).exits(2);
    in_place(&lab, &members).args(["--from", "list.json", "--dry-run"]).exits(2).complains("stale");
}

/// A copy that says it is another disk's is one, however little differs.
#[test]
fn another_disk_is_told_by_what_it_calls_itself() {
    let lab = Lab::new();
    let (own, other) = (bytes("ext4-disk-old"), bytes("ext4-old"));
    let members = files(&lab, &[own.clone(), own.clone(), [other, vec![0; 8 << 20]].concat()]);
    let run = check(&lab, &members).exits(2);
    assert!(has(&run.json(), "stranger", 2), "{run}");
    let people = lab.quorum_img(["check"]).args(&members).exits(2);
    let text = people.stdout();
    assert!(text.contains("another disk?") && text.contains("GPT db98d722-6ace-9e4a-aeab-6b6d2b948441"), "{people}");
    assert!(!text.contains("latest writes") && !people.stderr().contains("latest writes"), "{people}");
    assert!(!text.lines().any(|line| line.contains("against #2")), "its divergences are one line\n{people}");
    // What is proposed leaves it out, and works.
    assert!(text.contains(&format!("next: quorum-img check {} {} ", members[0].display(), members[1].display())), "{people}");
    lab.quorum_img(["check"]).args(&members[..2]).exits(0);
}

/// One that is newest, one stale, one of another disk: the third must not decide between the other two.
#[test]
fn a_stranger_is_not_let_to_vote() {
    let lab = Lab::new();
    let members = files(&lab, &[bytes("ext4-new"), bytes("ext4-old"), bytes("xfs-old")]);
    let run = check(&lab, &members).output();
    assert!(has(&run.json(), "stranger", 2) && has(&run.json(), "newer", 0), "{run}");
    let people = lab.quorum_img(["check"]).args(&members).exits(2);
    assert!(people.stdout().contains("next: quorum-img check") && !people.stdout().contains("--no-write #2"), "{people}");
    let before = lab.state();
    in_place(&lab, &members).args(["--no-write", "#2"]).exits(2);
    assert_eq!(lab.state(), before);
}

/// Rot in what a copy calls itself makes no stranger of it.
#[test]
fn a_flipped_bit_in_a_name_makes_no_stranger() {
    for (name, at) in [("swap", 1036), ("mbr-disk", 440), ("vfat", 0x27), ("ext4-nocsum", 1024 + 0x68), ("ext4-new", 1024 + 0x68)] {
        let lab = Lab::new();
        let members = files(&lab, &vec![bytes(name); 3]);
        lab.flip_bit(&members[1], at);
        let run = check(&lab, &members).args(["--max-damage", "100"]).exits(1);
        assert_eq!(guards(&run.json()), [], "{name}\n{run}");
        in_place(&lab, &members).args(["--max-damage", "100"]).exits(0);
    }
}

/// The only copy with data was called a stranger, and the blank ones were to go on without it.
#[test]
fn who_lost_its_name_makes_nobody_a_stranger() {
    let lab = Lab::new();
    let mut disk = bytes("ext4-disk-old");
    disk[2 << 20..3 << 20].copy_from_slice(&noise(5, 1 << 20));
    let mut wiped = disk.clone();
    wiped[..3 << 20].fill(0);
    for others in [wiped, vec![0; disk.len()]] {
        let members = files(&lab, &[others.clone(), others, disk.clone()]);
        let run = check(&lab, &members).exits(2);
        assert!(!has(&run.json(), "stranger", 2), "{run}");
        assert!(!guards(&run.json()).is_empty(), "{run}");
        let people = lab.quorum_img(["check"]).args(&members).exits(2);
        people.says("repair --trust '#2'").says_nothing_of("Whole as they stand: #0");
    }
}

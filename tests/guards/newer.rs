//! The only copy that is up to date.

use super::{
    check, files, guards, has, in_place, parted, passes, stands_everywhere,
    support::{Lab, disks::bytes, is_root, noise, report::warnings},
};

/// Three copies of a disk; one was mounted later and given a file. The vote rolled it back, with code 0 and no word. By contents: as
/// files of one time, without a partition table and with one, in ext4, XFS and btrfs; also where the newest commit stands in the
/// journal alone.
#[test]
fn a_copy_that_was_written_to_later_is_not_rolled_back() {
    for (old, new) in [
        ("ext4-old", "ext4-new"),
        ("ext4-new", "ext4-mounted"),
        ("ext4-nocsum", "ext4-nocsum-new"),
        ("ext4-disk-old", "ext4-disk-new"),
        ("xfs-old", "xfs-new"),
        ("xfs-new", "xfs-mounted"),
        ("btrfs-old", "btrfs-new"),
    ] {
        let lab = Lab::new();
        let members = files(&lab, &[bytes(old), bytes(new), bytes(old)]);
        stands_everywhere(&lab, &members, "newer", 1, "newer,zeros,stale");
    }
}

/// The other way round the stale one is brought up to date: it isn't newer than anybody.
#[test]
fn a_copy_that_missed_the_last_writes_is_brought_up_to_date() {
    for (old, new) in [("ext4-old", "ext4-new"), ("xfs-old", "xfs-new"), ("ext4-disk-old", "ext4-disk-new"), ("btrfs-old", "btrfs-new")] {
        let lab = Lab::new();
        let members = files(&lab, &[bytes(new), bytes(old), bytes(new)]);
        let checked = check(&lab, &members).args(["--max-damage", "100"]).exits(1);
        assert_eq!(guards(&checked.json()), [], "{checked}");
        in_place(&lab, &members).args(["--max-damage", "100"]).exits(0);
        lab.assert_same_bytes(&members[0], &members[1]);
    }
}

/// Five copies of five ages: place by place most are as old as the middle one, and all became that.
#[test]
fn copies_of_five_ages_do_not_become_the_median() {
    let lab = Lab::new();
    let disks = ["ext4-old", "ext4-new", "ext4-mounted", "ext4-mounted-sync"].map(bytes);
    let [old, new, mounted, synced] = disks;
    let members = files(&lab, &[old.clone(), new, mounted, synced, old]);
    let checked = check(&lab, &members).output();
    assert!(has(&checked.json(), "newer", 3), "{checked}");
    let before = lab.state();
    in_place(&lab, &members).exits(2);
    assert_eq!(lab.state(), before);
}

/// Rot in the newest copy is mended: where a few bits lie or zeros, it lost nothing that anybody wrote.
#[test]
fn damage_to_copies_of_one_age_is_mended() {
    let lab = Lab::new();
    let original = bytes("ext4-new");
    let members = files(&lab, &vec![original.clone(); 3]);
    // In the data, in the superblock, in the journal.
    for at in [0x54_0123, 1024 + 0x30, 0x9018] {
        lab.flip_bit(&members[1], at);
    }
    lab.write(&members[2], 0x55_0000, &noise(1, 4096));
    passes(&lab, &members);
    for member in &members {
        assert!(lab.bytes(member) == original, "{}", member.display());
    }
}

/// A hundred KiB of a disk's newest pages, by contents: no amount is too little.
#[test]
fn little_that_is_newest_is_not_rolled_back() {
    let lab = Lab::new();
    // Between these two lie 8 KiB of a file and its metadata.
    let members = files(&lab, &[bytes("ext4-mounted"), bytes("ext4-mounted"), bytes("ext4-mounted-sync")]);
    let run = in_place(&lab, &members).exits(2);
    assert!(has(&run.json(), "newer", 2), "{run}");
    run.complains("transaction 9").complains("transaction 11");
}

/// Naming the newest one is the word for it.
#[test]
fn the_newest_one_can_be_trusted() {
    let lab = Lab::new();
    let members = files(&lab, &[bytes("ext4-old"), bytes("ext4-new"), bytes("ext4-old")]);
    in_place(&lab, &members).args(["--trust", "#1"]).exits(0);
    assert!(members.iter().all(|member| lab.bytes(member) == bytes("ext4-new")));
}

/// Copies on several file systems were modified by several clocks: nothing follows from those times, where contents don't tell.
#[test]
fn times_of_two_file_systems_are_not_compared() {
    if !is_root() || !std::path::Path::new("/dev/shm").is_dir() {
        return;
    }
    let (here, there) = (Lab::new(), Lab::below(std::path::Path::new("/dev/shm")));
    if std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(here.folder()).expect("a folder"))
        == std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(there.folder()).expect("a folder"))
    {
        return;
    }
    let disk = noise(1, 1 << 20);
    let mut members = files(&here, &[disk.clone(), disk.clone()]);
    let mut damaged = disk;
    damaged[5000] ^= 0x55;
    members.push(there.file("2.img", &damaged));
    let late = std::time::SystemTime::now() + std::time::Duration::from_hours(24);
    std::fs::File::options().write(true).open(&members[2]).and_then(|file| file.set_modified(late)).expect("a time");
    let run = check(&here, &members).exits(1);
    assert_eq!(warnings(&run.json()), "", "{run}");
}

/// An untouched `/boot` told of all of the disk that no copy is newer: the rest, which nothing here can read (LVM, LUKS), went by no
/// time at all.
#[test]
fn an_equal_boot_says_nothing_of_the_rest() {
    let lab = Lab::new();
    let boot = bytes("ext4-old");
    let old = noise(3, 40 << 20);
    let mut new = old.clone();
    new[10 << 20..14 << 20].copy_from_slice(&noise(4, 4 << 20));
    let start = 2048 + boot.len() / 512;
    let disks = [&old, &old, &new].map(|rest| parted(&[(0x83, 2048, &boot), (0x8e, start, rest)]));
    let members = files(&lab, &disks);
    for (member, days) in members.iter().zip([5, 5, 2]) {
        let time = std::time::SystemTime::now() - std::time::Duration::from_hours(24 * days);
        std::fs::File::options().write(true).open(member).and_then(|file| file.set_modified(time)).expect("a time can be set");
    }
    stands_everywhere(&lab, &members, "newer", 2, "newer,stale");
}

/// One flipped bit in the newest copy's superblock, and neither its age nor its bitmaps had a say any more.
#[test]
fn a_rotten_superblock_does_not_make_a_copy_old() {
    let lab = Lab::new();
    let members = files(&lab, &[bytes("ext4-old"), bytes("ext4-old"), bytes("ext4-new")]);
    lab.flip_bit(&members[2], 1024 + 0x2f0);
    let run = check(&lab, &members).exits(2);
    assert!(has(&run.json(), "newer", 2) || has(&run.json(), "zeros", 2), "{run}");
    in_place(&lab, &members).exits(2);
}

/// A disk that had a file system of its own before it was parted: what is left of that is of one age everywhere, and calls all free.
#[test]
fn what_was_there_before_the_partitions_has_no_say() {
    let lab = Lab::new();
    let before = bytes("ext4-old");
    let disks = ["ext4-old", "ext4-old", "ext4-new"].map(|name| {
        let mut disk = parted(&[(0x83, 2048, &bytes(name))]);
        disk[1024..1 << 20].copy_from_slice(&before[1024..1 << 20]);
        disk
    });
    let members = files(&lab, &disks);
    let run = check(&lab, &members).exits(2);
    assert!(has(&run.json(), "newer", 2), "{run}");
    in_place(&lab, &members).exits(2);
}

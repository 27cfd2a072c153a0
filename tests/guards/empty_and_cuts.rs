//! Copies without anything, and what lies behind the end that was voted for.

use super::{
    check, files, guards, has, in_place, new_image, parted, passes, stands_everywhere,
    support::{Lab, noise, sectors},
};

/// 8 MiB of data and two empty files: the only copy became 0 bytes, with code 0; and check called the empty ones whole.
#[test]
fn empty_files_do_not_make_a_disk_empty() {
    let lab = Lab::new();
    let disk = noise(1, 8 << 20);
    let members = files(&lab, &[disk.clone(), Vec::new(), Vec::new()]);
    let run = check(&lab, &members).exits(2);
    let report = run.json();
    assert_eq!(guards(&report), [("empty".into(), Some(0)), ("cuts".into(), Some(0))], "{run}");
    assert!(report["members"].as_array().expect("members").iter().all(|member| member["whole"] == false), "{run}");
    in_place(&lab, &members).args(["--truncate"]).exits(2).complains("--force").complains("empty,cuts");
    new_image(&lab, &members).exits(2);
    assert!(lab.bytes(&members[0]) == disk);
    // The way out: the one that holds something is right.
    in_place(&lab, &members).args(["--trust", "#0"]).exits(0);
    assert!(members.iter().all(|member| lab.bytes(member) == disk));
}

/// Two copies that hold nothing but zeros, of full length.
#[test]
fn blank_copies_do_not_blank_the_only_one_that_is_not() {
    let lab = Lab::new();
    let members = files(&lab, &[vec![0; 4 << 20], noise(1, 4 << 20), vec![0; 4 << 20]]);
    stands_everywhere(&lab, &members, "empty", 1, "empty,zeros,stale");
}

/// A new disk for a copy that broke is blank: it is filled, and nobody has to say so.
#[test]
fn a_blank_copy_is_filled() {
    let lab = Lab::new();
    let disk = noise(1, 4 << 20);
    let members = files(&lab, &[disk.clone(), disk.clone(), vec![0; 4 << 20]]);
    passes(&lab, &members);
    assert!(lab.bytes(&members[2]) == disk);
}

/// Two copies that were cut to 64 KiB, and a tail of 4 KiB that two copies lack.
#[test]
fn what_most_copies_lack_is_not_cut_off() {
    for (short, long) in [(64 << 10, 4 << 20), (4 << 20, (4 << 20) + 4096)] {
        let lab = Lab::new();
        let disk = noise(1, long);
        let members = files(&lab, &[disk[..short].to_vec(), disk.clone(), disk[..short].to_vec()]);
        let run = check(&lab, &members).exits(2);
        assert_eq!(guards(&run.json()), [("cuts".into(), Some(1))], "{run}");
        for run in [in_place(&lab, &members).arg("--truncate"), new_image(&lab, &members)] {
            let run = run.exits(2);
            assert!(has(&run.json(), "cuts", 1), "{run}");
            run.complains("--size").complains("--force cuts");
        }
        assert!(lab.bytes(&members[1]) == disk, "it is as it was");
        new_image(&lab, &members).args(["--size", &short.to_string()]).exits(0);
        assert!(lab.bytes(&lab.path("fixed.img")) == disk[..short]);
    }
}

/// A copy on a larger disk, with nothing behind it, is cut without a word.
#[test]
fn zeros_behind_the_end_are_cut() {
    let lab = Lab::new();
    let disk = noise(1, 1 << 20);
    let longer = [&disk[..], &[0; 8192]].concat();
    let members = files(&lab, &[disk.clone(), longer, disk.clone()]);
    lab.damage(&members[0], sectors(9..10));
    in_place(&lab, &members).arg("--truncate").exits(0);
    assert!(members.iter().all(|member| lab.bytes(member) == disk));
}

/// A copy on a larger disk was given another partition; the vote took the table from the others, and nobody could reach it any more.
#[test]
fn a_partition_behind_the_end_stays_in_reach() {
    let lab = Lab::new();
    let [first, second] = [1, 2].map(|seed| noise(seed, 1 << 20));
    let one = parted(&[(0x83, 2048, &first)]);
    let two = parted(&[(0x83, 2048, &first), (0x83, 4096, &second)]);
    let members = files(&lab, &[one.clone(), one, two]);
    let before = lab.state();
    for line in [&["--dry-run"][..], &[]] {
        let run = in_place(&lab, &members).args(line).exits(2);
        assert!(has(&run.json(), "cuts", 2), "{run}");
        run.complains("out of reach");
        assert_eq!(lab.state(), before);
    }
    in_place(&lab, &members).args(["--force", "cuts"]).exits(1);

    // What lies behind the end of a larger device, of which no table knows, is in nobody's way.
    let lab = Lab::new();
    let mut longer = noise(3, 1 << 20);
    longer.extend(noise(4, 65536));
    let members = files(&lab, &[noise(3, 1 << 20), noise(3, 1 << 20), longer]);
    lab.damage(&members[2], sectors(7..8));
    in_place(&lab, &members).exits(1);
}

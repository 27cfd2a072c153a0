//! Copies without anything, and what lies behind the end that was voted for.

use super::{
    check, files, guards, has, in_place, new_image, passes, stands_everywhere,
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
    in_place(&lab, &members).args(["--truncate", "-y"]).exits(2).complains("--force").complains("empty,cuts");
    new_image(&lab, &members).exits(2);
    assert!(lab.bytes(&members[0]) == disk);
    // The way out: the one that holds something is right.
    in_place(&lab, &members).args(["--trust", "#0", "-y"]).exits(0);
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

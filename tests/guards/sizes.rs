//! Sizes that are no difference, and those that are.

use super::{
    check, files, guards, in_place, new_image,
    support::{Lab, noise, report::warnings},
};

/// A raw file whose size isn't a multiple of 512 agreed neither with its own export nor with its qcow2 copies, which have the zeros that
/// QEMU shows behind its end.
#[test]
fn a_raw_file_agrees_with_what_qemu_makes_of_it() {
    let lab = Lab::new();
    let disk = noise(1, (1 << 20) + 300);
    let padded = [&disk[..], &[0; 212]].concat();
    let members = files(&lab, &[disk.clone(), padded.clone(), padded.clone()]);
    let run = check(&lab, &members).exits(0);
    assert!(warnings(&run.json()).contains("are read as 1049088"), "{run}");
    new_image(&lab, &members).exits(0);
    assert!(lab.bytes(&lab.path("fixed.img")) == padded);
    // Two of three are as short: then the others' zeros are more than there is.
    let members = files(&lab, &[disk.clone(), padded, disk]);
    check(&lab, &members).exits(0);
}

/// Where others hold data there, it is missing.
#[test]
fn a_file_that_lost_its_last_bytes_differs() {
    let lab = Lab::new();
    let disk = noise(1, 1 << 20);
    let members = files(&lab, &[disk[..disk.len() - 1].to_vec(), disk.clone(), disk.clone()]);
    check(&lab, &members).exits(1);
    in_place(&lab, &members).exits(0);
    assert!(lab.bytes(&members[0]) == disk);
}

/// A clone on a larger disk is equal in a part that lies inside of both, or up to a size that was given.
#[test]
fn a_clone_on_a_larger_disk_is_equal_as_far_as_asked() {
    let lab = Lab::new();
    let disk = noise(1, 1 << 20);
    let members = files(&lab, &[disk.clone(), [&disk[..], &noise(2, 1 << 20)].concat()]);
    check(&lab, &members).exits(2);
    let run = check(&lab, &members).args(["--range", "0:1M"]).exits(0);
    assert_eq!(run.json()["verdict"], "unanimous", "{run}");
    check(&lab, &members).args(["--range", "512k:600k"]).exits(2);
    let run = check(&lab, &members).args(["--size", "1M"]).exits(0);
    assert_eq!(run.json()["members"][1]["surplus-bytes"], 1 << 20, "it is told\n{run}");
    assert_eq!(guards(&run.json()), [], "{run}");
    let people = lab.quorum_img(["check"]).args(&members).exits(2);
    assert!(
        people.stdout().contains("1048576 B") && people.stdout().contains("2097152 B"),
        "sizes that differ are told in bytes\n{people}"
    );
}

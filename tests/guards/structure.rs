//! What is called whole is usable: images whose guest's disk reads well, and which QEMU doesn't open.

use super::{
    check,
    support::{Lab, needs, noise},
};

/// Two raw copies, and the same disk as a qcow2 image.
fn lab() -> Option<(Lab, Vec<std::path::PathBuf>)> {
    if !needs("qemu-img") {
        return None;
    }
    let lab = Lab::new();
    let disk = lab.file("a.raw", noise(1, 1 << 20));
    lab.file("b.raw", noise(1, 1 << 20));
    lab.program("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&disk).arg("c.qcow2").exits(0);
    let members = ["raw:a.raw", "raw:b.raw", "qcow2:c.qcow2"].map(Into::into).to_vec();
    Some((lab, members))
}

/// Refcounts of zero, a refcount table that lies nowhere or has no size, garbage for snapshots, a backing file without a name, a raw data
/// file that there isn't, the corrupt bit: each was called whole, with code 0.
#[test]
fn an_image_that_qemu_does_not_open_is_not_whole() {
    let Some((lab, members)) = lab() else { return };
    let run = check(&lab, &members).exits(0);
    assert_eq!(run.json()["members"][2]["whole"], true, "{run}");
    let sound = lab.bytes(&lab.path("c.qcow2"));
    let table = usize::try_from(u64::from_be_bytes(sound[48..56].try_into().expect("8 bytes"))).expect("small");
    let block = usize::try_from(u64::from_be_bytes(sound[table..table + 8].try_into().expect("8 bytes"))).expect("small");
    let damages: [(&str, usize, Vec<u8>); 8] = [
        ("refcounts of zero", block, vec![0; 256]),
        ("refcount_table_offset 1", 48, 1u64.to_be_bytes().to_vec()),
        ("refcount_table_clusters 0", 56, 0u32.to_be_bytes().to_vec()),
        ("refcount_table_clusters huge", 56, 0x00ff_ffffu32.to_be_bytes().to_vec()),
        ("snapshots_offset 1", 60, [&1u32.to_be_bytes()[..], &1u64.to_be_bytes()].concat()),
        ("a backing offset of size 0", 8, 0x200u64.to_be_bytes().to_vec()),
        ("data_file_raw without a data file", 88, 2u64.to_be_bytes().to_vec()),
        ("the corrupt bit", 72, 2u64.to_be_bytes().to_vec()),
    ];
    for (what, at, bytes) in damages {
        let mut image = sound.clone();
        image[at..at + bytes.len()].copy_from_slice(&bytes);
        lab.file("c.qcow2", &image);
        let run = check(&lab, &members).exits(1);
        let member = &run.json()["members"][2];
        assert_eq!((&member["whole"], &member["status"]), (&false.into(), &"divergent".into()), "{what}\n{run}");
        assert!(member["structure-errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{what}\n{run}");
        lab.quorum_img(["check"]).args(&members).exits(1).says("qemu-img check -r all -f qcow2 c.qcow2");
    }
}

/// Clusters that are counted and not used waste room, and no more.
#[test]
fn leaks_are_notes() {
    let Some((lab, members)) = lab() else { return };
    let mut image = lab.bytes(&lab.path("c.qcow2"));
    let table = usize::try_from(u64::from_be_bytes(image[48..56].try_into().expect("8 bytes"))).expect("small");
    let block = usize::try_from(u64::from_be_bytes(image[table..table + 8].try_into().expect("8 bytes"))).expect("small");
    let last = image.len() / 65536;
    image.resize((last + 1) * 65536, 0);
    image[block + last * 2 + 1] = 1;
    lab.file("c.qcow2", &image);
    let run = check(&lab, &members).exits(0);
    assert_eq!(run.json()["members"][2]["whole"], true, "{run}");
    assert!(run.json()["members"][2]["structure-notes"][0].as_str().is_some_and(|note| note.contains("leaked")), "{run}");
}

/// An image whose books free what it uses was called whole by everything that writes, with code 0.
#[test]
fn what_writes_calls_no_unsound_image_whole() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let members: Vec<String> = ["a.qcow2", "b.qcow2", "c.qcow2"].map(str::to_owned).to_vec();
    lab.file("disk.raw", noise(1, 1 << 20));
    lab.program("qemu-img").args(["convert", "-O", "qcow2", "disk.raw", "c.qcow2"]).exits(0);
    for copy in &members[..2] {
        std::fs::copy(lab.path("c.qcow2"), lab.path(copy)).expect("it can be copied");
    }
    let number = |at: u64| u64::from_be_bytes(lab.read(&lab.path("c.qcow2"), at..at + 8).try_into().expect("eight bytes"));
    let block = number(number(48));
    lab.write(&lab.path("c.qcow2"), block + 2 * 10, &[0; 6]);
    lab.quorum_img(["check", "-f", "qcow2"]).args(&members).exits(1).says("refcount is 0");
    for line in [&["repair", "--in-place", "-f", "qcow2"][..], &["repair", "--in-place", "--dry-run", "-f", "qcow2"]] {
        let run = lab.quorum_img(line).args(["--output", "json"]).args(&members).exits(1).json();
        assert_eq!(run["members"][2]["whole"], false, "{run}");
        assert_eq!(run["members"][0]["whole"], true, "{run}");
    }
    let run = lab.quorum_img(["repair", "-o", "new.img", "-f", "qcow2", "--output", "json"]).args(&members).exits(0).json();
    assert_eq!(run["members"][2]["whole"], false, "{run}");
}

//! Votes among members of several formats, each damaged in its own way: one real file system comes out of it, whole.

use std::{path::Path, process::Command};

use super::{
    have_qemu,
    layout::Layout,
    qemu_img, qemu_io,
    support::{KIB, Lab, MIB, mounts::run, needs, noise},
};

/// An ext4 with a few hundred files of this repository's, in a raw file of `mib` MiB.
fn file_system(lab: &Lab, mib: u64) -> Option<Vec<u8>> {
    if !have_qemu() || !needs("mkfs.ext4") || !needs("e2fsck") {
        return None;
    }
    let files = lab.path("files");
    let script = "mkdir $1 && cd $0 && find src tests docs -type f -size -100k -print0 | xargs -0 cp --parents -t $1";
    run(Command::new("sh").args(["-c", script, env!("CARGO_MANIFEST_DIR")]).arg(&files));
    let disk = lab.path("disk.raw");
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&files).arg(&disk).arg(format!("{mib}M")));
    Some(lab.bytes(&disk))
}

fn is_sound(disk: &Path) -> bool {
    Command::new("e2fsck").args(["-f", "-n"]).arg(disk).output().expect("e2fsck runs").status.success()
}

/// An overlay on `base`, in whose clusters of 64 KiB is what differs from `below`, compressed.
fn overlay(lab: &Lab, base: &str, format: &str, below: &[u8], disk: &[u8], top: &str) {
    qemu_img(lab, &format!("create -q -f qcow2 -o compression_type=zstd -b {base} -F {format} {top} {}", disk.len()));
    let chunks =
        disk.chunks(65_536).enumerate().filter(|(index, chunk)| below.get(index * 65_536..index * 65_536 + chunk.len()) != Some(chunk));
    let commands = chunks.map(|(index, chunk)| {
        let source = format!("{top}.{index}");
        lab.file(&source, chunk);
        format!("write -q -c -s {source} {} {}", index * 65_536, chunk.len())
    });
    qemu_io(lab, "qcow2", top, commands);
}

/// An entry that leads nowhere.
const BAD: [u8; 8] = [0x80, 0xff, 0, 0, 0, 0, 2, 0];

/// Raw, qcow2 with clusters of 4 KiB, and zstd on a backing file; all have lost something that the file system feels.
#[test]
fn a_real_file_system_comes_back_from_three_formats() {
    let lab = Lab::new();
    let Some(disk) = file_system(&lab, 16) else { return };
    lab.file("one.raw", &disk);
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=4k disk.raw two.q");
    // The base is an older state of the disk; what has changed since is on top.
    let mut older = disk.clone();
    older[1 << 20..3 << 20].fill(0x11);
    older[10 << 20..].fill(0);
    lab.file("older.raw", &older);
    qemu_img(&lab, "convert -c -f raw -O qcow2 -o compression_type=zstd older.raw base.q");
    overlay(&lab, "base.q", "qcow2", &older, &disk, "three.q");
    let members = ["raw:one.raw", "qcow2:two.q", "qcow2:three.q"];
    lab.quorum_img(["check", "--allow-references"]).args(members).exits(0);

    // The raw copy: superblock and group descriptors gone, a lost stretch, bits flipped.
    let one = lab.path("one.raw");
    lab.damage(&one, 1024..6 * KIB);
    lab.damage(&one, 5 * MIB..5 * MIB + 200_000);
    for at in (7 * MIB..15 * MIB).step_by(1_000_003) {
        lab.flip_bit(&one, at);
    }
    // The plain image: another disk's blocks, and entries that lead nowhere.
    lab.file("noise", noise(1, 65_536));
    qemu_io(&lab, "qcow2", "two.q", ["write -q -s noise 6500k 64k"]);
    let two = lab.path("two.q");
    let layout = Layout::of(&lab, &two);
    for guest in [40 * KIB, 48 * KIB] {
        lab.write(&two, layout.l2_entry(guest), &BAD);
    }
    // The overlay: garbage in a compressed cluster, and a base with a bad entry.
    let three = lab.path("three.q");
    let layout = Layout::of(&lab, &three);
    let (at, length) = layout.compressed(2 * MIB);
    lab.write(&three, at, &vec![0xff; usize::try_from(length.min(200)).expect("small")]);
    let base = lab.path("base.q");
    lab.write(&base, Layout::of(&lab, &base).l2_entry(4 * MIB), &BAD);

    assert!(!is_sound(&one), "the damage must be one that a file system feels");
    let run = lab.quorum_img(["check", "--allow-references", "--output", "json"]).args(members).exits(1);
    let report = run.json();
    for (member, key, sectors) in [(1, "unreadable-sectors", 16), (1, "dissenting-sectors", 128), (2, "unreadable-sectors", 256)] {
        assert_eq!(report["members"][member][key], sectors, "{key} of member {member}\n{run}");
    }
    lab.quorum_img(["repair", "--allow-references", "-o", "out.img"]).args(members).exits(0);
    let out = lab.path("out.img");
    assert!(lab.bytes(&out) == disk, "not the disk that it was\n{run}");
    assert!(is_sound(&out));
}

/// Each of three formats has lost other parts; sector by sector there are always two.
#[test]
fn damage_that_never_meets_is_repaired() {
    let lab = Lab::new();
    let Some(disk) = file_system(&lab, 12) else { return };
    lab.file("one.raw", &disk);
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=4k disk.raw two.q");
    lab.file("base.raw", &disk[..5 << 20]);
    overlay(&lab, "base.raw", "raw", &disk[..5 << 20], &disk, "three.q");
    let members = ["raw:one.raw", "qcow2:two.q", "qcow2:three.q"];
    lab.quorum_img(["check", "--allow-references"]).args(members).exits(0);

    let one = lab.path("one.raw");
    lab.damage(&one, 1024..6 * KIB);
    lab.set_length(&one, 11 * MIB + 300);
    let two = lab.path("two.q");
    let layout = Layout::of(&lab, &two);
    // Every seventh of its clusters, inode tables and all.
    let written = (16..11 * KIB / 4).map(|cluster| cluster * 4 * KIB).filter(|&guest| has_data(&lab, &two, &layout, guest)).take(400);
    for guest in written.step_by(7) {
        lab.write(&two, layout.l2_entry(guest), &BAD);
    }
    // What shows through from the base is damaged far from both.
    lab.damage(&lab.path("base.raw"), 6 * KIB..60 * KIB);

    assert!(!is_sound(&one));
    let run = lab.quorum_img(["check", "--allow-references", "--output", "json"]).args(members).exits(1);
    let report = run.json();
    for (member, key) in [(0, "dissenting-sectors"), (0, "absent-sectors"), (1, "unreadable-sectors"), (2, "dissenting-sectors")] {
        assert!(report["members"][member][key].as_u64() > Some(0), "{key} of member {member}\n{run}");
    }
    lab.quorum_img(["repair", "--allow-references", "-o", "out.img"]).args(members).exits(0);
    let out = lab.path("out.img");
    assert!(lab.bytes(&out) == disk, "not the disk that it was");
    assert!(is_sound(&out));
}

/// Whether a cluster of the guest is there as data of its own.
fn has_data(lab: &Lab, image: &Path, layout: &Layout, guest: u64) -> bool {
    if layout.number(layout.l1_entry(guest)) == 0 {
        return false;
    }
    let entry = lab.read(image, layout.l2_entry(guest)..layout.l2_entry(guest) + 8);
    entry[0] & 0x40 == 0 && entry[1..7].iter().any(|&byte| byte != 0)
}

/// Sizes vote as the guest sees them: two formats of one disk outvote a longer one, whatever the files' lengths.
#[test]
fn virtual_sizes_vote() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("disk.raw", noise(8, 300_032));
    qemu_img(&lab, "convert -f raw -O qcow2 disk.raw a.q");
    qemu_img(&lab, "convert -c -f raw -O qcow2 disk.raw b.q");
    qemu_img(&lab, "resize -q -f qcow2 b.q 400384");
    let members = ["raw:disk.raw", "qcow2:a.q", "qcow2:b.q"];
    let run = lab.quorum_img(["check", "--output", "json"]).args(members).exits(1);
    let report = run.json();
    assert_eq!(report["size"], 300_032, "{run}");
    assert_eq!(report["members"][2]["surplus-bytes"], 400_384 - 300_032, "{run}");
    assert_eq!(report["members"][2]["size"], 400_384, "{run}");
    // And an image whose guest has shrunk its disk is absent behind its end.
    qemu_img(&lab, "resize -q -f qcow2 --shrink b.q 200192");
    let run = lab.quorum_img(["check", "--output", "json"]).args(members).exits(1);
    assert_eq!(run.json()["members"][2]["absent-sectors"], (300_032 - 200_192) / 512, "{run}");
}

/// Larger units of the vote, parts of the disk, and one that is trusted: all by what the guest sees.
#[test]
fn options_speak_of_the_guests_bytes() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("disk.raw", noise(8, 300_032));
    qemu_img(&lab, "convert -c -f raw -O qcow2 disk.raw a.q");
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=1k disk.raw b.q");
    qemu_io(&lab, "qcow2", "b.q", ["write -q -P 3 100k 512"]);
    let members = ["raw:disk.raw", "qcow2:a.q", "qcow2:b.q"];
    let run = lab.quorum_img(["check", "--output", "json", "--sector-size", "4096"]).args(members).exits(1);
    assert_eq!(run.json()["divergences"][0]["offset"], 100 * KIB, "{run}");
    assert_eq!(run.json()["divergences"][0]["length"], 4096, "{run}");
    lab.quorum_img(["check", "--range", "0:100k"]).args(members).exits(0);
    lab.quorum_img(["check", "--range", "100k:1k"]).args(members).exits(1);
    lab.quorum_img(["check", "--read-pattern", "fifo"]).args(members).exits(0);
    lab.quorum_img(["repair", "--trust", "#2", "-o", "out.img"]).args(members).exits(0);
    let out = lab.bytes(&lab.path("out.img"));
    assert_eq!((out[100 * 1024], out[100 * 1024 + 511]), (3, 3));
    assert!(out[..100 * 1024] == lab.bytes(&lab.path("disk.raw"))[..100 * 1024]);
}

/// Nothing is written to any member, or beside it, by whatever only reads.
#[test]
fn reading_leaves_every_file_as_it_was() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("disk.raw", noise(8, 300_032));
    qemu_img(&lab, "convert -f raw -O qcow2 -o lazy_refcounts=on disk.raw base.q");
    qemu_img(&lab, "create -q -f qcow2 -b base.q -F qcow2 top.q");
    // The dirty mark asks for a repair, which is not for a reader to make.
    lab.write(&lab.path("top.q"), 79, &[1]);
    let before = lab.listing();
    lab.quorum_img(["check", "--allow-references", "qcow2:top.q", "raw:disk.raw"]).exits(0);
    lab.quorum_img(["info", "qcow2:top.q", "raw:disk.raw"]).exits(0);
    assert_eq!(lab.listing(), before);
}

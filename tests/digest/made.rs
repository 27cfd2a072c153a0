//! How digests are made: of anything, in parts, and what `b3sum` says of the same.

use std::{fs, path::Path};

use crate::{
    MIB, age, copies, disk, rot,
    support::{Lab, needs, noise},
};

fn root(lab: &Lab, name: impl AsRef<Path>) -> String {
    let printed = lab.quorum_img(["digest", "--root"]).arg(name.as_ref()).exits(0).stdout();
    printed.split_whitespace().next().unwrap_or_default().to_owned()
}

/// D7: by the library, and by the program that everybody has.
#[test]
fn the_root_is_what_b3sum_prints() {
    let lab = Lab::new();
    for size in [1u64, 511, 512, 65_535, 65_536, 65_537, 131_072, 200_000, MIB + 1, 5 * MIB - 3] {
        let file = lab.file(format!("{size}.img"), noise(size, size as usize));
        lab.quorum_img(["digest", "-q", "-o", "d.qdg", "--force", "overwrite"]).arg(&file).exits(0);
        let expected = blake3::hash(&lab.bytes(&file)).to_hex().to_string();
        assert_eq!(root(&lab, &file), expected, "{size} bytes");
        assert_eq!(root(&lab, "d.qdg"), expected, "{size} bytes, by its digest");
        if needs("b3sum") {
            assert!(lab.program("b3sum").arg(&file).exits(0).says(&expected).code() == Some(0));
        }
    }
    let zeros = lab.sparse("zeros.img", 3 * MIB + 5);
    assert_eq!(root(&lab, &zeros), blake3::hash(&vec![0; 3 * MIB as usize + 5]).to_hex().to_string());
}

/// What is nowhere takes no room and no time.
#[test]
fn terabytes_of_nothing() {
    let lab = Lab::new();
    let sparse = lab.sparse("large.img", 15 << 40);
    lab.write(&sparse, 3 << 40, b"something");
    lab.quorum_img(["digest", "-o", "d.qdg"]).arg(&sparse).exits(0).says("251658240: 1 with a value, 251658239 of zeros");
    assert_eq!(fs::metadata(lab.path("d.qdg")).expect("it is there").len(), 8192);
    age(&sparse, 3600);
    lab.quorum_img(["digest", "-o", "e.qdg"]).arg(&sparse).exits(0);
    let copy = lab.sparse("copy.img", 15 << 40);
    lab.write(&copy, 3 << 40, b"something");
    age(&copy, 3600);
    lab.quorum_img(["check"]).args([&sparse, &copy]).arg("e.qdg").exits(0);
    lab.set_length(&copy, 14 << 40);
    age(&copy, 3600);
    let shorter = lab.quorum_img(["check", "--output", "json"]).args([&sparse, &copy]).arg("e.qdg").exits(2).json();
    assert_eq!(shorter["sectors"]["undecided"].as_u64(), Some((1 << 40) / 512), "it is one copy's own memory");
    if needs("qemu-img") {
        lab.program("qemu-img").args(["create", "-q", "-f", "qcow2", "huge.qcow2", "63T"]).exits(0);
        lab.quorum_img(["digest", "-o", "huge.qdg", "-f", "qcow2", "huge.qcow2"]).exits(0).says("1056964608: 0 with a value");
    }
}

/// Parts made one by one are the whole, byte for byte but for the times.
#[test]
fn shards_merge_to_the_whole() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(1, 3 * MIB + 700));
    rot(&b, &[3000]);
    let timeless = |name: &str| {
        let mut bytes = lab.bytes(&lab.path(name));
        bytes[72..96].fill(0); // times
        bytes[112..120].fill(0); // the checksum
        bytes
    };
    lab.quorum_img(["digest", "-o", "whole.qdg"]).args([&a, &b]).exits(2).complains("nothing is known, the first at 0x170000");
    for count in [1, 2, 7, 100] {
        let names: Vec<String> = (0..count).map(|which| format!("{count}-{which}.qdg")).collect();
        for (which, name) in names.iter().enumerate() {
            lab.quorum_img(["digest", "-q", "-o", name, "--shard", &format!("{which}/{count}")]).args([&a, &b]).output();
        }
        let merged = format!("{count}.qdg");
        lab.quorum_img(["digest", "--merge", "-o", &merged]).args(names.iter().rev()).arg(&names[0]).exits(2);
        assert!(timeless(&merged) == timeless("whole.qdg"), "{count} parts");
    }
    lab.quorum_img(["digest", "--merge", "-o", "holey.qdg", "7-0.qdg", "7-2.qdg"])
        .exits(2)
        .complains("no part tells of")
        .complains("and not of the whole");
    lab.quorum_img(["digest", "-q", "-o", "other.qdg", "--chunk-size", "128k", "--shard", "0/2"]).args([&a, &b]).output();
    lab.quorum_img(["digest", "--merge", "-o", "x.qdg", "other.qdg", "2-1.qdg"]).exits(3).complains("is no part of the same as");
    age(&a, 60);
    lab.quorum_img(["digest", "-q", "-o", "later.qdg", "--shard", "0/2"]).args([&a, &b]).output();
    lab.quorum_img(["digest", "--merge", "-o", "x.qdg", "later.qdg", "2-1.qdg"]).exits(3).complains("was written to in between");
    assert!(!lab.path("x.qdg").exists());
}

#[test]
fn what_has_no_winner_is_unknown() {
    let lab = Lab::new();
    let [a, b, c] = copies(&lab, &disk(2, MIB));
    rot(&a, &[128]);
    rot(&b, &[2000]);
    lab.quorum_img(["digest", "-o", "three.qdg"]).args([&a, &b, &c]).exits(0);
    lab.quorum_img(["digest", "-o", "two.qdg"]).args([&a, &b]).exits(2).says("2 unknown");
    assert_eq!(root(&lab, "three.qdg"), root(&lab, &c));
    lab.quorum_img(["digest", "--root", "two.qdg"]).exits(3).complains("offset 0x10000");
    lab.quorum_img(["digest", "--root"]).args([&a, &b]).exits(3);
}

/// What a guest sees, whatever holds it.
#[test]
fn images_are_hashed_as_the_guest_sees_them() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let file = lab.file("disk.img", disk(3, 2 * MIB));
    lab.program("qemu-img").args(["convert", "-O", "qcow2", "disk.img", "disk.qcow2"]).exits(0);
    assert_eq!(root(&lab, &file), root(&lab, "disk.qcow2"));
    lab.quorum_img(["digest", "-o", "d.qdg", "disk.qcow2"]).exits(0).says("disk.qcow2 (qcow2, 2097152 bytes");
}

#[test]
fn nothing_is_overwritten_and_bad_arguments_are_told() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(4, MIB));
    lab.file("there", "something");
    let before = lab.listing();
    let (one, two) = (a.to_str().expect("text"), b.to_str().expect("text"));
    for (words, complaint) in [
        (vec!["digest", "-o", "there", one], "exists already"),
        (vec!["digest", "-o", one, one], "exists already"),
        (vec!["digest", "-o", one, "--force", "overwrite", one], "something else than a digest"),
        (vec!["digest", "-o", ".", one], "is no file"),
        (vec!["digest", "-o", "no/where", one], "folder"),
        (vec!["digest", "-o", "-", one], "hint: "),
        (vec!["digest", one], "required"),
        (vec!["digest", "-o", "x", "--chunk-size", "65537", one], "a power of two from 64k to 1M"),
        (vec!["digest", "-o", "x", "--chunk-size", "2M", one], "a power of two from 64k to 1M"),
        (vec!["digest", "-o", "x", "--shard", "3/3", one], "I from 0 to N-1"),
        (vec!["digest", "-o", "x", "--range", "0:512", one], "--shard"),
        (vec!["digest", "--root", "--hash", "xxh3", one], "don't merge"),
        (vec!["digest", "--merge", "-o", "x", one], "is no digest"),
        (vec!["digest", "-o", "x", "none.img"], "none.img"),
        (vec!["digest", "-o", "x", one, one], "hint: "),
        (vec!["digest", "-o", "x"], "MEMBER"),
    ] {
        lab.quorum_img(&words).exits(3).complains(complaint);
        assert_eq!(lab.listing(), before, "{words:?}");
    }
    lab.quorum_img(["digest", "-o", "there", "--force", "overwrite", one, two])
        .exits(3)
        .complains("something else than a digest stands there");
    fs::remove_file(lab.path("there")).expect("it is there");
    lab.quorum_img(["digest", "-o", "there", one]).exits(0);
    lab.quorum_img(["digest", "-o", "there", "--force", "overwrite", one, two]).exits(0);
    lab.quorum_img(["digest", "-o", "x", "there"]).exits(3).complains("is a digest already");
    lab.quorum_img(["digest", "--merge", "--force", "overwrite", "-o", "there", "there"]).exits(3).complains("is one of the parts");
    let shorter = lab.file("short.img", noise(9, 4096));
    lab.quorum_img(["digest", "-o", "x"]).args([&a, &shorter]).exits(3).complains("don't agree on the virtual size").complains("--size");
    lab.quorum_img(["digest", "-q", "-o", "x", "--size", "4k"]).args([&a, &shorter]).exits(2);
}

/// A new digest of copies that differ by now doesn't take the place of one that may heal them.
#[test]
fn a_better_digest_is_kept() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(6, MIB));
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[100]);
    let before = lab.bytes(&lab.path("disk.qdg"));
    let again = lab.quorum_img(["digest", "--force", "overwrite", "-o", "disk.qdg"]).args([&a, &b]).exits(2);
    again.complains("not replaced: of 1 chunk nothing would be known").complains("check MEMBER... disk.qdg");
    assert!(lab.bytes(&lab.path("disk.qdg")) == before);
    lab.quorum_img(["digest", "-o", "other.qdg"]).args([&a, &b]).exits(2);
    lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b]).arg("disk.qdg").exits(0);
    lab.quorum_img(["digest", "--force", "overwrite", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
}

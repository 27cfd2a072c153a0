//! A header that can't be read makes a failed member: it is counted, told why, and the others decide.

use super::{
    damage::{SIZE, Scene},
    have_qemu,
    support::{Lab, Output, refusal::assert_clean},
};

/// The member has failed, its error says these words and names this byte of the header, and the other two decide.
fn fails(scene: &Scene, words: &[&str], byte: Option<u64>) -> Output {
    let run = scene.is_outvoted();
    assert_clean(&run);
    let report = run.json();
    let member = &report["members"][0];
    assert_eq!(member["status"], "failed", "{run}");
    assert_ne!(member["whole"], true, "{run}");
    assert_eq!(report["size"], SIZE, "a failed member's size has no say\n{run}");
    assert_eq!(report["sectors"]["undecided"], 0, "{run}");
    let error = member["error"].as_str().unwrap_or_else(|| panic!("no error\n{run}")).to_lowercase();
    for word in words {
        assert!(error.contains(word), "the error should say {word:?}\n{run}");
    }
    if let Some(byte) = byte {
        let numbers = error.split(|character: char| !character.is_ascii_alphanumeric());
        let mut numbers =
            numbers.filter_map(|word| word.strip_prefix("0x").map_or_else(|| word.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok()));
        assert!(numbers.any(|number| number == byte), "the error should name byte {byte} of the file\n{run}");
    }
    run
}

/// Field by field: what the byte at that offset must not be.
#[test]
fn header_fields_that_make_no_sense() {
    if !have_qemu() {
        return;
    }
    for (offset, bytes, words) in [
        (0, &b"QFJ\xfb"[..], &["magic"][..]),
        (0, &[0, 0, 0, 0], &["magic"]),
        (4, &[0, 0, 0, 1], &["version"]),
        (4, &[0, 0, 0, 4], &["version"]),
        (4, &[0xff; 4], &["version"]),
        (20, &[0, 0, 0, 8], &["cluster"]),
        (20, &[0, 0, 0, 22], &["cluster"]),
        (20, &[0, 0, 0, 64], &["cluster"]),
        (20, &[0xff; 4], &["cluster"]),
        (96, &[0, 0, 0, 7], &["refcount"]),
        (96, &[0xff; 4], &["refcount"]),
        (36, &[0xff; 4], &["l1"]),
        (36, &[0x00, 0x80, 0, 0], &["l1"]),
        (40, &[0, 0, 0, 0, 0, 0, 0x30, 0x01], &["l1"]),
    ] {
        let scene = Scene::of_noise("cluster_size=1k");
        scene.lab.write(&scene.image, offset, bytes);
        fails(&scene, words, Some(offset));
    }
}

/// Fields that QEMU refuses as well, where the words leave open which one is to blame.
#[test]
fn header_fields_that_contradict_each_other() {
    if !have_qemu() {
        return;
    }
    for (offset, bytes) in [
        // No L1 table at all, and one too short, for a disk of this size.
        (36, &[0, 0, 0, 0][..]),
        (36, &[0, 0, 0, 2]),
        // header_length shorter than version 3's first, no multiple of 8, and longer than a cluster.
        (100, &[0, 0, 0, 72]),
        (100, &[0xff, 0xff, 0xff, 0xf8]),
        (100, &[0, 0, 0x10, 0]),
    ] {
        let scene = Scene::of_noise("cluster_size=1k");
        scene.lab.write(&scene.image, offset, bytes);
        let theirs = scene.lab.program("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw", "top.q", "theirs.raw"]).output();
        assert_ne!(theirs.code(), Some(0), "QEMU reads this: {offset} {bytes:?}");
        let run = scene.is_outvoted();
        assert_clean(&run);
        assert_eq!(run.json()["members"][0]["dissenting-sectors"], 0, "nothing must be made up: {offset} {bytes:?}\n{run}");
    }
}

/// A file that ends before its header does.
#[test]
fn files_that_are_hardly_there() {
    if !have_qemu() {
        return;
    }
    for length in [4, 71, 72, 103] {
        let scene = Scene::of_noise("cluster_size=1k");
        scene.lab.set_length(&scene.image, length);
        fails(&scene, &[], None);
    }
    // The same by version 2, whose header ends at 72 bytes.
    for length in [5, 71] {
        let scene = Scene::of_noise("compat=v2,cluster_size=1k");
        scene.lab.set_length(&scene.image, length);
        fails(&scene, &[], None);
    }
}

/// Cut off anywhere, an image never says what it doesn't know: no dissent, and the copies outvote it.
#[test]
fn files_that_are_cut_off() {
    if !have_qemu() {
        return;
    }
    for options in ["cluster_size=1k", "cluster_size=64k", "compat=v2,cluster_size=4k", "extended_l2=on,cluster_size=16k"] {
        for percent in [1, 3, 10, 50, 90, 95] {
            let scene = Scene::of_noise(options);
            let length = scene.lab.bytes(&scene.image).len() as u64;
            scene.lab.set_length(&scene.image, length * percent / 100);
            let run = scene.is_outvoted();
            let member = &run.json()["members"][0];
            assert_eq!(member["dissenting-sectors"], 0, "{options}, cut to {percent} %\n{run}");
            let lost = member["status"] == "failed" || member["unreadable-sectors"].as_u64() > Some(0);
            assert!(lost, "{options}, cut to {percent} %\n{run}");
        }
    }
}

/// An L1 table in a place that the file doesn't reach: whatever it is called, nothing is made up.
#[test]
fn an_l1_table_beyond_the_end_of_the_file() {
    if !have_qemu() {
        return;
    }
    for offset in [1_u64 << 30, 1 << 50, 1 << 62, !0x3ff] {
        let scene = Scene::of_noise("cluster_size=1k");
        scene.set(40, offset);
        let run = scene.is_outvoted();
        assert_eq!(run.json()["members"][0]["dissenting-sectors"], 0, "L1 table at {offset:#x}\n{run}");
    }
}

/// A size that the tables have no room for, or that is another disk's.
#[test]
fn sizes_that_are_wrong() {
    if !have_qemu() {
        return;
    }
    for size in [0, 512, SIZE - 512, SIZE + 512, SIZE * 100, 1 << 50, u64::MAX] {
        let scene = Scene::of_noise("cluster_size=1k");
        scene.set(24, size);
        let run = scene.is_outvoted();
        assert_eq!(run.json()["size"], SIZE, "the other two outvote it: {size}\n{run}");
        assert_eq!(run.json()["members"][0]["dissenting-sectors"], 0, "{size}\n{run}");
    }
}

/// With nobody left, there is no vote.
#[test]
fn all_members_have_failed() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise("cluster_size=1k");
    scene.lab.write(&scene.image, 20, &[0, 0, 0, 99]);
    for name in ["b.q", "c.q"] {
        scene.lab.file(name, scene.lab.bytes(&scene.image));
    }
    for options in [&["check"][..], &["check", "--output", "json"], &["repair", "-o", "out.img"]] {
        let run = scene.lab.quorum_img(options).args(["-f", "qcow2", "top.q", "b.q", "c.q"]).exits(3);
        assert_clean(&run);
        for word in ["top.q", "b.q", "c.q", "cluster"] {
            let told = run.stderr() + &run.stdout();
            assert!(told.to_lowercase().contains(word), "{word} isn't told\n{run}");
        }
    }
    assert!(!scene.lab.path("out.img").exists());
}

/// A failed member and one that dissents: of three members, only one is left to say something.
#[test]
fn a_failed_member_counts() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise("cluster_size=1k");
    scene.lab.write(&scene.image, 4, &[9]);
    scene.lab.damage(&scene.lab.path("good-1.raw"), 5120..6144);
    let run = scene.check().expect_code(2);
    assert_eq!(run.json()["sectors"]["undecided"], 2, "{run}");
    assert_eq!(run.json()["threshold"], 2, "{run}");
}

/// People are told in words, by the member's name.
#[test]
fn people_are_told() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise("cluster_size=1k");
    scene.lab.write(&scene.image, 20, &[0, 0, 0, 99]);
    let run = scene.lab.quorum_img(["check"]).args(Scene::members()).exits(1);
    run.says("top.q").says("failed").says("cluster");
}

/// A file of no bytes, and one of another format, under -f qcow2.
#[test]
fn what_is_no_image_at_all() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    let bytes = vec![0x5a; 100_352];
    let [a, b] = lab.copies_of("good.raw", &bytes);
    let raws = [&a, &b].map(|path| format!("raw:{}", path.display()));
    for contents in [&[][..], &bytes] {
        lab.file("top.q", contents);
        let run = lab.quorum_img(["check", "--output", "json", "-f", "qcow2", "top.q"]).args(&raws).exits(1);
        assert_eq!(run.json()["members"][0]["status"], "failed", "{run}");
    }
}

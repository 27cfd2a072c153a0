//! Images that are not rewritten: refused before anything is written to any member, with a way out.

use super::{FORCED, Scene, have_qemu, qemu_img, qemu_io, support::Lab};

const DAMAGE: [&str; 2] = ["write -q -P 99 1M 10k", "write -q -P 98 2500k 512"];

/// The repair is refused with code 3 and these words, and no file changes or appears.
fn refuses(scene: &Scene, words: &[&str]) {
    let before = scene.lab.listing();
    let run = scene.repair().exits(3);
    for word in words {
        run.complains(word);
    }
    run.complains("hint:");
    assert_eq!(scene.lab.listing(), before, "{run}");
}

fn plain() -> Scene {
    Scene::new(&["create -q -f qcow2 a.q 8M"], false, &DAMAGE)
}

#[test]
fn dirty_and_corrupt_images() {
    if !have_qemu() {
        return;
    }
    for (bits, words) in [(1, ["dirty", "qemu-img check"]), (2, ["corrupt", "repair -o"])] {
        let scene = plain();
        scene.lab.write(&scene.lab.path("b.q"), 79, &[bits]);
        refuses(&scene, &words);
        // The others can still be repaired.
        let scene = scene.with(&["--no-write", "b.q"]);
        scene.repair().exits(1);
    }
}

#[test]
fn counts_that_are_wrong() {
    if !have_qemu() {
        return;
    }
    // Refcount block of a fresh image: its second or third cluster; the table's first entry tells.
    let scene = plain();
    let bytes = scene.lab.bytes(&scene.lab.path("b.q"));
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let block = usize::try_from(number(usize::try_from(number(48)).expect("small"))).expect("small");
    let used = (4..200).find(|cluster| bytes[block + cluster * 2 + 1] == 1).expect("data clusters");
    for count in [0, 2] {
        let scene = plain();
        scene.lab.write(&scene.lab.path("b.q"), (block + used * 2) as u64, &[0, count]);
        refuses(&scene, &["metadata", "repair -o"]);
    }
}

#[test]
fn tables_that_contradict_themselves() {
    if !have_qemu() {
        return;
    }
    let scene = plain();
    let bytes = scene.lab.bytes(&scene.lab.path("b.q"));
    let number = |at: u64| {
        let at = usize::try_from(at).expect("small");
        u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    };
    let l1 = number(40);
    let l2 = number(l1) & 0x00ff_ffff_ffff_fe00;
    for (at, entry) in [
        (l2 + 8, number(l2)),                  // two guest clusters in one
        (l2, number(l2) & !(1 << 63)),         // used once, and not said so
        (l2, number(l2) | 0x100),              // a reserved bit
        (l2 + 16, (1 << 63) | 0x7f_0000_0000), // beyond the file
        (l1, number(l1) | 0x100),
    ] {
        let scene = plain();
        scene.lab.write(&scene.lab.path("b.q"), at, &entry.to_be_bytes());
        refuses(&scene, &["metadata", "repair -o"]);
    }
}

#[test]
fn what_can_not_be_given_new_clusters() {
    if !have_qemu() {
        return;
    }
    for (options, word) in [("compression_type=zstd", "zstd"), ("extended_l2=on", "extended L2")] {
        let scene = Scene::new(&[&format!("create -q -f qcow2 -o {options} a.q 8M")], false, &["write -q -z 0 128k"]);
        refuses(&scene, &[word, "repair -o"]);
    }
    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], false, &["write -q -z 0 128k"]).with(&["--no-journal"]);
    refuses(&scene, &["--no-journal"]);
}

#[test]
fn bitmaps_ask() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    qemu_img(&lab, "create -q -f qcow2 a.q 8M");
    qemu_img(&lab, "bitmap --add a.q one");
    let scene = Scene::of(lab, false, &DAMAGE);
    refuses(&scene, &["bitmap", "--force bitmaps"]);
    let words = ["repair", "--in-place", "-f", "qcow2", "--force", FORCED, "--force", "bitmaps", "a.q", "b.q", "c.q"];
    scene.lab.quorum_img(words).exits(0);
    qemu_img(&scene.lab, "compare -f qcow2 -F raw b.q good.raw");
    scene.is_undone();
}

#[test]
fn data_in_another_file_and_another_size() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        qemu_img(&lab, &format!("create -q -f qcow2 -o data_file={name}.data {name}.q 8M"));
    }
    qemu_io(&lab, "b.q", &["write -q -P 5 0 64k"]);
    let members = ["a.q", "b.q", "c.q"];
    let words = ["repair", "--in-place", "-f", "qcow2", "--allow-references", "--force", FORCED];
    lab.quorum_img(words).args(members).exits(3).complains("another file").complains("repair -o");

    // A shorter image keeps its size; what it has in common is repaired, and the rest is told.
    let scene = plain();
    qemu_img(&scene.lab, "resize -q --shrink -f qcow2 b.q 4M");
    let run = scene.repair().output();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    assert!((run.stdout() + &run.stderr()).contains("size"), "{run}");
    scene.lab.program("qemu-img").args(["check", "-f", "qcow2", "b.q"]).exits(0);
}

#[test]
fn guesses_and_snapshots() {
    if !have_qemu() {
        return;
    }
    let scene = plain();
    scene.lab.quorum_img(["repair", "--in-place", "a.q", "b.q", "c.q"]).exits(3).complains("-f qcow2").complains("-f raw");
    refuses(&scene.with(&["--snapshot", "s1"]), &["--snapshot"]);
}

//! Damage below an overlay: what it would have shown through is lost, and what it holds itself still votes.

use std::ops::Range;

use serde_json::Value;

use super::{
    damage::{SIZE, Scene, image_errors},
    have_qemu,
    layout::Layout,
    qemu_img, qemu_io,
    support::{KIB, Lab},
};

/// What the overlay of [`overlaid`] holds itself.
const OWN: Range<u64> = 100 * KIB..140 * KIB;

/// Noise in `base.q`, and `top.q` on it with 40 KiB of its own.
fn overlaid() -> Scene {
    let mut scene = Scene::of_noise("cluster_size=1k");
    std::fs::rename(scene.lab.path("top.q"), scene.lab.path("base.q")).expect("our own files");
    qemu_img(&scene.lab, "create -q -f qcow2 -o cluster_size=4k -b base.q -F qcow2 top.q");
    write_own(&mut scene, "top.q");
    scene
}

/// Writes the overlay's own bytes into it and into the copies.
fn write_own(scene: &mut Scene, image: &str) {
    let own = vec![0x77; 40 * 1024];
    qemu_io(&scene.lab, "qcow2", image, ["write -q -P 0x77 100k 40k"]);
    scene.good[100 * 1024..140 * 1024].copy_from_slice(&own);
    for name in ["good-0.raw", "good-1.raw"] {
        scene.lab.file(name, &scene.good);
    }
}

fn blames_backing(scene: &Scene, lost: &[Range<u64>]) {
    let run = scene.loses_each(lost);
    let errors = image_errors(&run);
    assert!(!errors.is_empty() && errors.iter().all(|error| error["table"] == "backing"), "{run}");
    let sum: u64 = errors.iter().filter_map(|error| error["length"].as_u64()).sum();
    assert_eq!(sum, lost.iter().map(|range| range.end - range.start).sum::<u64>(), "the guest ranges of what is lost\n{run}");
}

/// All but what the overlay holds.
fn all_but_own() -> [Range<u64>; 2] {
    [0..OWN.start, OWN.end..SIZE]
}

#[test]
fn a_backing_file_that_is_missing() {
    if !have_qemu() {
        return;
    }
    let scene = overlaid();
    scene.check().expect_code(0);
    std::fs::remove_file(scene.lab.path("base.q")).expect("our own file");
    blames_backing(&scene, &all_but_own());
    let run = scene.lab.quorum_img(["check", "--allow-references"]).args(Scene::members()).exits(1);
    run.says("base.q");
}

#[test]
fn a_backing_file_with_a_broken_header() {
    if !have_qemu() {
        return;
    }
    for (offset, bytes) in [(0, &b"QFIx"[..]), (4, &[0, 0, 0, 7]), (20, &[0, 0, 0, 40])] {
        let scene = overlaid();
        scene.lab.write(&scene.lab.path("base.q"), offset, bytes);
        blames_backing(&scene, &all_but_own());
    }
    for length in [0, 50] {
        let scene = overlaid();
        scene.lab.set_length(&scene.lab.path("base.q"), length);
        blames_backing(&scene, &all_but_own());
    }
}

/// Damage in a table of the backing file is damage to what shows through it, and no more.
#[test]
fn a_backing_file_with_a_bad_entry() {
    if !have_qemu() {
        return;
    }
    // One cluster of 1 KiB in an overlay's cluster of 4 KiB that isn't there; and one that is hidden by the overlay's own.
    for (guest, lost) in [(200 * KIB, Some(200 * KIB..201 * KIB)), (120 * KIB, None)] {
        let scene = overlaid();
        let base = scene.lab.path("base.q");
        let layout = Layout::of(&scene.lab, &base);
        let entry = layout.number(layout.l2_entry(guest)) | 0x200;
        scene.lab.write(&base, layout.l2_entry(guest), &entry.to_be_bytes());
        match lost {
            Some(lost) => {
                let run = scene.loses(&lost);
                let errors = image_errors(&run);
                assert_eq!((&errors[0]["offset"], &errors[0]["length"]), (&Value::from(lost.start), &Value::from(1024)), "{run}");
                assert!(run.stdout().contains("base.q"), "the file with the bad entry is named\n{run}");
            }
            None => drop(scene.check().expect_code(0)),
        }
    }
}

/// A table of the backing file: the overlay's own bytes lie in the middle of its reach.
#[test]
fn a_backing_file_with_a_bad_table() {
    if !have_qemu() {
        return;
    }
    let scene = overlaid();
    let base = scene.lab.path("base.q");
    let layout = Layout::of(&scene.lab, &base);
    scene.lab.write(&base, layout.l1_entry(0), &[0x00, 0xff]);
    scene.loses(&(0..OWN.start));
}

/// A raw file below that is cut off is simply shorter: QEMU shows zeros there, as behind the end of any backing file.
#[test]
fn a_raw_backing_file_that_is_cut_off() {
    if !have_qemu() {
        return;
    }
    let mut scene = Scene::of_noise("cluster_size=1k");
    scene.lab.file("base.raw", &scene.good);
    qemu_img(&scene.lab, "create -q -f qcow2 -b base.raw -F raw top.q");
    write_own(&mut scene, "top.q");
    scene.check().expect_code(0);
    scene.lab.set_length(&scene.lab.path("base.raw"), 200 * KIB);
    let run = scene.is_outvoted();
    assert_eq!(run.json()["members"][0]["dissenting-sectors"], (SIZE - 200 * KIB) / 512, "{run}");
}

/// A chain that comes back to itself: directly, and by way of others.
#[test]
fn loops() {
    if !have_qemu() {
        return;
    }
    // Names of one length, so that one can be written over another.
    let scene = overlaid();
    let at = |file: &str, name: &[u8]| {
        let bytes = scene.lab.bytes(&scene.lab.path(file));
        bytes.windows(name.len()).position(|window| window == name).expect("the name") as u64
    };
    qemu_img(&scene.lab, "create -q -f qcow2 -b base.q -F qcow2 midl.q");
    scene.lab.write(&scene.lab.path("top.q"), at("top.q", b"base.q"), b"midl.q");
    scene.check().expect_code(0);
    let middle = scene.lab.path("midl.q");
    let place = at("midl.q", b"base.q");
    scene.lab.write(&middle, place, b"midl.q");
    blames_backing(&scene, &all_but_own());
    scene.lab.write(&middle, place, b"./m.qq");
    std::os::unix::fs::symlink("top.q", scene.lab.path("m.qq")).expect("a link");
    blames_backing(&scene, &all_but_own());
}

/// More levels than anybody has: the limit is named.
#[test]
fn too_many_levels() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    qemu_img(&lab, "create -q -f qcow2 -o cluster_size=4k level-000.q 64k");
    qemu_img(&lab, "create -q -f qcow2 -o cluster_size=4k -b level-000.q -F qcow2 level-001.q");
    let overlay = lab.bytes(&lab.path("level-001.q"));
    let at = overlay.windows(11).position(|window| window == b"level-000.q").expect("the name");
    for level in 1..202 {
        let mut bytes = overlay.clone();
        bytes[at..at + 11].copy_from_slice(format!("level-{:03}.q", level - 1).as_bytes());
        lab.file(format!("level-{level:03}.q"), bytes);
    }
    qemu_io(&lab, "qcow2", "level-000.q", ["write -q -P 1 0 64k"]);
    let [a, b] = lab.copies_of("good.raw", &vec![1; 64 * 1024]);
    let raws = [&a, &b].map(|path| format!("raw:{}", path.display()));
    let of = |level: &str| lab.quorum_img(["check", "--allow-references", level]).args(&raws);
    of("qcow2:level-150.q").exits(0);
    // That isn't damage: it can't be told what the disk holds.
    of("qcow2:level-201.q").exits(3).complains("200").complains("hint:");
}

/// An external data file that is gone, or shorter than what lies in it.
#[test]
fn a_data_file_that_is_missing_or_short() {
    if !have_qemu() {
        return;
    }
    for options in ["data_file=data.raw", "data_file=data.raw,data_file_raw=on"] {
        let scene = Scene::of_noise(&format!("cluster_size=4k,{options}"));
        scene.check().expect_code(0);
        scene.lab.set_length(&scene.lab.path("data.raw"), 200 * KIB);
        scene.loses(&(200 * KIB..SIZE));
        std::fs::remove_file(scene.lab.path("data.raw")).expect("our own file");
        let run = scene.is_outvoted();
        let member = &run.json()["members"][0];
        assert_eq!(member["dissenting-sectors"], 0, "nothing must be made up\n{run}");
        assert!(run.stdout().contains("data.raw"), "the file that is missing is named\n{run}");
    }
}

/// An overlay whose base is damaged, an image with bad entries, and a raw copy with bad sectors: together they know all.
#[test]
fn everybody_is_damaged_elsewhere() {
    if !have_qemu() {
        return;
    }
    let scene = overlaid();
    let base = scene.lab.path("base.q");
    let layout = Layout::of(&scene.lab, &base);
    scene.lab.write(&base, layout.l1_entry(200_000), &[0x00, 0xff]);
    qemu_img(&scene.lab, "convert -c -f raw -O qcow2 -o compression_type=zstd,cluster_size=4k good-0.raw other.q");
    let other = Layout::of(&scene.lab, &scene.lab.path("other.q"));
    scene.lab.write(&scene.lab.path("other.q"), other.l2_entry(8 * KIB), &[0xff; 40]);
    scene.lab.damage(&scene.lab.path("good-1.raw"), 90 * KIB..110 * KIB);
    let members = ["qcow2:top.q", "qcow2:other.q", "raw:good-1.raw"];
    scene.lab.quorum_img(["check", "--allow-references"]).args(members).exits(1);
    scene.lab.quorum_img(["repair", "--allow-references", "-o", "out.img"]).args(members).exits(0);
    assert!(scene.lab.bytes(&scene.lab.path("out.img")) == scene.good);
}

//! Compressed images that are copies of each other: what they keep alike is inflated once, and still nothing is taken for sound that isn't.

use serde_json::json;

use super::{
    damage::Scene,
    have_qemu, qemu_img, qemu_io,
    support::{KIB, Output, noise},
};

const COMPRESSIONS: [&str; 2] = ["zlib", "zstd"];
/// A cluster in the middle of a chunk.
const LOST: std::ops::Range<u64> = 136 * KIB..140 * KIB;

/// An image and two copies of its file.
fn trio(compression: &str) -> Scene {
    let scene = Scene::compressed(&format!("cluster_size=4k,compression_type={compression}"));
    for copy in ["b.q", "c.q"] {
        std::fs::copy(&scene.image, scene.lab.path(copy)).expect("it can be copied");
    }
    scene
}

fn check(scene: &Scene) -> Output {
    scene.lab.quorum_img(["check", "-f", "qcow2", "--output", "json", "top.q", "b.q", "c.q"]).output()
}

fn repairs(scene: &Scene) {
    scene.lab.quorum_img(["repair", "-f", "qcow2", "-o", "out.img", "top.q", "b.q", "c.q"]).exits(0);
    assert!(scene.lab.bytes(&scene.lab.path("out.img")) == scene.good, "the repaired image is not the good one");
}

#[test]
fn copies_are_alike_and_come_out_as_they_went_in() {
    if !have_qemu() {
        return;
    }
    for compression in COMPRESSIONS {
        let scene = trio(compression);
        check(&scene).expect_code(0);
        repairs(&scene);
    }
}

/// Written in another order the same clusters lie elsewhere, and what follows them in their sectors is something else.
#[test]
fn the_same_clusters_in_another_order() {
    if !have_qemu() {
        return;
    }
    for compression in COMPRESSIONS {
        let scene = trio(compression);
        qemu_img(&scene.lab, &format!("create -q -f qcow2 -o cluster_size=4k,compression_type={compression} b.q {}", scene.good.len()));
        for cluster in (0..scene.good.len()).step_by(4096).rev() {
            let length = 4096.min(scene.good.len() - cluster);
            scene.lab.file("part.raw", &scene.good[cluster..cluster + length]);
            qemu_io(&scene.lab, "qcow2", "b.q", [format!("write -q -c -s part.raw {cluster} {length}")]);
        }
        check(&scene).expect_code(0);
        repairs(&scene);
    }
}

/// One of them was written to since.
#[test]
fn one_that_differs_is_outvoted() {
    if !have_qemu() {
        return;
    }
    for (compression, compressed) in COMPRESSIONS.into_iter().flat_map(|compression| [(compression, true), (compression, false)]) {
        let scene = trio(compression);
        if compressed {
            let mut other = scene.good.clone();
            other[LOST.start as usize..LOST.end as usize].fill(9);
            scene.lab.file("other.raw", &other);
            qemu_img(&scene.lab, &format!("convert -c -f raw -O qcow2 -o cluster_size=4k,compression_type={compression} other.raw top.q"));
        } else {
            qemu_io(&scene.lab, "qcow2", "top.q", [format!("write -q -P 9 {} 4k", LOST.start)]);
        }
        let run = check(&scene).expect_code(1);
        assert_eq!(run.json()["members"][0]["dissenting-sectors"], 8, "{run}");
        repairs(&scene);
    }
}

/// The same bytes in all of them, and none of them can tell what they mean: nobody is unanimous about that.
#[test]
fn broken_in_all_of_them_is_lost() {
    if !have_qemu() {
        return;
    }
    for compression in COMPRESSIONS {
        for broken in [&["top.q", "b.q", "c.q"][..], &["top.q", "c.q"], &["b.q"]] {
            let scene = trio(compression);
            let (at, _) = scene.layout().compressed(LOST.start);
            for image in broken {
                scene.lab.write(&scene.lab.path(image), at, &noise(7, 40));
            }
            let decided = broken.len() == 1;
            let run = check(&scene).expect_code(if decided { 1 } else { 2 });
            let who: Vec<usize> =
                ["top.q", "b.q", "c.q"].iter().enumerate().filter(|(_, name)| broken.contains(name)).map(|(at, _)| at).collect();
            let found = &run.json()["divergences"][0];
            assert_eq!((&found["offset"], &found["length"]), (&json!(LOST.start), &json!(LOST.end - LOST.start)), "{run}");
            assert_eq!(found["unreadable"], json!(who), "{run}");
            assert_eq!(run.json()["divergences"].as_array().map(Vec::len), Some(1), "{run}");
            if decided {
                repairs(&scene);
            }
        }
    }
}

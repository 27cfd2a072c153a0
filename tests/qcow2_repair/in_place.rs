//! Rewriting qcow2 members in place.

use super::{FORCED, Scene, have_qemu, qemu_img, qemu_io, support::Lab};

/// In clusters that are there: they are rewritten where they lie, and nothing else is.
const OWNED: [&str; 3] = ["write -q -P 99 1M 10k", "write -q -P 98 3100k 512", "write -q -P 97 8191k 512"];
/// Where clusters go away or come: holes, zeros, discards.
const SHIFTED: [&str; 5] =
    ["write -q -P 99 1M 10k", "write -q -P 98 2500k 512", "write -q -z 0 64k", "write -q -z -u 6M 128k", "discard -q 6500k 64k"];

fn repairs(make: &str, snapshot: bool, damage: &[&str]) {
    let scene = Scene::new(&[&format!("create -q -f qcow2 {make} a.q 8M")], snapshot, damage);
    scene.repair().exits(0);
    scene.is_repaired();
    scene.is_undone();
}

#[test]
fn owned_clusters_are_rewritten_where_they_lie() {
    if !have_qemu() {
        return;
    }
    let kinds = [
        "",
        "-o cluster_size=512",
        "-o cluster_size=2M",
        "-o compat=v2",
        "-o extended_l2=on",
        "-o compression_type=zstd",
        "-o lazy_refcounts=on",
    ];
    for make in kinds {
        let scene = Scene::new(&[&format!("create -q -f qcow2 {make} a.q 8M")], false, &OWNED);
        let length = scene.damaged.len();
        scene.repair().exits(0);
        scene.is_repaired();
        let now = scene.lab.bytes(&scene.lab.path("b.q"));
        let changed = now.iter().zip(&scene.damaged).filter(|(now, then)| now != then).count();
        assert_eq!((now.len(), changed), (length, 10 * 1024 + 2 * 512), "{make}: bytes changed that nobody voted on");
        scene.is_undone();
    }
}

#[test]
fn new_clusters_are_found_where_they_are_needed() {
    if !have_qemu() {
        return;
    }
    for make in
        ["", "-o cluster_size=512", "-o cluster_size=4k", "-o cluster_size=2M", "-o compat=v2", "-o refcount_bits=1", "-o refcount_bits=64"]
    {
        repairs(make, false, &SHIFTED);
    }
}

#[test]
fn snapshots_stay_what_they_are() {
    if !have_qemu() {
        return;
    }
    for make in ["", "-o cluster_size=4k", "-o cluster_size=2M", "-o compat=v2"] {
        repairs(make, true, &SHIFTED);
    }
}

#[test]
fn compressed_clusters_are_replaced() {
    if !have_qemu() {
        return;
    }
    for options in ["cluster_size=64k", "cluster_size=4k", "compat=v2"] {
        let lab = Lab::new();
        lab.file("text.raw", "A disk that shrinks. ".repeat(400_000).into_bytes());
        lab.set_length(&lab.path("text.raw"), 8 << 20);
        qemu_img(&lab, &format!("convert -c -f raw -O qcow2 -o {options} text.raw a.q"));
        let scene = Scene::of(lab, false, &["write -q -P 5 1M 70k", "write -q -z 4M 512", "write -q -P 6 8191k 1k"]);
        // The damage replaced compressed clusters in b; c gets some of its own, which must become others again.
        qemu_io(&scene.lab, "c.q", &["write -q -P 1 7M 512"]);
        scene.repair().exits(0);
        scene.is_repaired();
        scene.is_undone();
    }
    // Where b still has the compressed cluster, and the others say otherwise.
    let lab = Lab::new();
    lab.file("text.raw", "A disk that shrinks. ".repeat(400_000).into_bytes());
    lab.set_length(&lab.path("text.raw"), 8 << 20);
    qemu_img(&lab, "convert -c -f raw -O qcow2 text.raw b.q");
    let old = lab.bytes(&lab.path("b.q"));
    lab.file("a.q", &old);
    qemu_io(&lab, "a.q", &["write -q -P 5 1M 70k", "write -q -P 6 3M 512"]);
    lab.file("c.q", lab.bytes(&lab.path("a.q")));
    qemu_img(&lab, "convert -f qcow2 -O raw a.q good.raw");
    let scene = Scene { damaged: old, snapshot: None, options: Vec::new(), lab };
    scene.repair().exits(0);
    scene.is_repaired();
    scene.is_undone();
}

#[test]
fn what_lies_in_a_backing_file_gets_a_cluster_and_the_backing_file_stays() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    qemu_img(&lab, "create -q -f qcow2 -o cluster_size=4k base.q 8M");
    qemu_io(&lab, "base.q", &["write -q -P 11 0 4M"]);
    let base = lab.bytes(&lab.path("base.q"));
    // c stands on a copy of its own: on one file they would be one vote.
    for (image, under) in [("a.q", "base-a.q"), ("b.q", "base.q"), ("c.q", "base-c.q")] {
        lab.file(under, &base);
        qemu_img(&lab, &format!("create -q -f qcow2 -F qcow2 -b {under} {image} 8M"));
        qemu_io(&lab, image, &["write -q -P 2 1M 100k"]);
    }
    for image in ["a.q", "c.q"] {
        qemu_io(&lab, image, &["write -q -P 3 2M 5k", "write -q -P 4 6M 512"]);
    }
    qemu_img(&lab, "convert -f qcow2 -O raw a.q good.raw");
    let damaged = lab.bytes(&lab.path("b.q"));
    let scene = Scene { damaged, snapshot: None, options: Vec::new(), lab }.with(&["--allow-references"]);
    scene.repair().exits(0);
    scene.is_repaired();
    assert!(scene.lab.bytes(&scene.lab.path("base.q")) == base, "the backing file changed");
    scene.is_undone();
}

/// Two overlays on one file are one vote there; and it isn't written to under them.
#[test]
fn a_shared_backing_file_asks_and_a_member_under_another_is_refused() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    qemu_img(&lab, "create -q -f qcow2 base.q 8M");
    qemu_io(&lab, "base.q", &["write -q -P 11 0 4M"]);
    for image in ["a.q", "b.q", "c.q"] {
        qemu_img(&lab, &format!("create -q -f qcow2 -F qcow2 -b base.q {image} 8M"));
    }
    qemu_io(&lab, "b.q", &["write -q -P 12 0 64k"]);
    let words = ["repair", "--in-place", "-f", "qcow2", "--allow-references"];
    lab.quorum_img(words).args(["a.q", "b.q", "c.q"]).exits(3).complains("shared").complains("base.q");
    lab.quorum_img(words).args(["a.q", "b.q", "base.q"]).exits(3).complains("base.q").complains("backing file");
}

#[test]
fn members_of_all_kinds_are_rewritten_in_one_go() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], true, &SHIFTED);
    let mut raw = scene.lab.bytes(&scene.lab.path("good.raw"));
    raw[7_000_000..7_003_000].fill(0x55);
    scene.lab.file("d.raw", &raw);
    let members = ["qcow2:a.q", "qcow2:b.q", "raw:d.raw", "qcow2:c.q"];
    scene.lab.quorum_img(["repair", "--in-place", "--force", FORCED]).args(members).exits(0);
    scene.is_repaired();
    scene.lab.assert_same_bytes(&scene.lab.path("d.raw"), &scene.lab.path("good.raw"));
    scene.is_undone();
    assert!(scene.lab.bytes(&scene.lab.path("d.raw")) == raw);
}

/// `-f raw` is about the files: they become alike, to the last byte of their metadata.
#[test]
fn raw_means_the_files_themselves() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], false, &["write -q -P 99 1M 10k"]);
    scene.lab.quorum_img(["repair", "--in-place", "-f", "raw", "--force", FORCED, "a.q", "b.q", "c.q"]).exits(0);
    scene.lab.assert_same_bytes(&scene.lab.path("b.q"), &scene.lab.path("a.q"));
    scene.is_undone();
}

#[test]
fn a_range_a_pick_and_a_spared_member_are_heeded() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], false, &SHIFTED).with(&["--no-write", "b.q"]);
    scene.repair().exits(1);
    assert!(scene.lab.bytes(&scene.lab.path("b.q")) == scene.damaged);

    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], false, &OWNED).with(&["--range", "1M:4M"]);
    scene.repair().exits(0);
    scene.lab.program("qemu-img").args(["check", "-f", "qcow2", "b.q"]).exits(0);
    let report = scene.lab.quorum_img(["check", "--output", "json", "-f", "qcow2", "a.q", "b.q", "c.q"]).exits(1).json();
    assert_eq!(report["sectors"]["decided"], 1, "what lies behind the range stays");

    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], false, &SHIFTED).with(&["--trust", "#1"]);
    scene.repair().exits(0);
    qemu_img(&scene.lab, "compare -f qcow2 -F qcow2 a.q b.q");
    qemu_img(&scene.lab, "compare -f qcow2 -F qcow2 c.q b.q");
    assert!(scene.lab.bytes(&scene.lab.path("b.q")) == scene.damaged);
    for image in ["a.q", "c.q"] {
        scene.lab.program("qemu-img").args(["check", "-f", "qcow2", image]).exits(0);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::new(&["create -q -f qcow2 a.q 8M"], false, &SHIFTED).with(&["--dry-run"]);
    let before = scene.lab.listing();
    scene.repair().exits(1).says("b.q");
    assert_eq!(scene.lab.listing(), before);
}

//! Images on others: what comes from below gets a cluster of its own on top, and what is below stays as it is.

use super::{
    have_qemu, qemu_img, qemu_io, refuses,
    set::Set,
    support::{Lab, noise},
    words,
};

fn heals(lines: &[&str]) {
    Set::new(lines).options("--allow-references").heals();
}

#[test]
fn on_a_raw_file() {
    if !have_qemu() {
        return;
    }
    for size in ["512", "4k", "64k", "2M"] {
        let create = format!("img create -q -f qcow2 -o cluster_size={size} -b base.raw -F raw bad.q");
        heals(&["copy was.raw base.raw", &create]);
        heals(&[
            "copy was.raw base.raw",
            &create,
            "noise bad.q 300k 40000",
            "io bad.q write -q -z 900k 100k",
            "io bad.q discard -q 1100k 64k",
        ]);
    }
}

#[test]
fn on_other_images() {
    if !have_qemu() {
        return;
    }
    for (below, above) in [
        ("-o cluster_size=4k", "-o cluster_size=64k"),
        ("-c", "-o cluster_size=512"),
        ("-c -o compression_type=zstd", "-o compat=0.10"),
        ("-o extended_l2=on", "-o cluster_size=2M"),
    ] {
        let base = format!("img convert -f raw -O qcow2 {below} was.raw base.q");
        let create = format!("img create -q -f qcow2 {above} -b base.q -F qcow2 bad.q");
        heals(&[&base, &create, "noise bad.q 300k 40000"]);
    }
}

#[test]
fn at_the_end_of_a_chain_with_a_snapshot() {
    if !have_qemu() {
        return;
    }
    heals(&[
        "copy was.raw base.raw",
        "img create -q -f qcow2 -o cluster_size=4k -b base.raw -F raw middle.q",
        "noise middle.q 500k 60000",
        "io middle.q write -q -z 1800k 20k",
        "img create -q -f qcow2 -b middle.q -F qcow2 bad.q",
        "noise bad.q 300k 40000",
        "img snapshot -c s1 bad.q",
        "noise bad.q 320k 40000",
    ]);
}

/// What is below ends early, or goes on longer.
#[test]
fn on_disks_of_another_size() {
    if !have_qemu() {
        return;
    }
    for size in ["1000448", "512", "3M"] {
        heals(&[
            "copy was.raw base.raw",
            &format!("img resize -q --shrink -f raw base.raw {size}"),
            "img create -q -f qcow2 -b base.raw -F raw bad.q 2097664",
            "noise bad.q 1900k 40000",
        ]);
    }
}

/// Zeros that hide something below: a cluster of zeros is written, not a hole.
#[test]
fn zeros_over_data() {
    if !have_qemu() {
        return;
    }
    for options in ["-o cluster_size=4k", "", "-o compat=0.10"] {
        let good = super::some_disk(11, super::set::SIZE);
        // Below there is data wherever zeros are right.
        let below: Vec<u8> = good.iter().map(|&byte| if byte == 0 { b'#' } else { byte }).collect();
        let lab = Lab::new();
        lab.file("base.raw", below);
        qemu_img(&lab, &format!("create -q -f qcow2 {options} -b base.raw -F raw bad.q"));
        Set::with(lab, good).options("--allow-references --force stale").heals();
    }
}

/// The leave to open other files is needed here as everywhere.
#[test]
fn without_leave_nothing_is_opened() {
    if !have_qemu() {
        return;
    }
    let lines = ["copy was.raw base.raw", "img create -q -f qcow2 -b base.raw -F raw bad.q"];
    let set = Set::new(&lines);
    refuses(&set.lab, set.repair(), 3, &["base.raw", "--allow-references"]);
}

/// What lies in a file of its own isn't journalled.
#[test]
fn external_data_files_are_refused() {
    if !have_qemu() {
        return;
    }
    for raw in ["", ",data_file_raw=on"] {
        let create = format!("img create -q -f qcow2 -o data_file=data.raw{raw} bad.q 2097664");
        let set = Set::new(&[&create, "img convert -n -f raw -O qcow2 was.raw bad.q"]).options("--allow-references");
        refuses(&set.lab, set.repair(), 3, &["bad.q", "repair -o"]);
        refuses(&set.lab, set.repair().arg("--dry-run"), 3, &["bad.q", "repair -o"]);
        // It may vote.
        let run = set.repair().args(["--no-write", "#1"]).exits(1);
        set.assert_as_before(&run);
        // The way out.
        let members = ["raw:a.raw", "qcow2:bad.q", "raw:c.raw"];
        let run = set.lab.quorum_img(["repair", "--allow-references", "-O", "qcow2", "-o", "out.q"]).args(members).exits(0);
        super::assert_image(&set.lab, "out.q", &set.good, &run);
    }
}

/// A backing file that can't be read is damage of the image, and it isn't written to.
#[test]
fn a_missing_backing_file() {
    if !have_qemu() {
        return;
    }
    let lines = ["copy was.raw base.raw", "img create -q -f qcow2 -b base.raw -F raw bad.q", "noise bad.q 300k 40000"];
    let set = Set::new(&lines).options("--allow-references");
    std::fs::remove_file(set.lab.path("base.raw")).expect("it is there");
    refuses(&set.lab, set.repair(), 3, &["bad.q", "repair -o"]);
}

/// Two overlays on one file are one vote there; and nothing is written to a file that lies under another member.
#[test]
fn a_shared_backing_file_asks_and_a_member_under_another_is_refused() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("base.raw", noise(6, 2 << 20));
    qemu_img(&lab, "convert -f raw -O qcow2 base.raw base.q");
    for image in ["a.q", "b.q", "c.q"] {
        qemu_img(&lab, &format!("create -q -f qcow2 -F qcow2 -b base.q {image}"));
    }
    qemu_io(&lab, "b.q", ["write -q -P 12 0 64k"]);
    let repair = || lab.quorum_img(words("repair --in-place -f qcow2 --allow-references"));
    refuses(&lab, repair().args(["a.q", "b.q", "c.q"]), 2, &["shared", "base.q"]);
    refuses(&lab, repair().args(["a.q", "b.q", "base.q"]), 3, &["base.q", "backing file"]);
}

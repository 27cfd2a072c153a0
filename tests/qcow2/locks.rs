//! QEMU's locks on images: who writes to a qcow2, or to anything below it, keeps us out; and we keep writers out of a whole chain.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    have_qemu,
    making::follow,
    qemu_img,
    support::{Lab, MIB, needs, noise, qemu_nbd::Holder},
};

/// An image on another, and a raw copy of what it shows.
fn chain() -> Lab {
    let lab = Lab::new();
    let lines = [
        "disk base.raw 300032",
        "img convert -f raw -O qcow2 -o cluster_size=4k base.raw base.q",
        "img create -f qcow2 -o cluster_size=4k -b base.q -F qcow2 top.q",
        "fill top.q",
        "img convert -f qcow2 -O raw top.q good-0.raw",
        "img convert -f qcow2 -O raw top.q good-1.raw",
    ];
    follow(&lab, &lines);
    lab
}

const MEMBERS: [&str; 3] = ["qcow2:top.q", "raw:good-0.raw", "raw:good-1.raw"];

#[test]
fn an_image_that_is_open_for_writing_is_refused() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let lab = chain();
    {
        let _server = Holder::new(&lab, &["-f", "qcow2"], "top.q");
        for command in [&["check"][..], &["repair", "-o", "out.img"]] {
            let run = lab.quorum_img(command).arg("--allow-references").args(MEMBERS).exits(4);
            run.complains("top.q").complains("qemu-nbd").complains("hint:").complains("-U");
            assert!(!lab.path("out.img").exists());
        }
        // Byte for byte it is the same file.
        lab.file("copy.q", lab.bytes(&lab.path("top.q")));
        lab.quorum_img(["check", "-f", "raw", "top.q", "copy.q"]).exits(4);
        lab.quorum_img(["check", "-U", "--allow-references"]).args(MEMBERS).exits(0);
    }
    lab.quorum_img(["check", "--allow-references"]).args(MEMBERS).exits(0);
}

/// Readers don't mind readers.
#[test]
fn an_image_that_is_open_for_reading_is_read() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let lab = chain();
    let _server = Holder::new(&lab, &["-r", "-f", "qcow2"], "top.q");
    lab.quorum_img(["check", "--allow-references"]).args(MEMBERS).exits(0);
}

/// Whoever writes to the image below changes what the one on top shows.
#[test]
fn a_backing_file_that_is_open_for_writing_is_refused() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let lab = chain();
    let _server = Holder::new(&lab, &["-f", "qcow2"], "base.q");
    let run = lab.quorum_img(["check", "--allow-references"]).args(MEMBERS).exits(4);
    run.complains("base.q").complains("qemu-nbd").complains("hint:");
}

#[test]
fn a_data_file_that_is_open_for_writing_is_refused() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let lines = [
        "img create -f qcow2 -o data_file=data.raw,data_file_raw=on top.q 300032",
        "fill top.q",
        "img convert -f qcow2 -O raw top.q good-0.raw",
        "img convert -f qcow2 -O raw top.q good-1.raw",
    ];
    follow(&lab, &lines);
    let _server = Holder::new(&lab, &["-f", "raw"], "data.raw");
    let run = lab.quorum_img(["check", "--allow-references"]).args(MEMBERS).exits(4);
    run.complains("data.raw");
}

/// While we read, nobody gets to write to any file of the chain; QEMU says that it can't get a lock.
#[test]
fn every_file_of_a_chain_is_locked() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("base.raw", noise(1, 4 << 20));
    qemu_img(&lab, "convert -f raw -O qcow2 base.raw base.q");
    qemu_img(&lab, "create -q -f qcow2 -b base.q -F qcow2 -o data_file=data.raw top.q");
    super::qemu_io(&lab, "qcow2", "top.q", ["write -q -P 4 0 64k"]);
    qemu_img(&lab, "convert -f qcow2 -O raw top.q good.raw");
    // 4 MiB of each member at a quarter of a MiB a second: long enough to look, also on a busy machine.
    let rate = format!("{}", MIB / 4);
    let start = || lab.quorum_img(["check", "--allow-references", "-r", &rate, "qcow2:top.q", "raw:good.raw"]).start();
    let mut running = start();
    for (format, file) in [("qcow2", "top.q"), ("qcow2", "base.q"), ("raw", "data.raw"), ("raw", "good.raw")] {
        let begun = Instant::now();
        loop {
            // No write: an image that is opened for writing, and closed, is as it was.
            let open = lab.program("qemu-io").args(["-f", format, "-c", "length", file]).output();
            if (open.stderr() + &open.stdout()).contains("lock") {
                break;
            }
            // Where QEMU was there first, we were the ones who were refused.
            if !running.runs() {
                running = start();
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{file} isn't locked\n{open}");
            thread::sleep(Duration::from_millis(30));
        }
    }
    let reader = lab.program("qemu-img").args(["compare", "-f", "qcow2", "-F", "raw", "top.q", "good.raw"]).output();
    assert_eq!(reader.code(), Some(0), "a reader is no trouble\n{reader}");
    running.signal("KILL");
    running.wait();
}

/// info reads nonetheless, or says why not.
#[test]
fn info_of_an_image_in_use() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let lab = chain();
    let _server = Holder::new(&lab, &["-f", "qcow2"], "top.q");
    let run = lab.quorum_img(["info", "qcow2:top.q"]).output();
    assert!(matches!(run.code(), Some(0 | 4)), "{run}");
}

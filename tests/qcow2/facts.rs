//! `quorum-img info` of qcow2 images, against what `qemu-img info` says of them.

use std::fs;

use serde_json::{Value, json};

use super::{
    have_qemu,
    making::follow,
    qemu_img, qemu_io,
    support::{Lab, mounts::run, needs, noise, refusal::assert_clean, report::keys},
};

fn info(lab: &Lab, member: &str) -> Value {
    let run = lab.quorum_img(["info", "--output", "json", member]).exits(0);
    assert_clean(&run);
    run.json()[0].clone()
}

fn made(lines: &[&str]) -> Lab {
    let lab = Lab::new();
    follow(&lab, lines);
    lab
}

/// What qemu-img says, in our words.
fn as_qemu_says(lab: &Lab, image: &str) -> (Value, Value) {
    let theirs: Value = serde_json::from_str(&qemu_img(lab, &format!("info -f qcow2 --output json {image}"))).expect("JSON");
    let data = &theirs["format-specific"]["data"];
    let version = if data["compat"] == "0.10" { 2 } else { 3 };
    let flag = |key: &str| data[key] == true;
    let facts = json!({
        "version": version, "cluster-size": theirs["cluster-size"], "compression-type": data["compression-type"],
        "extended-l2": flag("extended-l2"), "refcount-bits": data.get("refcount-bits").cloned().unwrap_or(json!(16)),
        "lazy-refcounts": flag("lazy-refcounts"), "dirty": theirs["dirty-flag"], "corrupt": flag("corrupt"),
    });
    (facts, theirs["virtual-size"].clone())
}

/// The keys that are always there, over the variants that have them.
#[test]
fn facts_are_those_that_qemu_tells() {
    if !have_qemu() {
        return;
    }
    for options in [
        "cluster_size=64k",
        "compat=v2",
        "compat=v2,cluster_size=512",
        "cluster_size=2M",
        "compression_type=zstd",
        "extended_l2=on",
        "extended_l2=on,cluster_size=128k,compression_type=zstd",
        "refcount_bits=1",
        "refcount_bits=64",
        "lazy_refcounts=on",
    ] {
        let lab = made(&[&format!("img create -f qcow2 -o {options} top.q 1000448")]);
        let found = info(&lab, "qcow2:top.q");
        let (facts, size) = as_qemu_says(&lab, "top.q");
        assert_eq!(found["qcow2"], facts, "{options}: no more than that, and no less");
        assert_eq!(found["virtual-size"], size);
        assert_eq!(found["format"], "qcow2");
        assert_eq!(found.get("format-guessed"), None, "{found}");
        assert_eq!(found["name"], "qcow2:top.q", "as given");
    }
}

/// Which format it is may be guessed, and is called a guess.
#[test]
fn a_guess_is_called_one() {
    if !have_qemu() {
        return;
    }
    let lab = made(&["img create -f qcow2 top.q 1000448", "disk disk.raw 1024"]);
    for (member, format, guessed) in
        [("top.q", "qcow2", true), ("qcow2:top.q", "qcow2", false), ("raw:top.q", "raw", false), ("disk.raw", "raw", true)]
    {
        let found = info(&lab, member);
        assert_eq!((&found["format"], found["format-guessed"] == true), (&json!(format), guessed), "{found}");
        assert_eq!(found.get("qcow2").is_some(), format == "qcow2", "{found}");
        assert_eq!(found.get("format-guessed").is_some(), guessed, "left out where it isn't: {found}");
    }
    assert_eq!(info(&lab, "raw:top.q")["virtual-size"], lab.bytes(&lab.path("top.q")).len());
    lab.quorum_img(["info", "top.q"]).exits(0).says("guessed");
    lab.quorum_img(["info", "-f", "qcow2", "top.q"]).exits(0).says_nothing_of("guessed");
}

#[test]
fn snapshots_are_listed() {
    if !have_qemu() {
        return;
    }
    let lab = made(&[
        "img create -f qcow2 top.q 1000448",
        "img snapshot -c monday top.q",
        "img resize -q -f qcow2 top.q 2000384",
        "img snapshot -c tuesday top.q",
    ]);
    let found = info(&lab, "qcow2:top.q");
    let snapshots = found["qcow2"]["snapshots"].as_array().unwrap_or_else(|| panic!("no snapshots: {found}"));
    let told: Vec<_> = snapshots.iter().map(|one| (one["id"].clone(), one["name"].clone(), one["virtual-size"].clone())).collect();
    let expected = [(json!("1"), json!("monday"), json!(1_000_448)), (json!("2"), json!("tuesday"), json!(2_000_384))];
    assert_eq!(told, expected, "{found}");
    for snapshot in snapshots {
        assert_eq!(keys(snapshot), ["date", "id", "name", "virtual-size"]);
        let date = snapshot["date"].as_str().expect("a date");
        assert!(date.len() >= 20 && date.as_bytes()[10] == b'T' && date.ends_with('Z'), "RFC 3339: {date}");
    }
    let theirs: Value = serde_json::from_str(&qemu_img(&lab, "info -f qcow2 --output json top.q")).expect("JSON");
    let date = run(std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S", "-d"])
        .arg(format!("@{}", theirs["snapshots"][0]["date-sec"])));
    assert!(snapshots[0]["date"].as_str().is_some_and(|told| told.starts_with(&date)), "{date}: {found}");
    lab.quorum_img(["info", "qcow2:top.q"]).exits(0).says("monday").says("tuesday");
}

/// A snapshot is asked of those that can have one; the others are told of as they stand, and that is said.
#[test]
fn a_snapshot_is_of_no_concern_to_raw_files() {
    if !have_qemu() {
        return;
    }
    let lab = made(&["img create -f qcow2 top.q 1000448", "img snapshot -c monday top.q"]);
    lab.sparse("plain.img", 1_000_448);
    let run = lab.quorum_img(["info", "--snapshot", "monday", "raw:plain.img", "qcow2:top.q"]).exits(0);
    run.says("plain.img").says("top.q").complains("plain.img").complains("--snapshot");
    lab.quorum_img(["info", "--snapshot", "monday", "raw:plain.img"]).exits(3).complains("none of the members is a qcow2 image");
}

#[test]
fn bitmaps_are_counted() {
    if !have_qemu() {
        return;
    }
    let lab = made(&["img create -f qcow2 top.q 1000448", "img bitmap --add -f qcow2 top.q one", "img bitmap --add -f qcow2 top.q two"]);
    let found = info(&lab, "qcow2:top.q");
    assert_eq!(found["qcow2"]["bitmaps"], 2, "{found}");
}

/// References are shown, and not followed: no leave is asked for, and none of the files needs to be there.
#[test]
fn references_are_shown() {
    if !have_qemu() {
        return;
    }
    let lab = made(&[
        "img create -u -f qcow2 -b nowhere.raw -F raw top.q 1000448",
        "img create -f qcow2 -o data_file=data.raw with-data.q 1000448",
        "img create -u -f qcow2 -b /etc/passwd -F raw hostile.q 1000448",
        "img create -u -f qcow2 -b nbd://localhost:1/disk -F raw far.q 1000448",
    ]);
    let found = info(&lab, "qcow2:top.q");
    assert_eq!((&found["qcow2"]["backing-file"], &found["qcow2"]["backing-format"]), (&json!("nowhere.raw"), &json!("raw")), "{found}");
    assert_eq!(found["virtual-size"], 1_000_448, "{found}");
    assert_eq!(info(&lab, "top.q")["qcow2"]["backing-file"], "nowhere.raw", "a guess shows it as well");
    fs::remove_file(lab.path("data.raw")).expect("our own file");
    let found = info(&lab, "qcow2:with-data.q");
    assert_eq!(found["qcow2"]["data-file"], "data.raw", "{found}");
    assert_eq!(found["qcow2"].get("backing-file"), None, "{found}");
    assert_eq!(info(&lab, "qcow2:hostile.q")["qcow2"]["backing-file"], "/etc/passwd");
    assert_eq!(info(&lab, "qcow2:far.q")["qcow2"]["backing-file"], "nbd://localhost:1/disk");
    lab.quorum_img(["info", "qcow2:top.q"]).exits(0).says("nowhere.raw");
}

#[test]
fn marks_are_shown() {
    if !have_qemu() {
        return;
    }
    for (bits, dirty, corrupt) in [(0, false, false), (1, true, false), (2, false, true), (3, true, true)] {
        let lab = made(&["img create -f qcow2 top.q 1000448"]);
        lab.write(&lab.path("top.q"), 79, &[bits]);
        let found = info(&lab, "qcow2:top.q");
        assert_eq!((&found["qcow2"]["dirty"], &found["qcow2"]["corrupt"]), (&json!(dirty), &json!(corrupt)), "{found}");
        let text = lab.quorum_img(["info", "qcow2:top.q"]).exits(0).stdout().to_lowercase();
        assert_eq!((text.contains("dirty"), text.contains("corrupt")), (dirty, corrupt), "{text}");
    }
}

/// What the guest has made of its disk: through tables and compression.
#[test]
fn file_systems_are_read_through_the_image() {
    if !have_qemu() || !needs("mkfs.ext4") {
        return;
    }
    let lab = Lab::new();
    let disk = lab.sparse("disk.raw", 8 << 20);
    run(std::process::Command::new("mkfs.ext4").args(["-q", "-F", "-L", "guest"]).arg(&disk));
    qemu_img(&lab, "convert -c -f raw -O qcow2 -o cluster_size=4k,compression_type=zstd disk.raw a.q");
    qemu_img(&lab, "convert -f raw -O qcow2 disk.raw b.q");
    let plain = info(&lab, "raw:disk.raw");
    for image in ["qcow2:a.q", "qcow2:b.q"] {
        let found = info(&lab, image);
        assert_eq!(found["file-system"], plain["file-system"], "{found}");
        assert_eq!(found["file-system"]["label"], "guest", "{found}");
    }
    assert_eq!(info(&lab, "raw:b.q").get("file-system"), None, "the file itself is none");
}

#[test]
fn people_are_shown_the_facts() {
    if !have_qemu() {
        return;
    }
    let lab = made(&["img create -f qcow2 -o cluster_size=128k,extended_l2=on,compression_type=zstd top.q 1000448"]);
    let output = lab.quorum_img(["info", "qcow2:top.q"]).exits(0);
    output.says("qcow2").says("zstd").says("128");
    assert_clean(&output);
    // Several at once, of any format.
    lab.file("disk.raw", [7; 1024]);
    qemu_io(&lab, "qcow2", "top.q", ["write -q -P 1 0 1k"]);
    let all = lab.quorum_img(["info", "--output", "json", "qcow2:top.q", "raw:disk.raw", "top.q"]).exits(0).json();
    assert_eq!(all.as_array().map(Vec::len), Some(3), "{all}");
}

/// What an image stands on, down to the bottom, where that may be followed.
#[test]
fn the_backing_chain() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("base.raw", noise(4, 1 << 20));
    qemu_img(&lab, "create -q -f qcow2 -b base.raw -F raw middle.q 3M");
    qemu_img(&lab, "create -q -f qcow2 -b middle.q -F qcow2 top.q");
    let told = |options: &[&str]| lab.quorum_img(["info", "-f", "qcow2", "top.q"]).args(options).exits(0);
    let facts = told(&["--allow-references", "--output", "json"]).json();
    let chain = json!([
        { "name": "./middle.q", "format": "qcow2", "virtual-size": 3 << 20 },
        { "name": "./base.raw", "format": "raw", "virtual-size": 1 << 20 },
    ]);
    assert_eq!(facts[0]["qcow2"]["chain"], chain);
    told(&["--allow-references"]).says("middle.q (qcow2, 3 MiB)").says("base.raw (raw, 1 MiB)");
    assert_eq!(told(&["--output", "json"]).json()[0]["qcow2"].get("chain"), None, "nobody allowed it");

    fs::remove_file(lab.path("base.raw")).expect("it is there");
    let facts = told(&["--allow-references", "--output", "json"]).json();
    assert_eq!(facts[0]["qcow2"]["chain"].as_array().map(Vec::len), Some(1));
    assert!(facts[0]["qcow2"]["chain-error"].as_str().is_some_and(|why| why.contains("base.raw")), "{facts}");
}

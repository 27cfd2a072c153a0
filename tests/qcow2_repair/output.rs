//! New qcow2 images.

use super::{
    have_qemu, qemu_img,
    support::{Lab, MIB, noise},
};

/// Three raw copies of a disk of text, noise and holes; the second and third have a bad sector each. The good one is `a.img`.
fn copies(size: u64) -> Lab {
    let lab = Lab::new();
    let path = lab.sparse("a.img", size);
    lab.write(&path, 0, "The quick brown fox. ".repeat(20_000).as_bytes());
    lab.write(&path, MIB + 512, &noise(1, 300_000));
    lab.write(&path, 3 * MIB, "0123456789".repeat(30_000).as_bytes());
    lab.write(&path, size - 700, &[9; 700]);
    let bytes = lab.bytes(&path);
    for (name, bad) in [("b.img", 70_000), ("c.img", 3 * MIB + 5000)] {
        let copy = lab.file(name, &bytes);
        lab.flip_bit(&copy, bad);
    }
    lab
}

fn made(lab: &Lab, options: &[&str]) {
    let words = ["repair", "-f", "raw", "-O", "qcow2", "-o", "new.q"];
    let run = lab.quorum_img(words).args(options).args(["--output", "json", "a.img", "b.img", "c.img"]).exits(0);
    let report = run.json();
    assert_eq!((&report["repair"]["format"], &report["repair"]["verified"]), (&"qcow2".into(), &true.into()), "{run}");
    let check = lab.program("qemu-img").args(["check", "-f", "qcow2", "new.q"]).exits(0);
    check.says("No errors");
    qemu_img(lab, "compare -f raw -F qcow2 a.img new.q");
    std::fs::remove_file(lab.path("new.q")).expect("our own folder");
}

#[test]
fn qemu_finds_nothing_wrong_with_any_kind() {
    if !have_qemu() {
        return;
    }
    for size in [8 * MIB, 8 * MIB + 512, 8 * MIB + 700] {
        let lab = copies(size);
        for options in [
            &[][..],
            &["-c"],
            &["-S", "0"],
            &["-c", "-j", "8", "--output-options", "cluster_size=512"],
            &["--output-options", "cluster_size=512"],
            &["--output-options", "cluster_size=2M"],
            &["-c", "--output-options", "cluster_size=2M,compression_type=zstd"],
            &["-c", "--output-options", "compression_type=zstd"],
            &["--output-options", "compat=0.10"],
            &["-c", "--output-options", "compat=v2", "--output-options", "cluster_size=4k"],
            &["--no-verify", "--output-options", "compat=1.1"],
        ] {
            if options.contains(&"--no-verify") {
                lab.quorum_img(["repair", "-q", "-O", "qcow2", "-o", "new.q"]).args(options).args(["a.img", "b.img", "c.img"]).exits(0);
                qemu_img(&lab, "compare -f raw -F qcow2 a.img new.q");
                std::fs::remove_file(lab.path("new.q")).expect("our own folder");
            } else {
                made(&lab, options);
            }
        }
    }
}

#[test]
fn options_are_those_asked_for() {
    if !have_qemu() {
        return;
    }
    let lab = copies(8 * MIB);
    let options = "cluster_size=128k,compat=1.1,compression_type=zstd";
    lab.quorum_img(["repair", "-O", "qcow2", "-c", "--output-options", options, "-o", "new.q", "a.img", "b.img", "c.img"]).exits(0);
    let info = lab.program("qemu-img").args(["info", "--output", "json", "new.q"]).exits(0).json();
    assert_eq!(info["cluster-size"], 128 << 10);
    assert_eq!(info["format-specific"]["data"]["compression-type"], "zstd");
    assert_eq!(info["format-specific"]["data"]["compat"], "1.1");
    let plain = lab.allocated(&lab.path("a.img"));
    assert!(lab.allocated(&lab.path("new.q")) < plain / 2 + 400_000, "it isn't compressed");
}

#[test]
fn a_digest_decisions_and_a_report_count_for_it_too() {
    if !have_qemu() {
        return;
    }
    let lab = copies(8 * MIB);
    let digest = super::support::sha256(&lab.bytes(&lab.path("a.img")));
    let members = ["a.img", "b.img", "c.img"];
    let words = ["repair", "-O", "qcow2", "-c", "--expect-sha256", &digest, "-o", "new.q"];
    let report = lab.quorum_img(words).args(["--output", "json"]).args(members).exits(0).json();
    assert_eq!(report["repair"]["sha256"], digest);
    lab.quorum_img(["check", "--report", "found.json"]).args(members).exits(1);
    for options in [&["-c"][..], &[], &["-c", "--output-options", "cluster_size=2M"]] {
        lab.quorum_img(["repair", "-q", "-O", "qcow2", "--from", "found.json", "-o", "from.q"]).args(options).args(members).exits(0);
        lab.program("qemu-img").args(["check", "-f", "qcow2", "from.q"]).exits(0);
        qemu_img(&lab, "compare -f raw -F qcow2 a.img from.q");
        std::fs::remove_file(lab.path("from.q")).expect("our own folder");
    }
    // Undecided sectors are filled as in raw images.
    let tie = lab.file("d.img", lab.bytes(&lab.path("b.img")));
    lab.flip_bit(&tie, 70_001);
    lab.quorum_img(["repair", "-O", "qcow2", "-o", "tie.q", "a.img", "b.img", "d.img"]).exits(2);
    assert!(!lab.path("tie.q").exists());
    lab.quorum_img(["repair", "-O", "qcow2", "--undecided", "first", "-o", "tie.q", "a.img", "b.img", "d.img"]).exits(2);
    qemu_img(&lab, "compare -f raw -F qcow2 a.img tie.q");
}

#[test]
fn a_huge_sparse_disk_makes_a_small_image() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    for name in ["a.img", "b.img"] {
        let path = lab.sparse(name, 8 << 40);
        lab.write(&path, 5 << 40, &vec![7; 100_000]);
        lab.write(&path, (8 << 40) - 512, &[8; 512]);
    }
    lab.quorum_img(["repair", "-q", "-O", "qcow2", "-o", "new.q", "a.img", "b.img"]).exits(0);
    lab.program("qemu-img").args(["check", "-f", "qcow2", "new.q"]).exits(0);
    assert!(lab.bytes(&lab.path("new.q")).len() < 2 << 20, "zeros take room");
    lab.quorum_img(["check", "qcow2:new.q", "raw:a.img"]).exits(0);
}

#[test]
fn what_makes_no_image_is_refused() {
    let lab = copies(8 * MIB);
    let members = ["a.img", "b.img", "c.img"];
    for (options, word) in [
        (&["-c"][..], "-O qcow2"),
        (&["--output-options", "cluster_size=64k"], "-O qcow2"),
        (&["-O", "qcow2", "--output-options", "cluster_size=3k"], "512"),
        (&["-O", "qcow2", "--output-options", "cluster_size=4M"], "2M"),
        (&["-O", "qcow2", "--output-options", "compat=9"], "compat"),
        (&["-O", "qcow2", "--output-options", "size=4"], "cluster_size"),
        (&["-O", "qcow2", "--output-options", "compat"], "NAME=VALUE"),
        (&["-O", "qcow2", "--output-options", "compat=0.10,compression_type=zstd"], "zstd"),
        (&["-O", "vmdk"], "qcow2"),
    ] {
        lab.quorum_img(["repair", "-o", "new.q"]).args(options).args(members).exits(3).complains(word);
        assert!(!lab.path("new.q").exists(), "{options:?}");
    }
    lab.quorum_img(["repair", "-O", "qcow2", "--in-place"]).args(members).exits(3);
    // An L1 table for that would be larger than QEMU reads.
    for name in ["x.img", "y.img"] {
        lab.sparse(name, 1 << 40);
    }
    let words = ["repair", "-O", "qcow2", "--output-options", "cluster_size=512", "-o", "new.q", "x.img", "y.img"];
    lab.quorum_img(words).exits(3).complains("cluster");
}

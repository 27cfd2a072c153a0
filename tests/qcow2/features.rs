//! What an image has beside its disk: snapshots, bitmaps, saved states, marks in its header, sizes that no tool would choose.

use super::{
    converted, have_qemu,
    making::{follow, variant},
    qemu_img, reads_as, reads_as_qemu,
    support::{Lab, report::warnings},
};

/// Follows the lines and returns the lab, for tests that go on with it.
fn made(lines: &[&str]) -> Lab {
    let lab = Lab::new();
    follow(&lab, lines);
    lab
}

/// The active state is what votes, and each snapshot by its name or its number.
#[test]
fn internal_snapshots() {
    if !have_qemu() {
        return;
    }
    for options in ["cluster_size=4k", "compat=v2", "extended_l2=on", "compression_type=zstd,cluster_size=512", "refcount_bits=64"] {
        let create = format!("img create -f qcow2 -o {options} top.q 300032");
        let lab = made(&[&create, "fill top.q", "img snapshot -c first top.q", "fill top.q", "img snapshot -c second top.q", "fill top.q"]);
        reads_as_qemu(&lab, "top.q", &[]);
        for (name, id) in [("first", "1"), ("second", "2")] {
            qemu_img(&lab, &format!("convert -f qcow2 -l snapshot.name={name} -O raw top.q {name}.img"));
            reads_as(&lab, "top.q", &lab.path(format!("{name}.img")), &["--snapshot", name]);
            reads_as(&lab, "top.q", &lab.path(format!("{name}.img")), &["--snapshot", id]);
        }
        assert_ne!(lab.bytes(&lab.path("first.img")), lab.bytes(&lab.path("second.img")), "snapshots that are alike show nothing");
    }
}

/// A name goes before a number.
#[test]
fn a_snapshot_whose_name_is_anothers_number() {
    if !have_qemu() {
        return;
    }
    let lab = made(&[
        "img create -f qcow2 -o cluster_size=4k top.q 300032",
        "fill top.q",
        "img snapshot -c 2 top.q",
        "fill top.q",
        "img snapshot -c other top.q",
        "fill top.q",
    ]);
    qemu_img(&lab, "convert -f qcow2 -l snapshot.name=2 -O raw top.q named.img");
    reads_as(&lab, "top.q", &lab.path("named.img"), &["--snapshot", "2"]);
}

/// A snapshot knows how long the disk was then.
#[test]
fn a_snapshot_of_a_shorter_disk() {
    if !have_qemu() {
        return;
    }
    let lab = made(&[
        "img create -f qcow2 -o cluster_size=4k top.q 100352",
        "fill top.q",
        "img snapshot -c short top.q",
        "img resize -q -f qcow2 top.q 5000192",
        "fill top.q",
    ]);
    reads_as_qemu(&lab, "top.q", &[]);
    // qemu-img converts with today's length; the snapshot's own is in its record.
    qemu_img(&lab, "convert -f qcow2 -l snapshot.name=short -O raw top.q long.img");
    let oracle = lab.file("short.img", &lab.bytes(&lab.path("long.img"))[..100_352]);
    reads_as(&lab, "top.q", &oracle, &["--snapshot", "short"]);
}

/// On a backing file, a snapshot's holes show it as well.
#[test]
fn a_snapshot_of_an_overlay() {
    if !have_qemu() {
        return;
    }
    let lab = made(&[
        "disk base.raw 300032",
        "img create -f qcow2 -o cluster_size=4k -b base.raw -F raw top.q",
        "fill top.q",
        "img snapshot -c s top.q",
        "fill top.q",
    ]);
    reads_as_qemu(&lab, "top.q", &["--allow-references"]);
    qemu_img(&lab, "convert -f qcow2 -l snapshot.name=s -O raw top.q s.img");
    reads_as(&lab, "top.q", &lab.path("s.img"), &["--allow-references", "--snapshot", "s"]);
}

/// Which snapshots there are is told where the one that was asked for isn't; raw members stand as they are.
#[test]
fn a_snapshot_that_is_missing() {
    if !have_qemu() {
        return;
    }
    let lab = made(&["img create -f qcow2 top.q 300032", "fill top.q", "img snapshot -c monday top.q", "img snapshot -c tuesday top.q"]);
    converted(&lab, "top.q", "oracle.img");
    let members = ["qcow2:top.q", "raw:oracle.img"];
    let run = lab.quorum_img(["check", "--snapshot", "sunday"]).args(members).exits(3);
    for word in ["sunday", "monday", "tuesday", "top.q", "hint:"] {
        run.complains(word);
    }
    assert!(run.stdout.is_empty(), "{run}");
    lab.quorum_img(["repair", "--in-place", "--snapshot", "monday"]).args(members).exits(3).complains("--snapshot");
    lab.quorum_img(["check", "--snapshot", "monday"]).args(members).exits(0);
}

/// Persistent bitmaps lie among the clusters, and are no part of the disk.
#[test]
fn bitmaps() {
    if !have_qemu() {
        return;
    }
    let lines = [
        "img create -f qcow2 -o cluster_size=4k top.q 300032",
        "img bitmap --add -f qcow2 top.q one",
        "fill top.q",
        "img bitmap --add -f qcow2 -g 32k top.q two",
        "fill top.q",
    ];
    variant(&lines, &[]);
}

/// A saved state of the machine is kept behind the end of the disk.
#[test]
fn a_saved_machine_state() {
    if !have_qemu() {
        return;
    }
    for size in [300_032, 65_536, 1_048_576] {
        let create = format!("img create -f qcow2 -o cluster_size=4k top.q {size}");
        let lines = [
            &create[..],
            "fill top.q",
            "io top.q write -q -b -P 77 0 300k",
            "img snapshot -c s top.q",
            "io top.q write -q -b -P 78 0 100k",
        ];
        variant(&lines, &[]);
    }
}

/// The low byte of the incompatible features: bit 0 is dirty, bit 1 is corrupt. Such an image is read, and the report says so.
#[test]
fn dirty_and_corrupt_marks() {
    if !have_qemu() {
        return;
    }
    for (bits, words) in [(1_u8, &["dirty"][..]), (2, &["corrupt"]), (3, &["dirty", "corrupt"])] {
        let lab = made(&["img create -f qcow2 -o cluster_size=4k,lazy_refcounts=on top.q 300032", "fill top.q"]);
        lab.write(&lab.path("top.q"), 79, &[bits]);
        let report = reads_as_qemu(&lab, "top.q", &[]);
        for word in words {
            assert!(warnings(&report).contains(word), "no warning says {word}: {report}");
        }
        assert!(warnings(&report).contains("top.q"), "the warning names the image: {report}");
        // QEMU opens the corrupt one for reading only; the dirty one it puts in order when it opens it.
        assert_eq!(report["members"][0].get("structure-errors").is_some(), bits & 2 != 0, "{report}");
    }
    let lab = made(&["img create -f qcow2 -o cluster_size=4k top.q 300032", "fill top.q"]);
    let report = reads_as_qemu(&lab, "top.q", &[]);
    assert!(!warnings(&report).contains("dirty") && !warnings(&report).contains("corrupt"), "{report}");
}

/// No tool makes a disk that ends within a sector. QEMU sees whole sectors of it.
#[test]
fn sizes_that_are_no_sectors() {
    if !have_qemu() {
        return;
    }
    for (size, seen) in [(299_999_u64, 299_520_u64), (299_521, 299_520), (300_031, 299_520)] {
        let lab = made(&["img create -f qcow2 -o cluster_size=4k top.q 300032", "fill top.q"]);
        lab.write(&lab.path("top.q"), 24, &size.to_be_bytes());
        let report = reads_as_qemu(&lab, "top.q", &[]);
        assert_eq!(report["size"], seen, "{size} bytes in the header");
    }
}

/// A later version's header may be longer, with what nobody here knows yet; and unknown extensions are no reason to stop.
#[test]
fn unknown_extensions_and_compatible_features() {
    if !have_qemu() {
        return;
    }
    let lab = made(&["img create -f qcow2 -o cluster_size=8k top.q 300032", "fill top.q"]);
    // Compatible (bit 7 of 80..88) and autoclear (bit 9 of 88..96) features are of no concern to a reader.
    lab.write(&lab.path("top.q"), 87, &[0x80]);
    lab.write(&lab.path("top.q"), 94, &[0x02]);
    // The feature name table becomes an extension that nobody knows.
    let bytes = lab.bytes(&lab.path("top.q"));
    let table = bytes.windows(4).position(|window| window == [0x68, 0x03, 0xf8, 0x57]).expect("a feature name table");
    lab.write(&lab.path("top.q"), table as u64, &[0x12, 0x34, 0x56, 0x78]);
    reads_as_qemu(&lab, "top.q", &[]);
}

/// Every format says the same disk, so that any mixture of them is unanimous.
#[test]
fn all_formats_of_one_disk_are_unanimous() {
    if !have_qemu() {
        return;
    }
    let lab = made(&[
        "disk disk.raw 1000448",
        "img convert -f raw -O qcow2 -o cluster_size=4k disk.raw a.q",
        "img convert -c -f raw -O qcow2 -o compression_type=zstd disk.raw b.q",
        "img convert -f raw -O qcow2 -o compat=v2,cluster_size=512 disk.raw c.q",
        "img convert -c -f raw -O qcow2 -o extended_l2=on disk.raw d.q",
        "img convert -f raw -O qcow2 -o data_file=e.data disk.raw e.q",
    ]);
    let qcow2s = ["a.q", "b.q", "c.q", "d.q", "e.q"];
    let run = lab.quorum_img(["check", "-f", "qcow2", "--allow-references", "--output", "json"]).args(qcow2s).arg("raw:disk.raw").exits(0);
    let report = run.json();
    let formats: Vec<_> = report["members"].as_array().expect("members").iter().map(|member| member["format"].clone()).collect();
    assert_eq!(formats, ["qcow2", "qcow2", "qcow2", "qcow2", "qcow2", "raw"], "{run}");
    assert_eq!(report["size"], 1_000_448, "{run}");
}

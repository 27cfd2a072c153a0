//! Clusters that are the image's own are rewritten where they lie, and not a byte elsewhere; and members of all kinds in one go.

use std::{ops::Range, time::Duration};

use super::{
    assert_equal, assert_image, have_qemu,
    layout::Layout,
    qemu_img, qemu_io, refuses,
    set::{SIZE, Set, follow},
    some_disk,
    support::{KIB, Lab, MIB, sectors},
    words,
};

/// Guest ranges that are damaged where they lie, each within a cluster of 512 bytes.
const PLACES: [Range<u64>; 6] = [0..512, 7000..7001, 300_000..300_032, 1_000_448..1_000_960, 1_500_010..1_500_100, 2_097_152..2_097_664];

/// A disk without zeros: all its clusters are data.
fn full_disk() -> Vec<u8> {
    some_disk(21, SIZE)
        .into_iter()
        .enumerate()
        .map(|(at, byte)| if byte == 0 { u8::try_from(at % 251).expect("small") + 1 } else { byte })
        .collect()
}

/// The image `bad.q` is made by these lines of `good.raw`; afterwards some of its clusters lose bytes as they lie in the file. What it
/// was before that is what the repair makes of it again.
fn rewritten_where_it_lies(lines: &[&str]) {
    let lab = Lab::new();
    let good = full_disk();
    lab.file("good.raw", &good);
    follow(&lab, lines);
    let image = lab.path("bad.q");
    let pristine = lab.bytes(&image);
    let layout = Layout::of(&lab, &image);
    for place in PLACES {
        let at = layout.data(place.start);
        lab.damage(&image, at..at + place.end - place.start);
    }
    let set = Set::with(lab, good).options("--allow-references");
    let run = set.repair().exits(0);
    assert_equal("bad.q", &set.lab.bytes(&image), &pristine, &run);
    set.assert_repaired(&run);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
    // It needs nothing but the places themselves.
    std::fs::remove_file(set.journal()).expect("it is there");
    let run = set.repair().arg("--no-journal").args(words("--force newer")).exits(0);
    assert_equal("bad.q", &set.lab.bytes(&image), &pristine, &run);
    assert!(!set.journal().exists(), "{run}");
}

#[test]
fn own_clusters_are_rewritten_where_they_lie() {
    if !have_qemu() {
        return;
    }
    for options in [
        "cluster_size=512",
        "cluster_size=4k",
        "cluster_size=64k",
        "cluster_size=2M",
        "compat=0.10",
        "refcount_bits=1",
        "refcount_bits=64,cluster_size=1k",
        "lazy_refcounts=on",
        "extended_l2=on,cluster_size=16k",
        "extended_l2=on,cluster_size=2M",
        "compression_type=zstd",
    ] {
        rewritten_where_it_lies(&[&format!("img convert -f raw -O qcow2 -o {options} good.raw bad.q")]);
    }
}

/// Own clusters amid others: compressed ones, ones that a snapshot had, ones over a backing file.
#[test]
fn own_clusters_amid_others() {
    if !have_qemu() {
        return;
    }
    for kind in ["zlib", "zstd"] {
        let compressed = format!("img convert -c -f raw -O qcow2 -o compression_type={kind} good.raw bad.q");
        // Every other cluster is still a compressed one.
        let mut lines = vec![compressed.as_str()];
        let writes: Vec<String> = PLACES.iter().map(|place| place.start / 65_536 * 65_536).map(|at| format!("{at}")).collect();
        let copies: Vec<String> = writes.iter().map(|at| format!("part bad.q good.raw {at} 64k")).collect();
        lines.extend(copies.iter().map(String::as_str));
        rewritten_where_it_lies(&lines);
    }
    rewritten_where_it_lies(&[
        "img convert -f raw -O qcow2 -o cluster_size=4k good.raw bad.q",
        "img snapshot -c gone bad.q",
        "img snapshot -d gone bad.q",
    ]);
    // A snapshot of an empty disk shares nothing.
    rewritten_where_it_lies(&[
        "img create -q -f qcow2 -o cluster_size=4k bad.q 2097664",
        "img snapshot -c empty bad.q",
        "img convert -n -f raw -O qcow2 good.raw bad.q",
    ]);
    rewritten_where_it_lies(&[
        "img create -q -f raw base.raw 2097664",
        "img create -q -f qcow2 -o cluster_size=4k -b base.raw -F raw bad.q",
        "part bad.q good.raw 0 2097664",
    ]);
}

/// Three images of three kinds, each damaged elsewhere, make each other whole.
#[test]
fn images_of_all_kinds_heal_each_other() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    let good = some_disk(22, SIZE);
    lab.file("good.raw", &good);
    follow(
        &lab,
        &[
            "img convert -f raw -O qcow2 -o cluster_size=4k good.raw a.q",
            "img convert -c -f raw -O qcow2 -o compat=0.10 good.raw b.q",
            "img convert -f raw -O qcow2 -o cluster_size=2M good.raw c.q",
            "img snapshot -c s1 c.q",
            "noise a.q 100k 5000",
            "io a.q write -q -z 300k 40k",
            "noise b.q 400k 5000",
            "io b.q discard -q 600k 128k",
            "noise c.q 900k 5000",
            "noise c.q 2M 512",
        ],
    );
    let names = ["a.q", "b.q", "c.q"];
    let before = names.map(|name| lab.bytes(&lab.path(name)));
    let snapshot = super::guest_bytes(&lab, "c.q", Some("s1"));
    let repair = |options: &str| lab.quorum_img(words("repair --in-place --max-damage 50 --force newer")).args(words(options));
    // By a guess nothing is written.
    refuses(&lab, repair("").args(names), 3, &["-f qcow2", "-f raw"]);
    let run = repair("-f qcow2").args(names).exits(0);
    for name in names {
        assert_image(&lab, name, &good, &run);
    }
    assert!(super::guest_bytes(&lab, "c.q", Some("s1")) == snapshot, "the snapshot is another one\n{run}");
    lab.quorum_img(["check", "-f", "qcow2"]).args(names).exits(0);
    assert!(lab.path("a.q.quorum-journal").exists(), "the journal is beside the first member\n{run}");
    let run = lab.quorum_img(["undo", "a.q.quorum-journal"]).exits(0);
    for (name, bytes) in names.iter().zip(&before) {
        assert_equal(name, &lab.bytes(&lab.path(name)), bytes, &run);
    }
}

/// Raw members beside them are rewritten in the same run.
#[test]
fn raw_and_qcow2_members_in_one_go() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    let good = some_disk(23, SIZE);
    for name in ["good.raw", "b.raw", "d.raw"] {
        lab.file(name, &good);
    }
    follow(&lab, &["img convert -c -f raw -O qcow2 good.raw a.q", "img convert -f raw -O qcow2 -o cluster_size=512 good.raw c.q"]);
    lab.damage(&lab.path("b.raw"), sectors(10..40));
    follow(&lab, &["noise a.q 800k 3000", "noise c.q 1000k 3000"]);
    let files = ["a.q", "b.raw", "c.q", "d.raw"];
    let before = files.map(|name| lab.bytes(&lab.path(name)));
    let members = ["qcow2:a.q", "raw:b.raw", "qcow2:c.q", "raw:d.raw"];
    let report = lab.quorum_img(words("repair --in-place --output json --force newer --journal kept")).args(members).exits(0);
    assert_image(&lab, "a.q", &good, &report);
    assert_image(&lab, "c.q", &good, &report);
    assert_equal("b.raw", &lab.bytes(&lab.path("b.raw")), &good, &report);
    assert!(!lab.path("a.q.quorum-journal").exists(), "{report}");
    let worked_on: Vec<_> =
        report.json()["repair"]["members"].as_array().expect("a list").iter().map(|member| member["index"].clone()).collect();
    assert_eq!(worked_on, [0, 1, 2], "{report}");
    let run = lab.quorum_img(["undo", "kept"]).exits(0);
    for (name, bytes) in files.iter().zip(&before) {
        assert_equal(name, &lab.bytes(&lab.path(name)), bytes, &run);
    }
}

/// Copies that were made as files are the same to the last byte of their tables with `-f raw`.
#[test]
fn as_raw_files_they_become_the_same_files() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("good.raw", some_disk(24, SIZE));
    qemu_img(&lab, "convert -c -f raw -O qcow2 -o cluster_size=4k good.raw a.q");
    follow(&lab, &["copy a.q b.q", "copy a.q c.q", "copy a.q keep"]);
    lab.damage(&lab.path("a.q"), 0..100);
    lab.damage(&lab.path("b.q"), 40_000..60_000);
    lab.flip_bit(&lab.path("c.q"), 4096 + 5);
    let names = ["a.q", "b.q", "c.q"];
    let run = lab.quorum_img(words("repair --in-place -f raw")).args(names).exits(0);
    for name in names {
        assert_equal(name, &lab.bytes(&lab.path(name)), &lab.bytes(&lab.path("keep")), &run);
    }
}

/// Damage all over a disk, in one image of three: many batches, many tables.
#[test]
fn scattered_damage_in_images_of_all_kinds() {
    if !have_qemu() {
        return;
    }
    let good = some_disk(25, 6 * MIB);
    for options in ["-o cluster_size=512", "-c", "-o cluster_size=4k"] {
        let mut was = good.clone();
        for (index, sector) in (0..good.len() / 512).step_by(9).enumerate() {
            let sector = &mut was[sector * 512..sector * 512 + 512];
            if index % 3 == 0 {
                sector.fill(0);
            } else {
                for byte in sector {
                    *byte ^= 0x5a;
                }
            }
        }
        let set =
            Set::of(good.clone(), &was, &[&format!("img convert -f raw -O qcow2 {options} was.raw bad.q"), "img snapshot -c s1 bad.q"]);
        set.is_mended_and_undone(set.repair().args(words("-j 8 --force stale")));
    }
}

/// A big image with little in it takes little time: 4 TiB, in clusters of 64 KiB.
#[test]
fn big_images_take_little_time() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    for name in ["a.q", "b.q", "c.q"] {
        qemu_img(&lab, &format!("create -q -f qcow2 {name} 4T"));
        qemu_io(&lab, name, ["write -q -P 7 0 1M", "write -q -P 8 1T 64k", "write -q -P 9 4398046445568 64k"]);
    }
    qemu_io(&lab, "b.q", ["write -q -P 1 1T 512", "write -q -P 5 2T 1k", "write -q -z -u 4398046445568 64k"]);
    let before = lab.bytes(&lab.path("b.q"));
    let names = ["a.q", "b.q", "c.q"];
    let run = lab.quorum_img(words("repair --in-place -f qcow2 --force newer")).args(names).within(Duration::from_secs(20)).exits(0);
    qemu_img(&lab, "check -q -f qcow2 b.q");
    qemu_img(&lab, "compare -f qcow2 -F qcow2 a.q b.q");
    assert!(
        lab.bytes(&lab.path("b.q")).len()
            < before.len() + usize::try_from(MIB).expect("small") + 1024 * usize::try_from(KIB).expect("small"),
        "{run}"
    );
    let run = lab.quorum_img(["undo", "a.q.quorum-journal"]).exits(0);
    assert_equal("b.q", &lab.bytes(&lab.path("b.q")), &before, &run);
}

/// A table that is used 60,000 times is looked through once.
#[test]
fn shared_tables_take_little_time() {
    if !have_qemu() {
        return;
    }
    let tables = 60_000;
    let lab = Lab::new();
    qemu_img(&lab, &format!("create -q -f qcow2 -o cluster_size=4k a.q {}", tables * 2 * MIB));
    qemu_io(&lab, "a.q", ["write -q -P 7 0 4k"]);
    let path = lab.path("a.q");
    let layout = Layout::of(&lab, &path);
    let [table, data] = [layout.l2_table(0), layout.data(0)];
    let counts = layout.number(layout.number(48));
    for cluster in [table, data] {
        lab.write(&path, counts + cluster / 4096 * 2, &[0xff; 2]);
    }
    lab.write(&path, layout.l2_entry(0), &data.to_be_bytes());
    lab.write(&path, layout.l1_table, &table.to_be_bytes().repeat(tables as usize));
    let image = lab.bytes(&path);
    for name in ["b.q", "c.q"] {
        lab.file(name, &image);
    }
    lab.write(&lab.path("b.q"), layout.l1_entry(1000 * 2 * MIB), &[0; 8]);
    let run = lab
        .quorum_img(words("repair --in-place -f qcow2 --max-damage 100 --force zeros,empty,cuts a.q b.q c.q"))
        .within(Duration::from_mins(1))
        .exits(0);
    qemu_img(&lab, "compare -f qcow2 -F qcow2 a.q b.q");
    let check = lab.program("qemu-img").args(words("check -q -f qcow2 b.q")).output();
    assert!(matches!(check.code(), Some(0 | 3)), "errors, not just leaks\n{check}\n{run}");
}

//! Every kind of image that can be rewritten in place, with clusters of every kind in the way: each is repaired, and each repair undone.

use super::{
    have_qemu,
    set::{Set, worse},
    some_disk,
    support::MIB,
};

/// Makes the image by these lines and has it repaired.
fn heals(lines: &[&str]) {
    Set::new(lines).heals();
}

const CONVERT: &str = "img convert -f raw -O qcow2";

#[test]
fn clusters_of_any_size() {
    if !have_qemu() {
        return;
    }
    for size in ["512", "1k", "4k", "64k", "512k", "2M"] {
        heals(&[&format!("{CONVERT} -o cluster_size={size} was.raw bad.q")]);
    }
}

#[test]
fn version_2() {
    if !have_qemu() {
        return;
    }
    for size in ["512", "64k"] {
        heals(&[&format!("{CONVERT} -o compat=0.10,cluster_size={size} was.raw bad.q")]);
    }
    heals(&[&format!("{CONVERT} -c -o compat=0.10 was.raw bad.q")]);
}

#[test]
fn counts_of_any_width() {
    if !have_qemu() {
        return;
    }
    for bits in [1, 2, 4, 8, 32, 64] {
        heals(&[&format!("{CONVERT} -o refcount_bits={bits},cluster_size=4k was.raw bad.q")]);
    }
}

/// Bits in the header that say how the image is to be treated.
#[test]
fn lazy_counts_and_preallocation() {
    if !have_qemu() {
        return;
    }
    heals(&[&format!("{CONVERT} -o lazy_refcounts=on was.raw bad.q")]);
    for how in ["metadata", "falloc"] {
        let create = format!("img create -q -f qcow2 -o preallocation={how},cluster_size=4k bad.q 2097664");
        heals(&[&create, "img convert -n -f raw -O qcow2 was.raw bad.q"]);
        // And hardly anything of it was ever written to.
        heals(&[&create, "noise bad.q 100k 8192"]);
    }
}

#[test]
fn compressed_clusters() {
    if !have_qemu() {
        return;
    }
    for size in ["512", "4k", "64k", "2M"] {
        heals(&[&format!("{CONVERT} -c -o cluster_size={size} was.raw bad.q")]);
        // Beside others.
        heals(&[&format!("{CONVERT} -c -o cluster_size={size} was.raw bad.q"), "noise bad.q 300k 40000", "io bad.q write -q -z 1M 100k"]);
    }
}

/// Clusters that are all zeros to the image, whether or not a place is kept for them, and where the guest gave them back.
#[test]
fn zero_clusters() {
    if !have_qemu() {
        return;
    }
    for size in ["4k", "64k"] {
        for how in ["write -q -z", "write -q -z -u", "discard -q"] {
            let convert = format!("{CONVERT} -o cluster_size={size} good.raw bad.q");
            let lines = [
                convert.clone(),
                format!("io bad.q {how} 64k 128k"),
                format!("io bad.q {how} 1M 4k"),
                format!("io bad.q {how} 1500k 68k"),
                format!("io bad.q {how} 2M 512"),
            ];
            heals(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

/// Nothing in it at all: no L2 table, no cluster.
#[test]
fn an_image_without_anything() {
    if !have_qemu() {
        return;
    }
    for options in ["", "-o cluster_size=512", "-o cluster_size=2M", "-o compat=0.10", "-o refcount_bits=1"] {
        let set = Set::new(&[&format!("img create -q -f qcow2 {options} bad.q 2097664")]);
        set.options("--force stale").heals();
    }
}

/// Clusters that snapshots hold, too: they stay as they are, and so do the snapshots.
#[test]
fn snapshots_keep_what_they_hold() {
    if !have_qemu() {
        return;
    }
    for options in ["", "-o cluster_size=512", "-o cluster_size=4k", "-o cluster_size=2M", "-o compat=0.10", "-o refcount_bits=2", "-c"] {
        let convert = format!("{CONVERT} {options} was.raw bad.q");
        heals(&[&convert, "img snapshot -c s1 bad.q"]);
        heals(&[
            &convert,
            "img snapshot -c s1 bad.q",
            "noise bad.q 300k 40000",
            "io bad.q write -q -z 1M 100k",
            "img snapshot -c s2 bad.q",
            "noise bad.q 500k 512",
            "io bad.q discard -q 1200k 100k",
        ]);
    }
}

/// A snapshot of a smaller disk than the one that is active, or of a bigger one.
#[test]
fn snapshots_of_another_size() {
    if !have_qemu() {
        return;
    }
    heals(&[
        "img convert -f raw -O qcow2 was.raw bad.q",
        "img resize -q --shrink -f qcow2 bad.q 1M",
        "img snapshot -c small bad.q",
        "img resize -q -f qcow2 bad.q 2097664",
        "noise bad.q 1536k 40000",
    ]);
    heals(&[
        "img create -q -f qcow2 bad.q 3M",
        "noise bad.q 2M 1000000",
        "img snapshot -c big bad.q",
        "img resize -q --shrink -f qcow2 bad.q 2097664",
        "img convert -n -f raw -O qcow2 was.raw bad.q",
    ]);
}

/// A disk that was made smaller or bigger leaves traces in its tables.
#[test]
fn resized_images() {
    if !have_qemu() {
        return;
    }
    let grow = |size: &str| format!("img create -q -f qcow2 -o cluster_size={size} bad.q 100k");
    for size in ["512", "64k"] {
        heals(&[
            &grow(size),
            "noise bad.q 0 100000",
            "img resize -q -f qcow2 bad.q 2097664",
            "img convert -n -f raw -O qcow2 was.raw bad.q",
        ]);
        heals(&[&grow(size), "noise bad.q 0 100000", "img resize -q -f qcow2 bad.q 2097664"]);
    }
}

/// Whatever stands behind the last cluster is no part of the image; undo brings it back.
#[test]
fn a_file_with_something_behind_it() {
    if !have_qemu() {
        return;
    }
    for more in [1, 512, 1000, 65_536, 200_001] {
        let set = Set::new(&[&format!("{CONVERT} was.raw bad.q")]);
        let length = set.damaged.len() as u64;
        set.lab.set_length(&set.bad(), length + more);
        set.lab.write(&set.bad(), length, &vec![0xee; usize::try_from(more).expect("small")]);
        let Set { lab, good, .. } = set;
        let set = Set::with(lab, good);
        set.is_mended_and_undone(set.repair());
    }
}

/// Small clusters with wide counts: the table of the counts is full after 2 MiB of file, and must move to a bigger place.
#[test]
fn books_that_must_grow() {
    if !have_qemu() {
        return;
    }
    for bits in [64, 16] {
        let good = some_disk(12, 9 * MIB);
        let mut was = worse(&good);
        was[1 << 20..8 << 20].fill(0);
        let set = Set::of(good, &was, &[&format!("{CONVERT} -o refcount_bits={bits},cluster_size=512 was.raw bad.q")]);
        set.options("--force stale").heals();
    }
}

/// One L2 table in the middle is missing, another one is shared with a snapshot.
#[test]
fn tables_of_every_kind() {
    if !have_qemu() {
        return;
    }
    let mut was = worse(&some_disk(11, super::set::SIZE));
    was[600_000..800_000].fill(0);
    let set = Set::of(
        some_disk(11, super::set::SIZE),
        &was,
        &[&format!("{CONVERT} -o cluster_size=1k was.raw bad.q"), "img snapshot -c s1 bad.q", "noise bad.q 1M 150000"],
    );
    set.options("--force stale").heals();
}

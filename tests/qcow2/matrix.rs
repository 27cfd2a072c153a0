//! Every variant of an image of its own that qemu-img can make, each with a guest's random writes, read byte for byte as QEMU reads it.

use super::{have_qemu, making::variant, support::KIB};

/// The smallest clusters to the largest; disks that end within a cluster, or just before, at and behind the reach of an L2 table.
#[test]
fn clusters_of_every_size() {
    if !have_qemu() {
        return;
    }
    for bits in 9..=21 {
        let cluster = 1_u64 << bits;
        let reach = cluster * cluster / 8;
        let size = if reach <= 2048 * KIB { reach + 512 * (bits % 3) - 512 } else { (cluster * 3).max(700 * KIB) + 1536 };
        let create = format!("img create -f qcow2 -o cluster_size={cluster} top.q {size}");
        variant(&[&create, "fill top.q", "fill top.q"], &[]);
    }
}

/// The format's second version knows no zero clusters and no features.
#[test]
fn version_2() {
    if !have_qemu() {
        return;
    }
    for (cluster, size) in [(512, 100_864), (4096, 2_101_248), (65536, 1_000_448), (1 << 21, 5_000_192)] {
        let create = format!("img create -f qcow2 -o compat=v2,cluster_size={cluster} top.q {size}");
        variant(&[&create, "fill top.q", "fill top.q"], &[]);
    }
}

/// An image that was written compressed and is then in use: both kinds of clusters side by side. One by both compressions and both
/// versions, at cluster sizes whose compressed sectors are counted in other bits of an entry.
#[test]
fn compressed_clusters() {
    if !have_qemu() {
        return;
    }
    for options in [
        "compression_type=zlib,cluster_size=512",
        "compression_type=zlib,cluster_size=1k",
        "compression_type=zlib,cluster_size=64k",
        "compression_type=zlib,cluster_size=2M",
        "compression_type=zstd,cluster_size=512",
        "compression_type=zstd,cluster_size=4k",
        "compression_type=zstd,cluster_size=64k",
        "compression_type=zstd,cluster_size=2M",
        "compat=v2,cluster_size=8k",
        "compat=v2,cluster_size=64k",
    ] {
        // A disk that doesn't end with a cluster: the last one is padded.
        let size = if options.contains("=512") { 200_192 } else { 2_500_096 };
        let disk = format!("disk base.raw {size}");
        let convert = format!("img convert -c -f raw -O qcow2 -o {options} base.raw top.q");
        variant(&[&disk, &convert], &[]);
        variant(&[&disk, &convert, "fill top.q"], &[]);
    }
}

/// One after the other into a fresh image: what qemu-io compresses itself, and clusters that don't get smaller by it.
#[test]
fn compressed_writes_of_all_sorts() {
    if !have_qemu() {
        return;
    }
    for options in ["compression_type=zlib", "compression_type=zstd", "compression_type=zstd,extended_l2=on", "extended_l2=on"] {
        let create = format!("img create -f qcow2 -o cluster_size=64k,{options} top.q 1000448");
        let lines = [
            "disk noise.raw 65536",
            &create,
            "io top.q write -q -c -P 7 0 64k",
            "io top.q write -q -c -s noise.raw 128k 64k",
            "io top.q write -q -c -P 9 983040 17408",
            "io top.q write -q -c -P 10 320k 64k",
            "io top.q write -q -P 11 330000 100",
            "io top.q write -q -z 4k 8k",
        ];
        variant(&lines, &[]);
    }
}

/// Zeros with a cluster behind them and without; discards of everything that can be discarded.
#[test]
fn zero_clusters_and_discards() {
    if !have_qemu() {
        return;
    }
    for options in
        ["cluster_size=512", "cluster_size=4k", "cluster_size=64k", "compat=v2", "extended_l2=on", "cluster_size=16k,extended_l2=on"]
    {
        let create = format!("img create -f qcow2 -o {options} top.q 600064");
        let lines = [
            "disk noise.raw 600064",
            &create,
            "io top.q write -q -s noise.raw 0 600064",
            "io top.q write -q -z 64k 128k",
            "io top.q write -q -z -u 256k 64k",
            "io top.q write -q -z 330000 1000",
            "io top.q discard -q 384k 64k",
            "io top.q discard -q 4k 4k",
            "io top.q write -q -P 3 100k 512",
        ];
        variant(&lines, &[]);
    }
}

/// Clusters of 32 subclusters, each with its own two bits.
#[test]
fn extended_l2_entries() {
    if !have_qemu() {
        return;
    }
    for (cluster, size) in [("16k", 5_000_192_u64), ("64k", 1_500_160), ("128k", 999_936), ("2M", 4_500_480)] {
        let create = format!("img create -f qcow2 -o extended_l2=on,cluster_size={cluster} top.q {size}");
        variant(&[&create, "fill top.q", "fill top.q", "fill top.q"], &[]);
        for compression in ["zlib", "zstd"] {
            let disk = format!("disk base.raw {size}");
            let options = format!("extended_l2=on,cluster_size={cluster},compression_type={compression}");
            let convert = format!("img convert -c -f raw -O qcow2 -o {options} base.raw top.q");
            variant(&[&disk, &convert, "fill top.q"], &[]);
        }
    }
}

/// How references are counted is nothing to a reader.
#[test]
fn refcounts_of_every_width() {
    if !have_qemu() {
        return;
    }
    for options in [
        "refcount_bits=1",
        "refcount_bits=2",
        "refcount_bits=4",
        "refcount_bits=8",
        "refcount_bits=32",
        "refcount_bits=64",
        "lazy_refcounts=on",
        "refcount_bits=64,cluster_size=512",
    ] {
        let create = format!("img create -f qcow2 -o {options} top.q 777728");
        variant(&[&create, "fill top.q"], &[]);
    }
}

/// Clusters that are there before anything is written to them.
#[test]
fn preallocated() {
    if !have_qemu() {
        return;
    }
    for options in [
        "preallocation=metadata",
        "preallocation=falloc",
        "preallocation=full",
        "preallocation=metadata,cluster_size=512",
        "preallocation=metadata,extended_l2=on",
        "preallocation=metadata,compat=v2",
    ] {
        let create = format!("img create -f qcow2 -o {options} top.q 1049088");
        variant(&[&create, "fill top.q"], &[]);
    }
}

/// The guest's data in a file of its own.
#[test]
fn external_data_files() {
    if !have_qemu() {
        return;
    }
    for options in [
        "data_file=data.raw",
        "data_file=data.raw,data_file_raw=on",
        "data_file=data.raw,cluster_size=512",
        "data_file=data.raw,extended_l2=on",
        "data_file=data.raw,data_file_raw=on,extended_l2=on",
        "data_file=data.raw,preallocation=metadata",
        "data_file=data.raw,data_file_raw=on,preallocation=full",
    ] {
        let create = format!("img create -f qcow2 -o {options} top.q 777728");
        variant(&[&create, "fill top.q", "fill top.q"], &["--allow-references"]);
    }
    let over = "img create -f qcow2 -b base.raw -F raw -o data_file=data.raw top.q";
    variant(&["disk base.raw 700416", over, "fill top.q"], &["--allow-references"]);
}

/// Disks that grew and shrank.
#[test]
fn resized() {
    if !have_qemu() {
        return;
    }
    for cluster in ["512", "4k", "64k"] {
        let create = format!("img create -f qcow2 -o cluster_size={cluster} top.q 300032");
        let grow = "img resize -q -f qcow2 top.q 3000320";
        let shrink = "img resize -q -f qcow2 --shrink top.q 150016";
        variant(&[&create, "fill top.q", grow, "fill top.q"], &[]);
        variant(&[&create, "fill top.q", shrink], &[]);
        variant(&[&create, "fill top.q", shrink, grow, "fill top.q"], &[]);
    }
    variant(
        &["img create -f qcow2 -o extended_l2=on top.q 300032", "fill top.q", "img resize -q -f qcow2 top.q 1000448", "fill top.q"],
        &[],
    );
}

/// All that is there is in the last cluster, or in none of the last table's.
#[test]
fn small_disks() {
    if !have_qemu() {
        return;
    }
    for size in [512, 1024, 65_536, 66_048] {
        let create = format!("img create -f qcow2 top.q {size}");
        let write = format!("io top.q write -q -P 200 {} 512", size - 512);
        variant(&[&create, &write], &[]);
    }
}

//! `repair -O qcow2 -o`: whatever its options, the new image is clean, and holds what was voted for.

use std::{ops::Range, sync::LazyLock};

use serde_json::Value;

use super::{
    assert_equal, assert_image, have_qemu, image_info, qemu_img, qemu_io, some_disk,
    support::{KIB, Lab, MIB, Output, Run, noise, sectors},
    words,
};

/// Three raw copies of one disk, each damaged elsewhere: a vote restores all of it.
pub struct Copies {
    pub lab: Lab,
    /// What they are copies of; also in the file `original.raw`.
    pub original: Vec<u8>,
}

impl Copies {
    pub fn new() -> Self {
        static DISK: LazyLock<Vec<u8>> = LazyLock::new(|| some_disk(1, 3 * MIB / 2 - 512));
        Self::of(DISK.clone())
    }

    pub fn of(original: Vec<u8>) -> Self {
        let lab = Lab::new();
        lab.file("original.raw", &original);
        for (name, damaged) in [("a.raw", sectors(3..7)), ("b.raw", sectors(100..101)), ("c.raw", sectors(1024..1030))] {
            let member = lab.file(name, &original);
            if damaged.end <= original.len() as u64 {
                lab.damage(&member, damaged);
            }
        }
        Self { lab, original }
    }

    /// `repair --output json -O qcow2 -o out.q MEMBER...`, with more options to come.
    pub fn repair(&self) -> Run {
        self.lab.quorum_img(words("repair --output json -O qcow2 -o out.q a.raw b.raw c.raw"))
    }

    /// The output holds the original, by QEMU's word.
    pub fn assert_restored(&self, run: &Output) {
        assert_image(&self.lab, "out.q", &super::whole_sectors(self.original.clone()), run);
        qemu_img(&self.lab, "compare -f qcow2 -F raw out.q original.raw");
    }
}

/// The ranges of the image that are data, by `qemu-img map`.
fn data(lab: &Lab, image: &str) -> Vec<Range<u64>> {
    let map: Value = serde_json::from_str(&qemu_img(lab, &format!("map --output json -f qcow2 {image}"))).expect("JSON");
    let number = |part: &Value, key: &str| part[key].as_u64().unwrap_or_else(|| panic!("{key} of {part}"));
    let mut found: Vec<Range<u64>> = Vec::new();
    for part in map.as_array().expect("a list").iter().filter(|part| part["data"] == true) {
        let range = number(part, "start")..number(part, "start") + number(part, "length");
        // The holes of the file itself part a cluster, too.
        match found.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.push(range),
        }
    }
    found
}

/// Nearly every combination: what QEMU says of it, and what it holds.
#[test]
fn every_option_makes_a_clean_image() {
    if !have_qemu() {
        return;
    }
    for cluster in ["512", "1k", "4k", "64k", "256k", "2M"] {
        for (compat, compress) in
            [("0.10", None), ("v2", Some("zlib")), ("1.1", None), ("v3", Some("zlib")), ("1.1", Some("zstd")), ("v3", Some(""))]
        {
            if matches!(cluster, "1k" | "256k") && compress.is_some() {
                continue;
            }
            let set = Copies::new();
            let mut options = format!("cluster_size={cluster},compat={compat}");
            if let Some(kind) = compress.filter(|kind| !kind.is_empty()) {
                options.extend([",compression_type=", kind]);
            }
            let compressed = compress.map(|_| "-c");
            let run = set.repair().args(["--output-options", &options]).args(compressed).exits(0);
            set.assert_restored(&run);
            let info = image_info(&set.lab, "out.q");
            let bytes: u64 = match cluster.strip_suffix('k') {
                Some(number) => number.parse::<u64>().expect("a number") * KIB,
                None if cluster == "2M" => 2 * MIB,
                None => 512,
            };
            assert_eq!(info["cluster-size"], bytes, "{run}");
            let about = &info["format-specific"]["data"];
            assert_eq!(about["compat"], if matches!(compat, "0.10" | "v2") { "0.10" } else { "1.1" }, "{run}");
            assert_eq!(about["compression-type"], if compress == Some("zstd") { "zstd" } else { "zlib" }, "{run}");
            assert_eq!(about.get("corrupt").unwrap_or(&Value::Bool(false)), false, "{run}");
            let report = run.json();
            assert_eq!(report["repair"]["format"], "qcow2", "{run}");
            assert_eq!(report["repair"]["verified"], true, "{run}");
            assert!(report["repair"]["verified-from"].is_string(), "{run}");
        }
    }
}

/// As qemu-img has them unless told otherwise.
#[test]
fn the_options_have_defaults() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    let run = set.repair().exits(0);
    set.assert_restored(&run);
    let info = image_info(&set.lab, "out.q");
    assert_eq!(info["cluster-size"], 64 * KIB, "{run}");
    assert_eq!(info["virtual-size"], set.original.len(), "{run}");
    let about = &info["format-specific"]["data"];
    assert_eq!(about["compat"], "1.1", "{run}");
    assert_eq!(about["compression-type"], "zlib", "{run}");
    assert_eq!(about["refcount-bits"], 16, "{run}");
    assert!(info.get("backing-filename").is_none() && info.get("snapshots").is_none(), "{info}");
}

/// The long name of -O, and options apart as well as together.
#[test]
fn the_options_are_taken_in_any_form() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    for line in [
        "--target-format qcow2 --output-options cluster_size=4k --output-options compat=0.10 --compress",
        "--target-format=qcow2 --output-options=cluster_size=4096,compat=0.10 -c",
        "-Oqcow2 --output-options compat=v2 --output-options cluster_size=4K -c",
    ] {
        let run = set.lab.quorum_img(words("repair -o out.q --force overwrite a.raw b.raw c.raw")).args(words(line)).exits(0);
        set.assert_restored(&run);
        let info = image_info(&set.lab, "out.q");
        assert_eq!((&info["cluster-size"], &info["format-specific"]["data"]["compat"]), (&4096.into(), &"0.10".into()), "{run}");
    }
}

/// The output of `qemu-img convert` is the measure of what compressing saves.
#[test]
fn compressed_images_are_about_as_small_as_qemus() {
    if !have_qemu() {
        return;
    }
    let text: Vec<u8> = (0..400_000u32).flat_map(|line| format!("line {:06}\n", line * 7919 % 1_000_003).into_bytes()).collect();
    for kind in ["zlib", "zstd"] {
        for cluster in ["4k", "64k", "2M"] {
            let set = Copies::of(text[..2 << 20].to_vec());
            let options = format!("compression_type={kind},cluster_size={cluster}");
            let run = set.repair().args(["-c", "--output-options", &options]).exits(0);
            set.assert_restored(&run);
            qemu_img(&set.lab, &format!("convert -c -f raw -O qcow2 -o {options} original.raw theirs.q"));
            let [ours, theirs] = ["out.q", "theirs.q"].map(|name| set.lab.bytes(&set.lab.path(name)).len());
            assert!(ours < theirs * 3 / 2 + (256 << 10), "{ours} bytes, theirs {theirs}, {options}\n{run}");
        }
    }
}

/// Noise can't be made smaller: such clusters stand as they are, and the image grows by next to nothing.
#[test]
fn what_cannot_be_compressed_stays_as_it_is() {
    if !have_qemu() {
        return;
    }
    for (kind, cluster) in [("zlib", "512"), ("zlib", "64k"), ("zstd", "4k"), ("zstd", "2M")] {
        let set = Copies::of(noise(5, 5 << 20));
        let options = format!("compression_type={kind},cluster_size={cluster}");
        let run = set.repair().args(["-c", "--output-options", &options]).exits(0);
        set.assert_restored(&run);
        let length = set.lab.bytes(&set.lab.path("out.q")).len();
        let most = if cluster == "2M" { 16 } else { 6 } << 20;
        assert!(length <= most, "{length} bytes for 5 MiB, {options}");
    }
}

/// Where all hold zeros there are no clusters, whether or not the members have holes there; `-S 0` writes all.
#[test]
fn zeros_take_no_clusters() {
    if !have_qemu() {
        return;
    }
    let mut disk = vec![0; 8 << 20];
    disk[1 << 20..(1 << 20) + 5000].copy_from_slice(&noise(1, 5000));
    disk[(5 << 20) - 100..(5 << 20) + 100].fill(7);
    let set = Copies::of(disk);
    // The damage is outvoted: zeros again.
    let run = set.repair().exits(0);
    set.assert_restored(&run);
    assert_eq!(data(&set.lab, "out.q"), [MIB..MIB + 64 * KIB, 5 * MIB - 64 * KIB..5 * MIB + 64 * KIB], "{run}");
    assert!(set.lab.bytes(&set.lab.path("out.q")).len() < 1 << 20, "{run}");
    // Compressed or not: no cluster for zeros.
    let run = set.repair().args(words("-c --force overwrite")).exits(0);
    set.assert_restored(&run);
    assert!(set.lab.bytes(&set.lab.path("out.q")).len() < 400 << 10, "{run}");
    let run = set.repair().args(words("-S 0 --force overwrite")).exits(0);
    set.assert_restored(&run);
    assert_eq!(data(&set.lab, "out.q"), vec![(0..8 * MIB)], "-S 0 leaves none out\n{run}");
    assert!(set.lab.bytes(&set.lab.path("out.q")).len() >= 8 << 20, "{run}");
}

/// Disks that are all zeros, or nothing at all.
#[test]
fn empty_disks_make_clean_images() {
    if !have_qemu() {
        return;
    }
    for size in [512, 64 * KIB, 100 * MIB] {
        for compressed in [None, Some("-c")] {
            let lab = Lab::new();
            for name in ["a.raw", "b.raw"] {
                lab.sparse(name, size);
            }
            let run = lab.quorum_img(words("repair -O qcow2 -o out.q a.raw b.raw")).args(compressed).exits(0);
            assert_image(&lab, "out.q", &vec![0; usize::try_from(size).expect("small")], &run);
            assert!(lab.bytes(&lab.path("out.q")).len() <= 512 << 10, "{run}");
        }
    }
}

/// A virtual size is of whole sectors: the rest of the last one is zeros, as where qemu-img reads a raw file.
#[test]
fn odd_sizes_are_rounded_up() {
    if !have_qemu() {
        return;
    }
    for size in [1, 511, 513, 65_535, 65_537, 300_001, 1_048_577] {
        for options in ["", "-c", "-S 0", "-c --output-options cluster_size=512"] {
            let set = Copies::of(noise(size, usize::try_from(size).expect("small")));
            let run = set.repair().args(words(options)).exits(0);
            set.assert_restored(&run);
            assert_eq!(image_info(&set.lab, "out.q")["virtual-size"], size.next_multiple_of(512), "{run}");
        }
    }
}

/// Members of any kind, in any mixture, make the same image.
#[test]
fn members_of_any_format() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    let original = some_disk(7, MIB + 512);
    lab.file("a.raw", &original);
    qemu_img(&lab, "convert -c -f raw -O qcow2 -o compression_type=zstd,cluster_size=4k a.raw b.q");
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=2M a.raw base.q");
    qemu_img(&lab, "create -q -f qcow2 -o extended_l2=on,cluster_size=64k -b base.q -F qcow2 c.q");
    qemu_io(&lab, "b.q", ["write -q -P 3 20k 3k"]);
    qemu_io(&lab, "c.q", ["write -q -P 4 100k 1k", "write -q -z 512k 64k"]);
    lab.damage(&lab.path("a.raw"), sectors(900..901));
    let mut all = Vec::new();
    for options in ["", "-j 1", "-j 8", "-c -j 8", "--sector-size 4096", "-T none", "-c --output-options compression_type=zstd -j 1"] {
        let line = "repair --allow-references -O qcow2 -o out.q --force overwrite raw:a.raw qcow2:b.q qcow2:c.q";
        let run = lab.quorum_img(words(line)).args(words(options)).exits(0);
        assert_image(&lab, "out.q", &original, &run);
        all.push((options, lab.bytes(&lab.path("out.q"))));
    }
    // The same whatever the threads, and every time.
    assert_equal("the image of one thread", &all[1].1, &all[0].1, &lab.program("true").exits(0));
    assert_equal("the image of eight threads", &all[2].1, &all[0].1, &lab.program("true").exits(0));
    // What was made can vote.
    let run = lab.quorum_img(words("check --allow-references -f qcow2 out.q b.q c.q")).exits(1);
    run.says("#0");
}

/// Only the end counts: the name's old file stays until then, and members are left as they are.
#[test]
fn an_existing_file_is_replaced_only_when_asked() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    set.lab.file("out.q", "precious");
    super::refuses(&set.lab, set.repair(), 3, &["overwrite", "out.q"]);
    let before = ["a.raw", "b.raw", "c.raw"].map(|name| set.lab.bytes(&set.lab.path(name)));
    let run = set.repair().args(["--force", "overwrite"]).exits(0);
    set.assert_restored(&run);
    assert_eq!(before, ["a.raw", "b.raw", "c.raw"].map(|name| set.lab.bytes(&set.lab.path(name))));
}

/// People are told what was made.
#[test]
fn people_are_told() {
    let set = Copies::new();
    let run = set.lab.quorum_img(words("repair -O qcow2 -o out.q a.raw b.raw c.raw")).exits(0);
    run.says("out.q");
    let run = set.lab.quorum_img(words("repair -q -O qcow2 -o quiet.q a.raw b.raw c.raw")).exits(0);
    assert!(run.stderr.is_empty(), "{run}");
}

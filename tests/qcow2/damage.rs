//! Damage within an image's tables and data costs the guest's bytes that it concerns, and no others: that member's ballots are
//! unreadable there, it is told why, and two sound copies outvote it.

use std::{ops::Range, path::PathBuf};

use serde_json::{Value, json};

use super::{
    have_qemu,
    layout::Layout,
    qemu_img, qemu_io,
    support::{KIB, Lab, Output, noise},
};

/// An image under damage, and two raw copies of the disk that it held before.
pub struct Scene {
    pub lab: Lab,
    pub image: PathBuf,
    pub good: Vec<u8>,
}

/// Guest bytes on a scene's disk: a little more than two L2 tables' reach with clusters of 1 KiB, and no whole number of clusters.
pub const SIZE: u64 = 300_544;

impl Scene {
    /// Every cluster is there and full of noise, so that whatever is lost shows.
    pub fn of_noise(options: &str) -> Self {
        let bytes = noise(42, usize::try_from(SIZE).expect("small"));
        Self::new(&bytes, &format!("convert -f raw -O qcow2 -o {options} good-0.raw top.q"))
    }

    /// Every cluster is compressed.
    pub fn compressed(options: &str) -> Self {
        let mut bytes = noise(43, usize::try_from(SIZE).expect("small"));
        // Half of each 64 bytes is the same everywhere.
        bytes.chunks_mut(64).for_each(|chunk| chunk[16..].fill(7));
        Self::new(&bytes, &format!("convert -c -f raw -O qcow2 -o {options} good-0.raw top.q"))
    }

    fn new(bytes: &[u8], convert: &str) -> Self {
        let lab = Lab::new();
        lab.copies_of::<2>("good.raw", bytes);
        qemu_img(&lab, convert);
        let image = lab.path("top.q");
        Self { lab, image, good: bytes.to_vec() }
    }

    pub fn layout(&self) -> Layout {
        Layout::of(&self.lab, &self.image)
    }

    /// Writes a big-endian number into the image.
    pub fn set(&self, at: u64, number: u64) {
        self.lab.write(&self.image, at, &number.to_be_bytes());
    }

    pub fn members() -> [&'static str; 3] {
        ["qcow2:top.q", "raw:good-0.raw", "raw:good-1.raw"]
    }

    pub fn check(&self) -> Output {
        self.lab.quorum_img(["check", "--allow-references", "--output", "json"]).args(Self::members()).output()
    }

    /// The two sound copies decide everything: check says 1, and the repaired image is the good one.
    pub fn is_outvoted(&self) -> Output {
        let run = self.check().expect_code(1);
        self.repairs();
        run
    }

    /// A new image by vote is the good one.
    pub fn repairs(&self) {
        let out = self.lab.path("out.img");
        let _ = std::fs::remove_file(&out);
        self.lab.quorum_img(["repair", "--allow-references", "-o", "out.img"]).args(Self::members()).exits(0);
        assert!(self.lab.bytes(&out) == self.good, "the repaired image is not the good one");
    }

    /// These guest bytes can't be read, and all others are right.
    pub fn loses(&self, range: &Range<u64>) -> Output {
        self.loses_each(std::slice::from_ref(range))
    }

    /// The same for several ranges; the report tells them sector by sector.
    pub fn loses_each(&self, ranges: &[Range<u64>]) -> Output {
        let run = self.is_outvoted();
        let report = run.json();
        let lost: u64 = ranges.iter().map(|range| range.end.div_ceil(512) - range.start / 512).sum();
        assert_eq!(report["members"][0]["unreadable-sectors"], lost, "{run}");
        assert_eq!(report["members"][0]["dissenting-sectors"], 0, "what is lost must not be made up\n{run}");
        let expected: Vec<Value> = ranges
            .iter()
            .map(|range| {
                let (start, end) = (range.start / 512 * 512, range.end.div_ceil(512) * 512);
                json!({ "offset": start, "length": end - start, "unreadable": [0], "versions": [{ "members": [1, 2] }] })
            })
            .collect();
        let found = report["divergences"].as_array().expect("a list");
        let keys = ["offset", "length", "unreadable", "versions"];
        let found: Vec<Value> = found.iter().map(|it| keys.iter().map(|&key| (key.to_owned(), it[key].clone())).collect()).collect();
        assert_eq!(found, expected, "{run}");
        run
    }
}

/// What the report says of the first member's tables.
pub fn image_errors(run: &Output) -> Vec<Value> {
    run.json()["members"][0]["image-errors"].as_array().unwrap_or_else(|| panic!("no image-errors\n{run}")).clone()
}

/// One entry is named, in one of these tables, at this place of the file, with the guest's bytes that it costs.
fn blames(run: &Output, tables: &[&str], entry: Option<u64>, lost: &Range<u64>) {
    let errors = image_errors(run);
    assert_eq!(errors.len(), 1, "one fault is one error\n{run}");
    let error = &errors[0];
    assert!(tables.iter().any(|&table| error["table"] == table), "the table, one of {tables:?}\n{run}");
    if let Some(entry) = entry {
        assert_eq!(error["entry-offset"], entry, "{run}");
    }
    assert_eq!((&error["offset"], &error["length"]), (&json!(lost.start), &json!(lost.end - lost.start)), "{run}");
    assert!(error["error"].as_str().is_some_and(|text| text.len() > 5), "{run}");
}

const PLAIN: &str = "cluster_size=1k";

/// QEMU reads the range it is asked for, or it doesn't. (`qemu-io` ends with 1 where a read fails.)
fn qemu_reads(lab: &Lab, range: &Range<u64>) -> bool {
    let read = format!("read -q {} {}", range.start, range.end - range.start);
    lab.program("qemu-io").args(["-r", "-f", "qcow2", "-c", &read, "top.q"]).output().code() == Some(0)
}

/// Entries that point nowhere sensible, in both tables.
#[test]
fn entries_that_are_not_aligned() {
    if !have_qemu() {
        return;
    }
    // An L1 entry for 128 KiB, in the middle and at the end, where the disk ends first.
    for (guest, lost) in [(140_000, 128 * KIB..256 * KIB), (299_000, 256 * KIB..SIZE)] {
        let scene = Scene::of_noise(PLAIN);
        let layout = scene.layout();
        let at = layout.l1_entry(guest);
        scene.set(at, layout.number(at) | 0x200);
        blames(&scene.loses(&lost), &["l1"], Some(at), &lost);
        assert!(!qemu_reads(&scene.lab, &lost), "QEMU learned to read this: rewrite this test");
    }
    // An L2 entry is for one cluster.
    for (guest, lost) in [(140_000, 139_264..140_288), (SIZE - 1, 300_032..SIZE)] {
        let scene = Scene::of_noise(PLAIN);
        let layout = scene.layout();
        let at = layout.l2_entry(guest);
        scene.set(at, layout.number(at) | 0x200);
        blames(&scene.loses(&lost), &["l2"], Some(at), &lost);
        assert!(!qemu_reads(&scene.lab, &lost), "QEMU learned to read this: rewrite this test");
    }
}

/// Tables and clusters that would lie where the file has long ended.
#[test]
fn entries_that_point_beyond_the_end_of_the_file() {
    if !have_qemu() {
        return;
    }
    let copied = 1 << 63;
    for far in [16 << 20, 1 << 40, 0x00ff_ffff_ffff_fc00] {
        let scene = Scene::of_noise(PLAIN);
        let at = scene.layout().l1_entry(140_000);
        scene.set(at, far | copied);
        let lost = 128 * KIB..256 * KIB;
        blames(&scene.loses(&lost), &["l1"], Some(at), &lost);

        let scene = Scene::of_noise(PLAIN);
        let at = scene.layout().l2_entry(140_000);
        scene.set(at, far | copied);
        let lost = 139_264..140_288;
        blames(&scene.loses(&lost), &["l2", "data"], Some(at), &lost);
    }
}

/// A table that ends within the file's last bytes: the entries that are there still count.
#[test]
fn a_table_that_is_partly_there() {
    if !have_qemu() {
        return;
    }
    for (kept, lost) in
        [(1024 - 8, 255 * KIB..256 * KIB), (512, 192 * KIB..256 * KIB), (8, 129 * KIB..256 * KIB), (12, 129 * KIB..256 * KIB)]
    {
        let scene = Scene::of_noise(PLAIN);
        let layout = scene.layout();
        let table = scene.lab.read(&scene.image, layout.l2_table(140_000)..layout.l2_table(140_000) + 1024);
        let end = (scene.lab.bytes(&scene.image).len() as u64).div_ceil(1024) * 1024;
        scene.lab.set_length(&scene.image, end + kept);
        scene.lab.write(&scene.image, end, &table[..usize::try_from(kept).expect("small")]);
        scene.set(layout.l1_entry(140_000), end | 1 << 63);
        let run = scene.loses(&lost);
        let errors = image_errors(&run);
        let sum: u64 = errors.iter().map(|error| error["length"].as_u64().expect("bytes")).sum();
        assert_eq!((&errors[0]["offset"], sum), (&json!(lost.start), lost.end - lost.start), "{run}");
    }
}

/// QEMU shows zeros where the file has ended; nobody knows what was there, and nothing is what we say.
#[test]
fn data_beyond_the_end_of_the_file() {
    if !have_qemu() {
        return;
    }
    // The file ends within the last cluster that it holds: at a sector's end, and within one, which is then lost too.
    for (cut, kept) in [(512, 512), (600, 0), (1, 512), (1023, 0), (1024, 0)] {
        let scene = Scene::of_noise(PLAIN);
        let layout = scene.layout();
        let from = layout.data(139_264);
        let cluster = scene.lab.read(&scene.image, from..from + 1024);
        let end = (scene.lab.bytes(&scene.image).len() as u64).div_ceil(1024) * 1024;
        scene.lab.set_length(&scene.image, end + 1024);
        scene.lab.write(&scene.image, end, &cluster);
        scene.set(layout.l2_entry(139_264), end | 1 << 63);
        scene.check().expect_code(1).says("its refcount is 0");
        scene.lab.set_length(&scene.image, end + 1024 - cut);
        let lost = 139_264 + kept..140_288;
        let run = scene.loses(&lost);
        assert_eq!(image_errors(&run)[0]["table"], "data", "{run}");
        assert!(qemu_reads(&scene.lab, &lost), "QEMU learned to say so: rewrite this test");
    }
}

/// The flag of a zero cluster where the format had none yet.
#[test]
fn a_zero_flag_in_version_2() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise("compat=v2,cluster_size=1k");
    let layout = scene.layout();
    let at = layout.l2_entry(140_000);
    scene.set(at, layout.number(at) | 1);
    let lost = 139_264..140_288;
    blames(&scene.loses(&lost), &["l2"], Some(at), &lost);
    assert!(!qemu_reads(&scene.lab, &lost), "QEMU learned to read this: rewrite this test");
}

/// A subcluster can't be there and be zero at once.
#[test]
fn a_subcluster_that_is_both() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise("extended_l2=on,cluster_size=16k");
    let layout = scene.layout();
    let at = layout.l2_entry(140_000);
    scene.set(at + 8, 0x0000_0001_ffff_ffff);
    let lost = 128 * KIB..144 * KIB;
    let run = scene.loses(&lost);
    let errors = image_errors(&run);
    assert_eq!(errors.len(), 1, "{run}");
    let entry = errors[0]["entry-offset"].as_u64();
    assert!(entry == Some(at) || entry == Some(at + 8), "the entry at {at}, or its bitmap\n{run}");
    assert!(!qemu_reads(&scene.lab, &lost), "QEMU learned to read this: rewrite this test");
}

/// Garbage, a byte that flipped, a stream that stops: whatever doesn't inflate to a whole cluster is lost, and only that.
#[test]
fn compressed_clusters_that_do_not_inflate() {
    if !have_qemu() {
        return;
    }
    for options in ["cluster_size=4k,compression_type=zlib", "cluster_size=4k,compression_type=zstd"] {
        for (from, length) in [(0, 40), (2, 1), (300, 200)] {
            let scene = Scene::compressed(options);
            let (at, _) = scene.layout().compressed(140_000);
            scene.lab.write(&scene.image, at + from, &vec![0xff; length]);
            let lost = 136 * KIB..140 * KIB;
            // Both streams may inflate to other bytes; then QEMU reads those, and so do we.
            if qemu_reads(&scene.lab, &lost) {
                scene.is_outvoted();
                continue;
            }
            let run = scene.loses(&lost);
            assert_eq!(image_errors(&run).len(), 1, "{run}");
            assert_eq!(image_errors(&run)[0]["offset"], lost.start, "{run}");
        }
    }
}

/// An entry of a compressed cluster that leads beyond the end of the file, or to a place within it where nothing is compressed.
#[test]
fn compressed_entries_that_lead_astray() {
    if !have_qemu() {
        return;
    }
    for compression in ["zlib", "zstd"] {
        for target in [64 << 20, 0, 4096] {
            let scene = Scene::compressed(&format!("cluster_size=4k,compression_type={compression}"));
            scene.set(scene.layout().l2_entry(140_000), 1 << 62 | target);
            scene.loses(&(136 * KIB..140 * KIB));
        }
    }
}

/// The file is cut within the last compressed cluster.
#[test]
fn a_compressed_cluster_that_is_cut_off() {
    if !have_qemu() {
        return;
    }
    for compression in ["zlib", "zstd"] {
        let scene = Scene::compressed(&format!("cluster_size=4k,compression_type={compression}"));
        let layout = scene.layout();
        let clusters = SIZE.div_ceil(4096);
        let last = (0..clusters).max_by_key(|cluster| layout.compressed(cluster * 4096).0).expect("clusters") * 4096;
        scene.lab.set_length(&scene.image, layout.compressed(last).0 + 100);
        scene.loses(&(last..(last + 4096).min(SIZE)));
    }
}

/// Many faults: a hundred are listed, the rest is counted, and people are shown ten.
#[test]
fn many_faults_are_counted() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise(PLAIN);
    let layout = scene.layout();
    for guest in (0..140).map(|index| index * 2048) {
        scene.set(layout.l2_entry(guest), layout.number(layout.l2_entry(guest)) | 0x200);
    }
    let run = scene.is_outvoted();
    let member = &run.json()["members"][0];
    assert_eq!(member["unreadable-sectors"], 280, "{run}");
    assert_eq!(member["image-errors"].as_array().map(Vec::len), Some(100), "{run}");
    assert_eq!(member["image-errors-omitted"], 40, "{run}");
    let text = scene.lab.quorum_img(["check"]).args(Scene::members()).exits(1).stdout();
    let told = text.lines().filter(|line| line.to_lowercase().contains("l2")).count();
    assert!((1..=12).contains(&told), "at most ten lines, not {told}: {text}");
}

/// People are told the range, in hexadecimal.
#[test]
fn people_are_told_the_range() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise(PLAIN);
    let layout = scene.layout();
    scene.set(layout.l2_entry(140_000), layout.number(layout.l2_entry(140_000)) | 0x200);
    let run = scene.lab.quorum_img(["check"]).args(Scene::members()).exits(1);
    run.says("0x22000").says("top.q");
}

/// Reserved bits are nobody's business: QEMU doesn't look at them, and neither do we.
#[test]
fn reserved_bits_are_ignored() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise(PLAIN);
    let layout = scene.layout();
    let (l1, l2) = (layout.l1_entry(140_000), layout.l2_entry(140_000));
    scene.set(l1, layout.number(l1) | 0x7f00_0000_0000_01ff);
    scene.set(l2, layout.number(l2) | 0x3f00_0000_0000_01fe);
    assert!(qemu_reads(&scene.lab, &(139_264..140_288)), "QEMU learned to look at them: rewrite this test");
    // The disk is read as QEMU reads it; that whoever writes might take them for something is told.
    let run = scene.check().expect_code(1);
    assert_eq!(run.json()["sectors"]["decided"], 0, "{run}");
    run.says("bits set that must be 0");
}

/// Three images, each damaged elsewhere, rebuild the disk together.
#[test]
fn three_damaged_images_make_a_whole_one() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise(PLAIN);
    let copy = |name: &str, guest: u64| -> String {
        let path = scene.lab.file(name, scene.lab.bytes(&scene.image));
        let layout = Layout::of(&scene.lab, &path);
        scene.lab.write(&path, layout.l2_entry(guest), &[0xff; 80]);
        format!("qcow2:{name}")
    };
    let members = [copy("a.q", 10_000), copy("b.q", 100_000), copy("c.q", 200_000)];
    scene.lab.quorum_img(["check"]).args(&members).exits(1);
    scene.lab.quorum_img(["repair", "-o", "out.img"]).args(&members).exits(0);
    assert!(scene.lab.bytes(&scene.lab.path("out.img")) == scene.good);
}

/// A discarded cluster reads as zeros, and those are an answer like any other.
#[test]
fn an_image_that_lost_a_write_dissents() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::of_noise(PLAIN);
    qemu_io(&scene.lab, "qcow2", "top.q", ["discard -q 64k 8k"]);
    let run = scene.is_outvoted();
    assert_eq!(run.json()["members"][0]["dissenting-sectors"], 16, "{run}");
    assert_eq!(run.json()["members"][0].get("image-errors"), None, "{run}");
}

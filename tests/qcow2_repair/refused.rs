//! Images that must not be written to: refused before anything is written to any member, with words that say what to do.

use super::{
    assert_equal, assert_guest, have_qemu,
    layout::{Layout, be64},
    qemu_img, refuses,
    set::Set,
    support::{Lab, Output, Run},
    words,
};

/// The image between two others that need work, too: `a.raw` is damaged, and must stay so.
struct Three {
    set: Set,
    damaged_raw: Vec<u8>,
}

impl Three {
    fn new(lines: &[&str]) -> Self {
        Self::of(Set::new(lines))
    }

    fn of(set: Set) -> Self {
        set.lab.damage(&set.lab.path("a.raw"), 700_416..700_928);
        let damaged_raw = set.lab.bytes(&set.lab.path("a.raw"));
        Self { set, damaged_raw }
    }

    /// Another byte or more of the image's file.
    fn patched(mut self, at: u64, bytes: &[u8]) -> Self {
        self.set.lab.write(&self.set.bad(), at, bytes);
        self.set.damaged = self.set.lab.bytes(&self.set.bad());
        self
    }

    fn repair(&self) -> Run {
        self.set.repair()
    }

    /// Refused, with these words, and the other members are repaired where this one only votes.
    fn is_refused(&self, says: &[&str]) -> Output {
        let lab = &self.set.lab;
        let refusal = refuses(lab, self.repair(), 3, says);
        refusal.complains("bad.q").complains("hint:");
        refuses(lab, self.repair().arg("--dry-run"), 3, says);
        for force in ["stale", "newer", "minority", "overwrite", "changed"] {
            refuses(lab, self.repair().args(["--force", force]), 3, says);
        }
        let run = self.repair().args(["--no-write", "qcow2:bad.q"]).exits(1);
        self.set.assert_as_before(&run);
        assert_equal("a.raw", &lab.bytes(&lab.path("a.raw")), &self.set.good, &run);
        let run = self.set.undo().exits(0);
        assert_equal("a.raw", &lab.bytes(&lab.path("a.raw")), &self.damaged_raw, &run);
        self.set.assert_as_before(&run);
        refusal
    }
}

/// Each of its L2 tables is for half a MiB.
const PLAIN: &str = "img convert -f raw -O qcow2 -o cluster_size=2k was.raw bad.q";

#[test]
fn the_corrupt_bit() {
    if !have_qemu() {
        return;
    }
    let three = Three::new(&[PLAIN]).patched(79, &[2]);
    three.is_refused(&["corrupt", "repair -o"]);
    // The way out.
    let lab = &three.set.lab;
    let run = lab.quorum_img(words("repair -O qcow2 -o new.q raw:a.raw qcow2:bad.q raw:c.raw")).output();
    if run.code() == Some(0) {
        super::assert_image(lab, "new.q", &three.set.good, &run);
    }
}

/// QEMU mends it, and then it can be rewritten.
#[test]
fn the_dirty_bit() {
    if !have_qemu() {
        return;
    }
    for options in ["-o lazy_refcounts=on", "-o cluster_size=512", "-c"] {
        let three = Three::new(&[&format!("img convert -f raw -O qcow2 {options} was.raw bad.q")]).patched(79, &[1]);
        three.is_refused(&["dirty", "qemu-img check -r all"]);
        let lab = &three.set.lab;
        std::fs::remove_file(three.set.journal()).expect("it is there");
        lab.program("qemu-img").args(words("check -q -r all -f qcow2 bad.q")).exits(0);
        let run = three.repair().args(words("--force newer")).exits(0);
        three.set.assert_repaired(&run);
    }
}

/// They tell which clusters have changed; whoever writes without telling them makes them lie.
#[test]
fn persistent_bitmaps() {
    if !have_qemu() {
        return;
    }
    let lines = [PLAIN, "img bitmap --add bad.q one", "img bitmap --add -g 32k bad.q two", "noise bad.q 700k 5000"];
    let three = Three::new(&lines);
    let refusal = three.is_refused(&["bitmaps", "--force bitmaps"]);
    assert!(!refusal.stderr().contains("repair -o"), "it isn't damaged\n{refusal}");
    std::fs::remove_file(three.set.journal()).expect("it is there");

    let run = three.repair().args(words("--force bitmaps,newer")).exits(0);
    assert_guest(&three.set.lab, "bad.q", &three.set.good, &run);
    // No bitmap is left that says it were right. What they took is lost until somebody looks for it.
    let bitmaps = super::image_info(&three.set.lab, "bad.q")["format-specific"]["data"]["bitmaps"].clone();
    assert!(bitmaps.as_array().is_none_or(Vec::is_empty), "{bitmaps}\n{run}");
    let check = three.set.lab.program("qemu-img").args(words("check -f qcow2 bad.q")).output();
    assert!(matches!(check.code(), Some(0 | 3)), "errors, not just leaks\n{check}\n{run}");
    let run = three.set.undo().exits(0);
    three.set.assert_as_before(&run);
    qemu_img(&three.set.lab, "check -q -f qcow2 bad.q");
    let bitmaps = super::image_info(&three.set.lab, "bad.q")["format-specific"]["data"]["bitmaps"].clone();
    assert_eq!(bitmaps.as_array().map(Vec::len), Some(2), "undo brings them back\n{run}");
}

/// Even where nothing but own clusters would be rewritten.
#[test]
fn persistent_bitmaps_of_images_whose_own_clusters_are_wrong() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("good.raw", super::some_disk(11, super::set::SIZE));
    qemu_img(&lab, "convert -f raw -O qcow2 good.raw bad.q");
    qemu_img(&lab, "bitmap --add bad.q one");
    let at = Layout::of(&lab, &lab.path("bad.q")).data(0);
    lab.damage(&lab.path("bad.q"), at..at + 512);
    let good = lab.bytes(&lab.path("good.raw"));
    let set = Set::with(lab, good);
    refuses(&set.lab, set.repair(), 3, &["--force bitmaps"]);
    let run = set.repair().args(words("--force bitmaps")).exits(0);
    assert_guest(&set.lab, "bad.q", &set.good, &run);
    let info = super::image_info(&set.lab, "bad.q")["format-specific"]["data"]["bitmaps"].clone();
    let stale = info.as_array().into_iter().flatten().any(|bitmap| !bitmap["flags"].to_string().contains("in-use"));
    assert!(!stale, "a bitmap says that it were right: {info}\n{run}");
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// An entry that leads astray, in a table of the active state: found while the vote goes on, or before anything is written.
#[test]
fn tables_that_are_damaged() {
    if !have_qemu() {
        return;
    }
    let scene = || Three::new(&[PLAIN]);
    let set = scene();
    let layout = Layout::of(&set.set.lab, &set.set.bad());
    let (l1, l2) = (layout.l1_entry(0), layout.l2_entry(0));
    let (l1_value, l2_value) = (layout.number(l1), layout.number(l2));
    let other = layout.number(layout.l2_entry(2048));
    for (what, at, value) in [
        ("an L1 entry that isn't aligned", l1, l1_value | 0x200),
        ("an L1 entry beyond the file", l1, l1_value | 1 << 40),
        ("an L1 entry with a reserved bit", l1, l1_value | 0x100),
        ("an L2 entry that isn't aligned", l2, l2_value | 0x200),
        ("an L2 entry with a reserved bit", l2, l2_value | 0x100),
        ("an L2 entry that forgot that its cluster is used once", l2, l2_value & !(1 << 63)),
        ("an L2 entry beyond the file", l2, l2_value | 1 << 40),
        ("an L2 entry that leads into the header", l2, 1 << 63),
        ("two guest clusters in one place", l2, other),
        ("a guest cluster in the L1 table's place", l2, 1 << 63 | layout.l1_table),
        ("a guest cluster in its own table's place", l2, 1 << 63 | layout.l2_table(0)),
        ("a compressed cluster of nothing", l2, 1 << 62 | 1 << 40),
    ] {
        let three = scene().patched(at, &value.to_be_bytes());
        let refusal = three.is_refused(&["repair -o"]);
        assert!(refusal.stderr().to_lowercase().contains("damaged"), "{what}\n{refusal}");
    }
}

/// Where the counts say that a place is free, a new cluster would be put on top of it. Where they are too high, nobody knows why.
#[test]
fn counts_that_are_wrong() {
    if !have_qemu() {
        return;
    }
    let scene = || Three::new(&["img convert -f raw -O qcow2 -o cluster_size=4k,refcount_bits=16 was.raw bad.q"]);
    let set = scene();
    let layout = Layout::of(&set.set.lab, &set.set.bad());
    let table = layout.number(48);
    let block = layout.number(table);
    let count_of = |host: u64| block + host / 4096 * 2;
    for (what, at, value) in [
        ("a data cluster that is said to be free", count_of(layout.data(0)), 0u16),
        ("an L2 table that is said to be free", count_of(layout.l2_table(0)), 0),
        ("the L1 table that is said to be free", count_of(layout.l1_table), 0),
        ("the header that is said to be free", count_of(0), 0),
        ("the counts that are said to be free", count_of(block), 0),
        ("the counts' table that is said to be free", count_of(table), 0),
        ("a data cluster that is said to be used twice", count_of(layout.data(0)), 2),
    ] {
        let three = scene().patched(at, &value.to_be_bytes());
        let refusal = three.is_refused(&["repair -o"]);
        assert!(refusal.stderr().to_lowercase().contains("damaged"), "{what}\n{refusal}");
    }
    for (what, at, value) in
        [("no counts at all", 48, 0u64), ("counts beyond the file", table, 1 << 40), ("counts amid clusters", table, block | 0x200)]
    {
        let three = scene().patched(at, &value.to_be_bytes());
        let run = refuses(&three.set.lab, three.repair(), 3, &["bad.q"]);
        assert!(run.stderr().to_lowercase().contains("repair -o"), "{what}\n{run}");
    }
}

/// A snapshot's tables say who shares what: damaged, nobody knows.
#[test]
fn snapshots_that_are_damaged() {
    if !have_qemu() {
        return;
    }
    let three = Three::new(&[PLAIN, "img snapshot -c s1 bad.q", "noise bad.q 100k 5000"]);
    let bytes = three.set.damaged.clone();
    let table = be64(&bytes, 64);
    let l1 = be64(&bytes, usize::try_from(table).expect("small"));
    // An entry that ends too early, too: its size is missing (offset 36 of it is the length of what tells that).
    for (at, value) in [(table, l1 | 1 << 40), (table, l1 | 0x200), (l1, 1 << 63 | 1 << 40), (64, table | 1 << 40), (table + 32, 0)] {
        let three = Three::of(Set::new(&[PLAIN, "img snapshot -c s1 bad.q", "noise bad.q 100k 5000"])).patched(at, &value.to_be_bytes());
        let run = refuses(&three.set.lab, three.repair(), 3, &["bad.q", "hint:"]);
        assert!(run.stderr().contains("repair -o"), "{run}");
    }
}

/// Compressed clusters that don't inflate, and data that isn't there.
#[test]
fn data_that_is_damaged() {
    if !have_qemu() {
        return;
    }
    let convert = "img convert -c -f raw -O qcow2 was.raw bad.q";
    let set = Three::new(&[convert]);
    let layout = Layout::of(&set.set.lab, &set.set.bad());
    let text =
        (0..super::set::SIZE).step_by(65_536).find(|&at| layout.number(layout.l2_entry(at)) >> 62 & 1 == 1).expect("a compressed cluster");
    let (at, _) = layout.compressed(text);
    Three::new(&[convert]).patched(at, &[0xff; 64]).is_refused(&["repair -o"]);

    let mut three = Three::new(&[PLAIN]);
    let length = three.set.damaged.len() as u64;
    three.set.lab.set_length(&three.set.bad(), length - 8192);
    three.set.damaged = three.set.lab.bytes(&three.set.bad());
    three.is_refused(&["repair -o"]);
}

/// What the library can't write to.
#[test]
fn kinds_that_get_no_new_clusters() {
    if !have_qemu() {
        return;
    }
    for (options, word) in [("compression_type=zstd", "zstd"), ("extended_l2=on", "extended")] {
        for compress in ["", "-c"] {
            let three = Three::new(&[&format!("img convert {compress} -f raw -O qcow2 -o {options} was.raw bad.q")]);
            three.is_refused(&[word, "repair -o"]);
        }
    }
}

/// A failed member is never written to, and the others are repaired without it.
#[test]
fn members_that_failed() {
    if !have_qemu() {
        return;
    }
    for (at, bytes) in [(0, &b"X"[..]), (4, &[0, 0, 0, 9]), (20, &[0, 0, 0, 40]), (40, &[0xff; 8])] {
        let three = Three::new(&[PLAIN]).patched(at, bytes);
        let lab = &three.set.lab;
        lab.file("d.raw", &three.set.good);
        let run = three.repair().arg("raw:d.raw").args(words("--threshold 2 --force minority")).exits(3);
        assert_eq!(run.json()["members"][1]["status"], "failed", "{run}");
        assert_equal("a.raw", &lab.bytes(&lab.path("a.raw")), &three.set.good, &run);
        three.set.assert_as_before(&run);
    }
}

/// The active state is what is repaired.
#[test]
fn snapshots_are_not_repaired() {
    if !have_qemu() {
        return;
    }
    let three = Three::new(&[PLAIN, "img snapshot -c s1 bad.q"]);
    refuses(&three.set.lab, three.repair().args(["--snapshot", "s1"]), 3, &["--snapshot"]);
    refuses(&three.set.lab, three.repair().args(["--snapshot", "s1", "--dry-run"]), 3, &["--snapshot"]);
}

/// What needs new clusters needs the journal, too, or it is refused: in the middle of that nobody could mend it.
#[test]
fn without_a_journal_no_new_clusters() {
    if !have_qemu() {
        return;
    }
    let three = Three::new(&[PLAIN]);
    refuses(&three.set.lab, three.repair().arg("--no-journal"), 3, &["bad.q", "--no-journal"]);
}

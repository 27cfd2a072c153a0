//! What decides the bytes decides them for a new qcow2 image as for a raw one: the raw output of the same options is the oracle.

use serde_json::Value;

use super::{
    assert_image, have_qemu,
    output::Copies,
    refuses,
    support::{noise, sectors, sha256},
    words,
};

/// A sector that nobody wins, amid data: the bytes at 56320..56832. Another one amid zeros would be, at 25600..26112.
const UNDECIDED: [std::ops::Range<u64>; 2] = [56_320..56_832, 25_600..26_112];

fn undecided() -> Copies {
    let set = Copies::new();
    for name in ["a.raw", "b.raw", "c.raw"] {
        for range in UNDECIDED {
            set.lab.damage(&set.lab.path(name), range);
        }
    }
    set
}

/// Writes the same to a raw and to a qcow2 file: same exit code, same bytes, the same said of it. Both reports.
fn alike(set: &Copies, options: &str, code: i32) -> [Value; 2] {
    alike_with(set, options, "", code)
}

/// The same with more options for the qcow2 file.
fn alike_with(set: &Copies, options: &str, qcow2_options: &str, code: i32) -> [Value; 2] {
    let lab = &set.lab;
    let line = "repair --force overwrite --output json a.raw b.raw c.raw";
    let raw = lab.quorum_img(words(line)).args(words("-O raw -o out.raw")).args(words(options)).exits(code);
    let qcow2 = lab.quorum_img(words(line)).args(words("-O qcow2 -o out.q")).args(words(options)).args(words(qcow2_options)).exits(code);
    assert_image(lab, "out.q", &super::whole_sectors(lab.bytes(&lab.path("out.raw"))), &qcow2);
    let reports = [raw.json(), qcow2.json()];
    for key in ["sectors", "divergences", "verdict", "exit-code", "size", "range"] {
        assert_eq!(reports[0].get(key), reports[1].get(key), "{key}\n{qcow2}");
    }
    for key in ["filled", "filled-sectors", "unfilled-sectors", "composed-blocks", "verified", "written"] {
        assert_eq!(reports[0]["repair"].get(key), reports[1]["repair"].get(key), "{key}\n{qcow2}");
    }
    assert_eq!(reports[1]["repair"]["format"], "qcow2", "{qcow2}");
    reports
}

#[test]
fn undecided_sectors_are_filled_as_in_a_raw_image() {
    if !have_qemu() {
        return;
    }
    let set = undecided();
    for how in ["first", "zero", "marker"] {
        let [_, report] = alike(&set, &format!("--undecided {how}"), 2);
        assert_eq!(report["repair"]["filled-sectors"], 2, "{report}");
    }
    for more in ["-c", "-c --output-options compression_type=zstd,cluster_size=512", "-j 1 -S 0", "--output-options cluster_size=2M"] {
        alike_with(&set, "--undecided marker", more, 2);
    }
}

/// A vote on each byte: damage at other bytes of one sector.
#[test]
fn bytes_vote_where_sectors_do_not() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    for (name, at) in [("a.raw", 56_323), ("b.raw", 56_400), ("c.raw", 56_800)] {
        set.lab.flip_bit(&set.lab.path(name), at);
    }
    let [_, report] = alike(&set, "--undecided bytes", 2);
    assert_eq!(report["repair"]["composed-blocks"], 1, "{report}");
    let run = set.lab.quorum_img(words("check -f raw original.raw out.raw")).exits(0);
    assert_image(&set.lab, "out.q", &set.original, &run);
}

/// Nobody knows: no image.
#[test]
fn nothing_appears_where_a_sector_stays_undecided() {
    let set = undecided();
    refuses(&set.lab, set.repair(), 2, &["out.q"]);
    refuses(&set.lab, set.repair().arg("-c"), 2, &["--undecided"]);
    refuses(&set.lab, set.repair().args(["--undecided", "bytes"]), 2, &[]);
}

#[test]
fn people_and_ranges_decide() {
    if !have_qemu() {
        return;
    }
    let set = undecided();
    let [_, report] = alike(&set, "--pick 56320:512=#1 --pick 25600:512=c.raw", 0);
    assert_eq!(report["exit-code"], 0);
    alike(&set, "--pick 56320:512=#1 --undecided zero", 2);
    alike(&set, "--range 55k:1k --undecided first", 2);
    alike(&set, "--trust b.raw", 0);
    alike(&set, "--threshold 2 --sector-size 4096 --undecided first", 2);
    alike(&set, "--no-verify --undecided first", 2);
    alike(&set, "--read-pattern fifo", 0);
}

/// What lies outside of the range counts as undecided where it differs.
#[test]
fn a_range_that_leaves_damage_out() {
    let set = Copies::new();
    refuses(&set.lab, set.repair().args(["--range", "0:64k"]), 2, &[]);
    let run = set.repair().args(["--range", "0:64k", "--no-verify", "--undecided", "first"]).exits(2);
    assert_eq!(run.json()["repair"]["verified"], false, "{run}");
}

#[test]
fn a_report_says_what_to_look_at() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    set.lab.quorum_img(words("check --report all.json a.raw b.raw c.raw")).exits(1);
    alike(&set, "--from all.json", 0);
    let run = set.repair().args(words("--force overwrite --from all.json -c")).exits(0);
    set.assert_restored(&run);
}

/// The digest is of what a guest sees, not of the file.
#[test]
fn the_digest_is_of_what_a_guest_sees() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    let right = sha256(&set.original);
    for options in ["", "-c", "--no-verify", "-c --output-options compat=v2,cluster_size=1k"] {
        let run = set.repair().args(words(options)).args(["--force", "overwrite", "--expect-sha256", &right]).exits(0);
        set.assert_restored(&run);
    }
    std::fs::remove_file(set.lab.path("out.q")).expect("it is there");
    let before = set.lab.listing();
    let run = set.repair().args(["--expect-sha256", &sha256(b"something else")]).output();
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    run.complains(&right);
    assert_eq!(set.lab.listing(), before, "{run}");
}

/// A digest proves the fills.
#[test]
fn a_digest_proves_a_composed_sector() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    for (name, at) in [("a.raw", 56_323), ("b.raw", 56_400), ("c.raw", 56_800)] {
        set.lab.flip_bit(&set.lab.path(name), at);
    }
    let run = set.repair().args(["--undecided", "bytes", "--expect-sha256", &sha256(&set.original)]).exits(0);
    set.assert_restored(&run);
}

/// A surplus, and an end that is voted on.
#[test]
fn lengths_are_voted_on() {
    if !have_qemu() {
        return;
    }
    let set = Copies::new();
    let longer = set.original.len() as u64 + 4096;
    set.lab.set_length(&set.lab.path("b.raw"), longer);
    let run = set.repair().exits(0);
    set.assert_restored(&run);
    // Data that would be cut off: the user says so.
    set.lab.write(&set.lab.path("b.raw"), longer - 100, &noise(8, 100));
    refuses(&set.lab, set.repair().args(["--force", "overwrite"]), 2, &["--size", "b.raw"]);
    // Two ends: the user says which.
    set.lab.set_length(&set.lab.path("c.raw"), longer + 512);
    refuses(&set.lab, set.repair().args(["--force", "overwrite"]), 2, &["--size"]);
    let size = set.original.len().to_string();
    let run = set.repair().args(["--force", "overwrite", "--size", &size]).exits(0);
    set.assert_restored(&run);
}

/// Many sectors, each with its own bad member.
#[test]
fn scattered_damage_is_voted_out() {
    if !have_qemu() {
        return;
    }
    for options in ["", "-c -j 8", "-c -j 1", "--output-options cluster_size=512 -j 8"] {
        let set = Copies::new();
        for (index, sector) in (5..set.original.len() as u64 / 512).step_by(7).enumerate() {
            set.lab.damage(&set.lab.path(["a.raw", "b.raw", "c.raw"][index % 3]), sectors(sector..sector + 1 + index as u64 % 3));
        }
        let run = set.repair().args(words("--force zeros")).args(words(options)).output();
        // Damage of two members next to each other never meets in one sector.
        set.assert_restored(&run.expect_code(0));
    }
}

//! `check --shard` and `report --merge`: whatever the split, the merged report is that of the whole but for its times.

#[path = "support/mod.rs"]
mod support;

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf};

use serde_json::Value;
use support::{Lab, MIB, SECTOR, needs, noise};

const END: u64 = 9 * MIB - 5 * SECTOR;

/// A report without what depends on the clock.
fn timeless(mut report: Value) -> Value {
    for key in ["started", "finished", "duration", "rate"] {
        assert!(report.as_object_mut().expect("a report").remove(key).is_some(), "{key} is missing");
    }
    report
}

/// Checks the parts, merges them, and holds that against the check of the whole, for people and for programs.
fn holds(lab: &Lab, options: &[&str], members: &[&str]) -> Value {
    let whole = |format: &str| lab.quorum_img(["check", "--output", format]).args(options).args(members).output();
    let (for_people, for_programs) = (whole("human"), whole("json"));
    assert!(for_programs.code() < Some(3) || options.contains(&"--missing-ok"), "{for_programs}");
    let expected = timeless(for_programs.json());
    for count in [1, 2, 7] {
        let mut names = Vec::new();
        for part in 0..count {
            let (shard, name) = (format!("{part}/{count}"), format!("part-{part}-of-{count}.json"));
            let run = lab.quorum_img(["check", "-qq", "--shard", &shard, "--report", &name]).args(options).args(members).output();
            assert!(run.code() < Some(3), "{run}");
            names.push(name);
        }
        // Their order is no matter, nor is one that is there twice.
        names.reverse();
        names.push(names[0].clone());
        let merged = |format: &str| lab.quorum_img(["report", "--merge", "--output", format]).args(&names).output();
        let told = merged("json");
        assert_eq!(told.code(), for_programs.code(), "{for_programs}\n{told}");
        let told = timeless(told.json());
        for (key, value) in expected.as_object().expect("a report") {
            assert_eq!(told.get(key), Some(value), "{key}, in {count} parts, {options:?}");
        }
        assert_eq!(told, expected, "in {count} parts");
        // What else the files themselves could do isn't known without them.
        let said = |text: String| {
            text.lines().filter(|line| !line.starts_with("or: ")).collect::<Vec<_>>().join("\n").replace("--output human ", "")
        };
        assert_eq!(said(merged("human").stdout()), said(for_people.stdout()), "in {count} parts");
    }
    expected
}

/// Three copies of noise and zeros, damaged in every way and across the edges of parts.
fn damaged(lab: &Lab, seed: u64) {
    let mut disk = noise(seed, END as usize);
    disk[(3 * MIB) as usize..(3 * MIB + 700 * 1024) as usize].fill(0);
    let mut copies = [disk.clone(), disk.clone(), disk.clone()];
    let mut put = |copy: usize, at: u64, bytes: &[u8]| copies[copy][at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    put(1, 5 * SECTOR, &[0; 512]);
    // Zeros over an edge, and noise that is long before it, and short.
    put(1, 2 * MIB - 4096, &vec![0; 40960]);
    put(2, 4 * MIB - 70_144, &noise(seed + 1, 140_288));
    put(2, 6 * MIB - 1024, &noise(seed + 2, 2048));
    for place in 0..40 {
        put(0, 7 * MIB + place * 4096, &[disk[(7 * MIB + place * 4096) as usize] ^ 4]);
    }
    // A text whose end isn't the part's, and below flipped bits on more than is looked at.
    put(2, MIB - 512, &b"sevenAB".repeat(20_000)[..512 + 70_144]);
    put(0, 5 * MIB - 1, &[disk[(5 * MIB - 1) as usize] ^ 1]);
    put(0, 5 * MIB, &[disk[(5 * MIB) as usize] ^ 8]);
    // Nobody wins there.
    put(0, 8 * MIB - 512, &[1; 1024]);
    put(1, 8 * MIB - 512, &[2; 1024]);
    let (edge, copy) = ((6 * MIB) as usize, 1);
    for sector in (edge - 2048..edge + 80 * 1024).step_by(512) {
        copies[copy][sector + 5] ^= 2;
    }
    for (name, copy) in ["a.img", "b.img", "c.img"].iter().zip(&copies) {
        lab.file(name, copy);
    }
}

#[test]
fn parts_make_the_whole() {
    let lab = Lab::new();
    for seed in [1, 2] {
        damaged(&lab, seed);
        let report = holds(&lab, &[], &["a.img", "b.img", "c.img"]);
        assert_eq!((&report["exit-code"], &report["next"][1]), (&2.into(), &"show".into()), "{report}");
    }
    holds(&lab, &["--threshold", "3"], &["a.img", "b.img", "c.img"]);
    holds(&lab, &["--sector-size", "4096", "--diagnose", "never"], &["a.img", "b.img", "c.img"]);
    holds(&lab, &["--trust", "#1"], &["a.img", "b.img", "c.img"]);
    holds(&lab, &["--max-damage", "0.01"], &["a.img", "b.img", "c.img"]);
    holds(&lab, &["--read-pattern", "fifo"], &["a.img", "b.img", "c.img"]);
    holds(&lab, &["--filler", "0x01"], &["a.img", "b.img", "c.img"]);
}

#[test]
fn so_they_do_where_all_agree() {
    let lab = Lab::new();
    let disk = noise(5, END as usize);
    for name in ["a.img", "b.img"] {
        lab.file(name, &disk);
    }
    let report = holds(&lab, &[], &["a.img", "b.img"]);
    assert_eq!(report["exit-code"], 0);
    // An image that is smaller than a part: most parts are empty.
    for name in ["a.img", "b.img"] {
        lab.file(name, &disk[..3 * 512]);
    }
    holds(&lab, &[], &["a.img", "b.img"]);
}

/// Guards weigh what all parts together lose: none of them alone may be enough for one to stand.
#[test]
fn guards_weigh_all_parts() {
    let lab = Lab::new();
    let disk = noise(6, END as usize);
    let mut other = disk.clone();
    // 80 KiB of content in all become zeros, 10 KiB in each part.
    for part in 0..8 {
        other[(part * MIB) as usize..(part * MIB) as usize + 10240].fill(0);
    }
    lab.file("a.img", &disk);
    lab.file("b.img", &other);
    lab.file("c.img", &other);
    let report = holds(&lab, &[], &["a.img", "b.img", "c.img"]);
    assert_eq!(report["guards"][0]["word"], "zeros", "{report}");
    // One that is empty, one that is stale, and one that is older by its ext4.
    lab.file("b.img", vec![0; END as usize]);
    lab.file("c.img", vec![0; END as usize]);
    let report = holds(&lab, &[], &["a.img", "b.img", "c.img"]);
    assert!(report["guards"].as_array().is_some_and(|guards| guards.iter().any(|guard| guard["word"] == "empty")), "{report}");
    let (new, old) = (support::disks::bytes("ext4-new"), support::disks::bytes("ext4-old"));
    for (name, bytes) in [("a.img", &new), ("b.img", &old), ("c.img", &old)] {
        lab.file(name, bytes);
    }
    let report = holds(&lab, &[], &["a.img", "b.img", "c.img"]);
    assert!(report["guards"].as_array().is_some_and(|guards| guards.iter().any(|guard| guard["word"] == "newer")), "{report}");
}

#[test]
fn sizes_that_differ_are_told_as_of_the_whole() {
    let lab = Lab::new();
    let disk = noise(7, END as usize);
    let mut longer = disk.clone();
    longer.extend(vec![0; MIB as usize]);
    longer.extend(noise(8, 3 * MIB as usize));
    lab.file("a.img", &disk);
    lab.file("b.img", &longer);
    lab.file("c.img", &disk);
    let report = holds(&lab, &[], &["a.img", "b.img", "c.img"]);
    assert!(report["guards"].as_array().is_some_and(|guards| guards.iter().any(|guard| guard["word"] == "cuts")), "{report}");
    lab.file("c.img", &disk[..8 * MIB as usize]);
    let report = holds(&lab, &[], &["a.img", "b.img", "c.img"]);
    assert_eq!(report["size-undecided"], true, "{report}");
    holds(&lab, &["--size", &END.to_string()], &["a.img", "b.img", "c.img"]);
}

#[test]
fn digests_are_heard_in_parts() {
    let lab = Lab::new();
    let disk = noise(9, END as usize);
    for name in ["a.img", "b.img", "c.img"] {
        lab.file(name, &disk);
    }
    lab.quorum_img(["digest", "-q", "-o", "d.qdg", "c.img"]).exits(0);
    let modified = fs::metadata(lab.path("a.img")).and_then(|there| there.modified()).expect("a time");
    let rot = |name: &str, at: u64| {
        let file = fs::File::options().write(true).open(lab.path(name)).expect("it opens");
        file.write_all_at(&[0xa5; 7], at).and_then(|()| file.set_modified(modified)).expect("it rots");
    };
    for place in 0..8 {
        rot("a.img", place * MIB + 1000);
        rot("b.img", place * MIB + 3000 + place * 512);
    }
    // Both alike, and the digest knows better.
    rot("a.img", 8 * MIB + 200_000);
    rot("b.img", 8 * MIB + 200_000);
    let report = holds(&lab, &[], &["a.img", "b.img", "d.qdg"]);
    assert_eq!((&report["swayed-sectors"], &report["witnesses"][0]["contradicted-chunks"]), (&16.into(), &1.into()), "{report}");
    // Lost in both, and a source has it.
    for (name, byte) in [("a.img", 1), ("b.img", 2)] {
        let file = fs::File::options().write(true).open(lab.path(name)).expect("it opens");
        file.write_all_at(&[byte; 9], 2 * MIB + 500_000).and_then(|()| file.set_modified(modified)).expect("it rots");
    }
    let report = holds(&lab, &["--donor", "c.img"], &["a.img", "b.img", "d.qdg"]);
    assert_eq!(report["donors"][0]["donated-sectors"], 1, "{report}");
    // Holes are chunks, too, be they skipped by the whole or looked at by a part.
    let lab = Lab::new();
    for name in ["a.img", "b.img"] {
        let path = lab.sparse(name, END);
        lab.write(&path, MIB, &noise(12, 2 * MIB as usize));
        lab.write(&path, 5 * MIB + 70_000, &noise(13, 300_000));
    }
    lab.quorum_img(["digest", "-q", "-o", "d.qdg", "a.img", "b.img"]).exits(0);
    let report = holds(&lab, &[], &["a.img", "b.img", "d.qdg"]);
    assert_eq!(report["witnesses"][0]["agreed-chunks"], END.div_ceil(65536), "{report}");
}

#[test]
fn images_of_every_kind_are_cut() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    damaged(&lab, 3);
    for name in ["a", "b", "c"] {
        let (from, to) = (format!("{name}.img"), format!("{name}.qcow2"));
        lab.program("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2", &from, &to]).exits(0);
    }
    holds(&lab, &["-f", "qcow2"], &["a.qcow2", "b.qcow2", "c.qcow2"]);
    holds(&lab, &["--missing-ok"], &["a.img", "raw:b.img", "gone.img", "qcow2:c.qcow2"]);
    // An entry of its tables that leads nowhere.
    let mut broken = fs::read(lab.path("b.qcow2")).expect("an image");
    let l1 = u64::from_be_bytes(broken[40..48].try_into().expect("eight bytes")) as usize;
    let l2 = (u64::from_be_bytes(broken[l1..l1 + 8].try_into().expect("eight bytes")) & 0x00ff_ffff_ffff_fe00) as usize;
    for entry in [3, 100] {
        broken[l2 + entry * 8..l2 + entry * 8 + 8].copy_from_slice(&(0x8000_0000_0000_0000u64 | 1 << 50).to_be_bytes());
    }
    lab.file("b.qcow2", &broken);
    holds(&lab, &["-f", "qcow2"], &["a.qcow2", "b.qcow2", "c.qcow2"]);
}

/// One part of the active state and one of a snapshot used to merge to what neither is.
#[test]
fn parts_of_other_states_make_no_whole() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    damaged(&lab, 5);
    let members = ["a.qcow2", "b.qcow2"];
    for name in ["a", "b"] {
        let (from, to) = (format!("{name}.img"), format!("{name}.qcow2"));
        lab.program("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2", &from, &to]).exits(0);
        lab.program("qemu-img").args(["snapshot", "-c", "s1", &to]).exits(0);
    }
    part(&lab, "0/2", "0.json", &["-f", "qcow2"], &members);
    part(&lab, "1/2", "1.json", &["-f", "qcow2", "--snapshot", "s1"], &members);
    lab.quorum_img(["report", "--merge", "0.json", "1.json"]).exits(3).complains("another snapshot");
    part(&lab, "1/2", "raw.json", &["-f", "raw"], &["raw:a.qcow2", "raw:b.qcow2"]);
    lab.quorum_img(["report", "--merge", "0.json", "raw.json"]).exits(3);
    part(&lab, "0/2", "0s.json", &["-f", "qcow2", "--snapshot", "s1"], &members);
    let code = lab.quorum_img(["check", "-qq", "-f", "qcow2", "--snapshot", "s1"]).args(members).output().code();
    assert_eq!(lab.quorum_img(["report", "--merge", "0s.json", "1.json"]).output().code(), code);
}

/// A repair goes by the merged list as by that of the whole.
#[test]
fn a_repair_goes_by_the_merged_list() {
    let lab = Lab::new();
    let disk = noise(10, END as usize);
    for (name, at) in [("a.img", 100), ("b.img", 4 * MIB + 77), ("c.img", 8 * MIB)] {
        let mut copy = disk.clone();
        copy[at as usize] ^= 1;
        lab.file(name, copy);
    }
    let parts = ["0/2", "1/2"].map(|shard| {
        let name = format!("{}.json", shard.replace('/', "-"));
        lab.quorum_img(["check", "-qq", "--shard", shard, "--report", &name, "a.img", "b.img", "c.img"]).output();
        name
    });
    let merged = lab.quorum_img(["report", "--merge", "--report", "all.json"]).args(&parts).exits(1);
    assert!(merged.stdout().contains("next: quorum-img repair --from all.json -o fixed.img a.img b.img c.img"), "{merged}");
    lab.quorum_img(["repair", "--from", "all.json", "-o", "fixed.img", "a.img", "b.img", "c.img"]).exits(0);
    lab.file("disk.img", &disk);
    lab.assert_same_bytes(&lab.path("fixed.img"), &lab.path("disk.img"));
    lab.quorum_img(["report", "all.json", "--html", "all.html"]).exits(0);
}

fn part(lab: &Lab, shard: &str, name: &str, options: &[&str], members: &[&str]) -> PathBuf {
    lab.quorum_img(["check", "-qq", "--shard", shard, "--report", name]).args(options).args(members).output();
    lab.path(name)
}

#[test]
fn what_makes_no_whole_is_refused() {
    let lab = Lab::new();
    let disk = noise(11, END as usize);
    for name in ["a.img", "b.img", "c.img"] {
        lab.file(name, &disk);
    }
    let members = ["a.img", "b.img"];
    part(&lab, "0/3", "0.json", &[], &members);
    part(&lab, "1/3", "1.json", &[], &members);
    part(&lab, "2/3", "2.json", &[], &members);
    let merge = |names: &[&str]| lab.quorum_img(["report", "--merge"]).args(names);
    merge(&["0.json", "1.json", "2.json"]).exits(0);
    merge(&["0.json", "2.json"]).exits(3).complains("1 of 3 parts are missing: 1/3").complains("check --shard 1/3");
    part(&lab, "1/2", "half.json", &[], &members);
    merge(&["0.json", "half.json"]).exits(3).complains("one of 3 parts").complains("one of 2");
    part(&lab, "1/3", "other.json", &[], &["a.img", "c.img"]);
    merge(&["0.json", "other.json", "2.json"]).exits(3).complains("member #1 (c.img) is another one");
    part(&lab, "1/3", "swapped.json", &[], &["b.img", "a.img"]);
    merge(&["0.json", "swapped.json", "2.json"]).exits(3).complains("is another one");
    for (options, name) in [(&["--sector-size", "4096"][..], "sector.json"), (&["--max-damage", "20"], "damage.json"), (&["-U"], "u.json")]
    {
        part(&lab, "1/3", name, options, &members);
        merge(&["0.json", name, "2.json"]).exits(3).complains("other options");
    }
    lab.quorum_img(["check", "-qq", "--report", "whole.json"]).args(members).exits(0);
    merge(&["0.json", "whole.json"]).exits(3).complains("whole.json: is no report of a part");
    merge(&["0.json", "a.img"]).exits(3).complains("is no report");
    lab.quorum_img(["report", "0.json", "1.json"]).exits(3).complains("--merge");
    lab.quorum_img(["report", "--merge", "--report", "0.json", "0.json", "1.json", "2.json"]).exits(3).complains("one of the parts");
    lab.quorum_img(["check", "--shard", "3/3"]).args(members).exits(3).complains("I from 0 to N-1");
    lab.quorum_img(["check", "--shard", "0/3", "--diagnose", "deep"]).args(members).exits(3).complains("deep");
    // Written to in between.
    lab.write(&lab.path("b.img"), 8 * MIB, b"a guest");
    part(&lab, "2/3", "later.json", &[], &members);
    merge(&["0.json", "1.json", "later.json"]).exits(3).complains("member #1 (b.img) was written to in between");
    // One in which a member was missing, and one that came to nothing.
    fs::rename(lab.path("b.img"), lab.path("away.img")).expect("renamed");
    part(&lab, "1/3", "missing.json", &["--missing-ok"], &members);
    merge(&["0.json", "missing.json", "2.json"]).exits(3).complains("could be read in one of the two");
    part(&lab, "1/3", "failed.json", &[], &members);
    merge(&["0.json", "failed.json", "2.json"]).exits(3).complains("word of a check that failed, with exit code 3");
    fs::rename(lab.path("away.img"), lab.path("b.img")).expect("renamed");
    // One part twice, of which one tells something else.
    let mut lying: Value = serde_json::from_slice(&fs::read(lab.path("1.json")).expect("a report")).expect("JSON");
    lying["divergences"] = serde_json::json!([{ "offset": 4 * MIB, "length": 512, "verdict": "undecided", "versions": [{ "members": [0] }, { "members": [1] }], "unreadable": [], "absent": [] }]);
    lab.file("lying.json", lying.to_string());
    merge(&["0.json", "1.json", "lying.json", "2.json"]).exits(3).complains("tell different things");
    // Two that list less than there is.
    let mut rotten = disk;
    (0..40).for_each(|place| rotten[place * 4096] ^= 1);
    lab.file("b.img", &rotten);
    let run = lab.quorum_img(["check", "--shard", "0/1", "--max-divergences", "5", "--output", "json"]).args(members).exits(2);
    lab.file("capped.json", run.stdout());
    merge(&["capped.json"]).exits(3).complains("doesn't list all divergences").complains("--report");
}

/// A report of a part may come from anywhere.
#[test]
fn hostile_parts_do_no_harm() {
    let lab = Lab::new();
    damaged(&lab, 4);
    let members = ["a.img", "b.img", "c.img"];
    let one = part(&lab, "0/1", "0.json", &[], &members);
    let good = fs::read_to_string(&one).expect("a report");
    let merged_with = |change: &dyn Fn(&mut Value)| {
        let mut report: Value = serde_json::from_str(&good).expect("JSON");
        change(&mut report);
        lab.file("bad.json", report.to_string());
        let run = lab.quorum_img(["report", "--merge", "bad.json"]).output();
        assert!(!run.stderr().contains("panicked"), "{run}");
        run
    };
    assert_eq!(merged_with(&|_| {}).code(), Some(2));
    let changes: [&dyn Fn(&mut Value); 12] = [
        &|report| report["divergences"][1]["offset"] = u64::MAX.into(),
        &|report| report["divergences"][1]["offset"] = (1u64 << 40).into(),
        &|report| report["divergences"][1]["versions"][0]["members"] = serde_json::json!([0, 0, 2]),
        &|report| report["divergences"][1]["versions"][0]["members"] = serde_json::json!([70]),
        &|report| report["shard"]["index"] = 7.into(),
        &|report| report["shard"]["count"] = u64::MAX.into(),
        &|report| report["shard"]["count"] = 0.into(),
        &|report| report["shard"]["facts"] = 7.into(),
        &|report| report["shard"]["facts"]["members"] = serde_json::json!([]),
        &|report| report["shard"]["facts"]["members"][0]["known"] = serde_json::json!({ "ids": [{ "kind": "new" }] }),
        &|report| report["sector-size"] = 0.into(),
        &|report| report["size"] = u64::MAX.into(),
    ];
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(merged_with(change).code(), Some(3), "{number}");
    }
    // Sums that can't be do no harm, and words with escape codes don't reach a terminal.
    let huge = merged_with(&|report| {
        for member in 0..3 {
            report["shard"]["facts"]["members"][member]["lost"]["content-held"] = u64::MAX.into();
            report["shard"]["facts"]["members"][member]["content-outside"] = u64::MAX.into();
        }
        report["duration"] = 1e308.into();
    });
    assert_eq!(huge.code(), Some(2), "{huge}");
    let coloured = merged_with(&|report| {
        let text = "\u{1b}[31mred\u{1b}]0;title\u{7}";
        report["shard"]["facts"]["warnings"] = serde_json::json!([text]);
        report["shard"]["facts"]["dependent"] = serde_json::json!([text]);
        report["shard"]["facts"]["options"] = serde_json::json!([text]);
        report["shard"]["facts"]["members"][0]["changed"] = text.into();
        report["shard"]["facts"]["members"][1]["name"] = serde_json::json!(text.as_bytes());
        report["shard"]["facts"]["members"][2]["failure"] = text.into();
    });
    assert!(!coloured.stderr().contains('\u{1b}') && !coloured.stdout().contains('\u{1b}'), "{coloured}");
    let mut state = 99u64;
    for _ in 0..100 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = b"0123456789\"{}[],:x"[(state >> 20) as usize % 18];
        }
        lab.file("bad.json", bytes);
        let run = lab.quorum_img(["report", "--merge", "bad.json"]).output();
        assert!(!run.stderr().contains("panicked"), "{run}");
    }
}

//! The images in `testdata/`: the report tells exactly the damage that their table lists, and the vote brings the original back.

mod support;

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};
use support::{Lab, SECTOR, needs, oracle::Question, sha256, testdata};

/// `README.md`: 2560 sectors.
const DISK_SECTORS: u64 = 2560;
/// The one sector that is bad in `a.img` and, in another way, in `d.img`.
const CONTESTED_SECTOR: u64 = 218;

/// What the table says of one sector of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Wrong,
    Missing,
}

/// `damage.tsv`: for each sector the members (numbered as in `images`) that are damaged there.
fn table(images: &[&str]) -> BTreeMap<u64, BTreeMap<usize, Damage>> {
    let text = fs::read_to_string(testdata("damage.tsv")).expect("the table of the damage");
    let mut sectors: BTreeMap<u64, BTreeMap<usize, Damage>> = BTreeMap::new();
    for line in text.lines() {
        let [image, offset, length, kind] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("not four columns: {line}") };
        let Some(member) = images.iter().position(|&name| name == image) else { continue };
        let (offset, length): (u64, u64) = (offset.parse().expect("an offset"), length.parse().expect("a length"));
        for sector in offset / SECTOR..(offset + length).div_ceil(SECTOR) {
            let damage = if kind == "truncated" { Damage::Missing } else { Damage::Wrong };
            sectors.entry(sector).or_default().insert(member, damage);
        }
    }
    sectors
}

/// The divergences that follow from the table: each damaged member has bytes of its own, all others hold the original.
fn expected(images: &[&str], threshold: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    let mut last_end = None;
    for (sector, damaged) in table(images) {
        let absent: Vec<usize> = damaged.iter().filter(|(_, damage)| **damage == Damage::Missing).map(|(&member, _)| member).collect();
        let good: Vec<usize> = (0..images.len()).filter(|member| !damaged.contains_key(member)).collect();
        let wrong = damaged.iter().filter(|(_, damage)| **damage == Damage::Wrong).map(|(&member, _)| vec![member]);
        let mut versions: Vec<Vec<usize>> = std::iter::once(good.clone()).chain(wrong).collect();
        versions.sort_by_key(|members| (usize::MAX - members.len(), members[0]));
        let tied = versions.get(1).is_some_and(|second| second.len() == good.len());
        let verdict = if good.len() >= threshold && !tied { "decided" } else { "undecided" };
        let versions: Vec<Value> = versions.iter().map(|members| json!({ "members": members })).collect();
        let this = json!({
            "offset": sector * SECTOR, "length": SECTOR, "verdict": verdict,
            "versions": versions, "unreadable": [], "absent": absent,
        });
        let alike = |last: &Value| ["verdict", "versions", "absent"].iter().all(|key| last[key] == this[key]);
        match found.last_mut() {
            Some(last) if last_end == Some(sector) && alike(last) => {
                last["length"] = json!(last["length"].as_u64().expect("a length") + SECTOR);
            }
            _ => found.push(this),
        }
        last_end = Some(sector + 1);
    }
    found
}

fn paths(images: &[&str]) -> Vec<PathBuf> {
    images.iter().map(|name| testdata(name)).collect()
}

fn check(lab: &Lab, images: &[&str], options: &[&str], code: i32) -> Value {
    lab.quorum_img(["check", "--output", "json"]).args(options).args(paths(images)).exits(code).json()
}

fn original_sha256() -> String {
    let text = fs::read_to_string(testdata("original.sha256")).expect("the checksum");
    text.split_whitespace().next().expect("a digest").to_owned()
}

#[test]
fn the_report_is_the_table() {
    let lab = Lab::new();
    let images = ["a.img", "b.img", "c.img"];
    let report = check(&lab, &images, &[], 1);
    assert_eq!(Question::relevant(&report)["divergences"], Value::Array(expected(&images, 2)));

    let table = table(&images);
    let damaged = table.len() as u64;
    let sectors = json!({ "total": DISK_SECTORS, "unanimous": DISK_SECTORS - damaged, "decided": damaged, "undecided": 0 });
    assert_eq!(report["sectors"], sectors);
    for member in 0..images.len() {
        let count = |wanted| table.values().filter(|damaged| damaged.get(&member) == Some(&wanted)).count();
        let told = &report["members"][member];
        assert_eq!(told["dissenting-sectors"], count(Damage::Wrong), "{told}");
        assert_eq!(told["absent-sectors"], count(Damage::Missing), "{told}");
        assert_eq!(told["whole"], false, "each copy has damage of its own: {told}");
    }
}

/// The order in which members are given changes their numbers and nothing else.
#[test]
fn the_report_is_the_table_in_any_order() {
    let lab = Lab::new();
    for images in [["c.img", "a.img", "b.img"], ["b.img", "c.img", "a.img"]] {
        let report = check(&lab, &images, &[], 1);
        assert_eq!(Question::relevant(&report)["divergences"], Value::Array(expected(&images, 2)));
    }
}

#[test]
fn the_vote_brings_the_original_back() {
    let lab = Lab::new();
    let before = paths(&["a.img", "b.img", "c.img"]).iter().map(|path| sha256(&lab.bytes(path))).collect::<Vec<_>>();
    lab.quorum_img(["repair", "-o", "fixed.img"]).args(paths(&["a.img", "b.img", "c.img"])).exits(0);
    assert_eq!(sha256(&lab.bytes(&lab.path("fixed.img"))), original_sha256());
    let after = paths(&["a.img", "b.img", "c.img"]).iter().map(|path| sha256(&lab.bytes(path))).collect::<Vec<_>>();
    assert_eq!(before, after, "repair -o writes nothing to members");
}

#[test]
fn the_original_is_proven_by_its_digest() {
    let lab = Lab::new();
    let digest = original_sha256();
    let repair = |name: &str, digest: &str| {
        lab.quorum_img(["repair", "-o", name, "--expect-sha256", digest]).args(paths(&["a.img", "b.img", "c.img"]))
    };
    repair("fixed.img", &digest).exits(0);
    let wrong = digest.chars().rev().collect::<String>();
    let output = repair("wrong.img", &wrong).output();
    assert!(matches!(output.code(), Some(2 | 3)), "the result isn't what was expected\n{output}");
    assert!(!lab.path("wrong.img").exists(), "no output under that name\n{output}");
}

/// "`a b d`: sector 218 has three different contents, so no vote decides it; it is the only such sector."
#[test]
fn exactly_one_sector_is_undecided_among_a_b_and_d() {
    let lab = Lab::new();
    let images = ["a.img", "b.img", "d.img"];
    let report = check(&lab, &images, &[], 2);
    assert_eq!(report["sectors"]["undecided"], 1);
    let found = Question::relevant(&report)["divergences"].clone();
    assert_eq!(found, Value::Array(expected(&images, 2)));
    let undecided: Vec<&Value> = found.as_array().into_iter().flatten().filter(|one| one["verdict"] == "undecided").collect();
    assert_eq!(undecided.len(), 1);
    assert_eq!((&undecided[0]["offset"], &undecided[0]["length"]), (&json!(CONTESTED_SECTOR * SECTOR), &json!(SECTOR)));

    let output = lab.quorum_img(["repair", "-o", "fixed.img"]).args(paths(&images)).exits(2);
    assert!(!lab.path("fixed.img").exists(), "no output where something is undecided\n{output}");
}

/// A person who knows better: `b.img` is right in that sector.
#[test]
fn a_pick_decides_what_the_vote_could_not() {
    let lab = Lab::new();
    let pick = format!("{}:{SECTOR}=#1", CONTESTED_SECTOR * SECTOR);
    let run = lab.quorum_img(["repair", "-o", "fixed.img", "--pick", &pick]);
    let output = run.args(paths(&["a.img", "b.img", "d.img"])).output();
    assert!(matches!(output.code(), Some(0)), "{output}");
    assert_eq!(sha256(&lab.bytes(&lab.path("fixed.img"))), original_sha256());
}

/// "`a b c d`: that sector has two equal copies, b and c, out of four": no majority, unless two are said to be enough.
#[test]
fn two_of_four_decide_where_two_are_enough() {
    let lab = Lab::new();
    let images = ["a.img", "b.img", "c.img", "d.img"];
    let by_majority = check(&lab, &images, &[], 2);
    assert_eq!(Question::relevant(&by_majority)["divergences"], Value::Array(expected(&images, 3)));
    assert_eq!(by_majority["sectors"]["undecided"], 1);
    let by_two = check(&lab, &images, &["--threshold", "2"], 2);
    assert_eq!(Question::relevant(&by_two)["divergences"], Value::Array(expected(&images, 2)));
    assert_eq!(by_two["sectors"]["undecided"], 0);
}

/// The script is the images' source: it makes the same bytes, byte for byte.
#[test]
fn the_script_makes_the_same_bytes() {
    if !["bash", "mke2fs", "debugfs", "sfdisk", "awk", "cmp"].iter().all(|tool| needs(tool)) {
        return;
    }
    let lab = Lab::new();
    let output = lab.program("bash").arg(testdata("make.sh")).arg("made").exits(0);
    if output.stderr().contains("other tool versions") {
        // Not for `skip`: no installation would mend it.
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED: this e2fsprogs lays files out in another way than the one that made testdata/");
        return;
    }
    for name in ["a.img", "b.img", "c.img", "d.img", "damage.tsv", "original.sha256"] {
        lab.assert_same_bytes(&lab.path("made").join(name), &testdata(name));
    }
}

/// The qcow2 images hold what the raw ones do, each in its own way; their vote brings the original back.
#[test]
fn the_qcow2_images_vote_as_the_raw_ones_do() {
    let lab = Lab::new();
    let images = ["a.qcow2", "b.qcow2", "c.qcow2"].map(testdata);
    let report = lab.quorum_img(["check", "--output", "json", "-f", "qcow2"]).args(&images).exits(1).json();
    assert_eq!((&report["sectors"]["decided"], &report["sectors"]["undecided"]), (&60.into(), &0.into()));
    let errors = report["members"][2]["image-errors"].as_array().expect("its table is damaged");
    assert_eq!(errors.len(), 1);
    assert_eq!((&errors[0]["offset"], &errors[0]["length"], &errors[0]["entry-offset"]), (&0xc8000.into(), &16384.into(), &0x10190.into()));
    let sum = fs::read_to_string(testdata("original.sha256")).expect("it ships");
    let digest = sum.split_whitespace().next().expect("a digest");
    lab.quorum_img(["repair", "-f", "qcow2", "--expect-sha256", digest, "-o", "fixed.img"]).args(&images).exits(0);
    // Raw and qcow2 in one vote.
    let mixed = [testdata("a.img"), testdata("b.img")].map(|path| format!("raw:{}", path.display()));
    let third = format!("qcow2:{}", testdata("c.qcow2").display());
    lab.quorum_img(["repair", "--expect-sha256", digest, "-o", "mixed.img", &mixed[0], &mixed[1], &third]).exits(0);
}

#[test]
fn the_script_makes_qcow2_images_that_read_alike() {
    if !["bash", "qemu-img"].iter().all(|tool| needs(tool)) {
        return;
    }
    let lab = Lab::new();
    lab.program("bash").arg(testdata("make-qcow2.sh")).arg("made").exits(0);
    for name in ["a.qcow2", "b.qcow2", "c.qcow2"] {
        let (made, ours) = (format!("qcow2:{}", lab.path("made").join(name).display()), format!("qcow2:{}", testdata(name).display()));
        // What can't be read in c's damaged cluster can't be compared.
        let output = lab.quorum_img(["check", "--output", "json", &made, &ours]).output();
        let report = output.json();
        let lost = if name == "c.qcow2" { 32 } else { 0 };
        assert_eq!((&report["sectors"]["undecided"], &report["sectors"]["decided"]), (&lost.into(), &0.into()), "{name}\n{output}");
    }
}

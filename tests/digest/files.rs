//! A digest's file: what becomes of it where it is damaged, and what isn't taken for one.

use std::fs;

use crate::{MIB, age, copies, disk, rot, support::Lab};

/// A page that rotted is unknown: the digest abstains there, and speaks everywhere else.
#[test]
fn a_damaged_page_abstains() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(1, 16 * MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[1]); // the first page tells of the first chunks
    rot(&b, &[30_000]);
    let mut bytes = fs::read(lab.path("disk.qdg")).expect("it is there");
    bytes[4096 + 1000] ^= 1;
    fs::write(lab.path("disk.qdg"), &bytes).expect("it can be written");
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b]).arg("disk.qdg").exits(2).json();
    assert_eq!((&report["sectors"]["decided"], &report["sectors"]["undecided"]), (&1.into(), &1.into()), "{report}");
    assert!(report["witnesses"][0]["unknown-chunks"].as_u64() > Some(50));
    lab.quorum_img(["info", "disk.qdg"]).exits(0).says("damaged:");
    lab.quorum_img(["digest", "--root", "disk.qdg"]).exits(3).complains("doesn't know what stands at offset 0x0");
}

#[test]
fn what_is_none_is_refused_by_name_with_a_way_out() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(2, MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    let whole = fs::read(lab.path("disk.qdg")).expect("it is there");
    let mut later = whole.clone();
    later[8] = 7;
    let mut header = whole.clone();
    header[40] ^= 1;
    for (bytes, words) in [
        (whole[..4096].to_vec(), "is cut off: 4096 of"),
        (whole[..20].to_vec(), "is cut off"),
        (later, "has version 7"),
        (header, "its header is damaged"),
        (b"QIMGDIG\0".to_vec(), "is no digest"),
    ] {
        fs::write(lab.path("bad.qdg"), bytes).expect("it can be written");
        for command in [&["check"][..], &["repair", "-o", "new.img"], &["repair", "--in-place", "-y"]] {
            let refused = lab.quorum_img(command).args([&a, &b]).arg("digest:bad.qdg").exits(3);
            refused.complains("digest:bad.qdg: ").complains(words).complains("hint: ");
        }
    }
    lab.quorum_img(["check"]).args([&a, &b]).arg("digest:none.qdg").exits(3).complains("digest:none.qdg: can't be read");
    lab.quorum_img(["check"]).args([&a, &b]).arg("digest:/dev/null").exits(3).complains("hint: ");
    // As a raw file it is a member like any other.
    fs::copy(lab.path("disk.qdg"), lab.path("copy.qdg")).expect("it can be copied");
    lab.quorum_img(["check", "raw:disk.qdg", "raw:copy.qdg"]).exits(0);
    lab.quorum_img(["check", "-f", "raw", "disk.qdg", "copy.qdg"]).exits(0);
}

#[test]
fn info_tells_what_it_is() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(3, 2 * MIB));
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0).says_nothing_of("digest");
    let told = lab.quorum_img(["info", "disk.qdg"]).exits(0);
    told.says("2 MiB (2097152 bytes)")
        .says("blake3, chunks of 64 KiB")
        .says("32: 24 with a value, 8 of zeros")
        .says("a vote with threshold 2");
    let info = lab.quorum_img(["info", "--output", "json", "disk.qdg"]).exits(0).json();
    assert_eq!((&info[0]["format"], &info[0]["value-chunks"]), (&"quorum-digest".into(), &24.into()), "{info}");
    assert_eq!(info[0]["sources"].as_array().map(Vec::len), Some(2));
}

/// D18: a file of the first version is read for ever.
#[test]
fn a_digest_of_version_1_is_read() {
    let lab = Lab::new();
    let kept = crate::support::testdata("digest-v1.qdg");
    let root = lab.quorum_img(["digest", "--root"]).arg(&kept).exits(0).stdout();
    let original: Vec<u8> = {
        lab.quorum_img(["repair", "-q", "-o", "original.img"]).args(["a.img", "b.img", "c.img"].map(crate::support::testdata)).exits(0);
        lab.bytes(&lab.path("original.img"))
    };
    assert!(root.starts_with(&blake3::hash(&original).to_hex().to_string()), "testdata's original: {root}");
    // It was made long ago, and so were these.
    age(&lab.path("original.img"), 86_400 * 3650);
    let told = lab.quorum_img(["check"]).args([&lab.path("original.img"), &kept, &kept]).exits(0);
    told.says("all members hold what it says in");
}

/// Every rule of the format is held by a test that cites it.
#[test]
fn every_rule_is_cited() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/digest.md")).expect("it is kept in docs/");
    let rules: Vec<u32> = text.lines().filter_map(|line| line.strip_prefix("- **D")?.split('.').next()?.parse().ok()).collect();
    assert_eq!(rules, (1..=rules.len() as u32).collect::<Vec<_>>());
    let folders = ["src/digest", "tests/digest"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder")).flatten();
    let sources: String = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
    let cited = |rule: &u32| {
        let name = format!("D{rule}");
        sources.lines().filter(|line| line.trim_start().starts_with("/// D")).any(|line| {
            let said = line.trim_start().trim_start_matches("/// ").split(':').next().unwrap_or_default();
            said.split(", ").any(|word| word == name)
        })
    };
    let uncited: Vec<&u32> = rules.iter().filter(|rule| !cited(rule)).collect();
    assert!(uncited.is_empty(), "no test cites D{uncited:?}");
}

//! Two copies and a digest do what three copies do.

use serde_json::Value;

use crate::{MIB, copies, disk, rot, support::Lab};

fn witness(report: &Value) -> &Value {
    &report["witnesses"][0]
}

/// Each copy lost other sectors, some of them in one chunk, where neither is right alone.
#[test]
fn two_copies_heal_each_other() {
    let lab = Lab::new();
    let right = disk(1, 4 * MIB);
    let [a, b] = copies(&lab, &right);
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[5, 6, 700, 5000]);
    rot(&b, &[9, 701, 6000]);
    lab.quorum_img(["check"]).args([&a, &b]).exits(2).says("7 of 8192 sectors have no winner");
    let checked = lab.quorum_img(["check", "--output", "json", "--report", "r.json"]).args([&a, &b]).arg("disk.qdg").exits(1).json();
    assert_eq!(checked["sectors"]["decided"], 7);
    assert_eq!(checked["swayed-sectors"], 7);
    assert_eq!((&witness(&checked)["combined-chunks"], &witness(&checked)["confirmed-chunks"]), (&2.into(), &2.into()), "{checked}");
    assert_eq!(checked["members"][0]["dissenting-sectors"], 4);
    let text = lab.quorum_img(["check"]).args([&a, &b]).arg("disk.qdg").exits(1);
    text.says("healed from several copies by it in 2 chunks").says("By the digests' word: 7 sectors").says("#1 against #0");
    lab.quorum_img(["repair", "-o", "new.img"]).args([&a, &b]).arg("disk.qdg").exits(0);
    assert!(lab.bytes(&lab.path("new.img")) == right);
    lab.quorum_img(["repair", "-o", "list.img", "--from", "r.json"]).args([&a, &b]).arg("disk.qdg").exits(0);
    assert!(lab.bytes(&lab.path("list.img")) == right, "a list names sectors, and the digest knows chunks");
    let healed = lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b]).arg("digest:disk.qdg").exits(0);
    assert!(healed.stdout().contains("make a new digest before you delete it"), "{healed}");
    assert!(lab.bytes(&a) == right && lab.bytes(&b) == right);
}

/// The output took the place of the digest that it was made by.
#[test]
fn a_digest_is_not_its_own_output() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(9, MIB));
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    let before = lab.bytes(&lab.path("disk.qdg"));
    for name in ["disk.qdg", "digest:disk.qdg"] {
        let refused = lab.quorum_img(["repair", "--force", "overwrite", "-o", "disk.qdg"]).args([&a, &b]).arg(name).exits(3);
        refused.complains("is a digest that is heard");
    }
    assert!(lab.bytes(&lab.path("disk.qdg")) == before);
}

/// `--expect-b3sum`: the output appears only where its bytes have that hash, which `digest --root` knows.
#[test]
fn a_result_is_proven_by_its_root() {
    let lab = Lab::new();
    let right = disk(7, MIB);
    let [a, b] = copies(&lab, &right);
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).arg(&a).exits(0);
    let root = lab.quorum_img(["digest", "--root", "disk.qdg"]).exits(0).stdout();
    let root = root.split_whitespace().next().expect("a hash").to_uppercase();
    rot(&a, &[3]);
    let prove = |output: &str, hash: &str| {
        lab.quorum_img(["repair", "--undecided", "first", "-o", output, "--expect-b3sum", hash]).args([&b, &a]).output()
    };
    prove("new.img", &root).expect_code(0).says("BLAKE3 of its guest-visible bytes");
    assert!(lab.bytes(&lab.path("new.img")) == right);
    prove("wrong.img", &"0".repeat(64)).expect_code(3).complains("its BLAKE3 would be");
    prove("wrong.img", "abc").expect_code(3).complains("64 hexadecimal digits");
    assert!(!lab.path("wrong.img").exists());
    let report = lab
        .quorum_img(["repair", "--undecided", "first", "-o", "j.img", "--output", "json", "--expect-b3sum", &root])
        .args([&b, &a])
        .exits(0)
        .json();
    assert_eq!(report["repair"]["blake3"], root.to_lowercase());
}

/// What an in-place repair wrote by a digest's word is undone as any other.
#[test]
fn undo_takes_it_back() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(2, MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[3]);
    rot(&b, &[4]);
    let before = (lab.bytes(&a), lab.bytes(&b));
    lab.quorum_img(["repair", "--in-place", "-y", "--journal", "j"]).args([&a, &b]).arg("disk.qdg").exits(0);
    assert!(lab.bytes(&a) == lab.bytes(&b));
    lab.quorum_img(["undo", "-y", "j"]).exits(0);
    assert!((lab.bytes(&a), lab.bytes(&b)) == before);
}

/// The old promise: whatever two copies lost, as long as no sector is lost in both.
#[test]
fn hundreds_of_bad_sectors_in_two_copies_are_all_healed() {
    let lab = Lab::new();
    let right = disk(3, 32 * MIB);
    let [a, b] = copies(&lab, &right);
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    // Every other one of b shares a chunk with one of a.
    let of_a: Vec<u64> = (0..300).map(|at| at * 211 + 7).collect();
    let of_b: Vec<u64> = (0..300).map(|at| if at % 2 == 0 { at * 211 + 8 } else { at * 211 + 100 }).collect();
    rot(&a, &of_a);
    rot(&b, &of_b);
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b]).arg("disk.qdg").exits(1).json();
    assert_eq!((&report["sectors"]["decided"], &report["sectors"]["undecided"]), (&600.into(), &0.into()));
    assert_eq!(witness(&report)["given-up-chunks"], 0);
    assert!(witness(&report)["combined-chunks"].as_u64() > Some(100), "{report}");
    lab.quorum_img(["repair", "-q", "-o", "new.img"]).args([&a, &b]).arg("disk.qdg").exits(0);
    assert!(lab.bytes(&lab.path("new.img")) == right);
}

/// A part that was asked for cuts chunks: what lies outside of it is read for the hash, and not told of.
#[test]
fn a_part_of_a_chunk_is_healed_by_all_of_it() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(4, MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[10, 120]);
    rot(&b, &[12]);
    let report = lab.quorum_img(["check", "--output", "json", "--range", "5120:512"]).args([&a, &b]).arg("disk.qdg").exits(1).json();
    assert_eq!((&report["sectors"]["total"], &report["sectors"]["decided"]), (&1.into(), &1.into()), "{report}");
    lab.quorum_img(["show", "5120"]).args([&a, &b]).arg("disk.qdg").exits(1);
    for sector in [4096, 65536] {
        let sector = sector.to_string();
        lab.quorum_img(["check", "--sector-size", &sector]).args([&a, &b]).arg("disk.qdg").exits(2);
    }
}

/// Three copies: the digest is one more ballot, and makes nothing undecided but by a true tie.
#[test]
fn three_copies_and_a_digest() {
    let lab = Lab::new();
    let right = disk(5, MIB);
    let [a, b, c] = copies(&lab, &right);
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b, &c]).exits(0);
    rot(&a, &[1]);
    rot(&b, &[2, 3]);
    rot(&c, &[2]);
    let members = [&a, &b, &c];
    lab.quorum_img(["check"]).args(members).exits(1);
    let report = lab.quorum_img(["check", "--output", "json"]).args(members).arg("disk.qdg").exits(2).json();
    let tie = &report["divergences"].as_array().expect("a list")[1];
    assert_eq!((&tie["offset"], &tie["verdict"]), (&1024.into(), &"undecided".into()), "two against one and the digest: {report}");
}

/// A digest of a larger chunk, and two digests that cut the image in different ways.
#[test]
fn chunks_of_any_size_are_heard() {
    let lab = Lab::new();
    let right = disk(6, 3 * MIB + 512);
    let [a, b] = copies(&lab, &right);
    for (name, size) in [("1.qdg", "1M"), ("2.qdg", "256k")] {
        lab.quorum_img(["digest", "--chunk-size", size, "-o", name]).args([&a, &b]).exits(0);
    }
    rot(&a, &[0, 6144]);
    rot(&b, &[1, 6143]);
    for digests in [&["1.qdg"][..], &["2.qdg"], &["1.qdg", "2.qdg"]] {
        lab.quorum_img(["repair", "--force", "overwrite", "-o", "new.img"]).args([&a, &b]).args(digests).exits(0);
        assert!(lab.bytes(&lab.path("new.img")) == right, "{digests:?}");
    }
}

//! What a digest may not do, and what it may every day.

use crate::{
    MIB, age, copies, disk, rot,
    support::{Lab, disks, noise},
};

/// A guest wrote to both copies after the digest was made, and then one copy lost that write: the digest knows what was before, and would
/// bring it back.
#[test]
fn what_was_written_since_is_not_rolled_back() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(1, MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    lab.write(&a, 4096, b"a guest's write that only one copy has");
    let before = (lab.bytes(&a), lab.bytes(&b));
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b]).arg("disk.qdg").exits(2).json();
    assert_eq!(report["guards"][0]["word"], "old-witness", "{report}");
    assert_eq!(report["sectors"]["decided"], 1, "it says what it knows");
    for way in [&["repair", "-o", "new.img"][..], &["repair", "--in-place", "-y"]] {
        lab.quorum_img(way)
            .args([&a, &b])
            .arg("disk.qdg")
            .exits(2)
            .complains("--force old-witness")
            .complains("isn't what it was when disk.qdg was made");
        assert!((lab.bytes(&a), lab.bytes(&b)) == before && !lab.path("new.img").exists());
    }
    // Only a person can say that it is right all the same.
    lab.quorum_img(["repair", "--in-place", "-y", "--force", "old-witness"]).args([&a, &b]).arg("disk.qdg").exits(0);
    assert!(lab.bytes(&a) == before.1);
}

/// The everyday case: nothing was written since, or nothing depends on it.
#[test]
fn the_guard_lets_pass_what_it_has_no_say_in() {
    let lab = Lab::new();
    let [a, b, c] = copies(&lab, &disk(2, MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b, &c]).exits(0);
    rot(&a, &[77]);
    age(&b, 0);
    lab.quorum_img(["check"]).args([&a, &b, &c]).arg("disk.qdg").exits(1).complains("isn't what it was when disk.qdg was made");
    lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b, &c]).arg("disk.qdg").exits(0);
}

/// A digest of one member is that member's memory.
#[test]
fn a_members_own_memory_adds_nothing_to_it() {
    let lab = Lab::new();
    let right = disk(3, MIB);
    let [a, b] = copies(&lab, &right);
    lab.quorum_img(["digest", "-o", "a.qdg"]).arg(&a).exits(0);
    rot(&b, &[50]);
    let checked = lab.quorum_img(["check"]).args([&a, &b]).arg("a.qdg").exits(2);
    checked.says("1 of 2048 sectors has no winner").complains("was made from").complains("adds nothing");
    // What it was speaks for what the other one is.
    rot(&b, &[50]);
    rot(&a, &[60]);
    lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b]).arg("a.qdg").exits(0);
    assert!(lab.bytes(&a) == right);
}

/// Two digests of one origin are one witness: what one file said twice isn't two votes.
#[test]
fn one_origin_is_one_witness() {
    let lab = Lab::new();
    let [a, b, c, d] = copies(&lab, &disk(4, MIB));
    for name in ["1.qdg", "2.qdg"] {
        lab.quorum_img(["digest", "-o", name]).arg(&d).exits(0);
    }
    rot(&b, &[9]);
    rot(&c, &[9]);
    for digests in [&["1.qdg"][..], &["1.qdg", "2.qdg"]] {
        let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).args(digests).exits(2).json();
        assert_eq!(report["divergences"][0]["verdict"], "undecided", "two against one and one witness: {report}");
    }
    lab.quorum_img(["check"]).args([&a, &b, &c]).args(["1.qdg", "2.qdg"]).exits(2).complains("both together are one witness");
}

/// All copies are damaged alike, or were restored from the wrong backup: nobody dissents, and the digest does.
#[test]
fn a_unanimous_vote_that_a_digest_contradicts_is_told() {
    let lab = Lab::new();
    let [a, b, c] = copies(&lab, &disk(5, MIB));
    lab.quorum_img(["digest", "-o", "disk.qdg"]).args([&a, &b, &c]).exits(0);
    for copy in [&a, &b, &c] {
        rot(copy, &[200]);
    }
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).arg("disk.qdg").exits(2).json();
    assert_eq!(report["verdict"], "unanimous", "it decides nothing");
    assert_eq!(
        (&report["contradictions"][0]["offset"], &report["contradictions"][0]["length"]),
        (&65536.into(), &65536.into()),
        "{report}"
    );
    lab.quorum_img(["check"]).args([&a, &b, &c]).arg("disk.qdg").exits(2).says("At 0x10000 (64 KiB) disk.qdg knows other bytes");
    lab.quorum_img(["check", "-q"]).args([&a, &b, &c]).arg("disk.qdg").exits(2).says("contradict");
    let before = lab.bytes(&a);
    lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b, &c]).arg("disk.qdg").output();
    assert!(lab.bytes(&a) == before, "it authorises nothing");
    // Holes are told of, too.
    let sparse = lab.sparse("s1.img", MIB);
    lab.sparse("s2.img", MIB);
    age(&sparse, 3600);
    age(&lab.path("s2.img"), 3600);
    lab.quorum_img(["check"]).args([&sparse, &lab.path("s2.img")]).arg("disk.qdg").exits(2).says("knows other bytes");
}

/// xxh3's values can be made on purpose: they name what differs, and nothing is written by them.
#[test]
fn xxh3_names_and_never_writes() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(6, MIB));
    lab.quorum_img(["digest", "--hash", "xxh3", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[8]);
    let checked = lab.quorum_img(["check"]).args([&a, &b]).arg("disk.qdg").exits(2);
    checked.says("1 of 2048 sectors has no winner").says("it knows one of the versions in 1 chunk").complains("has no vote");
    lab.quorum_img(["repair", "-o", "new.img"]).args([&a, &b]).arg("disk.qdg").exits(2);
    assert!(!lab.path("new.img").exists());
}

/// Two of three copies are damaged alike, and the third one elsewhere in that chunk: the digest knows that the outcome isn't what was there.
/// It used to be told only where all three agreed, and the repair was called whole.
#[test]
fn an_outcome_that_a_digest_disproves_is_told() {
    let lab = Lab::new();
    let all = copies::<3>(&lab, &disk(4, MIB));
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args(&all).exits(0);
    for copy in &all {
        rot(copy, &[130]);
    }
    lab.quorum_img(["check"]).args(&all).arg("disk.qdg").exits(2);
    rot(&all[2], &[1, 140]);
    rot(&all[2], &[1]);
    let report = lab.quorum_img(["check", "--output", "json"]).args(&all).arg("disk.qdg").exits(2).json();
    assert_eq!((&report["sectors"]["decided"], &report["witnesses"][0]["contradicted-chunks"]), (&1.into(), &1.into()), "{report}");
    assert!(report["members"].as_array().expect("members").iter().all(|member| member["whole"] == false), "{report}");
    lab.quorum_img(["check"]).args(&all).arg("disk.qdg").exits(2).says("but a digest contradicts what comes of it");
    lab.quorum_img(["repair", "-o", "fixed.img"]).args(&all).arg("disk.qdg").exits(2);
    lab.quorum_img(["repair", "--in-place", "-y"]).args(&all).arg("disk.qdg").exits(2);
    lab.quorum_img(["check"]).args(&all).arg("disk.qdg").exits(2).says("All 3 members agree, and a digest contradicts them");
}

/// An old backup is named as a third member, and gives back with a digest's word what both newer copies have lost: they are newer, but not there,
/// where the digest proves what they held, and nobody wrote to them since.
#[test]
fn a_proof_is_no_rollback() {
    let lab = Lab::new();
    let (new, old) = (disks::bytes("ext4-new"), disks::bytes("ext4-old"));
    let [a, b] = copies(&lab, &new);
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    let backup = lab.file("backup.img", &old);
    age(&backup, 86_400);
    let same = |at: &usize| new[*at..at + 512] == old[*at..at + 512] && new[*at..at + 512].iter().filter(|&&byte| byte != 0).count() > 400;
    let at = (0..new.len()).step_by(512).find(same).expect("a sector of a file");
    for (seed, copy) in [(1, &a), (2, &b)] {
        let then = std::fs::metadata(copy).and_then(|there| there.modified()).expect("a time");
        lab.write(copy, at as u64, &noise(seed, 512));
        std::fs::File::options().write(true).open(copy).and_then(|file| file.set_modified(then)).expect("it rots");
    }
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &backup]).arg("disk.qdg").output().json();
    let place = report["divergences"].as_array().expect("a list").iter().find(|there| there["offset"] == at).cloned().expect("that place");
    assert_eq!((&place["verdict"], &place["versions"][0]["members"]), (&"decided".into(), &serde_json::json!([2])), "{place}");
    let guards = report["guards"].as_array().cloned().unwrap_or_default();
    assert!(!guards.iter().any(|guard| guard["word"] == "newer"), "{guards:?}");
    // Without the digest nobody wins there.
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &backup]).exits(2).json();
    assert_eq!(report["verdict"], "undecided");
}

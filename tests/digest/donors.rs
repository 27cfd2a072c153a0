//! Donors: sources that never vote, whose bytes are taken where no version wins and a digest proves them.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{
    MIB, age, copies, disk,
    support::{Lab, needs},
};

/// Two copies that have lost the same sectors, a digest of what they were, and a source that still has them.
fn lost(lab: &Lab, places: &[u64]) -> (Vec<u8>, [PathBuf; 2]) {
    let good = disk(3, 2 * MIB);
    let [a, b, c] = copies(lab, &good);
    lab.quorum_img(["digest", "-q", "-o", "d.qdg"]).arg(&c).exits(0);
    fs::rename(&c, lab.path("donor.img")).expect("renamed");
    for (copy, salt) in [(&a, 1), (&b, 2)] {
        for &place in places {
            spoil(copy, place, salt);
        }
    }
    (good, [a, b])
}

/// A byte becomes another, by `salt`; no time tells of it.
fn spoil(path: &Path, offset: u64, salt: u8) {
    let then = fs::metadata(path).and_then(|there| there.modified()).expect("it is there");
    let file = fs::File::options().read(true).write(true).open(path).expect("a file of ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("it can be read");
    file.write_all_at(&[byte[0] ^ salt], offset).and_then(|()| file.set_modified(then)).expect("a file of ours");
}

#[test]
fn what_all_have_lost_is_given_where_a_digest_proves_it() {
    let lab = Lab::new();
    let (good, [a, b]) = lost(&lab, &[100, 70_000, 70_600, 1_500_000]);
    // What the donor has lost elsewhere is no matter, nor is its age.
    spoil(&lab.path("donor.img"), 400_000, 1);
    lab.quorum_img(["check"]).args([&a, &b]).arg("d.qdg").exits(2);
    let with = |command: &[&str]| lab.quorum_img(command).args(["--donor", "donor.img"]).args([&a, &b]).arg("d.qdg");
    let report = with(&["check", "--output", "json"]).exits(1).json();
    assert_eq!((&report["donors"][0]["name"], &report["donors"][0]["donated-sectors"]), (&"donor.img".into(), &4.into()), "{report}");
    assert_eq!((&report["divergences"][0]["donor"], &report["divergences"][0]["verdict"]), (&0.into(), &"decided".into()), "{report}");
    assert_eq!(report["witnesses"][0]["donated-chunks"], 3, "{report}");
    let told = with(&["check"]).exits(1);
    assert!(
        told.stdout().contains("From donor donor.img, as a digest proves: 4 sectors") && told.stdout().contains("donor 0 against"),
        "{told}"
    );
    with(&["show", "0x0:512"]).exits(1);
    with(&["repair", "-o", "fixed.img"]).exits(0);
    assert!(lab.bytes(&lab.path("fixed.img")) == good);
    let before = [lab.bytes(&a), lab.bytes(&b)];
    let plan = with(&["repair", "--in-place", "--dry-run", "--output", "json"]).exits(1).json();
    assert_eq!(plan["repair"]["plan"][0]["donor"], 0, "{plan}");
    let donor = lab.bytes(&lab.path("donor.img"));
    with(&["repair", "--in-place", "-y"]).exits(0);
    assert!(lab.bytes(&a) == good && lab.bytes(&b) == good, "both are healed");
    assert!(lab.bytes(&lab.path("donor.img")) == donor, "nothing is written to a donor");
    let mut journal = a.as_os_str().to_owned();
    journal.push(".quorum-journal");
    lab.quorum_img(["undo", "-y"]).arg(&journal).exits(0);
    assert!([lab.bytes(&a), lab.bytes(&b)] == before, "it is taken back");
}

/// What a donor holds otherwise is never taken: not where it rotted itself, and not where the vote has decided.
#[test]
fn nothing_else_of_a_donor_is_taken() {
    let lab = Lab::new();
    let (good, [a, b]) = lost(&lab, &[100]);
    spoil(&lab.path("donor.img"), 100, 4);
    let with = |command: &[&str]| lab.quorum_img(command).args(["--donor", "donor.img"]).args([&a, &b]).arg("d.qdg");
    let report = with(&["check", "--output", "json"]).exits(2).json();
    assert_eq!(report["donors"][0]["donated-sectors"], 0, "{report}");
    with(&["repair", "-o", "fixed.img"]).exits(2);
    // Both copies agree on other bytes in that chunk, and the digest knows better: what they agree on stays.
    spoil(&lab.path("donor.img"), 100, 4);
    let [c, e] = [&a, &b].map(|copy| {
        spoil(copy, 5000, 1);
        copy
    });
    // That is told: what comes of it isn't what the digest proves.
    let report = with(&["check", "--output", "json"]).exits(2).json();
    assert_eq!(report["contradictions"][0]["offset"], 0, "{report}");
    assert!(report["members"].as_array().expect("members").iter().all(|member| member["whole"] == false), "{report}");
    assert_eq!((&report["donors"][0]["donated-sectors"], &report["sectors"]["decided"]), (&1.into(), &1.into()), "{report}");
    with(&["repair", "--in-place", "-y"]).exits(2).complains("--force old-witness");
    with(&["repair", "--in-place", "-y", "--force", "old-witness"]).exits(2);
    for copy in [c, e] {
        assert!(lab.bytes(copy)[..512] == good[..512], "what nobody knew is given");
        assert!(lab.bytes(copy)[4608..5120] != good[4608..5120], "what all agree on is theirs");
    }
}

#[test]
fn what_nobody_ever_read_is_given() {
    let lab = Lab::new();
    let (good, [a, b]) = lost(&lab, &[]);
    for (copy, name) in [(&a, "a.map"), (&b, "b.map")] {
        lab.write(copy, 1 << 20, &[0; 4096]);
        lab.file(
            name,
            format!(
                "# Mapfile. Created by GNU ddrescue version 1.27\n0x00 + 1\n0x00 0x100000 +\n0x100000 0x1000 -\n0x101000 {:#x} +\n",
                MIB - 4096
            ),
        );
    }
    let maps = ["--mapfile", "#0=a.map", "--mapfile", "#1=b.map"];
    // They were written to since the digest was made, as far as anybody can tell: what is lost may have been newer. It used to be written.
    for way in [&["check"][..], &["repair", "-o", "fixed.img"], &["repair", "--in-place", "-y"]] {
        let run = lab.quorum_img(way).args(["--donor", "donor.img"]).args(maps).args([&a, &b]).arg("d.qdg").exits(2);
        assert!(run.stdout().contains("old-witness") || run.stderr().contains("old-witness"), "{run}");
    }
    age(&a, 3600);
    age(&b, 3600);
    lab.quorum_img(["check"]).args(maps).args([&a, &b]).arg("d.qdg").exits(2);
    let run = lab.quorum_img(["repair", "-o", "fixed.img", "--donor", "donor.img"]).args(maps).args([&a, &b]).arg("d.qdg").exits(0);
    assert!(lab.bytes(&lab.path("fixed.img")) == good, "{run}");
    // One copy alone, with a digest and a donor.
    lab.quorum_img(["repair", "--in-place", "-y", "--donor", "donor.img"]).args(&maps[..2]).arg(&a).arg("d.qdg").exits(0);
    assert!(lab.bytes(&a) == good);
}

/// A donor may be of any kind.
#[test]
fn an_image_gives_too() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let (good, [a, b]) = lost(&lab, &[100, 900_000]);
    lab.program("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2", "-c", "donor.img", "donor.qcow2"]).exits(0);
    lab.quorum_img(["repair", "-o", "fixed.img", "--donor", "qcow2:donor.qcow2"]).args([&a, &b]).arg("d.qdg").exits(0);
    assert!(lab.bytes(&lab.path("fixed.img")) == good);
}

#[test]
fn donors_are_nothing_else() {
    let lab = Lab::new();
    let (_, [a, b]) = lost(&lab, &[100]);
    let check = |donor: &str, others: &[&str]| lab.quorum_img(["check", "--donor", donor]).args([&a, &b]).args(others);
    check("donor.img", &[]).exits(3).complains("none is named").complains("name a digest");
    check("gone.img", &["d.qdg"]).exits(3).complains("--donor gone.img");
    lab.quorum_img(["check", "--donor"]).arg(&a).args([&a, &b]).arg("d.qdg").exits(3).complains("votes already");
    check("donor.img", &["--trust", "#0", "d.qdg"]).exits(3).complains("--trust");
    check("donor.img", &["--report", "donor.img", "d.qdg"]).exits(3).complains("is the donor");
    let repair =
        |output: &str| lab.quorum_img(["repair", "--force", "overwrite", "--donor", "donor.img", "-o", output]).args([&a, &b]).arg("d.qdg");
    let before = lab.bytes(&lab.path("donor.img"));
    repair("donor.img").exits(3).complains("is the donor");
    fs::hard_link(lab.path("donor.img"), lab.path("link.img")).expect("a link");
    repair("link.img").exits(3).complains("is the donor");
    assert!(lab.bytes(&lab.path("donor.img")) == before);
    lab.quorum_img(["digest", "-q", "--hash", "xxh3", "-o", "x.qdg", "donor.img"]).exits(0);
    check("donor.img", &["x.qdg"]).exits(3).complains("none is named");
    lab.quorum_img(["digest", "-o", "e.qdg", "--donor", "donor.img"]).args([&a, &b]).exits(3).complains("--donor isn't for digest");
    lab.quorum_img(["check", "--donor", "donor.img", "d.qdg", "d.qdg"]).exits(3).complains("--donor");
}

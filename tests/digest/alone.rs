//! Copies are compared where they lie: by their digests alone, and one copy beside digests.

use crate::{MIB, copies, disk, rot, support::Lab};

fn three(lab: &Lab) -> [std::path::PathBuf; 3] {
    let all = copies(lab, &disk(1, 2 * MIB));
    rot(&all[1], &[1000]);
    for (copy, name) in all.iter().zip(["a.qdg", "b.qdg", "c.qdg"]) {
        lab.quorum_img(["digest", "-q", "-o", name]).arg(copy).exits(0);
    }
    all
}

#[test]
fn digests_alone_name_the_chunks_that_dissent() {
    let lab = Lab::new();
    three(&lab);
    let report = lab.quorum_img(["check", "--output", "json", "a.qdg", "b.qdg", "c.qdg"]).exits(1).json();
    assert_eq!(report["members"][1]["dissenting-sectors"], 1, "{report}");
    assert_eq!((&report["divergences"][0]["offset"], &report["divergences"][0]["length"]), (&(7 * 65536).into(), &65536.into()));
    assert_eq!((&report["sector-size"], &report["members"][0]["format"]), (&65536.into(), &"digest".into()));
    lab.quorum_img(["check", "a.qdg", "c.qdg"]).exits(0);
    lab.quorum_img(["check", "a.qdg", "b.qdg"]).exits(2);
    lab.quorum_img(["check", "a.qdg"]).exits(3).complains("one digest alone can't vote");
    lab.quorum_img(["check", "--range", "0:512", "a.qdg", "b.qdg"]).exits(3).complains("hint: leave --range");
    lab.quorum_img(["digest", "--chunk-size", "128k", "-o", "d.qdg", "disk.img.0"]).output();
}

/// One copy is left, and two digests of lost ones: they name what is damaged in it, and how far that goes.
#[test]
fn one_copy_and_two_digests() {
    let lab = Lab::new();
    let [_, b, _] = three(&lab);
    let report = lab.quorum_img(["check", "--output", "json"]).arg(&b).args(["a.qdg", "c.qdg"]).exits(2).json();
    assert_eq!(report["verdict"], "undecided");
    let all = report["divergences"].as_array().expect("a list");
    assert_eq!((all.len(), &all[0]["offset"], &all[0]["length"]), (1, &(7 * 65536).into(), &65536.into()), "{report}");
    assert_eq!(report["contradictions"][0]["witnesses"], serde_json::json!([0, 1]));
    // A copy that they know is whole.
    rot(&b, &[1000]);
    lab.quorum_img(["check"]).arg(&b).args(["a.qdg", "c.qdg"]).exits(0);
    lab.quorum_img(["check"]).arg(&b).exits(3).complains("one copy alone can't vote");
}

#[test]
fn what_can_not_be_compared_is_refused() {
    let lab = Lab::new();
    let [a, ..] = three(&lab);
    lab.quorum_img(["digest", "--hash", "xxh3", "-o", "x.qdg"]).arg(&a).exits(0);
    lab.quorum_img(["digest", "--chunk-size", "128k", "-o", "l.qdg"]).arg(&a).exits(0);
    lab.quorum_img(["check", "a.qdg", "x.qdg"]).exits(3).complains("can't be compared").complains("--hash");
    lab.quorum_img(["check", "a.qdg", "l.qdg"]).exits(3).complains("--chunk-size");
    lab.quorum_img(["check", "a.qdg", "a.qdg"]).exits(0).complains("made from the same");
}

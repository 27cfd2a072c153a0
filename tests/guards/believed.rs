//! What wasn't read isn't believed, and what lies beneath isn't a second vote.

use std::fs;

use super::{
    files, guards, in_place,
    support::{Lab, needs, noise, sectors},
};

/// A report that counts three decided sectors and lists none said "all agree", with code 0 and a wrong image.
#[test]
fn a_list_that_contradicts_its_totals_is_refused() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 3]);
    lab.damage(&members[0], sectors(7..10));
    lab.quorum_img(["check", "--report", "list.json"]).args(&members).exits(1);
    let whole = fs::read_to_string(lab.path("list.json")).expect("a report");
    let start = whole.find("\"divergences\": [").expect("the list");
    let end = whole[start..].find(']').map(|_| whole.find("\n    ],\n    \"divergences-omitted\"").expect("its end")).expect("its end");
    let emptied = format!("{}\"divergences\": [{}", &whole[..start], &whole[end..]);
    fs::write(lab.path("empty.json"), emptied).expect("it can be written");
    for line in [&["repair", "-o", "new.img", "--from", "empty.json"][..], &["repair", "--in-place", "--from", "empty.json"]] {
        lab.quorum_img(line).args(&members).exits(3).complains("contradicts itself").complains("3 sectors that differ");
    }
    lab.quorum_img(["repair", "-o", "new.img", "--from", "list.json"]).args(&members).exits(0);
    lab.assert_same_bytes(&lab.path("new.img"), &members[1]);
}

/// An overlay and its base, or an image and its own raw data file, outvoted a good copy, with a warning.
#[test]
fn what_lies_beneath_is_no_second_vote() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let good = noise(1, 1 << 20);
    lab.file("good.raw", &good);
    let mut bad = good.clone();
    bad[5000..5100].fill(7);
    lab.file("base.raw", &bad);
    lab.program("qemu-img").args(["create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2"]).exits(0);
    let own = ["create", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "own.qcow2", "1M"];
    lab.program("qemu-img").args(own).exits(0);
    lab.file("data.raw", &bad);
    for (upper, lower) in [("qcow2:top.qcow2", "raw:base.raw"), ("qcow2:own.qcow2", "raw:data.raw")] {
        let members = ["raw:good.raw", upper, lower];
        let run = lab.quorum_img(["repair", "-o", "new.img", "--output", "json", "--allow-references"]).args(members).exits(2);
        assert_eq!(guards(&run.json()), [("shared".into(), None)], "{run}");
        assert!(!lab.path("new.img").exists());
        lab.quorum_img(["repair", "--in-place", "--allow-references"]).args(members).exits(3);
        lab.quorum_img(["check", "--allow-references"]).args(members).exits(2).says("shared");
    }
    assert!(lab.bytes(&lab.path("good.raw")) == good);
}

/// `undo --force changed` on a member that was emptied since made a file of a third length.
#[test]
fn an_emptied_member_is_not_undone() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 3]);
    lab.damage(&members[1], sectors(100..103));
    in_place(&lab, &members).exits(0);
    lab.file("1.img", []);
    let before = lab.state();
    for line in [&["undo"][..], &["undo", "--force", "changed"]] {
        lab.quorum_img(line).arg("0.img.quorum-journal").exits(3).complains("1.img").complains("0 bytes");
        assert_eq!(lab.state(), before);
    }
}

/// A journal that a hole made a TiB longer was read through for minutes.
#[test]
fn a_hole_behind_a_journal_takes_no_time() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 3]);
    lab.damage(&members[1], sectors(100..103));
    in_place(&lab, &members).exits(0);
    lab.set_length(&lab.path("0.img.quorum-journal"), 1 << 40);
    lab.quorum_img(["info", "0.img.quorum-journal"]).within(std::time::Duration::from_secs(10)).exits(0);
    lab.quorum_img(["undo", "0.img.quorum-journal"]).within(std::time::Duration::from_secs(10)).exits(0);
}

//! Files of `sha256sum` and `b3sum`: which copy is the one that was summed.

use crate::{
    MIB, copies, disk, rot,
    support::{Lab, needs, sha256},
};

/// Three copies, each of which lost something else: nobody wins, and a line that somebody wrote down long ago tells who is whole.
#[test]
fn a_sum_names_the_copy_that_was_summed() {
    let lab = Lab::new();
    let right = disk(1, MIB);
    let [a, b, c] = copies(&lab, &right);
    rot(&a, &[9]);
    rot(&c, &[10, 9]);
    let (sha, blake) = (sha256(&right), blake3::hash(&right).to_hex().to_string());
    for (text, by) in [
        (format!("{sha}  vm.img\n"), "SHA-256, as vm.img"),
        (format!("{}  other.img\nBLAKE3 (vm.img) = {blake}\n", "0".repeat(64)), "BLAKE3, as vm.img"),
        (format!("{blake}\n"), "BLAKE3)"),
        (format!("SHA256 (x.img) = {sha}\n"), "SHA-256, as x.img"),
    ] {
        lab.file("SUMS", text);
        let checked = lab.quorum_img(["check", "--sums", "SUMS"]).args([&a, &b, &c]).exits(2);
        checked.says(&format!("#1 {}: is the one that was summed ({by}", b.display()));
        checked.says("next: quorum-img repair --trust '#1' -o fixed.img").says("it is the one that was summed");
        let report = lab.quorum_img(["check", "--output", "json", "--sums", "SUMS"]).args([&a, &b, &c]).exits(2).json();
        assert!(report["members"][1]["summed"].is_string() && report["members"][0].get("summed").is_none(), "{report}");
    }
    lab.file("SUMS", format!("SHA256 (x.img) = {blake}\n"));
    lab.quorum_img(["check", "--sums", "SUMS"]).args([&a, &b]).exits(2).complains("no member has any of the sums");
    for (text, words) in [("", "holds no sum"), ("hello\n", "line 1 is none"), ("# nothing\n", "holds no sum")] {
        lab.file("SUMS", text);
        lab.quorum_img(["check", "--sums", "SUMS"]).args([&a, &b]).exits(3).complains(words).complains("hint: name a file");
    }
    lab.quorum_img(["check", "--sums", "none"]).args([&a, &b]).exits(3).complains("--sums none: can't be read");
    if needs("b3sum") {
        let printed = lab.program("b3sum").arg(&b).exits(0).stdout();
        lab.file("SUMS", printed);
        lab.quorum_img(["check", "--sums", "SUMS"]).args([&a, &b, &c]).exits(2).says("BLAKE3, as");
    }
}

/// Two copies are damaged alike, and outvote the one that a sum proves: a person must decide, and hears of it.
#[test]
fn a_copy_that_is_proven_is_not_just_outvoted() {
    let lab = Lab::new();
    let right = disk(2, MIB);
    let [a, b, c] = copies(&lab, &right);
    rot(&a, &[700]);
    rot(&c, &[700]);
    lab.file("SUMS", sha256(&right));
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1).says("#0 #2 against #1");
    let checked = lab.quorum_img(["check", "--sums", "SUMS"]).args([&a, &b, &c]).exits(2);
    checked.says("is the one that was summed").says("next: quorum-img repair --trust '#1'");
    lab.quorum_img(["repair", "--trust", "#1", "-o", "new.img"]).args([&a, &b, &c]).exits(0);
    assert!(lab.bytes(&lab.path("new.img")) == right);
}

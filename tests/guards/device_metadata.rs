//! Legs of an array: what differs between them by design.

use super::{
    check, files, guards, has, in_place,
    support::{Lab, disks::bytes, sectors},
};

/// Two legs of a RAID1 compared, one trusted: both had one device UUID and role afterwards.
#[test]
fn legs_keep_what_makes_them_legs() {
    for version in ["0.90", "1.0", "1.1", "1.2"] {
        let lab = Lab::new();
        let legs = [0, 1].map(|leg| bytes(&format!("md-{version}-leg{leg}")));
        let members = files(&lab, &legs);
        let trust = |run: super::support::Run| run.args(["--trust", "#0"]);
        let run = trust(check(&lab, &members)).exits(2);
        assert!(has(&run.json(), "device-metadata", 1), "{version}\n{run}");
        trust(in_place(&lab, &members)).exits(2).complains("--skip-device-metadata").complains("--force device-metadata");
        assert!(lab.bytes(&members[1]) == legs[1], "{version}: it is as it was");

        // Without their superblocks they are alike, and damage to the rest is mended.
        let skip = |run: super::support::Run| trust(run).arg("--skip-device-metadata");
        let run = skip(check(&lab, &members)).exits(0);
        assert_eq!(guards(&run.json()), [], "{version}\n{run}");
        lab.damage(&members[1], sectors(4000..4002));
        skip(in_place(&lab, &members)).exits(0);
        assert!(lab.bytes(&members[1]) == legs[1], "{version}: mended, and still the other leg");
    }
}

/// A leg without its end was given another leg's superblock there, where a report listed it.
#[test]
fn a_report_does_not_bring_back_what_is_left_out() {
    let lab = Lab::new();
    let [zero, one] = [0, 1].map(|leg| bytes(&format!("md-1.0-leg{leg}")));
    let members = files(&lab, &[zero[..zero.len() - 16384].to_vec(), one.clone(), one]);
    lab.quorum_img(["check", "--report", "list.json"]).args(&members).exits(1);
    let line = ["repair", "--in-place", "--skip-device-metadata", "--from", "list.json", "--max-damage", "100"];
    lab.quorum_img(line).args(&members).output();
    let (found, other) = (lab.bytes(&members[0]), lab.bytes(&members[1]));
    assert!(found != other, "it has become the other leg");
}

/// A new image of legs is told about: it is one leg's copy.
#[test]
fn a_new_image_of_legs_is_told_about() {
    let lab = Lab::new();
    let members = files(&lab, &[0, 1].map(|leg| bytes(&format!("md-1.2-leg{leg}"))));
    let run = lab.quorum_img(["repair", "-o", "new.img", "--output", "json", "--trust", "#1"]).args(&members).exits(0);
    assert!(has(&run.json(), "device-metadata", 0), "{run}");
    assert!(lab.bytes(&lab.path("new.img")) == bytes("md-1.2-leg1"));
    lab.quorum_img(["repair", "-o", "two.img", "--trust", "#1", "--skip-device-metadata"]).args(&members).exits(0);
    assert!(lab.bytes(&lab.path("two.img")) == bytes("md-1.2-leg0"), "what is left out comes from the first");
}

/// A leg that was left behind is older by its events, and is not what decides.
#[test]
fn a_leg_that_was_left_behind_is_older() {
    let lab = Lab::new();
    let members = files(&lab, &[bytes("md-1.2-leg1-stale"), bytes("md-1.2-leg0-degraded"), bytes("md-1.2-leg1-stale")]);
    let run = in_place(&lab, &members).exits(2);
    assert!(has(&run.json(), "newer", 1), "{run}");
}

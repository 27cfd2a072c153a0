//! One server's file by two mounts: it has two device numbers, and one vote.

use std::time::{Duration, SystemTime};

use super::{
    fuse_medium::{Media, Medium},
    support::{Lab, noise},
};

/// A bad file, mounted twice, and a good copy elsewhere.
struct Twice {
    // Unmounted before the folder goes.
    _mounts: [Media; 2],
    lab: Lab,
    members: [std::path::PathBuf; 3],
    good: Vec<u8>,
}

impl Twice {
    /// `apart`: the two differ by that, as two files do.
    fn new(apart: Duration) -> Option<Self> {
        let lab = Lab::new();
        let good = noise(3, 1 << 20);
        let mut bad = good.clone();
        bad[5000..5512].fill(9);
        let written = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        let medium = |modified| Medium { modified, ..Medium::new(bad.clone()) };
        let folders = ["one", "two"].map(|name| lab.path(name));
        for folder in &folders {
            std::fs::create_dir(folder).expect("a new folder");
        }
        let mounts = [
            Media::new::<1>(&folders[0], [("disk.img", medium(written))])?,
            Media::new::<1>(&folders[1], [("disk.img", medium(written + apart))])?,
        ];
        let members = [mounts[0].path("disk.img"), mounts[1].path("disk.img"), lab.file("good.img", &good)];
        Some(Self { _mounts: mounts, lab, members, good })
    }
}

#[test]
fn two_mounts_of_a_file_are_no_majority() {
    let Some(twice) = Twice::new(Duration::ZERO) else { return };
    let Twice { lab, members, good, .. } = &twice;
    let run = lab.quorum_img(["check"]).args(members).exits(2);
    assert!(run.stdout().contains("(shared)") && run.stderr().contains("likely one file, mounted twice"), "{run}");
    for way in [&["repair", "--in-place"][..], &["repair", "-o", "new.img"]] {
        let run = lab.quorum_img(way).args(members).exits(2);
        assert!(format!("{run}").contains("--force shared"), "{run}");
        assert_eq!(lab.bytes(&members[2]), *good, "the only good copy was overwritten\n{run}");
        assert!(!lab.path("new.img").exists(), "{run}");
    }
}

/// Copies of one age are two files all the same, and nobody is asked.
#[test]
fn two_copies_of_one_size_are_two() {
    let Some(twice) = Twice::new(Duration::from_nanos(1)) else { return };
    let run = twice.lab.quorum_img(["check", "--output", "json"]).args(&twice.members).exits(1);
    assert!(!run.stdout().contains("mounted twice"), "{run}");
}

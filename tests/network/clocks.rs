//! Servers have clocks of their own: times are compared where one clock made them.

use std::time::{Duration, SystemTime};

use super::{
    fuse_medium::{Media, Medium},
    support::{Lab, MIB, Output, noise},
};

/// Nearly an hour.
const APART: Duration = Duration::from_secs(3500);

/// The second of three copies holds other bytes for 1.5 of 24 MiB, and was written an hour after the others, or before them, by its server's
/// clock: one server for all of them, or one for each.
fn checked(one_server: bool, ahead: bool) -> Option<Output> {
    let lab = Lab::new();
    let good = noise(3, (24 * MIB) as usize);
    let mut bad = good.clone();
    bad[(5 * MIB) as usize..][..(3 * MIB / 2) as usize].copy_from_slice(&noise(4, (3 * MIB / 2) as usize));
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let other = if ahead { written + APART } else { written - APART };
    let medium = |bytes: &Vec<u8>, modified| Medium { modified, ..Medium::new(bytes.clone()) };
    let files = [("a.img", medium(&good, written)), ("b.img", medium(&bad, other)), ("c.img", medium(&good, written))];
    let (mounts, members): (Vec<Media>, Vec<_>) = if one_server {
        let media = Media::new::<3>(lab.folder(), files)?;
        let members = ["a.img", "b.img", "c.img"].map(|name| media.path(name)).to_vec();
        (vec![media], members)
    } else {
        let mount = |(name, file): (&str, Medium)| {
            std::fs::create_dir(lab.path(name)).expect("a new folder");
            let media = Media::new::<1>(&lab.path(name), [(name, file)])?;
            let path = media.path(name);
            Some((media, path))
        };
        files.into_iter().map(mount).collect::<Option<Vec<_>>>()?.into_iter().unzip()
    };
    let run = lab.quorum_img(["check"]).args(&members).output();
    drop(mounts);
    Some(run)
}

#[test]
fn a_clock_that_is_ahead_makes_nobody_newer() {
    for ahead in [true, false] {
        let Some(run) = checked(false, ahead) else { return };
        assert_eq!(run.code(), Some(1), "{run}");
        assert!(!run.stdout().contains("newer") && !run.stderr().contains("newer"), "{run}");
    }
}

/// By one clock it does.
#[test]
fn times_of_one_server_tell_who_is_newer() {
    let Some(run) = checked(true, true) else { return };
    assert_eq!(run.code(), Some(2), "{run}");
    assert!(run.stdout().contains("(newer)"), "{run}");
    let Some(run) = checked(true, false) else { return };
    assert_eq!(run.code(), Some(1), "{run}");
}

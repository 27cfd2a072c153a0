//! NTFS, held against ntfscluster.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    mutate, owner,
    support::{Lab, mounts::unmount, needs, noise, skip},
    tree,
};

const CLUSTER: u64 = 4096;

/// A volume that is mounted by ntfs-3g, until it is dropped.
struct Volume(PathBuf);

impl Volume {
    fn mount(lab: &Lab, image: &str) -> Option<Self> {
        let at = lab.path("mounted");
        fs::create_dir_all(&at).expect("a folder");
        let run = lab.program("ntfs-3g").arg(image).arg(&at).output();
        (run.code() == Some(0) || skip("ntfs-3g can't mount here")).then_some(Self(at))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Fills a volume: fragments, holes, hard links whose names fill several records, names that aren't ASCII, records used again.
fn fill(at: &Path) {
    tree(at);
    let mut files = ["fragments", "others"].map(|name| fs::File::create(at.join(name)).expect("a file"));
    for block in 0..200 {
        for file in &mut files {
            file.write_all(&noise(block, 4096)).and_then(|()| file.sync_all()).expect("it is written");
        }
    }
    for number in 0..60 {
        let link = at.join(format!("srv/a-link-with-a-name-that-is-long-{number}"));
        fs::hard_link(at.join("srv/notes.txt"), link).expect("a link");
    }
    for number in (0..500).step_by(2) {
        fs::remove_file(at.join(format!("many/a-file-with-number-{number}"))).expect("it is removed");
    }
    for number in 0..300 {
        fs::write(at.join(format!("many/\u{e4}rgerlich-{number}")), noise(number, 5000)).expect("a file");
    }
}

#[test]
fn files_are_found_as_ntfscluster_finds_them() {
    if !needs("mkfs.ntfs") || !needs("ntfs-3g") || !needs("ntfscluster") || !needs("umount") {
        return;
    }
    let lab = Lab::new();
    lab.sparse("a.img", 48 << 20);
    lab.program("mkfs.ntfs").args(["-q", "-Q", "-F", "-c", "4096", "a.img"]).exits(0);
    let Some(volume) = Volume::mount(&lab, "a.img") else { return };
    fill(&volume.0);
    drop(volume);
    fs::copy(lab.path("a.img"), lab.path("b.img")).expect("a copy");
    let mut found = BTreeMap::new();
    for cluster in (0..24).chain((24..(48 << 20) / CLUSTER - 1).step_by(67)) {
        let list = lab.program("ntfscluster").args(["-q", "-c", &format!("{cluster}-{cluster}"), "a.img"]).output().stdout();
        let inode = list.lines().find_map(|line| line.strip_prefix("Inode ")?.split_once(' ')?.0.parse::<u64>().ok());
        let ours = owner(&lab, cluster * CLUSTER + 17);
        match inode {
            None => assert_eq!(ours["free"], true, "{cluster}: nobody's\n{list}"),
            Some(number) if number < 16 && number != 5 => assert!(ours["metadata"].is_string(), "{cluster}: {ours}\n{list}"),
            Some(number) => {
                assert_eq!(ours["inode"], number, "{cluster}: {ours}\n{list}");
                found.insert(number, ours["path"].as_str().expect("a path").to_owned());
            }
        }
    }
    assert!(found.len() > 10, "too few files: {found:?}");
    let Some(volume) = Volume::mount(&lab, "a.img") else { return };
    for (number, path) in found.iter().filter(|(number, _)| **number != 5) {
        let there = fs::metadata(volume.0.join(path.trim_start_matches('/'))).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(there.ino(), *number, "{path}");
    }
    assert_eq!(found.get(&5).map_or("/", String::as_str), "/");
}

/// A damaged volume is looked through all the same, and never for ever.
#[test]
fn damaged_volumes_do_no_harm() {
    if !needs("mkfs.ntfs") {
        return;
    }
    let lab = Lab::new();
    lab.sparse("a.img", 4 << 20);
    lab.program("mkfs.ntfs").args(["-q", "-Q", "-F", "-c", "4096", "a.img"]).exits(0);
    let good = fs::read(lab.path("a.img")).expect("it can be read");
    for round in 0..40 {
        let mut disk = good.clone();
        // The table of files lies at its start; every fourth time its boot sector is damaged, too.
        mutate(&mut disk[..256 << 10], if round % 4 == 0 { 11 } else { 512 }, round);
        lab.file("a.img", &disk);
        lab.file("b.img", &disk);
        for place in [0, 0x4000, 0x3_0000, 0x20_0000, (4 << 20) - 512] {
            owner(&lab, place);
        }
    }
}

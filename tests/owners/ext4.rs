//! ext2, ext3 and ext4, held against debugfs.

use std::{collections::BTreeMap, fs};

use crate::support::{self, Lab, needs, noise};

/// What debugfs finds for blocks: their inodes, and a path of each.
fn by_debugfs(lab: &Lab, image: &str, blocks: &[u64]) -> BTreeMap<u64, (u64, Vec<String>)> {
    let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    let debugfs = |request: String| lab.program("debugfs").args(["-R", &request, image]).exits(0).stdout();
    let pairs = |text: String| -> Vec<(u64, String)> {
        let lines =
            text.lines().skip(1).filter_map(|line| line.split_once('\t').map(|(number, rest)| (number.trim().parse(), rest.to_owned())));
        lines.filter_map(|(number, rest)| Some((number.ok()?, rest))).collect()
    };
    let inodes: BTreeMap<u64, u64> = pairs(debugfs(format!("icheck {}", list(blocks))))
        .into_iter()
        .filter_map(|(block, inode)| Some((block, inode.parse().ok()?)))
        .collect();
    let mut paths: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let wanted: Vec<u64> = inodes.values().copied().collect();
    for (inode, path) in pairs(debugfs(format!("ncheck {}", list(&wanted)))) {
        paths.entry(inode).or_default().push(path.replace("//", "/"));
    }
    inodes.into_iter().map(|(block, inode)| (block, (inode, paths.get(&inode).cloned().unwrap_or_default()))).collect()
}

#[test]
fn files_are_found_as_debugfs_finds_them() {
    if !needs("mkfs.ext4") || !needs("debugfs") {
        return;
    }
    for options in [
        &["-b", "1024"][..],
        &["-b", "4096"],
        &["-b", "1024", "-O", "^extents,^64bit,^has_journal,^metadata_csum"],
        &["-b", "1024", "-O", "^64bit,^filetype,^metadata_csum"],
    ] {
        let lab = Lab::new();
        let tree = lab.path("tree");
        fs::create_dir_all(tree.join("srv/deep/er/still")).expect("folders");
        fs::create_dir_all(tree.join("many")).expect("folders");
        fs::write(tree.join("srv/deep/er/still/large.bin"), noise(1, 3 << 20)).expect("a file");
        fs::write(tree.join("srv/log \u{1b}[31m.txt"), "text\n".repeat(4000)).expect("a file");
        for number in 0..400 {
            fs::write(tree.join(format!("many/file-{number}")), format!("{number}\n").repeat(40)).expect("a file");
        }
        let image = lab.sparse("a.img", 24 << 20);
        let made = lab.program("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&tree).args(options).arg(&image).output();
        assert_eq!(made.code(), Some(0), "{made}");
        fs::copy(&image, lab.path("b.img")).expect("a copy");
        let block_bytes: u64 = options[1].parse().expect("a number");
        let blocks: Vec<u64> = (0..(24 << 20) / block_bytes).step_by(61).chain([1, 2, 3]).collect();
        let expected = by_debugfs(&lab, "a.img", &blocks);
        let mut files = 0;
        for &block in &blocks {
            let place = (block * block_bytes).to_string();
            let run = lab.quorum_img(["show", "--owners", "--output", "json", &place, "a.img", "b.img"]).exits(0);
            let owner = run.json()["places"][0]["owner"].clone();
            match expected.get(&block) {
                Some((8, _)) => assert_eq!(owner["metadata"], "its journal", "{block}: {run}"),
                Some((7, _)) => {} // reserved for growing: blocks of descriptors
                Some((inode, paths)) => {
                    files += 1;
                    assert_eq!(owner["inode"], *inode, "{block}: {run}");
                    let path = owner["path"].as_str().unwrap_or_default().to_owned();
                    let known = paths.iter().any(|known| known.replace('\u{1b}', "\\u{1b}") == path || known.contains("^["));
                    assert!(known || (*inode == 2 && path == "/"), "{block}: {path} is none of {paths:?}\n{run}");
                }
                None => assert!(owner.get("inode").is_none(), "{block}: debugfs knows nobody\n{run}"),
            }
        }
        assert!(files > 10, "{options:?}: too few blocks of files were looked at");
    }
}

/// A damaged file system is looked through all the same, and never for ever.
#[test]
fn damaged_file_systems_do_no_harm() {
    let lab = Lab::new();
    let good = support::disks::bytes("ext4-new");
    let mut state = 7u64;
    for round in 0..60 {
        let mut disk = good.clone();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
            // Its first MiB holds descriptors, inodes and folders; the superblock's sum would stop it at once.
            let at = 2048 + (state >> 20) as usize % (1 << 20);
            disk[at] = (state >> 50) as u8;
        }
        let members = ["a.img", "b.img"].map(|name| lab.file(name, &disk));
        for place in [0x600, 0x2_0000, 0x10_0000, 0x53_d000] {
            let run = lab.quorum_img(["show", "--owners", &format!("{place}")]).args(&members).exits(0);
            assert!(!run.stderr().contains("panicked"), "{run}");
        }
    }
}

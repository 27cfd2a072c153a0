//! XFS, held against `xfs_db`.

use std::{
    collections::BTreeMap,
    fs, iter,
    os::unix::fs::{FileExt as _, symlink},
    path::Path,
};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::{
    mutate, owner,
    support::{Lab, mounts::Mounted, needs, noise},
    tree,
};

/// The file in many pieces.
const PIECES: &str = "/pieces";

/// What `xfs_db` calls a block, whose it is, and by which path.
#[derive(Debug)]
struct Known {
    kind: String,
    inode: Option<u64>,
    path: Option<String>,
}

/// The size of its blocks, of its groups in blocks, and the shift that makes their numbers.
fn shape(lab: &Lab) -> (u64, u64, u32, u64) {
    let text = lab.program("xfs_db").args(["-r", "-c", "sb 0", "-c", "p blocksize agblocks agblklog dblocks", "a.img"]).exits(0).stdout();
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
    };
    (value("blocksize"), value("agblocks"), u32::try_from(value("agblklog")).expect("a shift"), value("dblocks"))
}

/// By `xfs_db`, for blocks from the file system's start.
fn by_xfs_db(lab: &Lab, blocks: &[u64], group_blocks: u64, shift: u32) -> BTreeMap<u64, Known> {
    let ask = |block: &u64| format!("fsblock {}\nblockuse -n\n", ((block / group_blocks) << shift) | (block % group_blocks));
    let script: String = iter::once("blockget -n\n".to_owned()).chain(blocks.iter().map(ask)).collect();
    lab.file("script", script.as_bytes());
    let run = lab.program("sh").args(["-c", "PATH=$PATH:/usr/sbin:/sbin xfs_db -r a.img < script"]).exits(0).stdout();
    let lines: Vec<&str> = run.lines().map(|line| line.trim_start_matches("xfs_db> ")).filter(|line| line.starts_with("block ")).collect();
    assert_eq!(lines.len(), blocks.len(), "{run}");
    let known = |line: &str| {
        let rest = line.split_once(" type ").expect("a type").1;
        let mut words = rest.splitn(4, ' ');
        let kind = words.next().unwrap_or_default().to_owned();
        let inode = words.next().filter(|word| *word == "inode").and_then(|_| words.next()?.parse().ok());
        Known { kind, inode, path: words.next().map(|path| format!("/{path}")) }
    };
    blocks.iter().copied().zip(lines.into_iter().map(known)).collect()
}

/// Holds what we find against `xfs_db`: of each kind of block some.
fn hold_against_xfs_db(lab: &Lab, kinds_expected: &[&str]) {
    fs::copy(lab.path("a.img"), lab.path("b.img")).expect("a copy");
    let (block_bytes, group_blocks, shift, blocks) = shape(lab);
    let all: Vec<u64> = (0..blocks).step_by(if blocks > 100_000 { 5 } else { 1 }).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (block, known) in by_xfs_db(lab, &all, group_blocks, shift) {
        // Blocks of maps are called data, too: of the file in many pieces all the more are looked at.
        let (key, step) =
            if known.kind == "data" && known.path.as_deref() == Some(PIECES) { (PIECES, 41) } else { (known.kind.as_str(), 797) };
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        // The first, and some that are spread.
        if *count > 6 && !count.is_multiple_of(step) {
            continue;
        }
        let ours = owner(lab, block * block_bytes + 17);
        let told = format!("block {block}: {known:?}, ours {ours}");
        match known.kind.as_str() {
            "free1" | "free2" => assert_eq!(ours["free"], true, "{told}"),
            "log" => assert_eq!(ours["metadata"], "its journal", "{told}"),
            "sb" | "agf" | "agi" | "agfl" => assert_eq!(ours["metadata"], "the headers of an allocation group", "{told}"),
            "inode" => assert_eq!(ours["metadata"], "a chunk of inodes", "{told}"),
            "freelist" => assert!(ours.get("inode").is_none(), "{told}"),
            kind if kind.starts_with("bt") && !kind.starts_with("btbmap") => assert!(ours.get("inode").is_none(), "{told}"),
            _ => {
                assert_eq!(ours["inode"].as_u64(), known.inode, "{told}");
                assert!(known.inode.is_some(), "{told}");
                assert!(known.path.is_none() || known.path.as_deref() == ours["path"].as_str(), "{told}");
            }
        }
    }
    for kind in kinds_expected {
        assert!(counts.contains_key(*kind), "no block of kind {kind}: {counts:?}");
    }
}

/// What `mkfs.xfs -p` fills a file system by.
fn prototype(tree: &Path) -> String {
    fn list(folder: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("ASCII");
            if entry.file_type().expect("a type").is_dir() {
                lines.push(format!("{name} d--755 0 0"));
                list(&entry.path(), lines);
                lines.push("$".to_owned());
            } else {
                lines.push(format!("{name} ---644 0 0 {}", entry.path().display()));
            }
        }
    }
    let mut lines = vec!["/dev/null".to_owned(), "0 0".to_owned(), "d--755 0 0".to_owned()];
    list(tree, &mut lines);
    lines.push("$\n".to_owned());
    lines.join("\n")
}

#[test]
fn files_are_found_as_xfs_db_finds_them() {
    if !needs("mkfs.xfs") || !needs("xfs_db") {
        return;
    }
    for options in [&["-b", "size=4096"][..], &["-b", "size=1024", "-n", "size=4096", "-m", "crc=1"], &["-m", "crc=0"]] {
        let lab = Lab::new();
        tree(&lab.path("tree"));
        lab.file("prototype", prototype(&lab.path("tree")).as_bytes());
        lab.sparse("a.img", 320 << 20);
        let made = lab.program("mkfs.xfs").args(["-q", "-p", "prototype"]).args(options).arg("a.img").output();
        if made.code() != Some(0) && options.contains(&"crc=0") {
            continue; // newer ones make version 5 only
        }
        assert_eq!(made.code(), Some(0), "{made}");
        hold_against_xfs_db(&lab, &["free2", "data", "inode", "dir"]);
    }
}

/// What only a kernel makes: files in so many pieces that their map is a tree, attributes outside of inodes, long links.
#[test]
fn files_in_many_pieces_are_found() {
    if !needs("mkfs.xfs") || !needs("xfs_db") || !needs("setfattr") {
        return;
    }
    let lab = Lab::new();
    let Some(mounted) = Mounted::xfs(&lab.path(".")) else { return };
    tree(mounted.path());
    let pieces = fs::File::create(mounted.join("pieces")).expect("a file");
    pieces.write_all_at(&noise(2, 24 << 20), 0).and_then(|()| pieces.sync_all()).expect("it is written");
    for block in 0..3000 {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&pieces, flags, block * 8192, 4096).expect("a hole");
    }
    for number in 0..40 {
        let (name, value) = (format!("user.number-{number}"), "v".repeat(1500));
        lab.program("setfattr").args(["-n", &name, "-v", &value]).arg(mounted.join("pieces")).exits(0);
    }
    symlink("t".repeat(900), mounted.join("srv/a-long-link")).expect("a link");
    for number in (0..700).step_by(3) {
        fs::remove_file(mounted.join(&format!("many/a-file-with-number-{number}"))).expect("it is removed");
    }
    drop(pieces);
    drop(mounted);
    fs::rename(lab.path("xfs.fs"), lab.path("a.img")).expect("renamed");
    hold_against_xfs_db(&lab, &["free2", "data", "inode", "dir", "attr", "symlink", PIECES]);
}

/// A damaged file system is looked through all the same, and never for ever.
#[test]
fn damaged_file_systems_do_no_harm() {
    let lab = Lab::new();
    let good = crate::support::disks::bytes("xfs-new");
    for round in 0..40 {
        let mut disk = good.clone();
        // The first sector has a sum.
        mutate(&mut disk[..1 << 20], 512, round);
        lab.file("a.img", &disk);
        lab.file("b.img", &disk);
        for place in [0u64, 0x1000, 0x1_0000, 0x8_0000] {
            owner(&lab, place);
        }
    }
}

/// The first copy's tree of free space has a flipped bit: its sum says so, and the sound copy is asked.
#[test]
fn what_is_damaged_is_not_believed() {
    if !needs("mkfs.xfs") || !needs("xfs_db") {
        return;
    }
    let lab = Lab::new();
    tree(&lab.path("tree"));
    lab.file("prototype", prototype(&lab.path("tree")).as_bytes());
    lab.sparse("a.img", 320 << 20);
    lab.program("mkfs.xfs").args(["-q", "-m", "crc=1", "-p", "prototype", "a.img"]).exits(0);
    fs::copy(lab.path("a.img"), lab.path("b.img")).expect("a copy");
    let disk = fs::read(lab.path("a.img")).expect("an image");
    let at = disk.chunks(4096).position(|block| block.starts_with(b"699\n699\n")).expect("a file's block") as u64 * 4096;
    assert_eq!(owner(&lab, at)["path"], "/many/a-file-with-number-699");
    // The first group's tree of free space lies in its block 1, as mkfs makes it: every bit in its records matters.
    assert_eq!(&disk[4096..4100], b"AB3B");
    let mut damaged = disk.clone();
    damaged[4096 + 56 + 1] ^= 0xff;
    damaged[4096 + 56] ^= 0x0f;
    lab.file("a.img", &damaged);
    assert_eq!(owner(&lab, at)["path"], "/many/a-file-with-number-699");
    assert_eq!(owner(&lab, 2048)["metadata"], "the headers of an allocation group");
}

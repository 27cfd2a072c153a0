//! What stays bounded, whatever the images: memory, and the time that holes cost.

mod support;

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use support::{
    GIB, KIB, Lab, MIB, SECTOR, noise,
    report::{divergence, divergences},
    sectors,
};

/// All the memory of its own that a run may have, in KiB: "256 MiB beside the page cache".
const MEMORY_KIB: u64 = 256 * 1024;

/// Room for big files that aren't worth a disk's time.
fn big_lab(bytes: u64) -> Lab {
    let memory = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(memory).is_ok_and(|facts| facts.blocks_available() * facts.fragment_size() > 2 * bytes);
    if room { Lab::below(memory) } else { Lab::new() }
}

/// What a run may allocate (not: map of files) is bounded by the shell.
fn bounded() -> [String; 4] {
    ["sh".into(), "-c".into(), format!("ulimit -d {MEMORY_KIB} && exec \"$@\""), "sh".into()]
}

/// The usual limit on open files is too low for many members on long backing chains; it is raised as far as the system lets us.
#[test]
fn many_members_need_no_higher_limit_of_open_files() {
    let lab = Lab::new();
    let members = lab.many_copies_of("disk.img", &noise(1, 4096), 40);
    let few = ["sh", "-c", "ulimit -Sn 20 && exec \"$@\"", "sh"];
    lab.quorum_img(["check"]).args(&members).under(few).exits(0);
    // A hard limit is a limit.
    let hard = ["sh", "-c", "ulimit -n 20 && exec \"$@\"", "sh"];
    lab.quorum_img(["check"]).args(&members).under(hard).exits(3).complains("disk-").complains("ulimit -n");
}

/// Damage to every other sector of a GiB: a million divergences, each of which is reported, in order, in bounded memory.
#[test]
fn a_million_scattered_divergences_come_in_order_and_in_bounded_memory() {
    const COUNT: u64 = 1 << 20;
    let lab = big_lab(2 * GIB);
    let [a, b, c] = ["a.img", "b.img", "c.img"].map(|name| lab.sparse(name, GIB));
    let mut file = OpenOptions::new().write(true).open(&b).expect("our own file");
    let mut pattern = vec![0; 1 << 20];
    pattern.chunks_mut(1024).for_each(|pair| pair[511] = 1);
    (0..1024).for_each(|_| file.write_all(&pattern).expect("room for a GiB"));

    let run = lab.quorum_img(["check", "-j", "4", "--output", "json", "--max-divergences", "3", "--report", "all.json"]);
    // A machine that has something else to do takes its time; a hang takes for ever.
    let report = run.args([&a, &b, &c]).under(bounded()).within(Duration::from_mins(10)).exits(2).json();
    assert_eq!(report["sectors"], json!({ "total": 2 * COUNT, "unanimous": COUNT, "decided": COUNT, "undecided": 0 }));
    assert_eq!(report["members"][1]["dissenting-sectors"], COUNT);
    assert_eq!(report["divergences-omitted"], COUNT - 3);
    let mut listed = 0;
    // A document of more than 100 MB: looked through, not parsed.
    for piece in BufReader::new(File::open(lab.path("all.json")).expect("the report")).split(b'{') {
        let piece = piece.expect("bytes");
        let piece = String::from_utf8_lossy(&piece);
        // The list has a line for each; what else has an offset is spread over several.
        if let Some(offset) = number_after("\"offset\":", &piece).filter(|_| piece.starts_with("\"offset\":")) {
            assert_eq!(offset, 2 * SECTOR * listed, "out of order");
            listed += 1;
        }
    }
    assert_eq!(listed, COUNT, "--report lists them all");

    let events = File::create(lab.path("events")).expect("a file");
    let run = lab.quorum_img(["check", "-j", "4", "--output", "events", "--range", "512M:64M"]).args([&a, &b, &c]);
    run.stdout_to(events).under(bounded()).exits(2);
    let lines = BufReader::new(File::open(lab.path("events")).expect("the events")).lines().map(|line| line.expect("text"));
    let places = lines.filter(|line| line.contains("QUORUM_REPORT_BAD")).map(|line| number_after("\"sector-num\":", &line));
    let expected = (MIB..MIB + 128 * KIB).step_by(2).map(Some);
    assert!(places.eq(expected), "each divergence has its event, in order");
}

/// The worst for a plan: two members differ by turns in every other pair of sectors, off the grid of 4 KiB blocks, so that an eighth of
/// a million divergences stand in one row of blocks.
#[test]
fn a_plan_without_a_gap_is_carried_out_in_bounded_memory() {
    const SIZE: u64 = 128 * MIB;
    let lab = big_lab(6 * SIZE);
    let members = ["a.img", "b.img", "c.img", "d.img"].map(|name| lab.sparse(name, SIZE));
    let damaged = [&members[2], &members[3]].map(|path| OpenOptions::new().write(true).open(path).expect("our own file"));
    let mut sector = 1;
    for turn in 0.. {
        if (sector + 4) * SECTOR > SIZE {
            break;
        }
        std::os::unix::fs::FileExt::write_all_at(&damaged[turn % 2], &[7; 1024], sector * SECTOR).expect("room");
        sector += 2;
    }
    let run = lab.quorum_img(["repair", "--in-place", "-y", "--output", "json", "--max-divergences", "3", "--threshold", "2"]);
    let run = run.args(["--force", "stale,newer,minority,zeros,empty"]).args(&members).under(bounded()).exits(0);
    let report = run.json();
    assert!(report["repair"]["plan-omitted"].as_u64().is_some_and(|omitted| omitted > 100_000), "{run}");
    members[1..].iter().for_each(|member| lab.assert_same_bytes(&members[0], member));
    lab.quorum_img(["undo"]).arg(lab.path("a.img.quorum-journal")).under(bounded()).exits(0);
    assert_eq!(lab.read(&members[2], 512..1536), [7; 1024]);
}

/// The number that stands behind `key`.
fn number_after(key: &str, text: &str) -> Option<u64> {
    let rest = text[text.find(key)? + key.len()..].trim_start();
    rest[..rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Each of many members must be held in memory somewhere: not all of it at once.
#[test]
fn many_members_stay_within_the_memory_bound() {
    let lab = big_lab(32 * MIB);
    let mut members: Vec<PathBuf> = (0..63).map(|n| lab.sparse(format!("disk-{n}.img"), 32 * MIB)).collect();
    let mut pattern = vec![0; 1 << 20];
    pattern.chunks_mut(16384).for_each(|chunk| chunk[600] = 1);
    members.push(lab.file("last.img", pattern.repeat(32)));
    let run = lab.quorum_img(["check", "-j", "4", "--output", "json"]).args(&members).under(bounded());
    let report = run.exits(2).json();
    assert_eq!(report["members"][63]["dissenting-sectors"], 2048);
    assert_eq!(report["sectors"]["decided"], 2048);
}

/// "Sparse costs data only": a terabyte of nothing is nothing to read.
#[test]
fn common_holes_are_not_read() {
    let lab = Lab::new();
    let members: Vec<PathBuf> = (0..3).map(|n| lab.sparse(format!("disk-{n}.img"), 1024 * GIB)).collect();
    lab.write(&members[1], 700 * GIB + 512, &[7; 512]);
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).within(Duration::from_secs(20));
    let report = run.exits(2).json();
    assert_eq!(report["guards"][0]["word"], "empty", "the only one that holds anything");
    let at = 700 * GIB / SECTOR + 1;
    assert_eq!(divergences(&report), json!([divergence(sectors(at..at + 1), "decided", &[&[0, 2], &[1]], &[])]));
    assert_eq!(report["sectors"]["total"], 1024 * GIB / SECTOR);
}

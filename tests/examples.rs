//! Every command that README.md, docs/ and the help (and so the man pages) show is one that the program takes, and does what it is shown for: here
//! they are run as they stand, on copies of what ships in testdata/.

#[path = "support/mod.rs"]
mod support;

use std::{collections::BTreeSet, fs, path::Path};

use support::{Lab, needs, testdata};

/// What can't be run here, by a part of it, and why.
const NOT_RUN: [(&str, &str); 9] = [
    ("/dev/", "needs devices"),
    ("nbd", "needs a server"),
    ("/mnt/", "needs mounts"),
    ("/var/lib/", "writes to the system"),
    ("/etc/", "writes to the system"),
    ("~/", "writes to the user's home"),
    ("/old/", "needs a journal of files that moved"),
    ("json:{", "is longer than a line; the tests of descriptions run it"),
    ("-f qcow2 --allow-references a.qcow2", "in place, an image that ships is damaged in its metadata"),
];

/// The command lines of a text: indented, each on a line of its own.
fn commands(text: &str) -> impl Iterator<Item = String> + '_ {
    let lines = text.lines().filter(|line| line.starts_with("    ")).map(str::trim);
    let lines = lines.filter(|line| line.starts_with("quorum-img "));
    // What a script does with the exit code, and a comment, are the reader's.
    lines.map(|line| line.split("; code=").next().unwrap_or(line).split("   #").next().unwrap_or(line).trim_end().to_owned())
}

fn all_commands() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<String> =
        ["README.md", "docs/vote.md", "docs/nfs.md"].iter().map(|name| fs::read_to_string(root.join(name)).expect("it ships")).collect();
    let top = quorum_img::cli::command();
    let below = top.get_subcommands().flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
    texts.extend(below.filter_map(|command| Some(command.get_after_long_help()?.to_string())));
    let all: BTreeSet<String> = texts.iter().flat_map(|text| commands(text).collect::<Vec<_>>()).collect();
    assert!(all.len() > 30, "they were not found: {all:?}");
    all
}

fn words(lab: &Lab, command: &str) -> Vec<String> {
    let said = lab.program("bash").args(["-c", &format!("printf '%s\\n' {command}")]).exits(0);
    said.stdout().lines().map(str::to_owned).collect()
}

#[test]
fn every_command_is_one() {
    let lab = Lab::new();
    for command in all_commands() {
        let line = command.split(" > ").next().unwrap_or(&command);
        if line.contains("json:{") {
            continue;
        }
        let line = &line.replace("HEX", &"0".repeat(64));
        let parsed = quorum_img::cli::command().try_get_matches_from(words(&lab, line));
        assert!(parsed.is_ok(), "{command}\n{}", parsed.err().map_or_else(String::new, |error| error.to_string()));
    }
}

/// What the examples of sets are about: copies that are alike, a set of three of them, what it wrote, what was exported.
fn scene_of_sets(lab: &Lab, command: &str) {
    for name in ["a.img", "b.img", "c.img", "d.img", "e.img", "f.img"] {
        fs::copy(testdata("d.img"), lab.path(name)).expect("it ships");
    }
    fs::write(lab.path("new.img"), "").expect("it can be written");
    if command.contains("--adopt") {
        lab.quorum_img(["set", "create", "--assume-clean", "old.qset", "a.img", "b.img", "c.img"]).exits(0);
    } else if !command.contains("set create vm.qset") && !command.contains("--assume-clean") {
        lab.quorum_img(["set", "create", "vm.qset", "c.img", "d.img", "e.img"]).exits(0);
        let mut bytes = lab.bytes(&lab.path("e.img"));
        bytes[70_000] ^= 1;
        fs::write(lab.path("e.img"), bytes).expect("it can be written");
        lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    }
    if command.contains("--import") {
        let exported = lab.quorum_img(["set", "export", "vm.qset"]).exits(0).stdout().clone();
        fs::write(lab.path("vm.json"), exported).expect("it can be written");
    }
}

/// What the examples are about: three damaged copies and a fourth, qcow2 images, ddrescue's maps.
fn scene() -> Lab {
    let lab = Lab::new();
    fs::create_dir(lab.path("testdata")).expect("a folder");
    for name in ["a.img", "b.img", "c.img", "d.img", "a.qcow2", "b.qcow2", "c.qcow2"] {
        for target in [lab.path(name), lab.path("testdata").join(name)] {
            fs::copy(testdata(name), target).expect("it ships");
        }
    }
    let length = fs::metadata(lab.path("a.img")).expect("it is there").len();
    for name in ["a.map", "b.map", "c.map"] {
        lab.file(name, format!("# Mapfile. Created by GNU ddrescue version 1.27\n0x00000000 + 1\n0x00000000 {length:#x} +\n"));
    }
    lab
}

#[test]
fn every_command_works_as_shown() {
    if !needs("bash") {
        return;
    }
    // What the example with a digest would make.
    let lab = scene();
    lab.quorum_img(["repair", "--undecided", "first", "-o", "fixed.img", "a.img", "b.img", "d.img"]).exits(2);
    let sum = <sha2::Sha256 as sha2::Digest>::digest(lab.bytes(&lab.path("fixed.img")));
    let sum = sum.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let mut run_count = 0;
    for command in all_commands() {
        if NOT_RUN.iter().any(|(part, _)| command.contains(part)) {
            continue;
        }
        let lab = scene();
        let copies = ["a.img", "b.img", "c.img"];
        if command.contains("quorum-img set ") {
            scene_of_sets(&lab, &command);
        }
        for list in ["report.json", "last.json"] {
            if command.contains(&format!("--from {list}")) || command.contains(&format!("report {list}")) {
                lab.quorum_img(["check", "--report", list]).args(copies).output();
            }
        }
        if command.contains("quorum-journal") {
            lab.quorum_img(["repair", "--in-place", "-y"]).args(copies).exits(0);
        }
        if command.contains("SHA256SUMS") {
            let sum = <sha2::Sha256 as sha2::Digest>::digest(lab.bytes(&lab.path("b.img")));
            lab.file("SHA256SUMS", sum.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")) + "  b.img\n");
        }
        for (digest, from) in [("disk.qdg", &copies[..]), ("a.qdg", &["a.img"]), ("b.qdg", &["b.img"]), ("c.qdg", &["c.img"])] {
            if command.contains(digest) && !command.contains(&format!("-o {digest}")) {
                lab.quorum_img(["digest", "-o", digest]).args(from).exits(0);
            }
        }
        for part in ["0", "1"] {
            let digest = format!("part{part}.qdg");
            if command.contains(&digest) && !command.contains(&format!("-o {digest}")) {
                lab.quorum_img(["digest", "--shard", &format!("{part}/2"), "-o", &digest]).arg("c.img").exits(0);
            }
            if command.contains("report --merge") {
                let report = format!("part{part}.json");
                lab.quorum_img(["check", "--shard", &format!("{part}/2"), "--report", &report]).args(copies).output();
            }
        }
        let arguments = command.trim_start_matches("quorum-img ").replace("HEX", &sum);
        let line = format!("exec \"$0\" {arguments}");
        let run = lab.program("bash").args(["-c", &line, env!("CARGO_BIN_EXE_quorum-img")]).output();
        assert!(matches!(run.code(), Some(0..=2)), "{command}\n{run}");
        run_count += 1;
    }
    assert!(run_count > 25, "only {run_count} were run");
}

//! `quorum-img info` against the tools that made what it looks at, and the shells' completions against the shells.

mod support;

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use support::{Lab, MIB, mounts::LoopDevice, needs, testdata};

/// Runs a tool that must succeed; what it prints.
fn run(tool: &str, args: &[&str], path: &Path) -> String {
    let output = Command::new(tool).args(args).arg(path).output().expect("the tool runs");
    assert!(output.status.success(), "{tool} {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn info(lab: &Lab, path: &Path) -> Value {
    lab.quorum_img(["info", "--output", "json"]).arg(path).exits(0).json()[0].clone()
}

#[test]
fn tells_partitions_and_what_is_in_them() {
    let lab = Lab::new();
    let found = info(&lab, &testdata("c.img"));
    assert_eq!(found["format"], "raw");
    assert_eq!(found["virtual-size"], 1_308_160);
    let table = &found["partition-table"];
    assert_eq!((&table["type"], table.get("backup-only")), (&json!("gpt"), None));
    let root = &table["partitions"][1];
    assert_eq!(root["name"], "root");
    assert_eq!((root["offset"].as_u64(), root["length"].as_u64()), (Some(0xc000), Some(1_228_800)));
    assert_eq!(root["file-system"], json!({ "type": "ext4", "label": "root", "written": "2023-11-14T22:13:20Z" }));
    let text = lab.quorum_img(["info"]).arg(testdata("c.img")).exits(0).stdout();
    assert!(text.contains("root") && text.contains("ext4") && text.contains("0xc000"), "{text}");
}

/// The primary header of a.img is damaged; its backup at the disk's end isn't.
#[test]
fn a_backup_table_is_called_one() {
    let lab = Lab::new();
    let found = info(&lab, &testdata("a.img"));
    assert_eq!(found["partition-table"]["backup-only"], true);
    assert_eq!(found["partition-table"]["partitions"].as_array().map(Vec::len), Some(2));
}

/// A DOS table with logical partitions, read as sfdisk reads it.
#[test]
fn reads_dos_tables_as_sfdisk_does() {
    if !needs("sfdisk") {
        return;
    }
    let lab = Lab::new();
    let disk = lab.sparse("dos.img", 64 * MIB);
    let script = lab.file("script", "label: dos\nsize=8M, type=83\nsize=40M, type=5\nsize=4M, type=82\nsize=6M, type=7\n");
    let made = Command::new("sfdisk").args(["-q"]).arg(&disk).stdin(std::fs::File::open(script).expect("it is there")).output();
    assert!(made.expect("sfdisk runs").status.success());
    let expected: Value = serde_json::from_str(&run("sfdisk", &["--json"], &disk)).expect("JSON");
    let expected = expected["partitiontable"]["partitions"].as_array().expect("a list").clone();
    let found = info(&lab, &disk)["partition-table"]["partitions"].as_array().expect("a list").clone();
    let place = |part: &Value| (part["offset"].as_u64().expect("bytes") / 512, part["length"].as_u64().expect("bytes") / 512);
    let found: Vec<(u64, u64)> = found.iter().map(place).collect();
    let number = |part: &Value, key: &str| part[key].as_u64().expect("sectors");
    let expected: Vec<(u64, u64)> = expected.iter().map(|part| (number(part, "start"), number(part, "size"))).collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 4, "a primary, the extended one, two logical ones");
}

/// Each file system is made by its own tool.
#[test]
fn recognises_file_systems_as_their_makers_made_them() {
    let lab = Lab::new();
    for (tool, args, kind) in [
        ("mke2fs", &["-q", "-F", "-t", "ext4", "-L", "here"][..], "ext4"),
        ("mke2fs", &["-q", "-F", "-t", "ext3", "-L", "here"], "ext3"),
        ("mke2fs", &["-q", "-F", "-t", "ext2", "-L", "here"], "ext2"),
        ("mkfs.xfs", &["-q", "-L", "here"], "xfs"),
        ("mkfs.btrfs", &["-q", "-L", "here"], "btrfs"),
        ("mkswap", &["-q", "-L", "here"], "swap"),
    ] {
        if !needs(tool) {
            continue;
        }
        let disk = lab.sparse(kind, 512 * MIB);
        run(tool, args, &disk);
        let found = info(&lab, &disk);
        assert_eq!(found["file-system"]["type"], kind, "{found}");
        assert_eq!(found["file-system"]["label"], "here", "{found}");
        assert!(found.get("partition-table").is_none(), "{found}");
    }
}

/// ext4's own write time, which e2fsprogs takes from this variable.
#[test]
fn tells_when_ext4_was_last_written() {
    if !needs("mke2fs") {
        return;
    }
    let lab = Lab::new();
    let disk = lab.sparse("ext4.img", 16 * MIB);
    let mut mke2fs = Command::new("mke2fs");
    let made = mke2fs.env("E2FSPROGS_FAKE_TIME", "1927857906").args(["-q", "-F", "-t", "ext4"]).arg(&disk).status();
    assert!(made.expect("mke2fs runs").success());
    assert_eq!(info(&lab, &disk)["file-system"]["written"], "2031-02-03T04:05:06Z");
}

#[test]
fn tells_a_devices_facts() {
    let lab = Lab::new();
    let backing = lab.sparse("backing.img", 4 * MIB);
    let Some(device) = LoopDevice::new(&backing) else { return };
    let found = info(&lab, device.path());
    assert_eq!(found["virtual-size"], 4 * MIB);
    assert!(found.get("modified").is_none(), "a node's own time says nothing of its contents: {found}");
    assert_eq!(found["device"]["logical-block-size"], 512);
    assert_eq!(found["device"]["backing-file"], backing.to_str().expect("UTF-8"));
}

#[test]
fn shells_take_their_completions() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = lab.quorum_img(["completions", shell]).exits(0).stdout();
        assert!(text.contains("quorum-img") && text.contains("read-pattern"), "{shell}: {text}");
        if shell == "bash" && needs("bash") {
            let script = lab.file("completions", &text);
            run("bash", &["-n"], &script);
        }
    }
    lab.quorum_img(["completions", "nosuchshell"]).exits(3);
}

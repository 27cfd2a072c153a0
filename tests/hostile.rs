//! Names and contents that were made to do harm: shown escaped, read with care, never obeyed.

mod support;

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use support::{
    Lab, SECTOR, noise,
    refusal::{AT_ONCE, FORGED, assert_clean, hostile_names, refused},
    sectors, testdata,
};

// --- names ----------------------------------------------------------------------------------------------------------------

fn hex(name: &OsStr) -> String {
    name.as_bytes().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// What is no command's name either.
#[test]
fn a_hostile_word_is_shown_escaped() {
    let lab = Lab::new();
    for (name, shown) in hostile_names() {
        let output = refused(&lab, [name]);
        output.complains(shown);
        assert!(!output.stderr().lines().any(|line| line.starts_with(FORGED)), "a name made a line of its own\n{output}");
    }
}

#[test]
fn hostile_names_vote_and_are_shown_escaped() {
    let lab = Lab::new();
    let bytes = noise(6, 8 * 1024);
    let [a, b] = lab.copies_of("disk.img", &bytes);
    for (name, _) in hostile_names() {
        let hostile = lab.file(&name, &bytes);
        lab.damage(&hostile, sectors(2..3));
        for options in [&["check"][..], &["check", "--output", "json"], &["check", "--output", "events"], &["info"]] {
            let output = lab.quorum_img(options).args([&a, &hostile, &b]).output();
            assert_eq!(output.code(), Some(i32::from(options[0] == "check")), "{output}");
            assert_clean(&output);
            assert!(!output.stdout().lines().any(|line| line.starts_with(FORGED)), "a name made a line of its own\n{output}");
        }
        let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &hostile, &b]).exits(1).json();
        let member = &report["members"][1];
        if name.to_str().is_none() {
            assert_eq!(member["name-hex"], hex(hostile.as_os_str()), "{member}");
            assert!(member["name"].as_str().is_some_and(|name| name.starts_with(lab.folder().to_str().expect("UTF-8"))), "{member}");
        } else {
            assert_eq!(member.get("name-hex"), None, "{member}");
        }
        assert_eq!(report["members"][0].get("name-hex"), None);

        let target = OsString::from_vec([b"fixed-", name.as_bytes()].concat());
        let repair = [OsStr::new("repair"), OsStr::new("-o"), &target];
        let output = lab.quorum_img(repair).args([&a, &hostile, &b]).exits(0);
        assert_clean(&output);
        lab.assert_same_bytes(&lab.path(&target), &a);
    }
}

// --- hostile contents -----------------------------------------------------------------------------------------------------

/// The GPT of `testdata/`, whole again in three copies, with one entry's bytes replaced and its checksums made good.
fn with_gpt(lab: &Lab, change: impl Fn(&mut [u8], &mut [u8])) -> [PathBuf; 3] {
    let mut bytes = fs::read(testdata("b.img")).expect("an image"); // its primary header is undamaged
    let (head, table) = bytes.split_at_mut(1024);
    change(&mut head[512..604], &mut table[..128 * 128]);
    let entries = crc32fast::hash(&table[..128 * 128]);
    head[600..604].copy_from_slice(&entries.to_le_bytes());
    head[528..532].fill(0);
    let header = crc32fast::hash(&head[512..604]);
    head[528..532].copy_from_slice(&header.to_le_bytes());
    let copies = lab.copies_of("disk.img", &bytes);
    lab.damage(&copies[1], sectors(50..51));
    copies
}

fn assert_survives(lab: &Lab, copies: &[PathBuf], why: &str) {
    for options in [&["check"][..], &["check", "--output", "json"], &["info"]] {
        let output = lab.quorum_img(options).args(copies).within(AT_ONCE).output();
        assert_eq!(output.code(), Some(i32::from(options[0] == "check")), "{why}\n{output}");
        assert_clean(&output);
    }
}

/// A partition's name comes from inside of the disk: nobody typed it.
#[test]
fn a_partition_that_writes_on_terminals_is_shown_escaped() {
    let lab = Lab::new();
    let copies = with_gpt(&lab, |_, table| {
        let name: Vec<u8> = "a\u{1b}[2Jb\nc\u{202e}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        table[56..128].fill(0);
        table[56..56 + name.len()].copy_from_slice(&name);
    });
    assert_survives(&lab, &copies, "escape codes");
    let output = lab.quorum_img(["check"]).args(&copies).exits(1);
    output.says("[2Jb"); // the name is shown, without its teeth
    assert!(!output.stdout().contains('\u{202e}'), "turns the writing direction\n{output}");
}

#[test]
fn impossible_partition_tables_do_no_harm() {
    let lab = Lab::new();
    let put =
        |header: &mut [u8], at: usize, value: u64, count: usize| header[at..at + count].copy_from_slice(&value.to_le_bytes()[..count]);
    let copies = with_gpt(&lab, |header, _| put(header, 80, u64::MAX, 4));
    assert_survives(&lab, &copies, "four milliard entries");
    for entry_bytes in [0, 1, 127, u64::from(u32::MAX)] {
        let copies = with_gpt(&lab, |header, _| put(header, 84, entry_bytes, 4));
        assert_survives(&lab, &copies, "entries of an impossible size");
    }
    let copies = with_gpt(&lab, |header, _| put(header, 72, u64::MAX, 8));
    assert_survives(&lab, &copies, "a table behind the end of the world");
    for (first, last) in [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (60, 40), (0, 5000)] {
        let copies = with_gpt(&lab, |_, table| {
            put(table, 32, first, 8);
            put(table, 40, last, 8);
        });
        assert_survives(&lab, &copies, "a partition with impossible ends");
    }
}

/// An MBR whose logical partitions form a circle, and one that is nothing but ones.
#[test]
fn impossible_boot_records_do_no_harm() {
    let lab = Lab::new();
    let mut circle = noise(8, 64 * 512);
    circle[440..512].fill(0);
    let entry = |sector: &mut [u8], number: usize, kind: u8, start: u32, count: u32| {
        let at = 446 + 16 * number;
        sector[at + 4] = kind;
        sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
        sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    };
    entry(&mut circle[..512], 0, 5, 1, 60);
    circle[512 + 440..1024].fill(0);
    entry(&mut circle[512..1024], 0, 0x83, 1, 5);
    entry(&mut circle[512..1024], 1, 5, 0, 60);
    let mut ones = vec![0xff; 64 * 512];
    ones[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (bytes, why) in [(circle, "a circle of logical partitions"), (ones, "nothing but ones")] {
        let copies: [PathBuf; 3] = lab.copies_of("disk.img", &bytes);
        lab.flip_bit(&copies[1], 50 * SECTOR);
        assert_survives(&lab, &copies, why);
    }
}

/// An answer that came from a file that was never named would be a leak: nothing in an image is followed.
#[test]
fn a_path_inside_of_an_image_is_not_followed() {
    let lab = Lab::new();
    let secret = lab.file("secret", "secret");
    let text = format!("# Disk DescriptorFile\nRW 128 FLAT \"{}\" 0\n", secret.display());
    let copies: [PathBuf; 3] = lab.copies_of("disk.vmdk", text.as_bytes());
    lab.quorum_img(["check"]).args(&copies).exits(3).complains("qemu-nbd").complains("-f vmdk").complains("byte for byte");
    let report = lab.quorum_img(["check", "--output", "json", "-f", "raw"]).args(&copies).exits(0).json();
    assert_eq!(report["size"], text.len());
    assert_eq!(report["members"][0]["format"], "raw");
}

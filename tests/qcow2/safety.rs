//! What nobody said isn't taken for granted: formats that were guessed are called guesses, and nothing is written on a guess. What we
//! can't read isn't read halfway: encryption and unknown features are refused by name.

use std::fs;

use serde_json::Value;

use super::{
    have_qemu,
    making::{follow, some_disk},
    qemu_img,
    support::{Lab, Output, noise, refusal::refused, sectors},
};

/// Three images of one disk, `a.q`, `b.q` and `c.q`, all alike to the guest, and the disk itself.
fn three() -> Lab {
    let lab = Lab::new();
    lab.file("disk.raw", some_disk(4, 300_032));
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=4k disk.raw a.q");
    qemu_img(&lab, "convert -c -f raw -O qcow2 disk.raw b.q");
    qemu_img(&lab, "convert -f raw -O qcow2 -o compat=v2 disk.raw c.q");
    lab
}

/// Format, and whether it is a guess, of each member.
fn formats(run: &Output) -> Vec<(String, bool)> {
    let report = run.json();
    let members = report["members"].as_array().unwrap_or_else(|| panic!("no members\n{run}"));
    let text = |member: &Value| member["format"].as_str().unwrap_or_else(|| panic!("no format\n{run}")).to_owned();
    members.iter().map(|member| (text(member), member["format-guessed"] == true)).collect()
}

fn told(format: &str, guessed: bool, count: usize) -> Vec<(String, bool)> {
    vec![(format.to_owned(), guessed); count]
}

#[test]
fn guesses_are_called_guesses() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    let json = |line: &[&str]| lab.quorum_img(["check", "--output", "json"]).args(line).exits(0);
    assert_eq!(formats(&json(&["a.q", "b.q", "c.q"])), told("qcow2", true, 3));
    assert_eq!(formats(&json(&["-f", "auto", "a.q", "b.q", "c.q"])), told("qcow2", true, 3));
    assert_eq!(formats(&json(&["-f", "qcow2", "a.q", "b.q", "c.q"])), told("qcow2", false, 3));
    assert_eq!(formats(&json(&["qcow2:a.q", "qcow2:b.q", "qcow2:c.q"])), told("qcow2", false, 3));
    lab.file("copy.raw", lab.bytes(&lab.path("disk.raw")));
    assert_eq!(formats(&json(&["disk.raw", "copy.raw"])), told("raw", true, 2));
    assert_eq!(formats(&json(&["-f", "raw", "disk.raw", "copy.raw"])), told("raw", false, 2));
    // What a prefix settles is no guess, and needs not be alike.
    let mixed = formats(&json(&["raw:disk.raw", "qcow2:a.q", "b.q", "c.q"]));
    assert_eq!(mixed, [told("raw", false, 1), told("qcow2", false, 1), told("qcow2", true, 2)].concat());
    let mixed = formats(&json(&["-f", "qcow2", "raw:disk.raw", "b.q"]));
    assert_eq!(mixed, [told("raw", false, 1), told("qcow2", false, 1)].concat());
    let mixed = formats(&json(&["-f", "raw", "disk.raw", "qcow2:b.q"]));
    assert_eq!(mixed, [told("raw", false, 1), told("qcow2", false, 1)].concat());

    lab.quorum_img(["check", "a.q", "b.q", "c.q"]).exits(0).says("guessed").says("qcow2");
    lab.quorum_img(["check", "-f", "qcow2", "a.q", "b.q", "c.q"]).exits(0).says_nothing_of("guessed");
}

/// A qcow2 whose magic is damaged looks raw; a raw disk on which a guest wrote a header looks like qcow2.
#[test]
fn guesses_that_differ_are_no_vote() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    lab.write(&lab.path("b.q"), 0, b"QFX\xfb");
    for line in [&["check"][..], &["check", "--output", "json"], &["repair", "-o", "out.img"], &["check", "-f", "auto"]] {
        let run = refused(&lab, line.iter().copied().chain(["a.q", "b.q", "c.q"]));
        for word in ["a.q", "b.q", "c.q", "raw", "qcow2", "hint:", "-f", "qcow2:", "raw:"] {
            run.complains(word);
        }
        let line_of = |name: &str| run.stderr().lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        assert!(line_of("b.q").contains("raw") || line_of("b.q").contains("a.q"), "each member with its guess\n{run}");
    }
    // Settled, it is what was said.
    let run = lab.quorum_img(["check", "-f", "qcow2", "--output", "json", "a.q", "b.q", "c.q"]).exits(1);
    assert_eq!(run.json()["members"][1]["status"], "failed", "{run}");
    // The one that guesses otherwise is settled; those that are left guess alike.
    lab.quorum_img(["check", "a.q", "qcow2:b.q", "c.q"]).exits(1);
    refused(&lab, ["check", "qcow2:a.q", "b.q", "c.q"]);
}

/// Two meanings, and a person has to say which: what the guest sees, or the files.
#[test]
fn nothing_is_written_on_a_guess() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    lab.damage(&lab.path("a.q"), 40_000..40_100);
    for line in [
        &["repair", "-o", "out.img"][..],
        &["repair", "--in-place"],
        &["repair", "--in-place", "--dry-run"],
        &["repair", "-f", "auto", "-o", "out.img"],
    ] {
        let run = refused(&lab, line.iter().copied().chain(["a.q", "b.q", "c.q"]));
        run.complains("-f qcow2").complains("-f raw").complains("guest");
    }
    // One guess among settled ones is a guess.
    refused(&lab, ["repair", "-o", "out.img", "qcow2:a.q", "qcow2:b.q", "c.q"]);
    lab.quorum_img(["repair", "-f", "qcow2", "-o", "out.img", "a.q", "b.q", "c.q"]).exits(0);
    lab.assert_same_bytes(&lab.path("out.img"), &lab.path("disk.raw"));
    // Guessed raw is what it was before there was anything to guess.
    let [a, b, c] = lab.copies_of("plain.img", &noise(4, 8192));
    lab.quorum_img(["repair", "-o", "plain.out"]).args([&a, &b, &c]).exits(0);
    // Each command says so.
    for line in [&["check"][..], &["repair", "-o", "another.out"], &["repair", "--in-place", "--dry-run"], &["repair", "--in-place"]] {
        let run = lab.quorum_img(line).args(["--output", "json"]).args([&a, &b, &c]).exits(0);
        assert_eq!(formats(&run), told("raw", true, 3), "{run}");
    }
}

/// `-f raw` is about the files: headers, tables and all.
#[test]
fn raw_means_the_files_themselves() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    let whole = lab.bytes(&lab.path("b.q"));
    let [a, b, c] = lab.copies_of("replica.q", &whole);
    lab.damage(&a, 0..64);
    lab.damage(&b, 65_536..66_000);
    lab.damage(&c, sectors(300..302));
    let run = lab.quorum_img(["check", "-f", "raw", "--output", "json"]).args([&a, &b, &c]).exits(1);
    assert_eq!(run.json()["size"], whole.len(), "the file's length, not the guest's\n{run}");
    assert_eq!(formats(&run), told("raw", false, 3));
    lab.quorum_img(["repair", "-f", "raw", "-o", "whole.q"]).args([&a, &b, &c]).exits(0);
    assert!(lab.bytes(&lab.path("whole.q")) == whole);
    let prefixed = [&a, &b, &c].map(|path| format!("raw:{}", path.display()));
    lab.quorum_img(["repair", "--in-place"]).args(prefixed).exits(0);
    for file in [&a, &b, &c] {
        assert!(lab.bytes(file) == whole, "{}", file.display());
    }
    qemu_img(&lab, "check -q -f qcow2 replica-0.q");
}

/// A file that is really called so.
#[test]
fn a_name_that_looks_like_a_prefix() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    fs::copy(lab.path("a.q"), lab.path("qcow2:x")).expect("a copy");
    fs::copy(lab.path("disk.raw"), lab.path("raw:x")).expect("a copy");
    let run = lab.quorum_img(["check", "--output", "json", "./qcow2:x", "b.q", "c.q"]).exits(0);
    assert_eq!(formats(&run), told("qcow2", true, 3));
    lab.quorum_img(["check", "qcow2:./qcow2:x", "qcow2:qcow2:x", "qcow2:b.q", "raw:raw:x"]).exits(3); // one file twice
    lab.quorum_img(["check", "qcow2:qcow2:x", "qcow2:b.q", "raw:raw:x"]).exits(0);
    let run = refused(&lab, ["check", "qcow2:x", "raw:x", "b.q"]);
    run.complains("x");
}

/// The same file twice is one vote, whatever it is taken for.
#[test]
fn one_file_is_one_vote() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    fs::hard_link(lab.path("a.q"), lab.path("link.q")).expect("a link");
    for line in [["qcow2:a.q", "qcow2:a.q", "qcow2:b.q"], ["qcow2:a.q", "qcow2:link.q", "qcow2:b.q"], ["qcow2:a.q", "raw:a.q", "qcow2:b.q"]]
    {
        refused(&lab, ["check"].iter().chain(&line)).complains("a.q");
    }
}

/// Formats that we don't know are no formats.
#[test]
fn unknown_formats() {
    if !have_qemu() {
        return;
    }
    let lab = three();
    for format in ["vmdk", "QCOW2", "qcow", ""] {
        refused(&lab, ["check", "-f", format, "a.q", "b.q"]);
    }
}

// --- what we can't read -----------------------------------------------------------------------------------------------------

/// A refusal whose way out is to let QEMU read it.
fn sends_to_qemu(lab: &Lab, words: &[&str]) {
    // The others are read, and it is told why this one isn't.
    for line in [&["check"][..], &["repair", "-o", "out.img", "--force", "overwrite"]] {
        let run = lab.quorum_img(line).args(["qcow2:a.q", "qcow2:b.q", "qcow2:c.q"]).exits(i32::from(line.len() == 1));
        run.says("a.q").says("qemu-nbd").says("Failed");
        for word in words {
            run.says(word);
        }
    }
    // Where none can be read there is nothing to do.
    fs::copy(lab.path("a.q"), lab.path("b.q")).and_then(|_| fs::copy(lab.path("a.q"), lab.path("c.q"))).expect("copies");
    let run = refused(lab, ["check", "qcow2:a.q", "qcow2:b.q", "qcow2:c.q"]);
    run.complains("a.q").complains("qemu-nbd").complains("hint:");
}

#[test]
fn encryption_is_refused_by_name() {
    if !have_qemu() {
        return;
    }
    for (method, words) in [(1_u8, &["encrypt", "AES"][..]), (2, &["encrypt", "LUKS"]), (3, &["encrypt", "3"]), (0xfe, &["encrypt"])] {
        let lab = three();
        lab.write(&lab.path("a.q"), 35, &[method]);
        sends_to_qemu(&lab, words);
    }
    let lab = three();
    let create =
        "create -q -f qcow2 --object secret,id=s,data=abc -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 a.q 300032";
    qemu_img(&lab, create);
    sends_to_qemu(&lab, &["LUKS"]);
    // Its size is nobody's secret.
    lab.quorum_img(["info", "a.q"]).exits(3).complains("300032 bytes");
}

/// A feature that an image can't be read without: by the name that its own table gives, else by its bit.
#[test]
fn unknown_features_are_refused_by_name() {
    if !have_qemu() {
        return;
    }
    // Bits 5 and 63 of the incompatible features.
    for (at, byte, words) in [(79, 0x20, &["bit 5"][..]), (72, 0x80, &["bit 63"])] {
        let lab = three();
        lab.write(&lab.path("a.q"), at, &[byte]);
        sends_to_qemu(&lab, words);
    }
    let lab = Lab::new();
    lab.file("disk.raw", some_disk(4, 300_032));
    for name in ["a.q", "b.q", "c.q"] {
        qemu_img(&lab, &format!("convert -f raw -O qcow2 disk.raw {name}"));
    }
    let bytes = lab.bytes(&lab.path("a.q"));
    let table = bytes.windows(4).position(|window| window == [0x68, 0x03, 0xf8, 0x57]).expect("a feature name table") as u64;
    // Its first entry: an incompatible feature, bit 0, becomes bit 6, with a name that tries to write on the terminal.
    let mut entry = vec![0, 6];
    entry.extend_from_slice(b"frobnicated\x1b[31m");
    entry.resize(48, 0);
    lab.write(&lab.path("a.q"), table + 8, &entry);
    lab.quorum_img(["check", "qcow2:a.q", "qcow2:b.q", "qcow2:c.q"]).exits(0);
    lab.write(&lab.path("a.q"), 79, &[0x40]);
    sends_to_qemu(&lab, &["frobnicated"]);
}

/// Compression by a method that nobody knows, without the bit that must go with it, and the other way round.
#[test]
fn unknown_compression_is_not_guessed_at() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    follow(&lab, &["disk disk.raw 300032", "img convert -c -f raw -O qcow2 -o compression_type=zstd disk.raw a.q"]);
    lab.file("copy.raw", lab.bytes(&lab.path("disk.raw")));
    let before = lab.bytes(&lab.path("a.q"));
    for (at, byte) in [(104, 2), (104, 255), (104, 0), (79, 0)] {
        lab.file("a.q", &before);
        lab.write(&lab.path("a.q"), at, &[byte]);
        let theirs = lab.program("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw", "a.q", "theirs.raw"]).output();
        assert_ne!(theirs.code(), Some(0), "QEMU reads it: {at} {byte}");
        let run = lab.quorum_img(["check", "--output", "json", "qcow2:a.q", "raw:disk.raw", "raw:copy.raw"]).output();
        assert!(matches!(run.code(), Some(1 | 3)), "byte {at} is {byte}\n{run}");
        if run.code() == Some(1) {
            assert_eq!(run.json()["members"][0]["dissenting-sectors"], 0, "nothing must be made up\n{run}");
        }
    }
}

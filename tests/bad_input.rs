//! What lies at the edge of what is refused (`tests/refusals/`): the right answer or a clear error, nothing written, no waiting.

mod support;

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
};

use serde_json::json;
use support::{
    KIB, Lab, MIB, noise,
    refusal::{AT_ONCE, assert_clean, members, refused, words},
    sectors,
};

// --- members --------------------------------------------------------------------------------------------------------------

/// As many as can vote; one more is refused.
#[test]
fn sixty_four_members_vote() {
    let lab = Lab::new();
    let members = lab.many_copies_of("disk.img", b"disk", 64);
    lab.quorum_img(["check"]).args(&members).exits(0);
}

/// Any name of a file will do, as long as there is one.
#[test]
fn a_hard_link_votes() {
    let lab = Lab::new();
    let [a, b, c] = members(&lab);
    let hard = lab.path("hard.img");
    fs::hard_link(&a, &hard).expect("a hard link");
    lab.quorum_img(["check"]).args([&hard, &b, &c]).exits(0);
}

#[test]
fn what_starts_like_qcow2_is_voted_on_byte_for_byte_only_where_raw_is_meant() {
    let lab = Lab::new();
    let mut bytes = noise(3, 64 * 1024);
    bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    let images: [PathBuf; 3] = lab.copies_of("disk.qcow2", &bytes);
    refused(&lab, words(&["check"], &images)).complains("qcow2").complains("disk-0.qcow2").complains("-f raw").complains("hint:");
    refused(&lab, words(&["repair", "-o", "new.img"], &images)).complains("-f raw");
    lab.quorum_img(["check", "-f", "raw"]).args(&images).exits(0);
    lab.quorum_img(["check", "--format", "raw"]).args(&images).exits(0);
    lab.flip_bit(&images[1], 1000);
    let by_prefix = images.iter().map(|image| format!("raw:{}", image.display()));
    lab.quorum_img(["check"]).args(by_prefix).exits(1);

    // One damaged or foreign copy is no reason to take the others for anything else.
    let [a, b, _] = members(&lab);
    refused(&lab, words(&["check"], &[a, b, images[0].clone()])).complains("disk-0.qcow2");
}

/// `./` escapes a file that is really called so, and `--` one that looks like an option.
#[test]
fn files_with_names_like_prefixes_and_options_can_be_named() {
    let lab = Lab::new();
    let bytes = noise(4, 4096);
    for name in ["raw:a.img", "-q", "#1"] {
        lab.file(name, &bytes);
    }
    lab.quorum_img(["check", "./raw:a.img", "./-q", "./#1"]).exits(0);
    lab.quorum_img(["check", "--", "./raw:a.img", "-q"]).exits(0);
    lab.quorum_img(["check", "raw:raw:a.img", "raw:./-q"]).exits(0);
}

// --- images of hardly any size --------------------------------------------------------------------------------------------

#[test]
fn empty_files_are_empty_disks_or_an_error() {
    let lab = Lab::new();
    let empty: [PathBuf; 3] = lab.copies_of("empty.img", b"");
    let output = lab.quorum_img(["check", "--output", "json"]).args(&empty).output();
    match output.code() {
        Some(0) => assert_eq!(output.json()["sectors"]["total"], 0, "{output}"),
        _ => drop(refused(&lab, words(&["check"], &empty)).complains("empty")),
    }

    // Somebody emptied one copy: it is outvoted, not a typing error.
    let [a, b, _] = members(&lab);
    let output = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &empty[0]]).exits(1);
    let report = output.json();
    assert_eq!(report["size"], 64 * KIB);
    assert_eq!(report["members"][2]["absent-sectors"], 128, "{output}");
    let expected = json!([{ "offset": 0, "length": 64 * KIB, "verdict": "decided", "versions": [{ "members": [0, 1] }],
        "unreadable": [], "absent": [2] }]);
    assert_eq!(report["divergences"], expected);

    // Two of three are empty: so is the disk, and the third holds nothing but a surplus.
    let output = lab.quorum_img(["check", "--output", "json"]).args([&a, &empty[0], &empty[1]]).output();
    assert_eq!(output.code(), Some(2), "{output}");
    let report = output.json();
    assert_eq!(report["members"][0]["surplus-bytes"], 64 * KIB, "{output}");
    let words: Vec<_> = report["guards"].as_array().expect("guards").iter().map(|guard| guard["word"].as_str()).collect();
    assert_eq!(words, [Some("empty"), Some("cuts")], "it may be the only one that holds anything\n{output}");
    assert!(report["members"].as_array().expect("members").iter().all(|member| member["whole"] == false), "{output}");
    assert_clean(&output);
}

#[test]
fn files_of_one_byte_vote() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies_of("tiny.img", b"x");
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(0).json();
    assert_eq!(report["sectors"], json!({ "total": 1, "unanimous": 1, "decided": 0, "undecided": 0 }));
    lab.write(&b, 0, b"y");
    let report = lab.quorum_img(["check", "--output", "json", "--max-damage", "100"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!((&report["divergences"][0]["offset"], &report["divergences"][0]["length"]), (&json!(0), &json!(1)));
    lab.quorum_img(["repair", "-o", "fixed.img"]).args([&a, &b, &c]).exits(0);
    assert_eq!(lab.bytes(&lab.path("fixed.img")), b"x");
}

// --- options --------------------------------------------------------------------------------------------------------------

/// Values at the very edge of sense: an answer or a refusal, and never a crash.
#[test]
fn extreme_values_do_not_crash() {
    let lab = Lab::new();
    let [a, b, c] = members(&lab);
    lab.damage(&b, sectors(3..4));
    for option in [
        "--size=0",
        "--size=1",
        "--size=8E",
        "--size=9223372036854775807",
        "--size=18446744073709551615",
        "--size=1P",
        "--range=0:16E",
        "--range=0:18446744073709551615",
        "--range=65535:1",
        "--range=65535:18446744073709486080",
        "--threads=0",
        "--threads=5000",
        "--max-divergences=18446744073709551615",
        "--rate-limit=0",
        "--rate-limit=18446744073709551615",
        "--rate-limit=1E",
    ] {
        let before = lab.listing();
        let output = lab.quorum_img(["check", option, "--output", "json"]).args([&a, &b, &c]).within(AT_ONCE).output();
        assert!(matches!(output.code(), Some(0..=3)), "{option}\n{output}");
        assert_clean(&output);
        assert_eq!(lab.listing(), before);
        if output.code() != Some(3) {
            assert_eq!(output.json()["exit-code"].as_i64(), output.code().map(i64::from), "{option}\n{output}");
        }
    }
}

#[test]
fn a_wrong_word_suggests_the_right_one() {
    let lab = Lab::new();
    let members = members(&lab);
    for (line, meant) in [
        (&["check", "--treshold", "2"][..], "--threshold"),
        (&["check", "--sectorsize", "512"], "--sector-size"),
        (&["check", "--max-divergence", "5"], "--max-divergences"),
        (&["check", "--read-patern", "fifo"], "--read-pattern"),
        (&["check", "--read-pattern", "fifi"], "fifo"),
        (&["check", "--output", "jsno"], "json"),
        (&["chek"], "check"),
        (&["repiar", "-o", "new.img"], "repair"),
        (&["repair", "-o", "new.img", "--undecidet", "zero"], "--undecided"),
    ] {
        refused(&lab, words(line, &members)).complains(meant);
    }
    refused(&lab, [] as [&str; 0]).complains("check");
}

#[test]
fn help_and_version_are_no_errors() {
    let lab = Lab::new();
    for line in [&["--help"][..], &["-h"], &["help"], &["check", "--help"], &["repair", "--help"], &["info", "--help"], &["help", "check"]]
    {
        let output = lab.quorum_img(line).exits(0);
        output.says("usage");
        assert!(output.stderr.is_empty(), "{output}");
    }
    for flag in ["--version", "-V"] {
        lab.quorum_img([flag]).exits(0).says(env!("CARGO_PKG_VERSION"));
    }
    let output = lab.quorum_img(["check", "--help"]).exits(0);
    for option in ["--threshold", "--sector-size", "--size", "--range", "--read-pattern", "--threads", "--max-divergences", "--report"] {
        output.says(option);
    }
    for option in ["--trust", "--cache", "--quiet", "--progress", "--rate-limit", "--output", "--format"] {
        output.says(option);
    }
}

// --- outputs --------------------------------------------------------------------------------------------------------------

/// `quorum-img check ... | head -1` ends quietly.
#[test]
fn a_closed_pipe_is_no_error() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    (0..1000).for_each(|n| lab.damage(&b, sectors(2 * n..2 * n + 1)));
    for (format, lines) in [("human", 1), ("json", 1), ("events", 1), ("events", 0)] {
        let script = format!("\"$@\" | head -n {lines}; exit ${{PIPESTATUS[0]}}");
        let run = lab.program("bash").args([
            "-c",
            &script,
            "bash",
            env!("CARGO_BIN_EXE_quorum-img"),
            "check",
            "--max-damage",
            "100",
            "--output",
            format,
        ]);
        let output = run.args([&a, &b, &c]).within(AT_ONCE).output();
        assert!(matches!(output.code(), Some(0 | 1 | 141)), "{format}\n{output}");
        assert!(output.stderr.is_empty(), "{format}\n{output}");
    }
}

/// Other failed writes are errors: a report that nobody got is not a report.
#[test]
fn a_full_disk_under_standard_output_is_an_error() {
    let lab = Lab::new();
    let [a, b, c] = members(&lab);
    lab.damage(&b, sectors(9..10));
    for format in ["human", "json", "events"] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let output = lab.quorum_img(["check", "--output", format]).args([&a, &b, &c]).stdout_to(full).exits(3);
        output.complains("no space");
        assert_clean(&output);
    }
    let output = lab.quorum_img(["check", "--report", "/dev/full"]).args([&a, &b, &c]).within(AT_ONCE).exits(3);
    output.complains("/dev/full");
}

//! What a new user gets wrong: each a clear error with exit code 3 (or the right answer), with nothing written and no waiting.

mod support;

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::PathBuf,
};

use serde_json::json;
use support::{
    KIB, Lab, MIB, is_root, noise,
    refusal::{AT_ONCE, all_refused, assert_clean, members, refused, words},
    sectors, skip,
};

/// The user `nobody`.
const NOBODY: u32 = 65534;

// --- members that are none ------------------------------------------------------------------------------------------------

#[test]
fn fewer_than_two_members_are_no_vote() {
    let lab = Lab::new();
    let [a, ..] = members(&lab);
    let a = a.to_str().expect("UTF-8");
    for line in [vec!["check"], vec!["check", a], vec!["repair", "-o", "new.img"], vec!["repair", "-o", "new.img", a]] {
        refused(&lab, &line);
    }
    refused(&lab, ["check", a]).complains("member");
}

#[test]
fn more_than_sixty_four_members_are_too_many() {
    let lab = Lab::new();
    let members = lab.many_copies_of("disk.img", b"disk", 65);
    refused(&lab, words(&["check"], &members)).complains("64");
    lab.quorum_img(["check"]).args(&members[..64]).exits(0);
}

/// Things that can't be opened as a disk, by where the good members stand around them; none of them may be waited for.
#[test]
fn a_member_that_is_no_disk_is_named_and_refused_without_blocking() {
    let lab = Lab::new();
    let [a, b, _] = members(&lab);
    let folder = lab.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let fifo = lab.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let socket = lab.path("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let dangling = lab.path("dangling");
    symlink("nowhere", &dangling).expect("a link");
    let circle = lab.path("circle");
    symlink("circle", &circle).expect("a link");
    let to_fifo = lab.path("to-fifo");
    symlink("fifo", &to_fifo).expect("a link");
    let strangers = [
        (folder, "folder"),
        (lab.path("missing.img"), "missing.img"),
        (fifo, "fifo"),
        (to_fifo, "to-fifo"),
        (socket, "socket"),
        (PathBuf::from("/dev/null"), "/dev/null"),
        (PathBuf::from("/dev/zero"), "/dev/zero"),
        (dangling, "dangling"),
        (circle, "circle"),
        (a.join("below"), "below"),
        (PathBuf::from("x".repeat(5000)), "xxx"),
        (PathBuf::new(), ""),
    ];
    for (stranger, name) in &strangers {
        for line in [[&a, &b, stranger], [stranger, &a, &b]] {
            refused(&lab, words(&["check"], &line.map(Clone::clone))).complains(name).complains("hint:");
        }
        let line = [a.clone(), b.clone(), stranger.clone()];
        refused(&lab, words(&["repair", "-o", "new.img"], &line)).complains(name).complains("hint:");
        refused(&lab, words(&["check", "-T", "none"], &line)).complains(name).complains("hint:");
        refused(&lab, words(&["info"], &line[2..])).complains(name).complains("hint:");
    }
}

#[test]
fn a_member_that_we_may_not_read_is_named() {
    let lab = Lab::new();
    let [a, b, c] = members(&lab);
    fs::set_permissions(&b, fs::Permissions::from_mode(0o000)).expect("our own file");
    let run = lab.quorum_img(["check"]).args([&a, &b, &c]).within(AT_ONCE);
    let run = if is_root() {
        let binary = env!("CARGO_BIN_EXE_quorum-img");
        if lab.program("test").args(["-x", binary]).by_user(NOBODY).output().code() != Some(0) {
            skip("nobody may not run the binary where it was built");
            return;
        }
        run.by_user(NOBODY)
    } else {
        run
    };
    let output = run.exits(3);
    output.complains("disk-1.img").complains("permission").complains("hint:");
    assert_clean(&output);
}

#[test]
fn the_same_storage_under_two_names_is_refused() {
    let lab = Lab::new();
    let [a, b, c] = members(&lab);
    let (hard, soft, twice) = (lab.path("hard.img"), lab.path("soft.img"), lab.path("twice.img"));
    fs::hard_link(&a, &hard).expect("a hard link");
    symlink(&a, &soft).expect("a link");
    symlink("soft.img", &twice).expect("a link");
    let detour = lab.folder().join("..").join(lab.folder().file_name().expect("a name")).join("disk-0.img");
    for other in [&a, &hard, &soft, &twice, &detour, &PathBuf::from("disk-0.img"), &PathBuf::from("./disk-0.img")] {
        for options in [&["check"][..], &["repair", "-o", "new.img"]] {
            refused(&lab, words(options, &[a.clone(), b.clone(), other.clone()])).complains("disk-0.img").complains("hint:");
        }
    }
    lab.quorum_img(["check"]).args([&hard, &b, &c]).exits(0);
}

/// Two open descriptors of one file are one file.
#[test]
fn the_same_storage_by_way_of_proc_is_refused() {
    let lab = Lab::new();
    let [a, b, _] = members(&lab);
    let file = File::open(&a).expect("a file");
    let through = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file)));
    refused(&lab, words(&["check"], &[a, b, through])).complains("hint:");
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

#[test]
fn what_is_not_there_yet_is_refused_and_not_taken_for_a_file() {
    let lab = Lab::new();
    let [a, b, _] = members(&lab);
    let line = |third: &str| vec![OsString::from("check"), a.clone().into_os_string(), b.clone().into_os_string(), OsString::from(third)];
    for third in ["nbd://localhost:1/disk", "nbd+unix:///?socket=/nowhere", "qcow2:", "raw:", "raw:missing.img"] {
        refused(&lab, line(third));
    }
    for format in ["vmdk", ""] {
        refused(&lab, words(&["check", "-f", format], &[a.clone(), b.clone()]));
    }
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
    match output.code() {
        Some(1) => assert_eq!(output.json()["members"][0]["surplus-bytes"], 64 * KIB, "{output}"),
        code => assert_eq!(code, Some(3), "{output}"),
    }
    assert_clean(&output);
}

#[test]
fn files_of_one_byte_vote() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies_of("tiny.img", b"x");
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(0).json();
    assert_eq!(report["sectors"], json!({ "total": 1, "unanimous": 1, "decided": 0, "undecided": 0 }));
    lab.write(&b, 0, b"y");
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!((&report["divergences"][0]["offset"], &report["divergences"][0]["length"]), (&json!(0), &json!(1)));
    lab.quorum_img(["repair", "-o", "fixed.img"]).args([&a, &b, &c]).exits(0);
    assert_eq!(lab.bytes(&lab.path("fixed.img")), b"x");
}

// --- options --------------------------------------------------------------------------------------------------------------

/// Each option with values that make no sense: three members of 64 KiB.
#[test]
fn absurd_values_are_refused() {
    let lab = Lab::new();
    let members = members(&lab);
    let table: &[(&str, &[&str])] = &[
        ("--threshold", &["0", "1", "4", "65", "18446744073709551616", "-1", "two", "", "2.5"]),
        ("--sector-size", &["0", "1", "100", "256", "511", "513", "1000", "131072", "1M", "-512", "x", "", "18446744073709551616"]),
        ("--size", &["-1", "x", "", "1Q", "18446744073709551616", "99999999999G", "16777216T", "1.2.3", "1 k", "0x"]),
        (
            "--range",
            &[
                "",
                ":",
                "5",
                "0:",
                ":5",
                "0:-1",
                "-1:5",
                "a:b",
                "0:0",
                "0:1:2",
                "1M:512",
                "18446744073709551615:2",
                "18446744073709551616:1",
                "0:18446744073709551616",
                "9999999T:1",
            ],
        ),
        ("--read-pattern", &["", "quroum", "lifo", "QUORUM "]),
        ("--output", &["", "yaml", "JSON5"]),
        ("--max-divergences", &["-1", "x", "", "18446744073709551616"]),
        ("--threads", &["-1", "x", "", "18446744073709551616"]),
        ("--rate-limit", &["-1", "x", ""]),
        ("--cache", &["", "maybe"]),
        ("--trust", &["", "#3", "#64", "#-1", "#x", "#", "stranger.img"]),
    ];
    let lines = table.iter().flat_map(|(option, values)| values.iter().map(move |value| format!("{option}={value}")));
    all_refused(&lab, lines.map(|option| words(&["check", &option], &members)), |line, output| {
        let option = line[1].to_str().and_then(|option| option.split('=').next()).unwrap_or("").trim_start_matches('-');
        // `--sector-size`, or "a sector of 0 bytes".
        let first_word = option.split('-').next().unwrap_or(option).trim_end_matches('s');
        (!output.stderr().contains(first_word)).then_some("the option is not named")
    });
}

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
fn repairs_that_make_no_sense_are_refused() {
    let lab = Lab::new();
    let members = members(&lab);
    lab.file("no.json", "{ \"schema\": 1, ");
    lab.file("deep.json", "[".repeat(1 << 20));
    lab.file("other.json", "{\"schema\": 99}");
    let table: &[(&str, &[&str])] = &[
        ("--pick", &["", "0:512", "0:512=", "0:512=#3", "0:512=stranger", "=#0", "x:512=#0", "0:x=#0", "18446744073709551615:2=#0"]),
        ("--undecided", &["", "last", "random"]),
        ("--expect-sha256", &["", "abc", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65)]),
        ("--from", &["", "missing.json", "no.json", "deep.json", "other.json", "."]),
        ("--reflink", &["", "always"]),
        ("--force", &["", "everything", "overwrite,nonsense"]),
        ("--threshold", &["0", "1", "4"]),
        ("--size", &["-1", "16777216T"]),
        ("-S", &["x", "-1"]),
        ("-O", &["vmdk", ""]),
    ];
    let lines = table.iter().flat_map(|(option, values)| values.iter().map(move |value| [option, value]));
    all_refused(&lab, lines.map(|[option, value]| words(&["repair", "-o", "new.img", option, value], &members)), |_, _| None);
    refused(&lab, words(&["repair"], &members)).complains("-o");
    refused(&lab, words(&["repair", "-o", "new.img", "-o", "other.img"], &members));
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

/// What is written never lands on a member, however it is called, and no force opens that door.
#[test]
fn a_member_is_never_the_output() {
    let lab = Lab::new();
    let [a, b, c] = members(&lab);
    lab.damage(&b, sectors(9..10));
    let (hard, soft, twice) = (lab.path("hard.img"), lab.path("soft.img"), lab.path("twice.img"));
    fs::hard_link(&b, &hard).expect("a hard link");
    symlink(&b, &soft).expect("a link");
    symlink("soft.img", &twice).expect("a link");
    fs::create_dir(lab.path("folder")).expect("a folder");
    symlink(lab.folder(), lab.path("way")).expect("a link");
    let outputs = [
        b.clone(),
        hard,
        soft,
        twice,
        lab.path("folder/../disk-1.img"),
        lab.path("way/disk-1.img"),
        PathBuf::from("disk-1.img"),
        PathBuf::from("./disk-1.img"),
    ];
    let members = [a, b, c];
    let lines = outputs.iter().flat_map(|output| {
        let name = output.to_str().expect("UTF-8");
        [
            words(&["repair", "-o", name], &members),
            words(&["repair", "--force", "overwrite", "-o", name], &members),
            words(&["repair", "--force", "overwrite,device", "-o", name], &members),
            // A report is written, too.
            words(&["check", "--report", name], &members),
            words(&["repair", "-o", "new.img", "--report", name], &members),
        ]
    });
    all_refused(&lab, lines, |_, output| (!output.stderr().contains("disk-1.img")).then_some("the member is not named"));
}

#[test]
fn an_output_that_cannot_be_made_is_refused() {
    let lab = Lab::new();
    let members = members(&lab);
    lab.file("there.img", "precious");
    fs::create_dir(lab.path("folder")).expect("a folder");
    symlink("nowhere.img", lab.path("dangling.img")).expect("a link");
    let outputs = ["there.img", "folder", "folder/", "dangling.img", "missing/new.img", "there.img/new.img", "", "/dev/null"];
    let reports = ["folder", "missing/report.json", "there.img/report.json", ""];
    let lines = outputs.iter().map(|name| words(&["repair", "-o", name], &members));
    let lines = lines.chain(reports.iter().map(|name| words(&["check", "--report", name], &members)));
    all_refused(&lab, lines, |line, output| {
        let name = line.iter().skip_while(|&word| word != "-o" && word != "--report").nth(1).and_then(|name| name.to_str());
        (!output.stderr().contains(name.unwrap_or(""))).then_some("the output is not named")
    });
    refused(&lab, words(&["repair", "-o", "same", "--report", "same"], &members));
}

/// `quorum-img check ... | head -1` ends quietly.
#[test]
fn a_closed_pipe_is_no_error() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    (0..1000).for_each(|n| lab.damage(&b, sectors(2 * n..2 * n + 1)));
    for (format, lines) in [("human", 1), ("json", 1), ("events", 1), ("events", 0)] {
        let script = format!("\"$@\" | head -n {lines}; exit ${{PIPESTATUS[0]}}");
        let run = lab.program("bash").args(["-c", &script, "bash", env!("CARGO_BIN_EXE_quorum-img"), "check", "--output", format]);
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

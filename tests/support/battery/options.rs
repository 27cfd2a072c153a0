//! Values that make no sense: for three members of 64 KiB, and for a journal of them.

use std::ffi::OsString;

use super::{
    Subject,
    scene::{NO_OPTIONS, Scene, assert_explained},
};
use crate::support::refusal::{all_refused, hostile_names};

const TOO_BIG: &str = "18446744073709551616"; // 2^64

/// What the option is given.
fn absurd(option: &str) -> &'static [&'static str] {
    match option {
        "allow-references" => &["none", "OWN"],
        "cache" => &["", "maybe"],
        "expect-b3sum" | "expect-sha256" => &[
            "",
            "abc",
            "gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg",
            "000000000000000000000000000000000000000000000000000000000000000",
            "00000000000000000000000000000000000000000000000000000000000000000",
        ],
        "chunk-size" => &["", "0", "-1", "x", "512", "65535", "96k", "2M", "16E", TOO_BIG],
        "hash" => &["", "sha1", "BLAKE3 "],
        "shard" => &["", "x", "1", "/", "1/", "/1", "2/2", "0/0", "-1/2", "1/1e9", "0/18446744073709551616"],
        "sums" => &["", "missing", ".", "folder", "fifo", "socket", "dangling", "/dev/null", "/dev/zero", "disk-0.img"],
        "donor" => &["", "missing", ".", "folder", "fifo", "socket", "dangling", "/dev/null", "disk-0.img", "stranger.img"],
        "lines" | "places" => &["", "x", "0", "-1", "1.5", "5000", TOO_BIG],
        "force" => &["", "everything", "changed,nonsense", "overwrite,nonsense"],
        "format" => &["", "vmdk", "RAW "],
        "from" => &[
            "",
            "missing.json",
            "text",
            "disk-0.img",
            ".",
            "folder",
            "fifo",
            "socket",
            "dangling",
            "/dev/null",
            "/dev/zero",
            "half.json",
            "deep.json",
            "newer.json",
        ],
        "import" => &["", "missing.json", "text", "disk-0.img", ".", "folder", "/dev/null"],
        "policy" => {
            &["", "x", "=", "part-size", "part-size=5", "threshold=1", "threshold=9", "force=stale", "sector-size=7", "cache=maybe"]
        }
        "map" => &["", "x", "=", "x=", "=x", "x=y", "disk-0.img=/new"],
        "max-damage" => &["", "x", "-5", "101", "nan", "inf", "1e9"],
        "max-divergences" | "threads" => &["", "x", "-1", "1.5", TOO_BIG],
        "color" | "picture" => &["", "sometimes", "AUTO "],
        "diagnose" => &["", "shallow"],
        "no-write" | "trust" => &["", "#3", "#64", "#-1", "#x", "#", "stranger.img"],
        "output" => &["", "yaml", "JSON5"],
        "output-options" => &["", "x", "cluster_size=3", "cluster_size=64k"],
        "pick" => &[
            "",
            "0:512",
            "4096=#1",
            "0:512=",
            "0:512=#3",
            "0:512=stranger.img",
            "=#0",
            "x:512=#0",
            "0:x=#0",
            ":=#0",
            "18446744073709551615:2=#0",
            "1M:512=#0",
            "64k:1=#0",
            "0:0=#0",
        ],
        "range" => &[
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
            "64k:1",
            "18446744073709551615:2",
            "18446744073709551616:1",
            "0:18446744073709551616",
            "9999999T:1",
            "16E:1",
        ],
        "filler" => &["", "0x", "0xff0", "0xgg", "0x123"],
        "mapfile" => &["", "=", "#0", "#0=", "=map", "#9=map", "#0=missing.map", "#0=."],
        "journal" | "report" => &["", ".", "/", "missing/new", "text/new", "socket"],
        "rate-limit" => &["", "x", "-1", "1Q", "16E", TOO_BIG],
        "read-pattern" => &["", "quroum", "lifo", "QUORUM "],
        "reflink" => &["", "always"],
        "sector-size" => &["", "0", "1", "100", "256", "511", "513", "1000", "131072", "1M", "16E", "-512", "x", TOO_BIG],
        "size" => &["", "0", "-1", "x", "1Q", "16E", "99999999999G", "16777216T", "1.2.3", "1 k", "0x", TOO_BIG],
        "snapshot" => &["", "x", "1"],
        "sparse-size" => &["", "-1", "x", "1", "513", "1000", "128k", "16E", TOO_BIG],
        "target-format" => &["", "vmdk", "auto"],
        "timeout" => &["", "0", "0s", "-1", "1.5s", "x", "1w", "99999999999d", TOO_BIG],
        "threshold" => &["", "0", "1", "4", "65", "-1", "two", "2.5", TOO_BIG],
        "undecided" => &["", "last", "random"],
        _ => panic!("which values of --{option} make no sense?"),
    }
}

/// The names of the options that take a value, as the command's own help lists them.
fn with_values(help: &str) -> Vec<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-') && line.contains('<'));
    lines
        .map(|line| {
            let named = line.split(['<', '=', '[']).next().unwrap_or(line).trim_end();
            named.rsplit(", ").next().unwrap_or(named).trim_start_matches('-').to_owned()
        })
        .collect()
}

/// Each of them, what nobody would name so, and none at all.
pub fn absurd_values(subject: &Subject, option: &str) {
    let option = option.replace('_', "-");
    let scene = Scene::new(subject);
    if option == "from" {
        let none = [("half.json", "{ \"schema\": 1, "), ("deep.json", &"[".repeat(1 << 20)), ("newer.json", "{\"schema\": 99}")];
        for (name, text) in none {
            scene.lab.file(name, text);
        }
    }
    let with = |value: OsString| {
        let mut option = OsString::from(format!("--{option}="));
        option.push(value);
        scene.line([option], &scene.operands)
    };
    // Of what isn't text where only text will do clap doesn't say to which option it belongs.
    // Any text is a filler, and what follows the last sign of equality is the mapfile.
    let is_tried = |name: &OsString| match option.as_str() {
        "filler" => false,
        "output-options" | "mapfile" | "policy" => name.to_str().is_some(),
        _ => true,
    };
    let hostile = hostile_names().into_iter().filter(|(name, _)| is_tried(name)).map(|(mut name, _)| {
        // No file can be made there.
        name.push("/new");
        name
    });
    let lines = absurd(&option).iter().map(OsString::from).chain(hostile).map(with);
    // `--sector-size`, or "a sector of 0 bytes".
    let word = option.split('-').next().unwrap_or(&option).trim_end_matches('s');
    all_refused(&scene.lab, lines, |_, output| {
        assert_explained(output);
        (!output.stderr().contains(word)).then_some("the option is not named")
    });

    // As the last word it has no value; that one may be left out.
    if option != "allow-references" {
        let mut line = scene.line(NO_OPTIONS, &scene.operands);
        line.push(format!("--{option}").into());
        scene.refuses_line(&line, &[&format!("--{option}")]);
    }
}

/// An option that is new has its absurd values, too, or is said to have none.
pub fn none_is_left_out(subject: &Subject, tried: &[&str]) {
    let scene = Scene::new(subject);
    // `set` has commands of its own.
    let depth = if subject.words[0] == "set" { 2 } else { 1 };
    let help = scene.lab.quorum_img(subject.words[..depth].iter().chain(&["--help"])).exits(0).stdout();
    let tried: Vec<String> = tried.iter().map(|option| option.replace('_', "-")).collect();
    let foreign = |option: &str| {
        let dashes = if option.len() == 1 { "-" } else { "--" };
        subject.foreign.iter().any(|other| other.split('=').next() == Some(&format!("{dashes}{option}")))
    };
    let given = |option: &str| subject.words.contains(&format!("-{option}").as_str());
    let all = with_values(&help);
    let unknown: Vec<_> = tried.iter().filter(|option| !all.contains(option)).collect();
    assert!(unknown.is_empty(), "refused whatever their values: {unknown:?}");
    let left_out: Vec<_> = all.iter().filter(|option| !tried.contains(option) && !foreign(option) && !given(option)).collect();
    assert!(left_out.is_empty(), "options without absurd values: {left_out:?}");
}

//! How a check is told: the JSON report, the output for people, QEMU's events, and hints at the cause.

mod support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use support::{
    KIB, Lab, MIB, SECTOR, needs,
    report::{divergence, divergences, file_name, first_line, keys, last_line, one_bad_sector, warnings},
    sectors, testdata,
};

// --- the JSON report ------------------------------------------------------------------------------------------------------

fn assert_no_null(value: &Value, at: &str) {
    match value {
        Value::Null => panic!("{at} is null: keys that have nothing to say are left out"),
        Value::Array(all) => all.iter().enumerate().for_each(|(index, one)| assert_no_null(one, &format!("{at}[{index}]"))),
        Value::Object(all) => all.iter().for_each(|(key, one)| assert_no_null(one, &format!("{at}.{key}"))),
        _ => {}
    }
}

#[test]
fn the_json_report_has_the_keys_of_the_contract() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    File::open(&a).expect("a file").set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).expect("a time");
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1).json();
    assert_no_null(&report, "report");
    for (key, expected) in [
        ("schema", json!(1)),
        ("command", json!("check")),
        ("size", json!(MIB)),
        ("sector-size", json!(512)),
        ("threshold", json!(2)),
        ("read-pattern", json!("quorum")),
        ("verdict", json!("decided")),
        ("exit-code", json!(1)),
        ("divergences-omitted", json!(0)),
    ] {
        assert_eq!(report[key], expected, "{key}");
    }
    let member = &report["members"][0];
    for (key, expected) in [
        ("index", json!(0)),
        ("name", json!(a.to_str())),
        ("format", json!("raw")),
        ("size", json!(MIB)),
        ("modified", json!("2023-11-14T22:13:20Z")),
        ("status", json!("ok")),
        ("whole", json!(true)),
        ("dissenting-sectors", json!(0)),
        ("unreadable-sectors", json!(0)),
        ("absent-sectors", json!(0)),
        ("surplus-bytes", json!(0)),
    ] {
        assert_eq!(member[key], expected, "{key}");
    }
    for key in keys(&report["divergences"][0]) {
        let known = ["offset", "length", "verdict", "versions", "unreadable", "absent", "partition", "damage"];
        assert!(known.contains(&key), "{key} is not in the contract");
    }
    for optional in ["partial", "range", "repair"] {
        assert_eq!(report.get(optional), None, "{optional} has nothing to say here");
    }
    assert_eq!(member.get("name-hex"), None, "the name is UTF-8");
}

/// How the work is shared out may show in nothing but the time that it takes.
#[test]
fn reports_of_all_threads_are_one_and_the_same() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 24 * MIB);
    // Around every MiB, where pieces of work may end: runs that must come out as one divergence each.
    for mib in 1..24 {
        let middle = mib * MIB / SECTOR;
        lab.damage(&b, sectors(middle - mib..middle + 3));
        lab.damage(&c, sectors(middle + 3..middle + 5 + mib % 2));
    }
    let run = |threads: &str| {
        let mut report = lab.quorum_img(["check", "--output", "json", "-j", threads]).args([&a, &b, &c]).exits(1).json();
        for key in ["started", "finished", "duration", "rate", "next"] {
            assert!(report.as_object_mut().is_some_and(|report| report.remove(key).is_some()), "no {key}");
        }
        report
    };
    let (one, four) = (run("1"), run("4"));
    assert_eq!(one, four);
    assert_eq!(one["divergences"].as_array().map(Vec::len), Some(46), "two divergences at each of 23 places");
}

#[test]
fn the_list_is_capped_and_totals_stay_exact() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    (0..20).for_each(|n| lab.damage(&b, sectors(10 * n..10 * n + 2)));
    let capped = |most: &str| {
        let run = lab.quorum_img(["check", "--output", "json", "--report", "all.json", "--max-divergences", most]);
        run.args([&a, &b, &c]).exits(1).json()
    };
    for (most, listed) in [("5", 5), ("0", 0), ("20", 20), ("100", 20)] {
        let report = capped(most);
        assert_eq!(report["sectors"], json!({ "total": 2048, "unanimous": 2008, "decided": 40, "undecided": 0 }), "{most}");
        assert_eq!(report["members"][1]["dissenting-sectors"], 40, "{most}");
        assert_eq!(report["divergences"].as_array().map(Vec::len), Some(listed), "{most}");
        assert_eq!(report["divergences-omitted"], 20 - listed, "{most}");
        let offsets: Vec<u64> = report["divergences"].as_array().into_iter().flatten().filter_map(|d| d["offset"].as_u64()).collect();
        let first: Vec<u64> = (0..listed as u64).map(|n| 10 * n * SECTOR).collect();
        assert_eq!(offsets, first, "the first ones are listed, in order");

        let full: Value = serde_json::from_slice(&lab.bytes(&lab.path("all.json"))).expect("a JSON report");
        assert_eq!(full["divergences"].as_array().map(Vec::len), Some(20), "--report has every divergence, whatever is listed");
        assert_eq!(full["divergences-omitted"], 0);
        assert_eq!(full["sectors"], report["sectors"]);
        assert_eq!(full["members"], report["members"]);
    }
    let output = lab.quorum_img(["check", "--max-divergences", "5"]).args([&a, &b, &c]).exits(1);
    output.says("15"); // so many are not shown
}

/// `--report` is beside the output for people, not instead of it.
#[test]
fn the_report_file_comes_beside_the_output_for_people() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let with = lab.quorum_img(["check", "--report", "report.json"]).args([&a, &b, &c]).exits(1);
    let without = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1);
    assert_eq!(first_line(&with), first_line(&without), "{with}");
    let report: Value = serde_json::from_slice(&lab.bytes(&lab.path("report.json"))).expect("a JSON report");
    assert_eq!(report["command"], "check");
    assert_eq!(report["exit-code"], 1);
    assert_eq!(divergences(&report), json!([divergence(sectors(100..101), "decided", &[&[0, 2], &[1]], &[])]));
}

// --- the output for people ------------------------------------------------------------------------------------------------

#[test]
fn people_read_the_verdict_first() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let alike = first_line(&lab.quorum_img(["check"]).args([&a, &b, &c]).exits(0));
    lab.damage(&b, sectors(100..101));
    let decided = first_line(&lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1));
    lab.damage(&a, sectors(100..101));
    let undecided = first_line(&lab.quorum_img(["check"]).args([&a, &b, &c]).exits(2));
    let holds_any = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
    assert!(holds_any(&alike, &["unanimous", "alike", "identical", "agree", "same"]), "{alike}");
    assert!(holds_any(&decided, &["decided", "repairable", "can be repaired", "outvoted", "majority"]), "{decided}");
    assert!(holds_any(&undecided, &["undecided", "no majority", "no winner"]), "{undecided}");
}

#[test]
fn people_are_told_which_members_are_whole_where_the_damage_is_and_what_to_do() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let output = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1);
    let text = output.stdout();
    let whole = text.lines().find(|line| line.to_lowercase().contains("whole")).unwrap_or_else(|| panic!("who is whole?\n{output}"));
    for (member, expected) in [(&a, true), (&b, false), (&c, true)] {
        assert_eq!(whole.contains(file_name(member)), expected, "{whole}\n{output}");
    }
    output.says("0xc800"); // sector 100
    let command = last_line(&output);
    assert!(command.contains("quorum-img repair"), "the next command comes last\n{output}");
    for member in [&a, &b, &c] {
        assert!(command.contains(file_name(member)), "the next command can be copied and run\n{output}");
    }
}

/// The last line is a promise: run as it stands, it does what is needed.
#[test]
fn the_command_that_people_are_told_works() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let spaced = lab.path("an image with spaces & 'quotes'.img");
    fs::rename(&b, &spaced).expect("a rename");
    let output = lab.quorum_img(["check"]).args([&a, &spaced, &c]).exits(1);
    let command = last_line(&output);
    let command = &command[command.find("quorum-img").unwrap_or_else(|| panic!("no command\n{output}"))..];
    let script = format!("quorum-img() {{ \"{}\" \"$@\"; }}\n{command}\n", env!("CARGO_BIN_EXE_quorum-img"));
    let before = lab.listing();
    lab.program("bash").args(["-c", &script]).exits(0);
    let made: Vec<PathBuf> = lab.listing().into_keys().filter(|path| !before.contains_key(path)).collect();
    assert_eq!(made.len(), 1, "one repaired image: {made:?}\n{output}");
    lab.assert_same_bytes(&made[0], &a);
}

#[test]
fn there_are_no_colours_in_a_file_and_some_on_a_terminal() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let output = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1);
    assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "escape codes in a pipe\n{output}");
    if !needs("script") {
        return;
    }
    let line = format!("{} check {} {} {} 2>/dev/null", env!("CARGO_BIN_EXE_quorum-img"), a.display(), b.display(), c.display());
    let on_terminal = || lab.program("script").args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color");
    let colourful = on_terminal().exits(1);
    assert!(colourful.stdout.contains(&0x1b), "no colours on a terminal\n{colourful}");
    let plain = on_terminal().env("NO_COLOR", "1").exits(1);
    assert!(!plain.stdout.windows(2).any(|two| two == b"\x1b["), "NO_COLOR is not honoured\n{plain}");
}

#[test]
fn quiet_says_what_is_wrong_and_twice_quiet_nothing() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    for flag in ["-q", "--quiet"] {
        let output = lab.quorum_img(["check", flag]).args([&a, &b, &c]).exits(1);
        assert!(output.stderr.is_empty(), "{output}");
        let lines: Vec<String> = output.stdout().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "the verdict, and the one that is unwell\n{output}");
        assert!(lines[0].starts_with("1 of ") && lines[1].contains("divergent"), "{output}");
        let output = lab.quorum_img(["check", flag, "-q"]).args([&a, &b, &c]).exits(1);
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output}");
    }
    lab.quorum_img(["check", "-q"]).args([&a, &c, &a.with_extension("gone")]).exits(3);
    fs::copy(&a, &b).expect("it can be copied");
    let output = lab.quorum_img(["check", "-q"]).args([&a, &b, &c]).exits(0);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "all is well\n{output}");
}

/// On a terminal the verdict and what leads on come last, and nothing runs over its edge; into a file the verdict comes first, and all is listed.
#[test]
fn a_terminal_ends_with_what_matters() {
    if !needs("script") {
        return;
    }
    let lab = Lab::new();
    let [a, b, c] = lab.copies("a-disk-with-quite-a-long-name-of-its-own.img", MIB);
    for sector in 0..60 {
        lab.damage(&b, sectors(sector * 30..sector * 30 + 1));
    }
    let line = format!("stty cols 80; {} check {} {} {}", env!("CARGO_BIN_EXE_quorum-img"), a.display(), b.display(), c.display());
    let shown = lab.program("script").args(["-qec", &line, "/dev/null"]).env("NO_COLOR", "1").exits(1);
    let text = shown.stdout().replace('\r', "");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines.last().is_some_and(|last| last.starts_with("next: ")), "{shown}");
    let place = |what: &str| lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what}\n{shown}"));
    assert!(place("OFFSET") < place("and 40 more") && place("and 40 more") < place("60 of 2048 sectors differ"), "{shown}");
    assert!(place("dissents: 60 sectors in 60 ranges") < place("OFFSET"), "{shown}");
    let long: Vec<&&str> = lines.iter().filter(|line| line.len() > 80 && !line.starts_with("next: ")).collect();
    assert!(long.iter().all(|line| !line.trim().contains(' ')), "too long: {long:?}\n{shown}");
    let piped = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1);
    assert!(piped.stdout().starts_with("60 of 2048 sectors differ") && piped.stdout().matches(" against ").count() == 60, "{piped}");
}

// --- events ---------------------------------------------------------------------------------------------------------------

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// The fields of QEMU's `qapi/block-core.json`, in units of 512 bytes.
#[test]
fn events_are_those_of_qemu() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.damage(&b, sectors(100..103));
    lab.damage(&a, sectors(200..202));
    lab.damage(&c, sectors(200..202));
    let events = lab.quorum_img(["check", "--output", "events"]).args([&a, &b, &c]).exits(2).events();
    for event in &events {
        assert_eq!(keys(event), ["data", "event", "timestamp"], "{event}");
        assert!(event["timestamp"]["seconds"].as_i64().is_some_and(|seconds| seconds > 1_000_000_000), "{event}");
        assert!(event["timestamp"]["microseconds"].as_i64().is_some_and(|micros| (0..1_000_000).contains(&micros)), "{event}");
        let name = event["event"].as_str().unwrap_or_default();
        assert!(name == "QUORUM_REPORT_BAD" || name == "QUORUM_FAILURE" || name.starts_with("QUORUM_IMG_"), "{event}");
    }
    let bad = named(&events, "QUORUM_REPORT_BAD");
    assert_eq!(bad.len(), 1, "one dissenter, one run of sectors: {events:?}");
    let expected = json!({ "type": "read", "node-name": b.to_str(), "sector-num": 100, "sectors-count": 3 });
    assert_eq!(bad[0]["data"], expected, "a dissenter has no error, as in QEMU");
    let failures = named(&events, "QUORUM_FAILURE");
    assert_eq!(failures.len(), 1, "{events:?}");
    assert_eq!(keys(&failures[0]["data"]), ["reference", "sector-num", "sectors-count"]);
    assert_eq!((&failures[0]["data"]["sector-num"], &failures[0]["data"]["sectors-count"]), (&json!(200), &json!(2)));
}

#[test]
fn events_count_512_bytes_whatever_the_sector() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.flip_bit(&b, 8192 + 5);
    let run = lab.quorum_img(["check", "--output", "events", "--sector-size", "4096"]).args([&a, &b, &c]);
    let events = run.exits(1).events();
    let bad = named(&events, "QUORUM_REPORT_BAD");
    assert_eq!(bad.len(), 1, "{events:?}");
    assert_eq!((&bad[0]["data"]["sector-num"], &bad[0]["data"]["sectors-count"]), (&json!(16), &json!(8)));
}

/// Each of several dissenters has its own event, and the list's cap doesn't hold for events.
#[test]
fn events_have_every_divergence_and_every_dissenter() {
    let lab = Lab::new();
    let copies: [PathBuf; 5] = lab.copies("disk.img", 256 * KIB);
    for n in 0..30 {
        lab.damage(&copies[1], sectors(4 * n..4 * n + 1));
        lab.damage(&copies[4], sectors(4 * n..4 * n + 1));
    }
    let events = lab.quorum_img(["check", "--output", "events", "--max-divergences", "3"]).args(&copies).exits(1).events();
    let bad: Vec<(u64, String)> = named(&events, "QUORUM_REPORT_BAD")
        .iter()
        .map(|event| (event["data"]["sector-num"].as_u64().expect("a sector"), event["data"]["node-name"].as_str().unwrap_or("").into()))
        .collect();
    let (first, second) = (copies[1].to_str().expect("UTF-8"), copies[4].to_str().expect("UTF-8"));
    let expected: Vec<(u64, String)> = (0..30).flat_map(|n| [(4 * n, first.to_owned()), (4 * n, second.to_owned())]).collect();
    assert_eq!(bad, expected);
}

// --- hints at the cause ---------------------------------------------------------------------------------------------------

/// A dissenter that was written last may be the only one that is up to date: two stale copies outvote it.
#[test]
fn a_newer_dissenter_is_pointed_out() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let time = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + day * 86400);
    let date = |path: &Path, day: u64| File::open(path).expect("a file").set_modified(time(day)).expect("a time");
    date(&a, 10);
    date(&b, 12);
    date(&c, 10);
    let output = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1);
    let points_out = |text: &str| ["newer", "later"].iter().any(|word| text.contains(word));
    let told = warnings(&output.json());
    assert!(points_out(&told) && told.contains(file_name(&b)), "{output}");
    let people = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1);
    assert!(points_out(&(people.stdout() + &people.stderr()).to_lowercase()), "{people}");

    date(&b, 8);
    let output = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1);
    assert!(!points_out(&warnings(&output.json())), "an older dissenter is what one expects\n{output}");
}

#[test]
fn divergences_name_the_partition_they_fall_in() {
    let lab = Lab::new();
    let members = ["a.img", "b.img", "c.img"].map(testdata);
    let output = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(1);
    let report = output.json();
    for found in report["divergences"].as_array().expect("a list") {
        let offset = found["offset"].as_u64().expect("an offset") / SECTOR;
        let told = found.get("partition").map(Value::to_string);
        match offset {
            40..=95 => assert!(told.as_ref().is_some_and(|told| told.contains("boot")), "{found}\n{output}"),
            96..=2495 => assert!(told.as_ref().is_some_and(|told| told.contains("root")), "{found}\n{output}"),
            _ => assert_eq!(told, None, "{found} lies outside of both partitions"),
        }
    }
    lab.quorum_img(["check"]).args(&members).exits(1).says("boot").says("root");
}

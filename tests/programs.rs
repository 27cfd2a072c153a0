//! What programs get: reports on every exit, none of them an old one that looks green.

#[path = "support/mod.rs"]
mod support;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use support::{Lab, MIB, sectors};

fn report(lab: &Lab, name: &str) -> Value {
    serde_json::from_slice(&lab.bytes(&lab.path(name))).expect("a JSON report")
}

fn one_bad_sector(lab: &Lab) -> [PathBuf; 3] {
    let members: [PathBuf; 3] = lab.copies("disk.img", MIB);
    lab.damage(&members[1], sectors(100..101));
    members
}

#[test]
fn a_report_says_when_what_next_and_where() {
    let lab = Lab::new();
    let members = one_bad_sector(&lab);
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(1);
    let found = run.json();
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    let time = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    assert!(time("started").starts_with("20") && time("started") <= time("finished") && found["duration"].as_f64() >= Some(0.0), "{run}");
    let words: Vec<&str> = found["next"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(words[..4], ["quorum-img", "repair", "-o", "fixed.img"], "{run}");
    assert!(words[4..].iter().zip(&members).all(|(word, member)| std::path::Path::new(word) == member), "{run}");
    let second = &found["members"][1];
    assert_eq!(second["range"], json!({ "offset": 51200, "length": 512 }), "{run}");
    assert_eq!((&second["damage"][0]["places"], &second["damage"][0]["bytes"]), (&json!(1), &json!(512)), "{run}");
    assert_eq!((&found["map"]["part-bytes"], &found["map"]["rows"][0]), (&json!(1024), &json!("")), "{run}");
    let row = found["map"]["rows"][1].as_str().expect("a row");
    assert!(row.len() == 51 && row.ends_with('x'), "{run}");
    let alike = lab.quorum_img(["check", "--output", "json"]).args([&members[0], &members[2]]).exits(0).json();
    assert!(alike.get("map").is_none() && alike.get("next").is_none());
}

/// A name with escape codes is shown without them, and programs can have it all the same.
#[test]
fn programs_get_the_very_name() {
    let lab = Lab::new();
    let members: [PathBuf; 2] = lab.copies("disk.img", MIB);
    let strange = lab.path("a\u{1b}[31m b.img");
    fs::rename(&members[1], &strange).expect("a rename");
    let found = lab.quorum_img(["check", "--output", "json"]).args([&members[0], &strange]).exits(0).json();
    assert_eq!(found["members"][1]["raw-name"].as_str().map(PathBuf::from), Some(strange));
    assert!(!found["members"][1]["name"].as_str().unwrap_or_default().contains('\u{1b}'));
}

/// A check that failed left yesterday's report where a monitor looked for today's: green for ever.
#[test]
fn a_run_that_fails_leaves_word() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.quorum_img(["check", "--report", "last.json"]).args([&a, &b, &c]).exits(0);
    fs::rename(&c, lab.path("away")).expect("a rename");
    for command in [&["check"][..], &["repair", "-o", "new.img"], &["repair", "--in-place"]] {
        let run = lab.quorum_img(command).args(["--report", "last.json", "--output", "json"]).args([&a, &b, &c]).exits(3);
        let left = report(&lab, "last.json");
        assert_eq!((&left["exit-code"], &left["partial"], &left["error"]["member"]), (&json!(3), &json!(true), &json!(2)), "{run}");
        assert!(left["error"]["message"].as_str().is_some_and(|text| text.contains("can't be opened")), "{run}");
        assert_eq!(run.json()["error"], left["error"], "{run}");
        assert!(lab.listing().keys().all(|path| !path.ends_with("last.json.previous")), "a green one needn't be kept: {run}");
    }
    let run = lab.quorum_img(["check", "--output", "events"]).args([&a, &b, &c]).exits(3);
    assert!(run.stdout().starts_with("{\"data\":") && run.stdout().contains("QUORUM_IMG_FAILED"), "{run}");
    let run = lab.quorum_img(["repair", "--from", "last.json", "-o", "new.img"]).args([&a, &b]).exits(3);
    run.complains("is of a run that failed");
}

/// A list of divergences may be hours of work.
#[test]
fn an_earlier_list_is_kept_beside_it() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    lab.quorum_img(["check", "--report", "last.json"]).args([&a, &b, &c]).exits(1);
    let list = lab.bytes(&lab.path("last.json"));
    let gone = lab.path("gone.img");
    lab.quorum_img(["check", "--report", "last.json"]).args([&a, &b, &gone]).exits(3);
    assert_eq!(lab.bytes(&lab.path("last.json.previous")), list);
    // The next failure has no list to keep, and leaves that one alone.
    lab.quorum_img(["check", "--report", "last.json"]).args([&a, &b, &gone]).exits(3);
    assert_eq!(lab.bytes(&lab.path("last.json.previous")), list);
    // What isn't ours isn't written over, and then the list stays where it is.
    lab.quorum_img(["check", "--report", "other.json"]).args([&a, &b, &c]).exits(1);
    let list = lab.bytes(&lab.path("other.json"));
    lab.file("other.json.previous", "a diary");
    let run = lab.quorum_img(["check", "--report", "other.json"]).args([&a, &b, &gone]).exits(3);
    run.complains("other.json.previous is something else");
    assert_eq!((lab.bytes(&lab.path("other.json")), lab.bytes(&lab.path("other.json.previous"))), (list, b"a diary".to_vec()));
}

/// What a failing run may write over was looked at before, and no failure opens another way.
#[test]
fn no_word_is_left_where_something_else_stands() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    lab.file("notes.txt", "mine");
    let empty = lab.file("empty.img", "");
    let gone = lab.path("gone.img");
    for target in [a.clone(), lab.path("notes.txt"), empty.clone(), lab.path("new.img")] {
        let before = lab.listing();
        lab.quorum_img(["repair", "-o", "new.img", "--report"]).arg(&target).args([&a, &b, &c, &empty, &gone]).exits(3);
        assert_eq!(lab.listing(), before, "{}", target.display());
    }
}

/// Reports of earlier versions have fewer keys, and those of later ones more.
#[test]
fn reports_of_other_versions_are_read() {
    let lab = Lab::new();
    let members = one_bad_sector(&lab);
    lab.quorum_img(["check", "--report", "list.json"]).args(&members).exits(1);
    let mut list = report(&lab, "list.json");
    let object = list.as_object_mut().expect("an object");
    for key in ["version", "started", "finished", "duration", "rate", "next", "map", "partitions"] {
        object.remove(key);
    }
    object.insert("something-new".into(), json!({ "of": [1, 2, null] }));
    object["divergences"][0]["novel"] = json!("x");
    object["members"][0].as_object_mut().expect("an object").remove("raw-name");
    lab.file("other.json", serde_json::to_vec(&list).expect("JSON"));
    lab.quorum_img(["repair", "--from", "other.json", "-o", "fixed.img"]).args(&members).exits(0);
}

/// An interrupted check, cut to what it came to: the report of it, and how far that was.
fn interrupted(lab: &Lab, members: &[PathBuf], seen: u64) {
    lab.quorum_img(["check", "--report", "part.json"]).args(members).output();
    let mut part = report(lab, "part.json");
    let divergences = part["divergences"].as_array().cloned().unwrap_or_default();
    let kept: Vec<Value> = divergences.into_iter().filter(|row| row["offset"].as_u64() < Some(seen)).collect();
    let decided: u64 = kept.iter().filter_map(|row| row["length"].as_u64()).sum::<u64>() / 512;
    part["sectors"] = json!({ "total": seen / 512, "unanimous": seen / 512 - decided, "decided": decided, "undecided": 0 });
    part["divergences"] = json!(kept);
    (part["partial"], part["scanned-bytes"], part["exit-code"]) = (json!(true), json!(seen), json!(130));
    lab.file("part.json", serde_json::to_vec(&part).expect("JSON"));
}

/// A plan by a part's list told of the whole image, and a new image by that took bytes that nobody had voted on.
#[test]
fn what_a_check_did_not_come_to_is_never_taken_for_seen() {
    let lab = Lab::new();
    let [a, b, c]: [PathBuf; 3] = lab.copies("disk.img", 2 * MIB);
    let good = lab.bytes(&c);
    lab.damage(&b, sectors(5..6));
    lab.damage(&a, sectors(3000..3001)); // behind what was looked at, and in the first member
    let members = [a, b, c];
    interrupted(&lab, &members, MIB);
    let plan =
        lab.quorum_img(["repair", "--in-place", "--dry-run", "--from", "part.json", "--report", "plan.json"]).args(&members).exits(1);
    let told = report(&lab, "plan.json");
    assert_eq!(told["range"], json!({ "offset": 0, "length": MIB }), "{plan}");
    assert_eq!((&told["sectors"]["total"], &told["members"][0]["whole"]), (&json!(MIB / 512), &json!(false)), "{plan}");
    lab.quorum_img(["repair", "--from", "plan.json", "-o", "out.img"]).args(&members).exits(3).complains("didn't compare everything");
    // By the interrupted report itself the rest is voted on for a new image, and left alone in place.
    lab.quorum_img(["repair", "--from", "part.json", "-o", "out.img"]).args(&members).exits(0);
    assert!(lab.bytes(&lab.path("out.img")) == good);
    lab.quorum_img(["repair", "--in-place", "--from", "part.json"]).args(&members).exits(1);
    assert!(lab.bytes(&members[1]) == good && lab.bytes(&members[0]) != good, "what nobody looked at stays");
}

/// Members may come in another order, where they are called the same.
#[test]
fn a_list_is_of_names_and_not_of_an_order() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    lab.set_length(&c, MIB + 4096);
    lab.quorum_img(["check", "--size", "1M", "--report", "list.json"]).args([&a, &b, &c]).exits(1);
    let mut list = report(&lab, "list.json");
    list["size"] = json!(MIB);
    lab.quorum_img(["show", "--from", "list.json"]).args([&c, &a, &b]).output().says("0xc800, 512 B");
}

/// What tells less doesn't take the place of what tells more, whichever way it ended.
#[test]
fn a_whole_list_outlives_parts_and_refusals() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let whole = |lab: &Lab| {
        lab.quorum_img(["check", "--report", "l.json"]).args([&a, &b, &c]).exits(1);
        let _ = fs::remove_file(lab.path("l.json.previous"));
        lab.bytes(&lab.path("l.json"))
    };
    // A refusal before the vote, and a part.
    for (line, code) in [(&["repair", "--in-place", "--threshold", "2", "-y"][..], 2), (&["check", "--range", "0:64k"], 1)] {
        let list = whole(&lab);
        let four = if code == 2 {
            vec![a.clone(), b.clone(), c.clone(), lab.file("d.img", lab.bytes(&a))]
        } else {
            vec![a.clone(), b.clone(), c.clone()]
        };
        lab.quorum_img(line).args(["--report", "l.json"]).args(&four).exits(code);
        assert!(lab.bytes(&lab.path("l.json.previous")) == list, "{line:?}");
    }
    // A part doesn't push the whole one out.
    let list = whole(&lab);
    let gone = lab.path("gone.img");
    lab.quorum_img(["check", "--report", "l.json"]).args([&a, &b, &gone]).exits(3);
    interrupted(&lab, &[a.clone(), b.clone(), c.clone()], MIB / 2);
    fs::copy(lab.path("part.json"), lab.path("l.json")).expect("a copy");
    lab.quorum_img(["check", "--report", "l.json"]).args([&a, &b, &gone]).exits(3);
    assert!(lab.bytes(&lab.path("l.json.previous")) == list);
    // And the list that is read doesn't make way for it.
    lab.quorum_img(["repair", "--from", "l.json.previous", "--report", "l.json", "-o", "x.img"])
        .args([&a, &b, &c])
        .exits(3)
        .complains("may be kept");
}

/// An empty file that was named `raw:` gave way to the word of another one's failure.
#[test]
fn no_word_is_left_in_the_place_of_a_member() {
    let lab = Lab::new();
    let [a, ..] = one_bad_sector(&lab);
    let empty = lab.file("empty.img", "");
    for (report, members) in [("empty.img", ["nothere", "raw:empty.img"]), ("absent.img", ["nothere", "qcow2:absent.img"])] {
        let before = lab.listing();
        lab.quorum_img(["check", "--report", report]).args(members).arg(&a).exits(3);
        assert_eq!(lab.listing(), before, "{report}");
    }
    assert!(lab.bytes(&empty).is_empty());
    for quiet in [&["-q"][..], &["-qq"]] {
        let run = lab.quorum_img(["check", "--output", "json", "nothere"]).args(quiet).arg(&a).exits(3);
        assert!(run.stdout.is_empty(), "{run}");
    }
}

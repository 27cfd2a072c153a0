//! `info` of a journal.

use serde_json::{Value, json};

use super::{
    Damaged, in_place, journal_of, number, refuses,
    support::{KIB, Lab, report::keys, sectors},
};

fn info(set: &Damaged) -> Value {
    let run = set.lab.quorum_img(["info", "--output", "json"]).arg(set.journal());
    refuses(&set.lab, run, 0, &[]).json()[0].clone()
}

#[test]
fn tells_what_a_journal_holds() {
    let (set, _) = Damaged::repaired();
    let found = info(&set);
    assert_eq!(found["format"], "quorum-journal", "{found}");
    assert!(found["name"].as_str().is_some_and(|name| name.ends_with("disk-0.img.quorum-journal")), "{found}");
    let journal = &found["journal"];
    assert_eq!(
        keys(journal),
        ["batches", "created", "id", "members", "options", "sector-size", "sessions", "state", "version", "virtual-size"],
        "{found}"
    );
    assert_eq!((&journal["version"], &journal["state"], &journal["sessions"]), (&json!(1), &json!("complete"), &json!(1)), "{found}");
    assert_eq!((number(journal, "virtual-size"), number(journal, "sector-size")), (256 * KIB, 512), "{found}");
    assert!(number(journal, "batches") >= 1, "{found}");
    assert!(journal["id"].as_str().is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{found}");
    let created = journal["created"].as_str().unwrap_or_default();
    assert!(created.len() >= 20 && created.ends_with('Z') && created.as_bytes()[10] == b'T', "RFC 3339: {found}");

    let members = journal["members"].as_array().expect("a list");
    assert_eq!(members.len(), 3, "{found}");
    for (index, (member, bytes)) in members.iter().zip([1024, 512, 1536]).enumerate() {
        assert_eq!(keys(member), ["bytes", "path", "ranges", "size-before", "unreadable-bytes"], "{found}");
        assert_eq!(member["path"], set.members[index].to_str().expect("UTF-8"), "{found}");
        assert_eq!(number(member, "size-before"), 256 * KIB, "{found}");
        assert_eq!((number(member, "ranges"), number(member, "bytes")), (1, bytes), "{found}");
        assert_eq!(number(member, "unreadable-bytes"), 0, "{found}");
    }
}

#[test]
fn tells_people_too() {
    let (set, _) = Damaged::repaired();
    let run = refuses(&set.lab, set.lab.quorum_img(["info"]).arg(set.journal()), 0, &[]);
    run.says("journal:").says("complete").says("disk-0.img").says("disk-1.img").says("disk-2.img").says("1024").says("1536");
    set.undo().exits(0);
    refuses(&set.lab, set.lab.quorum_img(["info"]).arg(set.journal()), 0, &[]).says("undone");
}

#[test]
fn tells_the_state() {
    let (set, _) = Damaged::repaired();
    let complete = info(&set);
    assert_eq!(complete["journal"]["state"], "complete", "{complete}");
    set.undo().arg("--dry-run").exits(0);
    assert_eq!(info(&set)["journal"]["state"], "complete", "a dry run is no undo");
    set.undo().exits(0);
    let undone = info(&set);
    assert_eq!(undone["journal"]["state"], "undone", "{undone}");
    for key in ["id", "created", "members", "virtual-size", "options"] {
        assert_eq!(undone["journal"][key], complete["journal"][key], "{key}\n{undone}");
    }
    set.undo().exits(0);
    assert_eq!(info(&set)["journal"]["state"], "undone");
}

/// Sizes before, so that a person can put them back by hand.
#[test]
fn tells_the_sizes_before() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    lab.set_length(&members[0], 255 * KIB);
    lab.set_length(&members[1], 260 * KIB);
    lab.damage(&members[2], sectors(4..5));
    in_place(&lab, &members).args(["--size", "256k", "--truncate", "--sector-size", "4096"]).exits(0);
    let found = lab.quorum_img(["info", "--output", "json"]).arg(journal_of(&members[0])).exits(0).json()[0].clone();
    let sizes: Vec<_> =
        found["journal"]["members"].as_array().expect("a list").iter().map(|member| number(member, "size-before")).collect();
    assert_eq!(sizes, [255 * KIB, 260 * KIB, 256 * KIB], "{found}");
    assert_eq!(number(&found["journal"], "sector-size"), 4096, "{found}");
    assert_eq!(number(&found["journal"], "virtual-size"), 256 * KIB, "{found}");
}

/// What was decided by hand stands in it, for whoever reads it years later.
#[test]
fn tells_the_options() {
    let set = Damaged::new();
    set.repair().args(["--trust", "#1"]).exits(0);
    let found = info(&set);
    assert!(found["journal"]["options"].as_str().is_some_and(|options| options.contains("trust")), "{found}");
}

#[test]
fn a_member_and_a_journal_together() {
    let (set, _) = Damaged::repaired();
    let run = set.lab.quorum_img(["info", "--output", "json"]).arg(&set.members[1]).arg(set.journal());
    let found = refuses(&set.lab, run, 0, &[]).json();
    assert_eq!(found.as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!((&found[0]["format"], &found[1]["format"]), (&json!("raw"), &json!("quorum-journal")), "{found}");
    assert!(found[0].get("journal").is_none(), "{found}");
    let run = set.lab.quorum_img(["info"]).arg(set.journal()).arg(&set.members[1]).exits(0);
    run.says("journal:").says("raw");
}

#[test]
fn a_damaged_journal_is_an_error() {
    let (set, _) = Damaged::repaired();
    let journal = set.lab.bytes(&set.journal());
    for offset in [17, 40, 100, journal.len() / 3, journal.len() / 2] {
        if journal[offset] == 0 && journal[offset..].iter().all(|&byte| byte == 0) {
            continue;
        }
        set.lab.flip_bit(&set.journal(), offset as u64);
        let run = refuses(&set.lab, set.lab.quorum_img(["info"]).arg(set.journal()), 3, &["disk-0.img.quorum-journal"]);
        let said = run.stderr().replace(set.journal().to_str().expect("a plain name"), "").replace("disk-0.img", "");
        assert!(said.contains(|character: char| character.is_ascii_digit()), "no offset is named\n{run}");
        set.lab.file("disk-0.img.quorum-journal", &journal);
    }
}

/// One that can't be read doesn't keep the others from being shown.
#[test]
fn cut_to_nothing_it_is_no_journal() {
    let (set, _) = Damaged::repaired();
    for length in [0, 1, 7] {
        set.lab.set_length(&set.journal(), length);
        let run = set.lab.quorum_img(["undo"]).arg(set.journal());
        refuses(&set.lab, run, 3, &["disk-0.img.quorum-journal"]);
    }
}

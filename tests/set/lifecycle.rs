//! From the first check on: states, counters, history, parts.

use super::{Lab, MIB, check, create, disk, history, set_of_three, states, status};
use crate::support::{noise, sectors};
use std::fs;

#[test]
fn a_set_is_made_checked_damaged_and_repaired() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 4);
    assert_eq!(status(&lab)["state"], "ok");
    lab.quorum_img(["set", "status", "vm.qset"]).exits(0).says("state: ").says("ok");
    lab.quorum_img(["set", "status", "-x", "."]).exits(0).says("all sets are well");

    lab.damage(&b, sectors(1000..1010));
    let report = lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).exits(1).json();
    assert_eq!(report["sectors"]["decided"], 10);
    assert_eq!(report["set"]["members"][1]["was"], "ok");
    assert_eq!(report["set"]["members"][1]["state"], "suspect");
    assert_eq!(states(&lab), ["ok", "suspect", "ok"]);
    let told = lab.quorum_img(["set", "status", "vm.qset"]).exits(1);
    told.says("suspect").says("quorum-img set repair vm.qset");

    lab.quorum_img(["set", "repair", "--dry-run", "vm.qset"]).exits(1);
    assert_eq!(states(&lab), ["ok", "suspect", "ok"], "a plan changes nothing");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0).says("suspect -> ok");
    lab.assert_same_bytes(&a, &b);
    lab.assert_same_bytes(&a, &c);
    assert_eq!(status(&lab)["members"][1]["repaired-sectors"], 10);
    assert!(check(&lab).code() == Some(0));
    let runs = history(&lab);
    let kinds: Vec<&str> = runs.iter().map(|run| run["kind"].as_str().expect("a word")).collect();
    assert_eq!(kinds, ["create", "check", "repair", "repair", "check"]);
    assert_eq!(runs[3]["changes"][0]["became"], "ok");
    assert!(runs[3]["journal"].as_str().is_some_and(|journal| journal.contains("vm.qset.d/")));
}

/// A member that couldn't be reached comes back: it is compared, has no vote, and needs nobody.
#[test]
fn a_member_that_was_away_proves_itself() {
    let lab = Lab::new();
    let [_, b, _] = set_of_three(&lab, 2);
    let away = lab.path("elsewhere");
    fs::rename(&b, &away).expect("our own file");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(1).complains("couldn't be reached");
    assert_eq!(states(&lab), ["ok", "returning", "ok"]);
    assert_eq!(status(&lab)["state"], "degraded");
    fs::rename(&away, &b).expect("our own file");
    let report = lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).exits(0).json();
    assert_eq!(report["set"]["members"][1]["voted"], false);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
}

/// While it was away the others went on: it differs, so it is stale, and a resync brings it back.
#[test]
fn a_member_that_missed_writes_is_stale_until_it_is_resynced() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 4);
    let away = lab.path("elsewhere");
    fs::rename(&b, &away).expect("our own file");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(1);
    // A guest writes to those that are there: more than any damage.
    for member in [&a, &c] {
        lab.write(member, 0, &noise(99, 512 << 10));
    }
    fs::rename(&away, &b).expect("our own file");
    let run = check(&lab);
    assert_eq!(run.code(), Some(1), "{run}");
    assert_eq!(states(&lab), ["ok", "stale", "ok"]);
    run.says("next: quorum-img set resync vm.qset '#1'");
    // A repair leaves it alone: it is no damage.
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    assert_ne!(lab.bytes(&a), lab.bytes(&b));
    lab.quorum_img(["set", "resync", "-y", "vm.qset", "#1"]).exits(0).says("-> ok");
    lab.assert_same_bytes(&a, &b);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    assert_eq!(check(&lab).code(), Some(0));
}

/// Of three two are away: nobody can have gone on without them, so their absence says nothing, and they vote when they are back.
#[test]
fn too_few_votes_change_nothing() {
    let lab = Lab::new();
    let [_, b, c] = set_of_three(&lab, 2);
    for member in [&b, &c] {
        fs::rename(member, member.with_extension("away")).expect("our own file");
    }
    lab.quorum_img(["set", "check", "vm.qset"]).output().complains("too few votes: 1 of the 2");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2).complains("too few votes");
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    assert_eq!(status(&lab)["state"], "inquorate");
    for member in [&b, &c] {
        fs::rename(member.with_extension("away"), member).expect("our own file");
    }
    lab.damage(&c, sectors(5..6));
    assert_eq!(check(&lab).code(), Some(1));
    assert_eq!(states(&lab), ["ok", "ok", "suspect"]);
}

/// A member that differs by more than damage does has no vote from then on.
#[test]
fn what_is_no_damage_is_stale() {
    let lab = Lab::new();
    let [a, b, _] = set_of_three(&lab, 4);
    let before = lab.bytes(&b);
    lab.write(&b, 0, &noise(5, 512 << 10));
    assert_eq!(check(&lab).code(), Some(2), "a guard stands");
    assert_eq!(states(&lab), ["ok", "stale", "ok"]);
    // A repair doesn't touch it; somebody copies it back by hand.
    lab.write(&b, 0, &before);
    assert_eq!(check(&lab).code(), Some(0));
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    lab.assert_same_bytes(&a, &b);
}

/// Two nights, two halves: what was done stays done, whoever ends it.
#[test]
fn a_pass_goes_on_where_it_was_left() {
    let lab = Lab::new();
    let copies = lab.copies_of::<3>("disk.img", &disk(3, 6 * MIB));
    create(&lab, &copies).arg("--assume-clean").exits(0);
    lab.damage(&copies[2], sectors(2048..2049));
    // Each run does a part at least, and no more where its time is up at once.
    for done in 1..=5 {
        let report =
            lab.quorum_img(["set", "check", "--time-limit", "1s", "--rate-limit", "1M", "--output", "json", "vm.qset"]).output().json();
        if report["set"]["completed"] == true {
            break;
        }
        assert!(report["set"]["parts-done"].as_u64().expect("a number") >= done, "{report:#}");
    }
    let status = status(&lab);
    assert!(status["parts-done"].as_u64().expect("a number") >= 5, "{status:#}");
    let last = lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).output().json();
    assert_eq!(last["set"]["completed"], true, "{last:#}");
    assert_eq!(states(&lab), ["ok", "ok", "suspect"], "what was found in an earlier night counts in the last");
}

/// A set of members that differ from the start is one all the same, and says so.
#[test]
fn the_first_check_tells() {
    let lab = Lab::new();
    let copies = lab.copies_of::<3>("disk.img", &disk(3, 2 * MIB));
    lab.damage(&copies[0], sectors(7..9));
    create(&lab, &copies).exits(1).says("ok -> suspect: it dissents");
    lab.quorum_img(["set", "create", "vm.qset"]).args(&copies).exits(3).complains("already exists");
    lab.quorum_img(["set", "create", "other.qset"]).args(&copies).exits(3).complains("belongs to a set already");
    assert!(!lab.path("other.qset").exists() && !lab.path("other.qset.d").exists(), "nothing is left of it");
}

#[test]
fn members_come_and_go() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    let d = lab.file("d.img", lab.bytes(&a));
    lab.quorum_img(["set", "add", "vm.qset", "d.img"]).exits(0).says("next: quorum-img set check");
    assert_eq!(states(&lab), ["ok", "ok", "ok", "returning"]);
    lab.quorum_img(["set", "check", "vm.qset"]).exits(0);
    assert_eq!(states(&lab), ["ok", "ok", "ok", "ok"]);
    lab.quorum_img(["set", "add", "vm.qset", "d.img"]).exits(3);
    lab.quorum_img(["set", "remove", "vm.qset", "#0"]).exits(0);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    assert!(xattr::get(&a, "user.quorum-img").ok().flatten().is_none(), "its mark is gone with it");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(0);
    // An empty file takes the place of a member.
    let new = lab.file("new.img", b"");
    lab.quorum_img(["set", "replace", "-y", "vm.qset"]).arg(&b).arg("new.img").exits(0);
    lab.assert_same_bytes(&new, &c);
    lab.assert_same_bytes(&new, &d);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    lab.quorum_img(["set", "check", "--restart", "vm.qset"]).exits(0);
    lab.quorum_img(["set", "remove", "vm.qset", "new.img"]).exits(0);
    lab.quorum_img(["set", "remove", "vm.qset", "d.img"]).exits(3).complains("2 members at least");
}

#[test]
fn a_person_clears_what_was_counted_and_lets_a_member_vote_again() {
    let lab = Lab::new();
    let [_, b, _] = set_of_three(&lab, 2);
    lab.write(&b, 0, &noise(5, 400 << 10));
    check(&lab);
    assert_eq!(states(&lab)[1], "stale");
    assert!(status(&lab)["members"][1]["dissenting-sectors"].as_u64().expect("a number") > 0);
    lab.quorum_img(["set", "clear", "-y", "vm.qset", "#1"]).exits(0);
    assert_eq!(states(&lab)[1], "suspect");
    assert_eq!(status(&lab)["members"][1]["dissenting-sectors"], 0);
    lab.quorum_img(["set", "clear", "vm.qset", "#9"]).exits(3).complains("no member of");
}

#[test]
fn a_policy_is_shown_and_changed() {
    let lab = Lab::new();
    set_of_three(&lab, 2);
    lab.quorum_img(["set", "policy", "vm.qset"]).exits(0).says("part-size=1048576").says("threshold=majority");
    lab.quorum_img(["set", "policy", "vm.qset", "threshold=3", "keep-days=1"]).exits(0);
    lab.quorum_img(["set", "policy", "vm.qset"]).exits(0).says("threshold=3").says("keep-days=1");
    lab.quorum_img(["set", "policy", "vm.qset", "threshold=4"]).exits(3).complains("makes no sense for 3 members");
    lab.quorum_img(["set", "policy", "vm.qset", "force=stale"]).exits(3).complains("there is no such key");
    lab.quorum_img(["set", "policy", "vm.qset", "nonsense"]).exits(3).complains("KEY=VALUE");
}

/// Members of any kind: images of three copies, by what their guest sees.
#[test]
fn images_are_members_too() {
    let lab = Lab::new();
    let copies = lab.copies_of::<2>("raw.img", &disk(7, 2 * MIB));
    lab.quorum_img(["repair", "-q", "-O", "qcow2", "-o", "a.qcow2"]).args(&copies).exits(0);
    let bytes = lab.bytes(&lab.path("a.qcow2"));
    let members = ["a.qcow2", "b.qcow2", "c.qcow2"].map(|name| lab.file(name, &bytes));
    lab.quorum_img(["set", "create", "vm.qset"]).args(&members).exits(3).complains("-f qcow2");
    lab.quorum_img(["set", "create", "-f", "qcow2", "vm.qset"]).args(&members).exits(0);
    // A cluster of the second one rots.
    let first = &disk(7, 2 * MIB)[..512];
    let at = bytes.chunks(512).position(|piece| piece == first).expect("its first sector is there") as u64 * 512;
    lab.flip_bit(&members[1], at + 100);
    lab.quorum_img(["set", "check", "vm.qset"]).exits(1);
    assert_eq!(states(&lab), ["ok", "suspect", "ok"]);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0).says("quorum-img set undo vm.qset");
    lab.quorum_img(["check", "-f", "qcow2"]).args(&members).exits(0);
    check(&lab).expect_code(0);
    let runs = history(&lab);
    let run = runs.iter().rev().find(|run| run["kind"] == "repair").expect("there is one")["run"].to_string();
    lab.quorum_img(["set", "undo", "-y", "vm.qset", &run]).exits(0);
    assert_eq!(states(&lab), ["ok", "suspect", "ok"]);
    check(&lab).expect_code(1);
}

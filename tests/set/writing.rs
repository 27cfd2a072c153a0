//! What writes to a set's members: repairs, resyncs, what stands in their way, what takes them back.

use super::{Lab, MIB, check, create, disk, history, set_of_three, states, status};
use crate::support::{noise, sectors};
use std::fs;

/// The number of the last run of that kind.
fn last_run(lab: &Lab, kind: &str) -> String {
    let runs = history(lab);
    let last = runs.iter().rev().find(|run| run["kind"] == kind).expect("there is one");
    last["run"].to_string()
}

/// Undone, members and states are what they were.
#[test]
fn an_undo_is_a_run_of_its_own() {
    let lab = Lab::new();
    let [a, b, _] = set_of_three(&lab, 2);
    lab.damage(&b, sectors(10..20));
    let damaged = lab.bytes(&b);
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    lab.assert_same_bytes(&a, &b);
    lab.quorum_img(["set", "undo", "-y", "vm.qset", &last_run(&lab, "repair")]).exits(0);
    assert!(lab.bytes(&b) == damaged);
    assert_eq!(states(&lab), ["ok", "suspect", "ok"]);
    let runs = history(&lab);
    assert_eq!(runs.last().expect("runs")["kind"], "undo");
    lab.quorum_img(["set", "undo", "-y", "vm.qset", "1"]).exits(3).complains("there is no journal of it");
    lab.quorum_img(["set", "undo", "-y", "vm.qset", "99"]).exits(3).complains("there is no such run");
}

/// Journals are kept as the policy says.
#[test]
fn journals_are_kept_by_count() {
    let lab = Lab::new();
    let [_, b, _] = set_of_three(&lab, 2);
    lab.quorum_img(["set", "policy", "vm.qset", "keep-journals=2"]).exits(0);
    for round in 0..4 {
        lab.damage(&b, sectors(10 * round + 1..10 * round + 2));
        lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    }
    let journals = history(&lab).iter().filter(|run| run["journal"].is_string()).count();
    assert_eq!(journals, 2);
    let files = fs::read_dir(lab.path("vm.qset.d")).expect("a folder").flatten();
    assert_eq!(files.filter(|entry| entry.file_name().to_string_lossy().ends_with("undo")).count(), 2);
}

/// Where the vote itself may be wrong nobody is blamed: the set is disputed until a person decides.
#[test]
fn a_guard_makes_a_set_disputed_and_nobody_suspect() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 4);
    // Two copies lose a stretch to zeros: the one that has it would be outvoted.
    for member in [&b, &c] {
        lab.write(member, 0, &vec![0; 128 << 10]);
    }
    let right = lab.bytes(&a);
    check(&lab).expect_code(2);
    assert_eq!(states(&lab), ["ok", "ok", "ok"], "nobody's state changes");
    assert_eq!(status(&lab)["state"], "disputed");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2).complains("zeros");
    assert!(lab.bytes(&a) == right);
    // A person decides for the one that has it.
    lab.quorum_img(["set", "resync", "-y", "--trust", "#0", "vm.qset", "#1"]).exits(1);
    lab.assert_same_bytes(&a, &b);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2).complains("is disputed");
    lab.quorum_img(["set", "resync", "-y", "--trust", "#0", "vm.qset", "#2"]).exits(0);
    lab.assert_same_bytes(&a, &c);
    check(&lab).expect_code(0);
    assert_eq!(status(&lab)["state"], "ok");
}

/// No policy holds a word: only a person says one, with each run.
#[test]
fn a_word_is_said_by_a_person() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 4);
    for member in [&b, &c] {
        lab.write(member, 0, &vec![0; 128 << 10]);
    }
    lab.quorum_img(["set", "repair", "-y", "--force", "zeros", "vm.qset"]).exits(0);
    lab.assert_same_bytes(&a, &b);
    lab.quorum_img(["set", "policy", "vm.qset", "force=zeros"]).exits(3);
}

/// A resync of two copies needs a person who says which is right, and copies nothing else.
#[test]
fn of_two_copies_a_person_says_which_is_right() {
    let lab = Lab::new();
    let copies = lab.copies_of::<2>("disk.img", &disk(7, 2 * MIB));
    create(&lab, &copies).exits(0);
    lab.write(&copies[0], 0, &disk(8, MIB));
    check(&lab).expect_code(2);
    lab.quorum_img(["set", "resync", "-y", "vm.qset", "#1"]).exits(2).complains("too few votes: 1 of the 2").complains("--trust");
    lab.quorum_img(["set", "resync", "-y", "--trust", "#1", "vm.qset", "#1"]).exits(3).complains("can't be made like itself");
    lab.quorum_img(["set", "resync", "-y", "--trust", "#0", "vm.qset", "#1"]).exits(0);
    lab.assert_same_bytes(&copies[0], &copies[1]);
    check(&lab).expect_code(0);
    assert_eq!(states(&lab), ["ok", "ok"]);
}

/// A resync that is cut off leaves a member that has no vote; the same resync again goes on.
#[test]
fn a_resync_that_was_cut_off_is_gone_on_with() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 16);
    fs::rename(&b, lab.path("away")).expect("our own");
    check(&lab);
    for member in [&a, &c] {
        lab.write(member, 0, &noise(9, 3 << 20));
    }
    fs::rename(lab.path("away"), &b).expect("our own");
    check(&lab);
    assert_eq!(states(&lab)[1], "stale");
    let running = lab.quorum_img(["set", "resync", "-y", "--rate-limit", "6M", "vm.qset", "#1"]).start();
    for _ in 0..400 {
        if states(&lab)[1] == "syncing" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    running.signal("KILL");
    running.wait();
    assert_eq!(states(&lab), ["ok", "syncing", "ok"]);
    check(&lab);
    assert_eq!(states(&lab), ["ok", "syncing", "ok"], "half of a resync has no vote");
    lab.quorum_img(["set", "resync", "-y", "vm.qset", "#1"]).exits(0);
    lab.assert_same_bytes(&a, &b);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    let outcomes: Vec<String> = history(&lab).iter().map(|run| run["outcome"].as_str().unwrap_or_default().to_owned()).collect();
    assert!(outcomes.iter().any(|outcome| outcome == "it was cut off"), "{outcomes:?}");
}

/// Picks settle what nobody won.
#[test]
fn a_person_picks_what_nobody_won() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    for member in [&a, &b, &c] {
        lab.damage(member, sectors(50..51));
    }
    check(&lab).expect_code(2);
    assert_eq!(states(&lab), ["ok", "ok", "ok"], "where nobody won nobody is to blame");
    assert_eq!(status(&lab)["state"], "undecided");
    lab.quorum_img(["set", "repair", "-y", "--pick", "25600:512=#2", "vm.qset"]).exits(0);
    lab.assert_same_bytes(&a, &c);
    lab.assert_same_bytes(&b, &c);
    check(&lab).expect_code(0);
    assert_eq!(status(&lab)["state"], "ok");
}

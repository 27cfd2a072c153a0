//! Sets of running guests: snapshots, commands around a run, writes while it runs.

use super::{Lab, MIB, check, disk, set_of_three, states, status};
use crate::support::sectors;
use std::{fs, time::Duration};

/// A snapshot stands in for each member; the guest writes on meanwhile.
#[test]
fn snapshots_are_read_in_members_places() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    lab.damage(&b, sectors(9..10));
    let mut via = Vec::new();
    for (index, member) in [&a, &b, &c].into_iter().enumerate() {
        let snapshot = lab.path(format!("snapshot-{index}"));
        let done = std::process::Command::new("cp").args(["-a", "--reflink=auto"]).args([member, &snapshot]).status();
        assert!(done.expect("cp is everywhere").success());
        via.push(format!("--via=#{index}={}", snapshot.display()));
        // What the guest wrote since isn't looked at.
        lab.write(member, MIB, b"a write of now");
    }
    let report = lab.quorum_img(["set", "check", "--restart", "--output", "json", "vm.qset"]).args(&via).exits(1).json();
    assert_eq!(report["sectors"]["decided"], 1, "{report:#}");
    assert_eq!(states(&lab), ["ok", "suspect", "ok"]);
    lab.quorum_img(["set", "check", "--via", "nobody=/x", "vm.qset"]).exits(3).complains("no member of");
    lab.quorum_img(["set", "check", "--via", "nonsense", "vm.qset"]).exits(3).complains("MEMBER=SOURCE");
}

/// `before` makes what is read, `after` takes it away: whatever happens.
#[test]
fn commands_are_run_around_it() {
    let lab = Lab::new();
    set_of_three(&lab, 1);
    let policy = |before: &str, after: &str| {
        lab.quorum_img(["set", "policy", "vm.qset"]).arg(format!("before={before}")).arg(format!("after={after}")).exits(0);
    };
    policy("echo $QUORUM_IMG_WHEN $1 $QUORUM_IMG_RUN $QUORUM_IMG_COMMAND >> log; echo told", "echo $QUORUM_IMG_WHEN >> log");
    let run = check(&lab);
    assert_eq!(run.code(), Some(0), "{run}");
    run.says_nothing_of("told");
    let log = fs::read_to_string(lab.path("log")).expect("they were run");
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.starts_with("before /") && log.contains("/vm.qset ") && log.contains(" check\nafter"), "{log}");

    fs::remove_file(lab.path("log")).expect("our own");
    policy("exit 7", "echo after >> log");
    check(&lab).expect_code(3).complains("before").complains("nothing was read");
    assert_eq!(fs::read_to_string(lab.path("log")).expect("it was run all the same"), "after\n");

    policy("", "exit 7");
    check(&lab).expect_code(3).complains("what `before` did may still stand");
    policy("sleep 100 & sleep 100", "echo after >> log");
    lab.quorum_img(["set", "policy", "vm.qset", "command-timeout=1"]).exits(0);
    lab.quorum_img(["set", "check", "vm.qset"]).within(Duration::from_secs(30)).exits(3).complains("took longer");
    policy("", "");
    check(&lab).expect_code(0);
}

/// Somebody writes while a part is checked: that part is void, not wrong, and is looked at again.
#[test]
fn a_part_that_was_written_to_is_void() {
    let lab = Lab::new();
    let copies = lab.copies_of::<3>("disk.img", &disk(7, 8 * MIB));
    super::create(&lab, &copies).exits(0);
    let running = lab.quorum_img(["set", "check", "--restart", "-U", "--rate-limit", "12M", "--output", "json", "vm.qset"]).start();
    let begun = std::time::Instant::now();
    while status(&lab)["parts-done"] != 3 && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // A guest's write, which reaches all copies one after the other.
    for copy in &copies {
        lab.write(copy, 7 * MIB, b"a guest's write");
    }
    let ended = running.wait();
    assert_eq!(ended.code(), Some(3), "{ended}");
    assert!(ended.json()["set"]["parts-void"].as_u64().is_some_and(|void| void >= 1), "{ended}");
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
    lab.quorum_img(["set", "check", "vm.qset"]).exits(0);
    assert_eq!(status(&lab)["state"], "ok");
}

//! INT, TERM and HUP end a repair at a safe point, from which one can go on or back.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Set,
    midway::{Midway, NAMES},
    repair,
    signals::wait_for_handler,
    state,
    support::Output,
};

const SIGNALS: [&str; 3] = ["INT", "TERM", "HUP"];

/// Interrupts a repair while it writes.
fn interrupted(set: &Midway, signal: &str, writes: usize) -> Output {
    let running = set.stopped_at(set.repair(), writes);
    let asked = Instant::now();
    running.signal(signal);
    let run = running.wait();
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?} to stop\n{run}", asked.elapsed());
    set.at_full_speed();
    assert_eq!(run.code(), Some(130), "{signal}\n{run}");
    assert!(set.journal().exists(), "{run}");
    let said = run.stderr();
    let undo = format!("quorum-img undo {}", set.journal().display());
    assert!(said.contains(&undo), "the way back\n{run}");
    assert!(said.contains("again") || said.contains("rerun") || said.contains("same command"), "the way on\n{run}");
    run
}

#[test]
fn an_interrupted_repair_is_completed_by_the_same_command() {
    for (signal, writes) in SIGNALS.into_iter().zip([0, 7, 40]) {
        let Some(set) = Midway::new() else { return };
        let run = interrupted(&set, signal, writes);
        assert_eq!(state(&set.lab, &set.journal()), "unfinished", "{run}");
        let report = run.json();
        assert_eq!((&report["repair"]["completed"], &report["exit-code"]), (&false.into(), &130.into()), "{run}");
        let run = set.repair().exits(0);
        set.assert_repaired(&run);
        run.complains("unfinished");
        assert_eq!(state(&set.lab, &set.journal()), "complete", "{run}");
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
    }
}

#[test]
fn an_interrupted_repair_is_undone() {
    for (signal, writes) in SIGNALS.into_iter().zip([0, 7, 40]) {
        let Some(set) = Midway::new() else { return };
        interrupted(&set, signal, writes);
        set.undo().arg("--dry-run").exits(0);
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
        assert_eq!(state(&set.lab, &set.journal()), "undone", "{run}");
    }
}

/// Several times: the journal says how far it was.
#[test]
fn an_interrupted_repair_may_be_interrupted_again() {
    let Some(set) = Midway::new() else { return };
    interrupted(&set, "INT", 5);
    for (signal, writes) in [("TERM", 3), ("INT", 10)] {
        interrupted(&set, signal, writes);
        assert_eq!(state(&set.lab, &set.journal()), "unfinished");
    }
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// An unfinished journal belongs to its members and options, and nothing else is begun beside it.
#[test]
fn an_unfinished_repair_is_not_mixed_with_another() {
    let Some(set) = Midway::new() else { return };
    interrupted(&set, "INT", 20);
    let journal = set.journal().display().to_string();
    for options in [&["--threshold", "3"][..], &["--trust", "#0"], &["--range", "0:64k"]] {
        let run = set.repair().args(options).exits(3);
        run.complains(&journal);
    }
    let other = set.lab.file("other.img", &set.original);
    let members = [set.media.path(NAMES[0]), set.media.path(NAMES[1]), other];
    let run = repair(&set.lab, members).args(["--max-damage", "100", "--journal", &journal]).exits(3);
    run.complains(&journal);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// Nothing was written yet: nothing is left.
#[test]
fn a_repair_that_is_interrupted_while_it_reads_leaves_nothing() {
    for signal in SIGNALS {
        let set = Set::new();
        let before = set.lab.listing();
        // 3 MiB at 256 KiB a second.
        let mut running = set.repair().args(["-r", "256k"]).start();
        wait_for_handler(&mut running, libc::SIGINT);
        thread::sleep(Duration::from_millis(200));
        running.signal(signal);
        let run = running.wait().expect_code(130);
        assert_eq!(set.lab.listing(), before, "{run}");
    }
}

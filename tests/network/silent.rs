//! Servers that don't answer: who waits for them, and for how long.

use std::{thread, time::Duration};

use super::{NAMES, Servers, member, signals::wait_for_handler};

/// Longer than the program is let wait.
const SILENCE: Duration = Duration::from_secs(5);

impl Servers {
    fn silence(&self, name: &str) {
        self.media.with(name, |file| file.read_delay = (12, SILENCE));
    }
}

#[test]
fn one_that_doesnt_answer_in_time_has_failed() {
    for cache in ["writeback", "none"] {
        let Some(servers) = Servers::new() else { return };
        servers.silence("c.img");
        let run = servers.check().args(["--timeout", "1s", "-T", cache]).exits(1);
        let report = run.json();
        assert_eq!(member(&report, 2)["status"], "failed", "{run}");
        assert!(member(&report, 2)["error"].as_str().is_some_and(|why| why.contains("no answer for 1 s")), "{run}");
        assert_eq!(report["sectors"]["unanimous"], 0, "the third one's ballots are missing\n{run}");
        assert_eq!(report["sectors"]["undecided"], 0, "{run}");
    }
}

/// What isn't answered says nothing of a format: the others' is its.
#[test]
fn one_that_is_silent_from_the_start_has_no_format_of_its_own() {
    if !super::support::qemu::have_qemu() {
        return;
    }
    let Some(servers) = Servers::new() else { return };
    let image = servers.lab.path("image.q");
    servers.lab.file("disk.raw", &servers.original);
    servers.lab.program("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2", "disk.raw", "image.q"]).exits(0);
    let bytes = servers.lab.bytes(&image);
    for name in NAMES {
        servers.media.with(name, |file| file.bytes.clone_from(&bytes));
    }
    servers.media.with("a.img", |file| file.read_delay = (0, SILENCE));
    let run = servers.check().args(["--timeout", "1s"]).exits(1);
    let report = run.json();
    assert_eq!((member(&report, 0)["status"].as_str(), member(&report, 0)["format"].as_str()), (Some("failed"), Some("qcow2")), "{run}");
    assert_eq!(report["sectors"]["undecided"], 0, "{run}");
}

/// Slow isn't silent: who answers in time votes, and without the option everybody has all the time.
#[test]
fn one_that_is_slow_votes() {
    let Some(servers) = Servers::new() else { return };
    servers.media.with("c.img", |file| file.read_delay = (0, Duration::from_millis(300)));
    servers.check().args(["--timeout", "30"]).exits(0);
    servers.check().exits(0);
}

/// In place, the one that is silent isn't written to, and the rest is done.
#[test]
fn one_that_is_silent_isnt_rewritten() {
    let Some(servers) = Servers::new() else { return };
    servers.damage(1000 * 512);
    servers.silence("c.img");
    let run = servers.in_place().args(["--timeout", "1s", "--trust", "#0"]).exits(3);
    assert_eq!(servers.media.bytes("b.img"), servers.original, "{run}");
    assert!(servers.media.with("c.img", |file| file.writes.is_empty()), "{run}");
}

/// A signal ends the waiting: what was found is reported.
#[test]
fn a_signal_doesnt_wait_for_it() {
    let Some(servers) = Servers::new() else { return };
    for name in NAMES {
        servers.silence(name);
    }
    let mut running = servers.check().start();
    wait_for_handler(&mut running, libc::SIGTERM);
    thread::sleep(Duration::from_millis(300));
    running.signal("TERM");
    let run = running.wait().expect_code(130);
    assert_eq!(run.json()["partial"], true, "{run}");
}

#[test]
fn durations_are_told_from_other_words() {
    let Some(servers) = Servers::new() else { return };
    for good in ["1", "90s", "5m", "1h", "1d"] {
        servers.check().args(["--timeout", good]).exits(0);
    }
    for bad in ["0", "0s", "-1", "1.5s", "s", "1w", "", "99999999999d"] {
        servers.check().arg(format!("--timeout={bad}")).exits(3).complains("90s, 5m or 1h");
    }
}

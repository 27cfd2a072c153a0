//! What ends too early: a clear error or a partial report, and nothing half-made.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Damaged, refuses, repair,
    signals::wait_for_handler,
    support::{KIB, Lab, MIB, is_root, mounts},
};

#[test]
fn a_read_only_folder_is_a_clear_error() {
    let set = Damaged::new();
    let folder;
    let mounted;
    if is_root() {
        // Root may write to any folder, but not to a file system that is read-only.
        let Some(small) = mounts::Mounted::tmpfs(set.lab.folder(), 1 << 20) else { return };
        mounted = small;
        mounts::run(Command::new("mount").args(["-o", "remount,ro"]).arg(mounted.path()));
        folder = mounted.path().to_owned();
    } else {
        folder = set.lab.path("folder");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("our own folder");
    }
    let run = refuses(&set.lab, repair(&set.lab, &folder.join("out.img"), &set.members), 3, &["out.img"]);
    assert!(run.stderr().contains("ead-only") || run.stderr().contains("ermission"), "{run}");
}

/// A set that takes 24 seconds at the rate limit that the tests set.
fn slow_set() -> (Lab, [std::path::PathBuf; 3]) {
    let lab = Lab::new();
    let members = lab.copies("disk.img", 8 * MIB);
    lab.damage(&members[1], 512..1024);
    (lab, members)
}

#[test]
fn an_interrupted_repair_leaves_nothing() {
    for (name, signal) in [("INT", libc::SIGINT), ("TERM", libc::SIGTERM), ("HUP", libc::SIGHUP)] {
        let (lab, members) = slow_set();
        let output = lab.path("out.img");
        let before = lab.listing();
        let mut running = repair(&lab, &output, &members).args(["--rate-limit", "1M"]).start();
        wait_for_handler(&mut running, signal);
        thread::sleep(Duration::from_millis(200));
        let asked = Instant::now();
        running.signal(name);
        let run = running.wait().expect_code(130);
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?} to stop", asked.elapsed());
        assert_eq!(lab.listing(), before, "{run}");
    }
}

/// What was to be replaced is still there, too.
#[test]
fn an_interrupted_repair_leaves_the_old_output() {
    let (lab, members) = slow_set();
    let output = lab.file("out.img", "precious");
    let before = lab.listing();
    let mut running = repair(&lab, &output, &members).args(["--rate-limit", "1M", "--force", "overwrite"]).start();
    wait_for_handler(&mut running, libc::SIGINT);
    thread::sleep(Duration::from_millis(100));
    running.signal("INT");
    let run = running.wait().expect_code(130);
    assert_eq!(lab.listing(), before, "{run}");
}

/// A scrub that was stopped still tells what it found, and how far it came.
#[test]
fn a_terminated_check_reports_what_it_found() {
    let (lab, members) = slow_set();
    let mut running = lab.quorum_img(["check", "--output", "json", "--rate-limit", "2M"]).args(&members).start();
    wait_for_handler(&mut running, libc::SIGTERM);
    thread::sleep(Duration::from_millis(1500));
    running.signal("TERM");
    let run = running.wait().expect_code(130);
    let report = run.json();
    assert!(report["partial"].as_bool().unwrap_or(!report["partial"].is_null()), "{run}");
    let scanned = report.pointer("/scanned-bytes").or(report.pointer("/partial/scanned-bytes")).and_then(serde_json::Value::as_u64);
    assert!(scanned.is_some_and(|bytes| bytes < 8 * MIB), "{run}");
    assert_eq!(report["exit-code"], 130, "{run}");
    if scanned.is_some_and(|bytes| bytes >= 64 * KIB) {
        assert_eq!(report["divergences"][0]["offset"], 512, "what lies in the part that was looked at is listed\n{run}");
    }
}

/// The limit holds for all members together: 3 x 1 MiB at 2 MiB a second take a second and a half.
#[test]
fn the_rate_limit_is_kept() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", MIB);
    let started = Instant::now();
    lab.quorum_img(["check", "--rate-limit", "2M"]).args(&members).exits(0);
    let took = started.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "it took {took:?}");
}

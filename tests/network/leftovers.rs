//! Network file systems can't do without names: a run that is killed leaves its half-written file behind.

use std::fs;

use super::support::{Lab, MIB};

/// As a run of this machine that is gone names it (its number is one that no process has).
fn of_a_gone_run() -> String {
    let text = |path: &str| fs::read_to_string(path).expect("Linux has it").trim().to_owned();
    let host: String = text("/proc/sys/kernel/hostname").chars().filter(char::is_ascii_alphanumeric).collect();
    let boot: String = text("/proc/sys/kernel/random/boot_id").chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let namespace = fs::read_link("/proc/self/ns/pid").expect("Linux has it").to_string_lossy().into_owned();
    let namespace: String = namespace.chars().filter(char::is_ascii_digit).collect();
    format!(".quorum-img-{host}-{boot}-{namespace}-4294967288-1-0123456789abcdef.tmp")
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", MIB);
    lab.damage(&members[1], super::support::sectors(5..6));
    let (ours, theirs) = (of_a_gone_run(), ".quorum-img-elsewhere-0123456789abcdef-1-77-5-0123456789abcdef.tmp");
    for way in [&["repair", "-o", "new.img"][..], &["repair", "--in-place"]] {
        let paths = [ours.as_str(), theirs].map(|name| lab.file(name, "half of an image"));
        let run = lab.quorum_img(way).args(&members).exits(0);
        assert!(!paths[0].exists() && run.stderr().contains("a run that was killed left it there"), "{run}");
        assert!(paths[1].exists() && run.stderr().contains("process 77 on elsewhere"), "{run}");
    }
    // Who only looks touches nothing.
    let path = lab.file(&ours, "half of an image");
    lab.quorum_img(["check"]).args(&members).exits(0);
    assert!(path.exists());
}

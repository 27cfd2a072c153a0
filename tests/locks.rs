//! QEMU's image locks: programs that write to a member keep us out and are named, and we keep writers out while we read.

mod support;

use std::{
    fs::File,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use support::{Lab, MIB, needs, qemu_nbd::Holder};

/// Takes a shared lock on one byte, as QEMU does for each permission; it lasts as long as the file is open.
fn take(file: &File, byte: i64) {
    let lock = libc::flock { l_type: libc::F_RDLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 };
    let argument = nix::fcntl::FcntlArg::F_OFD_SETLK(&lock);
    nix::fcntl::fcntl(file, argument).expect("a lock to be had");
}

/// What a guest's QEMU holds on a raw image: bytes 100, 101, 201 and 203.
#[test]
fn a_member_that_is_written_to_is_refused_and_its_holder_named() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let guest = File::open(&b).expect("it opens");
    for byte in [100, 101, 201, 203] {
        take(&guest, byte);
    }
    let holder = format!("process {}", std::process::id());
    for command in [vec!["check"], vec!["repair", "-o", "new.img"]] {
        let output = lab.quorum_img(command).args([&a, &b, &c]).exits(4);
        assert!(output.stderr().contains("disk-1.img") && output.stderr().contains(&holder), "{}", output.stderr());
        assert!(output.stderr().contains("hint: ") && output.stderr().contains("-U"), "the way out: {}", output.stderr());
        assert!(!lab.path("new.img").exists());
    }
    let output = lab.quorum_img(["check", "-U"]).args([&a, &b, &c]).exits(0);
    assert!(output.stderr().contains("without locks"), "{}", output.stderr());
    drop(guest);
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(0);
}

/// The real thing: QEMU's own NBD server, open for writing.
#[test]
fn gives_way_to_qemu() {
    if !needs("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let holder = Holder::new(&lab, &["-f", "raw"], "disk-0.img");
    let output = lab.quorum_img(["check"]).args([&a, &b, &c]).exits(4);
    drop(holder);
    assert!(output.stderr().contains("qemu-nbd"), "the holder's command: {}", output.stderr());
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(0);
}

/// While we read, QEMU can't open a member for writing, and others can still read it.
#[test]
fn keeps_qemu_from_writing_meanwhile() {
    if !needs("qemu-io") || !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 4 * MIB);
    // Three times 4 MiB at 2 MiB a second: long enough to look.
    let running = lab.quorum_img(["check", "-r", "2M"]).args([&a, &b, &c]).start();
    let begun = Instant::now();
    // Were qemu-io there first, we should give way to it, and that is another test.
    let holds_locks = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fdinfo", running.id())).into_iter().flatten().flatten();
        entries.filter(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("lock:"))).count() >= 3
    };
    while !holds_locks() && begun.elapsed() < Duration::from_secs(4) {
        thread::sleep(Duration::from_millis(5));
    }
    let refused = loop {
        let write = Command::new("qemu-io").args(["-f", "raw", "-c", "write 0 512"]).arg(&b).output().expect("qemu-io runs");
        let said = String::from_utf8_lossy(&write.stderr).into_owned() + &String::from_utf8_lossy(&write.stdout);
        if said.contains("lock") || begun.elapsed() > Duration::from_secs(4) {
            break said;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(refused.contains("lock"), "qemu-io could write: {refused}");
    let reader = Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "raw"]).args([&a, &c]).output().expect("qemu-img runs");
    assert!(reader.status.success(), "a reader is no trouble: {reader:?}");
    running.signal("KILL");
    running.wait();
}

//! Real programs of QEMU's on a member, both ways: they keep us out in every mode, and we them.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{
    Set,
    locks::{bytes_locked, wait_for_locks},
    scattered,
    support::needs,
    wait_until,
};

/// A program that has an image open; stopped when dropped.
struct Holder {
    child: Child,
}

impl Holder {
    /// Starts it and waits until it has locked the image. Its standard input stays open, since that ends qemu-io.
    fn start(command: &mut Command, image: &Path) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut holder = Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")) };
        wait_until("QEMU locks the image", || {
            assert!(holder.child.try_wait().is_ok_and(|status| status.is_none()), "{command:?} ended");
            !bytes_locked(holder.child.id(), image).is_empty()
        });
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails where it has ended
        let _ = self.child.wait();
    }
}

/// The ways in which qemu-io and qemu-nbd open an image.
fn modes(image: &Path, socket: &Path) -> Vec<(&'static str, Command)> {
    let command = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words);
        command
    };
    let shared = format!("driver=raw,read-only=on,file.driver=file,file.force-share=on,force-share=on,file.filename={}", image.display());
    let mut modes = Vec::new();
    for words in [&["-f", "raw"][..], &["-r", "-f", "raw"], &["-r", "-U", "-f", "raw"]] {
        let mut io = command("qemu-io", words);
        io.arg(image);
        modes.push(("qemu-io", io));
    }
    for words in [&["-f", "raw"][..], &["-r", "-f", "raw"]] {
        let mut nbd = command("qemu-nbd", words);
        nbd.args(["-t", "-k"]).arg(socket).arg(image);
        modes.push(("qemu-nbd", nbd));
    }
    let mut nbd = command("qemu-nbd", &["-r", "-t", "--image-opts", &shared, "-k"]);
    nbd.arg(socket);
    modes.push(("qemu-nbd", nbd));
    modes
}

#[test]
fn every_way_of_opening_a_member_keeps_a_repair_out() {
    if !needs("qemu-io") || !needs("qemu-nbd") {
        return;
    }
    let set = Set::new();
    let image = &set.members[1];
    for (number, (program, mut command)) in modes(image, &set.lab.path("nbd.sock")).into_iter().enumerate() {
        let holder = Holder::start(&mut command, image);
        let words = ["disk-1.img", program, &format!("process {}", holder.child.id())];
        let run = set.repair().exits(4);
        for word in words {
            run.complains(word);
        }
        set.assert_as_before(&run);
        assert!(!set.journal().exists(), "mode {number}\n{run}");
    }
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
}

#[test]
fn every_way_of_opening_a_member_keeps_an_undo_out() {
    if !needs("qemu-io") || !needs("qemu-nbd") {
        return;
    }
    let set = Set::new();
    set.repair().exits(0);
    let image = &set.members[1];
    for (program, mut command) in modes(image, &set.lab.path("nbd.sock")) {
        let _holder = Holder::start(&mut command, image);
        let run = set.undo().exits(4);
        run.complains("disk-1.img").complains(program);
        set.assert_repaired(&run);
    }
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// Runs a program of QEMU's; whether it succeeded, and all that it said.
fn said(program: &str, words: &[&str], images: &[&PathBuf]) -> (bool, String) {
    let output = Command::new(program).args(words).args(images).stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), text)
}

/// No way of QEMU's to a member's bytes is open while it is rewritten, for reading neither; only its size may be asked for.
#[test]
fn nothing_of_qemu_gets_in_while_a_member_is_rewritten() {
    if !needs("qemu-io") || !needs("qemu-img") {
        return;
    }
    let (original, damaged) = scattered(22, false);
    let set = Set::of(original, damaged);
    let [a, b, c] = &set.members;
    let out = set.lab.path("out.img");
    let mut running = set.repair().args(["-r", "1M"]).start();
    for member in &set.members {
        wait_for_locks(&mut running, member);
    }
    for member in [a, b, c] {
        for (program, words, images) in [
            ("qemu-io", &["-f", "raw", "-c", "write 0 512"][..], &[member][..]),
            ("qemu-io", &["-f", "raw", "-r", "-c", "read 0 512"], &[member]),
            ("qemu-io", &["-f", "raw", "-r", "-U", "-c", "read 0 512"], &[member]),
            ("qemu-img", &["convert", "-f", "raw"], &[member, &out]),
            ("qemu-img", &["convert", "-U", "-f", "raw"], &[member, &out]),
            ("qemu-img", &["compare", "-U", "-f", "raw", "-F", "raw"], &[member, a]),
            ("qemu-img", &["bench", "-U", "-f", "raw", "-c", "1"], &[member]),
        ] {
            let (succeeded, text) = said(program, words, images);
            assert!(!succeeded && text.contains("Failed to get") && text.contains("lock"), "{program} {words:?}: {text}");
        }
        let (succeeded, text) = said("qemu-img", &["info", "-f", "raw"], &[member]);
        assert!(succeeded, "{text}");
    }
    assert!(running.runs(), "it was to be slow");
    drop(running);
    for member in [a, b, c] {
        let (succeeded, text) = said("qemu-io", &["-f", "raw", "-c", "read 0 512"], &[member]);
        assert!(succeeded, "the locks end with the process: {text}");
    }
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
}

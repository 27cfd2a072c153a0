//! Nobody else may write to a member or read it while it is rewritten, as QEMU's locks have it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    have_qemu, refuses,
    set::Set,
    signals::wait_for_handler,
    support::{needs, qemu_nbd::Holder},
    words,
};

fn chain() -> Set {
    let lines = ["copy was.raw base.raw", "img create -q -f qcow2 -o cluster_size=4k -b base.raw -F raw bad.q", "noise bad.q 300k 40000"];
    Set::new(&lines).options("--allow-references")
}

/// Also who only reads it: it would see half a repair.
#[test]
fn an_image_that_is_open_elsewhere_is_refused() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let set = chain();
    for options in [&["-f", "qcow2"][..], &["-r", "-f", "qcow2"]] {
        let server = Holder::new(&set.lab, options, "bad.q");
        refuses(&set.lab, set.repair(), 4, &["bad.q", "qemu-nbd"]);
        drop(server);
    }
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    {
        let _server = Holder::new(&set.lab, &["-r", "-f", "qcow2"], "bad.q");
        refuses(&set.lab, set.undo(), 4, &["bad.q", "qemu-nbd"]);
    }
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// Who reads what is below does no harm; who writes to it does.
#[test]
fn what_is_below_is_only_read() {
    if !have_qemu() || !needs("qemu-nbd") {
        return;
    }
    let set = chain();
    {
        let _server = Holder::new(&set.lab, &["-f", "raw"], "base.raw");
        refuses(&set.lab, set.repair(), 4, &["base.raw"]);
    }
    let _server = Holder::new(&set.lab, &["-r", "-f", "raw"], "base.raw");
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
}

/// QEMU can't open what is being rewritten, neither to write nor to read.
#[test]
fn nobody_opens_it_meanwhile() {
    if !have_qemu() {
        return;
    }
    let set = chain();
    let mut running = set.repair().args(words("-r 1M")).start();
    wait_for_handler(&mut running, libc::SIGINT);
    let begun = Instant::now();
    for options in ["-r", "-n"] {
        loop {
            let open = set.lab.program("qemu-io").args([options, "-f", "qcow2", "-c", "read 0 512", "bad.q"]).output();
            if (open.stderr() + &open.stdout()).contains("lock") {
                break;
            }
            assert!(running.runs() && begun.elapsed() < Duration::from_secs(5), "it isn't locked\n{open}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    running.signal("INT");
    running.wait().expect_code(130);
}

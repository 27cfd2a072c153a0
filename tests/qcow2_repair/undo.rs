//! `undo` gives back the very file: its bytes, its length, and what the header said.

use std::fs;

use super::{
    assert_equal, have_qemu, qemu_img, qemu_io, refuses,
    set::{PLAIN, Set},
    state, words,
};

fn repaired() -> Set {
    let set = Set::new(&[PLAIN, "img snapshot -c s1 bad.q"]);
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    assert!(set.lab.bytes(&set.bad()).len() > set.damaged.len(), "it has grown\n{run}");
    set
}

#[test]
fn it_can_be_looked_at_before() {
    if !have_qemu() {
        return;
    }
    let set = repaired();
    refuses(&set.lab, set.undo().arg("--dry-run"), 0, &["bad.q"]);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
    // And again: nothing changes any more.
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

#[test]
fn inode_and_mode_stay() {
    use std::os::unix::fs::MetadataExt;
    if !have_qemu() {
        return;
    }
    let set = Set::new(&[PLAIN]);
    let facts =
        || fs::metadata(set.bad()).map(|meta| (meta.ino(), meta.mode(), meta.nlink(), meta.uid(), meta.gid())).expect("it is there");
    let before = facts();
    set.repair().exits(0);
    assert_eq!(facts(), before, "after the repair");
    set.undo().exits(0);
    assert_eq!(facts(), before, "after the undo");
}

/// A guest that has run since then holds what undo would destroy.
#[test]
fn an_image_that_was_written_to_since_is_refused() {
    if !have_qemu() {
        return;
    }
    // A write in a place that the repair wrote to, one in a cluster that it left alone, one that takes a new cluster.
    for command in ["write -q -P 1 700k 4k", "write -q -P 1 0 512", "write -q -P 1 2M 512", "discard -q 0 64k"] {
        let set = repaired();
        qemu_io(&set.lab, "bad.q", [command]);
        refuses(&set.lab, set.undo(), 3, &["bad.q"]);
        refuses(&set.lab, set.undo().arg("--dry-run"), 3, &["bad.q"]);
    }
    let set = repaired();
    qemu_img(&set.lab, "snapshot -c later bad.q");
    refuses(&set.lab, set.undo(), 3, &["bad.q"]);
    let set = repaired();
    qemu_img(&set.lab, "resize -q -f qcow2 bad.q 4M");
    refuses(&set.lab, set.undo(), 3, &["bad.q"]);
}

/// Looking at it changes nothing.
#[test]
fn an_image_that_was_read_since_is_undone() {
    if !have_qemu() {
        return;
    }
    let set = repaired();
    qemu_io(&set.lab, "bad.q", ["read 0 2M"]);
    qemu_img(&set.lab, "check -q -f qcow2 bad.q");
    set.lab.quorum_img(words("check raw:a.raw qcow2:bad.q raw:c.raw")).exits(0);
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

#[test]
fn an_image_that_was_moved_is_found_with_the_map() {
    if !have_qemu() {
        return;
    }
    let set = repaired();
    fs::rename(set.bad(), set.lab.path("moved.q")).expect("the same folder");
    refuses(&set.lab, set.undo(), 3, &["bad.q", "--map"]);
    let map = format!("{}={}", set.bad().display(), set.lab.path("moved.q").display());
    let run = set.undo().args(["--map", &map]).exits(0);
    assert_equal("moved.q", &set.lab.bytes(&set.lab.path("moved.q")), &set.damaged, &run);
}

/// A copy in its place has another inode: undo is told before it believes that.
#[test]
fn a_journal_that_is_damaged_is_refused() {
    if !have_qemu() {
        return;
    }
    for at in [10, 100, 4096 + 10, 4096 + 64 + 40, 4096 + 5000] {
        let set = repaired();
        set.lab.flip_bit(&set.journal(), at);
        let before = state(&set.lab);
        let run = set.undo().output();
        // A bit that nobody reads may be any; else nothing is written.
        if run.code() == Some(0) {
            set.assert_as_before(&run);
        } else {
            super::assert_state(&before, &state(&set.lab), &run);
            assert_eq!(run.code(), Some(3), "{run}");
        }
    }
}

/// info tells what it holds.
#[test]
fn info_tells_of_the_journal() {
    if !have_qemu() {
        return;
    }
    let set = repaired();
    assert_eq!(set.journal_state(), "complete");
    let run = set.lab.quorum_img(["info"]).arg(set.journal()).exits(0);
    run.says("bad.q").says("complete");
    set.undo().exits(0);
    assert_eq!(set.journal_state(), "undone");
}

/// What was undone can be repaired again, with a journal of its own.
#[test]
fn what_was_undone_can_be_repaired_again() {
    if !have_qemu() {
        return;
    }
    let set = repaired();
    set.undo().exits(0);
    refuses(&set.lab, set.repair().args(words("--force newer")), 3, &["quorum-journal", "undone"]);
    let run = set.repair().args(words("--force newer --journal second")).exits(0);
    set.assert_repaired(&run);
    let run = set.lab.quorum_img(["undo", "second"]).exits(0);
    set.assert_as_before(&run);
}

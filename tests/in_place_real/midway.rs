//! Ended after so many writes to a member, not sooner and not later: the disk counts.

use std::{path::PathBuf, time::Duration};

use super::{
    assert_equal,
    fuse_medium::{BLOCK, Media, Medium},
    locks::{EXCLUSIVE, bytes_locked},
    repair, state,
    support::{Lab, Output, Run, Running, disks::bytes, noise},
    undo, wait_until,
};

pub const NAMES: [&str; 3] = ["a.img", "b.img", "c.img"];

/// Sixty sectors of the second member are wrong, each in a block of its own, and one of the third.
pub struct Midway {
    // Unmounted before the folder goes.
    pub media: Media,
    pub lab: Lab,
    pub original: Vec<u8>,
    before: [Vec<u8>; 3],
}

impl Midway {
    pub fn new() -> Option<Self> {
        let original = noise(9, 1 << 18);
        let mut before = [original.clone(), original.clone(), original.clone()];
        for block in 2..62 {
            before[1][block * BLOCK as usize + 512..][..512].fill(0x22);
        }
        before[2][512..1024].fill(0x33);
        Self::of(original, before)
    }

    /// Of members that become `original`.
    pub fn of(original: Vec<u8>, before: [Vec<u8>; 3]) -> Option<Self> {
        let lab = Lab::new();
        let media = Media::new(lab.folder(), [0, 1, 2].map(|index| (NAMES[index], Medium::new(before[index].clone()))))?;
        Some(Self { media, lab, original, before })
    }

    pub fn journal(&self) -> PathBuf {
        self.lab.path("journal")
    }

    pub fn repair(&self) -> Run {
        // It loses more than a tenth of its data: that is not the question here.
        let members = NAMES.map(|name| self.media.path(name));
        repair(&self.lab, members).args(["--max-damage", "100", "--journal"]).arg(self.journal())
    }

    pub fn undo(&self) -> Run {
        undo(&self.lab, &self.journal())
    }

    /// Starts it, and returns when the second member was written to more than `writes` times; the next write takes its time.
    pub fn stopped_at(&self, run: Run, writes: usize) -> Running {
        self.media.with("b.img", |file| {
            file.writes.clear();
            file.write_delay = Duration::from_millis(10);
        });
        let mut running = run.start();
        wait_until("the second member is written to", || {
            assert!(running.runs(), "it ended too early");
            self.media.with("b.img", |file| file.writes.len() > writes)
        });
        self.media.with("b.img", |file| file.write_delay = Duration::from_millis(60));
        running
    }

    pub fn at_full_speed(&self) {
        self.media.with("b.img", |file| file.write_delay = Duration::ZERO);
    }

    pub fn assert_repaired(&self, run: &Output) {
        for name in NAMES {
            assert_equal(name, &self.media.bytes(name), &self.original, run);
        }
    }

    pub fn assert_as_before(&self, run: &Output) {
        for (name, before) in NAMES.iter().zip(&self.before) {
            assert_equal(name, &self.media.bytes(name), before, run);
        }
    }
}

/// A stale XFS, half of it brought up to date: its log was as new as the others' by then, and what it had lost was taken for the last
/// copy of something.
#[test]
fn what_was_judged_is_not_judged_again_half_written() {
    let [mut old, new] = ["xfs-old", "xfs-new"].map(bytes);
    let end = new.len() - (1 << 20);
    assert!(new[end..end + (256 << 10)].iter().all(|&byte| byte == 0), "a place that is free");
    old[end..end + (256 << 10)].copy_from_slice(&noise(8, 256 << 10));
    for writes in [0, 3, 5] {
        let Some(set) = Midway::of(new.clone(), [new.clone(), old.clone(), new.clone()]) else { return };
        drop(set.stopped_at(set.repair(), writes));
        set.at_full_speed();
        let run = set.repair().exits(0);
        set.assert_repaired(&run);
    }
}

#[test]
fn killed_after_so_many_writes() {
    for (number, writes) in [0, 1, 13, 50].into_iter().enumerate() {
        let Some(set) = Midway::new() else { return };
        drop(set.stopped_at(set.repair(), writes));
        set.at_full_speed();
        assert_eq!(state(&set.lab, &set.journal()), "unfinished");
        if number % 2 == 0 {
            let run = set.repair().exits(0);
            set.assert_repaired(&run);
        }
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
    }
}

#[test]
fn an_undo_is_killed_after_so_many_writes() {
    for writes in [0, 1, 13, 50] {
        let Some(set) = Midway::new() else { return };
        set.repair().exits(0);
        drop(set.stopped_at(set.undo(), writes));
        set.at_full_speed();
        assert_eq!(state(&set.lab, &set.journal()), "undo begun");
        // Neither forth nor back: first it is undone.
        let run = set.repair().exits(3);
        run.complains("undo");
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
        assert_eq!(state(&set.lab, &set.journal()), "undone");
    }
}

#[test]
fn an_undo_is_interrupted() {
    for signal in ["INT", "TERM", "HUP"] {
        let Some(set) = Midway::new() else { return };
        set.repair().exits(0);
        let running = set.stopped_at(set.undo(), 5);
        running.signal(signal);
        set.at_full_speed();
        let run = running.wait();
        if run.code() == Some(0) {
            // So little is left that it may as well be done.
            set.assert_as_before(&run);
            continue;
        }
        let run = run.expect_code(130);
        run.complains("again");
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
    }
}

/// An undo writes, too: nobody else gets at its members meanwhile.
#[test]
fn an_undo_holds_the_locks() {
    let Some(set) = Midway::new() else { return };
    set.repair().exits(0);
    let mut running = set.stopped_at(set.undo(), 3);
    for name in ["b.img", "c.img"] {
        assert_eq!(bytes_locked(running.id(), &set.media.path(name)), EXCLUSIVE, "{name}");
    }
    set.undo().exits(4).complains(&format!("process {}", running.id()));
    let members = NAMES.map(|name| set.media.path(name));
    set.lab.quorum_img(["check"]).args(members).exits(4).complains(&format!("process {}", running.id()));
    assert!(running.runs(), "it was to be slow");
    set.at_full_speed();
    let run = running.wait().expect_code(0);
    set.assert_as_before(&run);
}

/// A repair holds its new journal from its first byte on: nobody undoes by a journal that still grows, or reads one half-written.
#[test]
fn a_repair_holds_its_journal() {
    let Some(set) = Midway::new() else { return };
    let mut running = set.stopped_at(set.repair(), 3);
    // Not the members' locks are in the way here: it isn't even read.
    let run = set.undo().exits(4);
    run.complains("the journal is in use").complains(&format!("process {}", running.id()));
    set.lab.quorum_img(["info"]).arg(set.journal()).exits(4).complains("the journal is in use");
    assert!(running.runs(), "it was to be slow");
    set.at_full_speed();
    let run = running.wait().expect_code(0);
    set.assert_repaired(&run);
    set.undo().exits(0);
}

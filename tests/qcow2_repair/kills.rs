//! Killed at any moment, a repair of images can be undone to the very files, or completed by running it again; and so can an undo.
//!
//! `QUORUM_IMG_KILLS=400` in the environment makes a long night of it, `QUORUM_IMG_KILLS_SEED=N` another one.

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use super::{
    assert_equal, assert_image, guest_bytes, have_qemu, qemu_io, refuses,
    set::{follow, worse},
    some_disk,
    support::{Lab, MIB, Output, Run, noise},
    words,
};

const NAMES: [&str; 3] = ["a.q", "b.q", "c.raw"];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// The number of kills, for a test that does `share` of all.
fn kills(share: u64) -> u64 {
    number("QUORUM_IMG_KILLS").unwrap_or(40).div_ceil(share)
}

/// Two images with a snapshot each and a raw file, each damaged elsewhere, and that in many places.
struct Night {
    good: Vec<u8>,
    before: [Vec<u8>; 3],
    snapshots: [Vec<u8>; 2],
    /// How long it takes until there is a journal, until the repair is done, and until an undo is.
    times: [Duration; 3],
    seed: u64,
    unfinished: u64,
}

struct Set {
    lab: Lab,
}

impl Set {
    fn repair(&self) -> Run {
        // So slow that there is something to be cut off in the middle.
        let line = "repair --in-place --output json --max-damage 100 --force zeros,empty,cuts --force newer,stale -r 24M qcow2:a.q qcow2:b.q raw:c.raw";
        self.lab.quorum_img(words(line))
    }

    fn undo(&self) -> Run {
        self.lab.quorum_img(words("undo a.q.quorum-journal"))
    }

    fn has_journal(&self) -> bool {
        self.lab.path("a.q.quorum-journal").exists()
    }

    fn journal_state(&self) -> String {
        let run = self.lab.quorum_img(words("info --output json a.q.quorum-journal")).exits(0);
        run.json()[0]["journal"]["state"].as_str().unwrap_or_else(|| panic!("no state\n{run}")).to_owned()
    }
}

impl Night {
    fn new(seed: u64) -> Self {
        let lab = Lab::new();
        let good = some_disk(41, 3 * MIB);
        lab.file("good.raw", &good);
        let mut was = worse(&good);
        for (index, sector) in (100..good.len() / 512 - 100).step_by(40).enumerate().filter(|(index, _)| index % 3 != 0) {
            was[sector * 512..sector * 512 + 512].fill(if index % 3 == 1 { 0 } else { 0x77 });
        }
        lab.file("was.raw", &was);
        lab.file("c.raw", &good);
        follow(
            &lab,
            &[
                "img convert -f raw -O qcow2 -o cluster_size=4k was.raw a.q",
                "img snapshot -c s1 a.q",
                "noise a.q 30k 5000",
                "img convert -c -f raw -O qcow2 good.raw b.q",
                "img snapshot -c s1 b.q",
            ],
        );
        // The others are damaged where a isn't, and none where another is.
        let whole = |sector: usize| was[sector * 512..sector * 512 + 512] == good[sector * 512..sector * 512 + 512];
        for (index, sector) in
            (120..good.len() / 512 - 100).step_by(40).map(|sector| sector + 1).filter(|&sector| whole(sector)).enumerate()
        {
            if index % 8 == 0 {
                qemu_io(&lab, "b.q", [format!("write -q -P 99 {} 512", sector * 512)]);
            } else {
                lab.write(&lab.path("c.raw"), sector as u64 * 512, &noise(sector as u64, 512));
            }
        }
        let before = NAMES.map(|name| lab.bytes(&lab.path(name)));
        let snapshots = ["a.q", "b.q"].map(|name| guest_bytes(&lab, name, Some("s1")));
        let mut night = Self { good, before, snapshots, times: [Duration::ZERO; 3], seed, unfinished: 0 };
        night.seed ^= number("QUORUM_IMG_KILLS_SEED").unwrap_or(0) << 32;
        let set = night.set();
        let begun = Instant::now();
        let mut running = set.repair().start();
        while running.runs() && !set.has_journal() {
            thread::sleep(Duration::from_micros(200));
        }
        night.times[0] = begun.elapsed();
        let run = running.wait().expect_code(0);
        night.times[1] = begun.elapsed();
        night.is_repaired(&set, &run);
        let begun = Instant::now();
        let run = set.undo().exits(0);
        night.times[2] = begun.elapsed();
        night.is_as_before(&set, &run);
        night
    }

    fn set(&self) -> Set {
        let lab = Lab::new();
        for (name, bytes) in NAMES.iter().zip(&self.before) {
            lab.file(name, bytes);
        }
        Set { lab }
    }

    fn dice(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(1);
        f64::from(u16::from_le_bytes(noise(self.seed, 2).try_into().expect("two bytes"))) / 65536.0
    }

    /// Mostly while there is a journal.
    fn kill(&mut self, set: &Set, run: Run) {
        let dice = self.dice();
        let from = self.times[0].mul_f64(0.9);
        self.kill_at(set, run, from + (self.times[1].mul_f64(1.05).saturating_sub(from)).mul_f64(dice));
    }

    fn kill_undo(&mut self, set: &Set) {
        let moment = self.times[2].mul_f64(self.dice());
        self.kill_at(set, set.undo(), moment);
    }

    fn kill_at(&mut self, set: &Set, run: Run, moment: Duration) {
        let begun = Instant::now();
        let running = run.start();
        thread::sleep(moment.saturating_sub(begun.elapsed()));
        drop(running); // SIGKILL, unless it is over by then
        if set.has_journal() && set.journal_state() != "complete" {
            self.unfinished += 1;
        }
    }

    fn is_repaired(&self, set: &Set, run: &Output) {
        for (name, snapshot) in ["a.q", "b.q"].iter().zip(&self.snapshots) {
            assert_image(&set.lab, name, &self.good, run);
            assert_equal("a snapshot", &guest_bytes(&set.lab, name, Some("s1")), snapshot, run);
        }
        assert_equal("c.raw", &set.lab.bytes(&set.lab.path("c.raw")), &self.good, run);
        assert_eq!(set.journal_state(), "complete", "{run}");
    }

    fn is_as_before(&self, set: &Set, run: &Output) {
        for (name, bytes) in NAMES.iter().zip(&self.before) {
            assert_equal(name, &set.lab.bytes(&set.lab.path(name)), bytes, run);
        }
    }

    fn is_completed(&self, set: &Set) {
        let run = set.repair().exits(0);
        self.is_repaired(set, &run);
    }

    fn is_undone(&self, set: &Set) {
        if set.has_journal() {
            let run = set.undo().exits(0);
            self.is_as_before(set, &run);
            assert_eq!(set.journal_state(), "undone", "{run}");
        } else {
            self.is_as_before(set, &set.lab.program("true").exits(0));
        }
    }

    fn met_something(&self) {
        assert!(self.unfinished > 0, "no kill came in between: {:?}", self.times);
    }
}

#[test]
fn killed_and_completed_and_undone() {
    if !have_qemu() {
        return;
    }
    let mut night = Night::new(1);
    for _ in 0..kills(5) {
        let set = night.set();
        night.kill(&set, set.repair());
        night.is_completed(&set);
        night.is_undone(&set);
    }
    night.met_something();
}

#[test]
fn killed_and_undone() {
    if !have_qemu() {
        return;
    }
    let mut night = Night::new(1000);
    for _ in 0..kills(5) {
        let set = night.set();
        night.kill(&set, set.repair());
        night.is_undone(&set);
    }
    night.met_something();
}

/// Also while it puts back what a killed run had begun.
#[test]
fn killed_again_and_again() {
    if !have_qemu() {
        return;
    }
    let mut night = Night::new(2000);
    for turn in 0..kills(8) {
        let set = night.set();
        for _ in 0..3 {
            night.kill(&set, set.repair());
        }
        if turn % 2 == 0 {
            night.is_completed(&set);
        }
        night.is_undone(&set);
    }
    night.met_something();
}

#[test]
fn killed_while_it_is_undone() {
    if !have_qemu() {
        return;
    }
    let mut night = Night::new(3000);
    for turn in 0..kills(8) {
        let set = night.set();
        if turn % 2 == 0 {
            set.repair().exits(0);
        } else {
            night.kill(&set, set.repair());
        }
        if set.has_journal() {
            night.kill_undo(&set);
            night.kill_undo(&set);
        }
        night.is_undone(&set);
    }
    night.met_something();
}

/// Interrupted, it says so, and the same command goes on.
#[test]
fn interrupted_and_completed() {
    if !have_qemu() {
        return;
    }
    let mut night = Night::new(4000);
    // A busy machine measured the whole of it slower than it is then: some more tries.
    for (tried, signal) in ["INT", "TERM", "HUP"].into_iter().cycle().take(15).enumerate() {
        if tried >= 3 && night.unfinished > 0 {
            break;
        }
        let set = night.set();
        let mut running = set.repair().start();
        let dice = night.dice();
        thread::sleep(night.times[0] + night.times[1].saturating_sub(night.times[0]).mul_f64(dice * 0.8));
        if running.runs() {
            running.signal(signal);
        }
        let run = running.wait();
        assert!(matches!(run.code(), Some(0 | 130)), "{run}");
        if run.code() == Some(130) && set.has_journal() {
            assert_eq!(set.journal_state(), "unfinished", "{run}");
            night.unfinished += 1;
        }
        night.is_completed(&set);
        night.is_undone(&set);
    }
    night.met_something();
}

/// In the middle of it nobody can say what the images hold: neither a plan nor other options touch them.
#[test]
fn what_was_cut_off_is_not_looked_at() {
    if !have_qemu() {
        return;
    }
    let mut night = Night::new(5000);
    for _ in 0..kills(10) {
        let set = night.set();
        night.kill(&set, set.repair());
        if !set.has_journal() || set.journal_state() != "unfinished" {
            continue;
        }
        let holds = ["a.q", "b.q"].iter().zip(&night.before).any(|(name, bytes)| set.lab.bytes(&set.lab.path(name)) != *bytes);
        if holds {
            refuses(&set.lab, set.repair().arg("--dry-run"), 3, &["cut off", "undo"]);
            refuses(&set.lab, set.repair().args(["--trust", "#0"]), 3, &["quorum-journal"]);
        }
        // Another journal isn't the way around it, nor is none.
        let other = set.repair().args(["--journal", "other"]).output();
        if other.code() == Some(0) {
            // The images were in order: then it is a repair like any other, or nothing was left to do but to say so in the journal.
            for name in ["a.q", "b.q"] {
                assert_image(&set.lab, name, &night.good, &other);
            }
            let removed = fs::remove_file(set.lab.path("other"));
            assert!(removed.is_ok() || other.stdout().contains("Nothing to do"), "{other}");
        } else {
            night.is_undone(&set);
        }
    }
    night.met_something();
}

//! Power cuts, seen from the disk's side: at many moments of a run the disk keeps what was synced, and of the rest whatever it
//! likes, torn at any sector. From what is left there is a way back and a way on, always.
//!
//! `QUORUM_IMG_CUTS=1` looks at every single moment, `QUORUM_IMG_CUTS_SEED=N` at other ones.

use std::{env, path::PathBuf};

use super::{
    Dice, assert_equal,
    fuse_lossy::{Image, LossyDisk},
    repair,
    support::{Lab, Output, noise},
    undo,
};

const NAMES: [&str; 3] = ["a.img", "b.img", "c.img"];
const JOURNAL: &str = "a.img.quorum-journal";

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// One of so many steps is looked at.
fn every(usually: u64) -> u64 {
    number("QUORUM_IMG_CUTS").unwrap_or(usually)
}

/// Three copies, and later a journal, on one disk.
struct Cut {
    // Unmounted before the folder goes.
    disk: LossyDisk,
    lab: Lab,
    original: Vec<u8>,
    before: [Vec<u8>; 3],
    seed: u64,
}

impl Cut {
    /// A hundred wrong sectors, a member that lacks its end and one with too much of it.
    fn new(seed: u64) -> Option<Self> {
        let seed = seed ^ number("QUORUM_IMG_CUTS_SEED").unwrap_or(0);
        let lab = Lab::new();
        let original = noise(seed, 1 << 18);
        let mut before = [original.clone(), original.clone(), original.clone()];
        let mut dice = Dice(seed);
        for _ in 0..100 {
            let sector = dice.below(480) as usize;
            before[sector % 3][sector * 512..][..512].copy_from_slice(&noise(dice.below(1000), 512));
        }
        before[1].truncate((1 << 18) - 5000);
        before[2].extend(noise(1, 3000));
        let disk = LossyDisk::new(lab.folder(), [0, 1, 2].map(|index| (NAMES[index], before[index].clone())))?;
        Some(Self { disk, lab, original, before, seed })
    }

    fn repair(&self) -> Output {
        let members: [PathBuf; 3] = NAMES.map(|name| self.disk.path(name));
        repair(&self.lab, members).args(["--size", "256k", "--truncate", "--max-damage", "50"]).output()
    }

    fn undo(&self) -> Output {
        undo(&self.lab, &self.disk.path(JOURNAL)).output()
    }

    fn assert_repaired(&self, step: u64, run: Output) {
        let run = run.expect_code(0);
        for name in NAMES {
            assert_equal(&self.name(name, step), &self.disk.bytes(name).expect("it is there"), &self.original, &run);
        }
    }

    fn assert_as_before(&self, step: u64, run: &Output) {
        for (name, before) in NAMES.iter().zip(&self.before) {
            assert_equal(&self.name(name, step), &self.disk.bytes(name).expect("it is there"), before, run);
        }
    }

    fn name(&self, name: &str, step: u64) -> String {
        format!("seed {}, cut before step {step}: {name}", self.seed)
    }

    /// From here everything can be put back; where there is no journal, nothing happened.
    fn goes_back(&self, image: &Image) {
        self.disk.put(image);
        let run = if self.disk.bytes(JOURNAL).is_some() { self.undo().expect_code(0) } else { self.lab.program("true").exits(0) };
        self.assert_as_before(image.step, &run);
    }

    /// From here the repair can be completed.
    fn goes_on(&self, image: &Image) {
        self.disk.put(image);
        self.assert_repaired(image.step, self.repair());
    }
}

#[test]
fn a_repair_without_power_can_be_undone_or_completed() {
    for seed in 81..84 {
        let Some(set) = Cut::new(seed) else { return };
        let (run, images) = set.disk.images_of(seed, every(12), || set.repair());
        set.assert_repaired(u64::MAX, run);
        assert!(!images.is_empty());
        for image in &images {
            set.goes_back(image);
            set.goes_on(image);
        }
    }
}

/// Cut while a repair is completed that was cut before: the first old bytes are the ones that count.
#[test]
fn a_rerun_without_power_can_be_undone_or_completed() {
    let Some(set) = Cut::new(84) else { return };
    let (_, images) = set.disk.images_of(84, every(40), || set.repair());
    for first in &images {
        set.disk.put(first);
        let (run, again) = set.disk.images_of(first.step, every(60), || set.repair());
        set.assert_repaired(first.step, run);
        for image in &again {
            set.goes_back(image);
            set.goes_on(image);
        }
        // The whole way on, and then the whole way back.
        set.goes_on(first);
        let run = set.undo().expect_code(0);
        set.assert_as_before(first.step, &run);
    }
}

/// Cut while it is undone, be it complete or not: undone once more it is as it was.
#[test]
fn an_undo_without_power_is_run_again() {
    let Some(set) = Cut::new(85) else { return };
    let (run, mut images) = set.disk.images_of(85, every(60), || set.repair());
    set.assert_repaired(u64::MAX, run);
    images.push(set.disk.image());
    for first in &images {
        set.disk.put(first);
        if set.disk.bytes(JOURNAL).is_none() {
            continue;
        }
        let (run, again) = set.disk.images_of(first.step, every(30), || set.undo());
        set.assert_as_before(first.step, &run.expect_code(0));
        for image in &again {
            set.goes_back(image);
        }
    }
}

/// Code 0 is a promise: the power may go right after it, and take all that wasn't synced, the members' times too.
#[test]
fn what_is_said_to_be_done_is_safe() {
    for seed in 94..102 {
        let Some(set) = Cut::new(seed) else { return };
        set.assert_repaired(u64::MAX, set.repair());
        let after = set.disk.cut(seed);
        set.disk.put(&after);
        set.assert_repaired(after.step, set.lab.program("true").output());
        let run = set.undo().expect_code(0);
        set.assert_as_before(after.step, &run);
        let after = set.disk.cut(!seed);
        set.disk.put(&after);
        set.assert_as_before(after.step, &run);
    }
}

/// The other way of repairing, by the same disk: an output that has its name is complete.
#[test]
fn an_output_without_power_is_complete_or_not_there() {
    for seed in 86..94 {
        let Some(set) = Cut::new(seed) else { return };
        let members: [PathBuf; 3] = NAMES.map(|name| set.disk.path(name));
        let run = set.lab.quorum_img(["repair", "--size", "256k", "-o"]).arg(set.disk.path("out.img")).args(members);
        let (run, mut images) = set.disk.images_of(seed, 1, || run.exits(0));
        images.push(set.disk.cut(seed));
        for image in &images {
            set.disk.put(image);
            if let Some(bytes) = set.disk.bytes("out.img") {
                assert_equal(&set.name("out.img", image.step), &bytes, &set.original, &run);
            }
            set.assert_as_before(image.step, &run);
        }
        assert!(set.disk.bytes("out.img").is_some(), "it said that all was done");
    }
}

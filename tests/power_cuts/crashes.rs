//! The power goes: at every single step of a repair, again in what follows, and in an undo.

use crate::{disk::Disk, random::Random, schedule::Schedule, tell, world::World};

/// Outcomes of a power cut that are tried for each step.
const OUTCOMES: u64 = 2;
/// Power cuts in a row.
const CUTS_MAX: u64 = 4;

impl World {
    /// Takes it all back; where there is no journal nothing may have been written.
    fn assert_undone(&self, when: &str) {
        let undone = self.undo().unwrap_or_else(|error| panic!("undo {when}: {error}"));
        let what = if undone.is_some() { "undo" } else { "no journal, hence no write," };
        self.assert_original(&format!("after {what} {when}"));
    }

    /// Runs the repair again, to its end.
    pub fn assert_completed(&self, when: &str) {
        match self.repair() {
            // What doesn't heal is still in the plan of the next repair.
            Ok(report) if self.expected.unhealed && Self::refused(&report).contains("(complete)") => {
                self.assert_repaired(&format!("after a completed repair {when}"));
            }
            Ok(report) => {
                assert_eq!(report.exit_code, self.expected.code, "the exit code of a rerun {when}: {:?}", report.in_place);
                self.assert_repaired(&format!("after a rerun {when}"));
            }
            Err(error) => panic!("a rerun {when}: {error}"),
        }
    }
}

/// After each step of a repair, with a few outcomes each, once an undo and once a rerun.
#[test]
fn undo_or_a_rerun_after_a_crash_at_every_step() {
    tell("undo_or_a_rerun_after_a_crash_at_every_step", 8, |seed| crash_at_every_step(seed, Schedule::new(seed)));
}

/// The same with two members that a digest decides between: the second vote hears it, too, and so does the rerun.
#[test]
fn two_copies_and_a_digest_after_a_crash_at_every_step() {
    tell("two_copies_and_a_digest_after_a_crash_at_every_step", 8, |seed| crash_at_every_step(seed, Schedule::healed_by_digest(seed)));
}

/// And where both have lost a sector that a source gives which never votes.
#[test]
fn two_copies_and_a_donor_after_a_crash_at_every_step() {
    tell("two_copies_and_a_donor_after_a_crash_at_every_step", 8, |seed| crash_at_every_step(seed, Schedule::given_by_donor(seed)));
}

fn crash_at_every_step(seed: u64, schedule: Schedule) {
    let world = World::new(schedule);
    if !world.expected.work {
        return;
    }
    world.disk.keep_snapshots();
    world.repair().expect("nothing goes wrong");
    let snapshots = world.disk.take_snapshots();
    let mut random = Random::of(seed, 2);
    for (step, snapshot) in snapshots.iter().enumerate() {
        for outcome in 0..OUTCOMES {
            let when = format!("after a crash at step {step} of {}, outcome {outcome}", snapshots.len());
            let crashed = world.on(Disk::after(snapshot, &mut random));
            crashed.twin().assert_undone(&when);
            crashed.assert_completed(&when);
            crashed.assert_undone(&format!("after a rerun {when}"));
        }
    }
}

/// One power cut after the other, in a repair, in its reruns and in an undo, until one of them comes to its end.
#[test]
fn several_crashes_in_a_row() {
    tell("several_crashes_in_a_row", 100, |seed| {
        let world = World::new(Schedule::new(seed));
        if !world.expected.work {
            return;
        }
        let mut random = Random::of(seed, 3);
        let whole = world.twin();
        whole.repair().expect("nothing goes wrong");
        let (steps, _) = whole.disk.counted();
        let mut story = String::from("after");
        for _ in 0..random.between(1, CUTS_MAX) {
            let last = random.between(1, steps + 1);
            world.disk.die_at(last);
            let _ = world.repair(); // the power goes, or it comes to its end
            world.disk.crash(&mut random);
            story = format!("{story} a repair cut off at step {last},");
        }
        if random.chance(50) {
            world.assert_completed(&story);
            story += " a rerun,";
        }
        for _ in 0..random.below(CUTS_MAX) {
            let last = random.between(1, steps);
            world.disk.die_at(last);
            let _ = world.undo(); // likewise
            world.disk.crash(&mut random);
            story = format!("{story} an undo cut off at step {last},");
        }
        world.assert_undone(&story);
    });
}

/// After each step of an undo, an undo.
#[test]
fn undo_after_a_crash_at_every_step_of_an_undo() {
    tell("undo_after_a_crash_at_every_step_of_an_undo", 15, |seed| {
        let world = World::new(Schedule::new(seed));
        if !world.expected.work {
            return;
        }
        let mut random = Random::of(seed, 4);
        if random.chance(50) {
            // Of a repair that was cut off itself, and perhaps went on.
            let (steps, _) = {
                let whole = world.twin();
                whole.repair().expect("nothing goes wrong");
                whole.disk.counted()
            };
            world.disk.die_at(random.between(1, steps));
            let _ = world.repair(); // the power goes
            world.disk.crash(&mut random);
        }
        if random.chance(70) {
            world.assert_completed("after a crash, if any");
        }
        world.disk.keep_snapshots();
        world.assert_undone("before the crash");
        let snapshots = world.disk.take_snapshots();
        for (step, snapshot) in snapshots.iter().enumerate() {
            for outcome in 0..OUTCOMES {
                let when = format!("after a crash at step {step} of {} of an undo, outcome {outcome}", snapshots.len());
                world.on(Disk::after(snapshot, &mut random)).assert_undone(&when);
            }
        }
    });
}

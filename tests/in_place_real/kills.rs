//! Killed at any moment, whatever it does, a repair can be undone or completed, and so can an undo.
//!
//! The moments are drawn from a seed, as parts of the time that a whole run takes on this machine. `QUORUM_IMG_KILLS=1000` in the
//! environment makes a long night of it, `QUORUM_IMG_KILLS_SEED=N` another one.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use super::{
    Dice, Set, scattered, state,
    support::{Output, Run},
};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// How long a run takes until its journal stands there, and until its end.
struct Times {
    journal: Duration,
    end: Duration,
}

impl Times {
    /// Of an undisturbed run.
    fn of(set: &Set, run: Run) -> Self {
        let begun = Instant::now();
        let mut running = run.start();
        let mut journal = None;
        while running.runs() {
            if journal.is_none() && set.journal().exists() {
                journal = Some(begun.elapsed());
            }
            thread::sleep(Duration::from_micros(200));
        }
        let end = begun.elapsed();
        running.wait().expect_code(0);
        Self { journal: journal.unwrap_or(end / 2), end }
    }

    /// A moment of it: mostly while there is a journal, sometimes before.
    fn moment(&self, dice: &mut Dice) -> Duration {
        let from = if dice.below(8) == 0 { Duration::ZERO } else { self.journal };
        from + (self.end.saturating_sub(from) * 11 / 10).mul_f64(dice.below(1000) as f64 / 1000.0)
    }
}

/// Starts it and ends it with SIGKILL at that moment, unless it is over by then.
fn killed(run: Run, moment: Duration) {
    let begun = Instant::now();
    let running = run.start();
    thread::sleep(moment.saturating_sub(begun.elapsed()));
    drop(running);
}

/// What the kills met.
#[derive(Debug, Default)]
struct Met {
    before_the_journal: u32,
    unfinished: u32,
    complete: u32,
    undo_begun: u32,
    undone: u32,
}

impl Met {
    fn count(&mut self, set: &Set) {
        if !set.journal().exists() {
            self.before_the_journal += 1;
            return;
        }
        match state(&set.lab, &set.journal()).as_str() {
            "unfinished" => self.unfinished += 1,
            "complete" => self.complete += 1,
            "undo begun" => self.undo_begun += 1,
            "undone" => self.undone += 1,
            other => panic!("a state of the name {other}"),
        }
    }
}

/// A repair of one kind of damage, again and again.
struct Night {
    original: Vec<u8>,
    damaged: [Vec<u8>; 3],
    options: Vec<&'static str>,
    repair: Times,
    undo: Times,
    dice: Dice,
    met: Met,
}

impl Night {
    fn new(seed: u64, surplus: bool, rate: &[&'static str]) -> Self {
        let (original, damaged) = scattered(seed, surplus);
        let mut options = rate.to_vec();
        if surplus {
            options.extend(["--size", "8M", "--truncate"]);
        }
        let dice = Dice(number("QUORUM_IMG_KILLS_SEED").unwrap_or(0) ^ seed);
        let (repair, undo) = measured(&Set::of(original.clone(), damaged.clone()), &options);
        Self { original, damaged, options, repair, undo, dice, met: Met::default() }
    }

    /// A machine that was busy then, or is now, takes another time for it.
    fn measure_again(&mut self) {
        (self.repair, self.undo) = measured(&self.set(), &self.options);
    }

    fn set(&self) -> Set {
        Set::of(self.original.clone(), self.damaged.clone())
    }

    fn repair(&self, set: &Set) -> Run {
        set.repair().args(&self.options)
    }

    fn kill_repair(&mut self, set: &Set) {
        let moment = self.repair.moment(&mut self.dice);
        killed(self.repair(set), moment);
        self.met.count(set);
    }

    fn kill_undo(&mut self, set: &Set) {
        if set.journal().exists() {
            let moment = self.undo.moment(&mut self.dice);
            killed(set.undo(), moment);
            self.met.count(set);
        }
    }

    /// Everything is right, once the repair was run again.
    fn completed(&self, set: &Set) -> Output {
        let run = self.repair(set).exits(0);
        set.assert_repaired(&run);
        assert_eq!(state(&set.lab, &set.journal()), "complete", "{run}");
        run
    }
}

/// How long a repair takes, and its undo.
fn measured(set: &Set, options: &[&'static str]) -> (Times, Times) {
    let repair = Times::of(set, set.repair().args(options));
    let undo = Times::of(set, set.undo());
    (repair, Times { journal: Duration::ZERO, ..undo })
}

/// Everything is as before, once it is undone.
fn undone(set: &Set) {
    if set.journal().exists() {
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
        assert_eq!(state(&set.lab, &set.journal()), "undone", "{run}");
    } else {
        // Killed before there was one: nothing was written either.
        set.assert_as_before(&set.lab.program("true").exits(0));
    }
}

/// The number of kills, for a test that does `share` of all; at least one.
fn kills(share: u64) -> u64 {
    number("QUORUM_IMG_KILLS").unwrap_or(40).div_ceil(share)
}

fn nights(seed: u64, one: fn(&mut Night, &Set)) {
    for (part, surplus, rate) in [(0, false, &[][..]), (1, true, &["-r", "24M"])] {
        let mut night = Night::new(seed + part, surplus, rate);
        for tried in 1..=10 * kills(8) {
            let set = night.set();
            one(&mut night, &set);
            if tried % kills(8) == 0 {
                if night.met.unfinished + night.met.undo_begun > 0 {
                    break;
                }
                night.measure_again();
            }
        }
        let met = &night.met;
        assert!(
            met.unfinished + met.undo_begun > 0,
            "no kill came in between: {met:?}, {:?} of {:?}",
            night.repair.journal,
            night.repair.end
        );
    }
}

#[test]
fn killed_and_undone() {
    nights(61, |night, set| {
        night.kill_repair(set);
        undone(set);
    });
}

#[test]
fn killed_and_completed() {
    nights(63, |night, set| {
        night.kill_repair(set);
        night.completed(set);
    });
}

#[test]
fn killed_again_and_again_and_completed_and_undone() {
    nights(65, |night, set| {
        night.kill_repair(set);
        night.kill_repair(set);
        night.completed(set);
        undone(set);
    });
}

#[test]
fn killed_while_it_is_undone() {
    nights(67, |night, set| {
        let run = night.repair(set).exits(0);
        set.assert_repaired(&run);
        night.kill_undo(set);
        night.kill_undo(set);
        undone(set);
    });
}

#[test]
fn killed_and_then_killed_while_it_is_undone() {
    nights(69, |night, set| {
        night.kill_repair(set);
        night.kill_undo(set);
        undone(set);
    });
}

//! Single errors at every step: what is reported, what the members hold, and the way out of it.

use quorum_img::repair::{RepairError, undo::UndoError};
use quorum_img::report::Report;

use crate::{
    disk::{Kind, Step},
    random::Random,
    schedule::Schedule,
    tell,
    world::World,
};

impl World {
    /// What a run says must be so on the medium; returns the exit code.
    pub fn assert_told(&self, outcome: &Result<Report, RepairError>, when: &str) -> u8 {
        match outcome {
            Ok(report) => {
                let section = report.in_place.as_ref().expect("it was in place");
                let left = &section.not_healed;
                if report.exit_code < 3 {
                    let code = if left.is_empty() { self.expected.code } else { 2 };
                    assert_eq!(report.exit_code, code, "the exit code {when}: {section:?}");
                }
                if let Some(error) = &section.error {
                    assert!(error.contains("hint: "), "no way out {when}: {error}");
                    assert_eq!(report.exit_code, 3, "{when}: {error}");
                    if error.contains("no member was changed") || error.contains("nothing was written\n") {
                        self.assert_original(&format!("{when}: {error}"));
                    }
                }
                let failed: Vec<usize> =
                    section.members.iter().filter(|member| member.error.is_some()).map(|member| member.index).collect();
                if section.unsteady.is_empty() && section.error.is_none() && report.exit_code != 130 {
                    for member in (0..self.schedule.members.len()).filter(|member| !failed.contains(member)) {
                        self.assert_member_repaired_but(left, member, &format!("without an error of its own, {when}"));
                    }
                }
                let said = !failed.is_empty() || !section.unsteady.is_empty() || section.refused.is_some() || section.error.is_some();
                assert!(report.exit_code != 3 || said, "nobody is told why it failed {when}: {section:?}");
                assert_eq!(section.completed, report.exit_code < 3, "whether it was completed {when}");
                report.exit_code
            }
            Err(error) => {
                assert!(error.to_string().contains("hint: "), "no way out {when}: {error}");
                assert_eq!(error.exit_code(), 3, "{when}: {error}");
                3
            }
        }
    }

    /// After whatever went wrong: an undo, or a rerun and then an undo; perhaps the power goes before.
    pub fn assert_way_out(&self, outcome: &Result<Report, RepairError>, random: &mut Random, when: &str) {
        let mut when = when.to_owned();
        self.disk.calm();
        if random.chance(40) {
            self.disk.crash(random);
            when += ", and a crash";
        }
        // What was left and listed is no work of this journal any more: it stands complete, in the way of another repair.
        let left = |report: &Report| report.in_place.as_ref().is_some_and(|section| section.completed && !section.not_healed.is_empty());
        if !outcome.as_ref().is_ok_and(left) && random.chance(60) {
            self.assert_completed(&when);
            when += ", and a rerun";
            if random.chance(40) {
                self.disk.crash(random);
                self.assert_repaired(&format!("{when}, and another crash"));
            }
        }
        let undone = self.undo().unwrap_or_else(|error| panic!("undo {when}: {error}"));
        self.assert_original(&format!("after an undo {when} ({undone:?})"));
        if random.chance(30) {
            self.disk.crash(random);
            self.assert_original(&format!("after an undo {when}, and a crash"));
        }
    }
}

/// The world of a seed, where there is work in it, with the steps of its repair and how many reads that takes.
fn work(seed: u64) -> Option<(World, Vec<Step>, u64)> {
    let world = World::new(Schedule::new(seed).with_sound_ends());
    let whole = world.twin();
    whole.repair().expect("nothing goes wrong");
    let (_, reads) = whole.disk.counted();
    world.expected.work.then(|| (world, whole.disk.trace(), reads))
}

#[test]
fn an_error_at_any_step_is_told_and_can_be_left_behind() {
    tell("an_error_at_any_step_is_told_and_can_be_left_behind", 6, |seed| {
        let Some((world, steps, _)) = work(seed) else { return };
        let mut random = Random::of(seed, 5);
        for step in steps {
            for &fault in step.kind.faults() {
                let world = world.twin();
                world.disk.fail_at(step, fault);
                let outcome = world.repair();
                let when = format!("after {fault:?} at {step:?}");
                assert!(world.disk.failed().is_some(), "the same steps are taken each time {when}");
                let code = world.assert_told(&outcome, &when);
                // A block that can't be overwritten isn't healed, and no more than that; nor is it missed where the journal stays long.
                let harmless = step.kind == Kind::Overwrite || (step.kind == Kind::SetLength && step.file >= world.schedule.members.len());
                assert!(code == 3 || harmless, "an error is told {when}");
                world.assert_way_out(&outcome, &mut random, &when);
            }
        }
    });
}

/// A read fails once, and never again.
#[test]
fn an_error_at_any_read_is_told_and_can_be_left_behind() {
    tell("an_error_at_any_read_is_told_and_can_be_left_behind", 6, |seed| {
        let Some((world, _, reads)) = work(seed) else { return };
        let mut random = Random::of(seed, 6);
        for read in 1..=reads {
            let world = world.twin();
            world.disk.fail_read(read);
            let outcome = world.repair();
            let when = format!("after an error of read {read} of {reads} (file {:?})", world.disk.read_failed());
            assert!(world.disk.read_failed().is_some(), "the same reads are made each time {when}");
            world.assert_told(&outcome, &when);
            world.assert_way_out(&outcome, &mut random, &when);
        }
    });
}

/// As full as a disk can be: the journal finds no room at once or later on.
#[test]
fn no_room_for_the_journal() {
    tell("no_room_for_the_journal", 80, |seed| {
        let Some((world, ..)) = work(seed) else { return };
        let mut random = Random::of(seed, 7);
        let whole = world.twin();
        whole.repair().expect("nothing goes wrong");
        let taken = whole.disk.file(world.schedule.members.len(), |file| file.peak);
        let room = random.below(taken * 5 / 4);
        world.disk.limit(room);
        let outcome = world.repair();
        let code = world.assert_told(&outcome, "with little room");
        assert_eq!(code == 3, room < taken, "{room} bytes of room for {taken}");
        if room < taken {
            world.assert_original("as there was no room for the journal");
            let told = outcome.expect("there is a report all the same").in_place.and_then(|section| section.error);
            assert!(told.is_some_and(|error| error.contains("the journal can't be made")));
            world.disk.limit(u64::MAX);
        } else {
            // What it took must do for the undo as well, even after a rerun.
            assert!(world.undo().expect("there is room for it").is_some());
            world.assert_original("after an undo with little room");
        }
        world.disk.limit(u64::MAX);
    });
}

/// A rerun may need more than the first run took: no room then, and an undo all the same.
#[test]
fn no_room_for_a_rerun() {
    tell("no_room_for_a_rerun", 60, |seed| {
        let Some((world, steps, _)) = work(seed) else { return };
        let mut random = Random::of(seed, 8);
        let last = steps.last().map_or(1, |step| step.number);
        for _ in 0..3 {
            world.disk.die_at(random.between(last / 2, last));
            let _ = world.repair(); // the power goes
            world.disk.crash(&mut random);
            if world.disk.exists(crate::JOURNAL) {
                let journal = world.schedule.members.len();
                world.disk.limit(world.disk.file(journal, crate::platter::Platter::length));
            }
        }
        let outcome = world.repair();
        world.assert_told(&outcome, "with no room for more of the journal");
        match world.undo() {
            Ok(_) => world.assert_original("after an undo with no room for more"),
            Err(UndoError::Member { .. }) => {
                world.disk.limit(u64::MAX);
                world.undo().expect("there is room now");
                world.assert_original("after an undo with room again");
            }
            Err(error) => panic!("{error}"),
        }
    });
}

/// Errors while members are put back: told, and another undo puts all back.
#[test]
fn an_error_at_any_step_of_an_undo() {
    tell("an_error_at_any_step_of_an_undo", 10, |seed| {
        let Some((world, ..)) = work(seed) else { return };
        let mut random = Random::of(seed, 9);
        world.repair().expect("nothing goes wrong");
        world.disk.calm();
        let whole = world.twin();
        whole.undo().expect("nothing goes wrong");
        for step in whole.disk.trace() {
            for &fault in step.kind.faults() {
                let world = world.twin();
                let when = format!("after {fault:?} at {step:?} of an undo");
                world.disk.fail_at(step, fault);
                match world.undo() {
                    // What was as it should be already need not be written.
                    Ok(_) => world.assert_original(&when),
                    Err(error) => assert!(error.to_string().contains("hint: "), "no way out {when}: {error}"),
                }
                world.disk.calm();
                if random.chance(40) {
                    world.disk.crash(&mut random);
                }
                world.undo().unwrap_or_else(|error| panic!("{when}: {error}"));
                world.assert_original(&when);
                world.disk.crash(&mut random);
                world.assert_original(&format!("{when}, and a crash at last"));
            }
        }
    });
}

//! Nothing goes wrong: members get what was voted, and an undo takes it back.

use crate::{schedule::Schedule, tell, world::World};

#[test]
fn members_get_what_was_voted_and_undo_takes_it_back() {
    tell("members_get_what_was_voted_and_undo_takes_it_back", 150, |seed| {
        let world = World::new(Schedule::new(seed));
        let report = world.repair().expect("nothing goes wrong");
        world.assert_repaired("after the repair");
        assert_eq!(report.exit_code, world.expected.code, "the exit code; {:?}", report.in_place);
        let section = report.in_place.expect("it was in place");
        assert!(section.completed, "all of the plan was done: {section:?}");
        assert_eq!(world.disk.exists(crate::JOURNAL), world.expected.work, "a journal, where there is work");
        let undone = world.undo().expect("nothing goes wrong");
        assert_eq!(undone.is_some(), world.expected.work);
        world.assert_original("after the undo");
        // Once more: nothing stands in the way of it.
        world.undo().expect("an undo can be run again");
        world.assert_original("after another undo");
    });
}

#[test]
fn without_a_journal_members_get_the_same() {
    tell("without_a_journal_members_get_the_same", 60, |seed| {
        let world = World::new(Schedule { journal: false, ..Schedule::new(seed) });
        let report = world.repair().expect("nothing goes wrong");
        world.assert_repaired("after the repair");
        assert_eq!(report.exit_code, world.expected.code, "the exit code");
        assert!(!world.disk.exists(crate::JOURNAL));
    });
}
/// Blocks that no writing heals are listed; the rest is repaired, and an undo takes that back.
#[test]
fn blocks_that_never_heal_stay_as_they_are() {
    tell("blocks_that_never_heal_stay_as_they_are", 80, |seed| {
        let world = World::new(Schedule::stubborn(seed));
        let report = world.repair().expect("nothing goes wrong but that");
        world.assert_repaired("after the repair");
        assert_eq!(report.exit_code, world.expected.code, "the exit code; {:?}", report.in_place);
        world.undo().expect("nothing goes wrong but that");
        world.assert_original("after the undo");
    });
}

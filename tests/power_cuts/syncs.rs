//! A sync that failed is never believed, though reads show the new bytes and the next sync says that all is well.

use crate::{
    disk::{Fault, Kind, Step},
    random::Random,
    schedule::Schedule,
    tell,
    world::World,
};

fn syncs(world: &World, run: impl Fn(&World)) -> Vec<Step> {
    let whole = world.twin();
    run(&whole);
    whole.disk.trace().into_iter().filter(|step| step.kind == Kind::Sync).collect()
}

/// After a failed sync of a member the run says 3, and a rerun makes what is on the medium right.
#[test]
fn a_rerun_writes_again_what_a_failed_sync_may_have_lost() {
    tell("a_rerun_writes_again_what_a_failed_sync_may_have_lost", 40, |seed| {
        let world = World::new(Schedule::new(seed));
        let mut random = Random::of(seed, 10);
        let members = world.schedule.members.len();
        let syncs = syncs(&world, |world| drop(world.repair().expect("nothing goes wrong")));
        for step in syncs.into_iter().filter(|step| step.file < members) {
            let world = world.twin();
            world.disk.fail_at(step, Fault::Eio);
            let outcome = world.repair();
            let when = format!("after a failed sync at {step:?}");
            assert_eq!(world.assert_told(&outcome, &when), 3, "{when}");
            let section = outcome.expect("members were written to").in_place.expect("it was in place");
            assert!(section.members.iter().any(|member| member.index == step.file && member.error.is_some()), "{when}: {section:?}");
            world.disk.calm();
            world.assert_completed(&when);
            world.disk.crash(&mut random);
            world.assert_repaired(&format!("after a rerun, and a crash, {when}"));
            world.undo().unwrap_or_else(|error| panic!("{when}: {error}"));
            world.assert_original(&format!("after an undo {when}"));
        }
    });
}

/// After a failed sync of the journal nothing is written that relies on it, then or later: what was lost of it is not missed.
#[test]
fn nothing_relies_on_a_journal_that_was_not_synced() {
    tell("nothing_relies_on_a_journal_that_was_not_synced", 40, |seed| {
        let world = World::new(Schedule::new(seed));
        let mut random = Random::of(seed, 11);
        let journal = world.schedule.members.len();
        let syncs = syncs(&world, |world| drop(world.repair().expect("nothing goes wrong")));
        for step in syncs.into_iter().filter(|step| step.file >= journal) {
            for crashes in [false, true] {
                let world = world.twin();
                world.disk.fail_at(step, Fault::Eio);
                let outcome = world.repair();
                let when = format!("after a failed sync of the journal at {step:?}");
                assert_eq!(world.assert_told(&outcome, &when), 3, "{when}");
                world.disk.calm();
                if random.chance(50) {
                    // It goes on, and is cut off.
                    world.disk.die_at(random.between(1, 30));
                    let _ = world.repair(); // the power goes, or it comes to its end
                }
                if crashes {
                    world.disk.crash(&mut random);
                } else {
                    world.disk.calm();
                }
                world.assert_way_out(&outcome, &mut random, &when);
            }
        }
    });
}

/// After a failed sync within an undo another undo writes all of it again.
#[test]
fn another_undo_writes_again_what_a_failed_sync_may_have_lost() {
    tell("another_undo_writes_again_what_a_failed_sync_may_have_lost", 40, |seed| {
        let world = World::new(Schedule::new(seed));
        let mut random = Random::of(seed, 12);
        world.repair().expect("nothing goes wrong");
        world.disk.calm();
        for step in syncs(&world, |world| drop(world.undo().expect("nothing goes wrong"))) {
            let world = world.twin();
            world.disk.fail_at(step, Fault::Eio);
            let when = format!("after a failed sync at {step:?} of an undo");
            world.undo().err().unwrap_or_else(|| panic!("an error is told {when}"));
            world.disk.calm();
            world.undo().unwrap_or_else(|error| panic!("{when}: {error}"));
            world.assert_original(&when);
            world.disk.crash(&mut random);
            world.assert_original(&format!("{when}, and a crash"));
        }
    });
}

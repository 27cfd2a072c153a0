//! A signal at any moment: the run ends at a safe point, and says how to go on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use quorum_img::scan::Watch;

use crate::{random::Random, schedule::Schedule, tell, world::World};

/// Says "stop" from the given question on.
struct Signal {
    asked: AtomicU64,
    at: u64,
}

impl Signal {
    fn at(at: u64) -> Self {
        Self { asked: AtomicU64::new(0), at }
    }
}

impl Watch for Signal {
    fn stopped(&self) -> bool {
        self.asked.fetch_add(1, Relaxed) + 1 >= self.at
    }
}

#[test]
fn an_interrupted_repair_goes_on_or_is_taken_back() {
    tell("an_interrupted_repair_goes_on_or_is_taken_back", 10, |seed| {
        let world = World::new(Schedule::new(seed));
        let mut random = Random::of(seed, 13);
        let never = Signal::at(u64::MAX);
        world.twin().repair_watched(&never).expect("nothing goes wrong");
        let asked = never.asked.into_inner();
        if !world.expected.work {
            return;
        }
        for _ in 0..20 {
            let at = random.between(1, asked);
            let world = world.twin();
            let when = format!("after a signal at question {at} of {asked}");
            let outcome = world.repair_watched(&Signal::at(at));
            let code = match &outcome {
                Ok(report) => report.exit_code,
                Err(error) => error.exit_code(),
            };
            // Once nothing is left to be done, it may come to its end.
            assert!(code == 130 || code == world.expected.code, "code {code} {when}");
            if code == 130 {
                world.assert_way_out(&outcome, &mut random, &when);
            } else {
                world.assert_repaired(&when);
            }
        }
    });
}

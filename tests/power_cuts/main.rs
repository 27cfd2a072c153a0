//! Repairs, in place and to a new image, against power cuts and failing storage, on a simulated disk.
//!
//! Everything that a repair or an undo writes passes through the `Storage` and `Folder` traits; here a disk stands behind them that
//! keeps what was synced apart from what was only written. A power cut leaves what was synced and any part of the rest, in any order,
//! torn at any sector; and any operation can be made to fail. Each seed stands for a story: members, their damage, what the user
//! wants, and what goes wrong. A seed that fails prints itself, and is told again alone by
//!
//! ```text
//! QUORUM_IMG_SEED=123 cargo test --test power_cuts NAME
//! ```
//!
//! `QUORUM_IMG_SCHEDULES=N` tells N stories for each property, from that seed on (or from the first).

mod crashes;
mod disk;
mod errors;
mod handle;
mod interrupts;
mod new_image;
mod oracle;
mod platter;
mod random;
mod schedule;
mod syncs;
mod voter;
mod whole;
mod witness;
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What the journal is called.
pub const JOURNAL: &str = "journal";
/// Failing seeds that are shown before a property is given up.
const SHOWN_MAX: usize = 5;

/// Tells so many stories of a property, or as many as the environment wants.
fn tell(property: &str, stories: u64, story: impl Fn(u64)) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: a number is wanted")));
    let (seed, wanted) = (number("QUORUM_IMG_SEED"), number("QUORUM_IMG_SCHEDULES"));
    let first = seed.unwrap_or(1);
    let count = wanted.unwrap_or(if seed.is_some() { 1 } else { stories });
    let mut failing = Vec::new();
    for seed in first..first.saturating_add(count) {
        if catch_unwind(AssertUnwindSafe(|| story(seed))).is_err() {
            eprintln!("that was: QUORUM_IMG_SEED={seed} cargo test --test power_cuts {property}\n");
            failing.push(seed);
            if failing.len() >= SHOWN_MAX {
                break;
            }
        }
    }
    assert!(failing.is_empty(), "{property}: these seeds fail: {failing:?}");
}

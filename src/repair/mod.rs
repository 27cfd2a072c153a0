//! Everything that writes: a new image from the members' votes, members rewritten in place, and what undoes that.
//!
//! Each way of writing has its room: `new_image/` (`-o`) and `in_place/` (`--in-place`). Both ask `judge/` first whether they may. What
//! a rewriting overwrites is kept by `journal/`, and put back by `undo/`.

mod earlier;
mod error;
mod fingerprint;
mod in_place;
pub mod journal;
pub mod judge;
mod new_image;
mod phases;
mod refused;
mod times;
pub mod undo;

pub use earlier::Earlier;
pub use error::RepairError;
pub use in_place::{Answer, InPlace, InPlaceWish, JournalPlace, PORTION_BYTES, Proposal, PutBack, plan, refused_in_place};
pub use judge::{Forced, Guard};
pub use new_image::{OptionsError, Qcow2Compat, Qcow2Options, Repair, Target, Wish, refused_image};
pub use phases::Phases;
pub use times::{JOURNAL_SUFFIX, evidence_of, journal_beside, modified};

//! Everything that writes: a new image from the members' votes, and members rewritten in place.

mod batch;
mod clusters;
mod cut_off;
mod earlier;
mod error;
mod fingerprint;
mod image;
mod in_place;
pub mod journal;
mod judge;
mod lengths;
mod ops;
mod outcome;
mod passes;
pub mod plan;
mod portions;
mod qcow2;
mod read_back;
mod rewrite;
mod samples;
mod sessions;
mod survey;
mod target;
pub mod undo;
mod verify;
mod voted;
mod writer;

pub use earlier::Earlier;
pub use error::RepairError;
pub use image::{Phases, Repair, Wish, admit};
pub use in_place::{InPlace, InPlaceWish, JournalPlace, Proposal};
pub use portions::PORTION_BYTES;
pub use qcow2::{Compat as Qcow2Compat, Options as Qcow2Options, OptionsError};
pub use target::{Forced, Target};

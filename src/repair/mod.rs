//! Everything that writes: a new image from the members' votes.

mod cut_off;
mod earlier;
mod error;
mod fingerprint;
mod image;
mod passes;
mod target;
mod verify;
mod writer;

pub use earlier::Earlier;
pub use error::RepairError;
pub use image::{Phases, Repair, Wish, admit};
pub use target::{Forced, Target};

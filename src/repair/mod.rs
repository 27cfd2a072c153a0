//! Everything that writes: a new image from the members' votes.

mod cut_off;
mod earlier;
mod error;
mod fingerprint;
mod image;
mod target;
mod verify;
mod writer;

pub use earlier::Earlier;
pub use error::RepairError;
pub use image::{Phases, Repaired, Wish, admit, repair};
pub use target::{Forced, Target};

//! A new image: voted, written, synced, read back, and only then given its name.
//!
//! `target` says where it goes, `image` is the way from end to end, `passes` votes and writes (by a clone of the best member, or anew
//! through `writer`), `verify` reads back; `qcow2/` makes images of that format. From outside: [`Repair`] with its [`Wish`], and
//! [`Target`].

mod image;
mod outcome;
mod passes;
mod qcow2;
mod target;
mod verify;
mod wish;
mod writer;

pub use outcome::refused_image;
pub use qcow2::{Compat as Qcow2Compat, Options as Qcow2Options, OptionsError};
pub use target::Target;
pub use wish::{Repair, Wish};

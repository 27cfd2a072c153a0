//! Puts back what an in-place repair overwrote.
//!
//! `target` says what is put back, `examine` looks whether that can be done and writes nothing, `restore` does it. From outside: [`Undo`].

mod examine;
mod restore;
mod target;

pub use target::{Undo, UndoError, UndoTarget, Undone};

//! Members are rewritten where they lie: vote, plan, judge, journal, write, sync, read back, report.
//!
//! `run` is the way from end to end. `plan` (pure) says who gets what, and how the memory for that stays bounded is in `portions`; `rewrite`
//! votes once more on each portion and turns it into writes (`ops`), which `batch` carries out, journalled first and read back after
//! (`read_back`); those to images go through `clusters`. `lengths` cuts and extends, `sessions` finds an earlier try's journal, and `put_back` puts back the images that
//! one left half-written.
//! From outside: [`InPlace`] with its wish, and [`plan`].

mod amounts;
mod batch;
mod clusters;
mod lengths;
mod ops;
mod outcome;
pub mod plan;
mod portions;
mod put_back;
mod read_back;
mod rewrite;
mod rewriter;
mod run;
mod samples;
mod sessions;
mod survey;
mod voted;
mod wish;

pub use outcome::refused_in_place;
pub use portions::PORTION_BYTES;
pub use put_back::PutBack;
pub use wish::{Answer, InPlace, InPlaceWish, JournalPlace, Proposal};

//! The engine.

mod extents;
mod ranges;

pub use ranges::CoarseRanges;

//! The journal of an in-place repair: what every rewritten byte was before. `docs/journal.md` specifies it byte by byte.

mod format;
mod reader;
mod writer;

pub use format::{Ended, Entry, Header, Identity, Old, SAMPLE_BYTES, Sample, UNIT_BYTES, VERSION, unit_hashes};
pub use reader::{Journal, JournalError, Loaded, State};
pub use writer::{BatchWriter, JournalWriter, Reserve};

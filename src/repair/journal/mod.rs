//! The journal of an in-place repair: what every rewritten byte was before. `docs/journal.md` specifies it byte by byte.

mod entries;
mod format;
mod reader;
mod records;
mod writer;

pub use entries::{Loaded, MemberSum};
pub use format::{Header, Identity, SAMPLE_BYTES, Sample, UNIT_BYTES, VERSION};
pub use reader::{Journal, JournalError, State};
pub use records::{ENTRY_RANGE_MAX, Ended, Entry, Old, Resized, unit_hashes};
pub use writer::{BatchWriter, JournalWriter, Reserve};

//! The journal of an in-place repair: what every rewritten byte was before. `docs/journal.md` specifies it byte by byte.
//!
//! From outside: [`Journal`] reads one and believes nothing that its checksums don't vouch for, [`JournalWriter`] begins one or goes on with it,
//! [`Identity`] is what it tells its members by.

mod entries;
mod error;
mod format;
mod glance;
mod identity;
mod reader;
mod records;
mod writer;

pub use entries::Loaded;
pub use error::JournalError;
pub use format::{Header, Identity, SAMPLE_BYTES, Sample, UNIT_BYTES, VERSION};
pub(super) use glance::{Glance, glance};
pub use identity::file_system_of;
pub use reader::{Journal, State};
pub use records::{ENTRY_RANGE_MAX, Ended, Entry, MemberSum, Old, Resized, unit_hashes};
pub use writer::{BatchWriter, JournalWriter, Reserve};

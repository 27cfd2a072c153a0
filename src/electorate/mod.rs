//! Who may vote: from names to members that are opened, locked and independent, and whose formats are settled.
//!
//! [`open_voters`] is the way in: one call, and whatever stands against it is an [`ElectorateError`] that names the member and the way
//! out. Between opening and reading, [`Candidates`] can be looked at.

mod candidates;
pub mod described;
mod error;
mod expand;
mod foreign;
mod given;
mod independence;
mod locking;
mod marks;
mod open;
mod probe;
mod roll;
mod source;
mod voters;
mod witnesses;

pub use candidates::Candidates;
pub use error::ElectorateError;
pub use expand::{DescriptionError, Expanded, Quorum, expand};
pub use foreign::{Foreign, foreign_format, foreign_of_name};
pub use given::{Format, Given};
pub use independence::{DependenceError, check_independence, device_conflict, file_system_conflict, shared_storage};
pub use locking::{InUseError, LockError, LockForce, busy_device, in_words, lock_all_for_reading, lock_all_for_writing};
pub use open::{Single, open_single, open_voters, reopen_to_rewrite};
pub use probe::{FormatError, JOURNAL_MAGIC, guess_format, looks_like_journal, refuse_journal};
pub use roll::{Access, Locks, Roll};
pub use voters::Voters;
pub use witnesses::{WitnessError, begins_as_digest, digest_path, oddities, open_digest, open_witnesses, same_origin, sort_out};

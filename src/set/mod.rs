//! Sets: members that belong together, with their record. What is remembered of them, who of them votes, and what a run makes of that.

mod check;
mod error;
mod memory;
mod pass;
mod place;
mod policy;
mod record;
mod roster;
mod seen;
mod settle;
mod state;
mod status;

pub use check::{SetCheck, SetCheckError, SetChecked};
pub use error::SetError;
pub use memory::{Memory, Now, tidy};
pub use pass::{Pass, parts_of};
pub use place::{Place, RunLock, SQLITE_OWN, SUFFIX, database_beside, is_database};
pub use policy::{KEYS, PART_BYTES_MIN, PARTS_MAX, Policy};
pub use record::{Change, Counters, MemberPart, MemberRow, NewMember, Part, PartRow, PlaceRow, Record, RunEnd, RunRow};
pub use roster::{Roster, Seat};
pub use settle::{Moved, UNPROVEN, disputes, mark, mark_all, raise, remember_ages, seen_of, settle};
pub use state::{Met, STATES, Seen, Standing, State, Why, after};
pub use status::{set_state, shown_run, status_of, whom_to_trust};

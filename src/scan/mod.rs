//! The engine: walks a range of the members in parallel, compares them at a glance, narrows down what differs, and delivers the
//! divergences in order.
//!
//! A [`Poll`] settles what is known before, a [`Job`] what to scan; [`scan`] goes through it, and [`check`] makes a report of it. Inside,
//! `feeder` hands out windows, `worker` works through one by `chunk`s, `private` copies what differs, `ordered` puts results in order.

mod answers;
mod check;
mod chunk;
mod composed;
mod conclusion;
mod confirm;
mod content;
mod diagnosis;
mod digesting;
mod digests;
mod donors;
mod doubts;
mod extents;
mod feeder;
mod findings;
mod first;
mod gift;
mod hashed;
mod heard;
mod heard_alike;
mod heard_zeros;
mod hearing;
mod job;
mod joined;
mod look_ahead;
mod lost;
mod manner;
mod manner_tries;
mod merged;
mod misplaced;
mod ordered;
mod poll;
mod private;
mod recorded;
mod run;
mod sectors;
mod shard;
mod shared;
mod shared_looks;
mod tally;
mod twins;
mod worker;

#[cfg(test)]
mod heard_oracle;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod oracle_ranges;
#[cfg(test)]
mod oracle_stale;

pub use check::{Checked, Listener, Weighed, check, make_report, newer_warnings, structures};
pub use diagnosis::{Held, LOOKED_AT_BYTES, described, holds_as_known, losers, versions};
pub use digesting::{Digested, Digesting, zeros};
pub use digests::{DigestMember, incomparable, vote_on_digests};
pub use findings::{Findings, Limits};
pub use hashed::Hashed;
pub use hearing::{Heard, WitnessTally};
pub use job::{Job, Outcome, Output, ScanError, Watch, sizes, workers};
pub use joined::{Joined, Joining};
pub use lost::{Lost, content_bytes};
pub use merged::{Merged, Shard, ShardError, sorted};
pub use misplaced::{LostSector, find_elsewhere, stands_elsewhere};
pub use poll::{Donors, Poll, Question, QuestionError, THREADS_MAX, majority};
pub use recorded::RecordedMember;
pub use run::{scan, scan_as_far};
pub use shard::{MemberFacts, SHARDS_MAX, ShardFacts, WitnessFacts, part_of};
pub use tally::{MemberTally, Tally};

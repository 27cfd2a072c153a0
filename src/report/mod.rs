//! What was found, as plain data, and the ways to show it: for people, as JSON, as events. Knows nothing of files.

mod command;
mod damage;
mod digest;
mod events;
mod fit;
mod guards;
mod harmless;
mod heard;
mod hex;
mod html;
mod human;
mod in_place;
mod info;
mod journal;
mod json;
mod listed;
mod map;
mod member;
mod order;
mod picture;
mod places;
mod problem;
mod read;
mod repair;
mod rows;
#[cfg(test)]
mod schema;
mod set;
mod shard;
mod size;
mod span;
mod styles;
mod table;
mod time;
mod times;
mod undone;
mod unfinished;
mod word;
mod words;

use serde::{Deserialize, Serialize};

pub use command::NextCommand;
pub use damage::{DamageReport, DamageTotal, Damaged, Damages, Diagnosis};
pub use digest::{DigestInfo, DigestSource, render_digest};
pub use events::{Event, events_of, last_events};
pub use fit::wrapped;
pub use guards::GuardReport;
pub use harmless::{copy, write};
pub use heard::{ContradictionReport, DonorReport, HeardReport, WitnessReport};
pub use hex::{hex_lines, telling};
pub use html::{LISTED_MAX, PAGE_START, PageParts, page};
pub use human::{Look, Order, lead_on, render, render_brief};
pub use in_place::{InPlaceMember, InPlaceReport, MemberSpan, Planned};
pub use info::{
    FailedInfo, FileSystemInfo, Info, MarkInfo, PartitionInfo, ProcessInfo, Sections as InfoSections, TableInfo, Told, render_infos,
};
pub use journal::{JournalFacts, JournalInfo, JournalMember, TORN};
pub use json::{Reported, ReportedMember, read_reported};
pub use listed::{Divergence, Listed, Spool, Spooled, Version};
pub use map::{Map, Part};
pub use member::{ImageErrorReport, MemberReport, Status};
pub use order::order_by_names;
pub use picture::Drawing;
pub use places::{Content, OwnerReport, Place, Places, render_places};
pub use problem::Problem;
pub use read::read_report;
pub use repair::{Picked, RepairReport};
pub use set::{SetChange, SetMemberReport, SetPlace, SetReport, SetRun, SetStatus, StatusMember, render_history, render_status};
pub use shard::ShardReport;
pub use size::human_size;
pub use span::{PartitionMap, PartitionSpan, Span};
pub use time::{rfc3339, rfc3339_of};
pub use times::Times;
pub use undone::{UndoReport, UndoneMember};
pub use unfinished::{Unfinished, UnfinishedMember};
pub use word::Word;
pub use words::{counted, duration, numbered, read_from, sectors};

/// Version of the JSON report: keys are added under the same number, never changed or removed.
pub const SCHEMA: u32 = 1;

/// What a check or a repair found.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `check` or `repair`.
    #[serde(deserialize_with = "word::known")]
    pub command: Word,
    /// The program's version.
    pub version: String,
    /// When it was begun, ended, and how long that took.
    #[serde(flatten)]
    pub times: Times,
    /// The virtual size in bytes.
    pub size: u64,
    /// The unit of the vote in bytes.
    pub sector_size: u32,
    /// Ballots that a version needs.
    pub threshold: usize,
    /// How members were read.
    pub read_pattern: ReadPattern,
    /// How many patterns and mapfiles said what was never read.
    #[serde(skip_serializing_if = "member::is_zero")]
    pub fillers: u64,
    /// The member that was taken to be right, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<usize>,
    /// Set where the members don't agree on the virtual size: then `size` is the longest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub size_undecided: bool,
    /// The worst verdict there is.
    pub verdict: Overall,
    /// What the program ends with.
    pub exit_code: u8,
    /// Why nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Problem>,
    /// What to run next, word by word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    pub next: Option<NextCommand>,
    /// What has to be so for that, or why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_comment: Option<String>,
    /// The part looked at, where it isn't all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Span>,
    /// Set where it was stopped early.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Bytes looked at where it was stopped early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned_bytes: Option<u64>,
    /// Set where it is of a part that `--shard` named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardReport>,
    /// What the run made of a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<SetReport>,
    /// One for each member.
    pub members: Vec<MemberReport>,
    /// The totals.
    pub sectors: Sectors,
    /// Decided sectors in which nothing is amiss but that members have failed.
    #[serde(rename = "lacking-sectors", skip_serializing_if = "member::is_zero")]
    pub lacking: u64,
    /// Whether outside of a part that was asked for no winner is looked for, and what differs there counts as undecided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub decides_part: bool,
    /// What digests said.
    #[serde(flatten)]
    pub heard: HeardReport,
    /// What stands in the way of writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardReport>,
    /// Where partitions lie.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionSpan>,
    /// Where the members differ, in a glance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<Map>,
    /// What the user should know before believing it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why there is nothing to tell, where it is word of a run that failed; see [`Unfinished`].
    #[serde(skip_serializing)]
    #[cfg_attr(test, schemars(skip))]
    pub error: Option<Problem>,
    /// Nothing was voted on, since it was refused before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unvoted: bool,
    /// What was written.
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    #[cfg_attr(test, schemars(with = "Option<schema::Repair>"))]
    pub repair: Option<RepairReport>,
    /// What was rewritten in place; never beside `repair`.
    #[serde(rename = "repair", skip_serializing_if = "Option::is_none", skip_deserializing)]
    #[cfg_attr(test, schemars(skip))]
    pub in_place: Option<InPlaceReport>,
    /// The first divergence that nobody won, for what to run next.
    #[serde(skip)]
    pub first_undecided: Option<Divergence>,
    /// A member that holds there what a digest knows, and whether digests know something that nobody holds.
    #[serde(skip)]
    pub proven: Option<usize>,
    /// See `proven`.
    #[serde(skip)]
    pub denied: bool,
    /// The divergences, as far as they are listed.
    #[serde(skip_deserializing)]
    #[cfg_attr(test, schemars(with = "Vec<Divergence>"))]
    pub divergences: Listed,
    /// How many more there are.
    pub divergences_omitted: u64,
}

impl Report {
    /// Says of each member whether its format was guessed.
    pub fn mark_guesses(&mut self, guessed: &[bool]) {
        self.members.iter_mut().zip(guessed).for_each(|(member, &guessed)| member.format_guessed = guessed);
    }

    /// Whether it tells of less than was asked for: it was refused, stopped, or something failed.
    #[must_use]
    pub fn ended_early(&self) -> bool {
        let failed =
            self.repair.as_ref().is_some_and(|it| it.error.is_some()) || self.in_place.as_ref().is_some_and(|it| it.error.is_some());
        self.partial || self.unvoted || failed
    }
}

/// How members are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReadPattern {
    /// All of them, and they vote.
    #[default]
    Quorum,
    /// One after the other, until one can be read.
    Fifo,
}

/// The verdict on the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// Everything agrees.
    #[default]
    Unanimous,
    /// What differs is decided.
    Decided,
    /// Something has no winner.
    Undecided,
}

/// Totals in sectors; the three kinds add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Sectors {
    /// All that were looked at.
    pub total: u64,
    /// Every member agrees.
    pub unanimous: u64,
    /// One version won.
    pub decided: u64,
    /// No version won.
    pub undecided: u64,
}

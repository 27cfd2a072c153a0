//! What was found, as plain data, and the ways to show it: for people, as JSON, as events. Knows nothing of files.

mod damage;
mod events;
mod fit;
mod guards;
mod human;
mod in_place;
mod info;
mod journal;
mod json;
mod listed;
mod rows;
mod size;
mod span;
mod styles;
mod table;
mod time;
mod words;

use serde::Serialize;

pub use damage::{DamageReport, Damages, Diagnosis};
pub use events::{Event, events_of, last_events};
pub use fit::wrapped;
pub use guards::GuardReport;
pub use human::{Look, Order, lead_on, render, render_brief};
pub use in_place::{InPlaceMember, InPlaceReport, MemberSpan, Planned};
pub use info::{FileSystemInfo, Info, PartitionInfo, ProcessInfo, Sections as InfoSections, TableInfo, Told, render_infos};
pub use journal::{JournalFacts, JournalInfo, JournalMember, TORN};
pub use json::{Reported, read_reported, write};
pub use listed::{Divergence, Listed, Spool, Spooled, Version};
pub use size::human_size;
pub use span::{PartitionMap, Span};
pub use time::rfc3339;
pub use words::{counted, duration, read_from, sectors};

/// Version of the JSON report: keys are added under the same number, never changed or removed.
pub const SCHEMA: u32 = 1;

/// What a check or a repair found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `check` or `repair`.
    pub command: &'static str,
    /// The virtual size in bytes.
    pub size: u64,
    /// The unit of the vote in bytes.
    pub sector_size: u32,
    /// Ballots that a version needs.
    pub threshold: usize,
    /// How members were read.
    pub read_pattern: ReadPattern,
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
    /// The part looked at, where it isn't all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Span>,
    /// Set where it was stopped early.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Bytes looked at where it was stopped early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned_bytes: Option<u64>,
    /// One for each member.
    pub members: Vec<MemberReport>,
    /// The totals.
    pub sectors: Sectors,
    /// Decided sectors in which nothing is amiss but that members have failed.
    #[serde(skip)]
    pub lacking: u64,
    /// Whether outside of a part that was asked for no winner is looked for, and what differs there counts as undecided.
    #[serde(skip)]
    pub decides_part: bool,
    /// What stands in the way of writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardReport>,
    /// What the user should know before believing it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was voted on, since it was refused before.
    #[serde(skip)]
    pub unvoted: bool,
    /// What was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairReport>,
    /// What was rewritten in place; never beside `repair`.
    #[serde(rename = "repair", skip_serializing_if = "Option::is_none")]
    pub in_place: Option<InPlaceReport>,
    /// The divergences, as far as they are listed.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadPattern {
    /// All of them, and they vote.
    #[default]
    Quorum,
    /// One after the other, until one can be read.
    Fifo,
}

/// The verdict on the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// Everything agrees.
    Unanimous,
    /// What differs is decided.
    Decided,
    /// Something has no winner.
    Undecided,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is known against it.
    Ok,
    /// It differs from a verdict, or there is none to agree with.
    Divergent,
    /// It could not be read as what it is.
    Failed,
}

/// What was found of one member.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemberReport {
    /// Its number, from 0 on.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// The name's bytes where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// `raw`, `qcow2`, `nbd`.
    pub format: &'static str,
    /// Set where nobody said so, and its first bytes decided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub format_guessed: bool,
    /// The internal snapshot that voted, control characters escaped; none for the active state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last modified, or what lies under it (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// `medium` where it was read past this machine's page cache, `server` where that leads to a server, whose own memory may answer; else
    /// `cache`: then the medium may hold something else.
    pub read_from: &'static str,
    /// How it stands.
    pub status: Status,
    /// Usable as it stands.
    pub whole: bool,
    /// Sectors of data that lost.
    pub dissenting_sectors: u64,
    /// Sectors that can't be read.
    pub unreadable_sectors: u64,
    /// Sectors that hold a filler where another member holds something else.
    #[serde(skip_serializing_if = "is_zero")]
    pub filler_sectors: u64,
    /// Sectors that answered differently when they were read once more.
    #[serde(skip_serializing_if = "is_zero")]
    pub unstable_sectors: u64,
    /// Sectors beyond its end.
    pub absent_sectors: u64,
    /// What its damages look like, in words: consistent with a cause, and no proof of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
    /// Bytes beyond the virtual size.
    pub surplus_bytes: u64,
    /// Bytes in its blocks of 4 KiB that hold anything but zeros, of what was looked at; none where that wasn't counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is wrong with the structure of its image, as far as it was met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_errors: Vec<ImageErrorReport>,
    /// How many such errors more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_errors_omitted: u64,
    /// What is wrong with the books of its image, though the guest's disk can be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub structure_errors: Vec<String>,
    /// What is only untidy in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub structure_notes: Vec<String>,
    /// The command that mends them, as a shell reads it.
    #[serde(skip)]
    pub mended_by: String,
    /// Divergences in which it dissents, for people.
    #[serde(skip)]
    pub dissents: u64,
    /// From its first dissenting byte to its last.
    #[serde(skip)]
    pub dissent_span: Option<Span>,
    /// The partitions in which it dissents.
    #[serde(skip)]
    pub dissent_partitions: Vec<String>,
    /// For the next command: the name as the shell takes it.
    #[serde(skip)]
    pub shell_name: String,
}

/// Something wrong with the structure of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageErrorReport {
    /// `l1`, `l2`, `data`, `backing` or `data-file`.
    pub table: &'static str,
    /// The file, where it isn't the member's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in the file the bad entry stands, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_offset: Option<u64>,
    /// What is lost of the guest's disk.
    #[serde(flatten)]
    pub span: Span,
    /// What is wrong.
    pub error: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Totals in sectors; the three kinds add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

/// What a repair wrote.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RepairReport {
    /// The output's name, control characters escaped.
    pub output: String,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// Whether it stands there now.
    pub written: bool,
    /// Why nothing was written, where it was refused before the vote: the message, with the way out behind `hint:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Why it failed, where it did: likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `clone` (of `base`) or `stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// The member that was cloned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<usize>,
    /// Bytes written; holes and what a clone shares don't count.
    pub bytes_written: u64,
    /// Whether what was written was read back and found right.
    pub verified: bool,
    /// `medium` where that was done past this machine's page cache, `server` where that leads to a server, else `cache` (which was asked to
    /// forget it before).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_from: Option<&'static str>,
    /// SHA-256 of the guest-visible bytes, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Blocks of 4 KiB that no member holds as a whole: composed of sectors of several, or filled.
    pub composed_blocks: u64,
    /// What went into undecided sectors, and where: listed as far as divergences are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<&'static str>,
    /// Undecided sectors that got a filling.
    pub filled_sectors: u64,
    /// Where those are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<Span>,
    /// Undecided sectors for which there was nothing to write.
    pub unfilled_sectors: u64,
    /// A person's decisions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub picked: Vec<Picked>,
}

/// A person's decision for a range.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Picked {
    /// Where.
    #[serde(flatten)]
    pub span: Span,
    /// Who is right there.
    pub member: usize,
}

//! What was found of a member.

use serde::{Deserialize, Serialize};

use super::word::Word;
use super::{DamageTotal, Span};

/// How a member stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is known against it.
    #[default]
    Ok,
    /// It differs from a verdict, or there is none to agree with.
    Divergent,
    /// It could not be read as what it is.
    Failed,
}

/// What was found of one member.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct MemberReport {
    /// Its number, from 0 on.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// The very name, as it was given; none where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_name: Option<String>,
    /// The name's bytes where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// `raw`, `qcow2`, `nbd`.
    #[serde(deserialize_with = "super::word::known")]
    pub format: Word,
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
    #[serde(deserialize_with = "super::word::known")]
    pub read_from: Word,
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
    /// Which of the sums that were named is its own, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summed: Option<String>,
    /// What its damages look like, in words: consistent with a cause, and no proof of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
    /// The same counted, kind by kind, in the places that were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<DamageTotal>,
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
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mended_by: String,
    /// Divergences in which it dissents, for people.
    #[serde(skip_serializing_if = "is_zero")]
    pub dissents: u64,
    /// From its first dissenting byte to its last.
    #[serde(rename = "range", skip_serializing_if = "Option::is_none")]
    pub dissent_span: Option<Span>,
    /// The partitions in which it dissents.
    #[serde(rename = "partitions", skip_serializing_if = "Vec::is_empty")]
    pub dissent_partitions: Vec<String>,
}

/// Something wrong with the structure of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct ImageErrorReport {
    /// `l1`, `l2`, `data`, `backing` or `data-file`.
    #[serde(deserialize_with = "super::word::known")]
    pub table: Word,
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
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

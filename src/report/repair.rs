//! What a repair to a new image wrote.

use serde::{Deserialize, Serialize};

use super::Span;
use super::word::Word;

/// What a repair wrote.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct RepairReport {
    /// The output's name, control characters escaped.
    pub output: String,
    /// `raw` or `qcow2`.
    #[serde(deserialize_with = "super::word::known")]
    pub format: Word,
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
    #[serde(deserialize_with = "super::word::known_if_any")]
    pub method: Option<Word>,
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
    #[serde(deserialize_with = "super::word::known_if_any")]
    pub verified_from: Option<Word>,
    /// SHA-256 of the guest-visible bytes, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// BLAKE3 of them, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// Blocks of 4 KiB that no member holds as a whole: composed of sectors of several, or filled.
    pub composed_blocks: u64,
    /// What went into undecided sectors, and where: listed as far as divergences are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "super::word::known_if_any")]
    pub fill: Option<Word>,
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
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Picked {
    /// Where.
    #[serde(flatten)]
    pub span: Span,
    /// Who is right there.
    pub member: usize,
}

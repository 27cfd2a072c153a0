//! What an undo put back, for programs.

use serde::Serialize;

use super::{MemberSpan, Times};

/// What an undo put back, or would.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct UndoReport {
    /// Version of reports.
    pub schema: u32,
    /// `undo`.
    pub command: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// When it was.
    #[serde(flatten)]
    pub times: Times,
    /// What the program ends with.
    pub exit_code: u8,
    /// The journal's name, control characters escaped.
    pub journal: String,
    /// Nothing was to be written.
    pub dry_run: bool,
    /// The members that are put back.
    pub members: Vec<UndoneMember>,
    /// Bytes written to members.
    pub bytes_written: u64,
    /// Where what was read back came from: `medium`, `server` or `cache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_from: Option<&'static str>,
    /// What had been unreadable before the repair, and keeps what that wrote there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<MemberSpan>,
}

/// A member that is put back.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct UndoneMember {
    /// Its number in the journal.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// Its length in bytes before the repair.
    pub size_before: u64,
    /// Ranges that the journal keeps of it, and bytes in them.
    pub ranges: u64,
    /// See `ranges`.
    pub bytes: u64,
}

//! What a journal holds, for people and programs.

use std::io::{self, Write};

use serde::Serialize;

use super::{human_size, words};

/// A journal's facts.
#[derive(Clone, Debug, Serialize)]
pub struct JournalInfo {
    /// As given, control characters escaped.
    pub name: String,
    /// `quorum-journal`.
    pub format: &'static str,
    /// What it holds.
    pub journal: JournalFacts,
}

/// What a journal holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JournalFacts {
    /// Version of the format.
    pub version: u32,
    /// Its random number, in hex.
    pub id: String,
    /// `unfinished`, `complete`, `undo begun` or `undone`.
    pub state: &'static str,
    /// When it was begun (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Bytes that a guest sees of the repaired disk.
    pub virtual_size: u64,
    /// The unit of the vote in bytes.
    pub sector_size: u32,
    /// The options that decided what was written.
    pub options: String,
    /// Times that the repair began or went on.
    pub sessions: u32,
    /// Parts that were made safe one after the other.
    pub batches: usize,
    /// Whether the last part was cut off while it was made safe: nothing of it was written to a member yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub torn: bool,
    /// The members, in the repair's order.
    pub members: Vec<JournalMember>,
}

/// What a journal holds of one member.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JournalMember {
    /// Its path then, control characters escaped.
    pub path: String,
    /// Its length in bytes before the repair.
    pub size_before: u64,
    /// Ranges with what they were before.
    pub ranges: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that could not be read: an undo leaves them as they are.
    pub unreadable_bytes: u64,
}

/// A last record that is torn, in words.
pub const TORN: &str = "its last part was cut off while it was made safe; nothing of it was written to a member yet";

/// Writes the facts for people.
pub(super) fn render_journal(info: &JournalInfo, to: &mut dyn Write) -> io::Result<()> {
    let facts = &info.journal;
    let mut line = |what: &str, value: &str| writeln!(to, "{what:<14}{value}");
    line("journal:", &info.name)?;
    let state = match facts.state {
        "unfinished" => "unfinished: the same repair run again completes it, quorum-img undo takes it back",
        "complete" => "complete: quorum-img undo takes the repair back",
        "undo begun" => "undo begun: run quorum-img undo again",
        other => other,
    };
    line("state:", state)?;
    if let Some(created) = &facts.created {
        line("created:", created)?;
    }
    line("repaired:", &format!("{} ({} bytes) in sectors of {}", human_size(facts.virtual_size), facts.virtual_size, facts.sector_size))?;
    line("options:", &facts.options)?;
    let counted = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let sessions = counted(facts.sessions as usize, "run of the repair", "runs of the repair");
    line("sessions:", &format!("{sessions}, {}", counted(facts.batches, "batch", "batches")))?;
    if facts.torn {
        line("torn:", TORN)?;
    }
    for (index, member) in facts.members.iter().enumerate() {
        let mut kept = format!("{} ({} bytes) in {}", human_size(member.bytes), member.bytes, words::counted(member.ranges, "range"));
        if member.unreadable_bytes > 0 {
            kept = format!("{kept}, {} of it was unreadable", human_size(member.unreadable_bytes));
        }
        line(&format!("member #{index}:"), &format!("{}, {} bytes before; {kept}", member.path, member.size_before))?;
    }
    Ok(())
}

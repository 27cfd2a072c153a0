//! What an in-place repair is going to do, or did.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::word::Word;
use super::{
    Picked, Span, human_size,
    words::{blocks, read_from, sectors},
};

/// What an in-place repair is going to do, or did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct InPlaceReport {
    /// Always set: tells it from a repair that makes a new image.
    pub in_place: bool,
    /// The command that takes it back, where that isn't `undo`: of a set's repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
    /// Nothing was to be written.
    pub dry_run: bool,
    /// All was done that the plan says.
    pub completed: bool,
    /// Why nothing was written, where the plan was refused: the message, with the way out behind `hint:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Why it ended before all was done: the message, with the way out behind `hint:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// An unfinished repair was gone on with.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// The journal's name, control characters escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// Bytes that the journal takes; before it is made, at most.
    pub journal_bytes: u64,
    /// Bytes written to members.
    pub bytes_written: u64,
    /// Whether what was written was read back and found right.
    pub verified: bool,
    /// `medium` where that was done past this machine's page cache, `server` where that leads to a server, else `cache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "super::word::known_if_any")]
    pub verified_from: Option<Word>,
    /// Blocks of 4 KiB that no member held as a whole.
    pub composed_blocks: u64,
    /// Sectors that can be read again.
    pub healed_sectors: u64,
    /// Sectors that can't.
    pub not_healed_sectors: u64,
    /// Where those are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub healed: Vec<MemberSpan>,
    /// Where those are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_healed: Vec<MemberSpan>,
    /// Parts that were left alone, since the members gave other answers when they were read again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsteady: Vec<Span>,
    /// The members for which there is work, may they be written to or not.
    pub members: Vec<InPlaceMember>,
    /// What goes where, as far as divergences are listed.
    pub plan: Vec<Planned>,
    /// How many more there are.
    pub plan_omitted: u64,
    /// A person's decisions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub picked: Vec<Picked>,
}

/// A range of one member.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MemberSpan {
    /// Where.
    #[serde(flatten)]
    pub span: Span,
    /// Whose.
    pub member: usize,
}

/// Which range of which members gets whose bytes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Planned {
    /// Where.
    #[serde(flatten)]
    pub span: Span,
    /// Who holds what won.
    pub from: Vec<usize>,
    /// The donor whose bytes are taken, where nobody has won.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub donor: Option<usize>,
    /// Who gets it.
    pub to: Vec<usize>,
}

/// One member's part.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct InPlaceMember {
    /// Its number.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// Whether anything was written to it.
    pub written: bool,
    /// The user said that it isn't written to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_write: bool,
    /// Bytes to be replaced.
    pub dissenting_bytes: u64,
    /// Bytes that it lacks at its end.
    pub absent_bytes: u64,
    /// Bytes that it can't read.
    pub unreadable_bytes: u64,
    /// Bytes that it lacks behind an undecided sector: it isn't extended over that.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_bytes: u64,
    /// Bytes behind the virtual size that stay.
    #[serde(skip_serializing_if = "is_zero")]
    pub surplus_bytes: u64,
    /// It is too long or too short, and its size can't be changed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixed_size: bool,
    /// Its new length, where it grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_to: Option<u64>,
    /// Its new length, where it is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate_to: Option<u64>,
    /// Bytes of data that zeros replace.
    pub zeros_over_data_bytes: u64,
    /// Those of them that are content, and no rot in empty or free blocks.
    #[serde(skip)]
    pub content_zeroed_bytes: u64,
    /// Bytes of zeros that data replaces.
    pub data_over_zeros_bytes: u64,
    /// Bytes written to it.
    pub bytes_written: u64,
    /// Why nothing more was written to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl InPlaceMember {
    /// What is to be done to it, in words.
    #[must_use]
    pub fn described(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |bytes: u64, what: &str| {
            if bytes > 0 {
                parts.push(format!("{} {what}", human_size(bytes)));
            }
        };
        part(self.dissenting_bytes, "replaced");
        part(self.absent_bytes, "added");
        part(self.unreadable_bytes, "healed by overwriting");
        if let Some(length) = self.extend_to {
            parts.push(format!("extended to {length} bytes"));
        }
        if let Some(length) = self.truncate_to {
            parts.push(format!("cut to {length} bytes"));
        }
        let mut text = parts.join(", ");
        let mut aside = |bytes: u64, what: &str| {
            if bytes > 0 {
                let _ = write!(text, "{}{} {what}", if text.is_empty() { "" } else { "; " }, human_size(bytes));
            }
        };
        aside(self.zeros_over_data_bytes, "of its data become zeros");
        aside(self.data_over_zeros_bytes, "of its zeros become data");
        aside(self.left_bytes, "it lacks can't be added");
        let surplus = if self.fixed_size {
            "behind the virtual size stay (its size isn't changed in place)"
        } else {
            "behind the virtual size stay (--truncate cuts them)"
        };
        aside(self.surplus_bytes, surplus);
        if text.is_empty() {
            text = format!("{} written once more", human_size(self.bytes_written));
        }
        if self.no_write {
            text += " - but it isn't written to (--no-write)";
        }
        format!("#{} {}: {text}", self.index, self.name)
    }
}

/// What was done, in some lines.
pub(super) fn rewritten(repair: &InPlaceReport) -> String {
    let mut text = match (repair.dry_run, repair.completed) {
        _ if repair.refused.is_some() => "Refused; nothing was written. The plan would have been:".to_owned(),
        (true, _) => "Plan (nothing is written):".to_owned(),
        (false, _) if repair.members.is_empty() && !repair.resumed => "Nothing to do: nothing was written.".to_owned(),
        (false, true) => {
            let verified = repair.verified_from.map(|from| format!(", read back{} and found right", read_from(from)));
            let verified = verified.unwrap_or_default();
            format!("Repaired in place: {} written{verified}.", human_size(repair.bytes_written))
        }
        (false, false) if repair.bytes_written == 0 && repair.members.iter().all(|member| member.error.is_none()) => {
            "Nothing was written. What would have been done:".to_owned()
        }
        (false, false) => format!("Not completed: {} were written.", human_size(repair.bytes_written)),
    };
    for member in &repair.members {
        let _ = write!(text, "\n  {}", member.described());
        if let Some(error) = &member.error {
            let _ = write!(text, "\n     FAILED, with {} of that written: {error}", human_size(member.bytes_written));
        }
    }
    if repair.healed_sectors > 0 {
        let _ = write!(text, "\nHealed: {} can be read again.", sectors(repair.healed_sectors));
    }
    if repair.not_healed_sectors > 0 {
        let _ = write!(text, "\nNot healed: {}:", sectors(repair.not_healed_sectors));
        for MemberSpan { span, member } in repair.not_healed.iter().take(10) {
            let _ = write!(text, " #{member} {:#x}+{}", span.offset, span.length);
        }
    }
    for span in repair.unsteady.iter().take(10) {
        let _ =
            write!(text, "\nLeft alone, since it reads differently each time: {:#x} to {:#x}.", span.offset, span.end().saturating_sub(1));
    }
    for picked in &repair.picked {
        let _ = write!(text, "\nPicked: {:#x}, {}: #{}.", picked.span.offset, human_size(picked.span.length), picked.member);
    }
    if repair.composed_blocks > 0 {
        let _ = write!(text, "\n{} held whole by no member (composed of sectors of several).", blocks(repair.composed_blocks));
    }
    if let Some(journal) = &repair.journal {
        let size = human_size(repair.journal_bytes);
        let undo = repair.undone_by.as_deref().unwrap_or("quorum-img undo");
        let _ = write!(text, "\nJournal: {journal} ({size}); {undo} takes back what was written, as long as it is kept.");
    }
    if let Some(error) = &repair.error {
        let _ = write!(text, "\nEnded early: {}.", error.split('\n').next().unwrap_or_default());
    }
    text
}

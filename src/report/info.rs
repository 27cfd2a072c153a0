//! What is known of one image without any vote.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    Map, PartitionSpan, Problem,
    digest::{DigestInfo, render_digest},
    human_size,
    journal::{JournalInfo, render_journal},
    picture::{Drawing, Scene},
    set::{SetStatus, render_status},
};
use crate::member::{Facts, Words};

/// What is told of one name.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// An image or a device.
    Image(Box<Info>),
    /// A journal.
    Journal(JournalInfo),
    /// A digest.
    Digest(DigestInfo),
    /// A set.
    Set(Box<SetStatus>),
    /// What can't be looked at.
    Failed(FailedInfo),
}

/// Why nothing is told of a name.
#[derive(Clone, Debug, Serialize)]
pub struct FailedInfo {
    /// As given, control characters escaped.
    pub name: String,
    /// Why.
    pub error: Problem,
}

/// One member's facts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Info {
    /// As given, control characters escaped.
    pub name: String,
    /// Where it holds data.
    #[serde(skip)]
    pub map: Map,
    /// The name's bytes where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// `raw`, `qcow2`, `nbd`.
    pub format: &'static str,
    /// Set where nobody said so, and its first bytes decided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub format_guessed: bool,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// Bytes that it takes on its file system; none for a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_size: Option<u64>,
    /// When it was last modified (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Whose member it says that it is: the mark of a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkInfo>,
    /// What only its kind has to tell, under the sections' keys.
    #[serde(flatten)]
    pub sections: Sections,
    /// Programs that hold QEMU's locks on it, as far as they can be seen from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_use_by: Vec<ProcessInfo>,
    /// Whether another program holds a writer's locks and none is to be seen here: another machine's, or another user's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_use_elsewhere: bool,
    /// The file system that begins at its first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystemInfo>,
    /// Its partition table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_table: Option<TableInfo>,
}

/// The mark of a set's member.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MarkInfo {
    /// The set's UUID.
    pub set: String,
    /// The member's own.
    pub member: String,
    /// The set's epoch when it was written.
    pub epoch: u64,
}

/// What only a kind has to tell, in sections.
#[derive(Clone, Debug, Default)]
pub struct Sections(pub Vec<Facts>);

impl Serialize for Sections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for facts in &self.0 {
            map.serialize_entry(facts.section, &facts.record)?;
        }
        map.end()
    }
}

/// A running program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its command line, control characters escaped.
    pub command: String,
}

/// A partition table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableInfo {
    /// `gpt` or `mbr`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Set where only a GPT's backup at the end is sound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backup_only: bool,
    /// In the table's order.
    pub partitions: Vec<PartitionInfo>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartitionInfo {
    /// As Linux numbers it.
    pub number: u32,
    /// Its name, control characters escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What the table says it is for.
    #[serde(rename = "type")]
    pub kind: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// The file system in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystemInfo>,
}

/// A file system, by its signature.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSystemInfo {
    /// As blkid names it.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its label, control characters escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// When it last wrote its superblock, by its guest's clock (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

/// Writes the facts of several names for people, with a picture of each image where one is to be drawn.
///
/// # Errors
/// What writing says.
pub fn render_infos(infos: &[Told], drawing: Option<Drawing>, to: &mut dyn Write) -> io::Result<()> {
    for (index, info) in infos.iter().filter(|info| !matches!(info, Told::Failed(_))).enumerate() {
        if index > 0 {
            writeln!(to)?;
        }
        match info {
            Told::Image(info) => {
                render_info(info, to)?;
                if let Some(drawing) = drawing {
                    writeln!(to, "{}", of_info(info, drawing))?;
                }
            }
            Told::Journal(info) => render_journal(info, to)?,
            Told::Digest(info) => render_digest(info, to)?,
            Told::Set(status) => render_status(status, to)?,
            Told::Failed(_) => {} // that was said when it failed
        }
    }
    Ok(())
}

/// The picture of one image: where it holds data.
fn of_info(info: &Info, drawing: Drawing) -> String {
    let partitions = info.partition_table.iter().flat_map(|table| &table.partitions);
    let span = |part: &PartitionInfo| {
        let word = if part.name.is_empty() { &part.kind } else { &part.name };
        PartitionSpan { label: format!("{} ({word})", part.number), offset: part.offset, length: part.length }
    };
    let partitions: Vec<PartitionSpan> = partitions.map(span).collect();
    Scene { size: info.virtual_size, names: &[String::new()], rows: &[0], partitions: &partitions, map: &info.map }.drawn(drawing)
}

fn render_info(info: &Info, to: &mut dyn Write) -> io::Result<()> {
    let mut line = |what: &str, value: &str| writeln!(to, "{what:<14}{value}");
    line("image:", &info.name)?;
    line("format:", &format!("{}{}", info.format, if info.format_guessed { " (guessed)" } else { "" }))?;
    line("size:", &format!("{} ({} bytes)", human_size(info.virtual_size), info.virtual_size))?;
    if let Some(bytes) = info.actual_size {
        line("on disk:", &human_size(bytes))?;
    }
    if let Some(mark) = &info.mark {
        line("mark:", &format!("member {} of set {}, epoch {}", mark.member, mark.set, mark.epoch))?;
    }
    if let Some(time) = &info.modified {
        line("modified:", time)?;
    }
    for (what, words) in info.sections.0.iter().flat_map(|facts| &facts.lines) {
        line(what, &said(words))?;
    }
    if info.in_use_elsewhere {
        line("in use by:", "a program that can't be seen from here (another machine's, or another user's)")?;
    }
    for process in &info.in_use_by {
        line("in use by:", &format!("process {} ({})", process.pid, process.command))?;
    }
    if let Some(system) = &info.file_system {
        line("file system:", &system_line(system))?;
    }
    let Some(table) = &info.partition_table else { return Ok(()) };
    let backup = if table.backup_only { " (only its backup at the end is sound)" } else { "" };
    line("partitions:", &format!("{}{backup}", table.kind))?;
    let mut rows = Table::new();
    rows.load_preset(presets::NOTHING).set_header(["#", "OFFSET", "LENGTH", "TYPE", "NAME", "FILE SYSTEM"]);
    for part in &table.partitions {
        let system = part.file_system.as_ref().map_or_else(String::new, system_line);
        let (offset, length) = (format!("{:#x}", part.offset), human_size(part.length));
        rows.add_row([part.number.to_string(), offset, length, part.kind.clone(), part.name.clone(), system]);
    }
    rows.to_string().lines().try_for_each(|row| writeln!(to, "  {}", row.trim_end()))
}

/// A line of facts.
fn said(words: &[Words]) -> String {
    let word = |word: &Words| match word {
        Words::Text(text) => text.clone(),
        Words::Bytes(bytes) => human_size(*bytes),
    };
    words.iter().map(word).collect()
}

fn system_line(system: &FileSystemInfo) -> String {
    let label = if system.label.is_empty() { String::new() } else { format!(" \"{}\"", system.label) };
    let written = system.written.as_ref().map_or_else(String::new, |time| format!(", last written {time}"));
    format!("{}{label}{written}", system.kind)
}

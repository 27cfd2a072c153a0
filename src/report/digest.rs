//! What a digest is of, for people and programs.

use std::io::{self, Write};

use serde::Serialize;

use super::{Span, Times, counted, human_size};

/// A digest's facts.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct DigestInfo {
    /// As given, control characters escaped; none where none was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `quorum-digest`.
    pub format: &'static str,
    /// Version of the format.
    pub version: u32,
    /// What chunks are hashed by: `blake3`, `xxh3`.
    pub hash: &'static str,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Bytes of the image.
    pub size: u64,
    /// The part that it tells of, where that isn't all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Span>,
    /// What tells it from digests of other members.
    pub origin: String,
    /// Ballots that a version needed; 1 where it was made from one member.
    pub threshold: u32,
    /// The unit of the vote in bytes.
    pub sector_size: u32,
    /// Other options that decided what was hashed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub options: String,
    /// Who it was made from.
    pub sources: Vec<DigestSource>,
    /// When it was begun, and ended.
    #[serde(flatten)]
    pub times: Times,
    /// Chunks of the part that it tells of.
    pub chunks: u64,
    /// Those that hold anything but zeros.
    pub value_chunks: u64,
    /// Those of which it knows nothing.
    pub unknown_chunks: u64,
    /// Those of which nothing is known any more, since the digest itself is damaged.
    #[serde(skip_serializing_if = "super::member::is_zero")]
    pub damaged_chunks: u64,
    /// The hash of the whole image, as `b3sum` prints it, where that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// Who a digest was made from.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct DigestSource {
    /// Its name then, control characters escaped.
    pub name: String,
    /// Its format then.
    pub format: String,
    /// Bytes that a guest saw.
    pub size: u64,
    /// When it was last modified then (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
}

/// Writes the facts for people.
///
/// # Errors
/// What writing says.
pub fn render_digest(info: &DigestInfo, to: &mut dyn Write) -> io::Result<()> {
    let mut line = |what: &str, value: &str| writeln!(to, "{what:<14}{value}");
    if let Some(name) = &info.name {
        line("digest:", name)?;
    }
    line("image:", &format!("{} ({} bytes)", human_size(info.size), info.size))?;
    line("hashed by:", &format!("{}, chunks of {}", info.hash, human_size(info.chunk_bytes)))?;
    if let Some(part) = info.part {
        line("part:", &format!("{:#x}, {}", part.offset, human_size(part.length)))?;
    }
    let zero = info.chunks.saturating_sub(info.value_chunks).saturating_sub(info.unknown_chunks).saturating_sub(info.damaged_chunks);
    let unknown = if info.unknown_chunks > 0 { format!(", {} unknown", info.unknown_chunks) } else { String::new() };
    line("chunks:", &format!("{}: {} with a value, {zero} of zeros{unknown}", info.chunks, info.value_chunks))?;
    if info.damaged_chunks > 0 {
        let count = counted(info.damaged_chunks, "chunk");
        line("damaged:", &format!("of {count} nothing is known any more, since the digest itself is damaged"))?;
    }
    let vote = if info.sources.len() > 1 { format!("a vote with threshold {}", info.threshold) } else { "one member".into() };
    let options = if info.options.is_empty() { String::new() } else { format!(" ({})", info.options) };
    line("made from:", &format!("{vote}{options}"))?;
    for (index, source) in info.sources.iter().enumerate() {
        let modified = source.modified.as_ref().map_or_else(String::new, |time| format!(", modified {time}"));
        line(&format!("  #{index}"), &format!("{} ({}, {} bytes{modified})", source.name, source.format, source.size))?;
    }
    if let Some(made) = &info.times.finished {
        line("made:", made)?;
    }
    line("origin:", &info.origin)?;
    if let Some(root) = &info.root {
        line("BLAKE3:", &format!("{root} (of the whole, as b3sum prints it)"))?;
    }
    Ok(())
}

//! Places of an image, with what each member holds there.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::{
    DamageReport, Divergence, Overall, Report,
    fit::wrapped,
    hex, human_size,
    styles::{BAD, DIM, GOOD, MEND},
};

/// What `show` found.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Places {
    /// Version of reports.
    pub schema: u32,
    /// `show`.
    pub command: &'static str,
    /// The virtual size in bytes.
    pub size: u64,
    /// The unit of the vote in bytes.
    pub sector_size: u32,
    /// Ballots that a version needs.
    pub threshold: usize,
    /// The worst verdict there is.
    pub verdict: Overall,
    /// What the program ends with.
    pub exit_code: u8,
    /// The members' names, control characters escaped.
    pub members: Vec<String>,
    /// Those of the digests that are heard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// The places, those without a winner first.
    pub places: Vec<Place>,
    /// How many more there are.
    pub places_omitted: u64,
}

/// A place, and what it holds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// Where, and who holds what; `unanimous` where all hold the same.
    #[serde(flatten)]
    pub divergence: Divergence,
    /// The file system that it lies in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// What it belongs to there, where that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerReport>,
    /// Set where every member's file system calls it free.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
    /// The version, by its place in the list, that the others are held against.
    pub beside: usize,
    /// Digests, by number, that know the chunk that it begins in, and know it as nobody holds it as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied_by: Vec<usize>,
    /// What the versions hold, in their order.
    pub contents: Vec<Content>,
}

/// What a place belongs to.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OwnerReport {
    /// What of the file system itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'static str>,
    /// A file's inode; on NTFS the number of its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Where that file is, from the file system's root, control characters escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Set where it is nobody's: the file system calls it free.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
    /// Set where it was looked for, and not found.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl OwnerReport {
    fn in_words(&self) -> String {
        match (self.metadata, self.inode) {
            (Some(what), _) => what.to_owned(),
            (None, Some(inode)) => format!("inode {inode}, {}", self.path.as_deref().unwrap_or("which no folder names")),
            (None, None) if self.unknown => {
                "nobody who was found: files are looked for on ext2, ext3, ext4, XFS and NTFS, as far as their inodes can be read, for a minute".to_owned()
            }
            (None, None) => "nobody: it is free space".to_owned(),
        }
    }
}

/// What a version holds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Content {
    /// What it looks like beside the version that `beside` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks: Option<DamageReport>,
    /// How it begins, in hexadecimal; none where nobody can read it now.
    #[serde(serialize_with = "as_hex", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub bytes: Option<Vec<u8>>,
    /// Digests, by number, that know the chunk that it begins in just as one of the version's holders has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_to: Vec<usize>,
}

#[allow(clippy::ref_option)] // as serde calls it
fn as_hex<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::digits(bytes.as_deref().unwrap_or_default()))
}

impl Places {
    /// Those of a vote on them, whose report is `report`.
    #[must_use]
    pub fn of(report: &Report, places: Vec<Place>, places_omitted: u64) -> Self {
        Self {
            schema: report.schema,
            command: report.command,
            size: report.size,
            sector_size: report.sector_size,
            threshold: report.threshold,
            verdict: report.verdict,
            exit_code: report.exit_code,
            members: report.members.iter().map(|member| member.name.clone()).collect(),
            digests: report.heard.witnesses.iter().map(|witness| witness.name.clone()).collect(),
            places,
            places_omitted,
        }
    }
}

/// Writes them for people: of each at most `lines_max` lines of bytes, all as wide as `columns` allow.
///
/// # Errors
/// What writing says.
pub fn render_places(places: &Places, lines_max: usize, columns: usize, to: &mut dyn Write) -> io::Result<()> {
    for (index, place) in places.places.iter().enumerate() {
        if index > 0 {
            writeln!(to)?;
        }
        render_place(places, place, lines_max, columns, to)?;
    }
    if places.places_omitted > 0 {
        writeln!(to, "\nand {} more: --places shows more of them.", super::counted(places.places_omitted, "place"))?;
    }
    Ok(())
}

fn render_place(places: &Places, place: &Place, lines_max: usize, columns: usize, to: &mut dyn Write) -> io::Result<()> {
    let at = &place.divergence;
    let (style, verdict) = match at.verdict {
        Overall::Unanimous => (GOOD, "all members agree"),
        Overall::Decided if at.donor.is_some() => (MEND, "nobody has won; a donor holds what a digest proves"),
        Overall::Decided if at.versions.len() == 1 => (MEND, "all that have a ballot agree"),
        Overall::Decided => (MEND, "decided: A has won"),
        Overall::Undecided => (BAD, "nobody has won"),
    };
    write!(to, "{:#x}, {}: {style}{verdict}{style:#}", at.offset, human_size(at.length))?;
    let free = place.free.then(|| "free space".to_owned());
    for part in at.partition.iter().map(|part| format!("partition {part}")).chain(place.file_system.clone()).chain(free) {
        write!(to, "{DIM}, {part}{DIM:#}")?;
    }
    writeln!(to)?;
    if let Some(owner) = &place.owner {
        writeln!(to, "{}", wrapped(&format!("  belongs to {}", owner.in_words()), columns, "     "))?;
    }
    let digests =
        |numbers: &[usize]| numbers.iter().filter_map(|&number| places.digests.get(number)).cloned().collect::<Vec<_>>().join(", ");
    let names = |members: &[usize]| members.iter().map(|&member| format!("#{member} {}", places.members[member])).collect::<Vec<_>>();
    for (version, (held, content)) in at.versions.iter().zip(&place.contents).enumerate() {
        let who = if held.members.len() == places.members.len() { "all".to_owned() } else { names(&held.members).join(", ") };
        let beside = if at.verdict == Overall::Undecided || at.donor.is_some() {
            format!(" beside {}", hex::letter(place.beside))
        } else {
            String::new()
        };
        let looks = match (&content.looks, &content.bytes) {
            (Some(looks), _) if looks.is_relative() => format!(": {}{beside}", looks.in_words()),
            (Some(looks), _) => format!(": {}", looks.in_words()),
            (None, None) => ": it can't be read now".to_owned(),
            (None, Some(_)) => String::new(),
        };
        let known = digests(&content.known_to);
        let known = if known.is_empty() { known } else { format!("; as {known} knows it") };
        writeln!(to, "{}", wrapped(&format!("  {}  {who}{looks}{known}", hex::letter(version)), columns, "     "))?;
    }
    if !place.denied_by.is_empty() {
        let denied =
            format!("  {} knows other bytes in its chunk there than any of them holds: a --donor may have them", digests(&place.denied_by));
        writeln!(to, "{}", wrapped(&denied, columns, "     "))?;
    }
    for (word, members) in
        [("unreadable", &at.unreadable), ("unstable", &at.unstable), ("filler", &at.filler), ("absent", &at.absent), ("failed", &at.failed)]
    {
        if !members.is_empty() {
            writeln!(to, "{}", wrapped(&format!("  {word}: {}", names(members).join(", ")), columns, "     "))?;
        }
    }
    let held: Vec<&[u8]> = place.contents.iter().map(|content| content.bytes.as_deref().unwrap_or_default()).collect();
    if held.len() > hex::VERSIONS_SHOWN_MAX {
        writeln!(to, "  of these the first {} are shown", hex::VERSIONS_SHOWN_MAX)?;
    }
    write!(to, "\n{}", hex::lines(at.offset, &held, place.beside, lines_max, columns))?;
    let looked_at = held.iter().map(|bytes| bytes.len() as u64).max().unwrap_or(0);
    if looked_at > 0 && looked_at < at.length {
        writeln!(to, "and {} behind that weren't looked at", human_size(at.length - looked_at))?;
    }
    Ok(())
}

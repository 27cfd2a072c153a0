//! Reading a report back, for `--from`.

use std::{
    fmt,
    io::{self, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::vote::ByteRange;

/// What `--from` needs of an earlier report.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reported {
    /// Version of the report.
    pub schema: u32,
    /// Virtual size in bytes.
    #[serde(default)]
    pub size: u64,
    /// Unit of the vote in bytes.
    #[serde(default)]
    pub sector_size: u32,
    /// Whether the run came to no report.
    #[serde(default)]
    pub error: Option<IgnoredAny>,
    /// How members were read: nothing was compared under `fifo`.
    #[serde(default)]
    pub read_pattern: String,
    /// Whether it was stopped early.
    #[serde(default)]
    pub partial: bool,
    /// How many patterns and mapfiles said then what was never read.
    #[serde(default)]
    pub fillers: u64,
    /// Whether it was refused before the vote.
    #[serde(default)]
    pub unvoted: bool,
    /// How many bytes, from the start on, were looked at where it was stopped.
    #[serde(default)]
    pub scanned_bytes: u64,
    /// The part looked at, where it wasn't all.
    #[serde(default)]
    pub range: Option<ReportedRange>,
    /// The members then.
    pub members: Vec<ReportedMember>,
    /// The totals.
    #[serde(default)]
    pub sectors: Option<ReportedSectors>,
    /// Where they differed.
    #[serde(rename = "divergences", deserialize_with = "ranges")]
    pub listed: ReportedList,
    /// How many divergences it doesn't list.
    #[serde(default)]
    pub divergences_omitted: u64,
}

/// What an earlier report counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ReportedSectors {
    /// Decided ones.
    pub decided: u64,
    /// Undecided ones.
    pub undecided: u64,
}

/// The list of an earlier report.
#[derive(Debug, Default)]
pub struct ReportedList {
    /// What it covers: perhaps widened.
    pub ranges: Vec<ByteRange>,
    /// Bytes that it lists.
    pub bytes: u64,
}

/// A member as an earlier report had it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReportedMember {
    /// Its name, escaped.
    pub name: String,
    /// `raw`, `qcow2`, `nbd`.
    #[serde(default)]
    pub format: String,
    /// The internal snapshot that voted.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
    /// When it was last modified.
    #[serde(default)]
    pub modified: Option<String>,
    /// Bytes of its content.
    #[serde(default)]
    pub content_bytes: Option<u64>,
}

/// A range of an earlier report.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ReportedRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Reads a report. The list of its divergences may be of any length: neighbours are joined, and what would be too many is widened.
///
/// # Errors
/// Where it isn't a report, or its divergences are out of order.
pub fn read_reported(from: impl Read) -> serde_json::Result<Reported> {
    serde_json::from_reader(io::BufReader::with_capacity(1 << 16, from))
}

fn ranges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReportedList, D::Error> {
    struct Ranges;
    impl<'de> Visitor<'de> for Ranges {
        type Value = ReportedList;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list of divergences")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut ranges = crate::vote::CoarseRanges::default();
            let (mut end, mut bytes) = (0, 0u64);
            while let Some(next) = list.next_element::<ReportedRange>()? {
                let range = ByteRange::at(next.offset, next.length).filter(|range| range.start >= end);
                let range = range.ok_or_else(|| serde::de::Error::custom("divergences overlap or are out of order"))?;
                end = range.end;
                bytes += range.length(); // apart from each other: no more than there are
                ranges.add(range);
            }
            Ok(ReportedList { ranges: ranges.finish(1, u64::MAX), bytes })
        }
    }
    deserializer.deserialize_seq(Ranges)
}

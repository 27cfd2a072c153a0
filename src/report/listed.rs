//! The list of divergences: in memory as far as it is capped, or in a file where it has them all.

use std::{
    fmt,
    io::{self, BufRead, BufReader},
};

use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::{DamageReport, Damages, PartitionMap};
use crate::{
    sys::{storage::Storage, stream::Stream},
    vote::{Run, Verdict, members_of},
};

/// Bytes of lines that are written in one go.
const BUFFER_BYTES: usize = 1 << 16;

/// One divergence, as JSON has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Divergence {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// `decided` or `undecided`.
    pub verdict: super::Overall,
    /// Who holds which version; a decided divergence's winner first, then by number of members, then by lowest index.
    pub versions: Vec<Version>,
    /// Who could not be read.
    pub unreadable: Vec<usize>,
    /// Who ends before it.
    pub absent: Vec<usize>,
    /// Whose bytes say that nothing was read there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filler: Vec<usize>,
    /// Who answered differently when it was read once more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unstable: Vec<usize>,
    /// Who had failed as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<usize>,
    /// The donor whose bytes are to stand there, as a digest proves; then no version has won.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub donor: Option<usize>,
    /// The partitions it touches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// What the losing versions look like, where that was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<DamageReport>,
}

/// Members that hold the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Version {
    /// Ascending.
    pub members: Vec<usize>,
}

impl Divergence {
    /// What `run` says, with the names of `partitions`.
    #[must_use]
    pub fn of(run: &Run, partitions: &PartitionMap) -> Self {
        let grouping = &run.vote.grouping;
        let list = |mask| members_of(mask).collect();
        Self {
            offset: run.range.start,
            length: run.range.length(),
            verdict: if run.vote.verdict.is_decided() { super::Overall::Decided } else { super::Overall::Undecided },
            versions: run.vote.ordered_versions().into_iter().map(|version| Version { members: list(grouping.holders(version)) }).collect(),
            unreadable: list(grouping.unreadable()),
            absent: list(grouping.absent()),
            filler: list(grouping.fillers()),
            unstable: list(grouping.unstable()),
            failed: list(grouping.failed()),
            donor: if let Verdict::Donated { donor } = run.vote.verdict { Some(donor) } else { None },
            partition: partitions.labels(run.range),
            damage: Vec::new(),
        }
    }
}

/// Divergences, compact until they are shown.
#[derive(Debug)]
pub enum Listed {
    /// The first ones, in memory.
    Runs(Vec<Run>, PartitionMap, Damages),
    /// All of them, a line of JSON each, and what was seen of some.
    Spooled(Spooled, Damages),
    /// As they were read from a report.
    Kept(Vec<Divergence>),
}

impl Default for Listed {
    fn default() -> Self {
        Self::Runs(Vec::new(), PartitionMap::default(), Damages::new())
    }
}

impl Listed {
    /// The first ones with their partitions; none where they are spooled.
    #[must_use]
    pub fn divergences(&self) -> Box<dyn Iterator<Item = Divergence> + '_> {
        match self {
            Self::Runs(runs, partitions, damages) => Box::new(runs.iter().map(move |run| {
                let damage = damages.get(&run.range.start).map(|there| there.versions.clone()).unwrap_or_default();
                Divergence { damage, ..Divergence::of(run, partitions) }
            })),
            Self::Spooled(..) => Box::new(std::iter::empty()),
            Self::Kept(list) => Box::new(list.iter().cloned()),
        }
    }

    /// What losing versions look like, as far as they were looked at.
    #[must_use]
    pub fn damages(&self) -> Option<&Damages> {
        match self {
            Self::Runs(_, _, damages) | Self::Spooled(_, damages) => Some(damages),
            Self::Kept(_) => None,
        }
    }

    /// Adds what losing versions look like.
    pub fn diagnose(&mut self, seen: Damages) {
        match self {
            Self::Runs(_, _, damages) | Self::Spooled(_, damages) => *damages = seen,
            Self::Kept(_) => {}
        }
    }
}

/// Each divergence becomes one line, so that reports can be read, and searched, by eye and by grep.
impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Runs(..) | Self::Kept(_) => {
                let lines = self.divergences().map(|divergence| serde_json::value::to_raw_value(&divergence));
                collect(serializer, lines)
            }
            Self::Spooled(Spooled(storage), damages) => {
                let file = BufReader::with_capacity(BUFFER_BYTES, Stream::new(&**storage));
                let lines = file.lines().map(|line| {
                    let line = completed(line.map_err(serde_json::Error::io)?, damages)?;
                    RawValue::from_string(line)
                });
                collect(serializer, lines)
            }
        }
    }
}

/// What every line begins with: where it lies.
const LINE_START: &str = "{\"offset\":";

/// A line, with what was seen of its losing versions since it was written.
fn completed(mut line: String, damages: &Damages) -> serde_json::Result<String> {
    let offset = line.strip_prefix(LINE_START).and_then(|rest| rest.split(',').next()?.parse().ok());
    if let Some(there) = offset.and_then(|offset: u64| damages.get(&offset)).filter(|there| !there.versions.is_empty())
        && line.pop() == Some('}')
    {
        line += ",\"damage\":";
        line += &serde_json::to_string(&there.versions)?;
        line.push('}');
    }
    Ok(line)
}

fn collect<S: Serializer>(serializer: S, lines: impl Iterator<Item = Result<Box<RawValue>, serde_json::Error>>) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeSeq as _;
    let mut list = serializer.serialize_seq(None)?;
    for line in lines {
        list.serialize_element(&line.map_err(S::Error::custom)?)?;
    }
    list.end()
}

/// The lines of all divergences.
pub struct Spooled(Box<dyn Storage>);

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spooled(..)")
    }
}

/// Takes every divergence to storage, for a report that has them all.
pub struct Spool {
    storage: Box<dyn Storage>,
    /// Bytes that were written, and those that weren't yet.
    written: u64,
    pending: Vec<u8>,
}

impl Spool {
    /// Into `storage`, which is empty.
    #[must_use]
    pub fn new(storage: Box<dyn Storage>) -> Self {
        Self { storage, written: 0, pending: Vec::new() }
    }

    /// Adds one.
    ///
    /// # Errors
    /// What writing says.
    pub fn add(&mut self, divergence: &Divergence) -> io::Result<()> {
        debug_assert!(divergence.damage.is_empty(), "that is told once the list is complete");
        serde_json::to_writer(&mut self.pending, divergence)?;
        self.pending.push(b'\n');
        if self.pending.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.storage.write(self.written, &self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// The list, to be shown.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(mut self) -> io::Result<Listed> {
        self.write()?;
        Ok(Listed::Spooled(Spooled(self.storage), Damages::new()))
    }
}

//! Ranges and partitions, as reports name them.

use serde::{Deserialize, Serialize};

use crate::vote::ByteRange;

/// A range of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Span {
    /// One past the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

impl From<ByteRange> for Span {
    fn from(range: ByteRange) -> Self {
        Self { offset: range.start, length: range.length() }
    }
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PartitionSpan {
    /// Its number, with its name or its kind.
    pub label: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Where partitions lie, and what they are called.
#[derive(Clone, Debug, Default)]
pub struct PartitionMap {
    partitions: Vec<(ByteRange, String)>,
}

/// Partitions named of one range at most.
const NAMED_MAX: usize = 4;

impl PartitionMap {
    /// A map of these; `label` is what a partition is called.
    #[must_use]
    pub fn new(partitions: Vec<(ByteRange, String)>) -> Self {
        Self { partitions }
    }

    /// The numbers (in this map) of the partitions that share a byte with `range`.
    pub fn touched(&self, range: ByteRange) -> impl Iterator<Item = usize> + '_ {
        self.partitions.iter().enumerate().filter(move |(_, (part, _))| part.and(range).is_some()).map(|(index, _)| index)
    }

    /// All of them.
    #[must_use]
    pub fn spans(&self) -> Vec<PartitionSpan> {
        let span =
            |(range, label): &(ByteRange, String)| PartitionSpan { label: label.clone(), offset: range.start, length: range.length() };
        self.partitions.iter().map(span).collect()
    }

    /// What the partition of that number is called.
    #[must_use]
    pub fn label(&self, index: usize) -> &str {
        &self.partitions[index].1
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.partitions.len()
    }

    /// The partitions that share a byte with `range`, in words; none where none does.
    #[must_use]
    pub fn labels(&self, range: ByteRange) -> Option<String> {
        let touched: Vec<usize> = self.touched(range).collect();
        let mut words: Vec<String> = touched.iter().take(NAMED_MAX).map(|&index| self.label(index).to_owned()).collect();
        if touched.len() > NAMED_MAX {
            words.push(format!("{} more", touched.len() - NAMED_MAX));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

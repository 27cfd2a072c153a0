//! What only its own kind has to tell of a member, as plain data: so that nobody needs to ask which kind it is.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// A section of what `info` tells of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The section's key in JSON.
    pub section: &'static str,
    /// What stands in it, in this order.
    pub record: Record,
    /// The same for people: a label and what stands beside it, a line each.
    pub lines: Vec<(&'static str, Vec<Words>)>,
    /// What should be warned about.
    pub warnings: Vec<String>,
    /// A part of a warning that was given when the member was opened, and that the lines tell again.
    pub told_again: Option<String>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Yes or no.
    Flag(bool),
    /// A number; its key says of what.
    Number(u64),
    /// Text, fit for a terminal.
    Text(String),
    /// Numbers; their key says of what.
    Numbers(Vec<u64>),
    /// Texts.
    Texts(Vec<String>),
    /// Records of one kind.
    Records(Vec<Record>),
}

/// Keys with values, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Vec<(&'static str, Fact)>);

/// A piece of a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// As it is, fit for a terminal.
    Text(String),
    /// A number of bytes, to be shown in a unit that suits it.
    Bytes(u64),
}

impl Words {
    /// A line of one piece.
    #[must_use]
    pub fn line(text: impl Into<String>) -> Vec<Self> {
        vec![Self::Text(text.into())]
    }
}

impl Record {
    /// Adds a value under `key`.
    #[must_use]
    pub fn with(mut self, key: &'static str, fact: impl Into<Fact>) -> Self {
        self.0.push((key, fact.into()));
        self
    }

    /// The same where there is one.
    #[must_use]
    pub fn with_some(self, key: &'static str, fact: Option<impl Into<Fact>>) -> Self {
        match fact {
            Some(fact) => self.with(key, fact),
            None => self,
        }
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Fact {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<Vec<Record>> for Fact {
    fn from(records: Vec<Record>) -> Self {
        Self::Records(records)
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => flag.serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Numbers(numbers) => numbers.serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
            Self::Records(records) => records.serialize(serializer),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, fact) in &self.0 {
            map.serialize_entry(key, fact)?;
        }
        map.end()
    }
}

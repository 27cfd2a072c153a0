//! Reading a report, to show it again.

use std::{
    fmt,
    io::{self, Read},
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Divergence, InPlaceReport, RepairReport, Report};
use crate::member::escaped;

/// Reads a report; `each` hears of every divergence in order, however many there are. Their list stays empty in what is returned.
///
/// # Errors
/// Where it isn't a report.
pub fn read_report(from: impl Read, each: &mut dyn FnMut(Divergence)) -> serde_json::Result<Report> {
    let mut deserializer = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(1 << 16, from));
    let mut keys = deserializer.deserialize_map(Keys { each })?;
    deserializer.end()?;
    // A next command of another program isn't one that anybody here proposed.
    if keys.get("next").is_some_and(|next| next.get(0).and_then(Value::as_str) != Some("quorum-img")) {
        keys.remove("next");
    }
    // What shards know beyond their reports is escaped where it is used: names in it are the very names.
    for (key, value) in keys.iter_mut().filter(|(key, _)| *key != "next" && *key != "shard") {
        make_harmless(key, value);
    }
    let repair = keys.remove("repair");
    let mut report: Report = serde_json::from_value(Value::Object(keys))?;
    if let (Some(next), Some(comment)) = (&mut report.next, &report.next_comment) {
        next.comment.clone_from(comment);
    }
    match repair {
        Some(repair) if repair.get("in-place").is_some() => report.in_place = Some(serde_json::from_value::<InPlaceReport>(repair)?),
        Some(repair) => report.repair = Some(serde_json::from_value::<RepairReport>(repair)?),
        None => {}
    }
    Ok(report)
}

/// The keys of a report that are read.
const KEYS: [&str; 40] = [
    "schema",
    "command",
    "version",
    "started",
    "finished",
    "duration",
    "rate",
    "size",
    "sector-size",
    "threshold",
    "read-pattern",
    "fillers",
    "trust",
    "size-undecided",
    "verdict",
    "exit-code",
    "refusal",
    "next",
    "next-comment",
    "range",
    "partial",
    "scanned-bytes",
    "shard",
    "members",
    "sectors",
    "lacking-sectors",
    "decides-part",
    "witnesses",
    "donors",
    "swayed-sectors",
    "contradictions",
    "contradictions-omitted",
    "guards",
    "partitions",
    "map",
    "warnings",
    "unvoted",
    "repair",
    "divergences-omitted",
    "error",
];

/// Keys whose texts have lines.
const OF_LINES: [&str; 5] = ["message", "hint", "refused", "error", "warnings"];

/// Makes every text fit for a terminal: a report may come from anywhere. Those that are no names keep their lines.
fn make_harmless(key: &str, value: &mut Value) {
    match value {
        Value::String(text) if OF_LINES.contains(&key) => *text = text.split('\n').map(escaped).collect::<Vec<_>>().join("\n"),
        Value::String(text) => *text = escaped(text),
        Value::Array(list) => list.iter_mut().for_each(|value| make_harmless(key, value)),
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| make_harmless(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// All keys but the list.
struct Keys<'a> {
    each: &'a mut dyn FnMut(Divergence),
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "divergences" => map.next_value_seed(List { each: &mut *self.each })?,
                known if KEYS.contains(&known) => drop(keys.insert(key, map.next_value()?)),
                // Of a later version, or of no use; perhaps long.
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(keys)
    }
}

struct List<'a> {
    each: &'a mut dyn FnMut(Divergence),
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of divergences")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(mut divergence) = list.next_element::<Divergence>()? {
            divergence.partition = divergence.partition.as_deref().map(escaped);
            for damage in &mut divergence.damage {
                damage.filler = damage.filler.as_deref().map(escaped);
            }
            (self.each)(divergence);
        }
        Ok(())
    }
}

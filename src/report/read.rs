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

/// Reads a report; `each` hears of every divergence in order, however many there are. Their list stays empty in what is returned.
///
/// # Errors
/// Where it isn't a report.
pub fn read_report(from: impl Read, each: &mut dyn FnMut(Divergence)) -> serde_json::Result<Report> {
    let mut deserializer = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(1 << 16, from));
    let mut keys = deserializer.deserialize_map(Keys { each })?;
    deserializer.end()?;
    let repair = keys.remove("repair");
    let mut report: Report = serde_json::from_value(Value::Object(keys))?;
    match repair {
        Some(repair) if repair.get("in-place").is_some() => report.in_place = Some(serde_json::from_value::<InPlaceReport>(repair)?),
        Some(repair) => report.repair = Some(serde_json::from_value::<RepairReport>(repair)?),
        None => {}
    }
    Ok(report)
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
                // Of no use here, and perhaps long.
                "plan" | "filled" => drop(map.next_value::<IgnoredAny>()?),
                _ => drop(keys.insert(key, map.next_value()?)),
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
        while let Some(divergence) = list.next_element::<Divergence>()? {
            (self.each)(divergence);
        }
        Ok(())
    }
}

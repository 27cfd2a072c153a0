//! What a report of a part says of the whole.

use serde::{Deserialize, Serialize};

/// Which part it is of, and what else is to be known when all of them are merged.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct ShardReport {
    /// Its number, from 0 on.
    pub index: u64,
    /// How many parts there are.
    pub count: u64,
    /// For `report --merge` of the same version alone; nothing that others should go by.
    pub facts: serde_json::Value,
}

//! What stands in the way of writing, as reports have it.

use serde::{Deserialize, Serialize};

use super::word::Word;
use crate::member::Record;

/// A guard that stands.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct GuardReport {
    /// The word that overrides it.
    #[serde(deserialize_with = "super::word::known")]
    pub word: Word,
    /// Whom it is about, where it is about one member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<usize>,
    /// What it does to `repair --in-place`: `refused` or `told`.
    #[serde(deserialize_with = "super::word::known")]
    pub in_place: Word,
    /// What it does to `repair -o`.
    #[serde(deserialize_with = "super::word::known")]
    pub new_image: Word,
    /// Set where the user said its word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// What it goes by.
    #[serde(skip_deserializing)]
    #[cfg_attr(test, schemars(with = "std::collections::BTreeMap<String, serde_json::Value>"))]
    pub evidence: Record,
    /// The same for people.
    pub message: String,
    /// The way out.
    pub hint: String,
    /// Whether nobody can say that what outvotes the member is right: then no member is called whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub doubts_vote: bool,
}

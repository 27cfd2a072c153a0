//! What stands in the way of writing, as reports have it.

use serde::Serialize;

use crate::member::Record;

/// A guard that stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuardReport {
    /// The word that overrides it.
    pub word: &'static str,
    /// Whom it is about, where it is about one member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<usize>,
    /// What it does to `repair --in-place`: `refused` or `told`.
    pub in_place: &'static str,
    /// What it does to `repair -o`.
    pub new_image: &'static str,
    /// Set where the user said its word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// What it goes by.
    pub evidence: Record,
    /// The same for people.
    pub message: String,
    /// The way out.
    #[serde(skip)]
    pub hint: String,
    /// Whether nobody can say that what outvotes the member is right: then no member is called whole.
    #[serde(skip)]
    pub doubts_vote: bool,
}

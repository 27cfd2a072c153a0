//! When a run was.

use serde::{Deserialize, Serialize};

/// When a run was, as whoever ran it tells.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Times {
    /// When it was begun (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it ended (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Seconds between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Bytes of the image that were looked at a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

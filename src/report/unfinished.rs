//! What is left of a run that came to no report.

use serde::Serialize;

use super::{Problem, SCHEMA, Times};
use crate::member::MemberName;

/// A run that ended before there was anything to report.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Unfinished {
    /// Version of reports.
    pub schema: u32,
    /// `check`, `repair`, `show` or `undo`.
    pub command: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// When it was.
    #[serde(flatten)]
    pub times: Times,
    /// What the program ends with: 3, 4 or 130.
    pub exit_code: u8,
    /// Set, always: it tells of less than was asked for.
    pub partial: bool,
    /// What went wrong.
    pub error: Problem,
    /// The members as they were given.
    pub members: Vec<UnfinishedMember>,
    /// None.
    pub divergences: [(); 0],
}

/// A member of which nothing is known but its name.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct UnfinishedMember {
    /// Its number, from 0 on.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// The very name; none where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_name: Option<String>,
    /// The name's bytes where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
}

impl Unfinished {
    /// Of a run with these members that ends with `exit_code` because of `text`, the way out behind `hint:`.
    #[must_use]
    pub fn of(command: &'static str, members: &[MemberName], exit_code: u8, text: &str, times: Times) -> Self {
        let names: Vec<String> = members.iter().map(ToString::to_string).collect();
        let error = Problem::of(text, &names);
        let member = |(index, name): (usize, &MemberName)| UnfinishedMember {
            index,
            name: name.to_string(),
            raw_name: name.raw(),
            name_hex: name.hex(),
        };
        Self {
            schema: SCHEMA,
            command,
            version: env!("CARGO_PKG_VERSION"),
            times,
            exit_code,
            partial: true,
            error,
            members: members.iter().enumerate().map(member).collect(),
            divergences: [],
        }
    }
}

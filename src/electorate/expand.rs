//! Members that are given as QEMU's users describe disks: `json:{...}`, and with `--image-opts`.

use std::ffi::OsString;

use super::described::{Described, describe};
use crate::member::{
    blockdev::{of_image_opts, of_json},
    escaped,
};

/// The way out where a description can't be followed.
const BY_NAME: &str = "name the members themselves, by path, by nbd+unix:// address, or with raw: or qcow2: before the path";

/// A description that can't be followed.
#[derive(Debug, thiserror::Error)]
#[error("{described}: {why}{}", .hint.map_or_else(String::new, |hint| format!("\nhint: {hint}")))]
pub struct DescriptionError {
    /// As given, control characters escaped.
    pub described: String,
    /// What can't be followed.
    pub why: String,
    /// The way out.
    pub hint: Option<&'static str>,
}

/// What a quorum's description says of the vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Ballots that a version needs.
    pub threshold: Option<usize>,
    /// Whether only the first that can be read is asked.
    pub fifo: bool,
}

/// Names, with descriptions taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// Of members as this program names them.
    pub names: Vec<OsString>,
    /// Set where they were given as a quorum.
    pub quorum: Option<Quorum>,
}

/// Takes descriptions among the names apart; a quorum becomes its members. `image_opts`: all are descriptions. `votes`: whether a quorum
/// makes sense at all.
///
/// # Errors
/// The first description that can't be followed.
pub fn expand(given: &[OsString], image_opts: bool, votes: bool) -> Result<Expanded, DescriptionError> {
    let mut names: Vec<OsString> = Vec::new();
    for name in given {
        if !image_opts && !name.to_string_lossy().starts_with("json:") {
            names.push(name.clone());
            continue;
        }
        let refuse = |why: &str, hint| DescriptionError { described: escaped(&name.to_string_lossy()), why: why.to_owned(), hint };
        let text = name.to_str().ok_or_else(|| refuse("a description is UTF-8", None))?;
        let options = match text.strip_prefix("json:") {
            Some(json) => of_json(json.as_bytes()),
            None => of_image_opts(text),
        };
        match options.and_then(|options| describe(&options)).map_err(|why| refuse(&why, Some(BY_NAME)))? {
            Described::Disk(name) => names.push(name.into()),
            Described::Quorum { .. } if given.len() > 1 => {
                return Err(refuse("a quorum is described beside other members", Some("name the quorum alone, or its members")));
            }
            Described::Quorum { .. } if !votes => return Err(refuse("a quorum is no single image", Some(BY_NAME))),
            Described::Quorum { children, threshold, fifo } => {
                let names = children.into_iter().map(OsString::from).collect();
                return Ok(Expanded { names, quorum: Some(Quorum { threshold, fifo }) });
            }
        }
    }
    Ok(Expanded { names, quorum: None })
}

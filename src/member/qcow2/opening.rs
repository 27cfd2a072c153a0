//! How images are opened, and why they aren't.

use std::{borrow::Cow, ffi::OsStr, sync::Arc};

use super::{header::HeaderError, snapshots::Snapshot, tables::Caches};
use crate::member::{Cache, MemberName, escaped};

/// Why a file isn't opened that nobody asked for.
pub(super) const IGNORED: &str = "it isn't opened here";
/// Snapshots named in a message.
const NAMED_MAX: usize = 20;

/// Which files an image may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// None, and an image that names one is refused.
    #[default]
    Refused,
    /// None, and what they hold is missing.
    Ignored,
    /// Those in the image's own folder or below.
    Own,
    /// Any.
    Any,
}

/// How qcow2 images are opened.
pub struct Opening<'a> {
    /// How their files are read.
    pub cache: Cache,
    /// Which files they may name.
    pub references: References,
    /// The internal snapshot to read, by name or number.
    pub snapshot: Option<&'a OsStr>,
    /// Shared by all images.
    pub caches: &'a Arc<Caches>,
}

/// Why an image isn't opened.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// Encrypted, or with features that aren't known here.
    #[error(
        "{member}: {error}\n\
         hint: {}: export it with its qemu-nbd -r, and name the nbd+unix:// address instead; \
         where the other copies aren't so, its header is damaged: leave it out",
        who_reads(.error)
    )]
    Unsupported {
        /// Which one.
        member: MemberName,
        /// What it is.
        error: HeaderError,
    },
    /// It names another file, which nobody allowed.
    #[error("{member}: {what} {reference}, and {why}\nhint: {hint}")]
    Reference {
        /// The image that names it.
        member: MemberName,
        /// As what.
        what: &'static str,
        /// The name, control characters escaped.
        reference: String,
        /// Why it isn't followed.
        why: Cow<'static, str>,
        /// The way out.
        hint: &'static str,
    },
    /// It names another file, which this program can't open as things are.
    #[error(
        "{member}: {what} {reference}, which can't be opened: {error}\nhint: run it as a user who may read that; ulimit -n says how many files may be open"
    )]
    Unopened {
        /// The image that names it.
        member: MemberName,
        /// As what.
        what: &'static str,
        /// The file.
        reference: MemberName,
        /// The system's word.
        error: String,
    },
    /// Its backing chain has no end that is looked for.
    #[error("{member}: its backing file {reference} would be the image number {} of its chain, and {depth_max} are opened\nhint: qemu-img rebase or commit shorten it", depth_max + 1)]
    TooDeep {
        /// The last image that was opened.
        member: MemberName,
        /// What it names.
        reference: MemberName,
        /// How many may follow each other.
        depth_max: usize,
    },
    /// No such snapshot.
    #[error("{member}: it has no snapshot {wanted}\nhint: {}", listed(.snapshots))]
    Snapshot {
        /// Which one.
        member: MemberName,
        /// As asked for.
        wanted: String,
        /// Those that there are.
        snapshots: Vec<Snapshot>,
    },
}

/// Why an image of unknown features can't be read here, and who reads it.
#[must_use]
pub fn unsupported(error: &HeaderError) -> String {
    match error {
        HeaderError::Damaged { .. } => error.to_string(),
        _ => format!("{error}; {}: export it with its qemu-nbd -r, and name the nbd+unix:// address instead", who_reads(error)),
    }
}

fn who_reads(error: &HeaderError) -> &'static str {
    if matches!(error, HeaderError::Encrypted { .. }) { "QEMU reads it where it has the secret" } else { "a QEMU that knows them reads it" }
}

fn listed(snapshots: &[Snapshot]) -> String {
    if snapshots.is_empty() {
        return "there are none in it".into();
    }
    let name = |snapshot: &Snapshot| escaped(&String::from_utf8_lossy(&snapshot.name));
    let more = if snapshots.len() > NAMED_MAX { ", ..." } else { "" };
    format!("there are {}{more}", snapshots.iter().take(NAMED_MAX).map(name).collect::<Vec<_>>().join(", "))
}

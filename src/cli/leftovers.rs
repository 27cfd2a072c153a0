//! What killed runs left in a folder that is about to be written to.

use std::path::Path;

use super::say::warn_unless;
use crate::{
    member::{MemberName, escaped},
    sys::{leftovers::sweep, storage::place_of},
};

/// Removes from the folder of `file` what runs of this machine that are gone left there, and tells of what may belong to others.
pub(super) fn tidy_beside(file: &Path, quiet: bool) {
    let Some((folder, _)) = place_of(file) else { return };
    let (removed, others) = sweep(folder);
    let name = |path: &Path| MemberName::from(path).quoted();
    for path in &removed {
        warn_unless(quiet, &format!("{}: removed: a run that was killed left it there", name(path)));
    }
    for other in &others {
        let path = name(&other.path);
        warn_unless(quiet, &format!("{path}: {} makes it, or left it there; where that is gone: rm {path}", escaped(&other.maker)));
    }
}

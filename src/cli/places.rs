//! Names that must not mean the same place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};

use crate::{
    member::{Member, MemberName},
    sys::storage::place_of,
};

/// Whether two names mean the same place in the same folder.
pub(super) fn same_place(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let path = if path.is_symlink() { fs::canonicalize(path).ok()? } else { path.to_owned() };
        let (folder, name) = place_of(&path)?;
        Some((fs::canonicalize(folder).ok()?, name.to_owned()))
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// Refuses to take a place that holds a member, or a file that one consists of.
pub(super) fn refuse_member_at(path: &Path, members: &[&dyn Member]) -> Result<()> {
    for member in members {
        for (depth, file) in member.files().into_iter().enumerate() {
            let how = if depth == 0 { "is" } else { "lies under" };
            ensure!(!file.is_at(path)?, "this {how} the member {}\nhint: choose another name", member.name());
        }
    }
    Ok(())
}

/// Refuses names that are seldom meant as such: `-` is standard output elsewhere, and `NAME=VALUE` an option of the image.
pub(super) fn refuse_mistaken_name(output: &Path) -> Result<()> {
    let (shown, bytes) = (MemberName::from(output), output.as_os_str().as_encoded_bytes());
    let escape = format!("./{} is a file that is really called so", shown.quoted());
    ensure!(
        bytes != b"-",
        "-o -: an image isn't written to standard output, for it is read back before it counts\nhint: name a file; {escape}"
    );
    let option = bytes
        .iter()
        .position(|&byte| byte == b'=')
        .is_some_and(|at| at > 0 && bytes[..at].iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b'.')));
    ensure!(!option, "-o {shown}: this looks like an option of an image\nhint: those go with --output-options; {escape}");
    Ok(())
}

/// Refuses a `--report` that would take the place of `what` stands at `place`, or the other way round.
pub(super) fn refuse_report_at(report: Option<&Path>, place: &Path, what: &str) -> Result<()> {
    if let Some(report) = report {
        let shown = MemberName::from(report);
        ensure!(!same_place(report, place), "--report {shown} names {what}\nhint: choose another name for one of them");
    }
    Ok(())
}

/// What an earlier report is called where it is kept.
pub(super) fn previous_of(report: &Path) -> PathBuf {
    let mut previous = report.as_os_str().to_owned();
    previous.push(".previous");
    previous.into()
}

/// Refuses a `--report` that would take the place of the `list` that is read, or have it make way for an earlier report.
pub(super) fn refuse_report_over(report: Option<&Path>, list: &Path) -> Result<()> {
    refuse_report_at(report, list, "the list that is read (--from)")?;
    let previous = report.map(previous_of);
    if previous.is_some_and(|previous| same_place(&previous, list)) {
        let shown = MemberName::from(list);
        bail!("--from {shown}: an earlier report may be kept under that name\nhint: choose another name for --report");
    }
    Ok(())
}

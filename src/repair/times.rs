//! When members were modified by others than this program.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::journal::{Glance, glance};
use crate::{
    evidence::Evidence,
    member::{HostFile, Member},
    report::ReadPattern,
    scan::Question,
};

/// What the journal beside a member is called: its name, and this.
pub const JOURNAL_SUFFIX: &str = ".quorum-journal";

/// For each member when it was modified, as far as that says something of what it holds: a repair in place sets a file's time, and its
/// journal, beside a member or named in `journals`, tells what it was before. A repair that isn't complete leaves times that say nothing.
#[must_use]
pub fn modified(members: &[&dyn Member], journals: &[PathBuf]) -> Vec<Option<SystemTime>> {
    let beside = members.iter().filter_map(|member| journal_beside(member.files().first()?.path()).ok());
    let mut paths: Vec<PathBuf> = beside.chain(journals.iter().cloned()).collect();
    paths.sort_unstable();
    paths.dedup();
    let glances: Vec<Glance> = paths.iter().filter_map(|path| look(path)).collect();
    let of = |member: &&dyn Member| match member.files().first().filter(|file| !file.is_device()) {
        Some(file) => glances.iter().fold(member.modified(), |time, glance| explained(glance, file, time)),
        None => member.modified(),
    };
    members.iter().map(of).collect()
}

/// What is known of the members beside their ballots, their times as [`modified`] explains them. Under fifo nobody is compared, and nobody
/// looked at who needn't be.
#[must_use]
pub fn evidence_of<'a>(members: &'a [&'a dyn Member], question: &Question, journals: &[PathBuf]) -> Evidence<'a> {
    match question.read_pattern {
        ReadPattern::Quorum => Evidence::of(members, &modified(members, journals)),
        ReadPattern::Fifo => Evidence::of_first(members),
    }
}

/// The journal that a repair keeps whose first member is `file`: beside the file itself, whatever link leads there.
///
/// # Errors
/// Where the links lead nowhere.
pub fn journal_beside(file: &Path) -> io::Result<PathBuf> {
    let path = fs::canonicalize(file)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(JOURNAL_SUFFIX);
    Ok(path.with_file_name(name))
}

fn look(path: &Path) -> Option<Glance> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    file.metadata().ok()?.is_file().then(|| glance(&file))?
}

/// A member's time as a journal explains it.
fn explained(glance: &Glance, file: &HostFile, time: Option<SystemTime>) -> Option<SystemTime> {
    let meta = file.metadata();
    let own = glance.header.members.iter().position(|then| !then.device && then.inode == meta.ino() && is_path(&then.path, file.path()));
    let Some((index, before)) = own.and_then(|index| Some((index, glance.header.members[index].modified?))) else { return time };
    let now = (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or(0));
    if now == before {
        return time;
    }
    let Some(ended) = &glance.ended else {
        // In the middle of something: whoever wrote last, nobody knows when another did.
        return None;
    };
    let left = ended.stamps.get(index).copied().flatten();
    // Written to since: that time is somebody else's.
    if left.is_some_and(|left| left.modified == now && left.length == meta.len()) { moment(before) } else { time }
}

fn is_path(then: &[u8], now: &Path) -> bool {
    fs::canonicalize(now).is_ok_and(|now| now.as_os_str().as_encoded_bytes() == then)
}

fn moment((seconds, nanoseconds): (i64, u32)) -> Option<SystemTime> {
    let length = Duration::new(seconds.unsigned_abs(), 0);
    let whole = if seconds < 0 { UNIX_EPOCH.checked_sub(length) } else { UNIX_EPOCH.checked_add(length) };
    whole?.checked_add(Duration::new(0, nanoseconds))
}

//! Files that appear under their names only when they are whole.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::sys::{
    storage::{Draft, Folder, NotSynced, Replace},
    stream::Stream,
};

/// Where a link leads.
pub(super) fn followed(target: &Path) -> Result<PathBuf> {
    if target.is_symlink() {
        return fs::canonicalize(target).context("is a symbolic link that leads nowhere\nhint: name the file itself");
    }
    Ok(target.to_owned())
}

/// A file without a name yet, in a folder that exists.
pub(super) fn draft_in(folder: &dyn Folder) -> Result<Box<dyn Draft>> {
    folder.create().context("no file can be made in its folder\nhint: name a folder that exists and that you may write to")
}

/// Writes a file whole, and syncs it.
pub(super) fn fill(draft: &dyn Draft, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut to = io::BufWriter::with_capacity(1 << 16, Stream::new(draft.storage()));
    write(&mut to)?;
    to.flush()?;
    drop(to);
    settle(draft)
}

/// Syncs a file that is whole.
pub(super) fn settle(draft: &dyn Draft) -> Result<()> {
    make_readable(draft);
    Ok(draft.storage().sync()?)
}

/// Lets a file that is whole appear.
pub(super) fn name_it(draft: Box<dyn Draft>, name: &OsStr, replace: Replace) -> Result<()> {
    draft.publish(name, replace).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AlreadyExists => "something else appeared under that name meanwhile\nhint: choose another name",
            _ if NotSynced::is(&error) => "it stands there, but its folder can't be synced, so a power cut may take it away",
            _ => "it can't be given its name\nhint: choose another folder",
        };
        anyhow::Error::new(error).context(why)
    })?;
    Ok(())
}

/// As files are that programs create: readable, less what the user's mask takes away.
fn make_readable(draft: &dyn Draft) {
    // umask(2) can only tell the mask by changing it.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    let _ = draft.resemble(None, 0o666 & !mask.unwrap_or(0o077)); // else it stays private
}

//! Where the journal of an in-place repair goes.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::{places::refuse_member_at, repair_args::RepairArgs};
use crate::{
    electorate::file_system_conflict,
    member::{HostFile, Member, MemberName},
    repair::{JOURNAL_SUFFIX, journal_beside},
    set::database_beside,
    sys::{
        device::Sysfs,
        storage::{place_of, untrusted},
    },
};

/// Folder and name of the journal; none where none is wanted.
pub(super) fn journal_path(args: &RepairArgs, files: &[&HostFile]) -> Result<Option<(PathBuf, OsString)>> {
    let own = &args.in_place;
    if own.no_journal {
        return Ok(None);
    }
    let path = if let Some(path) = &own.journal {
        path.clone()
    } else {
        // One that is missing has no folder either; the others may.
        if files.is_empty() || (files.len() < args.members.members.len() && !args.members.missing_ok) {
            if own.dry_run {
                return Ok(None);
            }
            bail!(
                "an export has no folder for the journal of what is overwritten\nhint: name a place with --journal FILE, or say --no-journal"
            );
        }
        if let Some(device) = files.iter().find(|member| member.is_device()) {
            if own.dry_run {
                return Ok(None);
            }
            bail!(
                "{}: a device has no folder for the journal of what is overwritten\nhint: name a place with --journal FILE, or say --no-journal",
                device.name()
            );
        }
        if files[0].silent() {
            bail!(
                "{}: its server doesn't answer, and the journal of what is overwritten would lie beside it\nhint: name a place with --journal FILE",
                files[0].name()
            );
        }
        // Beside the file itself, whatever link leads there.
        journal_beside(files[0].path()).with_context(|| files[0].name().to_string())?
    };
    let path = if path.is_symlink() {
        fs::canonicalize(&path).with_context(|| {
            format!(
                "{}: a symbolic link that leads nowhere\nhint: name a place for the journal with --journal FILE",
                MemberName::from(path.as_path())
            )
        })?
    } else {
        path
    };
    let (folder, name) = place_of(&path)
        .ok_or_else(|| anyhow!("--journal {}: this is no file's name\nhint: name a file", MemberName::from(path.as_path())))?;
    Ok(Some((folder.to_owned(), name.to_owned())))
}

/// The journal as the user would name it.
pub(super) fn shown_path(args: &RepairArgs, files: &[&HostFile], folder: &Path, name: &OsString) -> PathBuf {
    if let Some(path) = &args.in_place.journal {
        return path.clone();
    }
    // Beside the first that isn't missing.
    let member = files.first().map_or(Path::new(""), |file| file.path());
    let mut beside = member.as_os_str().to_owned();
    beside.push(JOURNAL_SUFFIX);
    let beside = PathBuf::from(beside);
    if member.is_symlink() { folder.join(name) } else { beside }
}

/// Refuses a journal that can't be what is named; returns what to warn about.
pub(super) fn look_at_journal(folder: &Path, name: &OsString, members: &[&dyn Member]) -> Result<Vec<String>> {
    let path = folder.join(name);
    let shown = MemberName::from(path.as_path());
    if let Some(database) = database_beside(&path) {
        bail!(
            "--journal {shown}: {} is an SQLite database, which would take that for its own and delete it\nhint: choose another name",
            MemberName::from(database.as_path())
        );
    }
    if path.exists() {
        refuse_member_at(&path, members).with_context(|| format!("--journal {shown}"))?;
    }
    let inside = file_system_conflict(folder, members, &Sysfs::default()).map_err(|error| {
        let way = if error.kind() == io::ErrorKind::NotFound {
            "make the folder first, or choose another"
        } else {
            "choose another folder, or run it as a user who may look into this one"
        };
        anyhow!("--journal {shown}: its folder can't be looked at: {error}\nhint: {way}")
    })?;
    if let Some(member) = inside {
        bail!("--journal {shown}: it would lie on a file system inside of the member {member}\nhint: choose a folder elsewhere");
    }
    let there = match fs::metadata(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            bail!("--journal {shown}: can't be looked at: {error}\nhint: choose another name");
        }
        there => there.ok(),
    };
    if let Some(there) = there {
        ensure!(there.is_file(), "--journal {shown}: there is something else than a file\nhint: choose another name");
        if let Some(why) = untrusted(&there) {
            bail!(
                "{shown}: this journal isn't to be trusted: {why}\nhint: look at it; chown and chmod it where it is yours, or name another place with --journal"
            );
        }
    }
    let volatile = statfs(folder).is_ok_and(|facts| facts.filesystem_type() == TMPFS_MAGIC);
    let warning = format!("{shown}: the journal lies in this machine's memory (tmpfs): a power cut takes it away, and with it the undo");
    Ok(volatile.then_some(warning).into_iter().collect())
}

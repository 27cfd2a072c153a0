//! A journal that the user names.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    member::{Member, MemberName},
    repair::{
        journal::{Journal, State},
        journal_beside,
        undo::UndoError,
    },
    sys::{
        locks::Claim,
        storage::{Storage, untrusted},
    },
};

/// The longest journal that is read only to see whether it is complete, in bytes: all of it has to be.
const READ_BYTES_MAX: u64 = 256 << 20;

/// What is to be said of members beside which the journal of a repair stands that was cut off; what can't be looked at now says nothing.
pub(super) fn unfinished_beside(members: &[&dyn Member]) -> Vec<String> {
    let files = members.iter().filter_map(|member| member.files().into_iter().next()).filter(|file| !file.is_device() && !file.silent());
    let told = files.filter_map(|file| {
        let path = journal_beside(file.path()).ok()?;
        let length = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
        if length > READ_BYTES_MAX {
            let (journal, member) = (MemberName::from(path.as_path()).quoted(), file.name());
            return Some(format!(
                "{member}: the journal of a repair in place stands beside it: quorum-img info {journal} tells how that ended"
            ));
        }
        let state = open_journal(&path, false).ok()?.state();
        let journal = MemberName::from(path.as_path());
        match state {
            State::Unfinished => Some(format!(
                "{}: a repair in place of it was cut off: the same repair run again goes on, and quorum-img undo {} takes it back",
                file.name(),
                journal.quoted()
            )),
            State::UndoBegun => Some(format!("{}: an undo of it was cut off: quorum-img undo {} goes on", file.name(), journal.quoted())),
            State::Complete | State::Undone => None,
        }
    });
    told.collect()
}

/// Opens and reads a journal that is to be trusted.
pub(super) fn open_journal(path: &Path, writes: bool) -> Result<Journal> {
    let name = MemberName::from(path);
    let is_other = fs::metadata(path).is_ok_and(|there| !there.is_file());
    ensure!(!is_other, "{name}: this is no file\nhint: name the journal of the repair");
    let opened = OpenOptions::new().read(true).write(writes).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened
        .with_context(|| format!("{name}: can't be opened\nhint: name the journal of the repair; run it as a user who may write to it"))?;
    let meta = file.metadata().with_context(|| name.to_string())?;
    ensure!(meta.is_file(), "{name}: this is no file\nhint: name the journal of the repair");
    if let Some(why) = untrusted(&meta) {
        bail!(
            "{name}: this journal isn't to be trusted, for it names files to write: {why}\nhint: look at it; chown and chmod it where it is yours"
        );
    }
    // Before anything of it is read: a repair that runs would append to it meanwhile.
    if let Claim::Others(holders) = Storage::claim(&file, writes).with_context(|| name.to_string())? {
        return Err(UndoError::InUse { journal: name, holders }.into());
    }
    Ok(Journal::load(&name, Box::new(file))?)
}

//! Puts the old bytes back, the last ones that were overwritten first.

use std::io;

use super::{
    examine::Wanted,
    target::{Undo, UndoError, UndoTarget, Undone, length_of},
};
use crate::{
    repair::journal::{Entry, Journal, Loaded, Old, State},
    sys::{
        buffer::Buffer,
        storage::{Origin, Storage},
    },
    vote::ByteRange,
};

/// Bytes written between two syncs of the members.
const SYNC_BYTES: u64 = 256 << 20;

impl Undo<'_> {
    /// Puts everything back. `journal` was examined before.
    ///
    /// # Errors
    /// See [`UndoError`]; running it again begins anew.
    pub fn restore(&self, journal: Journal) -> Result<Undone, UndoError> {
        let name = journal.name().clone();
        let mut undone = Undone { origin: Origin::Medium, ..Undone::default() };
        // What is noted here tells a later repair that members are neither as it left them nor as they were. Its records come behind
        // those that are read below.
        let note = |journal: Journal, done: bool| {
            let failed = |error| UndoError::Member { member: name.clone(), doing: "the journal can't be written to".into(), error };
            journal.noted(done).map_err(failed)
        };
        // An undo that was begun may have set lengths that never reached stable storage.
        let again = journal.state() == State::UndoBegun;
        let journal = if again { journal } else { note(journal, false)? };
        self.put_all_back_somehow(&journal, again, &mut undone)?;
        self.restore_times(&journal);
        note(journal, true)?;
        undone.kept.sort_unstable();
        undone.kept.dedup();
        Ok(undone)
    }

    /// Puts the targets back before a repair of them is gone on with: the journal notes nothing, for what it tells stays true.
    ///
    /// # Errors
    /// See [`UndoError`].
    pub fn put_back_begun(&self, journal: &Journal) -> Result<Undone, UndoError> {
        let mut undone = Undone { origin: Origin::Medium, ..Undone::default() };
        self.put_all_back_somehow(journal, true, &mut undone)?;
        Ok(undone)
    }

    /// Where a disk or server is full, what is there already is left alone in a second attempt: it needs no room, and wasn't written either.
    fn put_all_back_somehow(&self, journal: &Journal, again: bool, undone: &mut Undone) -> Result<(), UndoError> {
        match self.put_all_back(journal, again, false, undone) {
            Err(UndoError::Member { error, .. }) if is_full(&error) => {
                *undone = Undone { origin: Origin::Medium, ..Undone::default() };
                self.put_all_back(journal, true, true, undone)
            }
            done => done,
        }
    }

    /// `again`: lengths are set even where they seem to be right. `lean`: what is there already isn't written.
    fn put_all_back(&self, journal: &Journal, again: bool, lean: bool, undone: &mut Undone) -> Result<(), UndoError> {
        let header = journal.header();
        self.refuse_lost_locks()?;
        (self.phases)("putting back", journal.entry_bytes()?);
        let resized: Vec<usize> = journal.resized().map(|resized| resized.member).collect();
        let resized = || {
            let members = header.members.iter().enumerate().filter(|(index, identity)| resized.contains(index) && !identity.device);
            members.filter_map(|(index, identity)| Some((self.target(index)?, identity.size)))
        };
        // What was cut off comes back first, as a hole.
        for (target, size) in resized() {
            if length_of(target)? < size {
                set_length(target, size)?;
            }
        }
        let mut unsynced = 0;
        journal.entries(true, true, &mut |loaded| -> Result<(), UndoError> {
            if self.watch.stopped() {
                return Err(UndoError::Interrupted);
            }
            let written = self.put_back(loaded, lean, undone)?;
            undone.bytes += written;
            unsynced += written;
            self.watch.advanced(loaded.entry.range.length());
            if unsynced >= SYNC_BYTES {
                unsynced = 0;
                self.sync()?;
                self.refuse_lost_locks()?;
            }
            Ok(())
        })?;
        self.refuse_lost_locks()?;
        for (target, size) in resized() {
            if again || length_of(target)? > size {
                set_length(target, size)?;
            }
        }
        self.sync()?;
        if undone.bytes == 0 {
            undone.origin = Origin::Cache; // nothing was read back
        }
        self.read_back(journal, undone)
    }

    fn put_back(&self, loaded: &Loaded, lean: bool, undone: &mut Undone) -> Result<u64, UndoError> {
        let Entry { member, old, range, .. } = loaded.entry;
        let Some(target) = self.target(member) else { return Ok(0) };
        let write = |offset: u64, bytes: &[u8]| {
            self.watch.spend(bytes.len() as u64);
            if lean && target.storage.origin() != Origin::Cache && holds(target.storage, offset, bytes) {
                return Ok(());
            }
            let Err(error) = target.storage.write(offset, bytes) else { return Ok(()) };
            if never_changed(target.storage, offset, bytes) {
                return Ok(());
            }
            Err(self.member_failed(target, format!("writing {} bytes at offset {offset:#x}", bytes.len()), error))
        };
        match old {
            Old::Data => write(range.start, &loaded.old)?,
            Old::Hole => {
                let hole = target.storage.next_data(range.start).is_ok_and(|data| data.is_none_or(|data| data >= range.end));
                if hole {
                    return Ok(0);
                }
                // Else what was reserved would be given away.
                if !lean || target.storage.punch(range.start..range.end).is_err() {
                    write(range.start, &vec![0; range.length() as usize])?;
                }
            }
            Old::Unreadable => {
                undone.kept.push((member, range));
                return Ok(0);
            }
            // Goes away with the length.
            Old::Beyond => return Ok(0),
        }
        Ok(range.length())
    }

    /// Gives files the times back that they had: what they hold now is what they held then. Where somebody else's bytes were written over,
    /// or the system doesn't let us, the new time is as true.
    fn restore_times(&self, journal: &Journal) {
        if self.force_changed {
            return;
        }
        for (target, identity) in self.targets.iter().zip(&journal.header().members) {
            if let (Some(target), Some(time)) = (target, identity.modified) {
                let _ = target.storage.set_modified(time);
            }
        }
    }

    fn sync(&self) -> Result<(), UndoError> {
        for target in self.targets.iter().flatten() {
            target.storage.sync().map_err(|error| self.member_failed(target, "can't be synced".into(), error))?;
        }
        Ok(())
    }

    /// Nothing is written to a member whose locks a server took away: somebody else may write there.
    fn refuse_lost_locks(&self) -> Result<(), UndoError> {
        for target in self.targets.iter().flatten() {
            if let Some(why) = target.storage.lost_locks() {
                return Err(self.member_failed(target, "isn't written to any more".into(), io::Error::other(why)));
            }
        }
        Ok(())
    }

    /// What the system said of a member; what was given up since the run is to end is an interruption.
    fn member_failed(&self, target: &UndoTarget, doing: String, error: io::Error) -> UndoError {
        if error.kind() == io::ErrorKind::TimedOut && self.watch.stopped() {
            return UndoError::Interrupted;
        }
        UndoError::Member { member: target.name.clone(), doing, error }
    }

    /// Of each unit the oldest bytes must be there now.
    fn read_back(&self, journal: &Journal, undone: &mut Undone) -> Result<(), UndoError> {
        (self.phases)("reading back", journal.entry_bytes()?);
        for target in self.targets.iter().flatten() {
            target.storage.forget_cached();
            undone.origin = undone.origin.min(target.storage.origin());
        }
        self.sift(journal, Wanted::Oldest)
    }
}

/// Whether bytes that can't be written are there already, for certain: a part of a block that can't be read can't be written either, and
/// was never changed then.
fn never_changed(storage: &dyn Storage, offset: u64, bytes: &[u8]) -> bool {
    let there = holds(storage, offset, bytes);
    // The page cache may show bytes that the medium doesn't hold; but then it holds the block as a whole.
    let block = ByteRange::new(offset, offset + bytes.len() as u64).widened(storage.block_bytes(), u64::MAX);
    let sick = || storage.read(block.start, &mut Buffer::new(block.length() as usize)).is_err();
    there && (storage.origin() != Origin::Cache || sick())
}

/// Whether there is no room left; a server may say so only when all is synced.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Whether these bytes are there already, read past the page cache where that works.
fn holds(storage: &dyn Storage, offset: u64, bytes: &[u8]) -> bool {
    let mut now = Buffer::new(bytes.len());
    storage.read_medium(offset, &mut now).is_ok_and(|held| held == bytes.len()) && now[..] == *bytes
}

fn set_length(target: &UndoTarget, length: u64) -> Result<(), UndoError> {
    let doing = format!("setting its length to {length} bytes");
    target.storage.set_length(length).map_err(|error| UndoError::Member { member: target.name.clone(), doing, error })
}

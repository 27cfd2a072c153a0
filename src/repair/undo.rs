//! Puts back what an in-place repair overwrote.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use super::{
    image::Phases,
    journal::{Entry, Identity, Journal, JournalError, Loaded, Old, SAMPLE_BYTES, State, UNIT_BYTES},
};
use crate::{
    member::MemberName,
    scan::Watch,
    sys::{buffer::Buffer, storage::Storage},
    vote::ByteRange,
};

/// Units that look foreign to one session and may be explained by another, held at most: 16 MiB.
const SUSPECTS_MAX: usize = 1 << 20;
/// Bytes written between two syncs of the members.
const SYNC_BYTES: u64 = 256 << 20;
/// Longest entry in bytes.
const BYTES_MAX: usize = 1 << 20;

/// A member that is to be put back.
pub struct UndoTarget<'a> {
    /// As the user knows it.
    pub name: MemberName,
    /// The way to write to it.
    pub storage: &'a dyn Storage,
    /// Its inode, of a file.
    pub inode: u64,
    /// What its file system calls itself; zeros where that isn't known.
    pub file_system: [u8; 16],
    /// Whether the user says that it is the one, though it moved.
    pub mapped: bool,
}

/// Why nothing, or not all, was put back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another file than the one that was repaired.
    #[error("{member}: isn't the member that the journal tells of: {what}\nhint: name where that one is now with --map OLD=NEW")]
    Other {
        /// Which one.
        member: MemberName,
        /// What is different.
        what: String,
    },
    /// Somebody wrote to it since.
    #[error(
        "{member}: somebody wrote to it since the repair: {what}; nothing was put back\nhint: --force changed puts back the old bytes over what is there now"
    )]
    Changed {
        /// Which one.
        member: MemberName,
        /// What is different.
        what: String,
    },
    /// The system refused something.
    #[error("{member}: {doing}: {error}\nhint: look at the storage that holds it, and run this again: it begins anew")]
    Member {
        /// Which one.
        member: MemberName,
        /// What was tried.
        doing: String,
        /// The system's word.
        error: io::Error,
    },
    /// What was put back isn't what is read back.
    #[error(
        "{member}: reads back differently than it was put back, at offset {offset:#x}\nhint: don't trust this storage; run this again once it is mended"
    )]
    ReadBack {
        /// Which one.
        member: MemberName,
        /// Where, in bytes.
        offset: u64,
    },
    /// A signal.
    #[error("interrupted; members are partly put back\nhint: run this again: it begins anew")]
    Interrupted,
}

/// What was put back, or would be.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// Bytes written to members.
    pub bytes: u64,
    /// Ranges that had been unreadable: what was written there stays.
    pub kept: Vec<(usize, ByteRange)>,
    /// Whether all was read back past the page cache.
    pub from_medium: bool,
}

/// An undo: the journal, and where its members are now.
pub struct Undo<'a> {
    /// One for each member of the journal; none for those that nothing was written to.
    pub targets: &'a [Option<UndoTarget<'a>>],
    /// Old bytes are put back whatever is there now.
    pub force_changed: bool,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
}

/// What the entries of a journal add up to for one member.
#[derive(Clone, Debug, Default)]
pub struct MemberSum {
    /// Entries.
    pub ranges: u64,
    /// Bytes that were rewritten, cut off or added.
    pub bytes: u64,
    /// Bytes that could not be read.
    pub unreadable_bytes: u64,
    /// Whether it was cut.
    pub cut: bool,
}

/// Adds up the entries, member by member.
///
/// # Errors
/// Where the journal can't be read.
pub fn sums(journal: &Journal) -> Result<Vec<MemberSum>, JournalError> {
    let mut sums = vec![MemberSum::default(); journal.header().members.len()];
    journal.entries(false, false, &mut |loaded| -> Result<(), JournalError> {
        let Entry { member, old, cut, range } = loaded.entry;
        let sum = &mut sums[member];
        sum.ranges += 1;
        sum.bytes += range.length();
        sum.unreadable_bytes += if old == Old::Unreadable { range.length() } else { 0 };
        sum.cut |= cut;
        Ok(())
    })?;
    Ok(sums)
}

impl Undo<'_> {
    fn target(&self, member: usize) -> Option<&UndoTarget<'_>> {
        self.targets.get(member)?.as_ref()
    }

    /// Looks whether all can be put back, and writes nothing.
    ///
    /// # Errors
    /// See [`UndoError`]: the first member that isn't as the repair left it.
    pub fn examine(&self, journal: &Journal) -> Result<(), UndoError> {
        let touched = Touched::of(journal)?;
        for (index, identity) in journal.header().members.iter().enumerate() {
            let Some(target) = self.target(index) else { continue };
            if identity.device && length_of(target)? < identity.size {
                return Err(UndoError::Other { member: target.name.clone(), what: "it is smaller".into() });
            }
            match recognise(target, identity, &touched.0[index]) {
                Err(UndoError::Changed { .. }) if self.force_changed => {}
                recognised => recognised?,
            }
        }
        if self.force_changed {
            return Ok(());
        }
        // The places first: they say more than a time.
        (self.phases)("comparing", 0);
        self.sift(journal, Wanted::OldOrNew)?;
        let ended = journal.ended().into_iter().flat_map(|ended| ended.stamps.iter().enumerate());
        for (index, left) in ended {
            if let (Some(target), Some(left)) = (self.target(index), left) {
                let failed = |error| UndoError::Member { member: target.name.clone(), doing: "can't be looked at".into(), error };
                let Some(now) = target.storage.stamp().map_err(failed)? else { continue };
                let moved = target.mapped; // moving a file changes its change time
                let what = match (now.length != left.length, now.modified != left.modified, now.changed != left.changed && !moved) {
                    (true, ..) => format!("its size went from {} to {} bytes", left.length, now.length),
                    (_, true, _) => "its modification time moved".into(),
                    (.., true) => "its change time moved".into(),
                    _ => continue,
                };
                return Err(UndoError::Changed { member: target.name.clone(), what });
            }
        }
        Ok(())
    }

    /// Looks for units that hold something else than `wanted`, and complains of those that no other session explains.
    fn sift(&self, journal: &Journal, wanted: Wanted) -> Result<(), UndoError> {
        let mut suspects: Vec<Suspect> = Vec::new();
        let mut bytes = Buffer::new(BYTES_MAX);
        journal.entries(false, false, &mut |loaded| -> Result<(), UndoError> {
            if self.watch.stopped() {
                return Err(UndoError::Interrupted);
            }
            let (member, session) = (loaded.entry.member, loaded.session);
            suspects.extend(self.foreign_units(loaded, size_before(journal, loaded), wanted, &mut bytes)?.into_iter().map(|at| Suspect {
                member,
                at,
                session,
            }));
            if suspects.len() >= SUSPECTS_MAX {
                self.explain(journal, wanted, &mut suspects)?;
            }
            Ok(())
        })?;
        self.explain(journal, wanted, &mut suspects)
    }

    /// A unit that one session can't explain was perhaps rewritten by another: after a crash members are neither old nor new.
    fn explain(&self, journal: &Journal, wanted: Wanted, suspects: &mut Vec<Suspect>) -> Result<(), UndoError> {
        if suspects.is_empty() {
            return Ok(());
        }
        suspects.sort_unstable();
        suspects.dedup();
        let mut explained = vec![false; suspects.len()];
        let mut bytes = Buffer::new(BYTES_MAX);
        journal.entries(false, false, &mut |loaded| -> Result<(), UndoError> {
            let Entry { member, range, .. } = loaded.entry;
            let first = range.start - range.start % UNIT_BYTES;
            let from = suspects.partition_point(|suspect| (suspect.member, suspect.at) < (member, first));
            let near = suspects[from..].iter().take_while(|suspect| suspect.member == member && suspect.at < range.end);
            for (suspect, explained) in near.zip(&mut explained[from..]).filter(|(_, explained)| !**explained) {
                *explained = match wanted {
                    Wanted::OldOrNew => {
                        !self.foreign_units(loaded, size_before(journal, loaded), wanted, &mut bytes)?.contains(&suspect.at)
                    }
                    // What was there before all of it counts, and an earlier session tells that.
                    Wanted::Oldest => loaded.session < suspect.session,
                };
            }
            Ok(())
        })?;
        match suspects.iter().zip(&explained).find(|&(_, &explained)| !explained) {
            Some((suspect, _)) if wanted == Wanted::OldOrNew => Err(self.changed_at(suspect.member, suspect.at)),
            Some((suspect, _)) => Err(UndoError::ReadBack { member: self.name_of(suspect.member), offset: suspect.at }),
            None => {
                suspects.clear();
                Ok(())
            }
        }
    }

    fn name_of(&self, member: usize) -> MemberName {
        self.target(member).map_or_else(|| MemberName::from(std::path::Path::new("?")), |target| target.name.clone())
    }

    fn changed_at(&self, member: usize, at: u64) -> UndoError {
        UndoError::Changed { member: self.name_of(member), what: format!("neither its old nor its new bytes are at offset {at:#x}") }
    }

    /// Where the units of an entry begin that don't hold what is `wanted`. The member had `size_before` bytes before the repair.
    fn foreign_units(&self, loaded: &Loaded, size_before: u64, wanted: Wanted, bytes: &mut Buffer) -> Result<Vec<u64>, UndoError> {
        let Loaded { entry, old_hashes, new_hashes, .. } = loaded;
        let Some(target) = self.target(entry.member) else { return Ok(Vec::new()) };
        let range = entry.range;
        self.watch.spend(range.length());
        let bytes = &mut bytes[..range.length() as usize];
        let read = match wanted {
            Wanted::OldOrNew => target.storage.read(range.start, bytes),
            Wanted::Oldest => target.storage.read_medium(range.start, bytes),
        };
        let held = match read {
            Ok(held) => held as u64,
            Err(_) if entry.old == Old::Unreadable => return Ok(Vec::new()),
            Err(error) => {
                let doing = format!("reading {} bytes at offset {:#x}", range.length(), range.start);
                return Err(UndoError::Member { member: target.name.clone(), doing, error });
            }
        };
        let mut foreign = Vec::new();
        let first = range.start - range.start % UNIT_BYTES;
        for (index, unit) in (first..range.end).step_by(UNIT_BYTES as usize).enumerate() {
            let part = ByteRange::new(unit.max(range.start), (unit + UNIT_BYTES).min(range.end));
            let ends_before = range.start + held < part.end;
            let now = &bytes[(part.start - range.start) as usize..(part.end - range.start) as usize];
            let hash = xxh3_64(now);
            let is_new = wanted == Wanted::OldOrNew && new_hashes.get(index) == Some(&hash) && !ends_before;
            let is_old = match entry.old {
                Old::Data => old_hashes.get(index) == Some(&hash) && !ends_before,
                Old::Unreadable => true,
                Old::Hole => crate::vote::is_zero(now) && !ends_before,
                // Not there yet, or a hole in front of what is.
                Old::Beyond => ends_before || crate::vote::is_zero(now),
            };
            // Cut off; or a hole, where an undo that was cut off had got no further.
            let is_cut = wanted == Wanted::OldOrNew && entry.cut && (ends_before || crate::vote::is_zero(now));
            // What a later session found behind the member's first end goes away with its length, and was perhaps never more than a hole.
            let is_gone = part.end > size_before && (ends_before || (part.start >= size_before && crate::vote::is_zero(now)));
            if !(is_new || is_old || is_cut || is_gone) {
                foreign.push(unit);
            }
        }
        Ok(foreign)
    }

    /// Puts everything back. `journal` was examined before.
    ///
    /// # Errors
    /// See [`UndoError`]; running it again begins anew.
    pub fn restore(&self, journal: Journal) -> Result<Undone, UndoError> {
        let header = journal.header().clone();
        let name = journal.name().clone();
        let mut undone = Undone { from_medium: true, ..Undone::default() };
        // What is noted here tells a later repair that members are neither as it left them nor as they were. Its records come behind
        // those that are read below.
        let note = |journal: Journal, done: bool| {
            let failed = |error| UndoError::Member { member: name.clone(), doing: "the journal can't be written to".into(), error };
            journal.noted(done).map_err(failed)
        };
        // An undo that was begun may have set lengths that never reached stable storage.
        let again = journal.state() == State::UndoBegun;
        let journal = if again { journal } else { note(journal, false)? };
        (self.phases)("putting back", 0);
        for (index, identity) in header.members.iter().enumerate() {
            // What was cut off comes back first, as a hole.
            if let Some(target) = self.target(index)
                && !identity.device
                && length_of(target)? < identity.size
            {
                set_length(target, identity.size)?;
            }
        }
        let mut unsynced = 0;
        journal.entries(true, true, &mut |loaded| -> Result<(), UndoError> {
            if self.watch.stopped() {
                return Err(UndoError::Interrupted);
            }
            let written = self.put_back(loaded, &header.members[loaded.entry.member], &mut undone)?;
            undone.bytes += written;
            unsynced += written;
            self.watch.advanced(written);
            if unsynced >= SYNC_BYTES {
                unsynced = 0;
                self.sync()?;
            }
            Ok(())
        })?;
        for (index, identity) in header.members.iter().enumerate() {
            if let Some(target) = self.target(index)
                && !identity.device
                && (again || length_of(target)? > identity.size)
            {
                set_length(target, identity.size)?;
            }
        }
        self.sync()?;
        self.read_back(&journal, &mut undone)?;
        note(journal, true)?;
        undone.kept.sort_unstable();
        undone.kept.dedup();
        Ok(undone)
    }

    fn put_back(&self, loaded: &Loaded, identity: &Identity, undone: &mut Undone) -> Result<u64, UndoError> {
        let Entry { member, old, range, .. } = loaded.entry;
        let Some(target) = self.target(member) else { return Ok(0) };
        let write = |offset: u64, bytes: &[u8]| {
            self.watch.spend(bytes.len() as u64);
            let Err(error) = target.storage.write(offset, bytes) else { return Ok(()) };
            if never_changed(target.storage, offset, bytes) {
                return Ok(());
            }
            let doing = format!("writing {} bytes at offset {offset:#x}", bytes.len());
            Err(UndoError::Member { member: target.name.clone(), doing, error })
        };
        match old {
            Old::Data => write(range.start, &loaded.old)?,
            Old::Hole => {
                let hole = target.storage.next_data(range.start).is_ok_and(|data| data.is_none_or(|data| data >= range.end));
                if hole {
                    return Ok(0);
                }
                write(range.start, &vec![0; range.length() as usize])?;
            }
            Old::Unreadable => {
                undone.kept.push((member, range));
                return Ok(0);
            }
            // Cut off at the end, where the member had ended when the repair began; a later session found it longer already.
            Old::Beyond => {
                debug_assert!(range.start >= identity.size);
                return Ok(0);
            }
        }
        Ok(range.length())
    }

    fn sync(&self) -> Result<(), UndoError> {
        for target in self.targets.iter().flatten() {
            let failed = |error| UndoError::Member { member: target.name.clone(), doing: "can't be synced".into(), error };
            target.storage.sync().map_err(failed)?;
        }
        Ok(())
    }

    /// Of each unit the oldest bytes must be there now.
    fn read_back(&self, journal: &Journal, undone: &mut Undone) -> Result<(), UndoError> {
        (self.phases)("reading back", 0);
        for target in self.targets.iter().flatten() {
            target.storage.forget_cached();
            undone.from_medium &= target.storage.reaches_medium();
        }
        self.sift(journal, Wanted::Oldest)
    }
}

/// What a unit may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// What was there before, or what was written.
    OldOrNew,
    /// What was there before the first session.
    Oldest,
}

/// A unit that its session can't explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Suspect {
    member: usize,
    /// In bytes.
    at: u64,
    session: u32,
}

/// The ranges that entries touch, for each member: samples there say nothing.
struct Touched(Vec<Vec<ByteRange>>);

impl Touched {
    fn of(journal: &Journal) -> Result<Self, JournalError> {
        // A few samples a member: only those that overlap an entry matter.
        let members = &journal.header().members;
        let mut touched = vec![Vec::new(); members.len()];
        journal.entries(false, false, &mut |loaded| -> Result<(), JournalError> {
            let Entry { member, range, .. } = loaded.entry;
            for sample in &members[member].samples {
                let place = ByteRange::new(sample.offset, sample.offset.saturating_add(SAMPLE_BYTES));
                let list: &mut Vec<ByteRange> = &mut touched[member];
                if place.and(range).is_some() && !list.contains(&place) {
                    list.push(place);
                }
            }
            Ok(())
        })?;
        Ok(Self(touched))
    }
}

/// Whether it is the member that was repaired.
fn recognise(target: &UndoTarget, identity: &Identity, touched: &[ByteRange]) -> Result<(), UndoError> {
    let other = |what: String| Err(UndoError::Other { member: target.name.clone(), what });
    let (mut same, mut first_other) = (0, None);
    let mut others = 0;
    let mut bytes = vec![0; SAMPLE_BYTES as usize];
    for sample in &identity.samples {
        let place = ByteRange::new(sample.offset, sample.offset.saturating_add(SAMPLE_BYTES));
        if touched.contains(&place) {
            continue;
        }
        let length = identity.size.saturating_sub(sample.offset).min(SAMPLE_BYTES) as usize;
        match target.storage.read(sample.offset, &mut bytes[..length]) {
            Ok(held) if held == length && xxh3_64(&bytes[..length]) == sample.hash => same += 1,
            Ok(_) => {
                others += 1;
                first_other.get_or_insert(sample.offset);
            }
            Err(_) => {} // what can't be read says nothing
        }
    }
    if !identity.device && !target.mapped && target.inode != identity.inode {
        let what = "another file has its name now".to_owned();
        // A copy is known by its bytes; but somebody made it.
        let copy = same > others;
        return if copy { Err(UndoError::Changed { member: target.name.clone(), what }) } else { other(what) };
    }
    if let Some(offset) = first_other {
        let what = format!("at offset {offset:#x}, which the repair didn't touch, it holds other bytes");
        // Under a new name only its bytes speak for it.
        return if target.mapped && same < others { other(what) } else { Err(UndoError::Changed { member: target.name.clone(), what }) };
    }
    let known = |id: &[u8; 16]| *id != [0; 16];
    if same == 0
        && !target.mapped
        && known(&target.file_system)
        && known(&identity.file_system)
        && target.file_system != identity.file_system
    {
        return other("it lies on another file system".into());
    }
    Ok(())
}

/// Whether bytes that can't be written are there already, for certain: a part of a block that can't be read can't be written either, and
/// was never changed then.
fn never_changed(storage: &dyn Storage, offset: u64, bytes: &[u8]) -> bool {
    let mut now = Buffer::new(bytes.len());
    let there = storage.read_medium(offset, &mut now).is_ok_and(|held| held == bytes.len()) && now[..] == *bytes;
    // The page cache may show bytes that the medium doesn't hold; but then it holds the block as a whole.
    let block = ByteRange::new(offset, offset + bytes.len() as u64).widened(storage.block_bytes(), u64::MAX);
    let sick = || storage.read(block.start, &mut Buffer::new(block.length() as usize)).is_err();
    there && (storage.reaches_medium() || sick())
}

/// Bytes that the entry's member had before the repair.
fn size_before(journal: &Journal, loaded: &Loaded) -> u64 {
    journal.header().members[loaded.entry.member].size
}

fn length_of(target: &UndoTarget) -> Result<u64, UndoError> {
    let failed = |error| UndoError::Member { member: target.name.clone(), doing: "can't be looked at".into(), error };
    target.storage.length().map_err(failed)
}

fn set_length(target: &UndoTarget, length: u64) -> Result<(), UndoError> {
    let doing = format!("setting its length to {length} bytes");
    target.storage.set_length(length).map_err(|error| UndoError::Member { member: target.name.clone(), doing, error })
}

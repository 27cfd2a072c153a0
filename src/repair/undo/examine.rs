//! Whether members are as the repair left them, and afterwards, whether they are as they were before it.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use super::target::{Undo, UndoError, UndoTarget, length_of};
use crate::{
    member::MemberName,
    repair::journal::{ENTRY_RANGE_MAX, Entry, Identity, Journal, JournalError, Loaded, Old, SAMPLE_BYTES, UNIT_BYTES},
    sys::{
        buffer::{ALIGNMENT, Buffer},
        storage::Storage,
    },
    vote::{ByteRange, mask_of},
};

/// Bytes read beyond an entry, in the hope that the next ones lie there.
const AHEAD_BYTES: usize = 128 << 10;
/// Units that look foreign to one session and may be explained by another, held at most: 16 MiB.
const SUSPECTS_MAX: usize = 1 << 20;

impl Undo<'_> {
    /// Looks whether all can be put back, and writes nothing.
    ///
    /// # Errors
    /// See [`UndoError`]: the first member that isn't as the repair left it.
    pub fn examine(&self, journal: &Journal) -> Result<(), UndoError> {
        self.examine_for(journal, Wanted::OldOrNew)
    }

    /// The same before a repair is gone on with: what can't be read is to be healed.
    ///
    /// # Errors
    /// See [`UndoError`].
    pub fn examine_begun(&self, journal: &Journal) -> Result<(), UndoError> {
        self.examine_for(journal, Wanted::Readable)
    }

    fn examine_for(&self, journal: &Journal, wanted: Wanted) -> Result<(), UndoError> {
        let touched = touched_samples(journal)?;
        for (index, identity) in journal.header().members.iter().enumerate() {
            let Some(target) = self.target(index) else { continue };
            if identity.device && length_of(target)? < identity.size {
                return Err(UndoError::Other { member: target.name.clone(), what: "it is smaller".into() });
            }
            match refuse_other_length(target, identity, index, journal) {
                Err(UndoError::Changed { .. }) if self.force_changed => {}
                judged => judged?,
            }
            match recognise(target, identity, &touched[index]) {
                Err(UndoError::Changed { .. }) if self.force_changed => {}
                recognised => recognised?,
            }
        }
        if self.force_changed {
            return Ok(());
        }
        // The places first: they say more than a time.
        (self.phases)("comparing", journal.entry_bytes()?);
        self.sift(journal, wanted)?;
        let ended = journal.ended().into_iter().flat_map(|ended| ended.stamps.iter().enumerate().map(|it| (it, ended.synced)));
        for ((index, left), synced) in ended {
            if let (Some(target), Some(left), 1) = (self.target(index), left, synced >> index & 1) {
                let failed = |error| UndoError::Member { member: target.name.clone(), doing: "can't be looked at".into(), error };
                let Some(now) = target.storage.stamp().map_err(failed)? else { continue };
                let moved = target.mapped || target.marked; // either changes its change time
                let what = match (now.length != left.length, now.modified != left.modified, now.changed != left.changed && !moved) {
                    (true, ..) => format!("its size went from {} to {} bytes: somebody wrote to it", left.length, now.length),
                    (_, true, _) => "its modification time moved: somebody wrote to it".into(),
                    (.., true) => "its change time moved: somebody wrote to it".into(),
                    _ => continue,
                };
                return Err(UndoError::Changed { member: target.name.clone(), what });
            }
        }
        Ok(())
    }

    /// Looks for units that hold something else than `wanted`, and complains of those that no other session explains.
    pub(super) fn sift(&self, journal: &Journal, wanted: Wanted) -> Result<(), UndoError> {
        let mut suspects: Vec<Suspect> = Vec::new();
        let mut ahead = Ahead::new();
        journal.entries(false, false, &mut |loaded| -> Result<(), UndoError> {
            if self.watch.stopped() {
                return Err(UndoError::Interrupted);
            }
            let (member, record) = (loaded.entry.member, loaded.record);
            suspects.extend(self.foreign_units(loaded, size_before(journal, loaded), wanted, &mut ahead)?.into_iter().map(|at| Suspect {
                member,
                at,
                record,
            }));
            self.watch.advanced(loaded.entry.range.length());
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
        let mut ahead = Ahead::new();
        journal.entries(false, false, &mut |loaded| -> Result<(), UndoError> {
            let Entry { member, range, .. } = loaded.entry;
            let first = range.start - range.start % UNIT_BYTES;
            let from = suspects.partition_point(|suspect| (suspect.member, suspect.at) < (member, first));
            let near = suspects[from..].iter().take_while(|suspect| suspect.member == member && suspect.at < range.end);
            let mut near = near.zip(&mut explained[from..]).filter(|(_, explained)| !**explained).peekable();
            if near.peek().is_none() {
                return Ok(());
            }
            let foreign = self.foreign_units(loaded, size_before(journal, loaded), wanted, &mut ahead)?;
            for (suspect, explained) in near {
                *explained = match wanted {
                    Wanted::OldOrNew | Wanted::Readable => !foreign.contains(&suspect.at),
                    // What was there before all of it counts, and an earlier batch tells that.
                    Wanted::Oldest => loaded.record < suspect.record,
                };
            }
            Ok(())
        })?;
        let kept =
            mask_of((0..journal.header().members.len()).filter(|&member| wanted == Wanted::Oldest || !self.was_not_kept(journal, member)));
        let unexplained = suspects.iter().zip(&explained).filter(|&(_, &explained)| !explained);
        match unexplained.map(|(suspect, _)| suspect).find(|suspect| kept >> suspect.member & 1 == 1) {
            Some(suspect) if wanted == Wanted::Oldest => {
                Err(UndoError::ReadBack { member: self.name_of(suspect.member), offset: suspect.at })
            }
            Some(suspect) => Err(self.changed_at(suspect.member, suspect.at)),
            None => {
                suspects.clear();
                Ok(())
            }
        }
    }

    pub(super) fn name_of(&self, member: usize) -> MemberName {
        self.target(member).map_or_else(|| MemberName::from(std::path::Path::new("?")), |target| target.name.clone())
    }

    fn changed_at(&self, member: usize, at: u64) -> UndoError {
        UndoError::Changed {
            member: self.name_of(member),
            what: format!(
                "neither its old nor its new bytes are at offset {at:#x}: somebody wrote there since, or its medium doesn't keep what is written"
            ),
        }
    }

    /// Whether the last session found that the member didn't keep what was written to it, and nobody wrote to it since: what it holds instead
    /// is nobody's.
    fn was_not_kept(&self, journal: &Journal, member: usize) -> bool {
        let Some(ended) = journal.ended().filter(|ended| ended.synced >> member & 1 == 0) else { return false };
        let now = self.target(member).and_then(|target| target.storage.stamp().ok().flatten());
        now.is_some() && ended.stamps.get(member) == Some(&now)
    }

    /// Where the units of an entry begin that don't hold what is `wanted`. The member had `size_before` bytes before the repair.
    fn foreign_units(&self, loaded: &Loaded, size_before: u64, wanted: Wanted, ahead: &mut Ahead) -> Result<Vec<u64>, UndoError> {
        let Loaded { entry, old_hashes, new_hashes, .. } = loaded;
        let Some(target) = self.target(entry.member) else { return Ok(Vec::new()) };
        let range = entry.range;
        self.watch.spend(range.length());
        let bytes = match ahead.bytes(target.storage, entry, wanted) {
            Ok(bytes) => bytes,
            Err(_) if entry.old == Old::Unreadable || wanted == Wanted::Readable => return Ok(Vec::new()),
            Err(error) => {
                let doing = format!("reading {} bytes at offset {:#x}", range.length(), range.start);
                return Err(UndoError::Member { member: target.name.clone(), doing, error });
            }
        };
        let held = bytes.len() as u64;
        let mut foreign = Vec::new();
        let first = range.start - range.start % UNIT_BYTES;
        for (index, unit) in (first..range.end).step_by(UNIT_BYTES as usize).enumerate() {
            let part = ByteRange::new(unit.max(range.start), (unit + UNIT_BYTES).min(range.end));
            let ends_before = range.start + held < part.end;
            let within = |at: u64| ((at - range.start) as usize).min(bytes.len());
            let now = &bytes[within(part.start)..within(part.end)];
            let hash = xxh3_64(now);
            let is_new = wanted != Wanted::Oldest && new_hashes.get(index) == Some(&hash) && !ends_before;
            let is_old = match entry.old {
                Old::Data => old_hashes.get(index) == Some(&hash) && !ends_before,
                Old::Unreadable => true,
                Old::Hole => crate::vote::is_zero(now) && !ends_before,
                // Not there yet, or a hole in front of what is.
                Old::Beyond => ends_before || crate::vote::is_zero(now),
            };
            // Cut off; or a hole, where an undo that was cut off had got no further.
            let is_cut = wanted != Wanted::Oldest && entry.cut && (ends_before || crate::vote::is_zero(now));
            // What a later session found behind the member's first end goes away with its length, and was perhaps never more than a hole.
            let is_gone = part.end > size_before && (ends_before || (part.start >= size_before && crate::vote::is_zero(now)));
            if !(is_new || is_old || is_cut || is_gone) {
                foreign.push(unit);
            }
        }
        Ok(foreign)
    }
}

/// A member's bytes, read a little ahead: entries are often near to each other.
struct Ahead {
    bytes: Buffer,
    /// Whose bytes are held, from where on, how many, and read by which way.
    held: Option<(usize, ByteRange, Wanted)>,
}

impl Ahead {
    fn new() -> Self {
        Self { bytes: Buffer::new(ENTRY_RANGE_MAX as usize + AHEAD_BYTES), held: None }
    }

    /// What the member holds now of an entry's range; less only at its end.
    fn bytes(&mut self, storage: &dyn Storage, entry: &Entry, wanted: Wanted) -> io::Result<&[u8]> {
        let range = entry.range;
        let known = self
            .held
            .filter(|&(member, held, way)| member == entry.member && way == wanted && held.start <= range.start && range.end <= held.end);
        let held = if let Some((_, held, _)) = known {
            held
        } else {
            self.held = None;
            let start = range.start - range.start % ALIGNMENT as u64;
            let length = (range.end - start) as usize + AHEAD_BYTES - ALIGNMENT;
            let mut read = |start: u64, length: usize| match wanted {
                Wanted::OldOrNew | Wanted::Readable => storage.read(start, &mut self.bytes[..length]),
                Wanted::Oldest => storage.read_medium(start, &mut self.bytes[..length]),
            };
            let held = match read(start, length) {
                Ok(count) if start + count as u64 > range.start => ByteRange::new(start, start + count as u64),
                // Perhaps it is only a neighbour that can't be read.
                _ => ByteRange::new(range.start, range.start + read(range.start, range.length() as usize)? as u64),
            };
            self.held = Some((entry.member, held, wanted));
            held
        };
        let at = (range.start - held.start) as usize;
        let end = (held.end.min(range.end) - held.start) as usize;
        Ok(&self.bytes[at..end.max(at)])
    }
}

/// What a unit may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What was there before, or what was written.
    OldOrNew,
    /// The same, as far as it can be read.
    Readable,
    /// What was there before the first session.
    Oldest,
}

/// A unit that its batch can't explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Suspect {
    member: usize,
    /// In bytes.
    at: u64,
    /// Which record it is of.
    record: u64,
}

/// The samples that entries touch, for each member: they say nothing.
fn touched_samples(journal: &Journal) -> Result<Vec<Vec<ByteRange>>, JournalError> {
    let members = &journal.header().members;
    let mut touched: Vec<Vec<ByteRange>> = vec![Vec::new(); members.len()];
    journal.entries(false, false, &mut |loaded| -> Result<(), JournalError> {
        let Entry { member, range, .. } = loaded.entry;
        for sample in &members[member].samples {
            let place = ByteRange::new(sample.offset, sample.offset.saturating_add(SAMPLE_BYTES));
            if place.and(range).is_some() && !touched[member].contains(&place) {
                touched[member].push(place);
            }
        }
        Ok(())
    })?;
    Ok(touched)
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

/// The length must be one that the repair can have left, or that was on the way.
fn refuse_other_length(target: &UndoTarget, identity: &Identity, index: usize, journal: &Journal) -> Result<(), UndoError> {
    if identity.device {
        return Ok(());
    }
    let (mut least, mut most) = (identity.size, identity.size);
    for resized in journal.resized().filter(|resized| resized.member == index) {
        least = least.min(resized.from).min(resized.to);
        most = most.max(resized.from).max(resized.to);
    }
    let now = length_of(target)?;
    if (least..=most).contains(&now) {
        return Ok(());
    }
    let what =
        format!("it has {now} bytes, and the repair left {}", if least == most { least.to_string() } else { format!("{least} to {most}") });
    let member = target.name.clone();
    if now < least {
        // With what the journal has of it, it would be a file that never was.
        let what = format!("{what}; what it lost since isn't in the journal: bring a copy of it back first");
        return Err(UndoError::Other { member, what });
    }
    Err(UndoError::Changed { member, what })
}

/// Bytes that the entry's member had before the repair.
fn size_before(journal: &Journal, loaded: &Loaded) -> u64 {
    journal.header().members[loaded.entry.member].size
}

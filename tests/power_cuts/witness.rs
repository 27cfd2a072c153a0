//! Stands beside every write to a member: what it replaces must be safe in the journal by then.

use std::{io, path::Path, sync::Arc};

use quorum_img::{
    member::MemberName,
    repair::journal::{Journal, JournalError, Loaded, Old},
    sys::storage::Storage,
};

use crate::{
    JOURNAL,
    platter::{Platter, SECTOR},
    schedule::Original,
};

/// What an undo would make of a member's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Nothing.
    No,
    /// What is kept here.
    Byte(u8),
    /// It could not be read, and is left.
    Unreadable,
    /// It is cut off.
    Beyond,
}

/// Knows what the members were before the first repair, and reads the journal as a power cut would leave it.
pub struct Witness {
    originals: Arc<Vec<Original>>,
    /// The journal's file, and which state of it was read.
    read: Option<(usize, u64)>,
    /// What it keeps of each member's bytes.
    kept: Vec<Vec<Kept>>,
}

impl Witness {
    pub fn new(originals: Arc<Vec<Original>>) -> Self {
        Self { originals, read: None, kept: Vec::new() }
    }

    /// `start..end` of a member is about to change.
    pub fn look(&mut self, journal: Option<(usize, &Platter)>, member: usize, start: u64, end: u64) {
        let (file, journal) = journal.expect("a member is written to, and no journal is sure to be there");
        if self.read != Some((file, journal.generation)) {
            self.read = Some((file, journal.generation));
            self.kept = self.originals.iter().map(|original| vec![Kept::No; original.bytes.len()]).collect();
            // An undo goes backwards, so the first entry has the last word.
            for loaded in entries(&journal.durable().bytes).iter().rev() {
                keep(loaded, &mut self.kept[loaded.entry.member]);
            }
        }
        let original = &self.originals[member];
        let end = end.min(original.length()); // behind its end an undo cuts it off
        for at in start..end {
            let (is, kept) = (original.bytes[at as usize], self.kept[member][at as usize]);
            let safe = match kept {
                Kept::Byte(kept) => kept == is,
                Kept::Unreadable => original.was_unreadable(at),
                Kept::Beyond => false,
                // What is cut off as a hole comes back as one.
                Kept::No => is == 0 && original.is_hole(at),
            };
            assert!(safe, "byte {at:#x} of #{member} is about to change, and the journal doesn't keep it: {kept:?}");
        }
    }
}

/// Takes over what an entry keeps.
fn keep(loaded: &Loaded, kept: &mut [Kept]) {
    let range = loaded.entry.range;
    let length = kept.len();
    for (at, kept) in kept.iter_mut().enumerate().take(length.min(range.end as usize)).skip(range.start as usize) {
        *kept = match loaded.entry.old {
            Old::Data => Kept::Byte(loaded.old[at - range.start as usize]),
            Old::Hole => Kept::Byte(0),
            Old::Unreadable => Kept::Unreadable,
            Old::Beyond => Kept::Beyond,
        };
    }
}

/// All entries of a journal that holds these bytes.
fn entries(bytes: &[u8]) -> Vec<Loaded> {
    let name = MemberName::from(Path::new(JOURNAL));
    let journal = Journal::load(&name, Box::new(Still(bytes.to_vec()))).expect("the journal must be readable at each moment");
    let mut all = Vec::new();
    journal
        .entries(false, true, &mut |loaded| -> Result<(), JournalError> {
            all.push(loaded.clone());
            Ok(())
        })
        .expect("the journal must be readable at each moment");
    all
}

/// Bytes that are only read.
struct Still(Vec<u8>);

impl Storage for Still {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let from = self.0.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(bytes.len());
        bytes[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cached(&self) {}
}

impl Original {
    /// Whether the sector of the vote that holds a byte could not be read.
    pub fn was_unreadable(&self, at: u64) -> bool {
        let start = at - at % self.sector;
        (start / SECTOR..(start + self.sector) / SECTOR).any(|sector| self.bad.contains(&sector))
    }

    fn is_hole(&self, at: u64) -> bool {
        !self.allocated.contains(&(at / crate::platter::BLOCK))
    }
}

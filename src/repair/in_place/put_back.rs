//! Images in which a repair was cut off are none while its writes stand half-done in them: they are put back before they are looked at, and
//! repaired anew.

use std::io;

use super::wish::JournalPlace;
use crate::{
    electorate::{Candidates, Format},
    evidence::mark_of,
    member::{HostFile, Member, MemberName, RawMember, Rewritable},
    repair::{
        Phases, RepairError,
        journal::{Identity, Journal, State},
        undo::{Undo, UndoTarget},
    },
    scan::Watch,
    sys::locks::Claim,
    vote::mask_of,
};

/// What is to be put back, and by whose leave.
pub struct PutBack<'a> {
    /// Where the journal of the repair would be.
    pub place: &'a JournalPlace<'a>,
    /// Whether the options that a journal tells of may be those of the repair that is asked for.
    pub ours: &'a dyn Fn(&str) -> bool,
    /// Nothing is to be written: what would have to be put back is an error then.
    pub dry_run: bool,
    /// Whether bytes that somebody wrote since may be overwritten.
    pub force_changed: bool,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
    /// Asked before the first write, with the images' names; false: nothing is written.
    pub confirm: &'a dyn Fn(&[MemberName]) -> bool,
}

impl PutBack<'_> {
    /// Puts back those of the candidates that need it, and returns their numbers: see [`InPlaceWish::put_back`](super::InPlaceWish::put_back).
    ///
    /// # Errors
    /// See [`RepairError`]: where one can't be put back, nothing more is written.
    pub fn run(&self, candidates: &mut Candidates) -> Result<Vec<usize>, RepairError> {
        let mut files = candidates.files();
        let Some(journal) = self.journal(&files)? else { return Ok(Vec::new()) };
        let Some(targets) = self.targets(&journal, &files)? else { return Ok(Vec::new()) };
        let numbers: Vec<usize> = (0..targets.len()).filter(|&index| targets[index].is_some()).collect();
        let undo = Undo { targets: &targets, force_changed: self.force_changed, watch: self.watch, phases: self.phases };
        let names: Vec<MemberName> = targets.iter().flatten().map(|target| target.name.clone()).collect();
        undo.examine_begun(&journal)?;
        if !(self.confirm)(&names) {
            return Err(RepairError::Declined);
        }
        let mask = mask_of(numbers.iter().copied());
        let shown = &self.place.shown;
        let journal = journal.without_stamps(mask).map_err(|error| RepairError::JournalWrite { journal: shown.clone(), error })?;
        undo.put_back_begun(&journal)?;
        drop(targets);
        for (file, _) in &mut files {
            if let Some(file) = file.as_mut() {
                file.look_again().map_err(|error| looked(file.host(), error))?;
            }
        }
        Ok(numbers)
    }

    /// The journal, where it is an unfinished one that may be this repair's. What can't be used, or isn't, is told of later.
    fn journal(&self, files: &[(Option<&mut RawMember>, Option<Format>)]) -> Result<Option<Journal>, RepairError> {
        if !files.iter().any(|(_, format)| format.is_some_and(Format::is_encoded)) {
            return Ok(None);
        }
        let shown = &self.place.shown;
        let unopened = |error| RepairError::JournalOpen { journal: shown.clone(), error };
        let Some(storage) = self.place.folder.open(self.place.name).map_err(unopened)? else { return Ok(None) };
        if let Claim::Others(holders) = storage.claim(!self.dry_run).map_err(unopened)? {
            return Err(RepairError::JournalInUse { journal: shown.clone(), holders });
        }
        let Ok(journal) = Journal::load(shown, storage) else { return Ok(None) };
        let header = journal.header();
        let unfinished = journal.state() == State::Unfinished && header.members.len() == files.len();
        Ok((unfinished && (self.ours)(&header.options)).then_some(journal))
    }

    /// What must be put back, for each file; none where nothing must, or the journal is of others.
    #[allow(clippy::type_complexity)] // as the undo takes it
    fn targets<'f>(
        &self,
        journal: &Journal,
        files: &'f [(Option<&mut RawMember>, Option<Format>)],
    ) -> Result<Option<Vec<Option<UndoTarget<'f>>>>, RepairError> {
        let touched = journal.touched()?;
        let mut targets = Vec::new();
        for (index, (file, format)) in files.iter().enumerate() {
            let begun = touched >> index & 1 == 1 && format.is_some_and(Format::is_encoded);
            let Some(file) = file.as_deref().filter(|_| begun) else {
                targets.push(None);
                continue;
            };
            let now = Identity::of_file(file.host()).map_err(|error| looked(file.host(), error))?;
            let then = &journal.header().members[index];
            if (then.inode, &then.path) != (now.inode, &now.path) {
                return Ok(None);
            }
            let name = file.name().clone();
            if self.dry_run {
                return Err(RepairError::CutOff { member: name, journal: self.place.shown.clone() });
            }
            let Some(storage) = file.store() else { return Err(RepairError::CutOffUnwritten { member: name }) };
            let (inode, file_system, marked) = (now.inode, now.file_system, mark_of(file).is_some());
            targets.push(Some(UndoTarget { name, storage, inode, file_system, mapped: false, marked }));
        }
        Ok(targets.iter().any(Option::is_some).then_some(targets))
    }
}

fn looked(file: &HostFile, error: io::Error) -> RepairError {
    RepairError::Look { member: file.name().clone(), error }
}

//! Members get the image's length: cut, or made longer.

use super::rewriter::{Rewriter, Stop};
use crate::{
    member::Extent,
    repair::{
        RepairError,
        journal::{ENTRY_RANGE_MAX, Entry, Old, Resized, unit_hashes},
    },
    sys::storage::Storage,
    vote::{ByteRange, members_of},
};

/// Bytes of a cut surplus that are journalled at a time.
const CUT_BYTES: u64 = 32 << 20;

impl Rewriter<'_> {
    /// Notes in the journal which members are going to get other lengths, before anything is done to one.
    pub(super) fn announce_lengths(&mut self) -> Result<(), Stop> {
        let planned = self.plan.members.iter().zip(self.members).enumerate();
        let resized = planned.filter_map(|(index, (plan, member))| {
            if let Some(longest) = self.lengths_max[index].filter(|_| plan.is_rewritten()) {
                return Some(Resized { member: index, from: self.files[index].size(), to: longest });
            }
            let to = plan.extend_to.or(plan.truncate_to)?;
            Some(Resized { member: index, from: member.size(), to })
        });
        let list: Vec<Resized> = resized.collect();
        match &mut self.journal {
            Some((name, journal)) if !list.is_empty() => {
                journal.resized(&list).map_err(|error| RepairError::JournalWrite { journal: name.clone(), error })?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Cuts off what members hold behind the image's end, where that is wanted.
    pub(super) fn cut(&mut self) -> Result<(), Stop> {
        for member in 0..self.members.len() {
            let Some(length) = self.plan.members[member].truncate_to.filter(|_| self.progress[member].error.is_none()) else { continue };
            let surplus = ByteRange::new(length, self.members[member].size());
            for piece in surplus.pieces(CUT_BYTES) {
                if self.watch.stopped() {
                    return Err(Stop::Interrupted);
                }
                self.journal_surplus(member, piece)?;
            }
            self.set_length(member, length);
        }
        Ok(())
    }

    fn journal_surplus(&mut self, index: usize, piece: ByteRange) -> Result<(), Stop> {
        let (member, synced) = (self.members[index], self.synced);
        let Some((name, journal)) = &mut self.journal else { return Ok(()) };
        let failed = |error| RepairError::JournalWrite { journal: name.clone(), error };
        let unreadable = |offset| RepairError::Surplus { member: member.name().clone(), offset };
        let mut batch = journal.batch(synced).map_err(failed)?;
        let mut at = piece.start;
        let mut bytes = Vec::new();
        while at < piece.end {
            let step_end = (at - at % ENTRY_RANGE_MAX + ENTRY_RANGE_MAX).min(piece.end);
            match member.extent(at) {
                Ok(Extent::Zero(end)) if end > at => at = end.min(piece.end),
                _ => {
                    let range = ByteRange::new(at, step_end);
                    bytes.resize(range.length() as usize, 0);
                    self.watch.spend(range.length());
                    member.read(at, &mut bytes, &mut None).map_err(|_| unreadable(at))?;
                    let entry = Entry { member: index, old: Old::Data, cut: true, range };
                    batch.entry(&entry, &unit_hashes(at, &bytes), &[], &bytes).map_err(failed)?;
                    at = step_end;
                }
            }
        }
        if batch.entries() > 0 {
            batch.finish().map_err(failed)?;
        }
        Ok(())
    }

    /// Gives members that ended too early their length.
    pub(super) fn extend(&mut self) {
        for member in 0..self.members.len() {
            let Some(length) = self.plan.members[member].extend_to.filter(|_| self.progress[member].error.is_none()) else { continue };
            let short = self.stores[member].is_some_and(|store| store.length().is_ok_and(|now| now < length));
            if short {
                self.set_length(member, length);
            }
        }
    }

    /// Sets the lengths of these members once more, as they are: an earlier session may have set them, and its sync failed.
    pub(super) fn settle(&mut self, unsettled: u64) {
        for member in members_of(unsettled).take_while(|&member| member < self.members.len()) {
            let store = self.stores[member].filter(|store| store.resizable() && self.progress[member].error.is_none());
            if let Some(Ok(length)) = store.map(Storage::length) {
                self.set_length(member, length);
            }
        }
    }

    fn set_length(&mut self, member: usize, length: u64) {
        let Some(store) = self.stores[member] else { return };
        if let Some(why) = store.lost_locks() {
            return self.give_up(member, format!("{why}; nothing more was written to it"));
        }
        match store.set_length(length) {
            Ok(()) => self.sync(1 << member),
            Err(error) => {
                self.progress[member].error = Some(format!("setting its length to {length} bytes: {error}"));
                self.synced &= !(1 << member);
            }
        }
    }
}

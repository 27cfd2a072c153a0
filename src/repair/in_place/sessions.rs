//! The journal of an in-place repair: a new one, or one to go on with.

use super::{
    plan::Plan,
    samples::with_samples,
    wish::{InPlace, JournalPlace},
};
use crate::{
    evidence::mark_of,
    member::escaped,
    repair::{
        RepairError,
        journal::{Header, Identity, Journal, JournalError, JournalWriter, Reserve, State},
        undo::{Undo, UndoError, UndoTarget},
    },
    sys::locks::Claim,
    vote::ByteRange,
};

impl InPlace<'_> {
    /// An unfinished journal of this very repair; or the error that is due where another one stands there, once something is to be
    /// written.
    pub(super) fn earlier_journal(&self) -> Result<(Option<Journal>, Option<RepairError>), RepairError> {
        let Some(place) = &self.wish.journal else { return Ok((None, None)) };
        let unreadable = |error| RepairError::Journal(JournalError::Read { journal: place.shown.clone(), offset: 0, error });
        let Some(storage) = place.folder.open(place.name).map_err(unreadable)? else { return Ok((None, None)) };
        if let Claim::Others(holders) = storage.claim(!self.wish.dry_run).map_err(unreadable)? {
            return Err(RepairError::JournalInUse { journal: place.shown.clone(), holders });
        }
        let journal = match Journal::load(&place.shown, storage) {
            Ok(journal) => journal,
            // It is in nobody's way as long as nothing is to be written.
            Err(JournalError::Foreign { journal }) => return Ok((None, Some(RepairError::JournalForeign { journal }))),
            Err(error @ JournalError::Version { .. }) => return Ok((None, Some(error.into()))),
            Err(error) => return Err(error.into()),
        };
        let shown = place.shown.quoted();
        let undo = format!(
            "if that repair was good, delete it: rm {shown}; quorum-img undo {shown} takes it back; or name another place with --journal"
        );
        let paths = journal.header().members.iter().map(|member| escaped(&String::from_utf8_lossy(&member.path)));
        let holds = paths.collect::<Vec<_>>().join(", ");
        let exists = |state: State, hint: String| RepairError::JournalExists {
            journal: place.shown.clone(),
            state: state.name(),
            holds: holds.clone(),
            hint,
        };
        match journal.state() {
            State::Unfinished => match self.foreign(&journal, journal.touched()?) {
                None => Ok((Some(journal), None)),
                Some(what) => Err(RepairError::JournalOther { journal: place.shown.clone(), what }),
            },
            State::UndoBegun => Err(exists(State::UndoBegun, format!("finish that first: quorum-img undo {}", place.shown.quoted()))),
            State::Complete => Ok((None, Some(exists(State::Complete, undo)))),
            State::Undone => {
                let hint = "it was undone, so it may be removed; or name another place with --journal".to_owned();
                Ok((None, Some(exists(State::Undone, hint))))
            }
        }
    }

    /// What tells the journal's repair from this one.
    fn foreign(&self, journal: &Journal, touched: u64) -> Option<String> {
        let header = journal.header();
        let same = |a: &Identity, b: &Identity| (a.device, a.inode, &a.path) == (b.device, b.inode, &b.path);
        if header.members.len() != self.wish.identities.len() {
            return Some(format!("it is of {} members, and {} are given", header.members.len(), self.wish.identities.len()));
        }
        for (index, (then, now)) in header.members.iter().zip(&self.wish.identities).enumerate() {
            // Who wasn't there, or isn't, tells nothing: it isn't written to, and wasn't.
            let is_away = then.path.is_empty() != now.path.is_empty() && touched >> index & 1 == 0 && !self.is_written(index);
            if !same(then, now) && !is_away {
                let names = [&then.path, &now.path].map(|path| escaped(&String::from_utf8_lossy(path)));
                return Some(format!("it is of {} where {} is given now", names[0], names[1]));
            }
        }
        let (then, now) = (&header.options, &self.wish.options);
        (then != now).then(|| format!("it was made with other options ({then}; now: {now})"))
    }

    /// Since the repair was cut off nobody but it may have written to a member: an undo would take that away.
    pub(super) fn refuse_foreign_writes(&self, journal: &Journal) -> Result<(), RepairError> {
        let touched = journal.touched()?;
        let target = |index: usize| {
            let storage = self.stores[index].filter(|_| touched >> index & 1 == 1)?;
            let Identity { inode, file_system, .. } = self.wish.identities[index];
            let marked = mark_of(self.members[index]).is_some();
            Some(UndoTarget { name: self.members[index].name().clone(), storage, inode, file_system, mapped: false, marked })
        };
        let targets: Vec<Option<UndoTarget>> = (0..self.members.len()).map(target).collect();
        let undo = Undo { targets: &targets, force_changed: false, watch: self.watch, phases: self.phases };
        undo.examine_begun(journal).map_err(|error| match error {
            UndoError::Changed { member, what } | UndoError::Other { member, what } => RepairError::WrittenSince { member, what },
            UndoError::Journal(error) => error.into(),
            other => RepairError::WrittenSince { member: journal.name().clone(), what: other.to_string() },
        })
    }

    /// `images_bytes` is what images take beside the plan.
    pub(super) fn new_journal(&self, place: &JournalPlace, plan: &Plan, images_bytes: u64) -> Result<JournalWriter, RepairError> {
        let needed = plan.record_bytes().saturating_add(images_bytes);
        (self.phases)("taking the journal's space", needed);
        // What is going to be touched in the file of an image isn't known; undo leaves out what was.
        let touched = |index: usize, range: ByteRange| self.members[index].image().is_none() && plan.touches(index, range);
        let members = self.wish.identities.iter().enumerate();
        let header = Header {
            id: self.wish.id,
            created: self.wish.now,
            size: self.poll.size,
            sector: self.poll.sector,
            reserved: 0,
            options: self.wish.options.clone(),
            members: members.map(|(index, identity)| with_samples(identity, self.file(index), &|range| touched(index, range))).collect(),
        };
        let step = |bytes: u64| {
            self.watch.spend(bytes);
            self.watch.advanced(bytes);
            !self.watch.stopped()
        };
        JournalWriter::create(place.folder, place.name, header, &Reserve { bytes: needed, step: &step }).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::Interrupted => "it was interrupted; run this again",
                std::io::ErrorKind::AlreadyExists => {
                    "something else appeared under its name; look at it, or name another place with --journal"
                }
                _ => "make room, or name another place with --journal",
            };
            RepairError::JournalCreate { journal: place.shown.clone(), error, needed, hint }
        })
    }
}

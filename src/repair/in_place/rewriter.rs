//! The state of the work on the members, and what all of it shares.

use super::{clusters::Clusters, plan::Plan};
use crate::{
    member::{Member, MemberName, Readable},
    repair::{
        RepairError,
        journal::{Ended, JournalWriter},
    },
    scan::{Poll, Question, Watch},
    sys::storage::{Origin, Stamp, Storage},
    vote::ByteRange,
};

/// Ranges remembered of each kind, for the report.
const LISTED_MAX: usize = 100_000;

/// Why the work ended early.
pub(super) enum Stop {
    /// A signal.
    Interrupted,
    /// Nothing more can be done.
    Failed(RepairError),
}

impl From<RepairError> for Stop {
    fn from(error: RepairError) -> Self {
        Self::Failed(error)
    }
}

/// The work on the members.
pub(super) struct Rewriter<'a> {
    pub(super) members: &'a [&'a dyn Member],
    /// The file of each member, which the journal tells of: the member itself, or that of its image.
    pub(super) files: Vec<&'a dyn Readable>,
    /// The members that are images and may be rewritten.
    pub(super) images: Vec<Option<Clusters<'a>>>,
    /// How long the files of images may become, in bytes.
    pub(super) lengths_max: Vec<Option<u64>>,
    /// Where each member's bytes are rewritten, if they are.
    pub(super) stores: &'a [Option<&'a dyn Storage>],
    pub(super) blocks: Vec<u64>,
    pub(super) question: &'a Question,
    pub(super) poll: &'a Poll,
    pub(super) plan: &'a Plan,
    pub(super) watch: &'a dyn Watch,
    /// The journal and its name; none where none was wanted.
    pub(super) journal: Option<(MemberName, JournalWriter)>,
    /// Members for which all batches so far are on stable storage, as a mask.
    pub(super) synced: u64,
    pub(super) progress: Vec<Progress>,
    /// Parts in which the second vote didn't say what the plan relies on.
    pub(super) unsteady: Vec<ByteRange>,
    /// Whether every read-back was past the page cache.
    pub(super) origin: Origin,
    /// Members, as a mask, whose votes the plan relies on.
    pub(super) voted: u64,
}

/// What became of one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Bytes written to it.
    pub(super) written: u64,
    /// Why nothing more is written to it.
    pub(super) error: Option<String>,
    /// Bytes that can be read again, and bytes that can't.
    pub(super) healed_bytes: u64,
    pub(super) not_healed_bytes: u64,
    pub(super) healed: Vec<ByteRange>,
    pub(super) not_healed: Vec<ByteRange>,
}

impl Rewriter<'_> {
    /// Nothing more is written to a member.
    pub(super) fn give_up(&mut self, member: usize, error: String) {
        self.progress[member].error.get_or_insert(error);
        self.synced &= !(1 << member);
    }

    /// Syncs the members of the mask, all at once. One that can't be synced is never believed again.
    pub(super) fn sync(&mut self, touched: u64) {
        let results: Vec<(usize, std::io::Result<()>)> = std::thread::scope(|scope| {
            let stores = self.stores.iter().enumerate().filter(|(member, _)| touched >> member & 1 == 1);
            let running: Vec<_> = stores.filter_map(|(member, store)| store.map(|store| (member, scope.spawn(|| store.sync())))).collect();
            running
                .into_iter()
                .map(|(member, thread)| (member, thread.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))))
                .collect()
        });
        for (member, result) in results {
            if let Err(error) = result {
                self.synced &= !(1 << member);
                self.progress[member].error.get_or_insert(format!("syncing: {error}; what was written since the last sync may be lost"));
            }
        }
    }

    /// Ends the session in the journal; `through` tells that all stages were gone through.
    pub(super) fn close(&mut self, through: bool) -> Result<(), RepairError> {
        // What couldn't be synced, or wasn't kept, has a stamp as well: one that still holds tells that nobody wrote since.
        let told = |member: &usize| self.progress[*member].error.is_none() || self.synced >> member & 1 == 0;
        let stamp = |member: usize| Some(member).filter(told).and(self.stores[member]?.stamp().ok().flatten());
        let stamps: Vec<Option<Stamp>> = (0..self.stores.len()).map(stamp).collect();
        let complete = through && self.unsteady.is_empty() && self.progress.iter().all(|progress| progress.error.is_none());
        let synced = self.synced;
        let Some((name, journal)) = &mut self.journal else { return Ok(()) };
        let ended = Ended { synced, settled: if through { synced } else { 0 }, complete, stamps };
        journal.end(&ended).map_err(|error| RepairError::JournalWrite { journal: name.clone(), error })
    }
}

impl Progress {
    pub(super) fn healed(&mut self, range: ByteRange) {
        self.healed_bytes += range.length();
        note(&mut self.healed, range);
    }

    pub(super) fn not_healed(&mut self, range: ByteRange) {
        self.not_healed_bytes += range.length();
        note(&mut self.not_healed, range);
    }
}

/// Adds to a list for the report: ascending, joined, and not without end.
fn note(list: &mut Vec<ByteRange>, range: ByteRange) {
    match list.last_mut() {
        Some(before) if before.end == range.start => before.end = range.end,
        _ => {
            if list.len() < LISTED_MAX {
                list.push(range);
            }
        }
    }
}

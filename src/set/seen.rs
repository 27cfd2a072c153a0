//! What the divergences of a part say of a set's members. Pure but for what their files look like.

use super::{
    memory::{Now, touched},
    record::{Counters, PartRow, PlaceRow},
    roster::Roster,
    state::Met,
};
use crate::vote::{Run, Verdict, members_of};

/// Places that are remembered of a run.
pub(super) const PLACES_MAX: usize = 1000;

/// A part that is looked at.
pub(super) struct PartLook<'a> {
    pub(super) roster: &'a Roster,
    /// What was known of it before.
    pub(super) known: Option<&'a PartRow>,
    pub(super) now: &'a Now<'a>,
    /// In bytes.
    pub(super) sector: u32,
    /// The run's number.
    pub(super) run: i64,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenPart {
    /// Members that differ, as a mask.
    pub(super) differs: u64,
    /// One for each member.
    pub(super) counters: Vec<Counters>,
    pub(super) places: Vec<PlaceRow>,
    /// Sectors that nobody won.
    pub(super) undecided: u64,
}

impl SeenPart {
    /// Nothing yet of so many members.
    pub(super) fn of(members: usize) -> Self {
        Self { counters: vec![Counters::default(); members], ..Self::default() }
    }
}

impl PartLook<'_> {
    /// Notes what a divergence says of members.
    pub(super) fn see(&self, run: &Run, seen: &mut SeenPart) {
        let (vote, sectors, voters) = (&run.vote, run.sectors(self.sector), self.roster.voters());
        let grouping = &vote.grouping;
        let unreadable = grouping.unreadable() | grouping.unstable();
        let lost = if vote.verdict == Verdict::Undecided {
            seen.undecided += sectors;
            // Of those who vote nobody is to blame. Who has no vote differs where no voter holds what it holds; and agrees with nothing, either:
            // a pass in which nobody won somewhere proves nobody (see `seen_of`).
            let holders = |version| grouping.holders(version);
            let all = grouping.versions().fold(0, |mask, version| mask | holders(version));
            let same = grouping.versions().map(holders).filter(|holders| holders & voters != 0).fold(0, |mask, holders| mask | holders);
            ((all & !same) | grouping.absent() | grouping.fillers()) & !voters
        } else {
            vote.dissenters() | grouping.absent() | grouping.fillers()
        };
        seen.differs |= lost | unreadable;
        let winners = vote.winner().map_or(0, |winner| grouping.holders(winner));
        // Who couldn't be reached is away, and no more is said of it.
        let was_read = |index: &usize| self.roster.seats.get(*index).is_some_and(|seat| seat.met == Met::Read);
        for index in members_of(lost | unreadable).filter(was_read) {
            let is_lost = lost >> index & 1 == 1;
            let counters = &mut seen.counters[index];
            if is_lost {
                counters.dissenting += sectors;
                counters.silent += if self.is_silent(index, winners) { sectors } else { 0 };
            } else {
                counters.unreadable += sectors;
            }
            self.place(seen, Some(self.roster.seats[index].row.id), run, if is_lost { "dissents" } else { "unreadable" });
        }
        if vote.verdict == Verdict::Undecided {
            self.place(seen, None, run, "undecided");
        }
    }

    /// Whether a member's bytes became others by themselves: it was right when the part was checked, nobody wrote to its file since, and what
    /// won is what was there then. (Who only missed a write to all others holds what it held.)
    fn is_silent(&self, index: usize, winners: u64) -> bool {
        let Some(part) = self.known.filter(|part| part.undecided == 0) else { return false };
        let is_as_then = |index: usize| {
            let id = self.roster.seats[index].row.id;
            let was_right = part.of(id).is_some_and(|then| !then.differs && then.fingerprint.is_some());
            was_right && touched(self.roster, index, part, self.now).is_none()
        };
        is_as_then(index) && members_of(winners).any(|winner| winner < self.roster.seats.len() && is_as_then(winner))
    }

    fn place(&self, seen: &mut SeenPart, member: Option<i64>, run: &Run, kind: &str) {
        if seen.places.len() < PLACES_MAX {
            let (start, length) = (run.range.start, run.range.length());
            seen.places.push(PlaceRow { run: self.run, member, start, length, kind: kind.to_owned() });
        }
    }
}

//! Totals, exact however many divergences there are. Pure.

use super::lost::Lost;
use crate::vote::{Run, Verdict, members_of};

/// What was counted of one member, in sectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberTally {
    /// Holds data that lost.
    pub dissenting: u64,
    /// Could not be read.
    pub unreadable: u64,
    /// Lies beyond the member's end.
    pub absent: u64,
    /// Not heard, since the member had failed.
    pub failed: u64,
    /// Divergences in which it dissents.
    pub dissents: u64,
    /// First and last byte of the span in which it dissents.
    pub span: Option<(u64, u64)>,
    /// Sectors that hold a filler where another member holds something else.
    pub filler: u64,
    /// Read once more, it answered differently.
    pub unstable: u64,
    /// What it holds and loses, where that was weighed.
    pub lost: Lost,
}

impl MemberTally {
    fn join(&mut self, other: &Self) {
        self.dissenting += other.dissenting;
        self.unreadable += other.unreadable;
        self.absent += other.absent;
        self.failed += other.failed;
        self.dissents += other.dissents;
        self.filler += other.filler;
        self.unstable += other.unstable;
        self.lost.add(&other.lost);
        self.span = match (self.span, other.span) {
            (Some((start, end)), Some((other_start, other_end))) => Some((start.min(other_start), end.max(other_end))),
            (own, other) => own.or(other),
        };
    }
}

/// What was counted, in sectors; all the rest is unanimous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decided sectors.
    pub decided: u64,
    /// Those of them in which nothing is amiss but that members have failed.
    pub lacking: u64,
    /// Undecided sectors.
    pub undecided: u64,
    /// Divergences.
    pub divergences: u64,
    /// One for each member.
    pub members: Vec<MemberTally>,
}

impl Tally {
    /// Nothing counted yet of so many members.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self { members: vec![MemberTally::default(); members], ..Self::default() }
    }

    /// Whether any member answered differently when it was read again.
    #[must_use]
    pub fn any_unstable(&self) -> bool {
        self.members.iter().any(|member| member.unstable > 0)
    }

    /// Counts what a window's members hold and lose: one for each member, or none at all.
    pub(super) fn add_lost(&mut self, lost: &[Lost]) {
        for (member, lost) in self.members.iter_mut().zip(lost) {
            member.lost.add(lost);
        }
    }

    /// Takes what was counted in another part, of the same members.
    pub fn join(&mut self, other: &Self) {
        self.decided += other.decided;
        self.lacking += other.lacking;
        self.undecided += other.undecided;
        self.divergences += other.divergences;
        self.members.iter_mut().zip(&other.members).for_each(|(own, other)| own.join(other));
    }

    /// Counts a divergence whose sectors are `sector` bytes long.
    pub fn add(&mut self, run: &Run, sector: u32) {
        let sectors = run.sectors(sector);
        self.divergences += 1;
        match run.vote.verdict {
            Verdict::Unanimous => {}
            Verdict::Decided { .. } | Verdict::Donated { .. } => {
                self.decided += sectors;
                let lacks = run.vote.winner().is_some() && run.vote.grouping.only_lacks();
                self.lacking += if lacks { sectors } else { 0 };
            }
            Verdict::Undecided => self.undecided += sectors,
        }
        let grouping = &run.vote.grouping;
        members_of(grouping.unreadable()).for_each(|member| self.members[member].unreadable += sectors);
        members_of(grouping.absent()).for_each(|member| self.members[member].absent += sectors);
        members_of(grouping.fillers()).for_each(|member| self.members[member].filler += sectors);
        members_of(grouping.unstable()).for_each(|member| self.members[member].unstable += sectors);
        members_of(grouping.failed()).for_each(|member| self.members[member].failed += sectors);
        for member in members_of(run.vote.dissenters()) {
            let tally = &mut self.members[member];
            tally.dissenting += sectors;
            tally.dissents += 1;
            let start = tally.span.map_or(run.range.start, |(start, _)| start);
            tally.span = Some((start, run.range.end));
        }
    }
}

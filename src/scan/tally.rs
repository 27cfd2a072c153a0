//! Totals, exact however many divergences there are. Pure.

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
    /// Bytes of its zeros that were outvoted by data.
    pub zeros_replaced: u64,
    /// Bytes of its data that were outvoted by zeros.
    pub data_zeroed: u64,
}

/// What one member's dissent is of, where it is zeros against data: a class of its own, for what one side lost the other may have
/// been told to drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Zeros {
    /// Bytes of its zeros that data outvoted.
    pub(super) replaced: u64,
    /// Bytes of its data that zeros outvoted.
    pub(super) data: u64,
}

/// What was counted, in sectors; all the rest is unanimous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decided sectors.
    pub decided: u64,
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

    /// Counts zeros against data of a window: one for each member, or none at all.
    pub(super) fn add_zeros(&mut self, zeros: &[Zeros]) {
        for (member, zeros) in self.members.iter_mut().zip(zeros) {
            member.zeros_replaced += zeros.replaced;
            member.data_zeroed += zeros.data;
        }
    }

    /// Counts a divergence whose sectors are `sector` bytes long.
    pub fn add(&mut self, run: &Run, sector: u32) {
        let sectors = run.sectors(sector);
        self.divergences += 1;
        match run.vote.verdict {
            Verdict::Unanimous => {}
            Verdict::Decided { .. } => self.decided += sectors,
            Verdict::Undecided => self.undecided += sectors,
        }
        let grouping = &run.vote.grouping;
        members_of(grouping.unreadable()).for_each(|member| self.members[member].unreadable += sectors);
        members_of(grouping.absent()).for_each(|member| self.members[member].absent += sectors);
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

//! What an in-place repair says of its plan and of what it did.

use super::{plan::Plan, rewriter::Progress, wish::InPlace};
use crate::{
    member::Member,
    repair::{RepairError, refused::refused_report},
    report::{InPlaceMember, InPlaceReport, MemberSpan, Planned, Report, Span},
    scan::{Findings, Poll, Question},
    sys::storage::Origin,
    vote::{ByteRange, Run, Verdict, VirtualSize, members_of},
};

/// The report of a repair that is refused before anything is read; `warnings` go into it.
#[must_use]
pub fn refused_in_place(
    members: &[&dyn Member],
    question: &Question,
    poll: &Poll,
    dry_run: bool,
    warnings: Vec<String>,
    refusal: &RepairError,
) -> Report {
    let section = InPlaceReport { in_place: true, dry_run, refused: Some(refusal.to_string()), ..InPlaceReport::default() };
    Report { in_place: Some(section), ..refused_report(members, question, poll, warnings, refusal) }
}

/// What was written, for the report.
pub(super) struct Done {
    pub(super) progress: Vec<Progress>,
    pub(super) unsteady: Vec<ByteRange>,
    pub(super) origin: Origin,
    pub(super) journal_bytes: Option<u64>,
    pub(super) interrupted: bool,
    pub(super) completed: bool,
    /// Why it ended early, where that wasn't a member's fault.
    pub(super) error: Option<RepairError>,
}

impl InPlace<'_> {
    pub(super) fn proposed(&self, plan: &Plan) -> Vec<InPlaceMember> {
        let with_work = plan.members.iter().enumerate().filter(|(_, member)| member.differs());
        with_work
            .map(|(index, member)| InPlaceMember {
                index,
                name: self.members[index].name().to_string(),
                no_write: self.wish.no_write.contains(&index),
                dissenting_bytes: member.dissenting_bytes,
                absent_bytes: member.absent_bytes,
                unreadable_bytes: member.unreadable_bytes,
                left_bytes: member.left_bytes,
                surplus_bytes: if member.truncate_to.is_some() { 0 } else { member.surplus_bytes },
                fixed_size: member.fixed_size && member.left_bytes + member.surplus_bytes > 0,
                extend_to: member.extend_to,
                truncate_to: member.truncate_to,
                zeros_over_data_bytes: member.data_zeroed,
                content_zeroed_bytes: member.content_zeroed,
                data_over_zeros_bytes: member.zeros_replaced,
                ..InPlaceMember::default()
            })
            .collect()
    }

    /// The exit code for what stays as it is, whatever is written.
    pub(super) fn left_over(&self, report: &Report, plan: &Plan, failed: bool, blank_surplus: &[usize]) -> u8 {
        let undecided = report.sectors.undecided > 0 || matches!(self.poll.size_vote, VirtualSize::Undecided { .. });
        let counts = |index: usize| !blank_surplus.contains(&index) && self.question.range.is_none() && self.question.size.is_none();
        let kept = plan.members.iter().enumerate().any(|(index, member)| {
            let surplus = member.surplus_bytes > 0 && member.truncate_to.is_none() && counts(index);
            (!member.written && member.bytes() + member.left_bytes > 0) || surplus
        });
        let left = plan.members.iter().any(|member| member.left_bytes > 0);
        match (failed, undecided || left, kept) {
            (true, ..) => 3,
            (_, true, _) => 2,
            // All hold the same, and a digest that is heard something else.
            _ if report.heard.contradicted_chunks() > 0 => 2,
            (.., true) => 1,
            _ => 0,
        }
    }

    /// Notes what was done; returns the exit code for it.
    pub(super) fn settle(&self, section: &mut InPlaceReport, plan: &Plan, done: &Done) -> u8 {
        let sector = u64::from(self.poll.sector);
        let count = |bytes: fn(&Progress) -> u64| done.progress.iter().map(|progress| bytes(progress).div_ceil(sector)).sum();
        section.healed_sectors = count(|progress| progress.healed_bytes);
        section.not_healed_sectors = count(|progress| progress.not_healed_bytes);
        let spans = |ranges: fn(&Progress) -> &Vec<ByteRange>| {
            let of = |(member, progress)| ranges(progress).iter().map(move |&range| MemberSpan { span: Span::from(range), member });
            done.progress.iter().enumerate().flat_map(of).take(self.wish.divergences_max).collect::<Vec<_>>()
        };
        section.healed = spans(|progress| &progress.healed);
        section.not_healed = spans(|progress| &progress.not_healed);
        section.unsteady = done.unsteady.iter().map(|&range| Span::from(range)).collect();
        section.bytes_written = done.progress.iter().map(|progress| progress.written).sum();
        for member in &mut section.members {
            let progress = &done.progress[member.index];
            member.bytes_written = progress.written;
            member.written =
                progress.written > 0 || (plan.members[member.index].is_rewritten() && progress.error.is_none() && done.completed);
            member.error.clone_from(&progress.error);
        }
        for (index, progress) in done.progress.iter().enumerate() {
            // What an earlier session had begun may be all there was to do to it.
            let listed = section.members.iter().any(|member| member.index == index);
            if !listed && (progress.written > 0 || progress.error.is_some()) {
                section.members.push(InPlaceMember {
                    index,
                    name: self.members[index].name().to_string(),
                    written: progress.written > 0,
                    bytes_written: progress.written,
                    error: progress.error.clone(),
                    ..InPlaceMember::default()
                });
            }
        }
        section.completed = done.completed;
        section.verified = done.completed;
        let written = done.progress.iter().any(|progress| progress.written > 0);
        section.verified_from = (done.completed && written).then_some(done.origin.word());
        section.journal = self.wish.journal.as_ref().filter(|_| done.journal_bytes.is_some()).map(|place| place.shown.to_string());
        section.journal_bytes = done.journal_bytes.unwrap_or(0);
        section.error = done.error.as_ref().map(ToString::to_string);
        let failed = done.error.as_ref().map_or(0, RepairError::exit_code);
        let errors = !done.unsteady.is_empty() || done.progress.iter().any(|progress| progress.error.is_some());
        let code = match (done.interrupted, errors, section.not_healed_sectors > 0) {
            (true, ..) => 130,
            (_, true, _) => 3,
            (.., true) => 2,
            _ => 0,
        };
        code.max(failed)
    }
}

/// What is listed of the plan, and how much isn't.
pub(super) fn listed(findings: &Findings, plan: &Plan) -> (Vec<Planned>, u64) {
    let planned = |run: &Run| {
        let (from, donor) = match run.vote.verdict {
            Verdict::Decided { winner } => (members_of(run.vote.grouping.holders(winner)).collect(), None),
            Verdict::Donated { donor } => (Vec::new(), Some(donor)),
            Verdict::Unanimous | Verdict::Undecided => return None,
        };
        let to: Vec<usize> = members_of(plan.duties(run).all()).collect();
        (!to.is_empty()).then(|| Planned { span: Span::from(run.range), from, donor, to })
    };
    let kept: Vec<Planned> = findings.listed().iter().filter_map(planned).collect();
    let omitted = plan.divergences.saturating_sub(kept.len() as u64);
    (kept, omitted)
}

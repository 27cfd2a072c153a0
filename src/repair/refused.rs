//! The report of what is refused before anything is read.

use super::RepairError;
use crate::{
    member::Member,
    report::{Overall, PartitionMap, Report, Status},
    scan::{Checked, Findings, Limits, Outcome, Poll, Question, Weighed, make_report},
};

/// What is known of the members without a vote; why nothing is done stands in `refusal`.
pub(super) fn refused_report(
    members: &[&dyn Member],
    question: &Question,
    poll: &Poll,
    warnings: Vec<String>,
    refusal: &RepairError,
) -> Report {
    let guards = match refusal {
        RepairError::Guarded { guards, .. } => guards.clone(),
        _ => Vec::new(),
    };
    let failures = members.iter().map(|member| member.failure().map(str::to_owned)).collect();
    let outcome = Outcome { failures, ..Outcome::unscanned(members.len()) };
    let checked = Checked { outcome, findings: Findings::new(Limits::default(), members.len(), PartitionMap::default()) };
    let mut report = make_report("repair", members, question, poll, checked, warnings, Weighed { guards, ..Weighed::default() });
    report.unvoted = true;
    // Nothing was compared, so there is nothing to agree with.
    report.verdict = Overall::Undecided;
    report.members.iter_mut().filter(|member| member.status == Status::Ok).for_each(|member| member.status = Status::Divergent);
    report.exit_code = refusal.exit_code();
    report
}

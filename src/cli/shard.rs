//! `check --shard`: the check of a part, and what its report has to tell so that it can be merged.

use std::ffi::OsString;

use anyhow::{Context, Result};

use super::given::Given;
use crate::{
    evidence::Evidence,
    member::Member,
    repair::judge::Weighing,
    report::ShardReport,
    scan::{Job, LOOKED_AT_BYTES, Outcome, Poll, Question, ShardFacts, Watch, part_of, scan},
    vote::{ByteRange, Run},
};

/// Options of a part's check that its whole's next command doesn't repeat: what made it a part, and how it was shown.
const OF_PARTS: &[&str] = &["--shard", "--report", "--output", "--quiet", "--progress", "--picture", "--color"];

/// The question and the poll for a part alone.
pub(super) fn part(question: Question, poll: Poll, (which, of): (u64, u64)) -> (Question, Poll) {
    let range = part_of(poll.size, which, of);
    (Question { range: Some(range), range_is: "--shard", ..question }, Poll { range, ..poll })
}

/// The last divergence of a part with what lies behind the part, as far as 64 KiB of it are looked at; none where it is longer, or ends there.
pub(super) fn beyond(members: &[&dyn Member], question: &Question, poll: &Poll, watch: &dyn Watch, last: Run) -> Option<Run> {
    let (edge, length) = (poll.range.end, last.range.length());
    if last.range.end != edge || edge >= poll.size || length >= LOOKED_AT_BYTES {
        return None;
    }
    let sector = u64::from(poll.sector);
    let behind = ByteRange::new(edge, edge.saturating_add((LOOKED_AT_BYTES - length).next_multiple_of(sector)).min(poll.size));
    let ranges = poll.voted_in(&[behind]);
    let job = Job::new(members, question, poll, &ranges, watch);
    let mut first: Option<Run> = None;
    scan(&job, &mut |run| {
        first.get_or_insert(*run);
        Ok(())
    })
    .ok()?;
    let next = first.filter(|next| next.range.start == edge && next.vote == last.vote)?;
    Some(Run { range: ByteRange::new(last.range.start, next.range.end), ..last })
}

/// The vote on a part, as whoever merges it needs to know it.
pub(super) struct Part<'a> {
    pub(super) given: &'a Given,
    pub(super) digests: &'a [OsString],
    pub(super) members: &'a [&'a dyn Member],
    pub(super) question: &'a Question,
    pub(super) poll: &'a Poll,
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) max_damage: f64,
    pub(super) diagnosed: bool,
    pub(super) divergences_max: u64,
    pub(super) dependent: &'a [String],
    pub(super) warnings: &'a [String],
}

impl Part<'_> {
    /// What the report of a part tells of the whole. The last part also looks at what lies outside of all of them.
    pub(super) fn told(&self, (index, count): (u64, u64), outcome: &Outcome, stopped: &dyn Fn() -> bool) -> Result<ShardReport> {
        let Self { members, question, poll, evidence, .. } = *self;
        let mut facts = ShardFacts::of(members, question, poll, evidence, outcome);
        if index + 1 == count {
            let (whole, all) = (Question { range: None, ..question.clone() }, Poll { range: ByteRange::new(0, poll.size), ..poll.clone() });
            let ranges = all.ranges();
            let weighing = Weighing { ranges: &ranges, ..Weighing::all(members, &whole, &all, evidence, stopped) };
            for (member, (behind, content)) in facts.members.iter_mut().zip(weighing.outside()) {
                (member.behind, member.content_outside) = (behind, content);
            }
        }
        let words = self.given.again("check", OF_PARTS, &[]);
        let strings = |words: Vec<OsString>| words.into_iter().map(OsString::into_string).collect::<Result<Vec<String>, _>>().ok();
        let digests = strings(self.digests.to_vec());
        let facts = ShardFacts {
            max_damage: self.max_damage,
            diagnosed: self.diagnosed,
            divergences_max: self.divergences_max,
            dependent: self.dependent.to_vec(),
            warnings: self.warnings.to_vec(),
            options: strings(words).filter(|_| digests.is_some()),
            digests: digests.unwrap_or_default(),
            ..facts
        };
        Ok(ShardReport { index, count, facts: serde_json::to_value(facts).context("what a part knows")? })
    }
}

//! Weighs what a vote would do to its members: gathers the case, and says what follows from the guards that stand.

use std::cell::RefCell;

use super::{
    behind::data_behind,
    case::{Case, Stand},
    contents::content_at_least,
    guards::{Forced, Guard, Judge, Stance, Way},
};
use crate::{
    evidence::Evidence,
    member::{Member, Record, escaped},
    repair::RepairError,
    report::{GuardReport, ReadPattern, counted},
    scan::{Findings, Lost, Outcome, Poll, Question, Weighed, WitnessFacts, majority},
    vote::ByteRange,
};

/// What was voted on, and what is to become of it.
pub struct Weighing<'a> {
    /// Those who vote.
    pub members: &'a [&'a dyn Member],
    /// What the user wants of the vote.
    pub question: &'a Question,
    /// What was known before it.
    pub poll: &'a Poll,
    /// What is known beside the ballots.
    pub evidence: &'a Evidence<'a>,
    /// The parts that were voted on.
    pub ranges: &'a [ByteRange],
    /// Those who would be made to agree with the verdicts, as a mask.
    pub losers: u64,
    /// Those who would be cut at the voted end, as a mask.
    pub cut: u64,
    /// How much of its content a member may lose, in percent.
    pub max_damage: f64,
    /// What was warned about: members that share storage.
    pub dependent: &'a [String],
    /// For members whose content is known from an earlier report: how many bytes it is.
    pub content: &'a [Option<u64>],
    /// The digests that were heard.
    pub witnesses: Vec<WitnessFacts>,
    /// Whether to stop.
    pub stopped: &'a dyn Fn() -> bool,
}

/// How much of its content a member may lose unless the user says otherwise, in percent.
pub const MAX_DAMAGE: f64 = 10.0;

impl<'a> Weighing<'a> {
    /// As if whatever can be written were to be written, of no part yet.
    #[must_use]
    pub fn all(
        members: &'a [&'a dyn Member],
        question: &'a Question,
        poll: &'a Poll,
        evidence: &'a Evidence<'a>,
        stopped: &'a dyn Fn() -> bool,
    ) -> Self {
        let (ranges, dependent, content) = (&[], &[], &[]);
        Self {
            members,
            question,
            poll,
            evidence,
            ranges,
            losers: u64::MAX,
            cut: u64::MAX,
            max_damage: MAX_DAMAGE,
            dependent,
            content,
            witnesses: WitnessFacts::of(question),
            stopped,
        }
    }

    /// The guards that stand, and whose surplus is blank. Reads what lies behind the voted end, and of members that lose much as much
    /// content as it takes.
    #[must_use]
    pub fn stands(&self, outcome: &Outcome, findings: &Findings) -> Stands {
        if self.question.read_pattern == ReadPattern::Fifo || !outcome.complete {
            return Stands::default(); // nothing was compared, or nothing is going to be written
        }
        let behind = self.behind();
        let known = RefCell::new(vec![None; self.members.len()]);
        let content = |member: usize, wanted: u64| {
            let held = outcome.tally.members[member].lost.content_held;
            if let Some(content) = self.content.get(member).copied().flatten() {
                return content.max(held);
            }
            let counted = *known.borrow_mut()[member].get_or_insert((held, false));
            if counted.1 || counted.0 >= wanted {
                return counted.0;
            }
            let (more, all) = content_at_least(self.members[member], self.ranges, wanted - held, self.stopped);
            known.borrow_mut()[member] = Some((held + more, all));
            held + more
        };
        let case = Case {
            names: self.members.iter().map(|member| member.name()).collect(),
            sizes: self.members.iter().map(|member| member.size()).collect(),
            evidence: self.evidence,
            lost: outcome.tally.members.iter().map(|member| member.lost).collect(),
            newer: findings.newer().to_vec(),
            legs: findings.lost_legs().collect(),
            old_witnesses: self.old_witnesses(outcome),
            swayed: outcome.heard.swayed,
            cut: behind.iter().enumerate().map(|(index, at)| at.filter(|_| self.cut >> index & 1 == 1)).collect(),
            size: self.poll.size,
            losers: self.losers | self.cut,
            max_damage: self.max_damage,
            dependent: if self.question.trust.is_some() { &[] } else { self.dependent },
            content: &content,
        };
        let mut stands = case.stands();
        if outcome.tally.decided > 0 {
            stands.extend(minority(self.members.len(), self.question, self.poll));
        }
        stands.sort_by_key(|stand| stand.guard as usize);
        let blank = |(index, member): (usize, &&dyn Member)| {
            (member.has_foreign_size() && member.size() > self.poll.size && behind[index].is_none() && !self.is_asked()).then_some(index)
        };
        Stands { guards: stands, blank_surplus: self.members.iter().enumerate().filter_map(blank).collect() }
    }

    /// The guards that stand whatever the vote says: an image of the voted size would cut content off.
    #[must_use]
    pub fn before_the_vote(&self) -> Vec<Stand> {
        let count = self.members.len();
        let fifo = self.question.read_pattern == ReadPattern::Fifo;
        let case = Case {
            names: self.members.iter().map(|member| member.name()).collect(),
            sizes: self.members.iter().map(|member| member.size()).collect(),
            evidence: self.evidence,
            lost: vec![Lost::default(); count],
            newer: vec![0; count],
            legs: vec![false; count],
            cut: if fifo { vec![None; count] } else { self.behind() },
            size: self.poll.size,
            losers: self.losers | self.cut,
            max_damage: self.max_damage,
            dependent: &[],
            old_witnesses: Vec::new(),
            swayed: 0,
            content: &|member, _| u64::from(self.members[member].size() > 0),
        };
        case.stands()
    }

    /// Witnesses that may know only what stood there before, in words: of a member that loses by their word, or of all, since they contradict
    /// what all hold elsewhere.
    fn old_witnesses(&self, outcome: &Outcome) -> Vec<String> {
        let told = self.witnesses.iter().enumerate().filter_map(|(index, witness)| {
            let contradicted = outcome.heard.witnesses.get(index).map_or(0, |tally| tally.contradicted);
            match &witness.old {
                Some(old) if witness.old_for & outcome.heard.losers & self.losers != 0 => Some(old.clone()),
                _ if contradicted > 0 && outcome.heard.losers & self.losers != 0 && witness.proves => {
                    Some(format!("{} contradicts what all members hold in {}", escaped(&witness.name), counted(contradicted, "chunk")))
                }
                _ => None,
            }
        });
        told.collect()
    }

    /// Whether the user said where the end is, or looks at a part.
    fn is_asked(&self) -> bool {
        self.question.size.is_some() || self.question.range.is_some()
    }

    /// What each member holds where no part of the image is: where it holds anything behind the voted end, and how much content it holds
    /// there and in what is left out.
    #[must_use]
    pub fn outside(&self) -> Vec<(Option<u64>, u64)> {
        if self.question.read_pattern == ReadPattern::Fifo {
            return vec![(None, 0); self.members.len()]; // nothing was compared
        }
        let content = |member: &&dyn Member| {
            let all = member.size() <= self.poll.size && self.poll.skipped.is_empty();
            if all || member.failure().is_some() { 0 } else { content_at_least(*member, self.ranges, u64::MAX, self.stopped).0 }
        };
        self.behind().into_iter().zip(self.members.iter().map(content)).collect()
    }

    /// For each member where it holds content behind the voted end; not looked at where the user said where the end is, or looks at a part.
    fn behind(&self) -> Vec<Option<u64>> {
        let behind = |member: &&dyn Member| {
            let looked_at = !self.is_asked() && member.size() > self.poll.size && member.failure().is_none();
            looked_at.then(|| data_behind(*member, self.poll.size, self.stopped)).flatten()
        };
        self.members.iter().map(behind).collect()
    }
}

/// What weighing comes to.
#[derive(Clone, Debug, Default)]
pub struct Stands {
    /// The guards that stand, in the table's order.
    pub guards: Vec<Stand>,
    /// Members by number whose surplus is nothing but zeros of a device's.
    pub blank_surplus: Vec<usize>,
}

impl Stands {
    /// The same as reports have it.
    #[must_use]
    pub fn reported(&self, forced: Forced) -> Weighed {
        Weighed { guards: Judge::reported(&self.guards, forced), blank_surplus: self.blank_surplus.clone(), ..Weighed::default() }
    }
}

/// Whether a version could win that most members don't hold.
pub(super) fn minority(members: usize, question: &Question, poll: &Poll) -> Option<Stand> {
    let (needed, fifo) = (majority(members), question.read_pattern == ReadPattern::Fifo);
    (poll.threshold < needed && question.trust.is_none() && !fifo).then(|| Stand {
        guard: Guard::Minority,
        member: None,
        evidence: Record::default()
            .with("threshold", poll.threshold as u64)
            .with("members", members as u64)
            .with("majority", needed as u64),
        what: format!(
            "a threshold of {} is below the majority of {members} members ({needed}), so a version can win that most members don't hold",
            poll.threshold
        ),
        ways: &["leave --threshold out"],
    })
}

impl Judge {
    /// What stands as reports have it.
    fn reported(stands: &[Stand], forced: Forced) -> Vec<GuardReport> {
        let stance = |way, guard| match (Self { way, forced }.stance(guard)) {
            Stance::Refuses => "refused",
            Stance::Tells => "told",
            Stance::Passes => "ignored",
        };
        // What another disk's copy loses says nothing against the others.
        let is_stranger = |member| stands.iter().any(|stand| stand.guard == Guard::Stranger && stand.member == member);
        let of = |stand: &Stand| GuardReport {
            word: stand.word(),
            member: stand.member,
            in_place: stance(Way::InPlace, stand.guard),
            new_image: stance(Way::NewImage, stand.guard),
            forced: forced.has(stand.guard),
            evidence: stand.evidence.clone(),
            message: stand.what.clone(),
            hint: stand.ways.join("; "),
            doubts_vote: matches!(stand.guard, Guard::Newer | Guard::Zeros | Guard::Empty | Guard::Cuts) && !is_stranger(stand.member),
        };
        stands.iter().map(of).collect()
    }

    /// Refuses where a guard stands that this way of writing heeds.
    ///
    /// # Errors
    /// [`RepairError::Guarded`], with all of them.
    pub(in crate::repair) fn heed(self, stands: &[Stand]) -> Result<(), RepairError> {
        let heeded: Vec<Stand> = stands.iter().filter(|stand| self.heeds(stand.guard)).cloned().collect();
        if heeded.is_empty() {
            return Ok(());
        }
        Err(RepairError::Guarded { message: refusal(&heeded, self.way), guards: Self::reported(stands, self.forced) })
    }
}

/// What a refusal says: every guard that stands, and the ways out.
fn refusal(stands: &[Stand], way: Way) -> String {
    let whats: Vec<&str> = stands.iter().map(|stand| stand.what.as_str()).collect();
    let mut hints: Vec<&str> = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    for stand in stands {
        for way in stand.ways {
            if !hints.contains(way) {
                hints.push(way);
            }
        }
        if !words.contains(&stand.word()) {
            words.push(stand.word());
        }
    }
    let anyway = match way {
        Way::InPlace => "rewrites it all the same",
        Way::NewImage => "makes the image all the same",
    };
    format!("{}\nhint: {}; --force {} {anyway}", whats.join("\n"), hints.join("; "), words.join(","))
}

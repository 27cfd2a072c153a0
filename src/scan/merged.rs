//! The reports of all parts of an image become the report of the whole: what was counted is added up, divergences that two parts share are
//! joined, and what follows from it is concluded as if one check had seen it all. Pure.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
};

use super::{
    job::Outcome,
    poll::{Poll, Question},
    recorded::RecordedMember,
    shard::{SHARDS_MAX, ShardFacts, WitnessFacts, part_of, time_of},
    tally::Tally,
};
use crate::{
    evidence::{Evidence, Known, Stamp},
    member::{MemberName, Structure, escaped},
    report::{ContradictionReport, HeardReport, ImageErrorReport, MemberReport, ReadPattern, Report},
    vote::{ByteRange, Fillers, MEMBERS_MAX, Rule, Rules, VirtualSize},
};

/// The report of a part.
pub struct Shard {
    /// What it is called.
    pub name: MemberName,
    /// Which part it is of, from 0 on, and how many there are.
    pub index: u64,
    /// See `index`.
    pub count: u64,
    /// It, without its divergences.
    pub report: Report,
    /// What it knows beyond that.
    pub facts: ShardFacts,
    /// What tells its divergences from others.
    pub listed: u64,
}

impl Shard {
    /// Forgets what the first part that was read tells of the members, too: it is the same for all parts.
    ///
    /// # Errors
    /// Where it isn't: then they are of other members, or somebody wrote to them.
    pub fn share(&mut self, first: &MemberName, known: &[Known]) -> Result<(), ShardError> {
        for (index, (own, first_known)) in self.facts.members.iter_mut().zip(known).enumerate() {
            if own.known != *first_known {
                let member = self.report.members.get(index).map_or_else(String::new, |member| format!(" ({})", member.name));
                let what =
                    format!("member #{index}{member} is another one, or was written to in between: it says something else of itself");
                return Err(ShardError::Other { name: self.name.clone(), other: first.clone(), what });
            }
            own.known = Known::default();
        }
        Ok(())
    }
}

/// Why reports make no whole.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// One isn't of a part.
    #[error(
        "{0}: is no report of a part\nhint: --merge takes what quorum-img check --shard I/N --report FILE wrote; without --merge it is shown as it is"
    )]
    NoShard(MemberName),
    /// One was written by another version.
    #[error(
        "{name}: was written by version {version}, and what it knows can't be read by this one ({why})\nhint: merge with the version that made it, or run that check again"
    )]
    OtherVersion {
        /// Its name.
        name: MemberName,
        /// That version.
        version: String,
        /// What is wrong with it.
        why: String,
    },
    /// One isn't complete.
    #[error("{name}: {what}\nhint: run that part again: quorum-img check --shard {index}/{count} --report FILE MEMBER...")]
    Incomplete {
        /// Its name.
        name: MemberName,
        /// Why.
        what: &'static str,
        /// Its number, and how many there are.
        index: u64,
        /// See `index`.
        count: u64,
    },
    /// Two don't belong together.
    #[error(
        "{name}: doesn't belong to {other}: {what}\nhint: merge the parts of one check: of the same members, unchanged, with the same options"
    )]
    Other {
        /// Its name.
        name: MemberName,
        /// The other one's.
        other: MemberName,
        /// What differs.
        what: String,
    },
    /// Some are missing.
    #[error(
        "{missing} of {count} parts are missing: {list}\nhint: quorum-img check --shard {first}/{count} --report FILE MEMBER... makes the first of them"
    )]
    Missing {
        /// How many.
        missing: u64,
        /// How many parts there are.
        count: u64,
        /// Their numbers.
        list: String,
        /// The first of them.
        first: u64,
    },
    /// One tells what no check tells.
    #[error("{name}: isn't what a check wrote: {what}\nhint: run that check again")]
    Wrong {
        /// Its name.
        name: MemberName,
        /// What is wrong.
        what: String,
    },
}

/// Parts that are named when they are missing.
const NAMED_MAX: usize = 10;
/// Errors of an image's structure that are listed, as of the whole.
const IMAGE_ERRORS_MAX: usize = crate::member::qcow2::DAMAGES_LISTED_MAX;
/// Warnings that are told.
const WARNINGS_MAX: usize = 1000;
/// Contradictions that are listed.
const CONTRADICTIONS_MAX: usize = super::hearing::LISTED_MAX;

/// What all parts know together, but for their divergences.
pub struct Merged {
    /// The members as they were.
    pub members: Vec<RecordedMember>,
    /// What was known of them.
    pub evidence: Evidence<'static>,
    /// What was asked.
    pub question: Question,
    /// What was settled before.
    pub poll: Poll,
    /// The digests that were heard.
    pub witnesses: Vec<WitnessFacts>,
    /// What they said.
    pub heard: HeardReport,
    /// Bytes of content of each member, as far as that was counted.
    pub content: Vec<Option<u64>>,
    /// What a look through each member's books says.
    pub structures: Vec<Structure>,
    /// See `--max-damage`.
    pub max_damage: f64,
    /// Members that share storage, in words.
    pub dependent: Vec<String>,
    /// What was to be said before the vote.
    pub warnings: Vec<String>,
    /// What was scanned; its tally has no divergences yet.
    pub outcome: Outcome,
}

/// The reports that make a whole, one for each part, in order; what is there twice, and tells the same, is left out.
///
/// # Errors
/// Where they don't belong together, or some are missing.
pub fn sorted(mut shards: Vec<Shard>) -> Result<Vec<Shard>, ShardError> {
    for shard in &shards {
        sound(shard)?;
    }
    shards.sort_by_key(|shard| shard.index);
    for pair in shards.windows(2) {
        if let Some(what) = difference(&pair[0], &pair[1]) {
            return Err(ShardError::Other { name: pair[1].name.clone(), other: pair[0].name.clone(), what });
        }
    }
    shards.dedup_by_key(|shard| shard.index);
    let count = shards.first().map_or(0, |shard| shard.count);
    let there: BTreeSet<u64> = shards.iter().map(|shard| shard.index).collect();
    let missing: Vec<u64> = (0..count).filter(|index| !there.contains(index)).collect();
    if let Some(&first) = missing.first() {
        let more = if missing.len() > NAMED_MAX { ", ..." } else { "" };
        let list = missing.iter().take(NAMED_MAX).map(|index| format!("{index}/{count}")).collect::<Vec<_>>().join(", ") + more;
        return Err(ShardError::Missing { missing: missing.len() as u64, count, list, first });
    }
    Ok(shards)
}

/// Whether a report of a part is whole, and can be true.
fn sound(shard: &Shard) -> Result<(), ShardError> {
    let Shard { name, index, count, report, facts, .. } = shard;
    let wrong = |what: &str| Err(ShardError::Wrong { name: name.clone(), what: what.to_owned() });
    let incomplete = |what| Err(ShardError::Incomplete { name: name.clone(), what, index: *index, count: *count });
    if report.partial {
        return incomplete("that check was interrupted");
    }
    if report.divergences_omitted > 0 {
        return incomplete("it doesn't list all divergences: what --report writes has them all");
    }
    let members = report.members.len();
    if index >= count || *count > SHARDS_MAX || members == 0 || members > MEMBERS_MAX || facts.members.len() != members {
        return wrong("its members or its number");
    }
    let sector = report.sector_size;
    if !sector.is_power_of_two() || facts.size.0 != report.size || facts.size.1.is_some_and(|shortest| shortest > report.size) {
        return wrong("its size, or its sectors");
    }
    let part = report.range.and_then(|span| ByteRange::at(span.offset, span.length));
    if part != Some(part_of(report.size, *index, *count)) {
        return wrong("the part that it is of");
    }
    if report.members.iter().zip(&facts.members).enumerate().any(|(at, (member, facts))| member.index != at || member.size != facts.size) {
        return wrong("its members' sizes");
    }
    let witnesses = report.heard.witnesses.len();
    if witnesses != facts.witnesses.len() || witnesses > MEMBERS_MAX {
        return wrong("its digests");
    }
    Ok(())
}

/// Why two aren't parts of one check, in words.
fn difference(a: &Shard, b: &Shard) -> Option<String> {
    if a.count != b.count {
        return Some(format!("that is one of {} parts, and this one of {}", a.count, b.count));
    }
    if a.index == b.index && (a.listed != b.listed || a.report.sectors != b.report.sectors) {
        return Some(format!("both are of part {}/{}, and they tell different things of it: run that part again", a.index, a.count));
    }
    if a.facts.members.len() != b.facts.members.len() {
        return Some(format!("that is of {} members, and this of {}", a.facts.members.len(), b.facts.members.len()));
    }
    let pairs = a.facts.members.iter().zip(&b.facts.members);
    if let Some((index, (ours, theirs))) = pairs.enumerate().find(|(_, (ours, theirs))| !ours.is_untouched(theirs)) {
        let what = match () {
            () if ours.failure.is_some() != theirs.failure.is_some() => "could be read in one of the two, and not in the other",
            () if ours.identity == theirs.identity || ours.name == theirs.name => "was written to in between",
            () => "is another one",
        };
        return Some(format!("member #{index} ({}) {what}", b.report.members[index].name));
    }
    let state = |shard: &Shard| shard.report.members.iter().map(|it| (it.format, it.snapshot.clone())).collect::<Vec<_>>();
    if state(a) != state(b) {
        return Some("they are of other states of the members: another format, or another snapshot".to_owned());
    }
    if a.report.size != b.report.size || a.facts.size != b.facts.size {
        return Some(format!("that is of {} bytes, and this of {}", a.report.size, b.report.size));
    }
    let asked = |shard: &Shard| (shard.facts.question.clone(), shard.report.sector_size, shard.report.threshold, shard.report.read_pattern);
    if asked(a) != asked(b) || a.facts.max_damage.to_bits() != b.facts.max_damage.to_bits() || a.facts.diagnosed != b.facts.diagnosed {
        return Some("they were made with other options, or other digests".to_owned());
    }
    None
}

impl Merged {
    /// Adds up what the parts know; they are [`sorted`].
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn of(shards: &[Shard]) -> Self {
        let (first, last) = (&shards[0], &shards[shards.len() - 1]);
        let (report, facts) = (&first.report, &first.facts);
        let count = report.members.len();
        let size_vote = match facts.size {
            (size, None) => VirtualSize::Decided(size),
            (longest, Some(shortest)) => VirtualSize::Undecided { longest, shortest },
        };
        let poll = Poll {
            size_vote,
            size: report.size,
            sector: report.sector_size,
            threshold: report.threshold,
            rules: Rules::new(Rule::Threshold(report.threshold)),
            range: ByteRange::new(0, report.size),
            fillers: Fillers::default(),
            skipped: facts.skipped.clone(),
            warnings: Vec::new(),
        };
        let question = Question {
            sector: report.sector_size,
            threshold: Some(report.threshold),
            size: facts.size_given.then_some(report.size),
            read_pattern: report.read_pattern,
            trust: report.trust.filter(|&member| member < count),
            ..Question::default()
        };
        let mut tally = Tally::new(count);
        for shard in shards {
            tally.add_lost(&shard.facts.members.iter().map(|member| member.lost).collect::<Vec<_>>());
        }
        let weighed = shards.iter().all(|shard| shard.facts.weighed);
        let outside = |member: usize| last.facts.members[member].content_outside;
        let content =
            (0..count).map(|member| weighed.then(|| tally.members[member].lost.content_held.saturating_add(outside(member)))).collect();
        let any = |listed: fn(&ShardFacts) -> &Vec<usize>, member: usize| shards.iter().any(|shard| listed(&shard.facts).contains(&member));
        let outcome = Outcome {
            scanned_bytes: report.size,
            complete: true,
            failures: (0..count).map(|member| shards.iter().find_map(|shard| shard.report.members[member].error.clone())).collect(),
            late: (0..count).filter(|&member| any(|facts| &facts.late, member)).collect(),
            hurried: (0..count).map(|member| any(|facts| &facts.hurried, member)).collect(),
            weighed,
            tally,
            ..Outcome::default()
        };
        let known: Vec<Known> = facts.members.iter().map(|member| member.known.clone()).collect();
        let stamp = |at: Option<(i64, u64)>| at.and_then(|(time, clock)| Some(Stamp { time: time_of(time)?, clock }));
        let fifo = report.read_pattern == ReadPattern::Fifo;
        let stamps = if fifo { Vec::new() } else { facts.members.iter().map(|member| stamp(member.stamp)).collect() };
        let members: Vec<RecordedMember> = (0..count).map(|member| recorded(shards, member)).collect();
        let mut merged = Self {
            evidence: Evidence::recorded(known, stamps),
            structures: members.iter().map(RecordedMember::recorded_structure).collect(),
            members,
            question,
            poll,
            witnesses: facts.witnesses.clone(),
            heard: heard(shards),
            content,
            max_damage: facts.max_damage,
            dependent: facts.dependent.iter().map(|text| escaped(text)).collect(),
            warnings: Vec::new(),
            outcome,
        };
        merged.outcome.heard.losers = shards.iter().fold(0, |losers, shard| losers | shard.facts.losers);
        merged.outcome.heard.swayed = merged.heard.swayed_sectors;
        for (index, witness) in merged.heard.witnesses.iter().enumerate() {
            merged.outcome.heard.of(index).contradicted = witness.contradicted_chunks;
        }
        let mut said: HashSet<&String> = HashSet::new();
        let warnings = shards.iter().flat_map(|shard| &shard.facts.warnings).filter(|text| said.insert(text)).take(WARNINGS_MAX);
        merged.warnings.extend(warnings.map(|text| escaped(text)));
        if shards.len() > 1 {
            for member in facts.members.iter().filter(|member| member.modified.is_none() && member.failure.is_none()) {
                let name = MemberName::new(OsStr::from_bytes(&member.name));
                merged
                    .warnings
                    .push(format!("{name}: nobody can tell whether it was written to between the parts: it has no time of its own"));
            }
        }
        merged
    }
}

/// A member by what all parts tell of it.
fn recorded(shards: &[Shard], member: usize) -> RecordedMember {
    let of = |shard: &'_ Shard| (shard.report.members[member].clone(), shard.facts.members[member].clone());
    let ((mut report, mut facts), (_, last)) = (of(&shards[0]), of(&shards[shards.len() - 1]));
    facts.behind = last.behind;
    let all = |shard: &Shard| shard.facts.members[member].changed.clone();
    facts.changed = shards.iter().find_map(all).map(|text| escaped(&text));
    (report.image_errors, report.image_errors_omitted) = image_errors(shards.iter().map(|shard| &shard.report.members[member]));
    RecordedMember::new(report, facts)
}

/// What the parts met in an image's tables, each error once, by offset.
fn image_errors<'a>(parts: impl Iterator<Item = &'a MemberReport>) -> (Vec<ImageErrorReport>, u64) {
    let (mut all, mut omitted): (Vec<ImageErrorReport>, u64) = (Vec::new(), 0);
    let mut said: HashSet<String> = HashSet::new();
    for part in parts {
        omitted = omitted.saturating_add(part.image_errors_omitted);
        let new = part.image_errors.iter().filter(|error| said.insert(format!("{error:?}")));
        all.extend(new.take(IMAGE_ERRORS_MAX).cloned());
    }
    all.sort_by_key(|error| (error.span.offset, error.span.length));
    omitted = omitted.saturating_add(all.len().saturating_sub(IMAGE_ERRORS_MAX) as u64);
    all.truncate(IMAGE_ERRORS_MAX);
    (all, omitted)
}

/// What digests said in all parts.
fn heard(shards: &[Shard]) -> HeardReport {
    let mut all = shards[0].report.heard.clone();
    all.contradictions.clear();
    all.contradictions_omitted = 0;
    for shard in &shards[1..] {
        for (ours, theirs) in all.witnesses.iter_mut().zip(&shard.report.heard.witnesses) {
            ours.add(theirs);
        }
        for (ours, theirs) in all.donors.iter_mut().zip(&shard.report.heard.donors) {
            ours.donated_sectors = ours.donated_sectors.saturating_add(theirs.donated_sectors);
            ours.unreadable_sectors = ours.unreadable_sectors.saturating_add(theirs.unreadable_sectors);
            ours.error = ours.error.take().or_else(|| theirs.error.clone());
        }
        all.swayed_sectors = all.swayed_sectors.saturating_add(shard.report.heard.swayed_sectors);
    }
    for shard in shards {
        let heard = &shard.report.heard;
        all.contradictions_omitted = all.contradictions_omitted.saturating_add(heard.contradictions_omitted);
        for place in &heard.contradictions {
            contradict(&mut all, place);
        }
    }
    all
}

/// Adds a place; one that goes on where the last ended is the same.
fn contradict(all: &mut HeardReport, place: &ContradictionReport) {
    let full = all.contradictions.len() >= CONTRADICTIONS_MAX;
    match all.contradictions.last_mut() {
        Some(last) if last.witnesses == place.witnesses && last.span.offset.checked_add(last.span.length) == Some(place.span.offset) => {
            last.span.length = last.span.length.saturating_add(place.span.length);
        }
        _ if full => all.contradictions_omitted = all.contradictions_omitted.saturating_add(1),
        _ => all.contradictions.push(place.clone()),
    }
}

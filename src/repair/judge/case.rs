//! What members would lose, and whether a guard stands before that. Pure: what has to be read for it was read, or is asked for.

use std::fmt::Write as _;

use super::guards::{Guard, TABLE};
use crate::{
    evidence::{AgeOf, By, Evidence, Id, are_strangers},
    member::{Fact, MemberName, Record},
    report::{human_size, rfc3339, sectors},
    scan::Lost,
    vote::{mask_of, members_of},
};

/// Content in bytes that a member may lose to zeros: less is what one flipped bit, or a few, in empty blocks make.
pub const ZEROED_MAX: u64 = 64 << 10;
/// Content in bytes, and divergences, in which a member that is newer by its file's time may be outvoted without being taken for the
/// only one up to date.
const NEWER_BYTES_MAX: u64 = 1 << 20;
const NEWER_DIVERGENCES_MAX: u64 = 1000;

/// The way out where the one that would lose may be right.
const IF_RIGHT: &str = "if it is the one that is right, --trust or --pick it";

/// Bytes of content that a member holds, or so many as asked for where it holds more.
pub type Content<'a> = &'a dyn Fn(usize, u64) -> u64;

/// What a vote would do to its members.
pub struct Case<'a> {
    /// The members' names.
    pub names: Vec<&'a MemberName>,
    /// Their sizes in bytes.
    pub sizes: Vec<u64>,
    /// What is known of them beside their ballots.
    pub evidence: &'a Evidence<'a>,
    /// What each holds and loses, as far as it was looked at.
    pub lost: Vec<Lost>,
    /// Divergences in which each is newer than all who outvote it.
    pub newer: Vec<u64>,
    /// Whether each would lose what makes it a leg of an array.
    pub legs: Vec<bool>,
    /// Where each holds content behind the voted end that would be cut off.
    pub cut: Vec<Option<u64>>,
    /// The voted size in bytes.
    pub size: u64,
    /// Those who would lose anything, as a mask.
    pub losers: u64,
    /// How much of its content a member may lose, in percent.
    pub max_damage: f64,
    /// What was warned about: members that share storage.
    pub dependent: &'a [String],
    /// Witnesses that may be too old to be relied on, each with why, in words.
    pub old_witnesses: Vec<String>,
    /// Sectors that witnesses have settled, or unsettled.
    pub swayed: u64,
    /// The same of the whole of a member, whatever was looked at.
    pub content: Content<'a>,
}

/// A guard that stands.
#[derive(Clone, Debug)]
pub struct Stand {
    /// Which one.
    pub guard: Guard,
    /// Whom it is about; none where it is about all.
    pub member: Option<usize>,
    /// What it goes by.
    pub evidence: Record,
    /// The same in words.
    pub what: String,
    /// The ways out.
    pub ways: &'static [&'static str],
}

impl Stand {
    /// The word that overrides it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        TABLE[self.guard as usize].word.unwrap_or_default()
    }
}

impl Case<'_> {
    /// The guards that stand, in the table's order.
    #[must_use]
    pub fn stands(&self) -> Vec<Stand> {
        let looks: [fn(&Self, usize) -> Option<Stand>; 7] =
            [Self::newer, Self::zeros, Self::empty, Self::cuts, Self::stale, Self::stranger, Self::device_metadata];
        let all = || members_of(self.losers).filter(|&member| member < self.names.len());
        let mut stands: Vec<Stand> = looks.iter().flat_map(|look| all().filter_map(|member| look(self, member))).collect();
        let outvoted = all().any(|member| self.lost[member].outvoted_by != 0);
        stands.extend(self.dependent.iter().filter(|_| outvoted).map(|what| Stand {
            guard: Guard::Shared,
            member: None,
            evidence: Record::default().with("shared", what.clone()),
            what: format!("{what}: the same damage may have several votes"),
            ways: &["leave one of them out", "say who is right with --trust"],
        }));
        stands.extend(self.old_witnesses.iter().filter(|_| self.swayed > 0).map(|what| Stand {
            guard: Guard::OldWitness,
            member: None,
            evidence: Record::default().with("witness", what.clone()).with("swayed-sectors", self.swayed),
            what: format!("{what}; the digest may know only what stood there before, and its word settles {}", sectors(self.swayed)),
            ways: &["leave it out", "make a new one of copies that agree"],
        }));
        stands
    }

    fn stand(&self, guard: Guard, member: usize, evidence: Record, what: &str, ways: &'static [&'static str]) -> Stand {
        let what = format!("{}: {what}", self.names[member]);
        Stand { guard, member: Some(member), evidence, what, ways }
    }

    fn newer(&self, member: usize) -> Option<Stand> {
        let lost = &self.lost[member];
        let by = if lost.newer_by_contents > 0 { By::Contents } else { By::Time };
        let many = lost.newer_by_time >= NEWER_BYTES_MAX || self.newer[member] >= NEWER_DIVERGENCES_MAX;
        if by == By::Time && (lost.newer_by_time == 0 || !many) {
            return None;
        }
        let (bytes, divergences) = (lost.newer_by_contents.max(lost.newer_by_time), self.newer[member]);
        let (ages, lines) = self.ages_beside(member, lost.outvoted_by);
        let (told, how) = if by == By::Contents { ("contents", "by what it holds") } else { ("modified", "by its file's time") };
        let evidence = Record::default().with("by", told).with("bytes", bytes).with("divergences", divergences).with("ages", ages);
        let what = format!(
            "it would lose {} of content, and is newer than every copy that outvotes it ({how}), so it may be the only one that is up to date:{lines}",
            human_size(bytes)
        );
        Some(self.stand(Guard::Newer, member, evidence, &what, &[IF_RIGHT]))
    }

    /// The ages of a member and of those who outvote it, for programs and for people.
    fn ages_beside(&self, member: usize, outvoting: u64) -> (Vec<Record>, String) {
        let known = &self.evidence.members;
        let differs = |age: &&AgeOf| {
            let others = || members_of(outvoting).filter_map(|other| known.get(other));
            others().any(|other| other.ages.iter().any(|there| there.age.origin == age.age.origin && there.age != age.age))
        };
        let parts: Vec<&AgeOf> = known[member].ages.iter().filter(differs).collect();
        let (mut records, mut lines) = (Vec::new(), String::new());
        for who in members_of(outvoting | 1 << member).filter(|&who| who < known.len()) {
            let own = |part: &&&AgeOf| known[who].ages.iter().find(|there| there.age.origin == part.age.origin);
            let mut words: Vec<String> = parts.iter().filter_map(|part| Some(own(&part)?.age.described())).collect();
            let modified = self.evidence.seniority.stamps[who].and_then(|stamp| rfc3339(stamp.time));
            if parts.is_empty() {
                words.push(modified.clone().map_or_else(|| "modified at an unknown time".into(), |time| format!("modified {time}")));
            }
            let age = parts.iter().find_map(|part| Some(own(&part)?.age));
            let mut record = Record::default().with("member", who as u64).with_some("kind", age.map(|age| age.origin.kind));
            record = record.with_some("counter", age.and_then(|age| age.counter));
            let written = age.and_then(|age| age.seconds).and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            record = record.with_some("written", written.map(|time| time.to_string())).with_some("modified", modified);
            records.push(record);
            let words = if words.is_empty() { "doesn't tell".into() } else { words.join("; ") };
            let _ = write!(lines, "\n  {}: {words}", self.names[who]); // a String takes all
        }
        (records, lines)
    }

    fn zeros(&self, member: usize) -> Option<Stand> {
        let lost = &self.lost[member];
        let size = human_size(lost.zeroed_in_use);
        let what = format!(
            "{size} of its content would become zeros, and no file system that all share calls those blocks free: the others may have lost it"
        );
        let evidence = Record::default().with("bytes", lost.zeroed_in_use).with("by", numbers(lost.zeroed_by));
        (lost.zeroed_in_use >= ZEROED_MAX)
            .then(|| self.stand(Guard::Zeros, member, evidence, &what, &["look at it before you decide", IF_RIGHT]))
    }

    fn empty(&self, member: usize) -> Option<Stand> {
        let without = |who: usize| (self.content)(who, 1) == 0;
        let by_size = self.cut[member].is_some();
        let shorter = mask_of((0..self.names.len()).filter(|&who| who != member && self.sizes[who] == self.size));
        let outvoting = self.lost[member].zeroed_by | if by_size { shorter } else { 0 };
        if outvoting == 0 || !members_of(outvoting).all(without) {
            return None;
        }
        let evidence = Record::default().with("by", numbers(outvoting));
        let who: Vec<String> = members_of(outvoting).map(|who| format!("#{who}")).collect();
        let what = format!(
            "it is outvoted by copies that hold nothing but zeros ({}): it may be the only one that holds anything",
            who.join(", ")
        );
        Some(self.stand(Guard::Empty, member, evidence, &what, &["leave the empty ones out", "--trust it, and they become like it"]))
    }

    fn cuts(&self, member: usize) -> Option<Stand> {
        let offset = self.cut[member]?;
        let (size, own) = (self.size, self.sizes[member]);
        let evidence = Record::default().with("offset", offset).with("size", size).with("member-size", own);
        let what = format!(
            "holds data behind the voted end, at offset {offset:#x}; at {size} bytes it would be cut off, or be out of reach (it has {own})"
        );
        Some(self.stand(Guard::Cuts, member, evidence, &what, &["say which size is right with --size BYTES"]))
    }

    fn stale(&self, member: usize) -> Option<Stand> {
        let lost = self.lost[member].content;
        if lost == 0 {
            return None;
        }
        // So much content makes the loss small enough; more need not be counted.
        #[allow(clippy::cast_sign_loss)] // a percentage from 0 on
        let wanted = (lost as f64 * 100.0 / self.max_damage.max(1e-9)).min(1e19) as u64;
        let content = (self.content)(member, wanted).max(lost);
        let percent = lost as f64 * 100.0 / content as f64;
        if percent <= self.max_damage {
            return None;
        }
        let evidence = Record::default().with("bytes", lost).with("content-bytes", content);
        let what = format!(
            "{percent:.1} % of its content would be replaced ({} of {}), and --max-damage allows {} %{}",
            human_size(lost),
            human_size(content),
            self.max_damage,
            if self.newer(member).is_some() { "" } else { ": it may be stale, or a copy of another disk" }
        );
        Some(self.stand(Guard::Stale, member, evidence, &what, &["leave it out", "let it vote with --no-write", IF_RIGHT]))
    }

    fn stranger(&self, member: usize) -> Option<Stand> {
        let outvoting = self.lost[member].outvoted_by;
        if let Some(stand) = self.of_another_set(member, outvoting) {
            return Some(stand);
        }
        let ids = |who: usize| self.evidence.members.get(who).map_or(&[][..], |known| &known.ids);
        // Who says nothing may have lost what said it.
        let others: Vec<&[Id]> = members_of(outvoting).map(ids).filter(|ids| !ids.is_empty()).collect();
        if others.is_empty() || !are_strangers(ids(member), &others) {
            return None;
        }
        let texts = |ids: &mut dyn Iterator<Item = &Id>| {
            let mut texts: Vec<String> = ids.map(Id::described).collect();
            texts.dedup();
            texts
        };
        let (own, theirs) = (texts(&mut ids(member).iter()), texts(&mut others.iter().copied().flatten()));
        let shown = |texts: &[String]| texts[..texts.len().min(3)].join(", ");
        let what =
            format!("it seems to be a copy of another disk: it holds {}, and those that outvote it hold {}", shown(&own), shown(&theirs));
        let evidence = Record::default().with("ids", own).with("others-ids", theirs);
        Some(self.stand(
            Guard::Stranger,
            member,
            evidence,
            &what,
            &["leave out what belongs to another set of copies: it, or those that outvote it"],
        ))
    }

    /// Its mark says that it belongs to another set than those who outvote it.
    fn of_another_set(&self, member: usize, outvoting: u64) -> Option<Stand> {
        let set = |who: usize| self.evidence.members.get(who)?.set;
        let own = set(member)?;
        let others: Vec<_> = members_of(outvoting).filter_map(set).collect();
        let other = *others.first().filter(|_| !others.contains(&own))?;
        let evidence = Record::default().with("set", own.to_string()).with("others-set", other.to_string());
        let what = format!("it belongs to another set: its mark says {own}, and those that outvote it say {other}");
        let ways = &["leave out what belongs to another set of copies: it, or those that outvote it"];
        Some(self.stand(Guard::Stranger, member, evidence, &what, ways))
    }

    fn device_metadata(&self, member: usize) -> Option<Stand> {
        let leg = self.evidence.members[member].device_metadata.first().filter(|_| self.legs[member])?;
        let evidence = Record::default()
            .with("kind", "md")
            .with("version", leg.version)
            .with("role", leg.role)
            .with("offset", leg.ranges.first().map_or(0, |range| range.start));
        let what = format!(
            "it is one leg of an md array (metadata {}, device {}), and its superblock would become another leg's: the array could not be assembled from both",
            leg.version, leg.role
        );
        Some(self.stand(
            Guard::DeviceMetadata,
            member,
            evidence,
            &what,
            &["--skip-device-metadata leaves the superblocks alone and compares the rest"],
        ))
    }
}

fn numbers(mask: u64) -> Fact {
    Fact::Numbers(members_of(mask).map(|who| who as u64).collect())
}

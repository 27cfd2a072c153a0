//! The check of a part, and what it has to tell beyond its report so that the reports of all parts make that of the whole. Nothing is read
//! again for it.

use std::{
    fmt::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{
    job::Outcome,
    lost::Lost,
    poll::{Poll, Question},
};
use crate::{
    digest::Source,
    evidence::{Evidence, Known, Stamp},
    member::Member,
    vote::{ByteRange, VirtualSize},
};

/// Parts that an image is cut into at most: what all of them know is held in memory when they are merged.
pub const SHARDS_MAX: u64 = 1 << 12;
/// Parts begin and end at multiples of so many bytes: no sector, block of content or chunk of a digest is in two of them.
const ALIGNMENT: u64 = 1 << 20;

/// The `which`-th (from 0) of `of` parts of an image of `size` bytes, all alike long as far as that goes; a small image has empty ones.
#[must_use]
pub fn part_of(size: u64, which: u64, of: u64) -> ByteRange {
    let pieces = size.div_ceil(ALIGNMENT);
    let edge = |which: u64| ((u128::from(pieces) * u128::from(which) / u128::from(of.max(1))) as u64).saturating_mul(ALIGNMENT).min(size);
    ByteRange::new(edge(which), edge(which + 1))
}

/// A time, in nanoseconds since 1970.
pub type Moment = i64;

fn moment(time: SystemTime) -> Option<Moment> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|before| -before),
    }
}

pub(super) fn time_of(moment: Moment) -> Option<SystemTime> {
    let distance = Duration::from_nanos(moment.unsigned_abs());
    if moment < 0 { SystemTime::UNIX_EPOCH.checked_sub(distance) } else { SystemTime::UNIX_EPOCH.checked_add(distance) }
}

/// What the check of a part knows beyond its report.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ShardFacts {
    /// What tells what was asked from other questions.
    pub question: String,
    /// The size in bytes; where none won the longest, and then the shortest.
    pub size: (u64, Option<u64>),
    /// Whether the user said it.
    pub size_given: bool,
    /// Parts of the image that were left out.
    pub skipped: Vec<ByteRange>,
    /// See `--max-damage`.
    pub max_damage: f64,
    /// What was warned about: members that share storage.
    pub dependent: Vec<String>,
    /// What else was to be said before the vote.
    pub warnings: Vec<String>,
    /// Whether what members hold and lose was weighed.
    pub weighed: bool,
    /// Whether losing bytes were looked at.
    pub diagnosed: bool,
    /// Divergences that are listed.
    pub divergences_max: u64,
    /// Members that failed only when all was read.
    pub late: Vec<usize>,
    /// Members of which what can't be read was told in blocks.
    pub hurried: Vec<usize>,
    /// One for each member.
    pub members: Vec<MemberFacts>,
    /// Digests that were heard.
    pub witnesses: Vec<WitnessFacts>,
    /// Members, as a mask, that lose by the digests' word.
    pub losers: u64,
    /// The options of the command line, which its `next:` repeats; none where they aren't all UTF-8.
    pub options: Option<Vec<String>>,
    /// The digests' names, in the same way.
    pub digests: Vec<String>,
}

/// What is known of a member.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MemberFacts {
    /// Its name's bytes.
    pub name: Vec<u8>,
    /// What tells its storage from others'.
    pub identity: [u8; 16],
    /// Its file's number.
    pub inode: Option<u64>,
    /// Bytes that a guest sees.
    pub size: u64,
    /// When its file was modified.
    pub modified: Option<Moment>,
    /// When it was modified by others than this program, and by whose clock.
    pub stamp: Option<(Moment, u64)>,
    /// Whether its size is a device's, or an export's.
    pub has_foreign_size: bool,
    /// Whether its file holds the disk otherwise than byte for byte.
    pub is_encoded: bool,
    /// Why it couldn't be read as what it is from the start.
    pub failure: Option<String>,
    /// What became different while it was read.
    pub changed: Option<String>,
    /// What it says of itself.
    pub known: Known,
    /// What it holds and loses in this part.
    pub lost: Lost,
    /// Where it holds anything but zeros behind the image's end; told by the last part alone.
    pub behind: Option<u64>,
    /// Bytes of content that it holds outside of what all parts together look at; told by the last part alone.
    pub content_outside: u64,
}

/// A digest that was heard, as far as guards ask.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct WitnessFacts {
    /// Its name, control characters escaped.
    pub name: String,
    /// Why nothing is written by it, where that is so.
    pub old: Option<String>,
    /// For whom it may be too old, as a mask.
    pub old_for: u64,
    /// Whether its values prove what they are of.
    pub proves: bool,
}

impl WitnessFacts {
    /// Of all that are heard.
    #[must_use]
    pub fn of(question: &Question) -> Vec<Self> {
        let witnesses = question.hearing.iter().flat_map(|hearing| &hearing.witnesses);
        let facts = witnesses.map(|witness| Self {
            name: witness.digest.name().to_string(),
            old: witness.old.clone(),
            old_for: witness.old_for,
            proves: witness.digest.geometry().hash.proves(),
        });
        facts.collect()
    }
}

impl MemberFacts {
    fn of(member: &dyn Member, known: &Known, stamp: Option<Stamp>, lost: Lost) -> Self {
        Self {
            name: member.name().as_os_str().as_bytes().to_vec(),
            identity: Source::identity(member),
            inode: member.files().first().filter(|file| !file.is_device()).map(|file| file.metadata().ino()),
            size: member.size(),
            modified: member.modified().and_then(moment),
            stamp: stamp.and_then(|stamp| Some((moment(stamp.time)?, stamp.clock))),
            has_foreign_size: member.has_foreign_size(),
            is_encoded: member.is_encoded(),
            failure: member.failure().map(str::to_owned),
            changed: if member.failure().is_none() { member.changed() } else { None },
            known: known.clone(),
            lost,
            behind: None,
            content_outside: 0,
        }
    }

    /// Whether it is the same member, and nothing was written to it in between: by its storage, or where that was reached by another way by
    /// its name and its file's number.
    #[must_use]
    pub fn is_untouched(&self, other: &Self) -> bool {
        let by_name = self.inode.is_some() && self.inode == other.inode && self.name == other.name;
        (self.identity == other.identity || by_name) && self.size == other.size && self.modified == other.modified
    }
}

impl ShardFacts {
    /// What the vote on a part knows; what lies outside of all parts, and the command line, are left to whoever knows them.
    #[must_use]
    pub fn of(members: &[&dyn Member], question: &Question, poll: &Poll, evidence: &Evidence, outcome: &Outcome) -> Self {
        let facts = |(index, member): (usize, &&dyn Member)| {
            let stamp = evidence.seniority.stamps.get(index).copied().flatten();
            let known = evidence.members.get(index).cloned().unwrap_or_default();
            MemberFacts::of(*member, &known, stamp, outcome.tally.members.get(index).map_or_else(Lost::default, |tally| tally.lost))
        };
        Self {
            question: fingerprint(question, poll),
            size: match poll.size_vote {
                VirtualSize::Decided(size) => (size, None),
                VirtualSize::Undecided { longest, shortest } => (longest, Some(shortest)),
            },
            size_given: question.size.is_some(),
            skipped: poll.skipped.clone(),
            weighed: outcome.weighed,
            late: outcome.late.clone(),
            hurried: outcome.hurried.iter().enumerate().filter(|(_, hurried)| **hurried).map(|(index, _)| index).collect(),
            members: members.iter().enumerate().map(facts).collect(),
            witnesses: WitnessFacts::of(question),
            losers: outcome.heard.losers,
            ..Self::default()
        }
    }
}

/// Hashes what is written to it.
struct Hashing(Xxh3);

impl fmt::Write for Hashing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// What tells one question from another, whatever members are called.
fn fingerprint(question: &Question, poll: &Poll) -> String {
    let mut hash = Hashing(Xxh3::new());
    let Question { size, read_pattern, trust, picks, fillers, skipped, rereads, .. } = question;
    let (sector, threshold, size_vote) = (poll.sector, poll.threshold, poll.size_vote);
    let heard: Vec<_> = question
        .hearing
        .iter()
        .flat_map(|hearing| &hearing.witnesses)
        .map(|witness| (witness.digest.header().origin, witness.digest.geometry(), witness.digest.header().finished))
        .collect();
    let donors: Vec<[u8; 16]> = question.donors.0.iter().map(|donor| Source::identity(&**donor)).collect();
    let voted = (sector, threshold, size_vote, size, read_pattern, trust, picks);
    let all = (voted, fillers, skipped, rereads, heard, donors);
    let _ = write!(hash, "{all:?}"); // it takes all
    format!("{:032x}", hash.0.digest128())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ALIGNMENT, part_of};

    proptest! {
        /// The parts are the whole, one after the other, and none is much longer than another.
        #[test]
        fn parts_are_the_whole(size in 0u64..1 << 50, of in 1u64..200) {
            let parts: Vec<_> = (0..of).map(|which| part_of(size, which, of)).collect();
            prop_assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, size));
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(parts.iter().all(|part| part.start % ALIGNMENT == 0 || part.is_empty()));
            let longest = parts.iter().map(|part| part.length()).max().unwrap_or(0);
            prop_assert!(parts.iter().all(|part| part.length() + 2 * ALIGNMENT >= longest));
        }
    }
}

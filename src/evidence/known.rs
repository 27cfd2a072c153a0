//! What is known of all members beside their ballots, gathered before the vote.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    Ages, FreeSpace, Id, PartitionTable, ReadAt, Uuid,
    age::AgeOf,
    mark_of,
    pieces::Pieces,
    read_partitions,
    systems::{DeviceMetadata, ask, device_metadata},
};
use crate::{member::Member, vote::ByteRange};

/// A member that is newer by less than this was perhaps only copied later.
const NEWER_MIN: Duration = Duration::from_mins(1);

/// What one member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Known {
    /// Who it is.
    pub ids: Vec<Id>,
    /// How old its parts are, by their contents.
    pub ages: Vec<AgeOf>,
    /// What differs between legs of an array by design.
    pub device_metadata: Vec<DeviceMetadata>,
    /// Its partition table.
    pub table: Option<PartitionTable>,
    /// The set that its mark says it belongs to.
    pub set: Option<Uuid>,
}

/// When a file was modified, and by whose clock: times of one file system alone can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When.
    pub time: SystemTime,
    /// Which file system set it.
    pub clock: u64,
}

/// Who is newer than whom.
#[derive(Clone, Debug, Default)]
pub struct Seniority {
    /// By their contents.
    pub ages: Ages,
    /// When each was modified, where its file tells.
    pub stamps: Vec<Option<Stamp>>,
}

/// What is known of all of them.
pub struct Evidence<'a> {
    /// One for each member.
    pub members: Vec<Known>,
    /// Who is newer than whom.
    pub seniority: Seniority,
    free: FreeSpace<'a>,
}

/// By what a member is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By what it holds.
    Contents,
    /// By its file's time.
    Time,
}

impl Known {
    /// What a disk's bytes say, from its start and in each of its partitions.
    #[must_use]
    pub fn of(disk: &(impl ReadAt + ?Sized)) -> Self {
        let table = read_partitions(disk);
        let mut known = Self { table, ..Self::default() };
        let parts: Vec<ByteRange> = std::iter::once(ByteRange::new(0, disk.length()))
            .chain(known.table.iter().flat_map(|table| &table.partitions).map(|partition| partition.range))
            .collect();
        for (index, part) in parts.iter().copied().enumerate() {
            // A table that names one place many times over would have it read as often.
            if parts[..index].iter().any(|other| index > 0 && other.start == part.start) {
                continue;
            }
            let said = ask(disk, part.start, part.length());
            // A disk's own file system is left over from before it was parted, which takes the first sector alone.
            let left_over = |kind: &str| index == 0 && parts.len() > 1 && kind != "md";
            known.ids.extend(said.ids.into_iter().filter(|id| !left_over(id.kind)));
            known.ages.extend(said.age.filter(|age| !left_over(age.origin.kind)).map(|age| AgeOf { range: part, age }));
            known.device_metadata.extend(device_metadata(disk, part.start, part.length()));
        }
        if let Some(table) = &known.table {
            let kind = if table.kind == "gpt" { "GPT" } else { "MBR" };
            known.ids.extend(table.id.iter().map(|id| Id { kind, value: id.clone(), summed: kind == "GPT" }));
            let own = table.partitions.iter().filter_map(|partition| partition.id);
            known.ids.extend(own.map(|id| Id { kind: "partition", value: id.to_vec(), summed: true }));
        }
        known
    }
}

impl<'a> Evidence<'a> {
    /// Looks at each of `members`. `modified` tells when each was modified by others than this program, where that is known.
    #[must_use]
    pub fn of(members: &'a [&'a dyn Member], modified: &[Option<SystemTime>]) -> Self {
        let pieces: Vec<Pieces> = members.iter().map(|member| Pieces::of(*member)).collect();
        let readable = |index: usize| members[index].failure().is_none();
        let of = |(index, pieces): (usize, &Pieces)| {
            let set = mark_of(members[index]).map(|mark| mark.set);
            if readable(index) { Known { set, ..Known::of(pieces) } } else { Known::default() }
        };
        let known: Vec<Known> = pieces.iter().enumerate().map(of).collect();
        let stamp = |(index, member): (usize, &&dyn Member)| Some(Stamp { time: (*modified.get(index)?)?, clock: member.clock()? });
        let parts = |known: &'_ Known| known.table.iter().flat_map(|table| &table.partitions).map(|it| it.range.start).collect::<Vec<_>>();
        let mut starts: Vec<u64> = known.iter().flat_map(parts).collect();
        // See `Known::of`.
        if known.iter().filter(|known| !parts(known).is_empty()).count() <= members.len() / 2 {
            starts.push(0);
        }
        starts.sort_unstable();
        starts.dedup();
        Self {
            seniority: Seniority {
                ages: Ages::of(&known.iter().map(|known| known.ages.clone()).collect::<Vec<_>>()),
                stamps: members.iter().enumerate().map(stamp).collect(),
            },
            free: FreeSpace::of(members, pieces, &starts),
            members: known,
        }
    }

    /// Of a vote that compares nothing: the partition table of the first member that has one, and nothing of the others.
    #[must_use]
    pub fn of_first(members: &'a [&'a dyn Member]) -> Self {
        let known = members.iter().enumerate().map(|(index, member)| Known {
            table: if index == 0 && member.failure().is_none() { read_partitions(*member) } else { None },
            ..Known::default()
        });
        Self { members: known.collect(), seniority: Seniority::default(), free: FreeSpace::of(members, Vec::new(), &[]) }
    }

    /// What was known at another time of such members, that aren't at hand: what is free isn't known of them.
    #[must_use]
    pub fn recorded(members: Vec<Known>, stamps: Vec<Option<Stamp>>) -> Evidence<'static> {
        let ages = Ages::of(&members.iter().map(|known| known.ages.clone()).collect::<Vec<_>>());
        Evidence { seniority: Seniority { ages, stamps }, free: FreeSpace::of(&[], Vec::new(), &[]), members }
    }

    /// The partition table that most members hold; the first of them where that is a tie.
    #[must_use]
    pub fn partitions(&self) -> Option<&PartitionTable> {
        let tables = || self.members.iter().filter_map(|known| known.table.as_ref());
        let alike = |table: &PartitionTable| tables().filter(|other| other.partitions == table.partitions).count();
        // `max_by_key` would take the last of several.
        tables().collect::<Vec<_>>().into_iter().rev().max_by_key(|table| alike(table))
    }

    /// Where the members' per-device metadata lies, in bytes: ascending, apart from each other.
    #[must_use]
    pub fn device_metadata(&self) -> Vec<ByteRange> {
        let legs = self.members.iter().flat_map(|known| &known.device_metadata);
        let mut ranges: Vec<ByteRange> = legs.flat_map(|leg| leg.ranges.iter().copied()).collect();
        ranges.sort_unstable();
        ByteRange::joined(ranges)
    }

    /// Whether every member's file system calls all of `range` free, that of `member` among them.
    #[must_use]
    pub fn is_free(&self, member: usize, range: ByteRange) -> bool {
        self.free.has(member, range)
    }
}

impl Seniority {
    /// Whether `member` is newer at `offset` than all of `outvoting` (a mask) of which that is known; and by what. Times of files
    /// count only where contents don't tell of these members there.
    #[must_use]
    pub fn newer(&self, member: usize, outvoting: u64, offset: u64) -> Option<By> {
        if let Some(newer) = self.ages.compared(member, outvoting, offset) {
            return newer.then_some(By::Contents);
        }
        let own = (*self.stamps.get(member)?)?;
        let others =
            crate::vote::members_of(outvoting).filter_map(|other| *self.stamps.get(other)?).filter(|other| other.clock == own.clock);
        let latest = others.map(|other| other.time).max()?;
        own.time.duration_since(latest).is_ok_and(|by| by > NEWER_MIN).then_some(By::Time)
    }

    /// Whether one of `outvoting` is newer than `member` at `offset`, by contents.
    #[must_use]
    pub fn is_older(&self, member: usize, outvoting: u64, offset: u64) -> bool {
        self.ages.is_older(member, outvoting, offset)
    }
}

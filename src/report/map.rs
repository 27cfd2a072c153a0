//! Where in an image its members differ: a row of parts for each, however many divergences there are.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Divergence, Overall};
use crate::vote::{ByteRange, Run, SECTOR_MIN, Verdict, members_of};

/// Parts that a row has at most; it has half as many at least, unless the image is small.
const PARTS_MAX: usize = 1024;

/// The worst that is known of a part of a member, the mildest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Nothing.
    #[default]
    Alike,
    /// It may hold something else than zeros; told of single images alone.
    Data,
    /// It says that nothing was read there.
    Filler,
    /// It ends before.
    Absent,
    /// It is outvoted.
    Outvoted,
    /// It answered differently when it was read once more.
    Unstable,
    /// It can't be read.
    Unreadable,
    /// Nobody has won.
    Undecided,
    /// It has failed as a whole.
    Failed,
}

impl Part {
    /// All of them that are something.
    pub const WORSE: [Self; 8] =
        [Self::Data, Self::Filler, Self::Absent, Self::Outvoted, Self::Unstable, Self::Unreadable, Self::Undecided, Self::Failed];

    /// Its letter, in reports and where there are no colours.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Alike => '.',
            Self::Data => '#',
            Self::Filler => 'f',
            Self::Absent => '-',
            Self::Outvoted => 'x',
            Self::Unstable => '~',
            Self::Unreadable => 'u',
            Self::Undecided => '?',
            Self::Failed => '!',
        }
    }

    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alike => "agrees",
            Self::Data => "data",
            Self::Filler => "filler",
            Self::Absent => "absent",
            Self::Outvoted => "outvoted",
            Self::Unstable => "unstable",
            Self::Unreadable => "unreadable",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        }
    }

    /// The one of that letter.
    #[must_use]
    pub fn of_letter(letter: char) -> Option<Self> {
        std::iter::once(Self::Alike).chain(Self::WORSE).find(|part| part.letter() == letter)
    }
}

/// A row of parts for each member. All parts are alike long; the last one may reach over the image's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[serde(default)]
pub struct Map {
    /// Length of a part in bytes, a power of two.
    pub part_bytes: u64,
    /// For each member a letter a part: `.` agrees, `x` is outvoted, `?` nobody has won, `u` can't be read, `~` answered differently when read
    /// once more, `f` a filler, `-` is absent, `!` has failed. A row may end early: the rest agrees.
    #[serde(serialize_with = "as_letters", deserialize_with = "of_letters")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub rows: Vec<Vec<Part>>,
    /// Parts that a row has at most, where that isn't the usual number.
    #[serde(skip)]
    parts_max: Option<usize>,
}

fn as_letters<S: Serializer>(rows: &[Vec<Part>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| row.iter().map(|part| part.letter()).collect::<String>()))
}

fn of_letters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<Part>>, D::Error> {
    let rows = Vec::<String>::deserialize(deserializer)?;
    // A letter that this version doesn't know is something all the same.
    let row = |row: String| row.chars().take(PARTS_MAX).map(|letter| Part::of_letter(letter).unwrap_or(Part::Outvoted)).collect();
    Ok(rows.into_iter().map(row).collect())
}

impl Map {
    /// Nothing known of so many members.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self { part_bytes: u64::from(SECTOR_MIN), rows: vec![Vec::new(); members], parts_max: None }
    }

    /// The same with so many parts for each at most.
    #[must_use]
    pub fn finer(members: usize, parts_max: usize) -> Self {
        Self { parts_max: Some(parts_max), ..Self::new(members) }
    }

    fn parts_max(&self) -> u64 {
        self.parts_max.unwrap_or(PARTS_MAX) as u64
    }

    /// Takes a divergence as a report has it; what names a member that there isn't is left out.
    pub fn add_listed(&mut self, there: &Divergence) {
        let Some(range) = ByteRange::at(there.offset, there.length) else { return };
        let (won, undecided) = (there.verdict == Overall::Decided && there.donor.is_none(), there.verdict == Overall::Undecided);
        let losing = there.versions.iter().skip(usize::from(won)).flat_map(|version| &version.members);
        let losing = losing.map(|&member| (member, if undecided { Part::Undecided } else { Part::Outvoted }));
        let lists = [
            (&there.filler, Part::Filler),
            (&there.absent, Part::Absent),
            (&there.unstable, Part::Unstable),
            (&there.unreadable, Part::Unreadable),
            (&there.failed, Part::Failed),
        ];
        let lists = lists.into_iter().flat_map(|(members, part)| members.iter().map(move |&member| (member, part)));
        let known: Vec<(usize, Part)> = losing.chain(lists).filter(|(member, _)| *member < self.rows.len()).collect();
        for (member, part) in known {
            self.mark(member, range, part);
        }
    }

    /// Takes a divergence.
    pub fn add(&mut self, run: &Run) {
        let grouping = &run.vote.grouping;
        let undecided = run.vote.verdict == Verdict::Undecided;
        let data = if undecided { grouping.versions().fold(0, |mask, version| mask | grouping.holders(version)) } else { 0 };
        for (mask, part) in [
            (grouping.fillers(), Part::Filler),
            (grouping.absent(), Part::Absent),
            (run.vote.dissenters(), Part::Outvoted),
            (grouping.unstable(), Part::Unstable),
            (grouping.unreadable(), Part::Unreadable),
            (data, Part::Undecided),
            (grouping.failed(), Part::Failed),
        ] {
            members_of(mask).for_each(|member| self.mark(member, run.range, part));
        }
    }

    /// Marks a part of a member, where nothing worse is known of it.
    pub fn mark(&mut self, member: usize, range: ByteRange, part: Part) {
        if range.is_empty() {
            return;
        }
        while (range.end - 1) / self.part_bytes >= self.parts_max() {
            self.fold();
        }
        let (first, last) = (range.start / self.part_bytes, (range.end - 1) / self.part_bytes);
        let row = &mut self.rows[member];
        let parts = first as usize..last as usize + 1; // less than PARTS_MAX
        if row.len() < parts.end {
            row.resize(parts.end, Part::Alike);
        }
        row[parts].iter_mut().for_each(|there| *there = (*there).max(part));
    }

    /// Makes parts twice as long.
    fn fold(&mut self) {
        self.part_bytes *= 2;
        for row in &mut self.rows {
            *row = row.chunks(2).map(|pair| pair.iter().copied().max().unwrap_or_default()).collect();
        }
    }

    /// The same of an image of `size` bytes, whose parts cover all of it.
    #[must_use]
    pub fn covering(mut self, size: u64) -> Self {
        while size.div_ceil(self.part_bytes) > self.parts_max() {
            self.fold();
        }
        self
    }

    /// The worst in a range of a member.
    #[must_use]
    pub fn worst(&self, member: usize, range: ByteRange) -> Part {
        let Some(row) = self.rows.get(member).filter(|_| !range.is_empty()) else { return Part::Alike };
        let at = |offset: u64| usize::try_from(offset / self.part_bytes.max(1)).unwrap_or(usize::MAX);
        let (first, last) = (at(range.start), at(range.end - 1));
        row.iter().take(last.saturating_add(1)).skip(first).copied().max().unwrap_or_default()
    }

    /// Whether nothing is known against anybody.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows.iter().flatten().all(|part| *part == Part::Alike)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Map, PARTS_MAX, Part};
    use crate::vote::ByteRange;

    #[test]
    fn letters_lead_back() {
        assert!(Part::WORSE.iter().all(|&part| Part::of_letter(part.letter()) == Some(part) && part > Part::Alike));
        assert_eq!(Part::of_letter('X'), None);
    }

    proptest! {
        /// Nothing is lost, nothing is elsewhere by more than a part, and a row stays short.
        #[test]
        fn what_is_marked_is_found(marks in prop::collection::vec((0u64..1 << 45, 1u64..1 << 30), 1..40)) {
            let mut map = Map::new(2);
            for &(start, length) in &marks {
                map.mark(1, ByteRange::new(start, start + length), Part::Outvoted);
            }
            let map = map.covering(1 << 46);
            prop_assert!(map.rows.iter().all(|row| row.len() <= PARTS_MAX) && map.rows[0].is_empty());
            for &(start, length) in &marks {
                prop_assert_eq!(map.worst(1, ByteRange::new(start, start + length)), Part::Outvoted);
            }
            for (part, there) in map.rows[1].iter().enumerate() {
                let range = ByteRange::new(part as u64 * map.part_bytes, (part as u64 + 1) * map.part_bytes);
                let marked = marks.iter().any(|&(start, length)| ByteRange::new(start, start + length).and(range).is_some());
                prop_assert_eq!(*there == Part::Outvoted, marked);
            }
        }
    }
}

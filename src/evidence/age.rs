//! How old copies are by what they hold, and which of them is newer. Pure.

use serde::{Deserialize, Serialize};

use crate::vote::ByteRange;

/// What an age is of: only ages of one origin can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Origin {
    /// `ext4`, `xfs`, `btrfs`, `md`.
    #[serde(deserialize_with = "super::kinds::known")]
    pub kind: super::kinds::Kind,
    /// Its UUID.
    pub id: [u8; 16],
}

/// How far a file system, or the like, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Age {
    /// Of what.
    pub origin: Origin,
    /// What only ever grows: the number of the last transaction, a log sequence number, a generation, a count of events.
    pub counter: Option<u64>,
    /// When it was last written, in seconds since 1970 by the clock of whoever wrote it.
    pub seconds: Option<i64>,
}

impl Age {
    /// Whether this one is newer. A clock may be set back, and a journal made anew: where counter and clock contradict each other,
    /// each of both copies is newer than the other one, for nobody knows which is not.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let more = |own: Option<i128>, other: Option<i128>| own.zip(other).is_some_and(|(own, other)| own > other);
        let numbers = |age: &Self| age.counter.map(i128::from);
        let clocks = |age: &Self| age.seconds.map(i128::from);
        more(numbers(self), numbers(other)) || more(clocks(self), clocks(other))
    }

    /// How far it came, in words.
    #[must_use]
    pub fn described(&self) -> String {
        let kind = self.origin.kind;
        let counted = self.counter.map(|counter| match kind {
            "ext4" => format!("transaction {counter}"),
            "xfs" => format!("log cycle {}, block {}", counter >> 32, counter & 0xffff_ffff),
            "btrfs" => format!("generation {counter}"),
            _ => format!("{counter} events"),
        });
        let written = self.seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let whose = if kind == "md" { "" } else { " by its guest's clock" };
        let written = written.map(|time| format!("last written {time}{whose}"));
        let parts: Vec<String> = counted.into_iter().chain(written).collect();
        format!("{kind} {}", parts.join(", "))
    }
}

/// An age, and the part of the disk that it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AgeOf {
    /// Where, in bytes.
    pub range: ByteRange,
    /// How old.
    pub age: Age,
}

/// Which members are newer than which, by place. Members are bits of masks.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    parts: Vec<(ByteRange, Newer)>,
    everywhere: Newer,
}

/// For each member: those that it is newer than, and those that it can be compared with and isn't newer than.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Newer {
    than: Vec<u64>,
    not_than: Vec<u64>,
}

impl Newer {
    fn of(members: usize) -> Self {
        Self { than: vec![0; members], not_than: vec![0; members] }
    }

    fn is(&self, member: usize, outvoting: u64) -> bool {
        let (Some(than), Some(not_than)) = (self.than.get(member), self.not_than.get(member)) else { return false };
        outvoting & than != 0 && outvoting & not_than == 0
    }
}

impl Ages {
    /// Of what each member says, in the order of the members.
    #[must_use]
    pub fn of(members: &[Vec<AgeOf>]) -> Self {
        let mut ages = Self { parts: Vec::new(), everywhere: Newer::of(members.len()) };
        for (member, own) in members.iter().enumerate() {
            for (other, others) in members.iter().enumerate().filter(|(other, _)| *other != member) {
                let (mut newer, mut older) = (false, false);
                for part in own {
                    // At another place it is another's copy, or moved: a name that lies elsewhere as well says nothing of this place.
                    let Some(there) =
                        others.iter().find(|there| there.age.origin == part.age.origin && there.range.start == part.range.start)
                    else {
                        continue;
                    };
                    let is = part.age.is_newer_than(&there.age);
                    let entry = ages.part(part.range, members.len());
                    let those = if is { &mut entry.than } else { &mut entry.not_than };
                    those[member] |= 1 << other;
                    newer |= is;
                    older |= !is && *part != *there;
                }
                // Of other places an equal age says nothing: a `/boot` is seldom written to.
                if newer || older {
                    let entry = if newer && !older { &mut ages.everywhere.than } else { &mut ages.everywhere.not_than };
                    entry[member] |= 1 << other;
                }
            }
        }
        ages.parts.sort_by_key(|(range, _)| range.length());
        ages
    }

    fn part(&mut self, range: ByteRange, members: usize) -> &mut Newer {
        let found = self.parts.iter().position(|(part, _)| *part == range);
        let index = found.unwrap_or_else(|| {
            self.parts.push((range, Newer::of(members)));
            self.parts.len() - 1
        });
        &mut self.parts[index].1
    }

    /// Whether `member` is newer, at `offset`, than all of `outvoting` (a mask) whose age is known; none where no one's is. The smallest
    /// part that tells decides, and where none does, what differs elsewhere on the disk.
    #[must_use]
    pub fn compared(&self, member: usize, outvoting: u64, offset: u64) -> Option<bool> {
        let inside = self.parts.iter().filter(|(range, _)| (range.start..range.end).contains(&offset)).map(|(_, newer)| newer);
        let knows = |newer: &&Newer| {
            let known = |masks: &[u64]| masks.get(member).is_some_and(|mask| outvoting & mask != 0);
            known(&newer.than) || known(&newer.not_than)
        };
        inside.chain([&self.everywhere]).find(knows).map(|newer| newer.is(member, outvoting))
    }

    /// Whether `member` is newer, at `offset`, than all of `outvoting` (a mask) whose age is known, and at least one's is.
    #[must_use]
    pub fn is_newer(&self, member: usize, outvoting: u64, offset: u64) -> bool {
        self.compared(member, outvoting, offset) == Some(true)
    }

    /// Whether `member` is older, at `offset`, than one of `outvoting`.
    #[must_use]
    pub fn is_older(&self, member: usize, outvoting: u64, offset: u64) -> bool {
        crate::vote::members_of(outvoting).any(|other| self.is_newer(other, 1 << member, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::{Age, AgeOf, Ages, Origin};
    use crate::vote::ByteRange;

    fn age(id: u8, counter: u64, seconds: i64) -> Age {
        Age { origin: Origin { kind: "ext4", id: [id; 16] }, counter: Some(counter), seconds: Some(seconds) }
    }

    fn at(start: u64, age: Age) -> AgeOf {
        AgeOf { range: ByteRange::new(start, start + 100), age }
    }

    #[test]
    fn a_contradiction_of_counter_and_clock_makes_nobody_old() {
        let (a, b) = (age(1, 5, 100), age(1, 4, 200));
        assert!(a.is_newer_than(&b) && b.is_newer_than(&a));
        assert!(age(1, 5, 100).is_newer_than(&age(1, 5, 99)) && !age(1, 5, 99).is_newer_than(&age(1, 5, 100)));
        assert!(!a.is_newer_than(&a));
    }

    #[test]
    fn newer_than_all_who_outvote_it() {
        let ages = Ages::of(&[vec![at(0, age(1, 9, 9))], vec![at(0, age(1, 5, 5))], vec![at(0, age(1, 5, 5))], vec![]]);
        assert!(ages.is_newer(0, 0b0110, 50), "both are older");
        assert!(ages.is_newer(0, 0b1110, 50), "of the fourth nothing is known");
        assert!(!ages.is_newer(0, 0b1000, 50), "and nothing follows from that alone");
        assert!(!ages.is_newer(1, 0b0100, 50), "equally old");
        assert!(ages.is_older(1, 0b0001, 50));
        assert!(ages.is_newer(0, 0b0110, 5000), "outside of the file system the whole disk's age counts");
    }

    #[test]
    fn each_part_of_a_disk_has_its_own_age() {
        let ages = Ages::of(&[vec![at(0, age(1, 9, 9)), at(200, age(2, 1, 1))], vec![at(0, age(1, 5, 5)), at(200, age(2, 7, 7))]]);
        assert!(ages.is_newer(0, 0b10, 50) && !ages.is_newer(0, 0b10, 250));
        assert!(ages.is_newer(1, 0b01, 250) && !ages.is_newer(1, 0b01, 50));
        assert!(!ages.is_newer(0, 0b10, 150) && !ages.is_newer(1, 0b01, 150), "on the whole neither is");
        let two = Ages::of(&[vec![at(0, age(1, 9, 9))], vec![at(0, age(2, 1, 1))]]);
        assert!(two.compared(0, 0b10, 50).is_none() && two.compared(0, 0b10, 5000).is_none(), "two file systems");
    }

    #[test]
    fn an_equal_age_says_nothing_of_another_place() {
        let whole = |age| AgeOf { range: ByteRange::new(0, 1000), age };
        let ages = Ages::of(&[vec![at(200, age(1, 5, 5))], vec![at(200, age(1, 5, 5))]]);
        assert_eq!(ages.compared(0, 0b10, 250), Some(false));
        assert_eq!(ages.compared(0, 0b10, 50), None);
        let nested = Ages::of(&[vec![whole(age(2, 1, 1)), at(200, age(1, 9, 9))], vec![whole(age(2, 1, 1)), at(200, age(1, 5, 5))]]);
        assert!(nested.is_newer(0, 0b10, 250), "the part inside knows more than the whole");
    }
}

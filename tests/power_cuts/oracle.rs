//! What a repair must make of the members, told again in the plainest way: sector by sector, ballots in a list.

use std::collections::BTreeSet;

use crate::{
    platter::{BLOCK, SECTOR},
    schedule::{Original, Schedule},
};

/// What must come out.
pub struct Expected {
    /// One for each member.
    pub members: Vec<Vec<u8>>,
    /// Sectors of 512 bytes that stay unreadable; what stubborn blocks hold is left open.
    pub bad: Vec<BTreeSet<u64>>,
    pub code: u8,
    /// Whether anything is to be written.
    pub work: bool,
    /// Whether something stays unhealed that the plan asks for.
    pub unhealed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Says<'a> {
    Data(&'a [u8]),
    Absent,
    Unreadable,
}

/// A sector: its place, and what it should hold, if that is known.
struct Decided {
    start: u64,
    end: u64,
    right: Option<Vec<u8>>,
}

impl Schedule {
    fn says(&self, member: usize, start: u64, end: u64) -> Says<'_> {
        let Original { bytes, bad, .. } = &self.members[member];
        if (bytes.len() as u64) < end {
            Says::Absent
        } else if (start / SECTOR..end.div_ceil(SECTOR)).any(|sector| bad.contains(&sector)) {
            Says::Unreadable
        } else {
            Says::Data(&bytes[start as usize..end as usize])
        }
    }

    /// The virtual size.
    pub fn voted_size(&self) -> u64 {
        let lengths: Vec<u64> = self.members.iter().map(Original::length).collect();
        let votes = |length: &u64| lengths.iter().filter(|other| *other == length).count();
        let most = *lengths.iter().max_by_key(|length| votes(length)).expect("there are members");
        self.size.or(self.trust.map(|member| lengths[member])).unwrap_or(most)
    }

    fn decide(&self, start: u64, end: u64, size: u64) -> Option<Vec<u8>> {
        if let Some(disk) = &self.heard {
            return Some(disk[start as usize..end as usize].to_vec());
        }
        let says: Vec<Says> = (0..self.members.len()).map(|member| self.says(member, start, end)).collect();
        let own = |member: usize| if let Says::Data(bytes) = says[member] { Some(bytes.to_vec()) } else { None };
        let picked = self.picks.iter().find(|(range, _)| {
            let widened = (range.start - range.start % self.sector, range.end.min(size).next_multiple_of(self.sector));
            range.start < size && widened.0 <= start && start < widened.1
        });
        if let Some(&(_, member)) = picked {
            return own(member);
        }
        if let Some(member) = self.trust {
            return own(member);
        }
        let votes = |version: &Says| says.iter().filter(|other| *other == version).count();
        let needed = self.members.len() / 2 + 1;
        says.iter().find(|version| matches!(version, Says::Data(_)) && votes(version) >= needed).and_then(|version| match version {
            Says::Data(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
    }

    fn sectors(&self) -> Vec<Decided> {
        let size = self.voted_size();
        let end = |start: u64| (start + self.sector).min(size);
        let sector = |start| Decided { start, end: end(start), right: self.decide(start, end(start), size) };
        (0..size).step_by(self.sector as usize).map(sector).collect()
    }

    pub fn blocks_that_cannot_heal(&self, member: usize) -> BTreeSet<u64> {
        self.blocked(member, &self.sectors())
    }

    /// The image that was voted for, with zeros where nobody won.
    pub fn voted_image(&self) -> Vec<u8> {
        let bytes = |sector: Decided| sector.right.unwrap_or_else(|| vec![0; (sector.end - sector.start) as usize]);
        self.sectors().into_iter().flat_map(bytes).collect()
    }

    pub fn expected(&self) -> Expected {
        let (size, sectors) = (self.voted_size(), self.sectors());
        let mut expected = Expected { members: Vec::new(), bad: Vec::new(), code: 0, work: false, unhealed: false };
        let undecided = sectors.iter().any(|sector| sector.right.is_none() && !self.unanimous(sector));
        for member in 0..self.members.len() {
            let (bytes, bad, kept) = self.member(member, &sectors, size, &mut expected);
            expected.members.push(bytes);
            expected.bad.push(bad);
            if kept {
                expected.code = expected.code.max(1);
            }
        }
        if undecided || expected.unhealed {
            expected.code = 2;
        }
        expected
    }

    fn unanimous(&self, sector: &Decided) -> bool {
        let first = self.says(0, sector.start, sector.end);
        matches!(first, Says::Data(_)) && (1..self.members.len()).all(|member| self.says(member, sector.start, sector.end) == first)
    }

    /// What becomes of one member, and whether work is left at it that an option would do.
    fn member(&self, member: usize, sectors: &[Decided], size: u64, expected: &mut Expected) -> (Vec<u8>, BTreeSet<u64>, bool) {
        let original = &self.members[member];
        let (mut bytes, mut bad) = (original.bytes.clone(), original.bad.clone());
        let differs = |sector: &Decided| {
            sector.right.as_deref().is_some_and(|right| self.says(member, sector.start, sector.end) != Says::Data(right))
        };
        // What lies behind a size that was given isn't counted.
        let surplus = original.length() > size && self.size.is_none();
        if !self.is_written(member) {
            return (bytes, bad, surplus || sectors.iter().any(differs));
        }
        let blocked = self.blocked(member, sectors);
        let mut open = true;
        for sector in sectors {
            let says = self.says(member, sector.start, sector.end);
            let Some(right) = &sector.right else {
                open &= says != Says::Absent;
                continue;
            };
            if says == Says::Absent {
                if open {
                    expected.work = true;
                    bytes.resize((bytes.len() as u64).max(sector.end) as usize, 0);
                } else {
                    continue;
                }
            }
            if says != Says::Absent && says != Says::Data(right) {
                expected.work = true;
            }
            for start in (sector.start..sector.end).step_by(SECTOR as usize) {
                let end = (start + SECTOR).min(sector.end);
                // What lies in front of the member's end may be blocked, what is added to it isn't.
                let held = original.length().clamp(start, end);
                let start = if blocked.contains(&(start / BLOCK)) { held } else { start };
                bytes[start as usize..end as usize].copy_from_slice(&right[(start - sector.start) as usize..(end - sector.start) as usize]);
                if says == Says::Unreadable && start < held {
                    bad.remove(&(start / SECTOR));
                }
            }
            let is_blocked = (sector.start / BLOCK..sector.end.div_ceil(BLOCK)).any(|block| blocked.contains(&block));
            expected.unhealed |= is_blocked && says != Says::Absent && says != Says::Data(right);
        }
        if original.length() > size && self.truncate {
            expected.work = true;
            bytes.truncate(size as usize);
            bad.retain(|sector| sector * SECTOR < size);
        }
        (bytes, bad, surplus && !self.truncate)
    }

    /// Blocks that hold an unreadable sector and can't be written as a whole, since nobody knows what belongs to another part.
    fn blocked(&self, member: usize, sectors: &[Decided]) -> BTreeSet<u64> {
        let mut blocked = BTreeSet::new();
        let end = self.members[member].length();
        for block in 0..end.div_ceil(BLOCK) {
            let (from, to) = (block * BLOCK, (block * BLOCK + BLOCK).min(end));
            let inside: Vec<&Decided> = sectors.iter().filter(|sector| sector.start < to && from < sector.end).collect();
            let says = |sector: &Decided| self.says(member, sector.start, sector.end);
            let healing = inside.iter().any(|sector| says(sector) == Says::Unreadable);
            let stuck = inside.iter().any(|sector| sector.right.is_none() && !matches!(says(sector), Says::Data(_)));
            if healing && (stuck || self.members[member].stubborn.contains(&block)) {
                blocked.insert(block);
            }
        }
        blocked
    }
}

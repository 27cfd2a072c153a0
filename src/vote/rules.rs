//! Who decides where: the vote, a trusted member, a person's pick.

use super::{ByteRange, Grouping, Verdict};

/// How a sector's verdict comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The vote: so many ballots at least, and strictly more than any other version.
    Threshold(usize),
    /// The same among some: others' versions are compared, and aren't counted.
    Seated {
        /// Least ballots that a version needs.
        threshold: usize,
        /// Those who vote, as a mask.
        voters: u64,
    },
    /// This member is right (`--trust`, `--pick`); where it holds no data nothing is decided.
    Member(usize),
    /// Only what all members agree on is settled; the rest is undecided.
    Unanimity,
    /// The lowest-numbered member that holds data is taken at its word, and nobody after it is asked (read pattern fifo). Nothing is
    /// found there as long as that is member 0.
    First,
}

impl Rule {
    /// The least ballots that a version needs, and whose count (a mask), where it is voted on.
    #[must_use]
    pub fn ballots(self) -> Option<(usize, u64)> {
        match self {
            Self::Threshold(threshold) => Some((threshold, u64::MAX)),
            Self::Seated { threshold, voters } => Some((threshold, voters)),
            Self::Member(_) | Self::Unanimity | Self::First => None,
        }
    }

    /// Whether it is the vote that decides.
    #[must_use]
    pub fn is_vote(self) -> bool {
        self.ballots().is_some()
    }

    pub(super) fn judge(self, grouping: &Grouping) -> Verdict {
        if is_unanimous(grouping, self) {
            return Verdict::Unanimous;
        }
        match self {
            Self::First => match grouping.versions().next() {
                Some(0) => Verdict::Unanimous,
                Some(winner) => Verdict::Decided { winner },
                None => Verdict::Undecided,
            },
            Self::Member(member) => match grouping.version(member) {
                Some(winner) => Verdict::Decided { winner },
                None => Verdict::Undecided,
            },
            Self::Unanimity => Verdict::Undecided,
            Self::Threshold(threshold) => decided(grouping, threshold, u64::MAX),
            Self::Seated { threshold, voters } => decided(grouping, threshold, voters),
        }
    }
}

/// Whether all hold the same, and are enough for that to say something: one alone agrees with itself.
fn is_unanimous(grouping: &Grouping, rule: Rule) -> bool {
    let first = grouping.version(0);
    let alone = grouping.members() == 1 && rule.ballots().is_some_and(|(threshold, _)| threshold > 1);
    !alone && first == Some(0) && (1..grouping.members()).all(|member| grouping.version(member) == first)
}

/// The version that has `threshold` ballots of `voters`, and strictly more than any other.
fn decided(grouping: &Grouping, threshold: usize, voters: u64) -> Verdict {
    match most_held(grouping, voters) {
        Some((winner, ballots)) if ballots >= threshold => Verdict::Decided { winner },
        _ => Verdict::Undecided,
    }
}

/// The version with strictly more ballots of `voters` than any other, and how many.
fn most_held(grouping: &Grouping, voters: u64) -> Option<(usize, usize)> {
    let (mut best, mut tied) = (None, false);
    for version in grouping.versions() {
        let ballots = (grouping.holders(version) & voters).count_ones() as usize;
        match best {
            Some((_, most)) if ballots < most => {}
            Some((_, most)) if ballots == most => tied = true,
            _ => (best, tied) = (Some((version, ballots)), false),
        }
    }
    best.filter(|_| !tied)
}

/// The rule for every sector of an image: one for all, and exceptions by range.
#[derive(Clone, Debug)]
pub struct Rules {
    general: Rule,
    exceptions: Vec<(ByteRange, Rule)>,
}

impl Rules {
    /// The same rule everywhere.
    #[must_use]
    pub fn new(general: Rule) -> Self {
        Self { general, exceptions: Vec::new() }
    }

    /// Lets `rule` hold in `range`; it goes before what was said earlier.
    pub fn except(&mut self, range: ByteRange, rule: Rule) {
        if !range.is_empty() {
            self.exceptions.push((range, rule));
        }
    }

    /// Lets `rule` hold in `range` wherever nothing else was said.
    pub fn underlay(&mut self, range: ByteRange, rule: Rule) {
        if !range.is_empty() {
            self.exceptions.insert(0, (range, rule));
        }
    }

    /// The rule for the sector that starts at `offset` bytes.
    #[must_use]
    pub fn at(&self, offset: u64) -> Rule {
        let inside = |&&(range, _): &&(ByteRange, Rule)| range.start <= offset && offset < range.end;
        self.exceptions.iter().rev().find(inside).map_or(self.general, |&(_, rule)| rule)
    }

    /// The first offset behind `offset` at which another rule may hold; 2^64-1 where none does.
    #[must_use]
    pub fn next_change(&self, offset: u64) -> u64 {
        let edges = self.exceptions.iter().flat_map(|(range, _)| [range.start, range.end]);
        edges.filter(|&edge| edge > offset).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, Rule, Rules};

    #[test]
    fn the_later_exception_holds() {
        let mut rules = Rules::new(Rule::Threshold(2));
        rules.except(ByteRange::new(0, 4096), Rule::Unanimity);
        rules.except(ByteRange::new(512, 1024), Rule::Member(1));
        assert_eq!(rules.at(0), Rule::Unanimity);
        assert_eq!(rules.at(512), Rule::Member(1));
        assert_eq!(rules.at(1024), Rule::Unanimity);
        assert_eq!(rules.at(4096), Rule::Threshold(2));
        let mut edges = vec![0];
        while let Some(&last) = edges.last().filter(|&&edge| edge < u64::MAX) {
            edges.push(rules.next_change(last));
        }
        assert_eq!(edges, [0, 512, 1024, 4096, u64::MAX]);
    }
}

//! What witnesses add to a vote: ballots for a version that a member holds. Pure.

use super::{Ballot, Rule, Verdict, Vote};

/// A witness's word that a member's version of a sector is what stood there once. Only such witnesses have a word whose hashes prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The lowest-numbered member that holds the version.
    pub version: usize,
    /// Members, as a mask, whose memory the witness is: to a version that one of them holds it adds nothing.
    pub memory_of: u64,
}

impl Vote {
    /// Holds the vote of these ballots, with what witnesses confirm; each of those counts once.
    ///
    /// A version wins with at least the threshold's ballots, its own and those of witnesses together, and strictly more than any other; where
    /// none has so many, one that a witness confirms wins with strictly more than any other.
    #[must_use]
    pub fn heard(ballots: &[Ballot], rule: Rule, confirmed: &[Confirmation]) -> Self {
        Self::of(ballots, rule).hearing(rule, confirmed)
    }

    /// The same vote with what witnesses confirm.
    #[must_use]
    pub fn hearing(self, rule: Rule, confirmed: &[Confirmation]) -> Self {
        let Some((threshold, voters)) = rule.ballots() else { return self };
        if confirmed.is_empty() || self.verdict == Verdict::Unanimous {
            return self;
        }
        let grouping = self.grouping;
        let alone = grouping.members() == 1;
        let adds = |version: usize| {
            let holders = grouping.holders(version);
            // Of one alone it is only asked whether it is still what it was.
            let counts = |said: &&Confirmation| said.version == version && (alone || said.memory_of & holders == 0);
            confirmed.iter().filter(counts).count()
        };
        let mut best: Option<(usize, usize, bool)> = None;
        let mut tied = false;
        for version in grouping.versions() {
            let added = adds(version);
            let ballots = (grouping.holders(version) & voters).count_ones() as usize + added;
            match best {
                Some((_, most, _)) if ballots < most => {}
                Some((_, most, _)) if ballots == most => tied = true,
                _ => (best, tied) = (Some((version, ballots, added > 0)), false),
            }
        }
        let winner = best.filter(|&(_, ballots, proven)| !tied && (ballots >= threshold || proven)).map(|(version, ..)| version);
        let verdict = match winner {
            // Nobody is there to dissent.
            Some(_) if alone && best.is_some_and(|(_, ballots, _)| ballots >= threshold) => Verdict::Unanimous,
            Some(_) if alone => Verdict::Undecided,
            Some(winner) => Verdict::Decided { winner },
            None => Verdict::Undecided,
        };
        Self { verdict, grouping }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Ballot::{Absent, Data, Unreadable},
        Confirmation, Rule,
        Verdict::{Decided, Unanimous, Undecided},
        Vote,
    };

    #[test]
    fn witnesses_count_as_one_more_and_never_in_the_number() {
        let (a, b, c) = (Data(b"a"), Data(b"b"), Data(b"c"));
        let of = |version| Confirmation { version, memory_of: 0 };
        let memory = |version, memory_of| Confirmation { version, memory_of };
        for (ballots, threshold, confirmed, expected, why) in [
            (vec![a, b], 2, vec![], Undecided, "two that differ"),
            (vec![a, b], 2, vec![of(1)], Decided { winner: 1 }, "a witness settles it"),
            (vec![a, Unreadable], 2, vec![of(0)], Decided { winner: 0 }, "the other one is lost"),
            (vec![a, Unreadable], 2, vec![], Undecided, "and nobody knows"),
            (vec![a, b], 2, vec![of(0), of(1)], Undecided, "two witnesses that disagree"),
            (vec![a, b, b], 2, vec![of(0)], Undecided, "a true tie"),
            (vec![a, b, b], 2, vec![of(1)], Decided { winner: 1 }, "as before"),
            (vec![a, b, c], 2, vec![of(2)], Decided { winner: 2 }, "three that differ"),
            (vec![a, b, c, Data(b"d")], 3, vec![of(3)], Decided { winner: 3 }, "none has three, and one is proven"),
            (vec![a, a, b, c], 3, vec![of(2)], Undecided, "two against two, though none has three"),
            (vec![a, a, b, b], 3, vec![of(2)], Decided { winner: 2 }, "three"),
            (vec![a, b], 2, vec![memory(0, 1)], Undecided, "its own memory adds nothing"),
            (vec![a, b], 2, vec![memory(1, 1)], Decided { winner: 1 }, "but for another's it counts"),
            (vec![a, a, b], 2, vec![memory(0, 2)], Decided { winner: 0 }, "two were enough"),
            (vec![a, a, b, b], 3, vec![memory(2, 1)], Decided { winner: 2 }, "what #0 was once speaks against what it is"),
            (vec![a], 2, vec![], Undecided, "one alone agrees with itself"),
            (vec![a], 2, vec![of(0)], Unanimous, "one and a witness"),
            (vec![a], 2, vec![memory(0, 1)], Unanimous, "one that is still what it was"),
            (vec![a], 3, vec![of(0)], Undecided, "one and a witness aren't three"),
            (vec![Unreadable, Absent], 2, vec![], Undecided, "nobody holds anything"),
            (vec![a, a], 2, vec![of(0)], Unanimous, "all alike"),
        ] {
            let vote = Vote::heard(&ballots, Rule::Threshold(threshold), &confirmed);
            assert_eq!(vote.verdict, expected, "{why}: {ballots:?}, threshold {threshold}, {confirmed:?}");
        }
        let trusted = Vote::heard(&[a, b], Rule::Member(0), &[of(1)]);
        assert_eq!(trusted.verdict, Decided { winner: 0 }, "a person's word isn't voted on");
    }
}

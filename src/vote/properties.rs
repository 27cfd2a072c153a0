//! The vote against an oracle that was written from the words of the design: member by member, with maps and lists.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*};

use super::{Ballot, Grouping, Rule, Verdict, VirtualSize, Vote, elect, elect_size, members_of, vote_bytes};

/// "unanimous (every member agrees), decided (one version has at least `threshold` ballots and strictly more than any other;
/// the rest are dissenters), undecided (no such version, ties included)". Returns the winning bytes.
fn oracle<'a>(ballots: &[Ballot<'a>], threshold: usize) -> (&'static str, Option<&'a [u8]>) {
    let mut versions: HashMap<&[u8], usize> = HashMap::new();
    for ballot in ballots {
        if let Ballot::Data(bytes) = ballot {
            *versions.entry(bytes).or_default() += 1;
        }
    }
    if let Some((bytes, _)) = versions.iter().find(|&(_, &count)| count == ballots.len()) {
        return ("unanimous", Some(bytes));
    }
    for (bytes, &count) in &versions {
        let beats_all = versions.iter().all(|(other, &votes)| other == bytes || votes < count);
        if count >= threshold && beats_all {
            return ("decided", Some(bytes));
        }
    }
    ("undecided", None)
}

fn named<'a>(verdict: Verdict, ballots: &[Ballot<'a>]) -> (&'static str, Option<&'a [u8]>) {
    let bytes = |member: usize| match ballots[member] {
        Ballot::Data(bytes) => Some(bytes),
        _ => None,
    };
    match verdict {
        Verdict::Unanimous => ("unanimous", bytes(0)),
        Verdict::Decided { winner } => ("decided", bytes(winner)),
        Verdict::Donated { .. } => unreachable!("no vote knows donors"),
        Verdict::Undecided => ("undecided", None),
    }
}

const VERSIONS: &[&[u8]] = &[b"aaaa", b"aaab", b"baaa", b"0000"];

fn ballot() -> impl Strategy<Value = Ballot<'static>> {
    prop_oneof![
        8 => prop::sample::select(VERSIONS).prop_map(Ballot::Data),
        1 => Just(Ballot::Absent),
        1 => Just(Ballot::Unreadable),
        1 => Just(Ballot::Failed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4000), ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_oracle(ballots in vec(ballot(), 2..=64), threshold in 2usize..=64) {
        let threshold = threshold.min(ballots.len());
        prop_assert_eq!(named(elect(&ballots, threshold), &ballots), oracle(&ballots, threshold));
    }

    #[test]
    fn agrees_with_the_oracle_for_few(ballots in vec(ballot(), 2..=5), threshold in 2usize..=5) {
        let threshold = threshold.min(ballots.len());
        prop_assert_eq!(named(elect(&ballots, threshold), &ballots), oracle(&ballots, threshold));
    }

    /// No order of the members may change who wins.
    #[test]
    fn order_does_not_matter(ballots in vec(ballot(), 2..=8).prop_shuffle(), threshold in 2usize..=5, turn in 0usize..8) {
        let mut turned = ballots.clone();
        turned.rotate_left(turn % ballots.len());
        turned.reverse();
        prop_assert_eq!(named(elect(&ballots, threshold), &ballots), named(elect(&turned, threshold), &turned));
    }

    /// A ballot more for the winner never takes its victory away.
    #[test]
    fn support_does_not_hurt(ballots in vec(ballot(), 2..=8), threshold in 2usize..=5) {
        if let Verdict::Decided { winner } = elect(&ballots, threshold) {
            let mut more = ballots.clone();
            more.push(ballots[winner]);
            prop_assert_eq!(named(elect(&more, threshold), &more).1, named(elect(&ballots, threshold), &ballots).1);
        }
    }

    /// Every member is in exactly one group, and members share one exactly where they hold the same bytes.
    #[test]
    fn groups_are_true(ballots in vec(ballot(), 2..=64)) {
        let grouping = Grouping::of(&ballots);
        let mut masks: Vec<u64> = grouping.versions().map(|version| grouping.holders(version)).collect();
        masks.extend([grouping.absent(), grouping.unreadable(), grouping.failed()]);
        prop_assert_eq!(masks.iter().map(|mask| mask.count_ones()).sum::<u32>() as usize, ballots.len());
        for (member, ballot) in ballots.iter().enumerate() {
            if let Ballot::Data(bytes) = ballot {
                let holders = grouping.holders(grouping.version(member).expect("it holds data"));
                let same: Vec<_> = (0..ballots.len()).filter(|&other| ballots[other] == Ballot::Data(bytes)).collect();
                prop_assert_eq!(members_of(holders).collect::<Vec<_>>(), same);
            }
        }
    }

    /// A trusted member wins wherever it holds data, and nothing is decided where it holds none.
    #[test]
    fn a_trusted_member_is_right(ballots in vec(ballot(), 2..=8), member in 0usize..8) {
        let member = member % ballots.len();
        let vote = Vote::of(&ballots, Rule::Member(member));
        if let Ballot::Data(bytes) = ballots[member] { prop_assert_eq!(named(vote.verdict, &ballots).1, Some(bytes)) } else { prop_assert_eq!(vote.verdict, Verdict::Undecided) }
        let expected = ballots.iter().filter(|&&other| matches!(other, Ballot::Data(_)) && other != ballots[member]).count();
        let dissenters = vote.dissenters().count_ones() as usize;
        prop_assert_eq!(dissenters, if matches!(vote.verdict, Verdict::Decided { .. }) { expected } else { 0 });
    }

    /// Who has no seat is compared, and counts for nothing: what is decided is what the seated decide among themselves.
    #[test]
    fn only_the_seated_decide(ballots in vec(ballot(), 2..=8), voters in 0u64..256, threshold in 2usize..=5) {
        let vote = Vote::of(&ballots, Rule::Seated { threshold, voters });
        let seated: Vec<Ballot> =
            ballots.iter().enumerate().map(|(member, &ballot)| if voters >> member & 1 == 1 { ballot } else { Ballot::Failed }).collect();
        let same = Vote::of(&ballots, Rule::Threshold(1)).verdict == Verdict::Unanimous;
        if same { prop_assert_eq!(vote.verdict, Verdict::Unanimous) } else {
            prop_assert_eq!(named(vote.verdict, &ballots).1, oracle(&seated, threshold).1);
        }
    }

    /// The size is voted on by the very rule of the sectors.
    #[test]
    fn sizes_are_voted_on_like_sectors(sizes in vec(prop::option::weighted(0.9, 0u64..4), 2..=8), threshold in 2usize..=8) {
        let threshold = threshold.min(sizes.len());
        let bytes: Vec<Option<[u8; 8]>> = sizes.iter().map(|size| size.map(u64::to_le_bytes)).collect();
        let ballots: Vec<Ballot> = bytes.iter().map(|size| size.as_ref().map_or(Ballot::Failed, |b| Ballot::Data(b))).collect();
        let expected = oracle(&ballots, threshold).1.map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes")));
        match elect_size(&sizes, threshold) {
            VirtualSize::Decided(size) => prop_assert_eq!(Some(size), expected),
            VirtualSize::Undecided { longest, shortest } => {
                prop_assert_eq!(expected, None);
                prop_assert_eq!(Some(longest), sizes.iter().copied().flatten().max().or(Some(0)));
                prop_assert_eq!(Some(shortest), sizes.iter().copied().flatten().min().or(Some(0)));
            }
        }
    }

    /// The vote on bytes is the vote on sectors of one byte.
    #[test]
    fn bytes_are_tiny_sectors(ballots in vec(ballot(), 2..=8), threshold in 2usize..=5) {
        let threshold = threshold.min(ballots.len());
        let mut filled = [0; 4];
        let done = vote_bytes(&ballots, threshold, &mut filled);
        let winners: Vec<Option<u8>> = (0..4).map(|at| {
            let tiny: Vec<Ballot> = ballots.iter().map(|&ballot| match ballot {
                Ballot::Data(bytes) => Ballot::Data(&bytes[at..=at]),
                other => other,
            }).collect();
            oracle(&tiny, threshold).1.map(|byte| byte[0])
        }).collect();
        prop_assert_eq!(done, winners.iter().all(Option::is_some));
        if done {
            prop_assert_eq!(filled.map(Some).to_vec(), winners);
        }
    }
}

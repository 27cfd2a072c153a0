//! Divergences that parts' reports list, as the whole's has them: those that two parts share are one.

use super::shared_looks::join_looks;
use crate::{
    report::{DamageReport, Divergence, Overall},
    vote::{Ballot, ByteRange, DONORS_MAX, Grouping, MEMBERS_MAX, Run, Runs, Verdict, Vote},
};

/// A divergence of the whole, with what its losing versions look like.
pub struct Joined {
    /// It.
    pub run: Run,
    /// What its losing versions look like, as far as that was looked at.
    pub looks: Vec<DamageReport>,
}

/// Takes divergences in ascending order.
#[derive(Default)]
pub struct Joining {
    runs: Runs,
    members: usize,
    /// Where the last one ended.
    end: u64,
    /// Those that the open one is made of so far.
    open: Vec<DamageReport>,
    open_range: Option<ByteRange>,
}

impl Joining {
    /// Of so many members.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self { members, ..Self::default() }
    }

    /// Takes the next one, which lies in `part`; returns one that is thereby complete.
    ///
    /// # Errors
    /// Why no check can have written it.
    pub fn push(&mut self, there: Divergence, part: ByteRange) -> Result<Option<Joined>, &'static str> {
        let range = ByteRange::at(there.offset, there.length).filter(|range| !range.is_empty() && range.and(part) == Some(*range));
        let range = range.filter(|range| range.start >= self.end).ok_or("a divergence lies elsewhere")?;
        let vote = vote_of(&there, self.members).ok_or("a divergence names members otherwise than a vote does")?;
        self.end = range.end;
        let complete = self.runs.push(Run { range, vote }).map(|run| self.close(run));
        if let Some(open) = self.open_range {
            self.open = join_looks(&self.open, open.length(), &there.damage, range.length());
            self.open_range = Some(ByteRange::new(open.start, range.end));
        } else {
            (self.open, self.open_range) = (there.damage, Some(range));
        }
        Ok(complete)
    }

    /// The last one.
    pub fn finish(&mut self) -> Option<Joined> {
        self.runs.finish().map(|run| self.close(run))
    }

    fn close(&mut self, run: Run) -> Joined {
        self.open_range = None;
        Joined { run, looks: std::mem::take(&mut self.open) }
    }
}

/// Bytes that stand for versions: nobody looks at more than whether they are alike.
const LETTERS: [u8; MEMBERS_MAX] = {
    let mut letters = [0; MEMBERS_MAX];
    let mut at = 0;
    while at < MEMBERS_MAX {
        letters[at] = at as u8;
        at += 1;
    }
    letters
};

/// The vote that a report tells of; none where it can't be one.
fn vote_of(there: &Divergence, members: usize) -> Option<Vote> {
    let mut ballots: Vec<Option<Ballot>> = vec![None; members];
    let versions = there.versions.iter().take(MEMBERS_MAX).zip(LETTERS.chunks(1));
    let data = versions.flat_map(|(version, letter)| version.members.iter().map(move |&member| (member, Ballot::Data(letter))));
    let others = [
        (&there.unreadable, Ballot::Unreadable),
        (&there.absent, Ballot::Absent),
        (&there.filler, Ballot::Filler),
        (&there.unstable, Ballot::Unstable),
        (&there.failed, Ballot::Failed),
    ];
    let others = others.into_iter().flat_map(|(list, ballot)| list.iter().map(move |&member| (member, ballot)));
    for (member, ballot) in data.chain(others) {
        let own = ballots.get_mut(member)?;
        if own.is_some() || there.versions.len() > members {
            return None; // said twice
        }
        *own = Some(ballot);
    }
    let ballots: Vec<Ballot> = ballots.into_iter().map(|ballot| ballot.unwrap_or(Ballot::Unasked)).collect();
    let verdict = match there.verdict {
        Overall::Decided if let Some(donor) = there.donor => {
            if donor >= DONORS_MAX {
                return None;
            }
            Verdict::Donated { donor }
        }
        Overall::Decided => Verdict::Decided { winner: *there.versions.first()?.members.iter().min()? },
        Overall::Undecided => Verdict::Undecided,
        Overall::Unanimous => return None,
    };
    Some(Vote { verdict, grouping: Grouping::of(&ballots) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Joining;
    use crate::{
        report::{Divergence, PartitionMap},
        vote::{
            Ballot::{self, Absent, Data, Failed, Filler, Unreadable, Unstable},
            ByteRange, Rule, Run, Runs, Verdict, Vote,
        },
    };

    fn ballot() -> impl Strategy<Value = Ballot<'static>> {
        prop_oneof![
            4 => Just(Data(b"a")),
            2 => Just(Data(b"b")),
            1 => Just(Data(b"c")),
            1 => Just(Absent),
            1 => Just(Unreadable),
            1 => Just(Failed),
            1 => Just(Filler),
            1 => Just(Unstable),
        ]
    }

    /// Divergences of these votes, one a sector, within `part`.
    fn divergences(votes: &[Vote], part: ByteRange) -> Vec<Run> {
        let mut runs = Runs::default();
        let mut found = Vec::new();
        for (sector, vote) in votes.iter().enumerate() {
            let range = ByteRange::new(sector as u64 * 512, (sector as u64 + 1) * 512);
            if part.and(range) == Some(range) {
                found.extend(runs.push(Run { range, vote: *vote }));
            }
        }
        found.extend(runs.finish());
        found
    }

    proptest! {
        /// However the image is cut, the parts' divergences are the whole's.
        #[test]
        fn parts_make_the_whole(
            votes in prop::collection::vec(prop::collection::vec(ballot(), 3), 1..60),
            mut cuts in prop::collection::vec(0u64..60, 0..5),
        ) {
            let votes: Vec<Vote> = votes.iter().map(|ballots| Vote::of(ballots, Rule::Threshold(2))).collect();
            let end = votes.len() as u64 * 512;
            cuts.sort_unstable();
            let edges: Vec<u64> = std::iter::once(0).chain(cuts.iter().map(|cut| cut * 512).filter(|&cut| cut < end)).chain([end]).collect();
            let mut joining = Joining::new(3);
            let mut joined = Vec::new();
            for edge in edges.windows(2) {
                let part = ByteRange::new(edge[0], edge[1]);
                for run in divergences(&votes, part) {
                    let told = Divergence::of(&run, &PartitionMap::default());
                    joined.extend(joining.push(told, part).expect("a vote"));
                }
            }
            joined.extend(joining.finish());
            let whole = divergences(&votes, ByteRange::new(0, end));
            prop_assert_eq!(joined.iter().map(|joined| joined.run).collect::<Vec<_>>(), whole);
        }
    }

    #[test]
    fn what_no_vote_says_is_refused() {
        let part = ByteRange::new(0, 4096);
        let vote = Vote::of(&[Data(b"a"), Data(b"a"), Data(b"b")], Rule::Threshold(2));
        assert!(matches!(vote.verdict, Verdict::Decided { winner: 0 }));
        let good = Divergence::of(&Run { range: ByteRange::new(512, 1024), vote }, &PartitionMap::default());
        let wrong = |change: &dyn Fn(&mut Divergence)| {
            let mut there = good.clone();
            change(&mut there);
            Joining::new(3).push(there, part).is_err()
        };
        assert!(!wrong(&|_| {}));
        assert!(wrong(&|it| it.offset = 4096), "outside of its part");
        assert!(wrong(&|it| it.offset = u64::MAX), "outside of everything");
        assert!(wrong(&|it| it.length = 0), "nothing");
        assert!(wrong(&|it| it.absent = vec![0]), "two ballots of one");
        assert!(wrong(&|it| it.absent = vec![64]), "a member that there isn't");
        assert!(wrong(&|it| it.versions.clear()), "nobody won what was decided");
        assert!(wrong(&|it| it.verdict = crate::report::Overall::Unanimous), "no divergence");
        let mut joining = Joining::new(3);
        assert!(joining.push(good.clone(), part).is_ok());
        assert!(joining.push(good, part).is_err(), "twice the same place");
    }
}

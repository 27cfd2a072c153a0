//! What losing versions look like, place by place: read once more, since that is asked only of what is listed.

use crate::{
    evidence::Looks,
    member::{Extent, Member},
    vote::{Run, Verdict, members_of},
};

/// Bytes of a divergence that are looked at.
const LOOKED_AT_BYTES: u64 = 64 << 10;

/// A losing version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loser {
    /// Who holds it, ascending.
    pub members: Vec<usize>,
    /// What it looks like beside the one that won.
    pub looks: Looks,
}

/// The losing versions of a divergence, and what they look like; none where nobody won, or where they can't be read now.
#[must_use]
pub fn losers(members: &[&dyn Member], run: &Run) -> Vec<Loser> {
    let Verdict::Decided { winner } = run.vote.verdict else { return Vec::new() };
    let grouping = &run.vote.grouping;
    let length = run.range.length().min(LOOKED_AT_BYTES) as usize;
    let read = |member: usize| {
        let mut bytes = vec![0; length];
        // What is known to be zeros isn't read.
        let zeros = |extent| matches!(extent, Extent::Zero(end) if end >= run.range.start + length as u64);
        let known = members[member].extent(run.range.start).is_ok_and(zeros);
        (known || members[member].read(run.range.start, &mut bytes, &mut None).is_ok()).then_some(bytes)
    };
    let versions: Vec<usize> = grouping.versions().filter(|&version| version != winner).collect();
    if versions.is_empty() {
        return Vec::new();
    }
    let Some(won) = read(winner) else { return Vec::new() };
    let loser = |version: usize| {
        let looks = Looks::of(&read(version)?, &won);
        Some(Loser { members: members_of(grouping.holders(version)).collect(), looks })
    };
    versions.into_iter().filter_map(loser).collect()
}

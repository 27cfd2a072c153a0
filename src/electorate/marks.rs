//! Marks of sets among those who vote without one: what they say is told, and decides nothing here.

use crate::{
    evidence::{Mark, mark_of},
    member::Member,
};

/// What the marks of members say of each other, in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// What is to be said.
    pub(super) warnings: Vec<String>,
    /// Members that are one member of one set: the same copy twice.
    pub(super) dependent: Vec<String>,
}

/// Holds the marks of members against each other.
pub(super) fn compare(members: &[&dyn Member]) -> Marks {
    let marked: Vec<(&dyn Member, Mark)> = members.iter().filter_map(|member| Some((*member, mark_of(*member)?))).collect();
    let mut marks = Marks::default();
    for (at, (member, mark)) in marked.iter().enumerate() {
        let earlier = &marked[..at];
        if let Some((other, _)) = earlier.iter().find(|(_, other)| (other.set, other.member) == (mark.set, mark.member)) {
            marks.dependent.push(format!(
                "{} carries the mark of {}: one was copied from the other, mark and all",
                member.name(),
                other.name()
            ));
        }
        let first = marked[0].1.set;
        if mark.set != first && !earlier.iter().any(|(_, other)| other.set == mark.set) {
            marks.warnings.push(format!(
                "{} belongs to set {}, and {} to set {first}: are they copies of one disk?",
                member.name(),
                mark.set,
                marked[0].0.name()
            ));
        }
        let highest = marked.iter().filter(|(_, other)| other.set == mark.set).map(|(_, other)| other.epoch).max().unwrap_or(0);
        if mark.epoch < highest {
            marks.warnings.push(format!(
                "{}: its set has gone on without it (epoch {}, and others' marks say {highest}): it is stale, and votes here all the same; \
                 quorum-img set knows better",
                member.name(),
                mark.epoch
            ));
        }
    }
    marks
}

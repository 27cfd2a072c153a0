//! What is to be thought of a member, from its losses and from what is known of it beside its ballots: consistent with that, and no proof.

use super::tally::MemberTally;
use crate::{
    evidence::{AgeOf, Evidence, Id, are_strangers},
    report::{counted, duration, human_size},
    vote::members_of,
};

/// What was known of members before the vote.
#[derive(Clone, Debug, Default)]
pub(super) struct Backgrounds(Vec<(Vec<Id>, Vec<AgeOf>)>);

impl Backgrounds {
    pub(super) fn of(evidence: &Evidence) -> Self {
        Self(evidence.members.iter().map(|known| (known.ids.clone(), known.ages.clone())).collect())
    }

    /// What is concluded of `member`, whose tally that is, of `size` bytes where the disk has `voted`; none where nothing is.
    pub(super) fn conclude(&self, member: usize, counted: &MemberTally, sectors: u64, size: u64, voted: u64) -> Option<String> {
        let others = counted.lost.outvoted_by;
        let said = self.another_disk(member, others).or_else(|| self.stale(member, others, counted.dissenting, sectors));
        let shorter = (size < voted).then(|| format!("{} shorter", human_size(voted - size)));
        let parts: Vec<String> = said.into_iter().chain(shorter).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// "another disk: its GPT has another id".
    fn another_disk(&self, member: usize, others: u64) -> Option<String> {
        let own = &self.0.get(member)?.0;
        let theirs: Vec<&[Id]> = members_of(others).filter_map(|other| self.0.get(other)).map(|known| &known.0[..]).collect();
        if others == 0 || theirs.iter().all(|ids| ids.is_empty()) || !are_strangers(own, &theirs) {
            return None;
        }
        let both = own.iter().find(|id| theirs.iter().any(|ids| ids.iter().any(|other| other.kind == id.kind)));
        Some(match both {
            Some(id) => format!("another disk: its {} has another id", id.kind),
            None => format!("another disk: it calls itself {}", own.first()?.described()),
        })
    }

    /// "looks stale: 2.9 % differ, its ext4 was last written 26 h before the others'".
    fn stale(&self, member: usize, others: u64, dissenting: u64, sectors: u64) -> Option<String> {
        let known = |member: usize| self.0.get(member).map(|known| &known.1[..]).unwrap_or_default();
        let of_both = |part: &AgeOf| {
            let same = |there: &&AgeOf| there.age.origin == part.age.origin && there.range.start == part.range.start;
            let theirs = members_of(others).filter_map(|other| known(other).iter().find(same)).map(|there| there.age);
            let newest = theirs.filter(|age| age.is_newer_than(&part.age)).max_by_key(|age| (age.counter, age.seconds))?;
            // Where each is newer than the other nobody is stale.
            (!part.age.is_newer_than(&newest)).then_some((part.age, newest))
        };
        let (own, newest) = known(member).iter().find_map(of_both)?;
        let kind = own.origin.kind;
        let behind = match (own.seconds, newest.seconds, own.counter, newest.counter) {
            (Some(own), Some(there), ..) if there > own => {
                format!("its {kind} was last written {} before the others'", duration((there - own) as f64))
            }
            (_, _, Some(own), Some(there)) if there > own => {
                let unit = if kind == "ext4" { "transaction" } else { "step" };
                format!("its {kind} is {} behind the others'", counted(there - own, unit))
            }
            _ => return None,
        };
        let share = dissenting as f64 / sectors.max(1) as f64 * 100.0;
        Some(format!("looks stale: {} differ, {behind}", percent(share)))
    }
}

/// In as many digits as say something.
fn percent(share: f64) -> String {
    match share {
        10.0.. => format!("{share:.0} %"),
        0.01.. => format!("{share:.2} %"),
        _ => "less than 0.01 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Backgrounds, MemberTally};
    use crate::{
        evidence::{Age, AgeOf, Id, Origin},
        vote::ByteRange,
    };

    fn known(id: u8, counter: u64, seconds: i64) -> (Vec<Id>, Vec<AgeOf>) {
        let age = Age { origin: Origin { kind: "ext4", id: [id; 16] }, counter: Some(counter), seconds: Some(seconds) };
        (vec![Id { kind: "ext4", value: vec![id; 16], summed: true }], vec![AgeOf { range: ByteRange::new(0, 1 << 20), age }])
    }

    fn concluded(own: (Vec<Id>, Vec<AgeOf>), size: u64) -> Option<String> {
        let mut counted = MemberTally { dissenting: 60, ..MemberTally::default() };
        counted.lost.outvoted_by = 0b101;
        Backgrounds(vec![known(1, 9, 100_000), own, known(1, 9, 100_000)]).conclude(1, &counted, 2048, size, 1 << 20)
    }

    #[test]
    fn a_tired_person_understands_it() {
        let said = |own, size| concluded(own, size).unwrap_or_default();
        assert_eq!(said(known(1, 5, 6400), 1 << 20), "looks stale: 2.93 % differ, its ext4 was last written 26 h before the others'");
        assert_eq!(said(known(1, 5, 100_000), 1 << 20), "looks stale: 2.93 % differ, its ext4 is 4 transactions behind the others'");
        assert_eq!(said(known(7, 5, 5), 1 << 19), "another disk: its ext4 has another id; 512 KiB shorter");
        assert_eq!(said((Vec::new(), Vec::new()), 1 << 19), "512 KiB shorter");
        assert_eq!(concluded(known(1, 9, 100_000), 1 << 20), None);
        assert_eq!(concluded(known(1, 5, 200_000), 1 << 20), None, "each is newer than the other");
        assert_eq!(concluded(known(1, 11, 200_000), 1 << 20), None, "it is the newest");
    }
}

//! Who of a set's members votes in a run: what their marks say is held against the record before anything else is read.

use crate::{
    evidence::{ATTRIBUTE, AgeOf, Evidence, Mark, Uuid},
    member::{HostFile, Member, MemberName},
    set::{
        error::SetError,
        record::MemberRow,
        state::{Met, State},
    },
    sys::attributes::{Attribute, FileId, Fingerprint},
};

/// What was found where a mark should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Mark(Mark),
    /// Nothing, or something that is none.
    Nothing,
    /// There is no room for one.
    NoRoom,
}

/// What a mark says, held against the record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// It is who the record says.
    Holds,
    /// It is an older state of who the record says.
    Older,
    /// It isn't: what is wrong, and the way out.
    Refused(String, Way),
}

/// The way out of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A person says that this is the member.
    MarkIt,
    /// The names, or the files, are to be put right.
    PutRight,
    /// The record is to be made anew.
    Adopt,
}

/// A member's place in a run.
#[derive(Clone, Debug)]
pub struct Seat {
    /// What is remembered of it.
    pub row: MemberRow,
    /// Whether it has a ballot.
    pub votes: bool,
    /// How it was met, so far.
    pub met: Met,
    /// Why it is taken for older than it was, in words.
    pub older: Option<String>,
    /// What its file looked like when it was opened, where it is one.
    pub fingerprint: Option<Fingerprint>,
    /// Whether something else is read in its place.
    pub is_snapshot: bool,
}

/// All members that are counted, in the order in which they were opened.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// One for each.
    pub seats: Vec<Seat>,
}

impl Roster {
    /// Seats the members, which were opened by the names in `rows`; of those in `snapshots` (a mask) something else is read in their place, and
    /// the mark is that of their own file (`own`), where that can be opened.
    ///
    /// # Errors
    /// Where one isn't who the record says.
    pub fn new(
        rows: &[MemberRow],
        (set, epoch, name): (Uuid, u64, &MemberName),
        members: &[&dyn Member],
        own: &[Option<HostFile>],
        snapshots: u64,
    ) -> Result<Self, SetError> {
        let mut seats = Vec::new();
        for (index, (row, member)) in rows.iter().zip(members).enumerate() {
            let is_snapshot = snapshots >> index & 1 == 1;
            let file = if is_snapshot { own.get(index).and_then(Option::as_ref) } else { member.files().into_iter().next() };
            let opened = !member.files().is_empty() || member.failure().is_none();
            let mut met = match (opened, member.failure()) {
                (false, _) => Met::Away,
                (true, Some(_)) => Met::Unreadable,
                // A device of no length is one without its disk: a loop device that was let go, an export that isn't connected.
                (true, None) if member.size() == 0 && member.files().first().is_some_and(|file| file.is_device()) => Met::Away,
                (true, None) => Met::Read,
            };
            let (mut older, mut fingerprint) = (None, None);
            if let Some(file) = file {
                // Only a first write to a page moves the file's times, so that none may be under way from before.
                let _ = file.write_back();
                match (file.attribute(ATTRIBUTE), file.id(), file.fingerprint()) {
                    (Ok(attribute), Ok(id), Ok(print)) => {
                        match claim(row, &found(&attribute), id, (set, epoch), rows) {
                            Claim::Holds => {}
                            Claim::Older => {
                                older = Some("its mark is of an earlier state of the set: an older copy was put back".to_owned());
                            }
                            Claim::Refused(what, way) => {
                                return Err(SetError::Mark { member: row.shown(), what, way: way_out(way, row, rows, name) });
                            }
                        }
                        fingerprint = Some(print).filter(|_| !is_snapshot);
                    }
                    // Its server is gone: that is no claim.
                    _ => met = Met::Away,
                }
            } else if opened && !is_snapshot && row.epoch.is_some() {
                let what = "its mark is lost: it was a file, and isn't any more".to_owned();
                return Err(SetError::Mark { member: row.shown(), what, way: way_out(Way::MarkIt, row, rows, name) });
            }
            let votes = met == Met::Read && row.state.votes() && older.is_none();
            seats.push(Seat { row: row.clone(), votes, met, older, fingerprint, is_snapshot });
        }
        Ok(Self { seats })
    }

    /// Those who vote, as a mask.
    #[must_use]
    pub fn voters(&self) -> u64 {
        crate::vote::mask_of((0..self.seats.len()).filter(|&index| self.seats[index].votes))
    }

    /// Takes the vote from members whose contents are older than they were, where others' aren't: no file of them tells, and their ids do.
    pub fn look_at_ages(&mut self, evidence: &Evidence) {
        let ages: Vec<&[AgeOf]> = evidence.members.iter().map(|known| &known.ages[..]).collect();
        let went_back: Vec<usize> = (0..self.seats.len().min(ages.len()))
            .filter(|&index| {
                let seat = &self.seats[index];
                seat.met == Met::Read
                    && seat.older.is_none()
                    && seat.row.ages.iter().any(|then| {
                        let now = find(ages[index], then);
                        let others = || ages.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, own)| find(own, then));
                        now.is_some_and(|now| {
                            let behind = then.age.is_newer_than(&now.age) && !now.age.is_newer_than(&then.age);
                            behind && others().any(|other| other.age.is_newer_than(&now.age) && !now.age.is_newer_than(&other.age))
                        })
                    })
            })
            .collect();
        for index in went_back {
            let seat = &mut self.seats[index];
            seat.older = Some("what it holds is older than what it held: an older copy was put back".to_owned());
            seat.votes = false;
        }
    }

    /// Why a member has no ballot, in words; none where it has one.
    #[must_use]
    pub fn why_not(&self, index: usize) -> Option<String> {
        let seat = &self.seats[index];
        if seat.votes {
            return None;
        }
        Some(match (seat.met, &seat.older) {
            (Met::Away, _) => "it couldn't be reached".to_owned(),
            (Met::Unreadable, _) => "it can't be read as what it is".to_owned(),
            (Met::Read, Some(why)) => why.clone(),
            (Met::Read, None) => match seat.row.state {
                State::Returning => "it was away, and has to prove itself first".to_owned(),
                State::Stale => "it is stale, and waits for a resync".to_owned(),
                State::Syncing => "its resync was cut off".to_owned(),
                State::Failed => "it could not be read, and has to prove itself first".to_owned(),
                state => state.word().to_owned(),
            },
        })
    }
}

/// The age of what `then` speaks of, at the same place.
fn find<'a>(ages: &'a [AgeOf], then: &AgeOf) -> Option<&'a AgeOf> {
    ages.iter().find(|now| now.age.origin == then.age.origin && now.range.start == then.range.start)
}

fn found(attribute: &Attribute) -> Found {
    match attribute {
        Attribute::Value(bytes) => Mark::decode(bytes).map_or(Found::Nothing, Found::Mark),
        Attribute::Nothing => Found::Nothing,
        Attribute::Unsupported => Found::NoRoom,
    }
}

fn way_out(way: Way, row: &MemberRow, rows: &[MemberRow], set: &MemberName) -> String {
    let mark = format!("quorum-img set mark {} {}", set.quoted_word(), row.shown().quoted_word());
    match way {
        Way::MarkIt => format!("if it is this member all the same, say so: {mark}; else bring that back"),
        Way::PutRight => format!("put the files, or their names, in their places; or, if it is this member all the same, say so: {mark}"),
        Way::Adopt => {
            let names: Vec<String> = rows.iter().map(|row| row.shown().quoted_word()).collect();
            format!(
                "use the record that goes on with it; or make one anew of the members: quorum-img set create --adopt NEW.qset {}",
                names.join(" ")
            )
        }
    }
}

/// Whether the one that was opened is who the record says, whose set's epoch stands beside the set. Pure.
fn claim(row: &MemberRow, found: &Found, id: Option<FileId>, (set, set_epoch): (Uuid, u64), rows: &[MemberRow]) -> Claim {
    let is_other = row.file.zip(id).is_some_and(|(then, now)| !then.may_be(&now));
    let refused = |what: &str, way| Claim::Refused(what.to_owned(), way);
    let mark = match found {
        Found::Mark(mark) => mark,
        Found::NoRoom | Found::Nothing => {
            return match row.epoch {
                Some(_) => refused("its mark is lost: it may be another file than the one that belongs to the set", Way::MarkIt),
                None if is_other && *found == Found::Nothing => {
                    refused("it is another file than the one that belongs to the set", Way::MarkIt)
                }
                None => Claim::Holds,
            };
        }
    };
    if mark.set != set {
        return refused(&format!("it belongs to another set ({})", mark.set), Way::PutRight);
    }
    if mark.member != row.uuid {
        let other = rows.iter().find(|other| other.uuid == mark.member);
        let what = match other {
            Some(other) => format!("it carries the mark of {}: they were swapped, or one was copied over the other's name", other.shown()),
            None => "it carries the mark of a member that this set doesn't have".to_owned(),
        };
        return refused(&what, Way::PutRight);
    }
    if is_other {
        return refused("its mark was copied with it: it is another file than the one that belongs to the set", Way::MarkIt);
    }
    match row.epoch {
        // Who votes carries the set's epoch, or is about to; others an older one.
        _ if mark.epoch > row.epoch.unwrap_or(0).max(row.epoch_wanted).max(set_epoch) => {
            refused("its mark is newer than this record, which is an old one: the set has gone on with another", Way::Adopt)
        }
        // One that was wanted, and cut off before the record knew, is no older one.
        Some(epoch) if mark.epoch < epoch && mark.epoch != row.epoch_wanted => Claim::Older,
        _ => Claim::Holds,
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, FileId, Found, Mark, MemberRow, Uuid, Way, claim};
    use crate::set::{record::Counters, state::State};

    fn uuid(byte: u8) -> Uuid {
        Uuid::of_random([byte; 16])
    }

    fn row(number: u8) -> MemberRow {
        MemberRow {
            id: i64::from(number),
            uuid: uuid(number),
            name: format!("raw:/{number}").into(),
            state: State::Ok,
            since: 0,
            why: String::new(),
            epoch: Some(5),
            epoch_wanted: 6,
            unmarked: None,
            file: Some(FileId { inode: 100 + u64::from(number), born: Some(7) }),
            ages: Vec::new(),
            counters: Counters::default(),
        }
    }

    #[test]
    fn marks_are_claims() {
        let rows = [row(1), row(2)];
        let mark = |member, epoch| Found::Mark(Mark { set: uuid(9), member: uuid(member), epoch });
        let born = |inode, born| Some(FileId { inode, born });
        let of = |found: Found, inode| claim(&rows[0], &found, born(inode, Some(7)), (uuid(9), 6), &rows);
        let way = |claim: Claim| match claim {
            Claim::Refused(_, way) => Some(way),
            _ => None,
        };
        assert_eq!(of(mark(1, 5), 101), Claim::Holds);
        assert_eq!(of(mark(1, 6), 101), Claim::Holds, "it was written, and the record was cut off before it knew");
        assert_eq!(of(mark(1, 4), 101), Claim::Older, "an older copy was put back");
        assert_eq!(way(of(mark(1, 7), 101)), Some(Way::Adopt), "the record is old");
        assert_eq!(way(of(mark(2, 5), 101)), Some(Way::PutRight), "swapped");
        assert_eq!(way(of(mark(3, 5), 101)), Some(Way::PutRight), "a stranger");
        assert_eq!(way(of(mark(1, 5), 102)), Some(Way::MarkIt), "cp -a");
        let again = |when| claim(&rows[0], &mark(1, 5), born(101, when), (uuid(9), 6), &rows);
        assert_eq!(way(again(Some(8))), Some(Way::MarkIt), "cp -a, and the number was given out again");
        assert_eq!(again(None), Claim::Holds, "nobody says when it was made");
        assert_eq!(way(of(Found::Nothing, 101)), Some(Way::MarkIt), "lost");
        assert_eq!(way(of(Found::NoRoom, 101)), Some(Way::MarkIt), "moved to where there is no room for one");
        let other = Found::Mark(Mark { set: uuid(8), member: uuid(1), epoch: 5 });
        assert_eq!(way(of(other, 101)), Some(Way::PutRight), "another set's");
    }

    #[test]
    fn without_marks_less_is_known() {
        let rows = [MemberRow { epoch: None, epoch_wanted: 0, ..row(1) }];
        let of = |found, inode: Option<u64>| claim(&rows[0], &found, inode.map(|inode| FileId { inode, born: None }), (uuid(9), 6), &rows);
        assert_eq!(of(Found::NoRoom, Some(101)), Claim::Holds);
        assert_eq!(of(Found::NoRoom, Some(7)), Claim::Holds, "FAT numbers files anew with each mount");
        assert_eq!(of(Found::NoRoom, None), Claim::Holds, "a device");
        assert!(matches!(of(Found::Nothing, Some(7)), Claim::Refused(..)), "another file");
    }
}

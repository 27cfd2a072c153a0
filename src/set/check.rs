//! A check of a set: part by part, each remembered as soon as it is done.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt as _};

use super::{
    error::SetError,
    memory::{self, Memory, Now},
    pass::Pass,
    record::{Counters, MemberPart, Part, PartRow, PlaceRow, Record},
    roster::Roster,
    seen::{PLACES_MAX, PartLook, SeenPart},
    state::Met,
};
use crate::{
    digest::{Ending, Writer},
    evidence::Evidence,
    member::{FailedMember, Member, MemberName},
    scan::{Checked, Digesting, Findings, Limits, Listener, Outcome, Poll, Question, ScanError, Watch},
    sys::attributes::Fingerprint,
    vote::{ByteRange, Run},
};

/// Divergences of a part that are held back until it is known whether somebody wrote to a member meanwhile.
const HELD_MAX: usize = 100_000;

/// A file whose change time is so close to the present that a write might leave it as it is is waited for, in nanoseconds: a tick of the
/// kernel's coarse clock, several times over.
const SETTLED_NANOSECONDS: i128 = 50_000_000;
/// The same where times are in whole seconds.
const WHOLE_SECONDS_NANOSECONDS: i128 = 1_100_000_000;

/// What is needed to check a set.
pub struct SetCheck<'a> {
    /// Its record.
    pub record: &'a Record,
    /// This run's number in it.
    pub run: i64,
    /// Its members, opened.
    pub members: &'a [&'a dyn Member],
    /// Who votes, and what is remembered of them; in the members' order.
    pub roster: &'a Roster,
    /// What is asked.
    pub question: &'a Question,
    /// What is known before the vote.
    pub poll: &'a Poll,
    /// What is known beside the ballots.
    pub evidence: &'a Evidence<'a>,
    /// What is due.
    pub pass: &'a Pass,
    /// Parts as they were known before.
    pub known: &'a [PartRow],
    /// What the set's digest says.
    pub memory: &'a Memory,
    /// What tells whether members were written to.
    pub now: &'a Now<'a>,
    /// Whether so many vote as a version needs.
    pub quorate: bool,
    /// Members, as a mask, that are read as snapshots of theirs: their files' times say nothing of what is read.
    pub snapshots: u64,
    /// Divergences that are listed.
    pub limits: Limits,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// The time, in nanoseconds since 1970.
    pub clock: &'a (dyn Fn() -> i128 + Sync),
    /// The same as the record is to have it, in seconds.
    pub dated: &'a dyn Fn() -> i64,
    /// Whether no new part is to be begun.
    pub late: &'a dyn Fn() -> bool,
}

/// What came of it.
pub struct SetChecked {
    /// What was found in the parts that were looked at.
    pub checked: Checked,
    /// Those parts, and those that somebody wrote to meanwhile, by number.
    pub looked: Vec<u64>,
    /// See `looked`.
    pub void: Vec<u64>,
    /// Whether the pass is over with it.
    pub completed: bool,
    /// Whether no more were begun since it was time.
    pub late: bool,
    /// What was counted of each member.
    pub counters: Vec<Counters>,
    /// Whether each differs anywhere in these parts.
    pub differs: Vec<bool>,
    /// Where members dissented, as far as it is remembered.
    pub places: Vec<PlaceRow>,
}

impl SetChecked {
    /// Takes what was seen in a part.
    fn take(&mut self, seen: SeenPart) {
        for (index, counters) in seen.counters.iter().enumerate() {
            let own = &mut self.counters[index];
            own.dissenting += counters.dissenting;
            own.unreadable += counters.unreadable;
            own.silent += counters.silent;
            self.differs[index] |= seen.differs >> index & 1 == 1;
        }
        self.places.extend(seen.places);
        self.places.truncate(PLACES_MAX);
    }
}

/// One part's divergences, held back.
struct Held<'a, 'b> {
    runs: Vec<Run>,
    /// There were too many to hold.
    overflown: bool,
    findings: &'a mut Findings,
    listener: Listener<'b>,
}

impl Held<'_, '_> {
    fn take(&mut self, run: &Run) -> io::Result<()> {
        if !self.overflown && self.runs.len() < HELD_MAX {
            self.runs.push(*run);
            return Ok(());
        }
        self.overflown = true;
        self.release()?;
        self.pass_on(run)
    }

    fn pass_on(&mut self, run: &Run) -> io::Result<()> {
        self.findings.add(run);
        (self.listener)(run, self.findings)
    }

    fn release(&mut self) -> io::Result<()> {
        for run in std::mem::take(&mut self.runs) {
            self.pass_on(&run)?;
        }
        Ok(())
    }
}

/// Why a check of a set ended early.
#[derive(Debug, thiserror::Error)]
pub enum SetCheckError {
    /// The record, or its folder, takes no more.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The listener takes no more, or there are no threads.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

/// How a part ended.
enum Ended {
    /// It was checked, and is remembered.
    Done,
    /// Somebody wrote to a member meanwhile.
    Void,
    /// It was broken off.
    Stopped,
}

/// What a run has come to so far.
struct Sofar {
    done: SetChecked,
    /// Who has failed isn't asked again in the next part.
    gone: Vec<Option<FailedMember>>,
}

impl SetCheck<'_> {
    /// Checks what is due, as long as there is time; `listener` hears of each divergence.
    ///
    /// # Errors
    /// Where the record, the set's folder, or the listener takes no more.
    pub fn run(&self, listener: Listener) -> Result<SetChecked, SetCheckError> {
        let count = self.members.len();
        let mut sofar = Sofar {
            done: SetChecked {
                checked: Checked {
                    outcome: Outcome { complete: true, ..Outcome::unscanned(count) },
                    findings: Findings::of(self.evidence, self.limits),
                },
                looked: Vec::new(),
                void: Vec::new(),
                completed: false,
                late: false,
                counters: vec![Counters::default(); count],
                differs: vec![false; count],
                places: Vec::new(),
            },
            gone: (0..count).map(|_| None).collect(),
        };
        for &(number, range) in &self.pass.due {
            if !(sofar.done.looked.is_empty() && sofar.done.void.is_empty()) && (self.late)() {
                sofar.done.late = true;
                break;
            }
            let ended = if self.watch.stopped() { Ended::Stopped } else { self.part(number, range, &mut sofar, &mut *listener)? };
            match ended {
                Ended::Done => sofar.done.looked.push(number),
                Ended::Void => sofar.done.void.push(number),
                Ended::Stopped => {
                    sofar.done.checked.outcome.complete = false;
                    break;
                }
            }
        }
        let mut done = sofar.done;
        done.completed = done.checked.outcome.complete && done.void.is_empty() && done.looked.len() == self.pass.due.len();
        self.record.sweep()?;
        Ok(done)
    }

    /// Checks one part.
    fn part(&self, number: u64, range: ByteRange, sofar: &mut Sofar, listener: Listener) -> Result<Ended, SetCheckError> {
        let members: Vec<&dyn Member> =
            self.members.iter().zip(&sofar.gone).map(|(member, gone)| gone.as_ref().map_or(*member, |gone| gone as &dyn Member)).collect();
        let count = members.len();
        self.write_back();
        self.settle();
        let before = self.prints();
        let known = self.known.iter().find(|part| part.number == number && part.range == range);
        // What the digest may say was judged when the members were opened: where somebody wrote since it is silent.
        let touched = was_written_to(self.roster.seats.iter().map(|seat| seat.fingerprint.as_ref()), &before);
        let speaks = !touched && self.memory.speaks.contains(&number);
        let unheard = touched.then(|| Question { hearing: None, ..self.question.clone() });
        let question = unheard.as_ref().unwrap_or(self.question);
        let look =
            PartLook { roster: self.roster, known: known.filter(|_| !touched), now: self.now, sector: self.poll.sector, run: self.run };
        let mut seen = SeenPart::of(count);
        let mut held = Held { runs: Vec::new(), overflown: false, findings: &mut sofar.done.checked.findings, listener };
        let file = self.new_digest(number)?;
        let header = memory::header(self.record.uuid, self.poll.size, range, self.poll.sector);
        let writer = Writer::new(&file.1, header).map_err(|error| self.failed(&file.0, error))?;
        let digesting = Digesting::new(memory::geometry(self.poll.size), range, Some(writer), false, self.watch);
        let made = digesting.run(
            &members,
            question,
            self.poll,
            self.evidence,
            &mut |run, _| {
                look.see(run, &mut seen);
                held.take(run)
            },
            &|| Ending { started: moment(self.clock), finished: moment(self.clock) },
        );
        let made = match made {
            Err(ScanError::Sink(error)) if error.kind() == io::ErrorKind::StorageFull => {
                self.drop_digest(&file.0);
                return Err(self.failed(&file.0, error).into());
            }
            made => made?,
        };
        let part = made.checked.outcome;
        for ((why, gone), member) in part.failures.iter().zip(&mut sofar.gone).zip(self.members) {
            if let (Some(why), None) = (why, &gone) {
                *gone = Some(FailedMember::missing(member.name().clone(), member.format(), why.clone()));
            }
        }
        if !part.complete {
            self.drop_digest(&file.0);
            held.release().map_err(ScanError::Sink)?; // what was found so far is told
            sofar.done.checked.outcome.join(part);
            return Ok(Ended::Stopped);
        }
        let after = self.prints();
        if was_written_to(before.iter().map(Option::as_ref), &after) {
            // What differs there may only have been on its way.
            self.drop_digest(&file.0);
            if held.overflown {
                held.release().map_err(ScanError::Sink)?;
            }
            return Ok(Ended::Void);
        }
        held.release().map_err(ScanError::Sink)?;
        if !self.quorate && seen.undecided > 0 {
            // What too few said is no memory.
            self.drop_digest(&file.0);
            sofar.done.take(seen);
            sofar.done.checked.outcome.join(part);
            return Ok(Ended::Done);
        }
        let contradicted = part.heard.witnesses.iter().any(|tally| tally.contradicted > 0);
        let unknown = made.unknown.map_or(0, |(_, chunks)| chunks);
        let digest = self.keep_digest(&file, known, speaks, contradicted, unknown)?;
        // A digest of before that isn't heard now goes by what files looked like then.
        let of_before = known.filter(|part| digest.is_some() && part.digest == digest && !speaks);
        let print = |index: usize| match of_before {
            Some(part) => part.print_of(self.roster.seats[index].row.id).cloned(),
            None => self.print_of_part(index, after[index].as_ref()),
        };
        let rows = (0..count).filter(|&index| part.failures[index].is_none()).map(|index| MemberPart {
            member: self.roster.seats[index].row.id,
            differs: seen.differs >> index & 1 == 1,
            counts: true,
            fingerprint: print(index),
        });
        let rows: Vec<MemberPart> = rows.collect();
        let (pass, undecided) = (self.pass.number, seen.undecided);
        let row = Part { number, range, pass, run: self.run, undecided, digest: digest.as_deref(), members: &rows };
        self.record.set_part(&row, (self.dated)())?;
        if let Some(old) = known.and_then(|part| part.digest.as_deref()).filter(|old| digest.as_deref() != Some(old)) {
            self.drop_digest(old);
        }
        sofar.done.take(seen);
        sofar.done.checked.outcome.join(part);
        Ok(Ended::Done)
    }

    /// Waits until a write would move times that are as young as the present.
    fn settle(&self) {
        let young = |print: &Fingerprint| {
            // Old file systems count whole seconds.
            let tick = if print.changed % 1_000_000_000 == 0 { WHOLE_SECONDS_NANOSECONDS } else { SETTLED_NANOSECONDS };
            (0..tick).contains(&((self.clock)() - print.changed))
        };
        while !self.watch.stopped() && self.prints().iter().flatten().any(young) {
            self.watch.pause();
        }
    }

    /// A write to a page that was written to before, and not yet went to the file system, moves no times.
    fn write_back(&self) {
        for (member, seat) in self.members.iter().zip(&self.roster.seats).filter(|(_, seat)| seat.met == Met::Read && !seat.is_snapshot) {
            if let Some(file) =
                member.files().into_iter().next().filter(|_| seat.fingerprint.as_ref().is_some_and(|it| it.untrusted.is_none()))
            {
                let _ = file.write_back(); // where that fails its reading fails, too
            }
        }
    }

    /// What each member's file looks like now.
    fn prints(&self) -> Vec<Option<Fingerprint>> {
        let of = |(index, member): (usize, &&dyn Member)| {
            let seat = &self.roster.seats[index];
            let file = member.files().into_iter().next().filter(|_| seat.met == Met::Read)?;
            file.fingerprint().ok()
        };
        self.members.iter().enumerate().map(of).collect()
    }

    /// What is remembered of a member's file for a part: what tells whether it was written to since, where that can be told.
    fn print_of_part(&self, index: usize, print: Option<&Fingerprint>) -> Option<(Fingerprint, String)> {
        if self.snapshots >> index & 1 == 1 || self.now.boot.is_empty() {
            return None; // another file was read, or nobody can tell one boot from another
        }
        let print = print.filter(|print| print.untrusted.is_none())?;
        // A file whose times stand in the future doesn't tell.
        if (self.clock)() - print.changed < 0 {
            return None;
        }
        Some((print.clone(), self.now.boot.to_owned()))
    }

    fn new_digest(&self, part: u64) -> Result<(String, std::fs::File), SetError> {
        let name = memory::file_name(part, self.run);
        let path = self.record.place().folder().join(&name);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&path);
        opened.map(|file| (name, file)).map_err(|error| SetError::Io { path: MemberName::from(path.as_path()), error })
    }

    fn drop_digest(&self, name: &str) {
        if !memory::is_plain(name) {
            return;
        }
        let _ = std::fs::remove_file(self.record.place().folder().join(name)); // it is in nobody's way
    }

    /// Decides between the digest that was made and the one that was there; returns the name of the one that is kept.
    fn keep_digest(
        &self,
        made: &(String, std::fs::File),
        known: Option<&PartRow>,
        speaks: bool,
        contradicted: bool,
        unknown: u64,
    ) -> Result<Option<String>, SetError> {
        if let Some(old) = known.and_then(|part| part.digest.clone()) {
            // What it says against all members is for a person to look at, and what it knows is worth more than what is known less of: a person
            // may say later that nobody wrote.
            let there = memory::unknown_chunks(self.record.place(), &old);
            let keeps = if speaks {
                contradicted || there.is_some_and(|there| there <= unknown)
            } else {
                unknown > 0 && there.is_some_and(|there| there < unknown)
            };
            if keeps {
                self.drop_digest(&made.0);
                return Ok(Some(old));
            }
        }
        made.1.sync_all().map_err(|error| self.failed(&made.0, error))?;
        Ok(Some(made.0.clone()))
    }

    fn failed(&self, name: &str, error: io::Error) -> SetError {
        SetError::Io { path: MemberName::from(self.record.place().folder().join(name).as_path()), error }
    }
}

/// The time in seconds and nanoseconds since 1970.
fn moment(clock: &(dyn Fn() -> i128 + Sync)) -> (i64, u32) {
    let now = clock();
    (i64::try_from(now.div_euclid(1_000_000_000)).unwrap_or(0), u32::try_from(now.rem_euclid(1_000_000_000)).unwrap_or(0))
}

fn was_written_to<'a>(before: impl Iterator<Item = Option<&'a Fingerprint>>, after: &[Option<Fingerprint>]) -> bool {
    before.zip(after).any(|pair| match pair {
        // A write that gave the file its modification time back moved its change time.
        (Some(before), Some(after)) => !before.is_same(after),
        _ => false,
    })
}

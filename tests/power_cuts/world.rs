//! Members, repair and undo on the simulated disk, as the program would run them.

use std::{ffi::OsStr, path::Path, sync::Arc};

use quorum_img::{
    evidence::Evidence,
    member::{Member, MemberName, Readable},
    repair::{
        Answer, Forced, Guard, InPlace, InPlaceWish, JournalPlace, RepairError,
        journal::{Identity, Journal},
        judge::{Judge, Way},
        undo::{Undo, UndoError, UndoTarget, Undone},
    },
    report::{MemberSpan, Report},
    scan::{Poll, Watch, sizes},
    sys::storage::Storage,
};

use crate::{
    JOURNAL,
    disk::Disk,
    handle::Handle,
    oracle::Expected,
    platter::{BLOCK, SECTOR},
    random::Random,
    schedule::Schedule,
    voter::{Voter, name_of},
    witness::Witness,
};

/// A disk with the members of a schedule on it.
pub struct World {
    pub schedule: Arc<Schedule>,
    pub expected: Arc<Expected>,
    pub disk: Disk,
}

impl World {
    pub fn new(schedule: Schedule) -> Self {
        let members = schedule.members.iter().map(|member| member.platter(schedule.lies)).collect();
        let disk = Disk::new(schedule.seed, members, schedule.habits);
        Self { expected: Arc::new(schedule.expected()), schedule: Arc::new(schedule), disk }
    }

    /// The same story on another disk.
    pub fn on(&self, disk: Disk) -> Self {
        Self { schedule: self.schedule.clone(), expected: self.expected.clone(), disk }
    }

    pub fn twin(&self) -> Self {
        self.on(self.disk.twin())
    }

    pub fn repair(&self) -> Result<Report, RepairError> {
        self.repair_watched(&())
    }

    /// Each write to a member is witnessed.
    pub fn repair_watched(&self, watch: &dyn Watch) -> Result<Report, RepairError> {
        let originals = Arc::new(self.schedule.members.clone());
        self.disk.set_witness(self.schedule.journal.then(|| Witness::new(originals)));
        let report = self.run(watch);
        self.disk.set_witness(None);
        report
    }

    fn run(&self, watch: &dyn Watch) -> Result<Report, RepairError> {
        let voters: Vec<Voter> = (0..self.schedule.members.len()).map(|file| Voter::open(&self.disk, file)).collect();
        let members: Vec<&dyn Member> = voters.iter().map(|voter| voter as _).collect();
        let store = |(member, voter)| self.schedule.is_written(member).then(|| Voter::store(voter));
        let stores: Vec<Option<&dyn Storage>> = voters.iter().enumerate().map(store).collect();
        let question = self.schedule.question();
        let poll = Poll::new(&sizes(&members), &question).expect("the question makes sense");
        let forced = Forced::of([Guard::Stale, Guard::Zeros, Guard::Empty, Guard::Cuts, Guard::Newer]);
        Judge { way: Way::InPlace, forced }.admit(&members, &question, &poll)?;
        let place = JournalPlace { folder: &self.disk, name: OsStr::new(JOURNAL), shown: journal_name() };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&Random::of(self.schedule.seed, 77).next().to_le_bytes());
        let wish = InPlaceWish {
            dry_run: false,
            no_write: self.schedule.no_write.clone(),
            truncate: self.schedule.truncate,
            max_damage: 100.0,
            journal: self.schedule.journal.then_some(place),
            options: self.schedule.options(),
            identities: voters.iter().enumerate().map(|(file, voter)| identity(file, voter.size())).collect(),
            id,
            now: 0,
            dependent: Vec::new(),
            put_back: Vec::new(),
            earlier: None,
            forced,
            divergences_max: 10_000,
            portion_bytes: self.schedule.portion_bytes,
        };
        let evidence = Evidence::of(&members, &[]);
        let repair = InPlace {
            evidence: &evidence,
            members: &members,
            stores: &stores,
            question: &question,
            poll: &poll,
            wish: &wish,
            watch,
            phases: &|_, _| {},
            confirm: &|_| Answer::Yes,
        };
        repair.run(Vec::new(), &mut |_, _| Ok(()))
    }

    /// Puts everything back; none where there is no journal.
    pub fn undo(&self) -> Result<Option<Undone>, UndoError> {
        let name = journal_name();
        let Some(storage) = self.disk.find(OsStr::new(JOURNAL)) else { return Ok(None) };
        let journal = Journal::load(&name, Box::new(storage))?;
        let touched = journal.touched()?;
        let members = journal.header().members.len();
        let handles: Vec<Handle> = (0..members).map(|file| self.disk.handle(file)).collect();
        let target = |file: usize| {
            (touched >> file & 1 == 1).then(|| UndoTarget {
                name: name_of(file),
                storage: &handles[file],
                inode: file as u64,
                file_system: [0; 16],
                mapped: false,
                marked: false,
            })
        };
        let targets: Vec<Option<UndoTarget>> = (0..members).map(target).collect();
        let undo = Undo { targets: &targets, force_changed: false, watch: &(), phases: &|_, _| {} };
        undo.examine(&journal)?;
        undo.restore(journal).map(Some)
    }

    /// Why the plan was refused; empty where it wasn't.
    pub fn refused(report: &Report) -> String {
        report.in_place.as_ref().and_then(|section| section.refused.clone()).unwrap_or_default()
    }

    /// On the medium each member is as it was; what could not be read may have been healed.
    pub fn assert_original(&self, when: &str) {
        for (member, original) in self.schedule.members.iter().enumerate() {
            self.disk.file(member, |file| {
                let durable = &file.durable().bytes;
                assert_eq!(durable.len(), original.bytes.len(), "the length of #{member} {when}");
                let wrong = differences(durable, &original.bytes)
                    .find(|&at| durable[at] != original.bytes[at] && !original.was_unreadable(at as u64));
                assert!(wrong.is_none(), "#{member} isn't as it was at {:#x} {when}", wrong.unwrap_or(0));
                assert!(file.durable().bad.is_subset(&original.bad), "#{member} has new bad sectors {when}");
            });
        }
    }

    pub fn assert_repaired(&self, when: &str) {
        (0..self.schedule.members.len()).for_each(|member| self.assert_member_repaired(member, when));
    }

    /// On the medium it holds what was voted.
    pub fn assert_member_repaired(&self, member: usize, when: &str) {
        self.assert_member_repaired_but(&[], member, when);
    }

    /// It does, except in parts that were left.
    pub fn assert_member_repaired_but(&self, left: &[MemberSpan], member: usize, when: &str) {
        let is_left = |at: u64| left.iter().any(|part| part.member == member && (part.span.offset..part.span.end()).contains(&at));
        let (bytes, bad) = (&self.expected.members[member], &self.expected.bad[member]);
        let stubborn = &self.schedule.members[member].stubborn;
        self.disk.file(member, |file| {
            let durable = &file.durable().bytes;
            assert_eq!(durable.len(), bytes.len(), "the length of #{member} {when}");
            let wrong =
                (0..durable.len()).find(|&at| durable[at] != bytes[at] && !stubborn.contains(&(at as u64 / BLOCK)) && !is_left(at as u64));
            assert!(wrong.is_none(), "#{member} doesn't hold what was voted at {:#x} {when}", wrong.unwrap_or(0));
            let open = |sector: &&u64| !stubborn.contains(&(*sector * SECTOR / BLOCK)) && !is_left(*sector * SECTOR);
            let left: Vec<&u64> = file.durable().bad.iter().filter(open).collect();
            assert_eq!(left, bad.iter().filter(open).collect::<Vec<_>>(), "unreadable sectors of #{member} {when}");
        });
    }
}

/// Where to look for differences: nowhere, where there are none.
fn differences(a: &[u8], b: &[u8]) -> std::ops::Range<usize> {
    if a == b { 0..0 } else { 0..a.len() }
}

pub fn journal_name() -> MemberName {
    MemberName::from(Path::new(JOURNAL))
}

fn identity(file: usize, size: u64) -> Identity {
    Identity {
        path: format!("/m{file}").into_bytes(),
        device: false,
        file_system: [0; 16],
        inode: file as u64,
        device_number: 0,
        size,
        samples: Vec::new(),
        modified: None,
    }
}

//! A new image on the simulated disk: under its name stands nothing, or what stood there before, or the whole of it; whatever goes wrong.

use std::{ffi::OsStr, fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use quorum_img::{
    digest::{Sum, SumKind},
    evidence::Evidence,
    member::{
        Cache, Member, MemberName, RawMember, Readable,
        qcow2::{Caches, Compression, Opening, Qcow2Member, References, read_header},
    },
    repair::{
        Forced, Guard, Qcow2Compat, Qcow2Options, Repair, RepairError, Target, Wish,
        judge::{Judge, Way},
    },
    report::Report,
    scan::{Poll, sizes},
    sys::storage::{Folder, Replace},
    vote::Fill,
};

use sha2::{Digest as _, Sha256};

use crate::{
    disk::{Disk, Kind, Step},
    platter::Platter,
    random::Random,
    schedule::Schedule,
    tell,
    voter::Voter,
};

/// What the output is called.
const OUTPUT: &str = "fixed.img";
/// What stood there before, where something did.
const EARLIER: &[u8] = b"an image that somebody still wants";
/// Outcomes of a power cut that are tried for each step.
const OUTCOMES: u64 = 2;

/// A disk with members on it, and what is to be made of them.
struct Studio {
    schedule: Arc<Schedule>,
    disk: Disk,
    qcow2: Option<Qcow2Options>,
    sparse_bytes: u64,
    /// Whether the digest of what is voted is asked for.
    proven: bool,
    /// Whether something stands under the output's name and is to be replaced.
    replaces: bool,
}

impl Studio {
    fn new(seed: u64) -> Self {
        let schedule = Schedule::new(seed);
        let mut random = Random::of(seed, 20);
        let members = schedule.members.iter().map(|member| member.platter(schedule.lies)).collect();
        let disk = Disk::new(schedule.seed, members, schedule.habits);
        let options = |random: &mut Random| Qcow2Options {
            cluster_bits: random.pick(&[9, 12, 16]),
            compat: random.pick(&[Qcow2Compat::V2, Qcow2Compat::V3]),
            compression: Compression::Zlib,
            compressed: random.chance(50),
        };
        let qcow2 = random.chance(40).then(|| options(&mut random));
        let studio = Self {
            schedule: Arc::new(schedule),
            disk,
            qcow2,
            sparse_bytes: random.pick(&[0, 512, 4096, 65536]),
            proven: random.chance(40),
            replaces: random.chance(50),
        };
        if studio.replaces {
            let draft = Folder::create(&studio.disk).expect("nothing goes wrong");
            draft.storage().write(0, EARLIER).expect("nothing goes wrong");
            draft.storage().sync().expect("nothing goes wrong");
            draft.publish(OsStr::new(OUTPUT), Replace::Never).expect("nothing goes wrong");
            studio.disk.calm();
        }
        studio
    }

    fn on(&self, disk: Disk) -> Self {
        Self { schedule: self.schedule.clone(), disk, ..*self }
    }

    fn twin(&self) -> Self {
        self.on(self.disk.twin())
    }

    /// Makes the image.
    fn make(&self) -> Result<Report, RepairError> {
        let voters: Vec<Voter> = (0..self.schedule.members.len()).map(|file| Voter::open(&self.disk, file)).collect();
        let members: Vec<&dyn Member> = voters.iter().map(|voter| voter as _).collect();
        let question = self.schedule.question();
        let poll = Poll::new(&sizes(&members), &question).expect("the question makes sense");
        let forced = if self.replaces { Forced::of([Guard::Overwrite]) } else { Forced::NOTHING };
        Judge { way: Way::NewImage, forced }.admit(&members, &question, &poll)?;
        let wish = Wish {
            dependent: Vec::new(),
            output: Path::new(OUTPUT),
            target: Target::File {
                folder: Box::new(self.disk.clone()),
                name: OUTPUT.into(),
                replace: if self.replaces { Replace::Existing } else { Replace::Never },
            },
            fill: Fill::Zero,
            sparse_bytes: self.sparse_bytes,
            qcow2: self.qcow2,
            reflink: true,
            verify: true,
            expected: self.proven.then(|| Sum { kind: SumKind::Sha256, hex: format!("{:x}", Sha256::digest(self.schedule.voted_image())) }),
            earlier: None,
            forced,
            divergences_max: 10_000,
        };
        let evidence = Evidence::of(&members, &vec![None; members.len()]);
        let repair = Repair {
            members: &members,
            question: &question,
            poll,
            evidence: &evidence,
            wish: &wish,
            watch: &(),
            phases: &|_, _| {},
            before: &|_| {},
        };
        repair.run(Vec::new(), &mut |_, _| Ok(()))
    }

    /// What a power cut would leave under the output's name for certain.
    fn left(&self) -> Option<Vec<u8>> {
        let file = self.disk.find(OsStr::new(OUTPUT))?;
        Some(self.disk.file(file.number(), |file| file.durable().bytes.clone()))
    }

    /// Whether these bytes are the voted image, as a guest sees it.
    fn is_whole(&self, bytes: &[u8]) -> bool {
        let voted = self.schedule.voted_image();
        if self.qcow2.is_none() {
            return bytes == voted;
        }
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(bytes, 0).expect("it can be written");
        let seen = as_guest(file);
        // Sizes of images are multiples of 512; what is added reads as zeros.
        seen.is_some_and(|seen| seen.len() == voted.len().next_multiple_of(512) && seen.starts_with(&voted))
    }

    /// Under the output's name stands nothing but what stood there before, or the whole image; says which.
    fn assert_nothing_or_all(&self, when: &str) -> bool {
        let whole = match self.left() {
            None => {
                assert!(!self.replaces, "the earlier image is gone {when}");
                false
            }
            Some(bytes) if self.replaces && bytes == EARLIER => false,
            Some(bytes) => {
                assert!(self.is_whole(&bytes), "a part of the image has its name {when}");
                true
            }
        };
        for (member, original) in self.schedule.members.iter().enumerate() {
            self.disk.file(member, |file| assert!(file.durable().bytes == original.bytes, "#{member} isn't as it was {when}"));
        }
        whole
    }
}

/// All that a guest sees of an image; none where it is none.
fn as_guest(file: File) -> Option<Vec<u8>> {
    let name = MemberName::from(Path::new(OUTPUT));
    let file = RawMember::of_file(name, Path::new(OUTPUT), file, Cache::Writeback).ok()?;
    let header = read_header(&file).ok()?;
    let caches = Arc::new(Caches::of_all_members());
    let opening = Opening { cache: Cache::Writeback, references: References::Refused, snapshot: None, caches: &caches };
    let (image, _) = Qcow2Member::open(file, header, false, &opening).ok()?;
    let mut bytes = vec![0; image.size() as usize];
    image.read(0, &mut bytes, &mut None).ok()?;
    Some(bytes)
}

/// Why it failed, by the report.
fn error_of(report: &Report) -> Option<String> {
    report.repair.as_ref()?.error.clone()
}

/// The studio of a seed, where an image can be made in it at all, with the steps that this takes and how many reads.
fn making(seed: u64) -> Option<(Studio, Vec<Step>, u64)> {
    let studio = Studio::new(seed);
    let whole = studio.twin();
    let report = whole.make().expect("nothing goes wrong");
    let repair = report.repair.expect("it was to be an image");
    if let Some(refused) = repair.refused {
        assert!(refused.contains("holds data behind the voted end") && !repair.written, "{refused}");
        assert!(!whole.assert_nothing_or_all("where a longer member holds data behind the end"));
        return None;
    }
    assert!(repair.written && repair.verified);
    assert!(whole.assert_nothing_or_all("where nothing went wrong"), "it is made");
    let (_, reads) = whole.disk.counted();
    Some((studio, whole.disk.trace(), reads))
}

#[test]
fn a_crash_at_any_step_leaves_nothing_or_all_of_it() {
    tell("a_crash_at_any_step_leaves_nothing_or_all_of_it", 12, |seed| {
        let Some((studio, ..)) = making(seed) else { return };
        let mut random = Random::of(seed, 21);
        let made = studio.twin();
        made.disk.keep_snapshots();
        made.make().expect("nothing goes wrong");
        let snapshots = made.disk.take_snapshots();
        for (step, snapshot) in snapshots.iter().enumerate() {
            for outcome in 0..OUTCOMES {
                let when = format!("after a crash at step {step} of {}, outcome {outcome}", snapshots.len());
                let crashed = studio.on(Disk::after(snapshot, &mut random));
                let whole = crashed.assert_nothing_or_all(&when);
                assert!(whole || step + 1 < snapshots.len(), "what was said to be made is there {when}");
                if !whole {
                    // The next try isn't troubled by what the first one left.
                    crashed.make().unwrap_or_else(|error| panic!("another try {when}: {error}"));
                    assert!(crashed.assert_nothing_or_all(&format!("after another try {when}")));
                }
            }
        }
    });
}

/// The last case is a network file system's: all writes went well, and syncing (or closing) says that one of them did not.
#[test]
fn an_error_at_any_step_leaves_nothing() {
    tell("an_error_at_any_step_leaves_nothing", 7, |seed| {
        let Some((studio, steps, _)) = making(seed) else { return };
        let mut random = Random::of(seed, 22);
        for step in steps {
            for &fault in step.kind.faults().iter().chain(step.kind.late_faults()) {
                let studio = studio.twin();
                studio.disk.fail_at(step, fault);
                let outcome = studio.make();
                let when = format!("after {fault:?} at {step:?}");
                assert!(studio.disk.failed().is_some(), "the same steps are taken each time {when}");
                let report = outcome.unwrap_or_else(|error| panic!("a report is made all the same {when}: {error}"));
                let error = error_of(&report).unwrap_or_else(|| panic!("an error is told {when}"));
                assert!(error.contains("hint: "), "no way out {when}: {error}");
                assert_eq!(report.exit_code, 3, "{when}: {error}");
                let left = studio.left().filter(|bytes| bytes != EARLIER);
                assert_eq!(report.repair.is_some_and(|repair| repair.written), left.is_some(), "what is reported is so {when}: {error}");
                studio.disk.calm();
                studio.disk.crash(&mut random);
                // Once it has its name only that can be lost.
                let named = step.kind == Kind::SyncFolder;
                assert!(!studio.assert_nothing_or_all(&format!("{when}, and a crash")) || named, "it was said to have failed {when}");
                let again = studio.make().map(|report| error_of(&report));
                assert!(matches!(again, Ok(None)) || named, "another try {when}: {again:?}");
            }
        }
    });
}

/// A member, or what was written, can't be read once, and never again.
#[test]
fn an_error_at_any_read_leaves_nothing_or_all_of_it() {
    tell("an_error_at_any_read_leaves_nothing_or_all_of_it", 8, |seed| {
        let Some((studio, _, reads)) = making(seed) else { return };
        for read in 1..=reads {
            let studio = studio.twin();
            studio.disk.fail_read(read);
            let outcome = studio.make();
            let when = format!("after an error of read {read} of {reads} (file {:?})", studio.disk.read_failed());
            assert!(studio.disk.read_failed().is_some(), "the same reads are made each time {when}");
            let left = studio.left().filter(|bytes| bytes != EARLIER);
            match outcome {
                Ok(report) => {
                    let error = error_of(&report);
                    let written = report.repair.is_some_and(|repair| repair.written);
                    assert_eq!(written, left.is_some(), "what is reported is so {when}");
                    assert!(!written || error.is_none(), "{when}: {error:?}");
                }
                Err(error) => panic!("a report is made all the same {when}: {error}"),
            }
        }
    });
}

/// A disk that is too small is told, whenever that shows.
#[test]
fn no_room_leaves_nothing() {
    tell("no_room_leaves_nothing", 40, |seed| {
        let Some((studio, ..)) = making(seed) else { return };
        let mut random = Random::of(seed, 23);
        let whole = studio.twin();
        whole.make().expect("nothing goes wrong");
        let file = whole.disk.find(OsStr::new(OUTPUT)).expect("it is there").number();
        let taken = whole.disk.file(file, |file| file.cached().allocated.last().map_or(0, |&block| (block + 1) * crate::platter::BLOCK));
        let taken = taken.min(whole.disk.file(file, Platter::length));
        let room = random.below(taken.max(1));
        studio.disk.limit(room);
        match studio.make() {
            Err(error) => panic!("a report is made all the same: {error}"),
            Ok(report) => match error_of(&report) {
                Some(error) => assert!(error.contains("hint: "), "{error}"),
                None => assert_eq!(taken, 0, "{room} bytes of room for {taken}"),
            },
        }
        assert!(!studio.assert_nothing_or_all("as there was no room") || taken == 0);
    });
}

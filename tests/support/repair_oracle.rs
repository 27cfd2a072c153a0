//! What must come of a repair, worked out sector by sector from the words of `design.md`; and random members to repair.

use std::path::{Path, PathBuf};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use super::{
    Lab, noise,
    oracle::{Question, winner},
};

/// A repair to be foretold.
#[derive(Clone, Debug)]
pub struct Repair {
    /// The members and the vote.
    pub question: Question,
    /// `--pick` as offset and length in bytes, whole sectors, and the member's number.
    pub pick: Option<(u64, u64, usize)>,
    /// `--no-write`, by the member's number.
    pub no_write: Option<usize>,
    /// `--truncate`.
    pub truncate: bool,
}

/// What an in-place repair leaves.
#[derive(Debug, PartialEq)]
pub struct Rewritten {
    /// What each member holds.
    pub images: Vec<Vec<u8>>,
    /// None where the contract leaves it open.
    pub code: Option<i32>,
}

/// What a vote writes to a new image.
#[derive(Debug)]
pub struct NewImage {
    /// None where there may be no output.
    pub bytes: Option<Vec<u8>>,
    pub code: i32,
}

impl Repair {
    /// By the vote alone.
    pub fn of(question: Question) -> Self {
        Self { question, pick: None, no_write: None, truncate: false }
    }

    fn right(&self, start: u64, stop: u64) -> Option<&[u8]> {
        match self.pick {
            Some((offset, length, member)) if (offset..offset + length).contains(&start) => self.question.ballots(start, stop)[member],
            _ => self.question.right(start, stop),
        }
    }

    /// What `--in-place` makes of the members. None where their size is undecided.
    pub fn in_place(&self) -> Option<Rewritten> {
        let Question { images: before, range, .. } = &self.question;
        let size = self.question.size()?;
        let sectors: Vec<_> = self.question.sectors(size).filter(|&(start, stop)| self.question.looks_at(start, stop)).collect();
        let undecided = sectors.iter().any(|&(start, stop)| self.right(start, stop).is_none());
        let mut work_left = false;
        let mut images = before.clone();
        for (index, image) in images.iter_mut().enumerate() {
            let mut differs = false;
            let had = image.len() as u64;
            // An extension "ends before the first undecided sector in the part that the member lacks".
            let mut grows = true;
            for (start, stop) in self.question.sectors(size) {
                let absent = stop > had;
                let right = self.right(start, stop).filter(|_| self.question.looks_at(start, stop));
                let Some(right) = right else {
                    grows &= !absent;
                    continue;
                };
                let (start, stop) = (start as usize, stop as usize);
                if before[index].get(start..stop) == Some(right) {
                    continue;
                }
                differs = true;
                if absent && !grows {
                    continue;
                }
                image.resize(image.len().max(stop), 0);
                image[start..stop].copy_from_slice(right);
            }
            if had > size {
                differs = true;
                if self.truncate {
                    image.truncate(size as usize);
                } else {
                    work_left = true;
                }
            }
            if self.no_write == Some(index) {
                image.clone_from(&before[index]);
                work_left |= differs;
            }
        }
        let alike = before.iter().all(|image| image.len() as u64 == size);
        let code = if undecided { 2 } else { i32::from(work_left) };
        // How a range and members of several lengths count together isn't said.
        Some(Rewritten { images, code: (alike || range.is_none()).then_some(code) })
    }

    /// What `-o` writes, with `--undecided POLICY`. None where the members' size is undecided. "A longer one has a surplus"; "where the
    /// voted size cuts off data other than zeros, there is no output".
    pub fn new_image(&self, policy: &str) -> Option<NewImage> {
        let Question { sector, threshold, range, trust, .. } = self.question;
        let question = Question { images: self.question.padded(), sector, threshold, range, trust };
        Self { question, ..*self }.new_image_as_read(policy)
    }

    fn new_image_as_read(&self, policy: &str) -> Option<NewImage> {
        let size = self.question.size()?;
        let mut bytes = Vec::new();
        let mut complete = self.question.images.iter().all(|image| image.iter().skip(size as usize).all(|&byte| byte == 0));
        let mut undecided = false;
        for (start, stop) in self.question.sectors(size) {
            let ballots: Vec<&[u8]> = self.question.ballots(start, stop).into_iter().flatten().collect();
            let length = (stop - start) as usize;
            let byte = |at: usize| winner(&ballots.iter().map(|ballot| ballot[at]).collect::<Vec<_>>(), self.question.threshold);
            let right = self.right(start, stop);
            undecided |= right.is_none();
            let filled = match (right, policy) {
                (Some(right), _) => Some(right.to_vec()),
                (None, "first") => Some(ballots[0].to_vec()),
                (None, "zero") => Some(vec![0; length]),
                (None, "bytes") => (0..length).map(byte).collect(),
                (None, _) => None,
            };
            complete &= filled.is_some();
            bytes.extend(filled.unwrap_or_default());
        }
        let code = if undecided || !complete { 2 } else { 0 };
        Some(NewImage { bytes: complete.then_some(bytes), code })
    }
}

// --- members ----------------------------------------------------------------------------------------------------------------

/// What a sector can hold: few versions, so that ties and minorities are frequent, and zeros among them. Single bytes differ at three
/// places, so that a vote byte by byte wins in some and is lost in others.
fn version(sector: usize, kind: u8) -> Vec<u8> {
    let mut bytes = noise(sector as u64, 512);
    match kind {
        1 => bytes[10] ^= 1,
        2 => bytes[500] ^= 0x80,
        3 => bytes[10] ^= 2,
        4 => bytes.fill(0),
        _ => {}
    }
    bytes
}

/// Some of its sectors are damaged; it is as long as it should be, or ends early or late, within a sector or not; a surplus is of zeros
/// or not.
fn image(zeros: Vec<bool>, length: i64) -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec(prop_oneof![8 => Just(0u8), 1 => 1..5u8], zeros.len());
    let change = prop_oneof![6 => Just(0i64), 1 => -9000..0i64, 1 => 1..2500i64];
    (kinds, change, prop_oneof![Just(0u8), Just(7)]).prop_map(move |(kinds, change, surplus)| {
        let kinds = kinds.iter().zip(&zeros).map(|(&kind, &zero)| if kind == 0 && zero { 4 } else { kind });
        let mut bytes: Vec<u8> = kinds.enumerate().flat_map(|(sector, kind)| version(sector, kind)).collect();
        bytes.truncate(usize::try_from(length).expect("a length"));
        bytes.resize(usize::try_from((length + change).max(1)).expect("a length"), surplus);
        bytes
    })
}

/// From 2 to 5 members of up to 40 sectors, some of which are zeros in all of them, and a threshold that is a majority at least.
pub fn questions() -> impl Strategy<Value = Question> {
    let members = (2..=5usize, 1..=40i64, prop_oneof![3 => Just(0i64), 1 => 1..512i64]).prop_flat_map(|(members, sectors, short)| {
        let zeros = vec(prop::bool::weighted(0.3), usize::try_from(sectors).expect("a count"));
        let images = zeros.prop_flat_map(move |zeros| vec(image(zeros, sectors * 512 - short), members));
        (images, members / 2 + 1..=members)
    });
    let sector = prop_oneof![3 => Just(512u64), 1 => Just(4096), 1 => Just(1024)];
    (members, sector).prop_map(|((images, threshold), sector)| Question { images, sector, threshold, range: None, trust: None })
}

/// Tries as many cases as `PROPTEST_CASES` says, or a hundred: each is a few runs of the program.
pub fn try_all<S: Strategy>(seed: u64, cases: &S, check: impl Fn(S::Value)) {
    let count = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 100 };
    let config =
        Config { cases: count, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let result = TestRunner::new(config).run(cases, |case| {
        check(case);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// The members as files. Each run syncs, which memory does in no time.
pub fn in_memory(images: &[Vec<u8>]) -> (Lab, Vec<PathBuf>) {
    let memory = Path::new("/dev/shm");
    let lab = if memory.is_dir() { Lab::below(memory) } else { Lab::new() };
    let members = images.iter().enumerate().map(|(index, bytes)| lab.file(format!("{index}.img"), bytes)).collect();
    (lab, members)
}

//! Random damage against an oracle that was written from the words of the contract alone: what must every member hold in the end?

use std::{collections::BTreeMap, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};
use serde_json::Value;

use super::{
    all_bytes, apply_plan, assert_all_hold, in_place, journal_of, refuses,
    support::{Lab, Output, Run, noise},
};

/// Members and options.
#[derive(Clone, Debug, Default)]
struct Case {
    images: Vec<Vec<u8>>,
    sector: usize,
    threshold: usize,
    /// Offset and length in bytes.
    range: Option<(usize, usize)>,
    /// First sector, how many, the member.
    pick: Option<(usize, usize, usize)>,
    trust: Option<usize>,
    no_write: Option<usize>,
    truncate: bool,
}

/// What must come of it.
#[derive(Debug, PartialEq)]
struct Expected {
    images: Vec<Vec<u8>>,
    /// None where the contract leaves it open.
    code: Option<i32>,
}

/// The value that at least `threshold` of `votes` name, and strictly more than name any other.
fn winner<T: Ord + Copy>(votes: &[T], threshold: usize) -> Option<T> {
    let mut counts = BTreeMap::new();
    for vote in votes {
        *counts.entry(*vote).or_insert(0) += 1;
    }
    let most = counts.values().copied().max()?;
    let mut first = counts.iter().filter(|&(_, &count)| count == most);
    let (&value, _) = first.next()?;
    (most >= threshold && first.next().is_none()).then_some(value)
}

impl Case {
    fn size(&self) -> Option<usize> {
        let sizes: Vec<_> = self.images.iter().map(Vec::len).collect();
        self.trust.map_or_else(|| winner(&sizes, self.threshold), |trusted| Some(sizes[trusted]))
    }

    /// The bytes that are right in the sector from `start` to `end`.
    fn right(&self, start: usize, end: usize) -> Option<&[u8]> {
        if let Some(trusted) = self.trust {
            return self.images[trusted].get(start..end);
        }
        let sector = start / self.sector;
        if let Some((first, count, member)) = self.pick
            && (first..first + count).contains(&sector)
        {
            return self.images[member].get(start..end);
        }
        // "absent (beyond the member's end, also where it holds the sector only partly)"
        let ballots: Vec<&[u8]> = self.images.iter().filter_map(|image| image.get(start..end)).collect();
        winner(&ballots, self.threshold)
    }

    /// None where the size is undecided.
    fn expect(&self) -> Option<Expected> {
        let size = self.size()?;
        let looked_at = |start: usize, end: usize| self.range.is_none_or(|(offset, length)| start < offset + length && offset < end);
        let sectors: Vec<_> = (0..size)
            .step_by(self.sector)
            .map(|start| (start, (start + self.sector).min(size)))
            .map(|(start, end)| (start, end, looked_at(start, end).then(|| self.right(start, end))))
            .collect();
        let undecided = sectors.iter().any(|(.., right)| *right == Some(None));
        let mut work_left = false;
        let mut images = self.images.clone();
        for (index, image) in images.iter_mut().enumerate() {
            let mut differs = false;
            // An extension "ends before the first undecided sector in the part that the member lacks".
            let mut grows = true;
            let had = image.len();
            for &(start, end, right) in &sectors {
                let absent = end > had;
                let Some(Some(right)) = right else {
                    grows &= !absent;
                    continue;
                };
                if self.images[index].get(start..end) == Some(right) {
                    continue;
                }
                differs = true;
                if absent && !grows {
                    continue;
                }
                image.resize(image.len().max(end), 0);
                image[start..end].copy_from_slice(right);
            }
            if had > size {
                differs = true;
                if self.truncate {
                    image.truncate(size);
                } else {
                    work_left = true;
                }
            }
            if self.no_write == Some(index) {
                image.clone_from(&self.images[index]);
                work_left |= differs;
            }
        }
        let alike = self.images.iter().all(|image| image.len() == size);
        let code = if undecided { 2 } else { i32::from(work_left) };
        // How a range and members of several lengths count together isn't said.
        Some(Expected { images, code: (alike || self.range.is_none()).then_some(code) })
    }

    fn run(&self, lab: &Lab, members: &[std::path::PathBuf]) -> Run {
        let mut run = in_place(lab, members).args(["--force", "stale,minority", "--max-damage", "100"]).args([
            "--sector-size",
            &self.sector.to_string(),
            "--threshold",
            &self.threshold.to_string(),
        ]);
        if let Some((offset, length)) = self.range {
            run = run.args(["--range", &format!("{offset}:{length}")]);
        }
        if let Some((first, count, member)) = self.pick {
            run = run.args(["--pick", &format!("{}:{}=#{member}", first * self.sector, count * self.sector)]);
        }
        for (option, member) in [("--trust", self.trust), ("--no-write", self.no_write)] {
            if let Some(member) = member {
                run = run.args([option, &format!("#{member}")]);
            }
        }
        if self.truncate { run.arg("--truncate") } else { run }
    }
}

/// What a sector can hold: few versions, so that ties and minorities are frequent, and zeros among them.
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

/// Some of its sectors are damaged; it is as long as it should be, or not; a surplus is of zeros or not.
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

/// A few percent of the cases with each option.
fn case() -> impl Strategy<Value = Case> {
    (2..=5usize, 1..=40i64, prop_oneof![3 => Just(0i64), 1 => 1..512i64])
        .prop_flat_map(|(members, sectors, short)| {
            let zeros = vec(prop::bool::weighted(0.3), usize::try_from(sectors).expect("a count"));
            let images = zeros.prop_flat_map(move |zeros| vec(image(zeros, sectors * 512 - short), members));
            let sector = prop_oneof![3 => Just(512usize), 1 => Just(4096), 1 => Just(1024)];
            let options = (0..9usize, 0..members, 0..1000usize, 1..1000usize, any::<bool>());
            (images, sector, members / 2 + 1..=members, options)
        })
        .prop_map(|(images, sector, threshold, (option, member, at, length, truncate))| {
            let shortest = images.iter().map(Vec::len).min().expect("members");
            let mut case = Case { images, sector, threshold, truncate, ..Case::default() };
            match option {
                0 => case.trust = Some(member),
                1 => case.no_write = Some(member),
                // Where everybody has something to pick, in whole sectors.
                2 if shortest / sector > 0 => {
                    let first = at % (shortest / sector);
                    case.pick = Some((first, 1 + length % (shortest / sector - first), member));
                }
                // A surplus is no part of a range.
                3 => (case.range, case.truncate) = (Some((at * shortest / 1000, 1 + length * 16)), false),
                _ => {}
            }
            case
        })
}

/// Whatever the members and the options: the dry run writes nothing and says what comes; the run leaves in each member what the
/// contract says, and exits as it says; undo brings everything back.
#[test]
fn leaves_what_the_contract_says_and_undo_brings_it_back() {
    // Each case is three runs of the program.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 100 };
    let config = Config { cases, rng_seed: RngSeed::Fixed(4), failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let result = TestRunner::new(config).run(&case(), |case| {
        check_case(&case);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn check_case(case: &Case) {
    // Each run syncs, which memory does in no time.
    let memory = Path::new("/dev/shm");
    let lab = if memory.is_dir() { Lab::below(memory) } else { Lab::new() };
    let members: Vec<_> = case.images.iter().enumerate().map(|(index, bytes)| lab.file(format!("{index}.img"), bytes)).collect();
    let Some(expected) = case.expect() else {
        refuses(&lab, case.run(&lab, &members), 2, &["--size"]);
        return;
    };

    let before = lab.state();
    let dry = case.run(&lab, &members).arg("--dry-run").output();
    assert_eq!(lab.state(), before, "a dry run wrote something\n{dry}");
    let planned = apply_plan(&case.images, &dry.json());
    assert!(planned == expected.images, "the plan isn't what the contract says: {}\n{dry}", first_difference(&planned, &expected.images));

    let run = case.run(&lab, &members).output();
    let found = all_bytes(&lab, &members);
    assert!(found == expected.images, "{}\n{run}", first_difference(&found, &expected.images));
    match expected.code {
        Some(code) => assert_eq!(run.code(), Some(code), "{run}"),
        None => assert!(run.code().is_some_and(|code| code <= 2), "{run}"),
    }
    assert_eq!(dry.json()["repair"]["plan"], run.json()["repair"]["plan"], "what was said to be done and what was\n{dry}\n{run}");
    check_dry_code(&dry, &run, expected.images != case.images);

    let journal = journal_of(&members[0]);
    assert_eq!(journal.exists(), expected.images != case.images, "a journal stands where something was written\n{run}");
    if journal.exists() {
        lab.quorum_img(["undo"]).arg(&journal).exits(0);
        assert_all_hold(&members, &case.images);
    }
}

/// "--dry-run with work to do and nothing undecided" is 1; else as the run.
fn check_dry_code(dry: &Output, run: &Output, work: bool) {
    let code = run.code().map(|code| if work { code.max(1) } else { code });
    assert_eq!(dry.code(), code, "the dry run's code\n{dry}\n{run}");
    assert_eq!(dry.json()["exit-code"], Value::from(code), "{dry}");
}

fn first_difference(found: &[Vec<u8>], expected: &[Vec<u8>]) -> String {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        if let Some(at) = found.iter().zip(expected).position(|(one, other)| one != other) {
            return format!("member {index} is wrong from byte {at} on");
        }
        if found.len() != expected.len() {
            return format!("member {index} has {} bytes and should have {}", found.len(), expected.len());
        }
    }
    "no difference".into()
}

/// The oracle can be trusted with the examples that one can do in one's head.
#[test]
fn the_oracle_decides_as_people_do() {
    assert_eq!(winner(&["a", "a", "b"], 2), Some("a"));
    assert_eq!(winner(&["a", "a", "b", "b", "c"], 2), None, "a tie above a third version is still a tie");
    let sectors = |kinds: &[u8]| kinds.iter().flat_map(|&kind| vec![kind; 512]).collect::<Vec<u8>>();
    let case = |images: &[&[u8]]| Case {
        images: images.iter().map(|kinds| sectors(kinds)).collect(),
        sector: 512,
        threshold: 2,
        ..Case::default()
    };
    let expected =
        |images: &[&[u8]], code| Some(Expected { images: images.iter().map(|kinds| sectors(kinds)).collect(), code: Some(code) });

    assert_eq!(case(&[&[1, 2, 3], &[1, 9, 3], &[1, 2, 9]]).expect(), expected(&[&[1, 2, 3][..]; 3], 0));
    assert_eq!(case(&[&[1, 2, 3, 4], &[1, 2, 9, 4], &[1]]).expect(), expected(&[&[1, 2, 3, 4], &[1, 2, 9, 4], &[1, 2]], 2));
    assert_eq!(case(&[&[1, 2], &[1, 2, 3], &[1, 9]]).expect(), expected(&[&[1, 2], &[1, 2, 3], &[1, 2]], 1));
    let cut = Case { truncate: true, ..case(&[&[1, 2], &[1, 2, 3], &[1, 9]]) };
    assert_eq!(cut.expect(), expected(&[&[1, 2][..]; 3], 0));
    let trusted = Case { trust: Some(2), ..case(&[&[1, 2], &[1, 2, 3], &[1, 9]]) };
    assert_eq!(trusted.expect(), expected(&[&[1, 9], &[1, 9, 3], &[1, 9]], 1));
    let spared = Case { no_write: Some(2), ..case(&[&[1, 2], &[1, 2], &[1, 9]]) };
    assert_eq!(spared.expect(), expected(&[&[1, 2], &[1, 2], &[1, 9]], 1));
    let ranged = Case { range: Some((600, 1)), ..case(&[&[1, 2, 3], &[1, 9, 3], &[1, 2, 9]]) };
    assert_eq!(ranged.expect(), expected(&[&[1, 2, 3], &[1, 2, 3], &[1, 2, 9]], 0));
    let picked = Case { pick: Some((1, 1, 1)), ..case(&[&[1, 2, 3], &[1, 9, 3], &[1, 2, 9]]) };
    assert_eq!(picked.expect(), expected(&[&[1, 9, 3][..]; 3], 0));
    assert_eq!(case(&[&[1], &[1, 2], &[1, 2, 3]]).expect(), None);
}

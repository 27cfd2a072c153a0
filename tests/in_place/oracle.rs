//! Random damage against an oracle that was written from the words of the contract alone: what must every member hold in the end?

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::{
    all_bytes, apply_plan, assert_all_hold, in_place, journal_of, refuses,
    support::{
        Lab, Output, Run,
        oracle::{Question, winner},
        repair_oracle::{Repair, Rewritten, in_memory, questions, try_all},
    },
};

fn run(case: &Repair, lab: &Lab, members: &[PathBuf]) -> Run {
    let Question { sector, threshold, range, trust, .. } = &case.question;
    let mut run = in_place(lab, members).args(["--force", "stale,minority,cuts,zeros,empty", "--max-damage", "100"]).args([
        "--sector-size",
        &sector.to_string(),
        "--threshold",
        &threshold.to_string(),
    ]);
    if let Some((offset, length)) = range {
        run = run.args(["--range", &format!("{offset}:{length}")]);
    }
    if let Some((offset, length, member)) = case.pick {
        run = run.args(["--pick", &format!("{offset}:{length}=#{member}")]);
    }
    for (option, member) in [("--trust", *trust), ("--no-write", case.no_write)] {
        if let Some(member) = member {
            run = run.args([option, &format!("#{member}")]);
        }
    }
    if case.truncate { run.arg("--truncate") } else { run }
}

/// A few percent of the cases with each option.
fn cases() -> impl Strategy<Value = Repair> {
    let options = (0..9usize, 0..60usize, 0..1000u64, 1..1000u64, any::<bool>());
    (questions(), options).prop_map(|(question, (option, member, at, length, truncate))| {
        let member = member % question.images.len();
        let shortest = question.images.iter().map(Vec::len).min().expect("members") as u64;
        let whole = shortest / question.sector;
        let mut case = Repair { truncate, ..Repair::of(question) };
        match option {
            0 => case.question.trust = Some(member),
            1 => case.no_write = Some(member),
            // Where everybody has something to pick, in whole sectors.
            2 if whole > 0 => {
                let first = at % whole;
                let count = 1 + length % (whole - first);
                case.pick = Some((first * case.question.sector, count * case.question.sector, member));
            }
            // A surplus is no part of a range.
            3 => (case.question.range, case.truncate) = (Some((at * shortest / 1000, 1 + length * 16)), false),
            _ => {}
        }
        case
    })
}

/// Whatever the members and the options: the dry run writes nothing and says what comes; the run leaves in each member what the
/// contract says, and exits as it says; undo brings everything back.
#[test]
fn leaves_what_the_contract_says_and_undo_brings_it_back() {
    try_all(4, &cases(), |case| check_case(&case));
}

fn check_case(case: &Repair) {
    let images = &case.question.images;
    let (lab, members) = in_memory(images);
    let Some(expected) = case.in_place() else {
        refuses(&lab, run(case, &lab, &members), 2, &["--size"]);
        return;
    };

    let before = lab.state();
    let dry = run(case, &lab, &members).arg("--dry-run").output();
    assert_eq!(lab.state(), before, "a dry run wrote something\n{dry}");
    let planned = apply_plan(images, &dry.json());
    assert!(planned == expected.images, "the plan isn't what the contract says: {}\n{dry}", first_difference(&planned, &expected.images));

    let run = run(case, &lab, &members).output();
    let found = all_bytes(&lab, &members);
    assert!(found == expected.images, "{}\n{run}", first_difference(&found, &expected.images));
    match expected.code {
        Some(code) => assert_eq!(run.code(), Some(code), "{run}"),
        None => assert!(run.code().is_some_and(|code| code <= 2), "{run}"),
    }
    assert_eq!(dry.json()["repair"]["plan"], run.json()["repair"]["plan"], "what was said to be done and what was\n{dry}\n{run}");
    check_dry_code(&dry, &run, expected.images != *images);

    let journal = journal_of(&members[0]);
    assert_eq!(journal.exists(), expected.images != *images, "a journal stands where something was written\n{run}");
    if journal.exists() {
        lab.quorum_img(["undo"]).arg(&journal).exits(0);
        assert_all_hold(&members, images);
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
    let case = |images: &[&[u8]]| {
        let images = images.iter().map(|kinds| sectors(kinds)).collect();
        Repair::of(Question { images, sector: 512, threshold: 2, range: None, trust: None })
    };
    let expected =
        |images: &[&[u8]], code| Some(Rewritten { images: images.iter().map(|kinds| sectors(kinds)).collect(), code: Some(code) });

    assert_eq!(case(&[&[1, 2, 3], &[1, 9, 3], &[1, 2, 9]]).in_place(), expected(&[&[1, 2, 3][..]; 3], 0));
    assert_eq!(case(&[&[1, 2, 3, 4], &[1, 2, 9, 4], &[1]]).in_place(), expected(&[&[1, 2, 3, 4], &[1, 2, 9, 4], &[1, 2]], 2));
    let longer = || case(&[&[1, 2], &[1, 2, 3], &[1, 9]]);
    assert_eq!(longer().in_place(), expected(&[&[1, 2], &[1, 2, 3], &[1, 2]], 1));
    let cut = Repair { truncate: true, ..longer() };
    assert_eq!(cut.in_place(), expected(&[&[1, 2][..]; 3], 0));
    let mut trusted = longer();
    trusted.question.trust = Some(2);
    assert_eq!(trusted.in_place(), expected(&[&[1, 9], &[1, 9, 3], &[1, 9]], 1));
    let spared = Repair { no_write: Some(2), ..case(&[&[1, 2], &[1, 2], &[1, 9]]) };
    assert_eq!(spared.in_place(), expected(&[&[1, 2], &[1, 2], &[1, 9]], 1));
    let mut ranged = case(&[&[1, 2, 3], &[1, 9, 3], &[1, 2, 9]]);
    ranged.question.range = Some((600, 1));
    assert_eq!(ranged.in_place(), expected(&[&[1, 2, 3], &[1, 2, 3], &[1, 2, 9]], 0));
    let picked = Repair { pick: Some((512, 512, 1)), ..case(&[&[1, 2, 3], &[1, 9, 3], &[1, 2, 9]]) };
    assert_eq!(picked.in_place(), expected(&[&[1, 9, 3][..]; 3], 0));
    assert_eq!(case(&[&[1], &[1, 2], &[1, 2, 3]]).in_place(), None);
}

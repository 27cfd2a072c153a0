//! The vote itself, against an oracle that was written from the words of the design alone: slow, plain, and by another hand than
//! the program's.

use std::{collections::BTreeMap, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed, TestRunner},
};

use super::{
    assert_holds, repair,
    support::{Lab, noise},
};

/// What the vote must come to.
#[derive(Debug)]
struct Expected {
    /// What is written; none where nothing may be.
    image: Option<Vec<u8>>,
    /// Sectors by verdict: unanimous, decided, undecided.
    counts: [u64; 3],
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

/// "a longer one has a surplus"; "where the voted size cuts off data other than zeros, there is no output".
fn expect(members: &[Vec<u8>], threshold: usize, sector: usize, policy: &str) -> Option<Expected> {
    let size = winner(&members.iter().map(Vec::len).collect::<Vec<_>>(), threshold)?;
    let mut image = Vec::new();
    let mut complete = members.iter().all(|member| member.iter().skip(size).all(|&byte| byte == 0));
    let mut counts = [0; 3];
    for start in (0..size).step_by(sector) {
        let end = (start + sector).min(size);
        // "absent (beyond the member's end, also where it holds the sector only partly)"
        let ballots: Vec<&[u8]> = members.iter().filter_map(|member| member.get(start..end)).collect();
        let won = winner(&ballots, threshold);
        let unanimous = ballots.len() == members.len() && ballots.iter().all(|ballot| *ballot == ballots[0]);
        counts[if unanimous { 0 } else { 1 + usize::from(won.is_none()) }] += 1;
        let filled = match (won, policy) {
            (Some(bytes), _) => Some(bytes.to_vec()),
            (None, "first") => Some(ballots[0].to_vec()),
            (None, "zero") => Some(vec![0; end - start]),
            (None, "bytes") => {
                (0..end - start).map(|at| winner(&ballots.iter().map(|ballot| ballot[at]).collect::<Vec<_>>(), threshold)).collect()
            }
            (None, _) => None,
        };
        match filled {
            Some(bytes) => image.extend(bytes),
            None => complete = false,
        }
    }
    Some(Expected { image: complete.then_some(image), counts })
}

/// What a sector can hold: few versions, so that ties and minorities are frequent. Single bytes differ at three places, so that a
/// vote byte by byte wins in some and is lost in others.
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

fn member(sectors: i64, length: i64) -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec(prop_oneof![12 => Just(0u8), 1 => 1..5u8], usize::try_from(sectors).expect("a count"));
    // Most are as long as they should be; some end early or late, within a sector or not; a longer one goes on with zeros or not.
    let change = prop_oneof![8 => Just(0i64), 1 => -1500..0i64, 1 => 1..1500i64];
    (kinds, change, prop_oneof![2 => Just(0u8), 1 => Just(7)]).prop_map(move |(kinds, change, surplus)| {
        let mut bytes: Vec<u8> = kinds.iter().enumerate().flat_map(|(sector, &kind)| version(sector, kind)).collect();
        bytes.truncate(usize::try_from(length).expect("a length"));
        bytes.resize(usize::try_from((length + change).max(1)).expect("a length"), surplus);
        bytes
    })
}

const POLICIES: &[&str] = &["fail", "first", "zero", "bytes"];

type Case = (Vec<Vec<u8>>, usize, usize, &'static str);

fn case() -> impl Strategy<Value = Case> {
    (2..=5usize, 1..=24i64, prop_oneof![3 => Just(0i64), 1 => 1..512i64]).prop_flat_map(|(members, sectors, short)| {
        let length = sectors * 512 - short;
        let sector = prop_oneof![2 => Just(512usize), 1 => Just(4096)];
        (vec(member(sectors, length), members), members / 2 + 1..=members, sector, select(POLICIES))
    })
}

/// Whatever the members, the threshold, the sector size and the policy: the voted bytes, the counts, the exit code.
#[test]
fn writes_what_the_design_says() {
    let config = Config { cases: 96, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&case(), |(members, threshold, sector, policy)| {
        check_case(&members, threshold, sector, policy);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn check_case(members: &[Vec<u8>], threshold: usize, sector: usize, policy: &str) {
    // Each run syncs, which memory does in no time.
    let memory = Path::new("/dev/shm");
    let lab = if memory.is_dir() { Lab::below(memory) } else { Lab::new() };
    let paths: Vec<_> = members.iter().enumerate().map(|(index, bytes)| lab.file(format!("{index}.img"), bytes)).collect();
    let output = lab.path("out.img");
    let before = lab.listing();
    let run = repair(&lab, &output, &paths)
        .args(["--threshold", &threshold.to_string(), "--sector-size", &sector.to_string(), "--undecided", policy])
        .output();
    let Some(expected) = expect(members, threshold, sector, policy) else {
        assert!(matches!(run.code(), Some(2 | 3)), "no size wins, so it must ask for one\n{run}");
        run.complains("--size");
        assert_eq!(lab.listing(), before, "nothing may be written without a size\n{run}");
        return;
    };
    if run.code() == Some(2) && run.stdout.is_empty() {
        // Data would be cut off: that is known, and refused, before anything is voted on.
        assert!(expected.image.is_none(), "{run}");
        run.complains("--size");
        assert_eq!(lab.listing(), before, "{run}");
        return;
    }
    let report = run.json();
    let counts = ["unanimous", "decided", "undecided"].map(|verdict| report["sectors"][verdict].as_u64().unwrap_or(u64::MAX));
    assert_eq!(counts, expected.counts, "sectors by verdict\n{run}");
    let code = if expected.image.is_none() || expected.counts[2] > 0 { 2 } else { 0 };
    assert_eq!(run.code(), Some(code), "{run}");
    match &expected.image {
        Some(image) => assert_holds(&output, image),
        None => assert_eq!(lab.listing(), before, "there must be no output\n{run}"),
    }
    assert_eq!(lab.listing().len(), before.len() + usize::from(expected.image.is_some()), "something was left behind\n{run}");
}

/// The oracle can be trusted with the examples that one can do in one's head.
#[test]
fn the_oracle_counts_as_people_do() {
    assert_eq!(winner(&["a", "a", "b"], 2), Some("a"));
    assert_eq!(winner(&["a", "a", "b", "b", "c"], 2), None, "a tie above a third version is still a tie");
    assert_eq!(winner(&["a", "a", "b"], 3), None);
    assert_eq!(winner::<u8>(&[], 1), None);
    let image = |policy| expect(&[vec![1; 700], vec![1; 700], vec![2; 600]], 2, 512, policy).expect("a size wins").image;
    assert_eq!(image("fail"), Some(vec![1; 700]));
    let image = |policy| expect(&[vec![1; 3], vec![2, 1, 1], vec![1, 1, 3]], 2, 512, policy).expect("a size wins").image;
    assert_eq!(image("fail"), None);
    assert_eq!(image("bytes"), Some(vec![1; 3]));
    assert_eq!(image("first"), Some(vec![1; 3]));
}

//! The vote with witnesses against a naive one, which knows the images that the digests were made from and hashes nothing.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    Hashed, Job, Outcome, Output,
    oracle::{Collected, Memory, SECTOR, image, plain},
    scan,
};
use crate::{
    digest::{CHUNK_BYTES_MIN, DigestFile, Ending, Entry, Geometry, HashKind, Header, Hearing, Maker, TRIES_MAX, Witness, Writer},
    member::{Member, MemberName},
    vote::{Ballot, ByteRange, Fill, Fillers, Rule, Rules, Run, Runs, Verdict, Vote, members_of},
};

/// What a digest is made from.
#[derive(Clone)]
struct Origin {
    bytes: Vec<u8>,
    chunk_bytes: u64,
    hash: HashKind,
    /// Chunks of which it knows nothing.
    unknown: Vec<u64>,
    group: usize,
    memory_of: u64,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { chunk_bytes, hash, unknown, group, memory_of, bytes } = self;
        let kinds: Vec<&[u8]> = bytes.chunks(SECTOR).map(|sector| &sector[..1]).collect();
        let runs: Vec<(u8, usize)> = kinds.chunk_by(|a, b| a == b).map(|run| (run[0][0], run.len())).collect();
        write!(f, "{hash:?}, {chunk_bytes}, unknown {unknown:?}, group {group}, memory {memory_of:b}, {} bytes: {runs:?}", bytes.len())
    }
}

impl Origin {
    fn geometry(&self) -> Geometry {
        Geometry { hash: self.hash, chunk_bytes: self.chunk_bytes, size: self.bytes.len() as u64 }
    }

    fn witness(&self) -> Witness {
        let geometry = self.geometry();
        let header = Header {
            geometry,
            part: ByteRange::new(0, geometry.size),
            origin: [0; 16],
            maker: Maker { sector: 512, threshold: 1, options: String::new(), sources: Vec::new() },
            started: (0, 0),
            finished: (0, 0),
            pages: 0,
            values: 0,
            unknown: 0,
        };
        let file = tempfile::tempfile().expect("a temporary file");
        let mut writer = Writer::new(&file, header).expect("it can be written");
        for chunk in 0..geometry.chunks() {
            let range = geometry.range(chunk);
            let entry = geometry.entry(chunk, &self.bytes[range.start as usize..range.end as usize]);
            writer.push(if self.unknown.contains(&chunk) { Entry::Unknown } else { entry }, 1).expect("it can be written");
        }
        writer.finish(Ending::default()).expect("it can be written");
        let digest = DigestFile::open(MemberName::from(Path::new("digest")), file).expect("it is whole");
        Witness { digest, group: self.group, memory_of: self.memory_of, old_for: 0, old: None, known: false }
    }
}

/// What comes of it by the naive way.
struct Expected {
    runs: Vec<Run>,
    bytes: Vec<u8>,
    swayed: u64,
    contradicted: Vec<(u64, u64)>,
    undecided: Vec<bool>,
}

fn ballots<'a>(members: &'a [Memory], start: usize, end: usize) -> Vec<Ballot<'a>> {
    let one = |member: &'a Memory| match () {
        () if end > member.bytes.len() => Ballot::Absent,
        () if member.unreadable.contains(&(start / SECTOR)) => Ballot::Unreadable,
        () => Ballot::Data(&member.bytes[start..end]),
    };
    members.iter().map(one).collect()
}

/// What a witness says of a sector: none where it says nothing, else the bytes that it had, where its chunk can be put together.
#[allow(clippy::option_option)] // nothing said, and no such bytes, are two things
fn word<'a>(words: &[Option<bool>], origin: &'a Origin, sector: (usize, usize)) -> Option<Option<&'a [u8]>> {
    let said = *words.get(sector.0 / origin.chunk_bytes as usize)?;
    said.filter(|_| sector.1 <= origin.bytes.len()).map(|possible| possible.then(|| &origin.bytes[sector.0..sector.1]))
}

/// For each of a witness's chunks: none where it says nothing of it, else whether it can be put together.
fn words(members: &[Memory], origin: &Origin, size: usize, threshold: usize) -> Vec<Option<bool>> {
    (0..origin.bytes.len()).step_by(origin.chunk_bytes as usize).map(|start| chunk_word(members, origin, size, start, threshold)).collect()
}

fn chunk_word(members: &[Memory], origin: &Origin, size: usize, start: usize, threshold: usize) -> Option<bool> {
    let chunk = origin.chunk_bytes as usize;
    let end = (start + chunk).min(origin.bytes.len());
    if origin.unknown.contains(&((start / chunk) as u64)) || end > size || (end < size && !end.is_multiple_of(SECTOR)) {
        return None;
    }
    // The ways to go through the combinations, as the engine does, and how many each takes; none that can't find it.
    let ways = [(true, true), (true, false), (false, true), (false, false)];
    let (mut possible, mut tries) = (true, [1u64; 4]);
    let zero = origin.bytes[start..end].iter().all(|&byte| byte == 0);
    let mut whole = vec![true; members.len()];
    let mut before: Option<(Vote, Option<usize>)> = None;
    for at in (start..end).step_by(SECTOR) {
        let to = (at + SECTOR).min(end);
        let ballots = ballots(members, at, to);
        let vote = Vote::of(&ballots, Rule::Threshold(threshold));
        let had = &origin.bytes[at..to];
        let holder = ballots.iter().position(|ballot| *ballot == Ballot::Data(had));
        let right = match vote.verdict {
            Verdict::Decided { winner } => holder.is_some_and(|holder| vote.grouping.version(holder) == Some(winner)),
            _ => holder.is_some(),
        };
        let joined = before.filter(|(last, _)| *last == vote);
        for ((keep, joins), tries) in ways.into_iter().zip(&mut tries) {
            let kept = keep && vote.verdict != Verdict::Undecided;
            *tries = match joined.filter(|_| joins) {
                _ if kept => {
                    if right {
                        *tries
                    } else {
                        u64::MAX
                    }
                }
                Some((_, last)) => {
                    if last == holder {
                        *tries
                    } else {
                        u64::MAX
                    }
                }
                None => tries.saturating_mul(vote.grouping.versions().count() as u64),
            };
        }
        possible &= holder.is_some();
        before = Some((vote, holder));
        whole.iter_mut().zip(&ballots).for_each(|(whole, ballot)| *whole &= *ballot == Ballot::Data(had));
    }
    let few = zero || whole.contains(&true) || tries.iter().any(|&tries| tries <= TRIES_MAX);
    Some(possible && few)
}

fn expected(members: &[Memory], origins: &[Origin], size: usize, threshold: usize) -> Expected {
    let mut expected = Expected { runs: Vec::new(), bytes: vec![0; size], swayed: 0, contradicted: Vec::new(), undecided: Vec::new() };
    let mut runs = Runs::default();
    let all: Vec<Vec<Option<bool>>> = origins.iter().map(|origin| words(members, origin, size, threshold)).collect();
    for start in (0..size).step_by(SECTOR) {
        let end = (start + SECTOR).min(size);
        let ballots = ballots(members, start, end);
        let plain = Vote::of(&ballots, Rule::Threshold(threshold));
        // Each origin counts once, where all of its digests say the same.
        let mut votes: Vec<(&[u8], u64)> = Vec::new();
        for group in 0..3 {
            let of: Vec<(&Origin, &Vec<Option<bool>>)> =
                origins.iter().zip(&all).filter(|(origin, _)| origin.group == group && origin.hash.proves()).collect();
            let said: Vec<Option<&[u8]>> = of.iter().filter_map(|(origin, words)| word(words, origin, (start, end))).collect();
            if let Some(Some(first)) = said.first()
                && said.iter().all(|other| *other == Some(first))
            {
                let knows = |(origin, words): &&(&Origin, &Vec<Option<bool>>)| word(words, origin, (start, end)).is_some();
                votes.push((*first, of.iter().filter(knows).fold(0, |mask, (origin, _)| mask | origin.memory_of)));
            }
        }
        let mut counts: Vec<(usize, usize, bool)> = Vec::new();
        for version in plain.grouping.versions() {
            let holders = plain.grouping.holders(version);
            let added = votes
                .iter()
                .filter(|(bytes, memory)| ballots[version] == Ballot::Data(bytes) && (members.len() == 1 || memory & holders == 0))
                .count();
            counts.push((holders.count_ones() as usize + added, version, added > 0));
        }
        counts.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
        let clear = counts
            .first()
            .filter(|(count, _, proven)| counts.get(1).is_none_or(|(second, ..)| second < count) && (*count >= threshold || *proven));
        let verdict = match (plain.verdict, clear) {
            (Verdict::Unanimous, _) => Verdict::Unanimous,
            (_, Some(&(count, ..))) if members.len() == 1 => {
                if count >= threshold {
                    Verdict::Unanimous
                } else {
                    Verdict::Undecided
                }
            }
            (_, Some(&(_, winner, _))) => Verdict::Decided { winner },
            _ => Verdict::Undecided,
        };
        let winner = match verdict {
            Verdict::Unanimous => Some(0),
            Verdict::Decided { winner } => Some(winner),
            Verdict::Undecided => None,
        };
        if let Some(winner) = winner {
            expected.bytes[start..end].copy_from_slice(&members[winner].bytes[start..end]);
        }
        let decided = |verdict| matches!(verdict, Verdict::Decided { .. });
        expected.swayed += u64::from(verdict != plain.verdict && (decided(verdict) || decided(plain.verdict)));
        expected.undecided.push(verdict == Verdict::Undecided);
        expected.runs.extend(runs.push(Run { range: ByteRange::new(start as u64, end as u64), vote: Vote { verdict, ..plain } }));
    }
    expected.runs.extend(runs.finish());
    for (index, origin) in origins.iter().enumerate() {
        let chunk = origin.chunk_bytes as usize;
        for start in (0..origin.bytes.len().min(size)).step_by(chunk) {
            let end = (start + chunk).min(origin.bytes.len());
            let unanimous = |at: usize| {
                Vote::of(&ballots(members, at, (at + SECTOR).min(end)), Rule::Threshold(threshold)).grouping.holders(0).count_ones()
                    as usize
                    == members.len()
            };
            let heard = all[index][start / chunk].is_some();
            if heard && (start..end).step_by(SECTOR).all(unanimous) && members[0].bytes[start..end] != origin.bytes[start..end] {
                expected.contradicted.push(((start / chunk) as u64, index as u64));
            }
        }
    }
    expected
}

/// A digest in the making, in memory.
struct Made {
    geometry: Geometry,
    entries: Mutex<Vec<Entry>>,
}

impl Hashed for Made {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn take(&self, chunk: u64, entry: Entry, count: u64) -> std::io::Result<()> {
        let mut entries = self.entries.lock().expect("no panics");
        assert!(chunk >= entries.len() as u64, "chunk {chunk} is told of twice");
        entries.resize(chunk as usize, Entry::Zero);
        (0..count).for_each(|_| entries.push(entry));
        Ok(())
    }
}

fn compare(members: &[Memory], origins: &[Origin], threshold: usize, threads: usize) {
    let size = members.iter().map(|member| member.bytes.len()).max().unwrap_or(0);
    let expected = expected(members, origins, size, threshold);
    let listed: Vec<&dyn Member> = members.iter().map(|member| member as &dyn Member).collect();
    let hearing = Arc::new(Hearing { witnesses: origins.iter().map(Origin::witness).collect(), warnings: Vec::new() });
    let (ranges, fillers, rules) = ([ByteRange::new(0, size as u64)], Fillers::default(), Rules::new(Rule::Threshold(threshold)));
    for with_output in [false, true] {
        let collected = Collected::default();
        let output: Option<(&dyn Output, Fill)> = with_output.then_some((&collected, Fill::Zero));
        let geometry = Geometry { hash: HashKind::Blake3, chunk_bytes: CHUNK_BYTES_MIN, size: size as u64 };
        let made = Made { geometry, entries: Mutex::new(Vec::new()) };
        let job = Job {
            threshold,
            threads,
            output,
            hearing: Some(&hearing),
            hashed: Some(&made),
            ..plain(&listed, size as u64, &ranges, &rules, &fillers)
        };
        let mut runs = Vec::new();
        let outcome: Outcome = scan(&job, &mut |run| {
            runs.push(*run);
            Ok(())
        })
        .expect("nothing fails here");
        assert_eq!(runs, expected.runs);
        assert_eq!(outcome.heard.swayed, expected.swayed);
        let mut contradicted = Vec::new();
        for (range, who) in &outcome.heard.contradictions {
            for witness in members_of(*who) {
                let chunk = origins[witness].chunk_bytes;
                (range.start / chunk..range.end.div_ceil(chunk)).for_each(|chunk| contradicted.push((chunk, witness as u64)));
            }
        }
        contradicted.sort_unstable_by_key(|&(chunk, witness)| (witness, chunk));
        contradicted.dedup();
        assert_eq!(contradicted, expected.contradicted);
        if with_output {
            assert!(collected.joined() == expected.bytes, "the output differs");
        }
        let mut entries = made.entries.into_inner().expect("no panics");
        entries.resize(geometry.chunks() as usize, Entry::Zero);
        for (chunk, entry) in entries.iter().enumerate() {
            let range = geometry.range(chunk as u64);
            let unknown = (range.start as usize / SECTOR..(range.end as usize).div_ceil(SECTOR)).any(|sector| expected.undecided[sector]);
            let known = geometry.entry(chunk as u64, &expected.bytes[range.start as usize..range.end as usize]);
            assert_eq!(*entry, if unknown { Entry::Unknown } else { known }, "chunk {chunk} of the digest in the making");
        }
    }
}

/// An image in sectors of some kinds, and some changes to it.
fn changed(common: &[u8], changes: &[(Index, usize, u8)], tail: usize) -> Vec<u8> {
    let mut kinds = common.to_vec();
    for (at, count, kind) in changes {
        let at = at.index(kinds.len());
        let end = (at + count).min(kinds.len());
        kinds[at..end].fill(*kind);
    }
    image(&kinds, tail)
}

fn changes(longest: usize) -> impl Strategy<Value = Vec<(Index, usize, u8)>> {
    vec((any::<Index>(), 1..longest, 0u8..4), 0..4)
}

fn scene() -> impl Strategy<Value = (Vec<Memory>, Vec<Origin>)> {
    let run = (0u8..4, 1usize..200);
    let member = (changes(9), vec(any::<Index>(), 0..4), prop::option::weighted(0.15, 0usize..90_000));
    let origin = (
        prop::option::weighted(0.3, changes(40)),
        0u32..3,
        prop::bool::weighted(0.15),
        vec(any::<Index>(), 0..2),
        0usize..3,
        prop_oneof![3 => Just(0u64), 1 => 0u64..8],
        prop::option::weighted(0.15, 0usize..70_000),
    );
    (vec(run, 1..10), vec(member, 1..5), vec(origin, 1..4), prop_oneof![Just(0usize), 0usize..512]).prop_map(
        |(runs, members, origins, tail)| {
            let common: Vec<u8> = runs.iter().flat_map(|&(kind, count)| vec![kind; count]).collect();
            let members: Vec<Memory> = members
                .into_iter()
                .enumerate()
                .map(|(index, (changes, unreadable, cut))| {
                    let bytes = changed(&common, &changes, tail + cut.unwrap_or(0));
                    let held = bytes.len() / SECTOR;
                    let unreadable = unreadable.iter().filter(|_| held > 0).map(|at| at.index(held.max(1))).collect();
                    Memory { name: MemberName::from(Path::new(&index.to_string())), bytes, unreadable, unstable: Vec::new(), fails: false }
                })
                .collect();
            let count = members.len();
            let origins = origins
                .into_iter()
                .map(|(changes, larger, xxh3, unknown, group, memory, cut)| {
                    let bytes = changed(&common, &changes.unwrap_or_default(), tail + cut.unwrap_or(0));
                    let chunk_bytes = CHUNK_BYTES_MIN << larger;
                    let chunks = bytes.len().div_ceil(chunk_bytes as usize);
                    Origin {
                        chunk_bytes,
                        hash: if xxh3 { HashKind::Xxh3 } else { HashKind::Blake3 },
                        unknown: unknown.iter().filter(|_| chunks > 0).map(|at| at.index(chunks.max(1)) as u64).collect(),
                        group,
                        memory_of: memory & ((1 << count) - 1),
                        bytes,
                    }
                })
                .collect();
            (members, origins)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(100), ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_vote((members, origins) in scene(), threads in 1usize..4) {
        prop_assume!(members.iter().any(|member| !member.bytes.is_empty()));
        let threshold = (members.len() / 2 + 1).max(2);
        compare(&members, &origins, threshold, threads);
    }
}

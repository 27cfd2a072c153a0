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
    donated: u64,
    contradicted: Vec<(u64, u64)>,
    /// For each digest the chunks that all members hold as it knows them.
    agreed: Vec<u64>,
    undecided: Vec<bool>,
}

fn ballots<'a>(members: &'a [Memory], start: usize, end: usize) -> Vec<Ballot<'a>> {
    let one = |member: &'a Memory| match () {
        () if end > member.bytes.len() => Ballot::Absent,
        () if member.unreadable.iter().any(|sector| (start / SECTOR..end.div_ceil(SECTOR)).contains(sector)) => Ballot::Unreadable,
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

/// For each of a witness's chunks: none where it says nothing of it, else whether it can be put together; and by which donor's help, if any.
fn words(scene: &Scene, origin: &Origin, size: usize, threshold: usize) -> Vec<(Option<bool>, Option<usize>)> {
    let one = |start: usize| {
        let said = chunk_word(scene, origin, size, start, threshold, None, false);
        let open = |at: usize| {
            let end = (at + scene.unit).min(origin.bytes.len());
            Vote::of(&ballots(&scene.members, at, end), Rule::Threshold(threshold)).verdict == Verdict::Undecided
        };
        let end = (start + origin.chunk_bytes as usize).min(origin.bytes.len());
        let wanted = said == Some(false) && origin.hash.proves() && (start..end).step_by(scene.unit).any(open);
        // Who has all that is wanted comes before those with whom it has to be searched for.
        let gives = |at_a_glance: bool| {
            let gives = |donor: &Vec<u8>| chunk_word(scene, origin, size, start, threshold, Some(donor), at_a_glance) == Some(true);
            scene.donors.iter().position(gives)
        };
        match gives(true).or_else(|| gives(false)).filter(|_| wanted) {
            Some(donor) => (Some(true), Some(donor)),
            None => (said, None),
        }
    };
    (0..origin.bytes.len()).step_by(origin.chunk_bytes as usize).map(one).collect()
}

fn chunk_word(
    scene: &Scene,
    origin: &Origin,
    size: usize,
    start: usize,
    threshold: usize,
    donor: Option<&[u8]>,
    at_a_glance: bool,
) -> Option<bool> {
    let (members, unit) = (&scene.members, scene.unit);
    let chunk = origin.chunk_bytes as usize;
    let end = (start + chunk).min(origin.bytes.len());
    if origin.unknown.contains(&((start / chunk) as u64)) || end > size || (end < size && !end.is_multiple_of(unit)) {
        return None;
    }
    // The ways to go through the combinations, as the engine does, and how many each takes; none that can't find it.
    let ways = [(true, true), (true, false), (false, true), (false, false)];
    let (mut possible, mut tries) = (true, [1u64; 4]);
    let zero = origin.bytes[start..end].iter().all(|&byte| byte == 0);
    let mut whole = vec![true; members.len()];
    // What a donor holds where nobody won, and all that it holds.
    let (mut filled, mut alone) = (donor.is_some(), donor.is_some());
    let mut before: Option<(Vote, Option<usize>, bool)> = None;
    for at in (start..end).step_by(unit) {
        let to = (at + unit).min(end);
        let ballots = ballots(members, at, to);
        let vote = Vote::of(&ballots, Rule::Threshold(threshold));
        let had = &origin.bytes[at..to];
        let gift = donor.and_then(|donor| donor.get(at..to));
        let new = gift.filter(|gift| !ballots.contains(&Ballot::Data(gift)));
        let holder = ballots.iter().position(|ballot| *ballot == Ballot::Data(had));
        let holder = holder.or_else(|| new.filter(|gift| *gift == had).map(|_| members.len()));
        let right = match vote.verdict {
            Verdict::Decided { winner } => {
                holder.is_some_and(|holder| holder < members.len() && vote.grouping.version(holder) == Some(winner))
            }
            _ => holder.is_some(),
        };
        let settled = if vote.verdict == Verdict::Undecided { gift == Some(had) } else { right };
        (filled, alone) = (filled && settled, alone && gift == Some(had));
        let joined = before.filter(|(last, _, more)| *last == vote && *more == new.is_some());
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
                Some((_, last, _)) => {
                    if last == holder {
                        *tries
                    } else {
                        u64::MAX
                    }
                }
                None => tries.saturating_mul(vote.grouping.versions().count() as u64 + u64::from(new.is_some())),
            };
        }
        possible &= holder.is_some();
        before = Some((vote, holder, new.is_some()));
        whole.iter_mut().zip(&ballots).for_each(|(whole, ballot)| *whole &= *ballot == Ballot::Data(had));
    }
    let by_one = if donor.is_some() { filled || alone } else { whole.contains(&true) };
    let few = zero || by_one || !at_a_glance && tries.iter().any(|&tries| tries <= TRIES_MAX);
    Some(possible && few)
}

/// Who votes, what digests know, and who gives.
#[derive(Clone, Debug)]
struct Scene {
    members: Vec<Memory>,
    origins: Vec<Origin>,
    donors: Vec<Vec<u8>>,
    /// The unit of the vote in bytes.
    unit: usize,
}

/// The donor whose bytes all digests that know anything of the sector know, by its number.
fn donor(scene: &Scene, all: &[Vec<(Option<bool>, Option<usize>)>], sector: (usize, usize), ballots: &[Ballot]) -> Option<usize> {
    let mut named = Vec::new();
    for (origin, words) in scene.origins.iter().zip(all).filter(|(origin, _)| origin.hash.proves()) {
        let Some((Some(possible), by)) = words.get(sector.0 / origin.chunk_bytes as usize) else { continue };
        if sector.1 > origin.bytes.len() {
            continue;
        }
        let had = &origin.bytes[sector.0..sector.1];
        named.push(by.filter(|_| *possible && !ballots.contains(&Ballot::Data(had))));
    }
    let first = *named.first()?;
    first.filter(|_| named.iter().all(|other| *other == first))
}

fn expected(scene: &Scene, size: usize, threshold: usize) -> Expected {
    let Scene { members, origins, unit, .. } = scene;
    let unit = *unit;
    let mut expected = Expected {
        runs: Vec::new(),
        bytes: vec![0; size],
        swayed: 0,
        donated: 0,
        contradicted: Vec::new(),
        agreed: vec![0; origins.len()],
        undecided: Vec::new(),
    };
    let mut runs = Runs::default();
    let by_chunk: Vec<Vec<(Option<bool>, Option<usize>)>> = origins.iter().map(|origin| words(scene, origin, size, threshold)).collect();
    let all: Vec<Vec<Option<bool>>> = by_chunk.iter().map(|words| words.iter().map(|(said, _)| *said).collect()).collect();
    for start in (0..size).step_by(unit) {
        let end = (start + unit).min(size);
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
        let verdict = match donor(scene, &by_chunk, (start, end), &ballots) {
            Some(donor) if verdict == Verdict::Undecided => Verdict::Donated { donor },
            _ => verdict,
        };
        if let Verdict::Donated { donor } = verdict {
            expected.donated += 1;
            expected.bytes[start..end].copy_from_slice(&scene.donors[donor][start..end]);
        }
        let winner = match verdict {
            Verdict::Unanimous => Some(0),
            Verdict::Decided { winner } => Some(winner),
            Verdict::Donated { .. } | Verdict::Undecided => None,
        };
        if let Some(winner) = winner {
            expected.bytes[start..end].copy_from_slice(&members[winner].bytes[start..end]);
        }
        let decided = |verdict: Verdict| verdict.is_decided();
        expected.swayed += u64::from(verdict != plain.verdict && (decided(verdict) || decided(plain.verdict)));
        expected.undecided.push(verdict == Verdict::Undecided);
        expected.runs.extend(runs.push(Run { range: ByteRange::new(start as u64, end as u64), vote: Vote { verdict, ..plain } }));
    }
    expected.runs.extend(runs.finish());
    agreements(scene, size, threshold, &by_chunk, &mut expected);
    expected
}

/// Which chunks all members hold as a digest knows them, and in which it contradicts what comes of the vote.
fn agreements(scene: &Scene, size: usize, threshold: usize, by_chunk: &[Vec<(Option<bool>, Option<usize>)>], expected: &mut Expected) {
    let Scene { members, origins, unit, .. } = scene;
    let unit = *unit;
    for (index, origin) in origins.iter().enumerate() {
        let chunk = origin.chunk_bytes as usize;
        for start in (0..origin.bytes.len().min(size)).step_by(chunk) {
            let end = (start + chunk).min(origin.bytes.len());
            let unanimous = |at: usize| {
                Vote::of(&ballots(members, at, (at + unit).min(end)), Rule::Threshold(threshold)).grouping.holders(0).count_ones() as usize
                    == members.len()
            };
            let vote = |at: usize| Vote::of(&ballots(members, at, (at + unit).min(end)), Rule::Threshold(threshold)).verdict;
            let settled = (start..end).step_by(unit).all(|at| vote(at) != Verdict::Undecided);
            let (possible, gift) = by_chunk[index][start / chunk];
            // What a donor holds where the members have decided.
            let overruled = |at: usize| {
                let had = &origin.bytes[at..(at + unit).min(end)];
                vote(at) != Verdict::Undecided && !ballots(members, at, (at + unit).min(end)).contains(&Ballot::Data(had))
            };
            if gift.is_some() && (start..end).step_by(unit).any(overruled) || (gift.is_none() && possible == Some(false) && settled) {
                expected.contradicted.push(((start / chunk) as u64, index as u64));
                continue;
            }
            // Of one alone a donor may know better.
            let heard = possible.is_some() && gift.is_none();
            if heard && (start..end).step_by(unit).all(unanimous) && members[0].bytes[start..end] == origin.bytes[start..end] {
                expected.agreed[index] += 1;
            }
            if heard && (start..end).step_by(unit).all(unanimous) && members[0].bytes[start..end] != origin.bytes[start..end] {
                expected.contradicted.push(((start / chunk) as u64, index as u64));
            }
        }
    }
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

fn compare(scene: &Scene, threshold: usize, threads: usize) {
    let Scene { members, origins, donors, unit } = scene;
    let size = members.iter().map(|member| member.bytes.len()).max().unwrap_or(0);
    let expected = expected(scene, size, threshold);
    let memory = |bytes: &Vec<u8>| Memory {
        name: MemberName::from(Path::new("donor")),
        bytes: bytes.clone(),
        unreadable: Vec::new(),
        unstable: Vec::new(),
        fails: false,
    };
    let donors: Vec<Arc<dyn Member>> = donors.iter().map(|bytes| Arc::new(memory(bytes)) as Arc<dyn Member>).collect();
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
            sector: *unit as u32,
            hearing: Some(&hearing),
            donors: &donors,
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
        assert_eq!(outcome.heard.donated.iter().sum::<u64>(), expected.donated);
        let agreed = |index: usize| outcome.heard.witnesses.get(index).map_or(0, |tally| tally.agreed);
        assert_eq!((0..origins.len()).map(agreed).collect::<Vec<_>>(), expected.agreed);
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
            let unknown = (range.start as usize / unit..(range.end as usize).div_ceil(*unit)).any(|sector| expected.undecided[sector]);
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

fn scene() -> impl Strategy<Value = Scene> {
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
    let donor = (changes(3), prop::option::weighted(0.2, 0usize..70_000));
    let tail = prop_oneof![Just(0usize), 0usize..512];
    let unit = prop_oneof![3 => Just(SECTOR), 1 => Just(4096)];
    (vec(run, 1..10), vec(member, 1..5), vec(origin, 1..4), vec(donor, 0..3), tail, unit).prop_map(
        |(runs, members, origins, donors, tail, unit)| {
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
            let donor = |(changes, cut): (Vec<_>, Option<usize>)| {
                let mut bytes = changed(&common, &changes, tail);
                bytes.truncate(bytes.len().saturating_sub(cut.unwrap_or(0)));
                bytes
            };
            Scene { members, origins, donors: donors.into_iter().map(donor).collect(), unit }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(100), ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_vote(scene in scene(), threads in 1usize..4) {
        prop_assume!(scene.members.iter().any(|member| !member.bytes.is_empty()));
        let threshold = (scene.members.len() / 2 + 1).max(2);
        compare(&scene, threshold, threads);
    }
}

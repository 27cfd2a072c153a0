//! The engine against a naive reading, sector by sector, of members that are held in memory or in real files.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::{Job, Lost, Outcome, Output, Tally, Watch, scan};
use crate::{
    member::{Cache, Encoded, EncodedPart, Extent, Form, Member, MemberName, RawMember, ReadError, Readable, Rewritable},
    sys::buffer::Buffer,
    vote::{Ballot, ByteRange, Fill, Fillers, Rule, Rules, Run, Runs, Verdict, Vote},
};

pub(super) const SECTOR: usize = 512;

/// A member in memory: its sectors, of which some can't be read or read differently the second time, and which may fail as a whole.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) name: MemberName,
    pub(super) bytes: Vec<u8>,
    pub(super) unreadable: Vec<usize>,
    pub(super) unstable: Vec<usize>,
    pub(super) fails: bool,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, unreadable, unstable, fails, .. } = self;
        let kinds: Vec<&[u8]> = bytes.chunks(SECTOR).map(|sector| &sector[..1]).collect();
        let runs: Vec<(u8, usize)> = kinds.chunk_by(|a, b| a == b).map(|run| (run[0][0], run.len())).collect();
        write!(f, "{} bytes: {runs:?}, unreadable {unreadable:?}, unstable {unstable:?}, fails {fails}", bytes.len())
    }
}

impl Readable for Memory {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        // Whole zero blocks of 4 KiB are holes, as in a file.
        let zero = |block: usize| {
            let bytes = &self.bytes[block * 4096..self.bytes.len().min((block + 1) * 4096)];
            let mut special = self.unreadable.iter().chain(&self.unstable);
            bytes.iter().all(|&byte| byte == 0) && !special.any(|sector| sector * SECTOR / 4096 == block)
        };
        let first = offset as usize / 4096;
        let blocks = self.bytes.len().div_ceil(4096);
        let end = (first..blocks).find(|&block| zero(block) != zero(first)).unwrap_or(blocks);
        let end = ((end * 4096) as u64).min(self.size());
        Ok(if zero(first) { Extent::Zero(end) } else { Extent::Data(end) })
    }

    fn read(&self, offset: u64, bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.fails {
            return Err(ReadError::Member(io::Error::from_raw_os_error(libc::ESTALE)));
        }
        if end > self.bytes.len() {
            return Err(ReadError::Ended);
        }
        if self.unreadable.iter().any(|sector| sector * SECTOR < end && start < (sector + 1) * SECTOR) {
            return Err(ReadError::Medium(io::Error::from_raw_os_error(libc::EIO)));
        }
        bytes.copy_from_slice(&self.bytes[start..end]);
        Ok(())
    }

    /// Half of all images are kept with each bit flipped, in blocks behind each of which lies something of the member's own.
    fn encoded(&self, range: ByteRange, bytes_max: usize, into: &mut Encoded, bounce: &mut Option<Buffer>) -> bool {
        into.clear();
        let tail = self.unreadable.len() % 3;
        (self.bytes.len() / SECTOR).is_multiple_of(2)
            && range.pieces(4096).all(|block| {
                let length = block.length() as usize;
                let part = EncodedPart { form: Form::Zstd, length, held: length + tail, needed: length + tail };
                into.push(part, bytes_max, |bytes| {
                    let (held, tail) = bytes.split_at_mut(length);
                    tail.fill(self.unstable.len() as u8);
                    let read = self.read(block.start, held, bounce).is_ok();
                    for byte in held {
                        *byte = !*byte;
                    }
                    read
                })
            })
    }

    fn decode(&self, encoded: &mut Encoded, bytes: &mut [u8]) -> bool {
        let mut to = bytes.iter_mut();
        encoded.each(|part, held| {
            part.needed = part.length;
            held[..part.length].iter().zip(&mut to).for_each(|(byte, to)| *to = !*byte);
            true
        })
    }

    fn is_served(&self) -> bool {
        true
    }

    fn read_anew(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        self.read(offset, bytes, bounce)?;
        for sector in self.unstable.iter().collect::<std::collections::BTreeSet<_>>() {
            let flipped = (sector * SECTOR + 77).checked_sub(offset as usize).and_then(|at| bytes.get_mut(at));
            if let Some(byte) = flipped {
                *byte ^= 4;
            }
        }
        Ok(())
    }
}

impl Rewritable for Memory {}

impl Member for Memory {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn modified(&self) -> Option<std::time::SystemTime> {
        None
    }

    fn changed(&self) -> Option<String> {
        None
    }
}

/// Collects what is written.
#[derive(Default)]
pub(super) struct Collected(pub(super) Mutex<BTreeMap<u64, Vec<u8>>>);

impl Collected {
    /// All that was written, which has no gap.
    pub(super) fn joined(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (offset, part) in self.0.into_inner().expect("no panics") {
            assert_eq!(offset, bytes.len() as u64, "a gap in the output");
            bytes.extend(part);
        }
        bytes
    }
}

impl Output for Collected {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(self.0.lock().expect("no panics").insert(offset, bytes.to_vec()).is_none(), "{offset} is written twice");
        Ok(())
    }
    fn zeros(&self, range: ByteRange) -> io::Result<()> {
        self.write(range.start, &vec![0; range.length() as usize])
    }
    fn wants_all_zeros(&self) -> bool {
        true
    }
}

/// What a test expects.
pub(super) struct Expected {
    pub(super) runs: Vec<Run>,
    tally: Tally,
    bytes: Vec<u8>,
    unfilled: u64,
}

pub(super) fn expected(members: &[Memory], size: usize, rules: &Rules, fill: Fill, threshold: usize) -> Expected {
    let (mut collector, mut runs, mut bytes, mut unfilled) = (Runs::default(), Vec::new(), vec![0; size], 0);
    let mut lost = vec![Lost::default(); members.len()];
    for start in (0..size).step_by(SECTOR) {
        let end = (start + SECTOR).min(size);
        let rule = rules.at(start as u64);
        let mut ballots: Vec<Ballot> = members
            .iter()
            .map(|member| match () {
                () if member.fails => Ballot::Failed,
                () if end > member.bytes.len() => Ballot::Absent,
                () if member.unreadable.contains(&(start / SECTOR)) => Ballot::Unreadable,
                () => Ballot::Data(&member.bytes[start..end]),
            })
            .collect();
        if rule == Rule::First
            && let Some(first) = ballots.iter().position(|ballot| matches!(ballot, Ballot::Data(_)))
        {
            ballots[first + 1..].fill(Ballot::Unasked);
        }
        let mut vote = Vote::of(&ballots, rule);
        if vote.grouping.versions().count() > 1 && rule != Rule::First {
            let answers_otherwise = |member: &Memory| member.unstable.contains(&(start / SECTOR)) && start + 77 < end;
            for (member, ballot) in members.iter().zip(&mut ballots) {
                if matches!(ballot, Ballot::Data(_)) && answers_otherwise(member) {
                    *ballot = Ballot::Unstable;
                }
            }
            vote = Vote::of(&ballots, rule);
        }
        let winner = match vote.verdict {
            Verdict::Unanimous => vote.grouping.versions().next(),
            Verdict::Decided { winner } => Some(winner),
            Verdict::Donated { .. } | Verdict::Undecided => None,
        };
        if let Some(winner) = winner {
            bytes[start..end].copy_from_slice(&members[winner].bytes[start..end]);
        } else if !fill.apply(start as u64, &ballots, threshold, &mut bytes[start..end]) {
            bytes[start..end].fill(0);
            unfilled += 1;
        }
        if let Verdict::Decided { winner } = vote.verdict {
            let won_by_zeros = members[winner].bytes[start..end].iter().all(|&byte| byte == 0);
            for (ballot, lost) in ballots.iter().zip(&mut lost) {
                let Ballot::Data(own) = ballot else { continue };
                if **own == members[winner].bytes[start..end] {
                    continue;
                }
                let outvoting = vote.grouping.holders(winner);
                lost.outvoted_by |= outvoting;
                if won_by_zeros {
                    lost.data_zeroed += (end - start) as u64;
                    lost.zeroed_by |= outvoting;
                } else if own.iter().all(|&byte| byte == 0) {
                    lost.zeros_replaced += (end - start) as u64;
                }
            }
        }
        runs.extend(collector.push(Run { range: ByteRange::new(start as u64, end as u64), vote }));
    }
    runs.extend(collector.finish());
    let mut tally = Tally::new(members.len());
    for run in &runs {
        tally.add(run, SECTOR as u32);
    }
    tally.add_lost(&lost);
    Expected { runs, tally, bytes, unfilled }
}

/// A vote of one thread with two ballots, and nothing else.
pub(super) fn plain<'a>(
    members: &'a [&'a dyn Member],
    size: u64,
    ranges: &'a [ByteRange],
    rules: &'a Rules,
    fillers: &'a Fillers,
) -> Job<'a> {
    let (sector, watch) = (SECTOR as u32, &());
    let (threshold, threads, output, rereads, evidence) = (2, 1, None, 0, None);
    let (confirmed_bytes, scratch_bytes, in_a_hurry) = (1 << 20, 0, false);
    Job {
        members,
        size,
        sector,
        ranges,
        rules,
        threshold,
        threads,
        output,
        rereads,
        in_a_hurry,
        confirmed_bytes,
        scratch_bytes,
        evidence,
        fillers,
        hearing: None,
        donors: &[],
        hashed: None,
        watch,
    }
}

/// Scans and compares with what is expected.
pub(super) fn compare(
    members: &[&dyn Member],
    size: usize,
    rules: &Rules,
    fill: Fill,
    threshold: usize,
    threads: usize,
    expected: &Expected,
) {
    for with_output in [false, true] {
        let collected = Collected::default();
        let ranges = [ByteRange::new(0, size as u64)];
        let fillers = Fillers::default();
        let output: Option<(&dyn Output, Fill)> = with_output.then_some((&collected, fill));
        let job = Job { threshold, threads, output, ..plain(members, size as u64, &ranges, rules, &fillers) };
        let mut runs = Vec::new();
        let outcome: Outcome = scan(&job, &mut |run| {
            runs.push(*run);
            Ok(())
        })
        .expect("nothing fails here");
        assert_eq!(runs, expected.runs);
        assert_eq!(outcome.tally, expected.tally);
        assert!(outcome.complete && outcome.scanned_bytes == size as u64);
        if with_output {
            assert!(collected.joined() == expected.bytes, "the output differs");
            assert_eq!(outcome.unfilled_sectors, expected.unfilled);
        }
    }
}

/// Sectors by their kind: 0 is zeros.
pub(super) fn image(kinds: &[u8], tail: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = kinds.iter().flat_map(|&kind| vec![kind; SECTOR]).collect();
    bytes.truncate(bytes.len().saturating_sub(tail));
    bytes
}

/// A few members that mostly agree: a common image, and changes to it.
pub(super) fn members() -> impl Strategy<Value = Vec<Memory>> {
    let run = (0u8..4, 1usize..40);
    let change = (any::<prop::sample::Index>(), 1usize..12, 0u8..4);
    let one = (
        vec(change, 0..4),
        vec((any::<prop::sample::Index>(), any::<bool>()), 0..4),
        prop::option::weighted(0.3, 0usize..3000),
        prop::bool::weighted(0.05),
    );
    (vec(run, 1..12), vec(one, 2..6), 0usize..600).prop_map(|(runs, ones, tail)| {
        let common: Vec<u8> = runs.iter().flat_map(|&(kind, count)| vec![kind; count]).collect();
        ones.into_iter()
            .enumerate()
            .map(|(index, (changes, unreadable, cut, fails))| {
                let mut kinds = common.clone();
                for (at, count, kind) in changes {
                    let at = at.index(kinds.len());
                    let end = (at + count).min(kinds.len());
                    kinds[at..end].fill(kind);
                }
                let bytes = image(&kinds, tail.min(SECTOR - 1) + cut.unwrap_or(0));
                let held = bytes.len() / SECTOR;
                let special = |which: bool| {
                    let those = unreadable.iter().filter(|&&(_, unstable)| held > 0 && unstable == which);
                    those.map(|(at, _)| at.index(held.max(1))).collect()
                };
                Memory {
                    name: MemberName::from(Path::new(&index.to_string())),
                    bytes,
                    unreadable: special(false),
                    unstable: special(true),
                    fails,
                }
            })
            .collect()
    })
}

/// The same as real files, with holes where they hold whole blocks of zeros.
pub(super) fn as_files(members: &[Memory], folder: &Path, direct: bool) -> Vec<RawMember> {
    let as_file = |member: &Memory| {
        let path = folder.join(member.name.as_os_str());
        let mut file = std::fs::File::create(&path).expect("it can be created");
        for block in member.bytes.chunks(4096) {
            if block.iter().any(|&byte| byte != 0) {
                file.write_all(block).expect("it can be written");
            } else {
                io::Seek::seek_relative(&mut file, i64::try_from(block.len()).expect("4 KiB")).expect("it can be sought");
            }
        }
        file.set_len(member.bytes.len() as u64).expect("it can grow");
        let cache = if direct { Cache::None } else { Cache::Writeback };
        RawMember::open(member.name.clone(), &path, cache).expect("it can be opened")
    };
    members.iter().map(as_file).collect()
}

pub(super) fn fill() -> impl Strategy<Value = Fill> {
    prop::sample::select(&[Fill::Fail, Fill::First, Fill::Zero, Fill::Marker, Fill::Bytes][..])
}

pub(super) fn rules(threshold: usize) -> impl Strategy<Value = Rules> {
    let rule = prop_oneof![Just(Rule::Member(0)), Just(Rule::Member(1)), Just(Rule::Unanimity), Just(Rule::First)];
    let general = prop_oneof![6 => Just(Rule::Threshold(threshold)), 1 => Just(Rule::First), 1 => Just(Rule::Member(1))];
    (general, vec((0u64..300, 0u64..20, rule), 0..3)).prop_map(|(general, exceptions)| {
        let mut rules = Rules::new(general);
        for (start, count, rule) in exceptions {
            rules.except(ByteRange::new(start * SECTOR as u64, (start + count) * SECTOR as u64), rule);
        }
        rules
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(400), ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_reading(members in members(), rules in rules(2), fill in fill(), threads in 1usize..4) {
        // Under fifo a member that isn't asked doesn't fail either: when it does is a matter of the rule, tested through the binary.
        prop_assume!(!members.iter().any(|member| member.fails) || !format!("{rules:?}").contains("First"));
        // A member fails when it is read: not one that holds only a hole there, or less than a sector.
        prop_assume!(members.iter().all(|member| !member.fails || (member.bytes.len() >= SECTOR && member.bytes[0] != 0)));
        let size = members.iter().map(|member| member.bytes.len()).max().unwrap_or(0);
        let expected = expected(&members, size, &rules, fill, 2);
        // A member fails when it is first read: at its first data, before which it is all that it was.
        prop_assume!(!members.iter().any(|member| member.fails) || threads == 1);
        let listed: Vec<&dyn Member> = members.iter().map(|member| member as &dyn Member).collect();
        compare(&listed, size, &rules, fill, 2, threads, &expected);
    }

    /// The same with real files: mapped, with real holes where the file system makes them.
    #[test]
    fn agrees_on_files(members in members(), rules in rules(2), fill in fill(), threads in 1usize..4, direct in any::<bool>()) {
        let members: Vec<Memory> =
            members.into_iter().map(|member| Memory { fails: false, unreadable: Vec::new(), unstable: Vec::new(), ..member }).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let files = as_files(&members, folder.path(), direct);
        let size = members.iter().map(|member| member.bytes.len()).max().unwrap_or(0);
        let expected = expected(&members, size, &rules, fill, 2);
        let listed: Vec<&dyn Member> = files.iter().map(|file| file as &dyn Member).collect();
        compare(&listed, size, &rules, fill, 2, threads, &expected);
    }
}

/// What becomes of the bytes of a reading, from an offset on.
type Fate<'a> = &'a (dyn Fn(u64, &mut [u8]) -> Result<(), ReadError> + Sync);

/// A member in memory of whose readings something else becomes, of first ones and of those once more.
pub(super) struct Fated<'a> {
    pub(super) member: &'a Memory,
    pub(super) read: Fate<'a>,
    pub(super) anew: Fate<'a>,
}

impl Readable for Fated<'_> {
    fn size(&self) -> u64 {
        self.member.size()
    }

    fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
        self.member.extent(offset)
    }

    fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        self.member.read(offset, bytes, bounce)?;
        (self.read)(offset, bytes)
    }

    fn read_anew(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        self.member.read(offset, bytes, bounce)?;
        (self.anew)(offset, bytes)
    }
}

impl Rewritable for Fated<'_> {}

impl Member for Fated<'_> {
    fn name(&self) -> &MemberName {
        self.member.name()
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn modified(&self) -> Option<std::time::SystemTime> {
        None
    }

    fn changed(&self) -> Option<String> {
        None
    }
}

/// Where nobody is kept from writing, what differs is read again, and only what persists counts.
#[test]
fn a_difference_that_passes_is_not_believed() {
    let named = |name: &str| MemberName::from(Path::new(name));
    let memory =
        |name: &str| Memory { name: named(name), bytes: vec![7; 20_000], unreadable: Vec::new(), unstable: Vec::new(), fails: false };
    let mut persistent = memory("c");
    persistent.bytes[9000] = 8;
    for (rereads, expected) in [(0, 2), (1, 1), (3, 1)] {
        let (steady, settled, readings) = (memory("a"), memory("b"), AtomicU32::new(0));
        // A guest's write that has reached the others already is missing in its first reading.
        let fate = |_, bytes: &mut [u8]| {
            if readings.fetch_add(1, Ordering::Relaxed) == 0 {
                bytes[5000] ^= 1;
            }
            Ok(())
        };
        let flickering = Fated { member: &settled, read: &fate, anew: &fate };
        let members: [&dyn Member; 3] = [&steady, &flickering, &persistent];
        let ranges = [ByteRange::new(0, 20_000)];
        let (rules, fillers) = (Rules::new(Rule::Threshold(2)), Fillers::default());
        let job = Job { rereads, ..plain(&members, 20_000, &ranges, &rules, &fillers) };
        let outcome = scan(&job, &mut |_| Ok(())).expect("nothing fails here");
        assert_eq!(outcome.tally.decided, expected, "{rereads} readings more");
    }
}

/// A thread that panicked never delivered its window, and the others waited for it for ever.
#[test]
fn a_panic_in_a_thread_ends_the_scan() {
    let memory = Memory {
        name: MemberName::from(Path::new("a")),
        bytes: vec![7; 64 << 20],
        unreadable: Vec::new(),
        unstable: Vec::new(),
        fails: false,
    };
    let fate = |_, _: &mut [u8]| panic!("a bug");
    let broken = Fated { member: &memory, read: &fate, anew: &fate };
    let ranges = [ByteRange::new(0, 64 << 20)];
    let rules = Rules::new(Rule::Threshold(2));
    let (members, fillers): ([&dyn Member; 2], _) = ([&broken, &broken], Fillers::default());
    let job = Job { threads: 2, ..plain(&members, 64 << 20, &ranges, &rules, &fillers) };
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scan(&job, &mut |_| Ok(()))));
    assert!(ended.is_err(), "the panic is handed on");
}

/// Every look at the clock finds half a minute gone.
struct Slow(AtomicU64);

impl Watch for Slow {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(30 * self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// A server's disk takes its time to say of each sector that it can't read it: a check narrows that down to coarse blocks only, and tells so;
/// whoever writes by it takes the time.
#[test]
fn what_fails_slowly_isnt_narrowed_down_for_ever() {
    let bytes = vec![7; 1 << 20];
    let memory = |unreadable: &[usize]| Memory {
        name: MemberName::from(Path::new("a")),
        bytes: bytes.clone(),
        unreadable: unreadable.to_vec(),
        unstable: Vec::new(),
        fails: false,
    };
    let (sick, sound) = (memory(&[700, 1500]), memory(&[]));
    let members: [&dyn Member; 3] = [&sick, &sound, &sound];
    let (rules, fillers, ranges) = (Rules::new(Rule::Threshold(2)), Fillers::default(), [ByteRange::new(0, 1 << 20)]);
    for in_a_hurry in [true, false] {
        let watch = Slow(0.into());
        let job = Job { in_a_hurry, watch: &watch, ..plain(&members, 1 << 20, &ranges, &rules, &fillers) };
        let outcome = scan(&job, &mut |_| Ok(())).expect("nothing fails here");
        assert_eq!(outcome.hurried, [in_a_hurry, false, false]);
        let unreadable = outcome.tally.members[0].unreadable;
        assert!(if in_a_hurry { (64..=256).contains(&unreadable) } else { unreadable == 2 }, "{unreadable} sectors");
        assert_eq!(outcome.tally.decided, unreadable);
    }
}

/// A member that turns out to be gone once all was read: its ballots were counted, and nobody may rely on them.
#[test]
fn who_is_gone_at_the_end_is_told_of() {
    struct Gone(Memory);

    impl Readable for Gone {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn extent(&self, offset: u64) -> Result<Extent, ReadError> {
            self.0.extent(offset)
        }
        fn read(&self, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
            self.0.read(offset, bytes, bounce)
        }
    }
    impl Rewritable for Gone {}
    impl Member for Gone {
        fn name(&self) -> &MemberName {
            &self.0.name
        }
        fn format(&self) -> &'static str {
            "raw"
        }
        fn modified(&self) -> Option<std::time::SystemTime> {
            None
        }
        fn gone(&self) -> Option<String> {
            Some("its locks were lost".into())
        }
        fn changed(&self) -> Option<String> {
            None
        }
    }

    let memory = || Memory {
        name: MemberName::from(Path::new("a")),
        bytes: vec![7; 20_000],
        unreadable: Vec::new(),
        unstable: Vec::new(),
        fails: false,
    };
    let (gone, sound) = (Gone(memory()), memory());
    let members: [&dyn Member; 3] = [&sound, &gone, &sound];
    let (rules, fillers, ranges) = (Rules::new(Rule::Threshold(2)), Fillers::default(), [ByteRange::new(0, 20_000)]);
    let outcome = scan(&plain(&members, 20_000, &ranges, &rules, &fillers), &mut |_| Ok(())).expect("nothing fails here");
    assert_eq!(outcome.late, [1]);
    assert_eq!(outcome.failures, [None, Some("its locks were lost".to_owned()), None]);
}

//! `quorum-img show`: what each member holds at a place.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use super::{
    args::{LockArgs, MemberArgs, ReadBy, VoteArgs},
    given::Given,
    next,
    parse::{parse_range, parse_size},
    progress::Control,
    say::{Output, columns, warn_unless},
    show_args::ProgressArgs,
    texts,
    unfinished::Asked,
};
use crate::{
    electorate::{Access, open_voters},
    evidence::{Evidence, Looks, Owner, Partition, find_file_system, owner},
    member::{Member, escaped},
    repair::{
        Earlier, evidence_of,
        judge::{Forced, Weighing},
    },
    report::{
        self, Content, Divergence, Look, Overall, OwnerReport, Place, Places, Report, Version, lead_on, render_places, telling, wrapped,
    },
    scan::{Checked, Findings, Held, Job, Limits, Question, Watch as _, Weighed, described, holds_as_known, make_report, scan, versions},
    vote::{ByteRange, Run, Verdict},
};

/// Show what each member holds at a place, side by side, and what it looks like
///
/// The versions that the members hold there stand above one another in hexadecimal and as text, what differs marked, with who holds them,
/// what they look like (zeros, flipped bits, ...), and the partition and file system that the place lies in. Then comes the command that
/// settles it. Nothing is written.
#[derive(Args, Debug)]
#[command(
    after_long_help = texts::SHOW,
    mut_arg("range", |range| range.hide(true)),
    mut_arg("read_pattern", |pattern| pattern.hide(true)),
    override_usage = "quorum-img show [OPTIONS] OFFSET[:LENGTH] MEMBER...\n       quorum-img show [OPTIONS] --from REPORT MEMBER MEMBER..."
)]
pub(super) struct PlaceArgs {
    /// Where, in bytes: 0x1b400, 0x1b400:4096, 1G:64k; without LENGTH one sector
    #[arg(value_name = "OFFSET[:LENGTH]", required = true)]
    place: OsString,

    #[command(flatten)]
    pub members: MemberArgs,

    /// The places that the report of an earlier check lists, those without a winner first
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["size", "trust"])]
    from: Option<PathBuf>,

    /// Look for the file that a place belongs to, by inode and path (ext2, ext3, ext4, XFS, NTFS): it takes a look through the file
    /// system's inodes, and a minute for each place at most
    #[arg(long)]
    owners: bool,

    /// How many places are shown
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    places: u64,

    /// How many lines of each place are shown for people
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4096))]
    lines: u64,

    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = super::info::InfoFormat::Human)]
    output: super::info::InfoFormat,

    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    pub vote: VoteArgs,
}

impl PlaceArgs {
    /// With `--from` no place is given: what stands there is the first member.
    pub(super) fn sort(mut self) -> Self {
        if self.from.is_some() {
            let first = std::mem::take(&mut self.place);
            self.members.members.insert(0, first);
        }
        self
    }

    /// Where to look, in whole sectors.
    fn range(&self) -> Result<Option<ByteRange>> {
        if self.from.is_some() {
            return Ok(None);
        }
        let text = self.place.to_string_lossy();
        let sector = self.vote.sector_size.clamp(1, 1 << 16);
        let whole = |range: ByteRange| range.widened(sector, u64::MAX - u64::MAX % sector);
        let one = || ByteRange::at(parse_size(&text)?, 1).context("it lies behind what 64 bits can count");
        let range = if text.contains(':') { parse_range(&text) } else { one() };
        let hint = "hint: quorum-img show OFFSET[:LENGTH] MEMBER MEMBER...; places are told by check";
        range.map(|range| Some(whole(range))).map_err(|error| anyhow!("{}: is no place: {error}\n{hint}", escaped(&text)))
    }
}

pub(super) fn run(args: &PlaceArgs, given: &Given) -> Result<u8> {
    let asked = Asked {
        command: "show",
        members: &args.members.members,
        format: args.output.into(),
        quiet: false,
        report: None,
        others: Vec::new(),
    };
    look(args, given).inspect_err(|error| asked.leave_word(error))
}

fn look(args: &PlaceArgs, given: &Given) -> Result<u8> {
    ensure!(
        args.vote.range.is_none() && args.vote.read_pattern == ReadBy::Quorum,
        "--range and --read-pattern aren't for show\nhint: quorum-img show OFFSET:LENGTH MEMBER MEMBER... compares them all there"
    );
    let range = args.range()?;
    let voters = open_voters(&args.members.roll_of_any(), &Access::Look(args.locks.locks()))?;
    let members = voters.listed();
    let question =
        Question { rereads: args.locks.rereads(), range, range_is: "the place", members_min: 1, ..args.vote.question(&members)? };
    let mut question = args.members.hearing(&members, question, &[])?;
    question.donors = args.vote.donors(&args.members, &members, &question, [])?;
    let evidence = evidence_of(&members, &question, &[]);
    let poll = args.vote.poll(&members, &mut question, &evidence)?;
    let earlier = args.from.as_deref().map(|path| Earlier::read(path, &members, &poll)).transpose()?;
    let ranges = earlier.as_ref().map_or_else(|| poll.ranges(), |earlier| poll.voted_in(earlier.ranges()));
    for warning in voters.warnings.iter().chain(&poll.warnings) {
        warn_unless(args.progress.is_quiet(), warning);
    }
    if let Some(changed) = earlier.as_ref().and_then(Earlier::changed) {
        let what = format!("{changed}: what is shown is what they hold now");
        warn_unless(args.progress.is_quiet(), &what);
    }
    let mut findings = Findings::of(&evidence, Limits::default());
    let mut shortlist = Shortlist { undecided: Vec::new(), decided: Vec::new(), count: 0, places_max: args.places as usize };
    let mut control = Control::new(&args.progress)?;
    control.begin("reading", ranges.iter().map(|range| range.length()).sum());
    let job = Job::new(&members, &question, &poll, &ranges, &control).weighing(&evidence);
    let outcome = scan(&job, &mut |run| {
        findings.add(run);
        shortlist.add(run);
        Ok(())
    })?;
    let (shown, omitted) = shortlist.finish();
    let mut places: Vec<Place> = Vec::new();
    let mut held_bytes = 0;
    for run in &shown {
        if held_bytes > HELD_BYTES_MAX {
            break;
        }
        let held = versions(&members, run);
        held_bytes += held.iter().filter_map(|held| held.bytes.as_ref()).map(Vec::len).sum::<usize>();
        places.push(place(&members, &evidence, findings.described(run), held));
    }
    let omitted = omitted + (shown.len() - places.len()) as u64;
    let failed: Vec<usize> = outcome.failures.iter().enumerate().filter(|(_, why)| why.is_some()).map(|(index, _)| index).collect();
    if let (true, Some(range)) = (places.is_empty() && outcome.complete, ranges.first()) {
        places.push(alike(&members, &evidence, *range, &failed));
    }
    for place in places.iter_mut().filter(|_| args.owners) {
        let found = owner_of(&members, &evidence, place.divergence.offset, &|| control.stopped());
        place.owner = Some(found.unwrap_or(OwnerReport { unknown: true, ..OwnerReport::default() }));
    }
    for place in &mut places {
        hold_against_digests(place, &members, &question);
    }
    control.end();
    // Of one place nobody can say what a repair would do; of all that a report lists it can be said.
    let weighed = earlier.as_ref().map_or_else(Weighed::default, |earlier| {
        let stopped = || control.stopped();
        let all = Weighing::all(&members, &question, &poll, &evidence, &stopped);
        let weighing = Weighing { ranges: &ranges, dependent: &voters.dependent, content: earlier.content(), ..all };
        weighing.stands(&outcome, &findings).reported(Forced::NOTHING)
    });
    let mut report = make_report("show", &members, &question, &poll, Checked { outcome, findings }, Vec::new(), weighed);
    report.mark_guesses(&voters.guessed);
    if let Some(first) = places.first().filter(|place| place.divergence.verdict == Overall::Undecided) {
        let known = first.contents.iter().position(|content| !content.known_to.is_empty());
        report.proven = known.and_then(|version| first.divergence.versions.get(version)?.members.first().copied());
        report.denied = !first.denied_by.is_empty();
    }
    for (member, why) in report.members.iter().filter_map(|member| Some((member, member.error.as_ref()?))) {
        warn_unless(args.progress.is_quiet(), &format!("{}: failed: {why}", member.name));
    }
    show(args, given, &report, &Places::of(&report, places, omitted), &evidence)?;
    Ok(report.exit_code)
}

fn show(args: &PlaceArgs, given: &Given, report: &Report, places: &Places, evidence: &Evidence) -> Result<()> {
    let mut to = io::BufWriter::new(Output::new().styled());
    if args.output == super::info::InfoFormat::Json {
        report::write(places, &mut to)?;
    } else {
        let width = if io::stdout().is_terminal() { columns(io::stdout()) } else { 80 };
        render_places(places, args.lines as usize, width, &mut to)?;
        for guard in &report.guards {
            writeln!(to, "\n{}", wrapped(&format!("In the way of a repair ({}): {}.", guard.word, guard.message), width, "  "))?;
        }
        let look = Look { next: next::after(report, &args.members, given, Some(evidence)), or: None };
        lead_on(&look, &mut to)?;
    }
    to.flush().context("standard output")
}

/// Bytes that are held for all places together; those beyond are counted.
const HELD_BYTES_MAX: usize = 64 << 20;

/// What is kept of what was found.
struct Shortlist {
    undecided: Vec<Run>,
    decided: Vec<Run>,
    count: u64,
    places_max: usize,
}

impl Shortlist {
    fn add(&mut self, run: &Run) {
        self.count += 1;
        let list = if run.vote.verdict == Verdict::Undecided { &mut self.undecided } else { &mut self.decided };
        if list.len() < self.places_max {
            list.push(*run);
        }
    }

    /// Those without a winner first, and how many are left out.
    fn finish(self) -> (Vec<Run>, u64) {
        let mut all = self.undecided;
        all.extend(self.decided);
        all.truncate(self.places_max);
        let omitted = self.count - all.len() as u64;
        (all, omitted)
    }
}

fn place(members: &[&dyn Member], evidence: &Evidence, divergence: Divergence, held: Vec<Held>) -> Place {
    let undecided = divergence.verdict == Overall::Undecided || divergence.donor.is_some();
    let beside = if undecided { telling(&held.iter().map(|held| held.bytes.as_deref()).collect::<Vec<_>>()) } else { 0 };
    let other = held.get(beside).and_then(|held| held.bytes.clone()).unwrap_or_default();
    let content = |(index, held): (usize, Held)| {
        let looks = held.bytes.as_ref().map(|bytes| Looks::of(bytes, &other));
        // Of the one that others are held against it can only be told what it is filled with.
        let says = |looks: &Looks| index != beside || (undecided && matches!(looks, Looks::Zeroed | Looks::Ones | Looks::Filled(_)));
        let looks = looks.filter(says).map(|looks| described(held.members.clone(), &looks));
        Content { looks, bytes: held.bytes, known_to: Vec::new() }
    };
    let contents = held.into_iter().enumerate().map(content).collect();
    lying(members, evidence, divergence, beside, contents)
}

/// Which versions are what digests know: those whose holder has all of the chunk so.
fn hold_against_digests(place: &mut Place, members: &[&dyn Member], question: &Question) {
    let offset = place.divergence.offset;
    for (index, witness) in question.hearing.iter().flat_map(|hearing| &hearing.witnesses).enumerate() {
        let mut heard = false;
        let mut known = false;
        for (version, content) in place.divergence.versions.iter().zip(&mut place.contents) {
            let held = version.members.iter().filter_map(|&member| holds_as_known(members[member], &witness.digest, offset));
            for as_known in held {
                heard = true;
                if as_known && !content.known_to.contains(&index) {
                    content.known_to.push(index);
                }
                known |= as_known;
            }
        }
        if heard && !known {
            place.denied_by.push(index);
        }
    }
}

/// With what it lies in.
fn lying(members: &[&dyn Member], evidence: &Evidence, divergence: Divergence, beside: usize, contents: Vec<Content>) -> Place {
    let range = ByteRange::at(divergence.offset, divergence.length);
    let free = range.is_some_and(|range| (0..members.len()).any(|member| evidence.is_free(member, range)));
    Place {
        file_system: file_system(members, evidence, divergence.offset),
        divergence,
        owner: None,
        free,
        beside,
        denied_by: Vec::new(),
        contents,
    }
}

/// A place where nobody differs; what `failed` members hold isn't known.
fn alike(members: &[&dyn Member], evidence: &Evidence, range: ByteRange, failed: &[usize]) -> Place {
    let partitions = evidence.partitions().into_iter().flat_map(|table| &table.partitions);
    let labels: Vec<String> = partitions.filter(|part| part.range.and(range).is_some()).map(Partition::label).collect();
    let holders: Vec<usize> = (0..members.len()).filter(|member| !failed.contains(member)).collect();
    let mut bytes = vec![0; range.length().min(1 << 16) as usize];
    let bytes = holders.iter().any(|&member| members[member].read(range.start, &mut bytes, &mut None).is_ok()).then_some(bytes);
    let divergence = Divergence {
        offset: range.start,
        length: range.length(),
        verdict: Overall::Unanimous,
        versions: vec![Version { members: holders }],
        partition: (!labels.is_empty()).then(|| labels.join(", ")),
        ..Divergence::default()
    };
    lying(members, evidence, divergence, 0, vec![Content { looks: None, bytes, known_to: Vec::new() }])
}

/// Where the partition that holds the place begins, or the disk.
fn start_of(evidence: &Evidence, offset: u64) -> u64 {
    let partitions = evidence.partitions().into_iter().flat_map(|table| &table.partitions);
    let starts = partitions.filter(|part| part.range.start <= offset && offset < part.range.end).map(|part| part.range.start);
    starts.max().unwrap_or(0)
}

/// How long the owner of one place is looked for.
const OWNER_SECONDS: u64 = 60;

/// What a place belongs to, by the first member whose file system tells.
fn owner_of(members: &[&dyn Member], evidence: &Evidence, offset: u64, stopped: &dyn Fn() -> bool) -> Option<OwnerReport> {
    let begun = Instant::now();
    let over = || stopped() || begun.elapsed() > Duration::from_secs(OWNER_SECONDS);
    let readable = members.iter().filter(|member| member.failure().is_none());
    let found = readable.filter(|_| !over()).find_map(|member| owner(*member, start_of(evidence, offset), offset, &over))?;
    Some(match found {
        Owner::Metadata(what) => OwnerReport { metadata: Some(what), ..OwnerReport::default() },
        Owner::File { inode, path } => OwnerReport { inode: Some(inode), path, ..OwnerReport::default() },
        Owner::Free => OwnerReport { free: true, ..OwnerReport::default() },
    })
}

/// The file system that holds the place, as most readable members have it.
fn file_system(members: &[&dyn Member], evidence: &Evidence, offset: u64) -> Option<String> {
    let start = start_of(evidence, offset);
    let found = |member: &&dyn Member| {
        let system = find_file_system(*member, start)?;
        let label = if system.label.is_empty() { String::new() } else { format!(" \"{}\"", system.label) };
        Some(format!("{}{label}", system.kind))
    };
    let names: Vec<String> = members.iter().filter(|member| member.failure().is_none()).filter_map(found).collect();
    names.iter().max_by_key(|name| names.iter().filter(|other| other == name).count()).cloned()
}

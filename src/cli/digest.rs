//! `quorum-img digest`: hashes of an image's chunks, kept in a file.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::{
    args::{LockArgs, MemberArgs, ReadBy, VoteArgs},
    digest_facts::digest_info,
    digest_target::Target,
    info::InfoFormat,
    parse::{parse_chunk_size, parse_shard},
    places::same_place,
    present::times,
    progress::Control,
    say::{Output, begun, complain, warn, warn_unless},
    show_args::ProgressArgs,
    texts,
};
use crate::{
    digest::{Cursor, DigestError, DigestFile, Ending, Entry, Geometry, HashKind, Header, Maker, Root, Source, Value, Writer, hex, merge},
    electorate::{Access, digest_path, open_digest, open_voters},
    member::{MemberName, escaped},
    repair::evidence_of,
    report::{self, DigestInfo, counted, human_size, render_digest},
    scan::{Digested, Digesting, Question, ScanError, Watch as _, Weighed, majority, make_report, zeros},
    vote::ByteRange,
};

/// Digests that are merged at a time: they are all open.
const PARTS_MAX: usize = 512;

/// Make a digest: hashes of the chunks of one image, or of what several copies vote for
///
/// A digest is 0.05 % of an image. It is a witness: given among the members of `check` and `repair` it votes with its hashes, so that two
/// copies and a digest decide what three copies do; digests of several copies, made where each lies, are compared by `check` without reading the
/// copies again; and `--root` prints what `b3sum` prints of the image. What nobody won, or nobody could read, is unknown to it (exit code 2).
#[derive(Args, Debug)]
#[command(
    after_long_help = texts::DIGEST,
    mut_arg("range", |range| range.hide(true)),
    mut_arg("donor", |donor| donor.hide(true)),
    mut_arg("read_pattern", |pattern| pattern.hide(true)),
    override_usage = "quorum-img digest [OPTIONS] -o FILE MEMBER...\n       quorum-img digest [OPTIONS] --root [-o FILE] MEMBER...\n       quorum-img digest --merge -o FILE DIGEST...\n       quorum-img digest --root DIGEST"
)]
pub(super) struct DigestArgs {
    #[command(flatten)]
    pub members: MemberArgs,

    /// The digest to write
    #[arg(short, value_name = "FILE", required_unless_present = "root", help_heading = "The digest")]
    output: Option<PathBuf>,

    /// What chunks are hashed by
    #[arg(long, value_enum, value_name = "HASH", default_value_t = Hash::Blake3, help_heading = "The digest")]
    hash: Hash,

    /// Bytes of a chunk, a power of two from 64k to 1M: what a damage is narrowed down to where no copy can tell more
    #[arg(long, value_name = "BYTES", default_value = "64k", value_parser = parse_chunk_size, help_heading = "The digest")]
    chunk_size: u64,

    /// Only the I-th of N equal parts, I from 0 on: `--merge` makes a whole of all of them
    #[arg(long, value_name = "I/N", value_parser = parse_shard, conflicts_with_all = ["merge", "root"], help_heading = "The digest")]
    shard: Option<(u64, u64)>,

    /// Print the hash of the whole image, as `b3sum` does; of a digest, or of members
    #[arg(long, help_heading = "The digest")]
    root: bool,

    /// Merge the digests of parts, or of the same, into one
    #[arg(long, requires = "output", help_heading = "The digest")]
    merge: bool,

    /// Replace a file that exists: overwrite
    #[arg(long, value_enum, value_name = "WORD", help_heading = "The digest")]
    force: Option<Force>,

    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = InfoFormat::Human, help_heading = "Output")]
    format: InfoFormat,

    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    pub vote: VoteArgs,
}

/// What chunks are hashed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hash {
    /// Proves what stands there, and what may be written
    Blake3,
    /// Faster; names what differs, and proves nothing
    Xxh3,
}

/// What is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Force {
    /// The file that stands there is replaced
    Overwrite,
}

impl DigestArgs {
    fn hash(&self) -> HashKind {
        match self.hash {
            Hash::Blake3 => HashKind::Blake3,
            Hash::Xxh3 => HashKind::Xxh3,
        }
    }
}

pub(super) fn run(args: &DigestArgs) -> Result<u8> {
    ensure!(
        args.vote.range.is_none() && args.vote.read_pattern == ReadBy::Quorum,
        "--range and --read-pattern aren't for digest\nhint: --shard I/N makes a digest of a part; one member alone is read as it is"
    );
    ensure!(args.vote.donor.is_empty(), "--donor isn't for digest: a new one isn't made by the word of an old one\nhint: leave it out");
    let given = &args.members.witnesses;
    match (&args.members.members[..], args.merge) {
        ([], true) => merged(args),
        ([], false) if args.root && given.len() == 1 && args.output.is_none() => root_of(args, &given[0]),
        ([], false) if !given.is_empty() => bail!(
            "{}: is a digest already\nhint: --root prints the hash of the whole, --merge makes one of several; raw:PATH hashes the file itself",
            MemberName::new(&given[0])
        ),
        (others, true) => {
            bail!("--merge: {} is no digest\nhint: name files that quorum-img digest wrote", MemberName::new(&others[0]))
        }
        (_, false) => made(args),
    }
}

/// Makes a digest of members.
fn made(args: &DigestArgs) -> Result<u8> {
    if let Some(digest) = args.members.witnesses.first() {
        bail!(
            "{}: is a digest already, and a new one isn't made by the word of an old one\nhint: name the copies alone; raw:PATH hashes the file itself",
            MemberName::new(digest)
        );
    }
    let target = args.output.as_deref().map(|output| Target::new(output, args.force.is_some())).transpose()?;
    let voters = open_voters(&args.members.roll_of_any(), &Access::Look(args.locks.locks()))?;
    let members = voters.listed();
    let mut question = Question { rereads: args.locks.rereads(), members_min: 1, ..args.vote.question(&members)? };
    if let (Some(failed), 1) = (members[0].failure(), members.len()) {
        bail!("{}: {failed}\nhint: -f raw makes a digest of the file itself, byte for byte", members[0].name());
    }
    let evidence = evidence_of(&members, &question, &[]);
    let poll = args.vote.poll(&members, &mut question, &evidence)?;
    ensure!(
        poll.threshold >= majority(members.len()),
        "a threshold of {} is below the majority of {} members: a digest would say later what most of them don't hold\nhint: leave --threshold out",
        poll.threshold,
        members.len()
    );
    ensure!(
        poll.size_vote.is_decided(),
        "the members don't agree on the virtual size\nhint: --size says which one is right, or leave out who is wrong"
    );
    let geometry = Geometry { hash: args.hash(), chunk_bytes: args.chunk_size, size: poll.size };
    ensure!(!args.root || geometry.hash == HashKind::Blake3, "--root: xxh3's values don't merge\nhint: leave --hash xxh3 out");
    let part = shard(&geometry, args.shard);
    for warning in voters.warnings.iter().chain(&poll.warnings) {
        warn_unless(args.progress.is_quiet(), warning);
    }
    // Who is trusted is the only one whose word it is.
    let spoken = members.iter().enumerate().filter(|&(index, _)| question.trust.is_none_or(|trusted| trusted == index));
    let sources: Vec<Source> = spoken.map(|(_, member)| Source::of(*member)).collect();
    let header = Header {
        geometry,
        part,
        origin: Source::origin(&sources),
        maker: Maker { sector: poll.sector, threshold: poll.threshold as u32, options: options(&question, poll.size), sources },
        started: (0, 0),
        finished: (0, 0),
        pages: 0,
        values: 0,
        unknown: 0,
    };
    let draft = target.as_ref().map(|target| target.draft(&members)).transpose()?;
    let writer = draft.as_deref().map(|draft| Writer::new(draft.storage(), header.clone())).transpose().map_err(cant_write(args))?;
    let mut control = Control::new(&args.progress)?;
    control.begin("hashing", part.length());
    let digesting = Digesting::new(geometry, part, writer, args.root, &control);
    let made = digesting.run(&members, &question, &poll, &evidence, &mut |_, _| Ok(()), &|| Ending {
        started: since_1970(begun()),
        finished: since_1970(SystemTime::now()),
    });
    let stopped = control.stopped();
    control.end();
    let Digested { checked, header: written, root, unknown } = match made {
        Err(_) if stopped => return Ok(130),
        Err(ScanError::Sink(error)) => return Err(cant_write(args)(error)),
        made => made?,
    };
    let failed: Vec<String> = members
        .iter()
        .zip(&checked.outcome.failures)
        .filter_map(|(member, why)| Some(format!("{}: failed: {}", member.name(), why.as_ref()?)))
        .collect();
    for why in &failed {
        warn(why);
    }
    let late = !checked.outcome.late.is_empty() || failed.len() == members.len();
    ensure!(!late, "no digest is made of what isn't to be relied on\nhint: bring it back, or leave it out, and run this again");
    let report = make_report("digest", &members, &question, &poll, checked, Vec::new(), Weighed::default());
    report.warnings.iter().for_each(|warning| warn_unless(args.progress.is_quiet(), warning));
    if report.exit_code == 130 || report.exit_code == 3 {
        return Ok(report.exit_code); // nothing is kept
    }
    if args.output.as_deref().is_some_and(|output| knows_more(output, unknown)) {
        return Ok(2);
    }
    if let (Some(target), Some(draft)) = (target, draft) {
        target.publish(draft)?;
    }
    if let Some((offset, count)) = unknown {
        let chunks = counted(count, "chunk");
        warn_unless(args.progress.is_quiet(), &format!("of {chunks} nothing is known, the first at {offset:#x}: check tells why"));
    }
    if let (Some((offset, _)), true, None) = (unknown, args.root, &args.output) {
        bail!(
            "what stands at offset {offset:#x} isn't known, so there is no hash of the whole\nhint: quorum-img check tells why: nobody won there, or it can't be read"
        );
    }
    tell(args, &written.unwrap_or(header), root.as_ref())?;
    Ok(if unknown.is_some() { 2 } else { 0 })
}

/// Whether the digest that stands there knows more than one to which so much is `unknown`; says so.
fn knows_more(output: &Path, unknown: Option<(u64, u64)>) -> bool {
    let (Some((offset, count)), Ok(there)) = (unknown, open_digest(output.as_os_str())) else { return false };
    let (better, name) = (there.header().unknown < count, MemberName::from(output));
    if better {
        complain(&format!(
            "{name}: not replaced: of {} nothing would be known, the first at {offset:#x}, and the digest that stands there knows more\nhint: it may be what \
             heals them: quorum-img check MEMBER... {}; or write the new one under another name",
            counted(count, "chunk"),
            name.quoted_word(),
        ));
    }
    better
}

/// Merges the digests of parts.
fn merged(args: &DigestArgs) -> Result<u8> {
    let names = &args.members.witnesses;
    ensure!(!names.is_empty(), "--merge: no digest is named\nhint: name the digests of all parts");
    ensure!(
        names.len() <= PARTS_MAX,
        "{} digests at once are too many\nhint: merge at most {PARTS_MAX} at a time, and then the results",
        names.len()
    );
    let parts = names.iter().map(|name| open_digest(name)).collect::<Result<Vec<DigestFile>, DigestError>>()?;
    let output = args.output.as_deref().context("-o FILE is wanted")?;
    let over = names.iter().find(|name| same_place(output, digest_path(name)));
    if let Some(over) = over {
        bail!("-o {}: is one of the parts\nhint: choose another name", MemberName::new(over));
    }
    let target = Target::new(output, args.force.is_some())?;
    let draft = target.draft(&[])?;
    let (header, missing) = merge(&parts, draft.storage())?;
    target.publish(draft)?;
    for part in &missing {
        warn(&format!("no part tells of {} at {:#x}: that is unknown", human_size(part.length()), part.start));
    }
    let partial = header.part != ByteRange::new(0, header.geometry.size);
    if partial {
        warn(&format!(
            "the parts are of {} at {:#x} alone, and not of the whole image",
            human_size(header.part.length()),
            header.part.start
        ));
    }
    tell(args, &header, None)?;
    Ok(if header.unknown > 0 || partial { 2 } else { 0 })
}

/// Prints the hash of the whole that a digest knows.
fn root_of(args: &DigestArgs, name: &OsString) -> Result<u8> {
    let digest = open_digest(name)?;
    let mut control = Control::new(&args.progress)?;
    let root = whole(&digest, &control);
    control.end();
    match root? {
        Some(root) => {
            tell(args, digest.header(), Some(&root))?;
            Ok(0)
        }
        None => Ok(130),
    }
}

/// The hash of the whole by a digest; none where it was to end.
fn whole(digest: &DigestFile, control: &Control) -> Result<Option<Value>> {
    let (geometry, name) = (digest.geometry(), digest.name().clone());
    if geometry.hash != HashKind::Blake3 {
        return Err(DigestError::NoRoot { digest: name }.into());
    }
    let (mut root, mut cursor): (Root, Cursor) = (Root::new(geometry), digest.cursor());
    let mut chunk = 0;
    control.begin("merging", geometry.size);
    while chunk < geometry.chunks() {
        let said = cursor.at(chunk);
        let count = said.count.min(geometry.chunks() - chunk);
        match said.entry {
            Entry::Value(value) => root.push(value),
            Entry::Zero => match zeros(&mut root, &geometry, chunk, count, control) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
                done => done?,
            },
            Entry::Unknown => {
                let hint = "make one of members that can all be read and agree; or merge it with one that knows";
                return Err(DigestError::Unknown { digest: name, offset: geometry.range(chunk).start, hint }.into());
            }
        }
        control.advanced(geometry.span(chunk, count).length());
        chunk += count;
    }
    Ok(Some(root.finish()))
}

/// Says what was made.
fn tell(args: &DigestArgs, header: &Header, root: Option<&Value>) -> Result<()> {
    // The root is what was asked for.
    if args.progress.is_quiet() && root.is_none() {
        return Ok(());
    }
    let mut to = io::BufWriter::new(Output::new());
    let name = args.output.as_deref().map(|output| MemberName::from(output).to_string());
    match (args.format, root, &name) {
        (InfoFormat::Human, Some(root), None) => {
            let image = header.maker.sources.first().filter(|_| header.maker.sources.len() == 1);
            let image = image.map_or_else(String::new, |source| format!("  {}", escaped(&String::from_utf8_lossy(&source.name))));
            writeln!(to, "{}{image}", hex(root))?;
        }
        (InfoFormat::Human, ..) => render_digest(&digest_info(header, name, root), &mut to)?,
        (InfoFormat::Json, ..) => {
            let times = times(header.part.length());
            report::write(&DigestInfo { times, ..digest_info(header, name, root) }, &mut to)?;
        }
    }
    to.flush().context("standard output")
}

fn cant_write(args: &DigestArgs) -> impl Fn(io::Error) -> anyhow::Error + use<> {
    let name = args.output.as_deref().map_or_else(String::new, |output| format!("-o {}", MemberName::from(output)));
    move |error| {
        anyhow::Error::new(error)
            .context(format!("{name}: can't be written\nhint: nothing of it is kept; make room or choose another place"))
    }
}

/// The I-th of N equal parts in whole chunks.
fn shard(geometry: &Geometry, shard: Option<(u64, u64)>) -> ByteRange {
    let Some((which, of)) = shard else { return ByteRange::new(0, geometry.size) };
    let edge = |which: u64| (u128::from(geometry.chunks()) * u128::from(which) / u128::from(of)) as u64;
    ByteRange::new(geometry.range(edge(which)).start, geometry.range(edge(which + 1)).start)
}

/// The options that decide what is hashed, as one line.
fn options(question: &Question, size: u64) -> String {
    let mut words = Vec::new();
    words.extend(question.size.map(|_| format!("size {size}")));
    words.extend(question.trust.map(|member| format!("trust #{member}")));
    words.extend((question.fillers.given() > 0).then(|| format!("{} fillers", question.fillers.given())));
    words.extend(question.skipped.iter().map(|part| format!("without {:#x}:{}", part.start, part.length())));
    words.join(", ")
}

/// Seconds and nanoseconds since 1970.
fn since_1970(time: SystemTime) -> (i64, u32) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

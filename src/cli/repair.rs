//! `quorum-img repair`: write a repaired image, or rewrite members in place.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgGroup, Args, ValueEnum};

use super::{
    args::{LockArgs, MemberArgs, ShowArgs, VoteArgs, find_member, parse_pick, parse_size},
    complain,
    in_place::InPlaceArgs,
    next,
    open::{Access, open_voters},
    present::Presenter,
    progress::Control,
    texts,
};
use crate::{
    member::{Member, MemberName, escaped, qcow2::Compression},
    repair::{Earlier, Forced, Qcow2Compat, Qcow2Options, Repair, Target, Wish, admit},
    report::{Look, ReadPattern},
    scan::{Poll, Question, QuestionError, sizes},
    sys::storage::place_of,
    vote::{ByteRange, Fill},
};

/// Write a repaired image, or rewrite the minority copies in place
///
/// With `-o`: votes on every sector and writes the winning bytes to a new image, which appears under its name only when it is
/// complete, synced and read back. No member is written to. Where all members hold zeros the output has holes; on a file system that
/// can clone, the best member is cloned and only what differs is written.
///
/// With `--in-place`: locks all members, votes on every sector, makes a plan and judges it before the first write. Then each member's
/// dissenting sectors get the winning bytes, after what they replace is safe in a journal; all is synced and read back. Killed at any
/// moment, the same command completes the repair, and `quorum-img undo` takes it back. Sectors without a winner are left alone.
#[derive(Args, Debug)]
#[command(after_long_help = texts::REPAIR, group(ArgGroup::new("goal").required(true).args(["output-file", "in_place"])))]
pub(super) struct RepairArgs {
    #[command(flatten)]
    pub members: MemberArgs,

    /// The image to write
    #[arg(id = "output-file", short = 'o', value_name = "FILE", help_heading = "The output")]
    output_file: Option<PathBuf>,

    /// The format of the new image
    #[arg(short = 'O', long, value_enum, value_name = "FORMAT", default_value_t = TargetFormat::Raw, conflicts_with = "in_place", help_heading = "The output")]
    target_format: TargetFormat,

    /// Compress the clusters of the new qcow2 image
    #[arg(short, long, conflicts_with = "in_place", help_heading = "The output")]
    compress: bool,

    /// Options of the new qcow2 image, as qemu-img names them: `cluster_size`, `compat`, `compression_type`
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',', conflicts_with = "in_place", help_heading = "The output")]
    output_options: Vec<String>,

    #[command(flatten)]
    pub in_place: InPlaceArgs,

    /// What to write where nobody won
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Undecided::Fail, conflicts_with = "in_place", help_heading = "The output")]
    undecided: Undecided,

    /// That member (a name as given, or `#N`) is right in that range; may be repeated
    #[arg(long, value_name = "OFFSET:LENGTH=MEMBER", value_parser = parse_pick, help_heading = "The vote")]
    pub pick: Vec<(ByteRange, OsString)>,

    /// Vote again only on what the report of an earlier check lists
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["range", "size", "trust"], help_heading = "The vote")]
    pub from: Option<PathBuf>,

    /// The output appears only if its guest-visible bytes have this digest
    #[arg(long, value_name = "HEX", value_parser = parse_sha256, conflicts_with = "in_place", help_heading = "The output")]
    expect_sha256: Option<String>,

    /// Zeros of this length become holes; 0: none
    #[arg(short = 'S', long, value_name = "SIZE", default_value = "4k", value_parser = parse_sparse, conflicts_with = "in_place", help_heading = "The output")]
    sparse_size: u64,

    /// Whether the best member is cloned where the file system can
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Reflink::Auto, conflicts_with = "in_place", help_heading = "The output")]
    reflink: Reflink,

    /// Don't read back what was written
    #[arg(long, conflicts_with = "in_place", help_heading = "The output")]
    no_verify: bool,

    /// Override a refusal by its name, as the refusal's message says
    #[arg(long, value_enum, value_name = "WORD", value_delimiter = ',', help_heading = "Safety")]
    pub force: Vec<Word>,

    #[command(flatten)]
    pub locks: LockArgs,
    #[command(flatten)]
    pub vote: VoteArgs,
    #[command(flatten)]
    pub show: ShowArgs,
}

/// What to write where nobody won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Undecided {
    /// No output then
    Fail,
    /// The lowest-numbered member's data
    First,
    /// Zeros
    Zero,
    /// A text that says so, with the offset
    Marker,
    /// A vote on each byte; no output where that has no winner
    Bytes,
}

/// The format of the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TargetFormat {
    /// Byte for byte
    Raw,
    /// QEMU's copy-on-write format
    Qcow2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reflink {
    /// Where it works
    Auto,
    /// Write every byte anew
    Never,
}

/// Refusals that can be overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Word {
    /// Replace an existing output
    Overwrite,
    /// Write to a block device
    Device,
    /// Let a threshold below the majority decide
    Minority,
    /// Try it although the free space seems too small
    Space,
    /// Use a report although a member was modified since
    Changed,
    /// Rewrite a qcow2 member although its persistent bitmaps become stale; qemu-img check -r leaks frees what they leave
    Bitmaps,
    /// Rewrite a member that differs so much that it may be stale
    Stale,
    /// Rewrite a member that is newer than those that outvote it
    Newer,
    /// Let members decide that share storage
    Shared,
    /// Rewrite members on a file system without locks
    NoLocks,
}

impl RepairArgs {
    /// Whether the user overrides that refusal.
    pub(super) fn forces(&self, word: Word) -> bool {
        self.force.contains(&word)
    }

    /// The overridden refusals.
    pub(super) fn forced(&self) -> Forced {
        Forced {
            overwrite: self.forces(Word::Overwrite),
            device: self.forces(Word::Device),
            minority: self.forces(Word::Minority),
            space: self.forces(Word::Space),
            changed: self.forces(Word::Changed),
            bitmaps: self.forces(Word::Bitmaps),
            stale: self.forces(Word::Stale),
            newer: self.forces(Word::Newer),
            shared: self.forces(Word::Shared),
        }
    }

    /// The qcow2 image that is wanted, if one is.
    fn qcow2_options(&self) -> Result<Option<Qcow2Options>> {
        if self.target_format == TargetFormat::Raw {
            let hint = "hint: -O qcow2 makes a qcow2 image";
            ensure!(!self.compress, "-c: a raw image can't be compressed\n{hint}");
            ensure!(self.output_options.is_empty(), "--output-options: a raw image has none\n{hint}");
            return Ok(None);
        }
        let mut options = Qcow2Options { compressed: self.compress, ..Qcow2Options::default() };
        for option in &self.output_options {
            set_option(&mut options, option).map_err(|why| {
                let hint = "cluster_size, compat and compression_type can be set, for instance cluster_size=64k";
                anyhow!("--output-options {}: {why}\nhint: {hint}", escaped(option))
            })?;
        }
        Ok(Some(options))
    }

    /// The question that the options ask.
    pub(super) fn question(&self, members: &[&dyn Member]) -> Result<Question> {
        let mut question = Question { rereads: self.locks.rereads(), ..self.vote.question(members)? };
        for (range, name) in &self.pick {
            question.picks.push((*range, find_member(name, members).context("--pick")?));
        }
        if question.read_pattern == ReadPattern::Fifo {
            ensure!(question.picks.is_empty(), QuestionError::Fifo("--pick"));
            ensure!(self.from.is_none(), QuestionError::Fifo("--from"));
            ensure!(question.range.is_none(), QuestionError::Fifo("--range"));
            ensure!(!self.in_place.in_place, QuestionError::Fifo("--in-place"));
        }
        Ok(question)
    }
}

pub(super) fn run(args: &RepairArgs) -> Result<u8> {
    match &args.output_file {
        Some(output) => write_image(args, output),
        None => super::in_place::run(args),
    }
}

fn write_image(args: &RepairArgs, output_file: &Path) -> Result<u8> {
    let opened = open_voters(&args.members, &Access::Read(&args.locks))?;
    let members = opened.listed();
    let question = args.question(&members)?;
    let poll = Poll::new(&sizes(&members), &question)?;
    let forced = args.forced();
    admit(&members, &question, &poll, forced)?;
    let target = Target::settle(output_file, poll.size, &members, forced)?;
    let qcow2 = args.qcow2_options()?;
    if let (Some(_), Target::Device(_)) = (qcow2, &target) {
        bail!("{}: a block device takes a raw image\nhint: leave -O qcow2 out, or name a file", MemberName::from(output_file));
    }
    let earlier = args.from.as_deref().map(|path| Earlier::read(path, &members, &poll)).transpose()?;
    earlier.iter().try_for_each(|earlier| earlier.refuse_stale(forced.changed))?;
    let wish = Wish {
        output: output_file,
        target,
        fill: match args.undecided {
            Undecided::Fail => Fill::Fail,
            Undecided::First => Fill::First,
            Undecided::Zero => Fill::Zero,
            Undecided::Marker => Fill::Marker,
            Undecided::Bytes => Fill::Bytes,
        },
        sparse_bytes: args.sparse_size,
        qcow2,
        reflink: args.reflink == Reflink::Auto && args.sparse_size != 0,
        verify: !args.no_verify,
        expected_sha256: args.expect_sha256.clone(),
        earlier,
        forced,
        divergences_max: args.show.max_divergences as usize,
    };
    if let Some(report) = &args.show.report {
        ensure!(
            !same_place(report, output_file),
            "--report {} names the output itself\nhint: choose another name for one of them",
            MemberName::from(report.as_path())
        );
    }
    let presenter = Mutex::new(Presenter::new(&args.show, &members)?);
    let mut control = Control::new(&args.show.progress)?;
    let warnings = opened.warnings.iter().chain(&poll.warnings).cloned().collect();
    let phases = |what, bytes| control.begin(what, bytes);
    let before = |warnings: &[String]| control.aside(|| presenter.lock().expect("no panics").warn_ahead(warnings));
    let repair = Repair { members: &members, question: &question, poll, wish: &wish, watch: &control, phases: &phases, before: &before };
    let report = repair.run(warnings, &mut |run, findings| presenter.lock().expect("no panics").divergence(run, findings));
    control.end();
    let mut report = report?;
    opened.mark_guesses(&mut report);
    if report.exit_code == 2
        && let Some(repair) = report.repair.as_ref().filter(|repair| !repair.written)
    {
        let what = format!("{}: not made, since {} sectors have no winner", repair.output, repair.unfilled_sectors);
        complain(&format!("{what}\nhint: --pick says who is right in a range, --undecided what to write there"));
    }
    let look = Look { next: next::after_repair(&report, &args.members, &args.vote), or: None };
    presenter.into_inner().expect("no panics").finish(report, &look)
}

/// Whether two names mean the same place in the same folder.
pub(super) fn same_place(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let path = if path.is_symlink() { fs::canonicalize(path).ok()? } else { path.to_owned() };
        let (folder, name) = place_of(&path)?;
        Some((fs::canonicalize(folder).ok()?, name.to_owned()))
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// One of qemu-img's creation options.
fn set_option(options: &mut Qcow2Options, option: &str) -> Result<()> {
    let (name, value) = option.split_once('=').context("NAME=VALUE is wanted")?;
    match (name, value) {
        ("cluster_size", size) => {
            let size = parse_size(size)?;
            ensure!(size.is_power_of_two() && (512..=2 << 20).contains(&size), "a power of two from 512 to 2M is wanted");
            options.cluster_bits = size.ilog2();
        }
        ("compat", "0.10" | "v2") => options.compat = Qcow2Compat::V2,
        ("compat", "1.1" | "v3") => options.compat = Qcow2Compat::V3,
        ("compression_type", "zlib") => options.compression = Compression::Zlib,
        ("compression_type", "zstd") => options.compression = Compression::Zstd,
        ("compat", _) => bail!("0.10 (or v2) or 1.1 (or v3) is wanted"),
        ("compression_type", _) => bail!("zlib or zstd is wanted"),
        _ => bail!("there is no such option"),
    }
    Ok(())
}

fn parse_sha256(text: &str) -> Result<String> {
    ensure!(
        text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "64 hexadecimal digits are wanted, as sha256sum prints them"
    );
    Ok(text.to_ascii_lowercase())
}

/// Blocks of zeros are looked for at multiples of 512, within chunks.
fn parse_sparse(text: &str) -> Result<u64> {
    let size = parse_size(text)?;
    ensure!(size.is_multiple_of(512) && size <= 64 << 10, "a multiple of 512 up to 64k is wanted, or 0");
    Ok(size)
}

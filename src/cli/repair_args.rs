//! The options of `quorum-img repair`, and what they mean.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgGroup, Args, ValueEnum};

use super::{
    args::{LockArgs, MemberArgs, VoteArgs, find_member},
    parse::{parse_percent, parse_pick, parse_size},
    show_args::ShowArgs,
    texts,
    unfinished::Asked,
};
use crate::{
    digest::{Sum, SumKind},
    electorate::Given,
    member::{Member, escaped, qcow2::Compression},
    repair::{Forced, Guard, Qcow2Compat, Qcow2Options, journal_beside},
    report::ReadPattern,
    scan::{Question, QuestionError},
    vote::ByteRange,
};

/// What only a repair in place needs to know.
#[derive(Args, Debug)]
#[command(next_help_heading = "In place")]
pub(super) struct InPlaceArgs {
    /// Rewrite the members themselves where they are outvoted
    #[arg(long)]
    pub in_place: bool,

    /// Show the plan and write nothing
    #[arg(long, conflicts_with = "output-file")]
    pub dry_run: bool,

    /// How much of its content a member may lose and still be rewritten, rather than taken for stale or of another disk
    #[arg(long, value_name = "PERCENT", default_value = "10", conflicts_with = "output-file", value_parser = parse_percent)]
    pub max_damage: f64,

    /// That member (a name as given, or `#N`) votes, but isn't rewritten; may be repeated
    #[arg(long, value_name = "MEMBER", conflicts_with = "output-file")]
    pub no_write: Vec<OsString>,

    /// Cut raw members that are longer than the voted size; what is cut is journalled. Images, devices and exports keep theirs
    #[arg(long, conflicts_with_all = ["output-file", "range"])]
    pub truncate: bool,

    /// Where what is overwritten is kept [default: beside the first member, its name and `.quorum-journal`]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output-file", "no_journal"])]
    pub journal: Option<PathBuf>,

    /// Keep nothing of what is overwritten: no undo, and a repair that was cut off can only be run again
    #[arg(long, conflicts_with = "output-file")]
    pub no_journal: bool,

    /// Ask nothing before the first write
    #[arg(short, long, conflicts_with = "output-file")]
    pub yes: bool,
}

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
    pub output_file: Option<PathBuf>,

    /// The format of the new image
    #[arg(short = 'O', long, value_enum, value_name = "FORMAT", default_value_t = TargetFormat::Raw, conflicts_with = "in_place", help_heading = "The output")]
    pub target_format: TargetFormat,

    /// Compress the clusters of the new qcow2 image
    #[arg(short, long, conflicts_with = "in_place", help_heading = "The output")]
    pub compress: bool,

    /// Options of the new qcow2 image, as qemu-img names them: `cluster_size`, `compat`, `compression_type`
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',', conflicts_with = "in_place", help_heading = "The output")]
    pub output_options: Vec<String>,

    #[command(flatten)]
    pub in_place: InPlaceArgs,

    /// What to write where nobody won
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Undecided::Fail, conflicts_with = "in_place", help_heading = "The output")]
    pub undecided: Undecided,

    /// That member (a name as given, or `#N`) is right in that range; may be repeated
    #[arg(long, value_name = "OFFSET:LENGTH=MEMBER", value_parser = parse_pick, help_heading = "The vote")]
    pub pick: Vec<(ByteRange, OsString)>,

    /// Vote again only on what the report of an earlier check lists
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["range", "size", "trust"], help_heading = "The vote")]
    pub from: Option<PathBuf>,

    /// The output appears only if its guest-visible bytes have this digest
    #[arg(long, value_name = "HEX", value_parser = parse_sha256, conflicts_with = "in_place", help_heading = "The output")]
    pub expect_sha256: Option<String>,

    /// The same by BLAKE3, as `b3sum` or `digest --root` prints it
    #[arg(long, value_name = "HEX", value_parser = parse_sha256, conflicts_with_all = ["in_place", "expect_sha256"], help_heading = "The output")]
    pub expect_b3sum: Option<String>,

    /// Zeros of this length become holes; 0: none
    #[arg(short = 'S', long, value_name = "SIZE", default_value = "4k", value_parser = parse_sparse, conflicts_with = "in_place", help_heading = "The output")]
    pub sparse_size: u64,

    /// Whether the best member is cloned where the file system can
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Reflink::Auto, conflicts_with = "in_place", help_heading = "The output")]
    pub reflink: Reflink,

    /// Don't read back what was written
    #[arg(long, conflicts_with = "in_place", help_heading = "The output")]
    pub no_verify: bool,

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

impl RepairArgs {
    /// The sum that the output must have.
    pub(super) fn expected_sum(&self) -> Option<Sum> {
        let of = |kind, hex: &Option<String>| hex.clone().map(|hex| Sum { kind, hex });
        of(SumKind::Sha256, &self.expect_sha256).or_else(|| of(SumKind::Blake3, &self.expect_b3sum))
    }

    /// What was asked for, should it come to nothing.
    pub(super) fn asked(&self) -> Asked<'_> {
        let mut others: Vec<PathBuf> = [&self.output_file, &self.from, &self.in_place.journal].into_iter().flatten().cloned().collect();
        others.extend(self.vote.mapfile.iter().map(|(_, file)| file.clone()));
        // A journal of its own lies beside the first member that isn't missing.
        others.extend(self.members.members.iter().filter_map(|member| journal_beside(Given::of(member).path()?).ok()));
        let Self { members, show, .. } = self;
        let (report, quiet) = (show.report.as_deref(), show.progress.is_quiet());
        Asked { command: "repair", members: &members.members, format: show.format, quiet, report, others }
    }
}

/// What to write where nobody won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Undecided {
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
pub(super) enum TargetFormat {
    /// Byte for byte
    Raw,
    /// QEMU's copy-on-write format
    Qcow2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Reflink {
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
    /// Let copies outvote one that is newer than they are
    Newer,
    /// Let zeros outvote content
    Zeros,
    /// Let copies without content outvote one that has some
    Empty,
    /// Cut off content behind the voted end
    Cuts,
    /// Rewrite a member that seems to be a copy of another disk
    Stranger,
    /// Make the RAID superblocks of an array's legs alike
    DeviceMetadata,
    /// Let members decide that share storage
    Shared,
    /// Go by a digest that may know only what stood there before
    OldWitness,
    /// Rewrite members on a file system without locks
    NoLocks,
}

impl Word {
    /// The guard that it overrides.
    fn guard(self) -> Guard {
        match self {
            Self::Overwrite => Guard::Overwrite,
            Self::Device => Guard::Device,
            Self::Minority => Guard::Minority,
            Self::Space => Guard::Space,
            Self::Changed => Guard::Changed,
            Self::Bitmaps => Guard::Bitmaps,
            Self::Stale => Guard::Stale,
            Self::Newer => Guard::Newer,
            Self::Zeros => Guard::Zeros,
            Self::Empty => Guard::Empty,
            Self::Cuts => Guard::Cuts,
            Self::Stranger => Guard::Stranger,
            Self::DeviceMetadata => Guard::DeviceMetadata,
            Self::Shared => Guard::Shared,
            Self::OldWitness => Guard::OldWitness,
            Self::NoLocks => Guard::NoLocks,
        }
    }
}

impl RepairArgs {
    /// Whether the user overrides that refusal.
    pub(super) fn forces(&self, word: Word) -> bool {
        self.force.contains(&word)
    }

    /// The overridden refusals.
    pub(super) fn forced(&self) -> Forced {
        Forced::of(self.force.iter().map(|word| word.guard()))
    }

    /// The qcow2 image that is wanted, if one is.
    pub(super) fn qcow2_options(&self) -> Result<Option<Qcow2Options>> {
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
        let question = Question { rereads: self.locks.rereads(), ..self.vote.question(members)? };
        let mut question = self.members.hearing(members, question, self.in_place.journal.as_slice())?;
        let outputs = [self.output_file.as_deref(), self.show.report.as_deref(), self.in_place.journal.as_deref()];
        question.donors = self.vote.donors(&self.members, members, &question, outputs)?;
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
        "64 hexadecimal digits are wanted, as sha256sum and b3sum print them"
    );
    Ok(text.to_ascii_lowercase())
}

/// Blocks of zeros are looked for at multiples of 512, within chunks.
fn parse_sparse(text: &str) -> Result<u64> {
    let size = parse_size(text)?;
    ensure!(size.is_multiple_of(512) && size <= 64 << 10, "a multiple of 512 up to 64k is wanted, or 0");
    Ok(size)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::Word;
    use crate::repair::judge::TABLE;

    /// A refusal names its word; what it names must be there to be said.
    #[test]
    fn every_word_of_the_guards_can_be_said() {
        for row in TABLE {
            let said = Word::value_variants().iter().find(|word| word.guard() == row.guard);
            let said = said.and_then(|word| Some(word.to_possible_value()?.get_name().to_owned()));
            assert_eq!(said.as_deref(), row.word, "{:?}", row.guard);
        }
    }
}

//! Options that commands share, and how sizes, ranges and members are written.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};

use super::signals::stop_flag;
use crate::{
    electorate::{self, Locks, Roll},
    member::{self, Cache, Member, qcow2},
    report::ReadPattern,
    scan::{Question, THREADS_MAX},
    vote::{ByteRange, Fillers},
};

/// Divergences that fit the memory's bound.
const DIVERGENCES_MAX: u64 = 250_000;

/// How members are opened and read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Members")]
pub(super) struct MemberArgs {
    /// The copies: image files or block devices; from 2 to 64 can vote
    ///
    /// They are numbered from 0 in the order given. `raw:PATH` and `qcow2:PATH` say what PATH is, whatever its first bytes look like;
    /// `./` escapes a file that is really called so.
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<OsString>,

    /// Format of all members
    #[arg(short, long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,

    /// Open the files that qcow2 images name: backing files and external data files
    ///
    /// `own`: those in the image's own folder and below, whatever links say. `any`: all of them. Never for an image whose format was
    /// only guessed.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "own")]
    pub allow_references: Option<Allowed>,

    /// Members are given as QEMU's options, `driver=qcow2,file.filename=a.qcow2`; a quorum's are its members and its threshold
    ///
    /// `json:{...}` is understood without it.
    #[arg(long)]
    pub image_opts: bool,

    /// The internal snapshot of each qcow2 member, by name or number, instead of its active state
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<OsString>,

    /// How members are read: `none` reads the medium itself, past this machine's page cache
    #[arg(short = 'T', long, value_enum, default_value_t = CacheMode::Writeback, value_name = "MODE")]
    pub cache: CacheMode,
}

/// Whether others are kept from writing meanwhile.
#[derive(Args, Debug)]
#[command(next_help_heading = "Members")]
pub(super) struct LockArgs {
    /// Take no locks: read members that another program writes to
    ///
    /// Without it, members are locked as QEMU locks images (its image locking), and one that a guest writes to is refused with exit
    /// code 4. On a running guest, copies that are written one after the other differ for moments: what differs is read again a few
    /// times, and only what persists is reported; a member that was written to meanwhile makes the exit code 3.
    #[arg(short = 'U', long)]
    pub force_share: bool,
}

/// Readings of what differs where nobody is kept from writing; guests' writes reach all copies within a fraction of a second.
const REREADS: u32 = 3;

impl LockArgs {
    /// The same as the electorate takes it.
    pub(super) fn locks(&self) -> Locks {
        if self.force_share { Locks::None } else { Locks::Taken }
    }

    /// How often what differs is read again.
    pub(super) fn rereads(&self) -> u32 {
        if self.force_share { REREADS } else { 0 }
    }
}

impl MemberArgs {
    /// Whom they name, and how they are to be opened.
    pub(super) fn roll(&self) -> Roll<'_> {
        Roll {
            format: match self.format {
                Format::Auto => None,
                Format::Raw => Some(electorate::Format::Raw),
                Format::Qcow2 => Some(electorate::Format::Qcow2),
            },
            cache: self.cache.cache(),
            references: self.references(),
            snapshot: self.snapshot.as_deref(),
            stop: &stop_flag,
            ..Roll::of(&self.members)
        }
    }

    /// Takes descriptions among the members apart; a quorum becomes its members, with its threshold and read pattern.
    pub(super) fn expand(&mut self, vote: Option<&mut VoteArgs>) -> Result<()> {
        let expanded = electorate::expand(&self.members, self.image_opts, vote.is_some())?;
        self.members = expanded.names;
        if let (Some(quorum), Some(vote)) = (expanded.quorum, vote) {
            vote.threshold = vote.threshold.or(quorum.threshold);
            if quorum.fifo {
                vote.read_pattern = Pattern::Fifo;
            }
        }
        Ok(())
    }

    /// The files that images may name.
    fn references(&self) -> qcow2::References {
        match self.allow_references {
            None => qcow2::References::Refused,
            Some(Allowed::Own) => qcow2::References::Own,
            Some(Allowed::Any) => qcow2::References::Any,
        }
    }
}

/// The format of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// By the first bytes; the report says so, and nothing is written by a guess
    Auto,
    /// Byte for byte, whatever the first bytes look like
    Raw,
    /// What a guest sees of a qcow2 image
    Qcow2,
}

/// Files that images may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Allowed {
    /// In the image's own folder and below
    Own,
    /// Everywhere
    Any,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CacheMode {
    /// Through the page cache
    Writeback,
    /// Direct I/O
    None,
}

impl CacheMode {
    pub(super) fn cache(self) -> Cache {
        match self {
            Self::Writeback => Cache::Writeback,
            Self::None => Cache::None,
        }
    }
}

/// How the vote is held.
#[derive(Args, Debug)]
#[command(next_help_heading = "The vote")]
pub(super) struct VoteArgs {
    /// Least ballots that a version needs [default: a majority of the members]
    #[arg(long, value_name = "N")]
    pub threshold: Option<usize>,

    /// Unit of the vote in bytes: a power of two from 512 to 65536
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = parse_size)]
    pub sector_size: u64,

    /// Virtual size in bytes, where the vote on it has no winner or you know better
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,

    /// Only this part, widened to whole sectors
    #[arg(long, value_name = "OFFSET:LENGTH", value_parser = parse_range)]
    pub range: Option<ByteRange>,

    /// `fifo` reads a member only where all before it could not be read, and compares nothing
    #[arg(long, value_enum, value_name = "PATTERN", default_value_t = Pattern::Quorum)]
    pub read_pattern: Pattern,

    /// No vote: this member is right, its size too (a name as given, or `#N`)
    #[arg(long, value_name = "MEMBER")]
    pub trust: Option<OsString>,

    /// Threads [default: as many as cores]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX as u64))]
    pub threads: Option<u64>,
}

/// QEMU's read patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pattern {
    /// All members vote
    Quorum,
    /// The first that can be read
    Fifo,
}

/// What is shown, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct ShowArgs {
    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Human)]
    pub format: OutputFormat,

    /// Divergences that are listed (totals stay exact)
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=DIVERGENCES_MAX))]
    pub max_divergences: u64,

    /// Write the JSON report, with every divergence, to a file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What is shown while it runs, and how fast it runs.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct ProgressArgs {
    /// Show progress, also where standard error is no terminal
    #[arg(short, long)]
    pub progress: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Bytes a second, reads and writes of all members together; 0: no limit
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size)]
    pub rate_limit: Option<u64>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    Human,
    /// One JSON document
    Json,
    /// One JSON object a line, as QMP's events
    Events,
}

impl VoteArgs {
    /// The question they ask of these members.
    pub(super) fn question(&self, members: &[&dyn Member]) -> Result<Question> {
        let default = Question::default();
        Ok(Question {
            sector: u32::try_from(self.sector_size).context("--sector-size is a power of two from 512 to 65536")?,
            threshold: self.threshold,
            size: self.size,
            range: self.range,
            read_pattern: match self.read_pattern {
                Pattern::Quorum => ReadPattern::Quorum,
                Pattern::Fifo => ReadPattern::Fifo,
            },
            trust: self.trust.as_ref().map(|name| find_member(name, members)).transpose().context("--trust")?,
            picks: Vec::new(),
            fillers: Fillers::default(),
            rereads: 0,
            threads: self.threads.map_or(default.threads, |threads| threads as usize),
        })
    }
}

/// The number of the member that is called so, or that `#N` names.
pub(super) fn find_member(name: &OsString, members: &[&dyn Member]) -> Result<usize> {
    let names: Vec<OsString> = members.iter().map(|member| member.name().as_os_str().to_owned()).collect();
    find_given(name, &names)
}

/// The same among the names as given.
pub(super) fn find_given(name: &OsString, names: &[OsString]) -> Result<usize> {
    if let Some(number) = name.to_str().and_then(|text| text.strip_prefix('#')) {
        let number: usize =
            number.parse().map_err(|_| anyhow!("#{number} is no member's number\nhint: they are numbered from #0 in the order given"))?;
        ensure!(
            number < names.len(),
            "there is no member #{number}\nhint: they are numbered from #0 to #{} in the order given",
            names.len() - 1
        );
        return Ok(number);
    }
    let shown = member::escaped(&name.to_string_lossy());
    names.iter().position(|given| given == name).ok_or_else(|| {
        anyhow!("{shown} is none of the members\nhint: name it as in the list of members, or by its number, #0 being the first")
    })
}

/// A number of bytes as qemu-img takes it: decimal with an optional suffix (powers of 1024), or hexadecimal.
pub(super) fn parse_size(text: &str) -> Result<u64> {
    let wrong = || anyhow!("a number of bytes like 4096, 0x1000, 64k, 1.5G or 2T is wanted");
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).map_err(|_| wrong());
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "b" | "B" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 18 || (digits.contains('.') && shift == 0) {
        return Err(wrong());
    }
    let too_large = || anyhow!("more bytes than 64 bits can count");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let whole = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    let fraction = match fraction {
        "" => 0,
        digits => ((digits.parse::<u128>().map_err(|_| wrong())? << shift) / 10u128.pow(digits.len() as u32)) as u64,
    };
    whole.checked_add(fraction).ok_or_else(too_large)
}

/// `OFFSET:LENGTH`, both as sizes.
pub(super) fn parse_range(text: &str) -> Result<ByteRange> {
    let (offset, length) = text.split_once(':').context("OFFSET:LENGTH is wanted, for instance 0x100000:64k")?;
    // In one line: clap shows no causes.
    let part = |name: &str, text: &str| parse_size(text).map_err(|error| anyhow!("{name}: {error}"));
    let (offset, length) = (part("OFFSET", offset)?, part("LENGTH", length)?);
    ByteRange::at(offset, length).context("the range ends beyond what 64 bits can count")
}

/// A percentage, with its sign or without.
pub(super) fn parse_percent(text: &str) -> Result<f64> {
    let percent: f64 = text.trim_end_matches('%').parse().context("a number from 0 to 100 is wanted")?;
    ensure!((0.0..=100.0).contains(&percent), "a number from 0 to 100 is wanted");
    Ok(percent)
}

/// `OFFSET:LENGTH=MEMBER`.
pub(super) fn parse_pick(text: &str) -> Result<(ByteRange, OsString)> {
    let Some((range, member)) = text.split_once('=') else {
        bail!("OFFSET:LENGTH=MEMBER is wanted, for instance 0x1b400:512=#1");
    };
    Ok((parse_range(range)?, member.into()))
}

#[cfg(test)]
mod tests {
    use super::{parse_range, parse_size};
    use crate::vote::ByteRange;

    #[test]
    fn sizes_are_read_as_qemu_img_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("0x1000", 4096),
            ("64k", 65536),
            ("64K", 65536),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
            ("18446744073709551615", u64::MAX),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse_size(text).ok(), Some(bytes), "{text}");
        }
        for text in ["", "k", "-1", "+1", "1.5", "1,5G", "1x", "1 k", "16E", "18446744073709551616", "0x", "1.G.2", "1kk", "é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_stay_within_64_bits() {
        assert_eq!(parse_range("1k:0x200").ok(), Some(ByteRange::new(1024, 1536)));
        for text in ["", "5", "1:", ":1", "1:2:3", "18446744073709551615:1"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }
}

//! Options that commands share, and how sizes, ranges and members are written.

use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use super::{
    parse::{parse_duration, parse_filler, parse_mapfile, parse_range, parse_size},
    signals::stop_flag,
};
use crate::{
    electorate::{self, Locks, Roll},
    evidence::{Evidence, unrescued},
    member::{self, Cache, Member, MemberName, qcow2},
    report::ReadPattern,
    scan::{Poll, Question, THREADS_MAX, sizes},
    vote::{ByteRange, Fillers, MEMBERS_MIN, Pattern},
};

/// How members are opened and read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Members")]
pub(super) struct MemberArgs {
    /// The copies: image files or block devices; from 2 to 64 can vote
    ///
    /// They are numbered from 0 in the order given. `raw:PATH` and `qcow2:PATH` say what PATH is, whatever its first bytes look like;
    /// `./` escapes a file that is really called so. A digest among them (`digest:PATH`, or a file that begins as one) is a witness: it has a
    /// ballot and no number, and beside one a single copy will do.
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<OsString>,

    /// Digests among them, which are heard beside the members.
    #[arg(skip)]
    pub witnesses: Vec<OsString>,

    /// Whether they are a set's.
    #[arg(skip)]
    pub of_set: bool,

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

    /// A member that can't be opened counts as failed, and the others decide
    ///
    /// Without it, it is an error: a typing error never becomes a vote.
    #[arg(long)]
    pub missing_ok: bool,

    /// A member whose server doesn't answer for so long has failed, and the others decide: 90s, 5m, 1h
    ///
    /// Without it a server is waited for as long as it takes; after 30 seconds standard error says so. Advisable wherever nobody looks on, for
    /// files on NFS hard mounts above all.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// The internal snapshot of each qcow2 member, by name or number, instead of its active state
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<OsString>,

    /// How members are read: `none` reads past this machine's page cache, from the medium or from the server that holds the file
    #[arg(short = 'T', long, value_enum, default_value_t = CacheMode::Writeback, value_name = "MODE")]
    pub cache: CacheMode,
}

/// Whether others are kept from writing meanwhile.
#[derive(Args, Clone, Debug)]
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
            missing_ok: self.missing_ok,
            of_set: self.of_set,
            members_min: if self.witnesses.is_empty() { MEMBERS_MIN } else { 1 },
            stop: &stop_flag,
            ..Roll::of(&self.members)
        }
    }

    /// The same where one member alone is enough.
    pub(super) fn roll_of_any(&self) -> Roll<'_> {
        Roll { members_min: 1, ..self.roll() }
    }

    /// Takes descriptions among the members apart; a quorum becomes its members, with its threshold and read pattern.
    pub(super) fn expand(&mut self, vote: Option<&mut VoteArgs>) -> Result<()> {
        let expanded = electorate::expand(&self.members, self.image_opts, vote.is_some())?;
        self.members = expanded.names;
        if let (Some(quorum), Some(vote)) = (expanded.quorum, vote) {
            vote.threshold = vote.threshold.or(quorum.threshold);
            if quorum.fifo {
                vote.read_pattern = ReadBy::Fifo;
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
    #[arg(long, value_enum, value_name = "PATTERN", default_value_t = ReadBy::Quorum)]
    pub read_pattern: ReadBy,

    /// No vote: this member is right, its size too (a name as given, or `#N`)
    #[arg(long, value_name = "MEMBER")]
    pub trust: Option<OsString>,

    /// A sector made of this says that nothing was read there, and has no ballot where another member holds something else: `0xf6`, a
    /// text, `zero`; may be repeated
    ///
    /// What `--undecided marker` writes is always taken for that.
    #[arg(long, value_name = "PATTERN", value_parser = parse_filler)]
    pub filler: Vec<Pattern>,

    /// GNU ddrescue's mapfile of a member (a name as given, or `#N`): what isn't rescued there has no ballot; may be repeated
    #[arg(long, value_name = "MEMBER=FILE", value_parser = parse_mapfile)]
    pub mapfile: Vec<(OsString, PathBuf)>,

    /// A source that never votes: where no version wins, or nobody can be read, its bytes are taken if a digest proves them; may be repeated
    #[arg(long, value_name = "SOURCE")]
    pub donor: Vec<OsString>,

    /// Leave out what differs between legs of an array by design: md superblocks and their lists of bad blocks
    #[arg(long)]
    pub skip_device_metadata: bool,

    /// Threads [default: as many as cores]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX as u64))]
    pub threads: Option<u64>,
}

/// QEMU's read patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReadBy {
    /// All members vote
    Quorum,
    /// The first that can be read
    Fifo,
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
                ReadBy::Quorum => ReadPattern::Quorum,
                ReadBy::Fifo => ReadPattern::Fifo,
            },
            trust: self.trust.as_ref().map(|name| find_member(name, members)).transpose().context("--trust")?,
            fillers: self.fillers(members)?,
            threads: self.threads.map_or(default.threads, |threads| threads as usize),
            ..default
        })
    }
}

impl VoteArgs {
    /// What is to be taken for a filler.
    fn fillers(&self, members: &[&dyn Member]) -> Result<Fillers> {
        let mut fillers = Fillers::default();
        fillers.patterns.extend(self.filler.iter().cloned());
        for (name, path) in &self.mapfile {
            let member = find_member(name, members).context("--mapfile")?;
            let shown = MemberName::from(path.as_path());
            let meta = fs::metadata(path)
                .with_context(|| format!("--mapfile {shown}: can't be read\nhint: name the file that ddrescue wrote for this copy"))?;
            ensure!(
                meta.is_file() && meta.len() <= MAPFILE_BYTES_MAX,
                "--mapfile {shown}: this is no mapfile\nhint: name the one that ddrescue wrote"
            );
            let text = fs::read_to_string(path)
                .with_context(|| format!("--mapfile {shown}: can't be read\nhint: name the file that ddrescue wrote for this copy"))?;
            let unread = unrescued(&text, members[member].size())
                .map_err(|error| anyhow!("--mapfile {shown}: {error}\nhint: name the mapfile that GNU ddrescue wrote for this copy"))?;
            fillers.unread.push((member, unread));
        }
        Ok(fillers)
    }

    /// The poll, with what is left out of it.
    pub(super) fn poll(&self, members: &[&dyn Member], question: &mut Question, evidence: &Evidence) -> Result<Poll> {
        let mut said = self.warnings();
        if self.skip_device_metadata {
            question.skipped = evidence.device_metadata();
            let parts = question.skipped.iter().map(|part| format!("{:#x}:{}", part.start, part.length())).collect::<Vec<_>>().join(", ");
            said.push(if parts.is_empty() {
                "--skip-device-metadata: no member is a leg of an array, so nothing is left out".to_owned()
            } else {
                format!("--skip-device-metadata: left out of the vote and of all writing: {parts}")
            });
        }
        let mut poll = Poll::new(&sizes(members), question)?;
        poll.warnings.extend(said);
        Ok(poll)
    }

    /// What is to be said of fillers.
    fn warnings(&self) -> Vec<String> {
        let zero = self.filler.iter().any(|pattern| matches!(pattern, Pattern::Repeated(bytes) if bytes.iter().all(|&byte| byte == 0)));
        let text = "zeros are taken for sectors that were never read: where one member holds data and all others zeros, nobody outvotes it";
        if zero { vec![text.to_owned()] } else { Vec::new() }
    }
}

/// The longest mapfile that is read, in bytes.
const MAPFILE_BYTES_MAX: u64 = 64 << 20;

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

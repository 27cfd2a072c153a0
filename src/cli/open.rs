//! Opening members: all of them, or an error.

use std::{ffi::OsString, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use anyhow::{Result, anyhow};

use super::{
    args::{LockArgs, MemberArgs},
    progress::stop_flag,
};
use crate::{
    member::{
        Cache, DependenceError, FailedMember, Format, FormatError, Given, LockForce, Member, MemberName, NbdMember, OpenError, RawMember,
        busy_device, check_independence, guess_format, lock_all_for_reading, lock_all_for_writing,
        qcow2::{Caches, HeaderError, Opening, Qcow2Error, Qcow2Member, References, read_header},
        refuse_journal, shared_storage,
    },
    report::Report,
    sys::device::Sysfs,
    vote::{MEMBERS_MAX, MEMBERS_MIN},
};

/// Memory for tables of qcow2 images, and for inflated clusters, of all members together.
const TABLE_BYTES_MAX: usize = 32 << 20;
const CLUSTER_BYTES_MAX: usize = 48 << 20;

/// The members, and what is to be said of them.
pub(super) struct Opened {
    pub members: Vec<Box<dyn Member>>,
    pub warnings: Vec<String>,
    /// Members that share storage, in words; they are among the warnings, too.
    pub dependent: Vec<String>,
    /// Whether a member's format was guessed.
    guessed: Vec<bool>,
}

/// What is going to be done to members.
pub(super) enum Access<'a> {
    /// They are looked at.
    Look(&'a LockArgs),
    /// They are read, and something is written by what they say.
    Read(&'a LockArgs),
    /// They are rewritten, except for those with these numbers.
    Rewrite(&'a [usize], LockForce),
}

impl Opened {
    /// As the engine takes them.
    pub(super) fn listed(&self) -> Vec<&dyn Member> {
        self.members.iter().map(AsRef::as_ref).collect()
    }

    /// Says in the report which formats were guessed.
    pub(super) fn mark_guesses(&self, report: &mut Report) {
        report.members.iter_mut().zip(&self.guessed).for_each(|(member, &guessed)| member.format_guessed = guessed);
    }
}

/// Opens the members of a vote.
pub(super) fn open_voters(args: &MemberArgs, access: &Access) -> Result<Opened> {
    Sources::open(args, access)?.into_members(args, access)
}

/// What members are made of: opened and locked, and nothing read yet.
pub(super) struct Sources {
    all: Vec<Source>,
    stated: Vec<Option<Format>>,
    warnings: Vec<String>,
}

impl Sources {
    /// Opens and locks what the names mean.
    pub(super) fn open(args: &MemberArgs, access: &Access) -> Result<Self> {
        let count = args.members.len();
        if count < MEMBERS_MIN {
            let few = if count == 0 { "no copy is named" } else { "one copy alone can't vote" };
            return Err(anyhow!("{few}\nhint: name at least {MEMBERS_MIN} members; quorum-img info looks at a single one"));
        }
        if count > MEMBERS_MAX {
            return Err(anyhow!("{count} members are given, and at most {MEMBERS_MAX} can vote\nhint: leave some of them out"));
        }
        let given: Vec<Given> = args.members.iter().map(|given| Given::of(given)).collect();
        refuse_same_address(&given)?;
        let mut warnings = Vec::new();
        let mut sources: Vec<Source> = Vec::new();
        for (index, (name, given)) in args.members.iter().zip(&given).enumerate() {
            let rewritten = matches!(access, Access::Rewrite(spared, _) if !spared.contains(&index));
            sources.push(match given {
                Given::Nbd(uri) => {
                    let export = open_export(args, name, uri, rewritten, &mut warnings)?;
                    refuse_same_export(&export, &sources)?;
                    Source::Export(export)
                }
                Given::Path { path, .. } => Source::File(open_file(args, name, path, rewritten, &mut warnings)?),
            });
        }
        {
            let own: Vec<&RawMember> = sources.iter().filter_map(Source::file).collect();
            check_independence(&own, &Sysfs::default())?;
            match access {
                Access::Look(locks) | Access::Read(locks) if locks.force_share => {
                    warnings.push("members are read without locks: what another program writes meanwhile looks like damage".into());
                }
                Access::Look(_) | Access::Read(_) => warnings.extend(lock_all_for_reading(&own)?),
                Access::Rewrite(_, force) => warnings.extend(lock_all_for_writing(&own, *force)?),
            }
        }
        let stated = given.iter().map(|given| args.stated(given)).collect();
        Ok(Self { all: sources, stated, warnings })
    }

    /// The files, each with the format that was stated for it.
    pub(super) fn files(&mut self) -> Vec<(Option<&mut RawMember>, Option<Format>)> {
        fn file(source: &mut Source) -> Option<&mut RawMember> {
            match source {
                Source::File(file) => Some(file),
                Source::Export(_) => None,
            }
        }
        self.all.iter_mut().map(file).zip(self.stated.iter().copied()).collect()
    }

    /// Reads what they are.
    pub(super) fn into_members(self, args: &MemberArgs, access: &Access) -> Result<Opened> {
        let Self { all: sources, stated, mut warnings } = self;
        let formats = settle_formats(&sources, &stated, !matches!(access, Access::Look(_)))?;
        warnings.extend(without_snapshot(args, &sources, &formats)?);
        let guessed = sources.iter().zip(&stated).map(|(source, stated)| source.file().is_some() && stated.is_none()).collect();
        let caches = Arc::new(Caches::new(TABLE_BYTES_MAX, CLUSTER_BYTES_MAX));
        let mut members: Vec<Box<dyn Member>> = Vec::new();
        for ((source, format), stated) in sources.into_iter().zip(formats).zip(&stated) {
            members.push(match source {
                Source::Export(export) => Box::new(export),
                Source::File(file) => open_as(args, file, format, (stated.is_none(), args.references()), &caches, &mut warnings)?,
            });
        }
        let mut opened = Opened { members, warnings, dependent: Vec::new(), guessed };
        opened.settle(access)?;
        Ok(opened)
    }
}

impl Opened {
    /// What can only be said once all is open.
    fn settle(&mut self, access: &Access) -> Result<()> {
        let members = self.listed();
        if let Access::Rewrite(..) = access {
            refuse_member_beneath(&members)?;
        }
        let beneath: Vec<&RawMember> = members.iter().flat_map(|member| member.files().into_iter().skip(1)).collect();
        let shares = matches!(access, Access::Look(locks) | Access::Read(locks) if locks.force_share);
        let locked = if shares { Vec::new() } else { lock_all_for_reading(&beneath)? };
        let dependent = shared_storage(&members, &Sysfs::default());
        let failed: Vec<String> = members.iter().filter_map(|member| Some(format!("\n{}: {}", member.name(), member.failure()?))).collect();
        if failed.len() == members.len() {
            return Err(anyhow!(
                "no member can be read as what it is{}\nhint: -f raw votes on the files themselves, byte for byte",
                failed.concat()
            ));
        }
        if members.iter().all(|member| member.size() == 0) {
            return Err(anyhow!(
                "all members {}are empty: there is nothing to vote on{}\nhint: is what holds the images mounted?",
                if failed.is_empty() { "" } else { "that can be read " },
                failed.concat()
            ));
        }
        self.warnings.extend(locked);
        self.warnings.extend(dependent.iter().cloned());
        self.dependent = dependent;
        Ok(())
    }
}

/// Opens one member for reading, and what it refers to only where that is wanted; says what to warn about, and whether its format was
/// guessed.
pub(super) fn open_member(args: &MemberArgs, name: &OsString) -> Result<(Box<dyn Member>, Vec<String>, bool)> {
    let (given, mut warnings) = (Given::of(name), Vec::new());
    let file = match &given {
        Given::Nbd(uri) => return Ok((Box::new(open_export(args, name, uri, false, &mut warnings)?), warnings, false)),
        Given::Path { path, .. } => open_file(args, name, path, false, &mut warnings)?,
    };
    let stated = args.stated(&given);
    let format = stated.unwrap_or_else(|| guess_format(&file));
    let caches = Arc::new(Caches::new(TABLE_BYTES_MAX, CLUSTER_BYTES_MAX));
    let references = if args.allow_references.is_some() { args.references() } else { References::Ignored };
    let member = open_as(args, file, format, (stated.is_none(), references), &caches, &mut warnings)?;
    Ok((member, warnings, stated.is_none()))
}

/// Members that `--snapshot` says nothing of, in words.
fn without_snapshot(args: &MemberArgs, sources: &[Source], formats: &[Format]) -> Result<Vec<String>> {
    let Some(snapshot) = &args.snapshot else { return Ok(Vec::new()) };
    if !formats.contains(&Format::Qcow2) {
        return Err(anyhow!(
            "--snapshot {}: none of the members is a qcow2 image\nhint: leave it out, or say -f qcow2 or qcow2:MEMBER of what is one",
            MemberName::new(snapshot)
        ));
    }
    let others = sources.iter().zip(formats).filter(|(_, format)| **format != Format::Qcow2);
    Ok(others.map(|(source, _)| format!("{}: --snapshot is for qcow2 members: this one votes as it stands", source.name())).collect())
}

/// What is rewritten can't lie under another member.
fn refuse_member_beneath(members: &[&dyn Member]) -> Result<(), DependenceError> {
    let place = |file: &RawMember| (file.metadata().dev(), file.metadata().ino(), file.metadata().rdev());
    for upper in members {
        for beneath in upper.files().iter().skip(1) {
            let itself = |member: &&&dyn Member| member.files().first().is_some_and(|file| place(file) == place(beneath));
            if let Some(member) = members.iter().find(itself) {
                let how = "one is under the other, as its backing file".into();
                return Err(DependenceError { first: upper.name().clone(), second: member.name().clone(), how });
            }
        }
    }
    Ok(())
}

/// What a member's bytes come from.
enum Source {
    File(RawMember),
    Export(NbdMember),
}

impl Source {
    fn name(&self) -> &MemberName {
        match self {
            Self::File(file) => file.name(),
            Self::Export(export) => export.name(),
        }
    }

    fn file(&self) -> Option<&RawMember> {
        match self {
            Self::File(file) => Some(file),
            Self::Export(_) => None,
        }
    }

    fn export(&self) -> Option<&NbdMember> {
        match self {
            Self::Export(export) => Some(export),
            Self::File(_) => None,
        }
    }
}

/// One address twice: its server may serve one client at a time, so it isn't even asked.
fn refuse_same_address(given: &[Given]) -> Result<(), DependenceError> {
    for (second, address) in given.iter().enumerate() {
        if let (Given::Nbd(uri), true) = (address, given[..second].contains(address)) {
            let name = MemberName::new(uri.as_ref());
            return Err(DependenceError { first: name.clone(), second: name, how: "one address twice".into() });
        }
    }
    Ok(())
}

/// Whatever it was called, an export has one vote. Of different exports nobody can tell from here.
fn refuse_same_export(export: &NbdMember, earlier: &[Source]) -> Result<(), DependenceError> {
    match earlier.iter().filter_map(Source::export).find(|first| first.is_same_export(export)) {
        Some(first) => {
            let how = "both addresses lead to one export of one server".into();
            Err(DependenceError { first: first.name().clone(), second: export.name().clone(), how })
        }
        None => Ok(()),
    }
}

fn open_export(args: &MemberArgs, name: &OsString, uri: &str, rewritten: bool, warnings: &mut Vec<String>) -> Result<NbdMember> {
    let name = MemberName::new(name);
    let export = if rewritten { NbdMember::open_to_rewrite(name, uri, stop_flag()?)? } else { NbdMember::open(name, uri, stop_flag()?)? };
    if rewritten {
        let facts = export.export();
        warnings.push(format!("{}: an export can't be locked: nobody can tell from here whether another program uses it", export.name()));
        if !facts.can_flush && !facts.can_fua {
            warnings.push(format!("{}: its server can't be told to make writes durable: a power cut there may lose them", export.name()));
        }
    }
    if args.cache.cache() == Cache::None {
        warnings.push(format!("{}: its server's cache can't be passed from here: the medium may hold something else", export.name()));
    }
    Ok(export)
}

fn open_file(args: &MemberArgs, name: &OsString, path: &Path, rewritten: bool, warnings: &mut Vec<String>) -> Result<RawMember> {
    let (cache, name) = (args.cache.cache(), MemberName::new(name));
    let opened = if rewritten { RawMember::open_to_rewrite(name, path, cache) } else { RawMember::open(name, path, cache) };
    let file = match opened {
        Err(OpenError::Busy { member, rdev }) => return Err(busy_device(&member, rdev).into()),
        other => other?,
    };
    if cache == Cache::None && !file.reads_medium() {
        warnings.push(format!(
            "{}: its file system refuses direct I/O, so it is read through this machine's page cache: the medium may hold something else",
            file.name()
        ));
    }
    Ok(file)
}

/// The format of each file: as stated, or as all whose format isn't stated look alike.
fn settle_formats(sources: &[Source], stated: &[Option<Format>], writes: bool) -> Result<Vec<Format>, FormatError> {
    let mut guesses = Vec::new();
    let mut formats = Vec::new();
    for (source, stated) in sources.iter().zip(stated) {
        formats.push(if let Some(format) = stated {
            *format
        } else if let Some(file) = source.file() {
            refuse_journal(file)?;
            let guess = guess_format(file);
            guesses.push((file.name().clone(), guess));
            guess
        } else {
            Format::Raw // an export is what a guest sees
        });
    }
    if guesses.iter().any(|(_, guess)| *guess != guesses[0].1) {
        return Err(FormatError::Unlike { guesses });
    }
    match guesses.into_iter().find(|(_, guess)| *guess == Format::Qcow2) {
        Some((member, _)) if writes => Err(FormatError::Guessed { member }),
        _ => Ok(formats),
    }
}

fn open_as(
    args: &MemberArgs,
    file: RawMember,
    format: Format,
    (guessed, references): (bool, References),
    caches: &Arc<Caches>,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn Member>> {
    if format == Format::Raw {
        return Ok(Box::new(file));
    }
    let opening = Opening { cache: args.cache.cache(), references, snapshot: args.snapshot.as_deref(), caches };
    let header = match read_header(&file) {
        Ok(header) => header,
        Err(error @ HeaderError::Damaged { .. }) => return Ok(Box::new(FailedMember::new(file, format.name(), error.to_string()))),
        Err(error) => return Err(Qcow2Error::Unsupported { member: file.name().clone(), error }.into()),
    };
    let (member, told) = Qcow2Member::open(file, header, guessed, &opening)?;
    warnings.extend(told);
    Ok(Box::new(member))
}

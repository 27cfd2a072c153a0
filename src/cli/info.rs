//! `quorum-img info`: what members are, without any vote.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::Path,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::{
    args::MemberArgs,
    digest_facts::digest_info,
    failure::{exit_code, explained},
    journal_file::{open_journal, unfinished_beside},
    present::drawing,
    say::{Output, complain, shown, warn},
    show_args::{OutputFormat, Picture},
    texts,
};
use crate::{
    electorate::{ElectorateError, Single, begins_as_digest, digest_path, looks_like_journal, open_digest, open_single},
    evidence::{FileSystem, find_file_system, mark_of, read_partitions},
    member::{Extent, Facts, Member, MemberName, escaped, qcow2::References},
    repair::journal::{Journal, VERSION},
    report::{
        self, DigestInfo, FailedInfo, FileSystemInfo, Info, InfoSections, JournalFacts, JournalInfo, JournalMember, Map, MarkInfo, Part,
        PartitionInfo, Problem, ProcessInfo, TableInfo, Told, render_infos, rfc3339,
    },
    set::{Place, is_database, status_of},
    sys::locks::{holders, in_use},
    vote::ByteRange,
};

/// Tell what images and devices are: sizes, partitions, file systems, when they were last written
///
/// Nothing is compared and nothing is written. The times tell which of several copies is the latest. Of the journal of an in-place
/// repair it tells what it holds, and whether the repair was completed.
#[derive(Args, Debug)]
#[command(after_long_help = texts::INFO)]
pub(super) struct InfoArgs {
    #[command(flatten)]
    pub members: MemberArgs,

    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = InfoFormat::Human)]
    output: InfoFormat,

    /// A map of each image, where it holds data: `auto` draws it on a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Picture::Auto)]
    picture: Picture,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum InfoFormat {
    /// For people
    Human,
    /// A JSON array with an object for each member
    Json,
}

impl From<InfoFormat> for OutputFormat {
    fn from(format: InfoFormat) -> Self {
        match format {
            InfoFormat::Human => Self::Human,
            InfoFormat::Json => Self::Json,
        }
    }
}

pub(super) fn run(args: &InfoArgs) -> Result<u8> {
    let mut roll = args.members.roll();
    if args.members.allow_references.is_none() {
        roll.references = References::Ignored; // what it is can be told without what lies under it
    }
    // One that can't be looked at doesn't hide the rest.
    let mut code = 0;
    let mut failed = |name: &OsString, error: anyhow::Error| {
        complain(&explained(&error));
        code = code.max(exit_code(&error));
        let name = MemberName::new(name).to_string();
        let error = Problem::of(&explained(&error), std::slice::from_ref(&name));
        FailedInfo { name, error: Problem { member: None, ..error } }
    };
    let given = &args.members.members;
    let given = given.iter().map(|name| digest_path(name).as_os_str().to_owned());
    let (sets, given): (Vec<OsString>, Vec<OsString>) = given.partition(|name| is_set(Path::new(name)));
    let opened: Vec<Result<Single, FailedInfo>> =
        given.iter().map(|given| open_single(&roll, given).map_err(|error| failed(given, error.into()))).collect();
    if let Some(snapshot) = &args.members.snapshot {
        let has_none = |single: &&Single| !single.member.is_encoded();
        let there: Vec<&Single> = opened.iter().flatten().collect();
        if !there.is_empty() && there.iter().all(has_none) {
            return Err(ElectorateError::NoSnapshots { snapshot: MemberName::new(snapshot) }.into());
        }
        for single in there.into_iter().filter(has_none) {
            warn(&format!("{}: --snapshot is for qcow2 members: this one is told of as it stands", single.member.name()));
        }
    }
    let drawn = args.output == InfoFormat::Human && args.picture != Picture::Never;
    let tell = |(given, single): (&OsString, Result<Single, FailedInfo>)| {
        let single = match single {
            Ok(single) => single,
            Err(failed) => return Told::Failed(failed),
        };
        told(&single, drawn).unwrap_or_else(|error| Told::Failed(failed(given, error)))
    };
    let mut infos: Vec<Told> = given.iter().zip(opened).map(tell).collect();
    infos.extend(sets.iter().map(|path| Told::Set(Box::new(status_of(Path::new(path))))));
    match args.output {
        InfoFormat::Human => {
            let wanted = args.picture.is_wanted(io::stdout().is_terminal());
            render_infos(&infos, wanted.then(drawing), &mut Output::new().styled())?;
        }
        InfoFormat::Json => report::write(&infos, Output::new())?,
    }
    Ok(code)
}

/// Whether a file is called as a set is, and begins as a database.
fn is_set(path: &Path) -> bool {
    Place::of(path).is_ok() && is_database(path)
}

fn told(single: &Single, drawn: bool) -> Result<Told> {
    let (member, guessed) = (single.member.as_ref(), single.guessed);
    if let (true, Some(file)) = (guessed && looks_like_journal(member), member.files().first()) {
        return Ok(Told::Journal(journal_info(&open_journal(file.path(), false)?)?));
    }
    if let (true, Some(file)) = (guessed, member.files().first())
        && begins_as_digest(file.path())
    {
        let digest = open_digest(file.path().as_os_str())?;
        let (_, damaged_chunks) = digest.damage();
        let name = Some(digest.name().to_string());
        return Ok(Told::Digest(DigestInfo { damaged_chunks, ..digest_info(digest.header(), name, None) }));
    }
    let facts = if member.failure().is_none() { member.facts() } else { Vec::new() };
    let told_again = |warning: &str| facts.iter().filter_map(|facts| facts.told_again.as_deref()).any(|why| warning.contains(why));
    single.warnings.iter().filter(|warning| !told_again(warning)).for_each(|warning| warn(warning));
    if let Some(why) = member.failure() {
        bail!("{}: {why}\nhint: -f raw looks at the file byte for byte", member.name());
    }
    facts.iter().flat_map(|facts| &facts.warnings).for_each(|warning| warn(warning));
    for warning in unfinished_beside(&[member]) {
        warn(&warning);
    }
    Ok(Told::Image(Box::new(info(member, guessed, facts, drawn))))
}

fn journal_info(journal: &Journal) -> Result<JournalInfo> {
    let header = journal.header();
    let members = header.members.iter().zip(journal.sums()?).map(|(identity, sum)| JournalMember {
        path: shown(&identity.path),
        size_before: identity.size,
        ranges: sum.ranges,
        bytes: sum.bytes,
        unreadable_bytes: sum.unreadable_bytes,
    });
    Ok(JournalInfo {
        name: journal.name().to_string(),
        format: "quorum-journal",
        journal: JournalFacts {
            version: VERSION,
            id: format!("{:032x}", u128::from_be_bytes(header.id)),
            state: journal.state().name(),
            created: jiff::Timestamp::from_second(header.created).ok().map(|time| time.to_string()),
            virtual_size: header.size,
            sector_size: header.sector,
            options: escaped(&header.options),
            sessions: journal.sessions(),
            batches: journal.batches(),
            torn: journal.torn(),
            members: members.collect(),
        },
    })
}

fn info(member: &dyn Member, guessed: bool, facts: Vec<Facts>, drawn: bool) -> Info {
    use std::os::unix::fs::MetadataExt;
    let file = member.files().into_iter().next();
    let system = |start| find_file_system(member, start).map(file_system);
    let table = read_partitions(member).map(|table| TableInfo {
        kind: table.kind,
        backup_only: !table.primary,
        partitions: table
            .partitions
            .into_iter()
            .map(|part| PartitionInfo {
                number: part.number,
                name: part.name,
                kind: part.kind,
                offset: part.range.start,
                length: part.range.length(),
                file_system: system(part.range.start),
            })
            .collect(),
    });
    let in_use_by: Vec<ProcessInfo> = file.map_or_else(Vec::new, |file| {
        holders(file.file()).into_iter().map(|holder| ProcessInfo { pid: holder.pid, command: escaped(&holder.command) }).collect()
    });
    let mark = mark_of(member).map(|mark| MarkInfo { set: mark.set.to_string(), member: mark.member.to_string(), epoch: mark.epoch });
    Info {
        mark,
        name: member.name().to_string(),
        map: if drawn { map_of(member) } else { Map::default() },
        name_hex: member.name().hex(),
        format: member.format(),
        format_guessed: guessed,
        virtual_size: member.size(),
        // st_blocks counts 512 bytes (stat(2)).
        actual_size: file.filter(|file| !file.is_device()).map(|file| file.metadata().blocks() * 512),
        modified: member.modified().and_then(rfc3339),
        sections: InfoSections(facts),
        in_use_elsewhere: in_use_by.is_empty() && file.is_some_and(|file| file.served().ask("looking for locks", in_use).unwrap_or(false)),
        in_use_by,
        file_system: system(0),
        partition_table: table,
    }
}

/// Parts of an image that are asked for.
const MAP_PARTS: u64 = 1024;

/// Where an image holds data, as far as that is known without reading it.
fn map_of(member: &dyn Member) -> Map {
    let (mut map, size) = (Map::new(1), member.size());
    let part = size.div_ceil(MAP_PARTS).max(1);
    let mut at = 0;
    while at < size {
        let Ok(extent) = member.extent(at) else { break };
        if let Extent::Data(end) = extent {
            map.mark(0, ByteRange::new(at, end), Part::Data);
        }
        // One look is enough for a part that holds some.
        let next = if matches!(extent, Extent::Data(_)) { (at / part + 1).saturating_mul(part) } else { 0 };
        at = extent.end().max(next).max(at + 1);
    }
    map.covering(size)
}

fn file_system(found: FileSystem) -> FileSystemInfo {
    let written = found.written.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    FileSystemInfo { kind: found.kind, label: found.label, written: written.map(|time| time.to_string()) }
}

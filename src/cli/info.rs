//! `quorum-img info`: what members are, without any vote.

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::{
    args::MemberArgs,
    failure::{exit_code, explained},
    journal_file::open_journal,
    say::{Output, complain, shown, warn},
    texts,
};
use crate::{
    electorate::{ElectorateError, Single, looks_like_journal, open_single},
    evidence::{FileSystem, find_file_system, read_partitions},
    member::{Facts, Member, MemberName, escaped, qcow2::References},
    repair::journal::{Journal, VERSION},
    report::{
        FileSystemInfo, Info, InfoSections, JournalFacts, JournalInfo, JournalMember, PartitionInfo, ProcessInfo, TableInfo, Told,
        render_infos, rfc3339,
    },
    sys::locks::{holders, in_use},
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
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InfoFormat {
    /// For people
    Human,
    /// A JSON array with an object for each member
    Json,
}

pub(super) fn run(args: &InfoArgs) -> Result<u8> {
    let mut roll = args.members.roll();
    if args.members.allow_references.is_none() {
        roll.references = References::Ignored; // what it is can be told without what lies under it
    }
    // One that can't be looked at doesn't hide the rest.
    let mut code = 0;
    let mut failed = |error: anyhow::Error| {
        complain(&explained(&error));
        code = code.max(exit_code(&error));
    };
    let opened: Vec<Single> =
        args.members.members.iter().filter_map(|given| open_single(&roll, given).map_err(|error| failed(error.into())).ok()).collect();
    if let Some(snapshot) = &args.members.snapshot {
        let has_none = |single: &Single| !single.member.is_encoded();
        if !opened.is_empty() && opened.iter().all(has_none) {
            return Err(ElectorateError::NoSnapshots { snapshot: MemberName::new(snapshot) }.into());
        }
        for single in opened.iter().filter(|single| has_none(single)) {
            warn(&format!("{}: --snapshot is for qcow2 members: this one is told of as it stands", single.member.name()));
        }
    }
    let infos: Vec<Told> = opened.iter().filter_map(|single| told(single).map_err(&mut failed).ok()).collect();
    if infos.is_empty() {
        return Ok(code);
    }
    let mut to = Output::new();
    match args.output {
        InfoFormat::Human => render_infos(&infos, &mut to)?,
        InfoFormat::Json => {
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            serde::Serialize::serialize(&infos, &mut serde_json::Serializer::with_formatter(&mut to, formatter))?;
            writeln!(to)?;
        }
    }
    Ok(code)
}

fn told(single: &Single) -> Result<Told> {
    let (member, guessed) = (single.member.as_ref(), single.guessed);
    if let (true, Some(file)) = (guessed && looks_like_journal(member), member.files().first()) {
        return Ok(Told::Journal(journal_info(&open_journal(file.path(), false)?)?));
    }
    let facts = if member.failure().is_none() { member.facts() } else { Vec::new() };
    let told_again = |warning: &str| facts.iter().filter_map(|facts| facts.told_again.as_deref()).any(|why| warning.contains(why));
    single.warnings.iter().filter(|warning| !told_again(warning)).for_each(|warning| warn(warning));
    if let Some(why) = member.failure() {
        bail!("{}: {why}\nhint: -f raw looks at the file byte for byte", member.name());
    }
    facts.iter().flat_map(|facts| &facts.warnings).for_each(|warning| warn(warning));
    Ok(Told::Image(Box::new(info(member, guessed, facts))))
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

fn info(member: &dyn Member, guessed: bool, facts: Vec<Facts>) -> Info {
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
    Info {
        name: member.name().to_string(),
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

fn file_system(found: FileSystem) -> FileSystemInfo {
    let written = found.written.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    FileSystemInfo { kind: found.kind, label: found.label, written: written.map(|time| time.to_string()) }
}

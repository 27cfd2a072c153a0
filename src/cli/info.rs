//! `quorum-img info`: what members are, without any vote.

use std::{ffi::OsString, io::Write};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{Output, args::MemberArgs, in_place::shown, open::open_member, texts, undo::open_journal, warn};
use crate::{
    member::{FileSystem, Member, RawMember, escaped, find_file_system, looks_like_journal, read_partitions, refuse_other_formats},
    repair::journal::{Journal, VERSION},
    report::{
        DeviceInfo, FileSystemInfo, Info, JournalFacts, JournalInfo, JournalMember, PartitionInfo, TableInfo, Told, render_infos, rfc3339,
    },
    sys::device::{self, Sysfs},
};

/// Tell what images and devices are: sizes, partitions, file systems, when they were last written
///
/// Nothing is compared and nothing is written. The times tell which of several copies is the latest. Of the journal of an in-place
/// repair it tells what it holds, and whether the repair was completed.
#[derive(Args, Debug)]
#[command(after_long_help = texts::INFO)]
pub(super) struct InfoArgs {
    #[command(flatten)]
    members: MemberArgs,

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
    let infos = args.members.members.iter().map(|given| told(args, given)).collect::<Result<Vec<_>>>()?;
    let mut to = Output::new();
    match args.output {
        InfoFormat::Human => render_infos(&infos, &mut to)?,
        InfoFormat::Json => {
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            serde::Serialize::serialize(&infos, &mut serde_json::Serializer::with_formatter(&mut to, formatter))?;
            writeln!(to)?;
        }
    }
    Ok(0)
}

fn told(args: &InfoArgs, given: &OsString) -> Result<Told> {
    let raw = args.members.settles_raw(given);
    let opened = open_member(&args.members, given)?;
    if !raw && looks_like_journal(&opened.members[0]) {
        return Ok(Told::Journal(journal_info(&open_journal(opened.members[0].path(), false)?)?));
    }
    opened.warnings.iter().for_each(|warning| warn(warning));
    let member = &opened.members[0];
    if !raw {
        refuse_other_formats(member)?;
    }
    Ok(Told::Image(Box::new(info(member))))
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
            members: members.collect(),
        },
    })
}

fn info(member: &RawMember) -> Info {
    use std::os::unix::fs::MetadataExt;
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
    Info {
        name: member.name().to_string(),
        name_hex: member.name().hex(),
        format: member.format(),
        virtual_size: member.size(),
        actual_size: (!member.is_device()).then(|| member.metadata().blocks() * 512), // st_blocks counts 512 bytes (stat(2))
        modified: member.modified().and_then(rfc3339),
        device: member.is_device().then(|| device_info(member)),
        file_system: system(0),
        partition_table: table,
    }
}

fn file_system(found: FileSystem) -> FileSystemInfo {
    let written = found.written.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    FileSystemInfo { kind: found.kind, label: found.label, written: written.map(|time| time.to_string()) }
}

fn device_info(member: &RawMember) -> DeviceInfo {
    use std::os::unix::fs::MetadataExt;
    let (file, rdev) = (member.file(), member.metadata().rdev());
    let sysfs = Sysfs::default();
    let fact = |name| sysfs.fact(rdev, name).map(|text| escaped(text.trim()));
    let flag = |name| fact(name).map(|text| text == "1");
    DeviceInfo {
        logical_block_size: device::logical_block_bytes(file).ok(),
        physical_block_size: device::physical_block_bytes(file).ok(),
        read_only: flag("ro"),
        rotational: flag("queue/rotational"),
        model: fact("device/model"),
        backing_file: fact("loop/backing_file"),
        holders: sysfs.holders(rdev).iter().map(|holder| escaped(holder)).collect(),
    }
}

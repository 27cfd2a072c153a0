//! `quorum-img info`: what members are, without any vote.

use std::io::Write;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{Output, args::MemberArgs, open::open_members, texts, warn};
use crate::{
    member::{FileSystem, FormatError, Member, RawMember, escaped, find_file_system, looks_like_qcow2, read_partitions},
    report::{DeviceInfo, FileSystemInfo, Info, PartitionInfo, TableInfo, render_infos, rfc3339},
    sys::device::{self, Sysfs},
};

/// Tell what images and devices are: sizes, partitions, file systems, when they were last written
///
/// Nothing is compared and nothing is written. The times tell which of several copies is the latest.
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
    let opened = open_members(&args.members)?;
    opened.warnings.iter().for_each(|warning| warn(warning));
    for (member, given) in opened.members.iter().zip(&args.members.members) {
        if !args.members.settles_raw(given) && looks_like_qcow2(member) {
            return Err(FormatError::Qcow2 { member: member.name().clone() }.into());
        }
    }
    let infos: Vec<Info> = opened.members.iter().map(info).collect();
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

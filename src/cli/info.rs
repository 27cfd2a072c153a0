//! `quorum-img info`: what members are, without any vote.

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    os::unix::ffi::OsStrExt,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::{Output, args::MemberArgs, in_place::shown, open::open_member, texts, undo::open_journal, warn};
use crate::{
    member::{
        FileSystem, Member, MemberName, NbdMember, RawMember, escaped, find_file_system, looks_like_journal, qcow2::Qcow2Member,
        read_partitions,
    },
    repair::journal::{Journal, VERSION},
    report::{
        DeviceInfo, FileSystemInfo, Info, JournalFacts, JournalInfo, JournalMember, LinkInfo, NbdInfo, PartitionInfo, ProcessInfo,
        Qcow2Info, SnapshotInfo, TableInfo, Told, render_infos, rfc3339,
    },
    sys::{
        device::{self, Sysfs},
        locks::holders,
    },
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
    let (member, warnings, guessed) = open_member(&args.members, given)?;
    let member = member.as_ref();
    if let (true, Some(file)) = (guessed && looks_like_journal(member), member.files().first()) {
        return Ok(Told::Journal(journal_info(&open_journal(file.path(), false)?)?));
    }
    let broken = member.qcow2().and_then(|image| image.chain().1).filter(|_| args.members.allow_references.is_some());
    for warning in warnings.iter().filter(|warning| !broken.is_some_and(|why| warning.contains(why))) {
        warn(warning);
    }
    if let Some(why) = member.failure() {
        bail!("{}: {why}\nhint: -f raw looks at the file byte for byte", member.name());
    }
    Ok(Told::Image(Box::new(info(member, guessed, args.members.allow_references.is_some()))))
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

fn info(member: &dyn Member, guessed: bool, followed: bool) -> Info {
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
    Info {
        name: member.name().to_string(),
        name_hex: member.name().hex(),
        format: member.format(),
        format_guessed: guessed,
        virtual_size: member.size(),
        // st_blocks counts 512 bytes (stat(2)).
        actual_size: file.filter(|file| !file.is_device()).map(|file| file.metadata().blocks() * 512),
        modified: member.modified().and_then(rfc3339),
        device: file.filter(|file| file.is_device()).map(device_info),
        qcow2: member.qcow2().map(|image| qcow2_info(image, followed)),
        nbd: member.nbd().map(nbd_info),
        in_use_by: file.map_or_else(Vec::new, |file| {
            holders(file.file()).into_iter().map(|holder| ProcessInfo { pid: holder.pid, command: escaped(&holder.command) }).collect()
        }),
        file_system: system(0),
        partition_table: table,
    }
}

fn nbd_info(member: &NbdMember) -> NbdInfo {
    let export = member.export();
    NbdInfo {
        read_only: export.read_only,
        can_flush: export.can_flush,
        can_fua: export.can_fua,
        can_df: export.can_df,
        block_status: export.block_status,
        block_size_minimum: export.minimum,
        block_size_maximum: export.maximum,
        tls: export.tls,
    }
}

fn qcow2_info(member: &Qcow2Member, followed: bool) -> Qcow2Info {
    let header = member.header();
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| escaped(&String::from_utf8_lossy(bytes)));
    let hex = |bytes: &Option<Vec<u8>>| MemberName::new(OsStr::from_bytes(bytes.as_ref()?)).hex();
    let (snapshots, flaw) = member.snapshots();
    if let Some(flaw) = flaw {
        warn(&format!("{}: {flaw}", member.name()));
    }
    let snapshots = snapshots.into_iter().map(|snapshot| SnapshotInfo {
        id: escaped(&String::from_utf8_lossy(&snapshot.id)),
        name: escaped(&String::from_utf8_lossy(&snapshot.name)),
        virtual_size: snapshot.size.unwrap_or(header.size),
        date: jiff::Timestamp::from_second(i64::from(snapshot.seconds)).ok().map(|time| time.to_string()),
    });
    let (chain, broken) = member.chain();
    Qcow2Info {
        version: header.version,
        cluster_size: header.cluster_bytes(),
        compression_type: header.compression.name(),
        extended_l2: header.extended_l2,
        refcount_bits: 1 << header.refcount_order,
        lazy_refcounts: header.lazy_refcounts,
        dirty: header.dirty,
        corrupt: header.corrupt,
        snapshots: snapshots.collect(),
        bitmaps: (header.bitmaps > 0).then_some(header.bitmaps),
        backing_file: text(&header.backing),
        backing_file_hex: hex(&header.backing),
        backing_format: text(&header.backing_format),
        data_file: text(&header.data_file),
        data_file_hex: hex(&header.data_file),
        chain: chain.iter().map(|link| LinkInfo { name: link.name.to_string(), format: link.format, virtual_size: link.size }).collect(),
        chain_error: broken.filter(|_| followed).map(str::to_owned),
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
    let flag = |name| sysfs.flag(rdev, name);
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

//! What is known of one image without any vote.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{
    human_size,
    journal::{JournalInfo, render_journal},
};

/// What is told of one name.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// An image or a device.
    Image(Box<Info>),
    /// A journal.
    Journal(JournalInfo),
}

/// One member's facts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Info {
    /// As given, control characters escaped.
    pub name: String,
    /// The name's bytes where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// `raw`, `qcow2`, `nbd`.
    pub format: &'static str,
    /// Set where nobody said so, and its first bytes decided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub format_guessed: bool,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// Bytes that it takes on its file system; none for a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_size: Option<u64>,
    /// When it was last modified (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// A block device's facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceInfo>,
    /// A qcow2 image's facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qcow2: Option<Qcow2Info>,
    /// An NBD export's facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbd: Option<NbdInfo>,
    /// Programs that hold QEMU's locks on it, as far as they can be seen from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_use_by: Vec<ProcessInfo>,
    /// The file system that begins at its first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystemInfo>,
    /// Its partition table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_table: Option<TableInfo>,
}

/// What a qcow2 image's header says; names as qemu-img's, where it has them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Qcow2Info {
    /// 2 or 3.
    pub version: u32,
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// `zlib` or `zstd`.
    pub compression_type: &'static str,
    /// Whether clusters have subclusters.
    pub extended_l2: bool,
    /// Bits of a reference count.
    pub refcount_bits: u32,
    /// Whether reference counts are written late.
    pub lazy_refcounts: bool,
    /// Not closed cleanly.
    pub dirty: bool,
    /// QEMU found its metadata damaged.
    pub corrupt: bool,
    /// Internal snapshots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotInfo>,
    /// Persistent bitmaps that are in step with the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitmaps: Option<u32>,
    /// What it stands on, as its header names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<String>,
    /// The bytes of that name where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_file_hex: Option<String>,
    /// The format of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_format: Option<String>,
    /// Where its data lies, as its header names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_file: Option<String>,
    /// The bytes of that name where it isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_file_hex: Option<String>,
    /// The backing files, from the top down, where they were followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<LinkInfo>,
    /// Why the chain can't be followed to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_error: Option<String>,
}

/// A file of a backing chain.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkInfo {
    /// Its name, control characters escaped.
    pub name: String,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// Bytes that a guest would see of it.
    pub virtual_size: u64,
}

/// What an NBD server says of an export.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NbdInfo {
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether it can be told to make writes durable.
    pub can_flush: bool,
    /// Whether single writes can be durable.
    pub can_fua: bool,
    /// Whether it can be told not to fragment a reply.
    pub can_df: bool,
    /// Whether it tells holes and zeros.
    pub block_status: bool,
    /// Smallest request in bytes, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_size_minimum: Option<u64>,
    /// Largest request in bytes, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_size_maximum: Option<u64>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// One internal snapshot.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotInfo {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Bytes that a guest saw.
    pub virtual_size: u64,
    /// When it was taken (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// A running program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its command line, control characters escaped.
    pub command: String,
}

/// What the kernel says of a block device.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceInfo {
    /// Smallest read in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logical_block_size: Option<u32>,
    /// What it writes at a time without reading first, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub physical_block_size: Option<u32>,
    /// Whether it can't be written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether it turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// Its maker's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A loop device's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<String>,
    /// Devices on top of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<String>,
}

/// A partition table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableInfo {
    /// `gpt` or `mbr`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Set where only a GPT's backup at the end is sound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backup_only: bool,
    /// In the table's order.
    pub partitions: Vec<PartitionInfo>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartitionInfo {
    /// As Linux numbers it.
    pub number: u32,
    /// Its name, control characters escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What the table says it is for.
    #[serde(rename = "type")]
    pub kind: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// The file system in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystemInfo>,
}

/// A file system, by its signature.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSystemInfo {
    /// As blkid names it.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its label, control characters escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// When it last wrote its superblock, by its guest's clock (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

/// Writes the facts of several names for people.
///
/// # Errors
/// What writing says.
pub fn render_infos(infos: &[Told], to: &mut dyn Write) -> io::Result<()> {
    for (index, info) in infos.iter().enumerate() {
        if index > 0 {
            writeln!(to)?;
        }
        match info {
            Told::Image(info) => render_info(info, to)?,
            Told::Journal(info) => render_journal(info, to)?,
        }
    }
    Ok(())
}

fn render_info(info: &Info, to: &mut dyn Write) -> io::Result<()> {
    let mut line = |what: &str, value: &str| writeln!(to, "{what:<14}{value}");
    line("image:", &info.name)?;
    line("format:", &format!("{}{}", info.format, if info.format_guessed { " (guessed)" } else { "" }))?;
    line("size:", &format!("{} ({} bytes)", human_size(info.virtual_size), info.virtual_size))?;
    if let Some(bytes) = info.actual_size {
        line("on disk:", &human_size(bytes))?;
    }
    if let Some(time) = &info.modified {
        line("modified:", time)?;
    }
    if let Some(device) = &info.device {
        line("device:", &device_line(device))?;
    }
    if let Some(qcow2) = &info.qcow2 {
        line("qcow2:", &qcow2_line(qcow2))?;
        if let Some(backing) = &qcow2.backing_file {
            let format = qcow2.backing_format.as_ref().map_or_else(|| "its format isn't recorded".to_owned(), Clone::clone);
            line("backing file:", &format!("{backing} ({format})"))?;
        }
        for link in &qcow2.chain {
            line("  on:", &format!("{} ({}, {})", link.name, link.format, human_size(link.virtual_size)))?;
        }
        if let Some(why) = &qcow2.chain_error {
            line("  broken:", why)?;
        }
        if let Some(data) = &qcow2.data_file {
            line("data file:", data)?;
        }
        for snapshot in &qcow2.snapshots {
            let date = snapshot.date.as_ref().map_or_else(String::new, |date| format!(", {date}"));
            line("snapshot:", &format!("{} \"{}\" ({}{date})", snapshot.id, snapshot.name, human_size(snapshot.virtual_size)))?;
        }
    }
    if let Some(nbd) = &info.nbd {
        line("export:", &nbd_line(nbd))?;
    }
    for process in &info.in_use_by {
        line("in use by:", &format!("process {} ({})", process.pid, process.command))?;
    }
    if let Some(system) = &info.file_system {
        line("file system:", &system_line(system))?;
    }
    let Some(table) = &info.partition_table else { return Ok(()) };
    let backup = if table.backup_only { " (only its backup at the end is sound)" } else { "" };
    line("partitions:", &format!("{}{backup}", table.kind))?;
    let mut rows = Table::new();
    rows.load_preset(presets::NOTHING).set_header(["#", "OFFSET", "LENGTH", "TYPE", "NAME", "FILE SYSTEM"]);
    for part in &table.partitions {
        let system = part.file_system.as_ref().map_or_else(String::new, system_line);
        let (offset, length) = (format!("{:#x}", part.offset), human_size(part.length));
        rows.add_row([part.number.to_string(), offset, length, part.kind.clone(), part.name.clone(), system]);
    }
    rows.to_string().lines().try_for_each(|row| writeln!(to, "  {}", row.trim_end()))
}

fn device_line(device: &DeviceInfo) -> String {
    let mut facts = Vec::new();
    facts.extend(device.model.clone());
    facts.extend(device.backing_file.as_ref().map(|file| format!("over {file}")));
    if let (Some(logical), Some(physical)) = (device.logical_block_size, device.physical_block_size) {
        facts.push(format!("blocks of {logical} bytes, physically {physical}"));
    }
    facts.extend(device.rotational.map(|turns| if turns { "rotational".to_owned() } else { "not rotational".to_owned() }));
    facts.extend(device.read_only.filter(|&locked| locked).map(|_| "read-only".to_owned()));
    if !device.holders.is_empty() {
        facts.push(format!("held by {}", device.holders.join(", ")));
    }
    facts.join(", ")
}

fn nbd_line(nbd: &NbdInfo) -> String {
    let mut facts = vec![if nbd.read_only { "read-only" } else { "writable" }.to_owned()];
    let flags = [(nbd.can_flush, "flush"), (nbd.can_fua, "FUA"), (nbd.can_df, "DF"), (nbd.block_status, "block status"), (nbd.tls, "TLS")];
    facts.extend(flags.iter().filter(|(set, _)| *set).map(|&(_, words)| words.to_owned()));
    facts.extend(nbd.block_size_minimum.map(|bytes| format!("requests from {}", human_size(bytes))));
    facts.extend(nbd.block_size_maximum.map(|bytes| format!("up to {}", human_size(bytes))));
    facts.join(", ")
}

fn qcow2_line(qcow2: &Qcow2Info) -> String {
    let mut facts = vec![format!("version {}", qcow2.version), format!("clusters of {}", human_size(qcow2.cluster_size))];
    facts.push(format!("{} compression", qcow2.compression_type));
    facts.push(format!("refcounts of {} bits", qcow2.refcount_bits));
    let flags = [
        (qcow2.extended_l2, "extended L2 entries"),
        (qcow2.lazy_refcounts, "lazy refcounts"),
        (qcow2.dirty, "DIRTY (not closed cleanly)"),
        (qcow2.corrupt, "CORRUPT (QEMU found its metadata damaged)"),
    ];
    facts.extend(flags.iter().filter(|(set, _)| *set).map(|&(_, words)| words.to_owned()));
    facts.extend(qcow2.bitmaps.map(|count| format!("{count} persistent bitmap{}", if count == 1 { "" } else { "s" })));
    facts.join(", ")
}

fn system_line(system: &FileSystemInfo) -> String {
    let label = if system.label.is_empty() { String::new() } else { format!(" \"{}\"", system.label) };
    let written = system.written.as_ref().map_or_else(String::new, |time| format!(", last written {time}"));
    format!("{}{label}{written}", system.kind)
}

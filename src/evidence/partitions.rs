//! Partition tables: GPT (UEFI specification 2.10, section 5.3) and MBR, read from whatever holds one; damaged ones as far as they are sound.

use serde::{Deserialize, Serialize};

use super::{
    ReadAt, bytes_at,
    fields::{le32, le64, uuid},
};
use crate::{member::escaped, vote::ByteRange};

/// A table of partitions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PartitionTable {
    /// `gpt` or `mbr`.
    #[serde(deserialize_with = "super::kinds::known")]
    pub kind: super::kinds::Kind,
    /// Which copy of a GPT was sound: false where only the backup at the disk's end was.
    pub primary: bool,
    /// What its maker called the disk: a GPT's disk GUID, an MBR's signature; none where there is none.
    pub id: Option<Vec<u8>>,
    /// In the table's order.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Partition {
    /// As Linux numbers it, from 1 on.
    pub number: u32,
    /// Its name, empty where it has none; control characters escaped.
    pub name: String,
    /// Its own GUID, where a GPT gives it one.
    pub id: Option<[u8; 16]>,
    /// What the table says it is for.
    pub kind: String,
    /// Where it lies, in bytes.
    pub range: ByteRange,
}

impl Partition {
    /// Its number, with its name or its kind: `2 (root)`.
    #[must_use]
    pub fn label(&self) -> String {
        let word = if self.name.is_empty() { &self.kind } else { &self.name };
        format!("{} ({word})", self.number)
    }
}

/// Most entries of a GPT that are read: the specification's minimum is 128, and nobody uses more than a few times that.
const GPT_ENTRIES_MAX: u32 = 1024;
/// Largest entry of a GPT in bytes; in use are 128.
const GPT_ENTRY_BYTES_MAX: u32 = 4096;
/// Longest chain of logical partitions; Linux stops at 256 minors.
const LOGICAL_MAX: u32 = 256;

/// The partition table of what is read; none where there is none, or none that is sound.
#[must_use]
pub fn read_partitions(from: &(impl ReadAt + ?Sized)) -> Option<PartitionTable> {
    let mbr = bytes_at(from, 0, 512)?;
    let signed = mbr[510..] == [0x55, 0xaa];
    for sector in [512, 4096] {
        let last = (from.length() / sector).checked_sub(1)?;
        for lba in [1, last] {
            if let Some((id, partitions)) = read_gpt(from, sector, lba) {
                return Some(PartitionTable { kind: "gpt", primary: lba == 1, id: Some(id.to_vec()), partitions });
            }
        }
    }
    let partitions = if signed { read_mbr(from, &mbr) } else { Vec::new() };
    // The disk signature; Linux' MBR with zeros there has none.
    let id = Some(mbr[440..444].to_vec()).filter(|id| id.iter().any(|&byte| byte != 0));
    (!partitions.is_empty()).then_some(PartitionTable { kind: "mbr", primary: true, id, partitions })
}

fn read_gpt(from: &(impl ReadAt + ?Sized), sector: u64, lba: u64) -> Option<([u8; 16], Vec<Partition>)> {
    let mut header = bytes_at(from, lba.checked_mul(sector)?, 512)?;
    let header_bytes = le32(&header, 12) as usize;
    if &header[..8] != b"EFI PART" || !(92..=512).contains(&header_bytes) || le64(&header, 24) != lba {
        return None;
    }
    let expected = le32(&header, 16);
    header[16..20].fill(0);
    if crc32fast::hash(&header[..header_bytes]) != expected {
        return None;
    }
    let (table, count, entry_bytes) = (le64(&header, 72), le32(&header, 80), le32(&header, 84));
    if count > GPT_ENTRIES_MAX || !(128..=GPT_ENTRY_BYTES_MAX).contains(&entry_bytes) {
        return None;
    }
    let entries = bytes_at(from, table.checked_mul(sector)?, (count * entry_bytes) as usize)?;
    if crc32fast::hash(&entries) != le32(&header, 88) {
        return None;
    }
    let used = entries.chunks_exact(entry_bytes as usize).zip(1..).filter(|(entry, _)| entry[..16] != [0; 16]);
    Some((uuid(&header, 56), used.filter_map(|(entry, number)| gpt_partition(entry, number, sector)).collect()))
}

fn gpt_partition(entry: &[u8], number: u32, sector: u64) -> Option<Partition> {
    let start = le64(entry, 32).checked_mul(sector)?;
    let end = le64(entry, 40).checked_add(1)?.checked_mul(sector)?;
    let units = entry[56..128].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).take_while(|&unit| unit != 0);
    let name = String::from_utf16_lossy(&units.collect::<Vec<_>>());
    (start < end).then(|| Partition {
        number,
        name: escaped(&name),
        id: Some(uuid(entry, 16)),
        kind: gpt_kind(&entry[..16]),
        range: ByteRange::new(start, end),
    })
}

/// The kinds that disk images have, by the GUID's text; else the GUID itself.
fn gpt_kind(guid: &[u8]) -> String {
    // The first three fields are little-endian, the rest is as it stands (UEFI specification 2.10, appendix A).
    let last = guid[10..16].iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    let text = format!(
        "{:08X}-{:04X}-{:04X}-{:02X}{:02X}-{last:012X}",
        le32(guid, 0),
        u16::from_le_bytes([guid[4], guid[5]]),
        u16::from_le_bytes([guid[6], guid[7]]),
        guid[8],
        guid[9],
    );
    let kind = match text.as_str() {
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" => "EFI System",
        "21686148-6449-6E6F-744E-656564454649" => "BIOS boot",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4" => "Linux filesystem",
        "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" => "Linux root (x86-64)",
        "B921B045-1DF0-41C3-AF44-4C6F280D3FAE" => "Linux root (ARM-64)",
        "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F" => "Linux swap",
        "E6D6D379-F507-44C2-A23C-238F2A3DF928" => "Linux LVM",
        "A19D880F-05FC-4D3B-A006-743F0F84911E" => "Linux RAID",
        "BC13C2FF-59E6-4262-A352-B275FD6F7172" => "Linux extended boot",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" => "Microsoft basic data",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE" => "Microsoft reserved",
        "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC" => "Windows recovery",
        _ => return text,
    };
    kind.into()
}

fn read_mbr(from: &(impl ReadAt + ?Sized), mbr: &[u8]) -> Vec<Partition> {
    let mut found = Vec::new();
    for (entry, number) in mbr[446..510].chunks_exact(16).zip(1..) {
        let (status, kind, start, sectors) = mbr_entry(entry);
        if status & 0x7f != 0 {
            return Vec::new(); // a boot sector with code there, not a table
        }
        if kind == 0 || sectors == 0 {
            continue;
        }
        found.push(mbr_partition(number, kind, start, sectors));
        if matches!(kind, 0x05 | 0x0f | 0x85) {
            read_logical(from, start, &mut found);
        }
    }
    found
}

/// Follows the chain of extended boot records; one that runs in circles ends at the limit.
fn read_logical(from: &(impl ReadAt + ?Sized), extended: u64, found: &mut Vec<Partition>) {
    let mut record = extended;
    for number in 5..5 + LOGICAL_MAX {
        let Some(bytes) = record.checked_mul(512).and_then(|at| bytes_at(from, at, 512)) else { return };
        if bytes[510..] != [0x55, 0xaa] {
            return;
        }
        let (_, kind, start, sectors) = mbr_entry(&bytes[446..462]);
        if kind != 0 && sectors != 0 {
            found.push(mbr_partition(number, kind, record + start, sectors));
        }
        let (_, kind, next, _) = mbr_entry(&bytes[462..478]);
        if kind == 0 || next == 0 {
            return;
        }
        record = extended + next;
    }
}

fn mbr_entry(entry: &[u8]) -> (u8, u8, u64, u64) {
    (entry[0], entry[4], u64::from(le32(entry, 8)), u64::from(le32(entry, 12)))
}

fn mbr_partition(number: u32, kind: u8, start: u64, sectors: u64) -> Partition {
    let word = match kind {
        0x05 | 0x0f | 0x85 => "extended".into(),
        0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e => "FAT".into(),
        0x07 => "NTFS or exFAT".into(),
        0x82 => "Linux swap".into(),
        0x83 => "Linux filesystem".into(),
        0x8e => "Linux LVM".into(),
        0xa5 | 0xa6 | 0xa9 => "BSD".into(),
        0xee => "GPT protective".into(),
        0xef => "EFI System".into(),
        0xfd => "Linux RAID".into(),
        other => format!("type {other:#04x}"),
    };
    // 32-bit fields times 512: no overflow.
    Partition { number, name: String::new(), id: None, kind: word, range: ByteRange::new(start * 512, (start + sectors) * 512) }
}

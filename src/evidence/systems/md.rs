//! Linux' software RAID: the superblock of a leg. What the array is called is the same on all legs, what the leg is called differs by
//! design. Sources: Linux, `include/uapi/linux/raid/md_p.h`, `drivers/md/md.c` (`calc_sb_csum`, `calc_sb_1_csum`, `super_1_load`).

use serde::{Deserialize, Serialize};

use super::{
    super::{
        Age, Id, Origin, ReadAt, bytes_at,
        fields::{le16, le32, le64, uuid},
    },
    said::Said,
};
use crate::vote::ByteRange;

const MAGIC: u32 = 0xa92b_4efc;
/// What a superblock takes; version 1 has room for 1920 devices in it.
const SUPERBLOCK_BYTES: usize = 4096;
const SECTOR: u64 = 512;

/// What differs between the legs of an array by design.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DeviceMetadata {
    /// What the array is called: the same on all legs.
    pub array: [u8; 16],
    /// What the leg is called.
    pub device: [u8; 16],
    /// As `mdadm --examine` names it: `0.90`, `1.0`, `1.1`, `1.2`.
    #[serde(deserialize_with = "crate::evidence::kinds::known")]
    pub version: crate::evidence::kinds::Kind,
    /// Its number in the array.
    pub role: u32,
    /// Where it lies, in bytes: the superblock, and the leg's list of bad blocks.
    pub ranges: Vec<ByteRange>,
    /// How often the array's state changed.
    events: u64,
    /// When it last did, by the clock of the machine that ran it.
    seconds: i64,
}

/// The array that a leg of `length` bytes from `start` on belongs to, and how old the leg is.
pub(super) fn ask(from: &(impl ReadAt + ?Sized), start: u64, length: u64) -> Option<Said> {
    let found = device_metadata(from, start, length)?;
    let age = Age {
        origin: Origin { kind: "md", id: found.array },
        counter: Some(found.events),
        seconds: Some(found.seconds).filter(|&seconds| seconds != 0),
    };
    Some(Said { ids: vec![Id { kind: "md", value: found.array.to_vec(), summed: true }], age: Some(age) })
}

/// The superblock of a leg of `length` bytes from `start` on.
pub(super) fn device_metadata(from: &(impl ReadAt + ?Sized), start: u64, length: u64) -> Option<DeviceMetadata> {
    let sectors = length / SECTOR;
    let version_1 = [
        ("1.2", Some(8)),
        ("1.1", Some(0)),
        ("1.0", sectors.checked_sub(16).map(|sector| sector & !7)), // 8 KiB before the end, at a multiple of 4 KiB
    ];
    let old = (sectors & !127).checked_sub(128); // the last 64 KiB that are aligned
    let found = version_1.iter().find_map(|&(version, at)| of_version_1(from, start, at?, version));
    found.or_else(|| of_version_0(from, start, old?))
}

fn of_version_1(from: &(impl ReadAt + ?Sized), start: u64, sector: u64, version: &'static str) -> Option<DeviceMetadata> {
    let at = start.checked_add(sector.checked_mul(SECTOR)?)?;
    let bytes = bytes_at(from, at, SUPERBLOCK_BYTES)?;
    let devices = le32(&bytes, 220) as usize;
    let summed = 256 + devices.checked_mul(2)?;
    let is_one = le32(&bytes, 0) == MAGIC && le32(&bytes, 4) == 1 && le64(&bytes, 144) == sector && summed <= SUPERBLOCK_BYTES;
    if !is_one || sum(&bytes[..summed], 216) != le32(&bytes, 216) {
        return None;
    }
    let own = |from: u64, length: u64| ByteRange::at(from, length);
    let mut ranges: Vec<ByteRange> = own(at, SUPERBLOCK_BYTES as u64).into_iter().collect();
    // The list of bad blocks, so many sectors from the superblock on.
    let (offset, length) = (i64::from(le32(&bytes, 188).cast_signed()), u64::from(le16(&bytes, 186)));
    let listed = at.checked_add_signed(offset.checked_mul(512)?).and_then(|at| own(at, length * SECTOR));
    ranges.extend(listed.filter(|range| !range.is_empty() && offset != 0));
    ranges.sort_unstable();
    let number = le32(&bytes, 160);
    let role = if (number as usize) < devices { u32::from(le16(&bytes, 256 + number as usize * 2)) } else { number };
    Some(DeviceMetadata {
        array: uuid(&bytes, 16),
        device: uuid(&bytes, 168),
        version,
        role,
        ranges: ByteRange::joined(ranges),
        events: le64(&bytes, 200),
        seconds: (le64(&bytes, 192) & 0xff_ffff_ffff).cast_signed(),
    })
}

fn of_version_0(from: &(impl ReadAt + ?Sized), start: u64, sector: u64) -> Option<DeviceMetadata> {
    let at = start.checked_add(sector.checked_mul(SECTOR)?)?;
    let bytes = bytes_at(from, at, SUPERBLOCK_BYTES)?;
    let word = |number: usize| le32(&bytes, number * 4);
    if word(0) != MAGIC || word(1) != 0 || word(2) != 90 || folded(sum(&bytes, 38 * 4)) != folded(word(38)) {
        return None;
    }
    let mut array = [0; 16];
    for (to, number) in array.chunks_exact_mut(4).zip([5, 13, 14, 15]) {
        to.copy_from_slice(&bytes[number * 4..number * 4 + 4]);
    }
    // Legs have no name of their own: `this_disk` tells their number and role.
    let mut device = [0; 16];
    device.copy_from_slice(&bytes[3968..3984]);
    Some(DeviceMetadata {
        array,
        device,
        version: "0.90",
        role: word(992 + 3),
        ranges: ByteRange::at(at, SUPERBLOCK_BYTES as u64).into_iter().collect(),
        events: u64::from(word(40)) << 32 | u64::from(word(39)),
        seconds: i64::from(word(32)),
    })
}

/// Version 0's sums are compared in 16 bits (`md_csum_fold`).
fn folded(sum: u32) -> u32 {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

/// The sum of all words, folded to 32 bits, with the field for it taken to be zero.
fn sum(bytes: &[u8], field: usize) -> u32 {
    let words = bytes.chunks(4).map(|word| word.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte)));
    let sum = words.sum::<u64>() - u64::from(le32(bytes, field));
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

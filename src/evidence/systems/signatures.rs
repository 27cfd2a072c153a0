//! File systems, recognised by their signatures, with the time of their last write where the superblock tells it.

use super::super::{ReadAt, bytes_at};
use crate::member::escaped;

/// What a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// As blkid names it.
    pub kind: &'static str,
    /// Its label, empty where it has none; control characters escaped.
    pub label: String,
    /// When it last wrote its superblock, in seconds since 1970; none where it doesn't say.
    pub written: Option<i64>,
}

/// One signature: the bytes at an offset from the file system's start.
struct Signature {
    kind: &'static str,
    offset: u64,
    magic: &'static [u8],
}

const fn signature(kind: &'static str, offset: u64, magic: &'static [u8]) -> Signature {
    Signature { kind, offset, magic }
}

/// In the order in which they are looked for; sources: the file systems' headers in Linux (`include/uapi/linux/magic.h` and their own).
const SIGNATURES: &[Signature] = &[
    signature("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    signature("LVM2_member", 512 + 24, b"LVM2 001"),
    signature("linux_raid_member", 4096, b"\xfc\x4e\x2b\xa9"),
    signature("xfs", 0, b"XFSB"),
    signature("btrfs", 0x10040, b"_BHRfS_M"),
    signature("ext4", 0x438, b"\x53\xef"), // ext2 and ext3 too: told apart below
    signature("ntfs", 3, b"NTFS    "),
    signature("exfat", 3, b"EXFAT   "),
    signature("vfat", 82, b"FAT32   "),
    signature("vfat", 54, b"FAT1"),
    signature("squashfs", 0, b"hsqs"),
    signature("f2fs", 0x400, b"\x10\x20\xf5\xf2"),
    // A bridge is both; what systems mount of it is UDF. Its descriptors follow those of ISO 9660 (ECMA-167 2/9.1).
    signature("udf", 0x8801, b"NSR0"),
    signature("udf", 0x9001, b"NSR0"),
    signature("udf", 0x9801, b"NSR0"),
    signature("udf", 0xa001, b"NSR0"),
    signature("udf", 0xa801, b"NSR0"),
    signature("iso9660", 0x8001, b"CD001"),
    signature("swap", 4086, b"SWAPSPACE2"),
    signature("swsuspend", 4086, b"S1SUSPEND"),
    signature("zfs_member", 0x20000, b"\x0c\xb1\xba\x00\x00\x00\x00\x00"),
    signature("VMFS_volume_member", 0x10_0000, b"\x0d\xd0\x01\xc0"),
];

/// The file system that starts at `start` bytes, if its signature is known.
#[must_use]
pub fn find_file_system(from: &(impl ReadAt + ?Sized), start: u64) -> Option<FileSystem> {
    let read = |offset: u64, length: usize| bytes_at(from, start.checked_add(offset)?, length);
    let found = SIGNATURES.iter().find(|known| read(known.offset, known.magic.len()).as_deref() == Some(known.magic))?;
    let text = |offset, length| {
        let bytes = read(offset, length).unwrap_or_default();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        escaped(&String::from_utf8_lossy(&bytes[..end]))
    };
    let number = |offset, length: usize| {
        let bytes = read(offset, length)?;
        Some(bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte)))
    };
    let mut system = FileSystem { kind: found.kind, label: String::new(), written: None };
    match found.kind {
        "ext4" => {
            // s_wtime is 32 bits, with 8 more at 0x274 (s_wtime_hi); s_feature_compat, _incompat (Documentation/filesystems/ext4/super.rst).
            let seconds = number(0x430, 4)? | number(0x674, 1).unwrap_or(0) << 32;
            system.written = i64::try_from(seconds).ok().filter(|&seconds| seconds != 0);
            system.label = text(0x478, 16);
            let (compatible, incompatible, read_only) = (number(0x45c, 4)?, number(0x460, 4)?, number(0x464, 4)?);
            // What ext3 knows of incompatible and read-only-compatible features (util-linux, libblkid/src/superblocks/ext.c).
            let newer = incompatible & !0x16 != 0 || read_only & !0x7 != 0;
            system.kind = match (incompatible & 8 != 0, newer, compatible & 4 != 0) {
                (true, ..) => "jbd",
                (_, true, _) => "ext4",
                (_, false, true) => "ext3",
                (_, false, false) => "ext2",
            };
        }
        "xfs" => system.label = text(108, 12),
        "btrfs" => system.label = text(0x1012b, 256),
        "swap" | "swsuspend" => system.label = text(1024 + 4 + 4 + 4 + 16, 16),
        "linux_raid_member" => {
            system.label = text(4096 + 32, 32);
            // utime: 40 bits of seconds, 24 of microseconds (Linux, include/uapi/linux/raid/md_p.h).
            system.written = number(4096 + 192, 5).and_then(|seconds| i64::try_from(seconds).ok()).filter(|&seconds| seconds != 0);
        }
        _ => {}
    }
    Some(system)
}

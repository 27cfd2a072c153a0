//! Those that say who they are, and not how old: LUKS, LVM, swap, NTFS, FAT, exFAT.

use sha2::{Digest as _, Sha256};

use super::{
    super::{
        Id, ReadAt, bytes_at,
        fields::{be16, be64, le32, le64},
    },
    said::Said,
};

/// Bytes that are looked at: the sectors in which all but swap's and LUKS2's structures lie.
const HEAD_BYTES: usize = 4096;
/// The largest header of LUKS2, of its specification's sizes.
const LUKS2_HEADER_BYTES_MAX: u64 = 4 << 20;
/// Pages at whose ends swap's signature is looked for (mkswap takes the machine's).
const PAGES: [u64; 3] = [4096, 16384, 65536];

/// Who it is.
pub(super) fn ask(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Said> {
    let head = bytes_at(from, start, HEAD_BYTES)?;
    let id = luks(from, start, &head).or_else(|| lvm(&head)).or_else(|| boot_sector(&head)).or_else(|| swap(from, start))?;
    Some(Said { ids: vec![id], age: None })
}

/// LUKS: version 1 has no sum; version 2 one over its header and what it describes (LUKS2 On-Disk Format, section 2).
fn luks(from: &(impl ReadAt + ?Sized), start: u64, head: &[u8]) -> Option<Id> {
    if &head[..6] != b"LUKS\xba\xbe" {
        return None;
    }
    let value = head[168..208].iter().copied().take_while(|&byte| byte != 0).collect::<Vec<_>>();
    let summed = be16(head, 6) == 2;
    if summed {
        let length = Some(be64(head, 8)).filter(|length| (4096..=LUKS2_HEADER_BYTES_MAX).contains(length))?;
        let mut header = bytes_at(from, start, length as usize)?;
        let sum = header[448..512].to_vec();
        header[448..512].fill(0);
        if !head[72..].starts_with(b"sha256\0") || Sha256::digest(&header)[..] != sum[..32] {
            return None;
        }
    }
    (!value.is_empty()).then_some(Id { kind: "LUKS", value, summed })
}

/// A physical volume's label, in one of the first four sectors (LVM2, `lib/format_text/layout.h`, `lib/misc/crc.c`).
fn lvm(head: &[u8]) -> Option<Id> {
    let label = head[..2048].chunks_exact(512).find(|sector| &sector[..8] == b"LABELONE" && &sector[24..32] == b"LVM2 001")?;
    let mut sum = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    sum.update(&label[20..]);
    let uuid = usize::try_from(le32(label, 20)).ok().and_then(|at| label.get(at..at.checked_add(32)?))?;
    (!sum.finalize() == le32(label, 16)).then(|| Id { kind: "LVM", value: uuid.to_vec(), summed: true })
}

/// Serial numbers in a boot sector.
fn boot_sector(head: &[u8]) -> Option<Id> {
    let id = |kind, at: usize, length: usize| Some(Id { kind, value: head[at..at + length].to_vec(), summed: false });
    match () {
        () if head[510..512] != [0x55, 0xaa] => None,
        () if &head[3..11] == b"NTFS    " => id("NTFS", 0x48, 8),
        () if &head[3..11] == b"EXFAT   " => id("exFAT", 0x64, 4),
        () if &head[82..87] == b"FAT32" => id("FAT", 0x43, 4),
        () if &head[54..58] == b"FAT1" => id("FAT", 0x27, 4),
        () => None,
    }
}

/// Swap space (Linux, `include/linux/swap.h`, `union swap_header`).
fn swap(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Id> {
    PAGES.iter().find_map(|page| {
        let magic = bytes_at(from, start.checked_add(page - 10)?, 10)?;
        let uuid = bytes_at(from, start.checked_add(1024 + 12)?, 16)?;
        let named = (le64(&uuid, 0), le64(&uuid, 8)) != (0, 0);
        // Swapped out to for a hibernation, it is the same space.
        let is_swap = magic == b"SWAPSPACE2" || magic.starts_with(b"S1SUSPEND");
        (is_swap && named).then_some(Id { kind: "swap", value: uuid, summed: false })
    })
}

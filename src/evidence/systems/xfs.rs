//! XFS: where things are, who it is, and how far its log came. Sources: Linux, `fs/xfs/libxfs/xfs_format.h`, `xfs_log_format.h`,
//! `fs/xfs/xfs_log_recover.c` (`xlog_find_head`).

use super::{
    super::{
        Age, Id, Origin, ReadAt, bytes_at,
        fields::{be16, be32, be64, crc32c_without, le32, uuid},
    },
    said::Said,
};

/// The log is written in blocks of so many bytes.
const BASIC_BLOCK: u64 = 512;
/// First word of a record's header.
const RECORD_MAGIC: u32 = 0xfeed_babe;
/// The longest record with its headers, in basic blocks: 256 KiB and 8 of them.
const RECORD_BLOCKS_MAX: u64 = 520;

/// A file system's log.
struct Log<'a, R: ReadAt + ?Sized> {
    from: &'a R,
    /// Where it lies, and how many basic blocks it has.
    start: u64,
    blocks: u64,
    uuids: [[u8; 16]; 2],
}

/// A file system that was found.
pub(super) struct Xfs {
    pub(super) start: u64,
    /// The sector of the superblock.
    pub(super) superblock: Vec<u8>,
    /// Whether it is of version 5, whose metadata have checksums.
    pub(super) is_summed: bool,
    pub(super) block_bytes: u64,
    /// Blocks of the file system, and of each allocation group but the last.
    pub(super) blocks: u64,
    pub(super) group_blocks: u64,
    pub(super) groups: u32,
    /// Bits of a block's number within its group.
    group_shift: u32,
}

impl Xfs {
    /// Of version 4 or 5; the checksum of a version 5 has to hold.
    pub(super) fn at(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Self> {
        let superblock = bytes_at(from, start, 512)?;
        let (version, sector_bytes) = (be16(&superblock, 100) & 0xf, usize::from(be16(&superblock, 102)));
        if &superblock[..4] != b"XFSB" || !matches!(version, 4 | 5) || !(512..=32768).contains(&sector_bytes) {
            return None;
        }
        let superblock = bytes_at(from, start, sector_bytes)?;
        // The sum is kept inverted, and little-endian (xfs_end_cksum).
        if version == 5 && !crc32c_without(!0, &superblock, 224, 4) != le32(&superblock, 224) {
            return None;
        }
        let (block_bytes, group_blocks, groups) =
            (u64::from(be32(&superblock, 4)), u64::from(be32(&superblock, 84)), be32(&superblock, 88));
        let group_shift = u32::from(superblock[124]);
        if !(512..=65536).contains(&block_bytes) || !block_bytes.is_power_of_two() || group_blocks == 0 || group_shift >= 32 {
            return None;
        }
        let (is_summed, blocks) = (version == 5, be64(&superblock, 8));
        Some(Self { start, superblock, is_summed, block_bytes, blocks, group_blocks, groups, group_shift })
    }

    /// Which block of the file system that is, from its start, whose number is made of its group's and its own within; none where it
    /// isn't one of it.
    pub(super) fn block(&self, number: u64) -> Option<u64> {
        let (group, within) = (number >> self.group_shift, number & ((1 << self.group_shift) - 1));
        let block = group.checked_mul(self.group_blocks)?.checked_add(within)?;
        (within < self.group_blocks && block < self.blocks).then_some(block)
    }

    /// Whether metadata that keep their sum at `at` are whole; of version 4 none have one.
    pub(super) fn is_whole(&self, bytes: &[u8], at: usize) -> bool {
        !self.is_summed || !crc32c_without(!0, bytes, at, 4) == le32(bytes, at)
    }

    /// Its UUID, and the one that its metadata carry, if that is another one.
    pub(super) fn uuids(&self) -> [[u8; 16]; 2] {
        [uuid(&self.superblock, 32), uuid(&self.superblock, 248)]
    }

    /// Where its log lies, in blocks from the file system's start, and how many it has; none where that is on a device of its own.
    pub(super) fn log_blocks(&self) -> Option<(u64, u64)> {
        let number = be64(&self.superblock, 48);
        Some((self.block(number).filter(|_| number != 0)?, u64::from(be32(&self.superblock, 96))))
    }
}

/// Who it is, and how old: by the log sequence number of its log's head.
pub(super) fn ask(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Said> {
    let system = Xfs::at(from, start).filter(|system| system.is_summed)?;
    let id = uuid(&system.superblock, 32);
    let age = log_of(from, &system).and_then(|log| log.head()).map(|(cycle, block)| Age {
        origin: Origin { kind: "xfs", id },
        counter: Some(u64::from(cycle) << 32 | block),
        seconds: None,
    });
    Some(Said { ids: vec![Id { kind: "xfs", value: id.to_vec(), summed: true }], age })
}

/// The log, where it lies within.
fn log_of<'a, R: ReadAt + ?Sized>(from: &'a R, system: &Xfs) -> Option<Log<'a, R>> {
    let (block, count) = system.log_blocks()?;
    let start = system.start.checked_add(block.checked_mul(system.block_bytes)?)?;
    let blocks = count.checked_mul(system.block_bytes)? / BASIC_BLOCK;
    // Records carry the UUID that metadata had when it was made, if that is another one.
    (blocks > 0).then(|| Log { from, start, blocks, uuids: system.uuids() })
}

impl<R: ReadAt + ?Sized> Log<'_, R> {
    fn read(&self, block: u64, count: u64) -> Option<Vec<u8>> {
        bytes_at(self.from, self.start.checked_add(block * BASIC_BLOCK)?, (count * BASIC_BLOCK) as usize)
    }

    /// How often the log had gone round when that block was written.
    fn cycle(&self, block: u64) -> Option<u32> {
        let bytes = self.read(block, 1)?;
        Some(be32(&bytes, if be32(&bytes, 0) == RECORD_MAGIC { 4 } else { 0 }))
    }

    /// Cycle and block of the head: one past the newest record.
    fn head(&self) -> Option<(u32, u64)> {
        let (first, last) = (self.cycle(0)?, self.cycle(self.blocks - 1)?);
        let head = if first == last {
            self.blocks
        } else {
            // The newest cycle fills the log from its start on; behind it lies the one before.
            let (mut low, mut high) = (0, self.blocks - 1);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if self.cycle(middle)? == first { low = middle } else { high = middle }
            }
            high
        };
        self.has_record_before(head, first).then_some((first, head))
    }

    /// Whether a record of this file system ends before `head`: what looks like a head may be damage.
    fn has_record_before(&self, head: u64, cycle: u32) -> bool {
        let from = head.saturating_sub(RECORD_BLOCKS_MAX);
        let Some(bytes) = self.read(from, head - from) else { return false };
        let is_record = |block: &[u8], at: u64| {
            be32(block, 0) == RECORD_MAGIC && be64(block, 16) == u64::from(cycle) << 32 | at && self.uuids.contains(&uuid(block, 304))
        };
        bytes.chunks_exact(BASIC_BLOCK as usize).zip(from..).any(|(block, at)| is_record(block, at))
    }
}

//! The journal of ext3 and ext4: which transaction was committed last, and when. Sources: Linux, `include/linux/jbd2.h`,
//! `fs/jbd2/recovery.c` (`do_one_pass`), Documentation/filesystems/ext4/journal.rst.

use super::super::fields::{be16, be32, be64, crc32c, crc32c_without};

const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
/// The superblock's kinds, versions 1 and 2.
const SUPERBLOCKS: [u32; 2] = [3, 4];

const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_CSUM_V2: u32 = 8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;

/// Bytes of a block's header.
const HEADER_BYTES: usize = 12;
/// Bytes of the superblock.
const SUPERBLOCK_BYTES: usize = 1024;
/// Blocks that are followed through a log that wasn't played back: each stands for hundreds of others.
const STEPS_MAX: u32 = 1 << 16;

/// The last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// The transaction's number.
    pub(super) sequence: u32,
    /// When it was, in seconds since 1970, where the log still holds it.
    pub(super) seconds: Option<i64>,
}

/// What the superblock says.
struct Superblock {
    /// One past the last block of the log, and its first.
    end: u32,
    first: u32,
    sequence: u32,
    start: u32,
    incompat: u32,
    seed: u32,
}

impl Superblock {
    /// Reads it; none where it is none, or its checksum doesn't hold.
    fn of(bytes: &[u8], block_bytes: usize) -> Option<Self> {
        if be32(bytes, 0) != MAGIC || !SUPERBLOCKS.contains(&be32(bytes, 4)) || be32(bytes, 12) as usize != block_bytes {
            return None;
        }
        let incompat = be32(bytes, 0x28);
        let summed = incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0;
        if summed && crc32c_without(!0, &bytes[..SUPERBLOCK_BYTES], 0xfc, 4) != be32(bytes, 0xfc) {
            return None;
        }
        let fast = if incompat & INCOMPAT_FAST_COMMIT == 0 {
            0
        } else {
            // 0: as many as there were before they were counted (JBD2_DEFAULT_FAST_COMMIT_BLOCKS).
            Some(be32(bytes, 0x54)).filter(|&blocks| blocks > 0).unwrap_or(256)
        };
        let (end, first, start) = (be32(bytes, 0x10).checked_sub(fast)?, be32(bytes, 0x14), be32(bytes, 0x1c));
        let sound = first > 0 && first < end && (start == 0 || (first..end).contains(&start));
        sound.then(|| Self { end, first, sequence: be32(bytes, 0x18), start, incompat, seed: crc32c(!0, &bytes[0x30..0x40]) })
    }

    fn has(&self, feature: u32) -> bool {
        self.incompat & feature != 0
    }

    /// How many blocks follow a descriptor; none where its tags have no end.
    fn described(&self, block: &[u8]) -> Option<u32> {
        let (v3, wide) = (self.has(INCOMPAT_CSUM_V3), self.has(INCOMPAT_64BIT));
        // journal_tag_bytes(): v2's sum takes two bytes more.
        let tag = if v3 { 16 } else { 8 + if wide { 4 } else { 0 } + if self.has(INCOMPAT_CSUM_V2) { 2 } else { 0 } };
        let tail = if self.has(INCOMPAT_CSUM_V2) || v3 { 4 } else { 0 };
        let (mut at, mut count) = (HEADER_BYTES, 0);
        while at + tag <= block.len() - tail {
            let flags = if v3 { be32(block, at + 4) } else { u32::from(be16(block, at + 6)) };
            count += 1;
            if flags & 8 != 0 {
                return Some(count); // the last tag
            }
            at += tag + if flags & 2 == 0 { 16 } else { 0 }; // its UUID, unless it is the same as before
        }
        None
    }

    /// Whether a commit block's sum holds, where it has one.
    fn holds(&self, block: &[u8]) -> bool {
        !(self.has(INCOMPAT_CSUM_V2) || self.has(INCOMPAT_CSUM_V3)) || crc32c_without(self.seed, block, 0x10, 4) == be32(block, 0x10)
    }

    /// The block so many behind `at`, round the log's end.
    fn ahead(&self, at: u32, by: u32) -> u32 {
        let length = self.end - self.first;
        self.first + ((u64::from(at - self.first) + u64::from(by)) % u64::from(length)) as u32
    }
}

/// The last commit of a journal in blocks of `block_bytes`, which `read` reads by their number.
pub(super) fn last_commit(block_bytes: usize, read: &dyn Fn(u32) -> Option<Vec<u8>>) -> Option<Commit> {
    let superblock = Superblock::of(&read(0)?, block_bytes)?;
    // What was played back says no more than this.
    let mut last = Commit { sequence: superblock.sequence.wrapping_sub(1), seconds: None };
    let (mut at, mut sequence) = (superblock.start, superblock.sequence);
    // A log that goes round once has been read: more is a circle that somebody made.
    let (mut passed, length) = (0, u64::from(superblock.end - superblock.first));
    for _ in 0..if superblock.start == 0 { 0 } else { STEPS_MAX } {
        if passed > length {
            break;
        }
        let Some(block) = read(at) else { break };
        if be32(&block, 0) != MAGIC || be32(&block, 8) != sequence {
            break;
        }
        let blocks = match be32(&block, 4) {
            DESCRIPTOR => match superblock.described(&block) {
                Some(count) => 1 + count,
                None => break,
            },
            REVOKE => 1,
            COMMIT if superblock.holds(&block) => {
                last = Commit { sequence, seconds: i64::try_from(be64(&block, 0x30)).ok() };
                sequence = sequence.wrapping_add(1);
                1
            }
            _ => break,
        };
        passed += u64::from(blocks);
        at = superblock.ahead(at, blocks);
    }
    Some(last)
}

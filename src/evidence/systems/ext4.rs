//! ext2, ext3 and ext4: who it is, how old it is, which blocks are free. Sources: Linux, `fs/ext4/ext4.h`, `fs/ext4/super.c`
//! (`ext4_superblock_csum`), Documentation/filesystems/ext4/.

use super::{
    super::{
        Age, Id, Origin, ReadAt, bytes_at,
        fields::{crc32c, le16, le32, uuid},
    },
    jbd2::{Commit, last_commit},
    said::Said,
};

/// Where the superblock lies in the file system, and how long it is, in bytes.
const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;

const COMPAT_HAS_JOURNAL: u32 = 4;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// A file system that was found.
pub(super) struct Ext4 {
    pub(super) start: u64,
    /// The superblock.
    pub(super) bytes: Vec<u8>,
    pub(super) block_bytes: u64,
    /// Whether the superblock has a checksum, and it holds.
    summed: bool,
}

impl Ext4 {
    pub(super) fn at(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Self> {
        let bytes = bytes_at(from, start.checked_add(SUPERBLOCK_AT)?, SUPERBLOCK_BYTES)?;
        let log = le32(&bytes, 0x18);
        if le16(&bytes, 0x38) != 0xef53 || log > 6 {
            return None;
        }
        let has_sum = le32(&bytes, 0x64) & RO_COMPAT_METADATA_CSUM != 0;
        if has_sum && crc32c(!0, &bytes[..0x3fc]) != le32(&bytes, 0x3fc) {
            return None;
        }
        Some(Self { start, block_bytes: 1024 << log, summed: has_sum, bytes })
    }

    fn id(&self) -> Id {
        Id { kind: "ext4", value: uuid(&self.bytes, 0x68).to_vec(), summed: self.summed }
    }

    pub(super) fn incompat(&self, feature: u32) -> bool {
        le32(&self.bytes, 0x60) & feature != 0
    }

    /// The last commit of its journal, where it lies within. Its inode's map is kept in the superblock, too (`s_jnl_blocks`).
    fn commit(&self, from: &(impl ReadAt + ?Sized)) -> Option<Commit> {
        let inside = le32(&self.bytes, 0x5c) & COMPAT_HAS_JOURNAL != 0 && le32(&self.bytes, 0xe0) != 0 && self.bytes[0xfd] == 1;
        let map = &self.bytes[0x10c..0x10c + 60];
        let length = self.block_bytes as usize;
        let read = |number: u64| bytes_at(from, self.start.checked_add(number.checked_mul(self.block_bytes)?)?, length);
        inside.then(|| last_commit(length, &|logical| read(physical(map, logical, (length / 4) as u32, &read)?)))?
    }

    /// When the superblock was last written, by the guest's clock; it says so only where its sum holds.
    fn written(&self) -> Option<i64> {
        let seconds = i64::from(le32(&self.bytes, 0x30)) | i64::from(self.bytes[0x274]) << 32;
        Some(seconds).filter(|&seconds| self.summed && seconds != 0)
    }
}

/// The block that holds a file's block number `logical`, by the 60 bytes of its inode's map: extents, or direct and indirect blocks
/// with `per_block` numbers each.
pub(super) fn physical(map: &[u8], logical: u32, per_block: u32, read: &dyn Fn(u64) -> Option<Vec<u8>>) -> Option<u64> {
    if le16(map, 0) == 0xf30a {
        return by_extents(map, logical, read);
    }
    let entry = |block: u64, at: u32| Some(u64::from(le32(&read(block)?, at as usize * 4)));
    let direct = |at: u32| Some(u64::from(le32(map, at as usize * 4)));
    let found = if logical < 12 {
        direct(logical)
    } else if logical - 12 < per_block {
        entry(direct(12)?, logical - 12)
    } else {
        let beyond = logical - 12 - per_block;
        let upper = Some(beyond / per_block).filter(|&upper| upper < per_block)?;
        entry(entry(direct(13)?, upper)?, beyond % per_block)
    };
    found.filter(|&block| block != 0)
}

/// By an extent tree, whose depth is 5 at most.
fn by_extents(map: &[u8], logical: u32, read: &dyn Fn(u64) -> Option<Vec<u8>>) -> Option<u64> {
    let mut node = map.to_vec();
    for _ in 0..6 {
        let (magic, count, depth) = (le16(&node, 0), usize::from(le16(&node, 2)), le16(&node, 6));
        if magic != 0xf30a || 12 + count * 12 > node.len() {
            return None;
        }
        let entries = node[12..12 + count * 12].chunks_exact(12);
        let entry = entries.take_while(|entry| le32(entry, 0) <= logical).last()?.to_vec();
        let low = |at: usize, high: usize| u64::from(le32(&entry, at)) | u64::from(le16(&entry, high)) << 32;
        if depth == 0 {
            let within = logical - le32(&entry, 0);
            // More than 32768: allocated, and not written yet.
            return (within < u32::from(le16(&entry, 4))).then(|| low(8, 6) + u64::from(within));
        }
        node = read(low(4, 8))?;
    }
    None
}

/// Who it is, and how old: by its journal's last commit, and by its superblock's time.
pub(super) fn ask(from: &(impl ReadAt + ?Sized), start: u64) -> Option<Said> {
    let system = Ext4::at(from, start)?;
    let commit = system.commit(from);
    let seconds = system.written().max(commit.and_then(|commit| commit.seconds));
    let counter = commit.map(|commit| u64::from(commit.sequence));
    let known = counter.is_some() || seconds.is_some();
    let age = known.then_some(Age { origin: Origin { kind: "ext4", id: uuid(&system.bytes, 0x68) }, counter, seconds });
    Some(Said { ids: vec![system.id()], age })
}

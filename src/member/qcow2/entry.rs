//! Table entries: pure. Bits as in QEMU's docs/interop/qcow2.rst, "Cluster mapping"; what QEMU makes of bad ones as in
//! block/qcow2-cluster.c (`qcow2_get_host_offset`) and block/qcow2.h (`qcow2_get_subcluster_type`).

/// Bits 9 to 55: where something lies in a file.
pub const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// A compressed cluster.
pub const COMPRESSED: u64 = 1 << 62;
/// Nobody else refers to it.
pub const COPIED: u64 = 1 << 63;
const ZERO: u64 = 1;
/// Subclusters of a cluster with extended L2 entries.
pub const SUBCLUSTERS: u64 = 32;

/// What an entry leads to can't be used; as words.
pub type Flaw = &'static str;

/// What an L2 table's entry means depends on the image.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Logarithm of the cluster's bytes.
    pub cluster_bits: u32,
    /// 2 or 3.
    pub version: u32,
    /// Whether entries are 16 bytes, with a bitmap of subclusters.
    pub extended_l2: bool,
    /// Whether guests' data lies in another file.
    pub external_data: bool,
}

impl Layout {
    /// Bytes of an L2 entry.
    #[must_use]
    pub fn entry_bytes(self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// Bytes of a cluster.
    #[must_use]
    pub fn cluster_bytes(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of the guest's disk to which one L2 table leads.
    #[must_use]
    pub fn table_span(self) -> u64 {
        (self.cluster_bytes() / self.entry_bytes()) << self.cluster_bits
    }
}

/// Where the L2 table of an L1 entry lies; none where there is none.
///
/// # Errors
/// Where it isn't at a cluster's start.
pub fn l2_table(l1_entry: u64, layout: Layout) -> Result<Option<u64>, Flaw> {
    let offset = l1_entry & OFFSET;
    if !offset.is_multiple_of(layout.cluster_bytes()) {
        return Err("the L1 entry leads to a place that is no cluster's start");
    }
    Ok((offset != 0).then_some(offset))
}

/// What a part of a cluster holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing of its own: the backing file's bytes, or zeros.
    Unallocated,
    /// Zeros.
    Zero,
    /// Bytes as they are.
    Stored {
        /// Where its cluster lies in the file, in bytes.
        cluster: u64,
    },
    /// A compressed cluster.
    Compressed {
        /// Where it starts in the file, in bytes.
        at: u64,
        /// How many bytes of the file may belong to it.
        length: u64,
    },
    /// Nobody knows.
    Bad(Flaw),
}

/// What the part of a cluster with that number (below [`SUBCLUSTERS`]; 0 without extended entries) holds. `guest` is where the
/// cluster lies on the guest's disk, in bytes; `bitmap` is the second half of an extended entry.
#[must_use]
pub fn part(entry: u64, bitmap: u64, number: u64, guest: u64, layout: Layout) -> Part {
    if entry & COMPRESSED != 0 {
        return if layout.external_data {
            Part::Bad("a compressed cluster in an image with an external data file")
        } else {
            compressed(entry, layout)
        };
    }
    let cluster = entry & OFFSET;
    // With an external data file a cluster may lie at 0: then the bit tells ("Standard Cluster Descriptor").
    let allocated = cluster != 0 || (layout.external_data && entry & COPIED != 0);
    let (zero, stored) = if layout.extended_l2 {
        let (zeros, stored) = (bitmap >> 32, bitmap & 0xffff_ffff);
        if (allocated && zeros & stored != 0) || (!allocated && stored != 0) {
            return Part::Bad("the L2 entry's bitmap of subclusters contradicts itself");
        }
        (zeros >> number & 1 == 1, stored >> number & 1 == 1)
    } else {
        let zero = entry & ZERO != 0;
        if zero && layout.version < 3 {
            return Part::Bad("the L2 entry says zero, which version 2 doesn't know");
        }
        (zero, allocated && !zero)
    };
    if allocated && !cluster.is_multiple_of(layout.cluster_bytes()) {
        return Part::Bad("the L2 entry leads to a place that is no cluster's start");
    }
    if allocated && layout.external_data && cluster != guest {
        return Part::Bad("the L2 entry leads to another place of the external data file than the guest's own");
    }
    match (zero, stored) {
        (true, _) => Part::Zero,
        (false, true) => Part::Stored { cluster },
        (false, false) => Part::Unallocated,
    }
}

fn compressed(entry: u64, layout: Layout) -> Part {
    let (at, length) = decode_compressed(entry, layout.cluster_bits);
    Part::Compressed { at, length }
}

/// Where a compressed cluster starts in the file, and how many bytes may belong to it ("Compressed Clusters Descriptor").
#[must_use]
pub fn decode_compressed(entry: u64, cluster_bits: u32) -> (u64, u64) {
    let shift = 62 - (cluster_bits - 8);
    let at = entry & ((1 << shift) - 1);
    let further = entry >> shift & ((1 << (cluster_bits - 8)) - 1);
    (at, (further + 1) * 512 - at % 512)
}

/// The entry of a compressed cluster of `length` bytes at `at`; read back, they reach up to a sector's end.
#[must_use]
pub fn encode_compressed(at: u64, length: u64, cluster_bits: u32) -> u64 {
    let further = (at + length - 1) / 512 - at / 512;
    COMPRESSED | further << (62 - (cluster_bits - 8)) | at
}

#[cfg(test)]
mod tests {
    use super::{Layout, Part, compressed, l2_table, part};

    const LAYOUT: Layout = Layout { cluster_bits: 16, version: 3, extended_l2: false, external_data: false };

    #[test]
    fn entries_mean_what_the_specification_says() {
        assert_eq!(l2_table(1 << 63 | 0x30000, LAYOUT), Ok(Some(0x30000)));
        assert_eq!(l2_table(0x1ff, LAYOUT), Ok(None), "reserved bits are no offset");
        assert!(l2_table(0x30200, LAYOUT).is_err());
        let plain = |entry| part(entry, 0, 0, 0, LAYOUT);
        assert_eq!(plain(0), Part::Unallocated);
        assert_eq!(plain(1), Part::Zero);
        assert_eq!(plain(1 << 63 | 0x50001), Part::Zero);
        assert_eq!(plain(1 << 63 | 0x50000), Part::Stored { cluster: 0x50000 });
        assert!(matches!(plain(0x50200), Part::Bad(_)));
        assert!(matches!(part(1, 0, 0, 0, Layout { version: 2, ..LAYOUT }), Part::Bad(_)));
    }

    #[test]
    fn compressed_descriptors_split_by_the_cluster_size() {
        // 64 KiB: the offset has 54 bits, the count of further sectors 8.
        let entry = 1 << 62 | 3 << 54 | 0x12345;
        assert_eq!(compressed(entry, LAYOUT), Part::Compressed { at: 0x12345, length: 4 * 512 - 0x145 });
    }

    #[test]
    fn subclusters_have_their_own_state() {
        let layout = Layout { extended_l2: true, ..LAYOUT };
        let sub = |entry, bitmap, number| part(entry, bitmap, number, 0, layout);
        assert_eq!(sub(0x50000, 0b10, 1), Part::Stored { cluster: 0x50000 });
        assert_eq!(sub(0x50000, 0b10, 0), Part::Unallocated);
        assert_eq!(sub(0x50000, 1 << 33, 1), Part::Zero);
        assert_eq!(sub(0, 1 << 33, 1), Part::Zero);
        assert!(matches!(sub(0, 1, 5), Part::Bad(_)));
        assert!(matches!(sub(0x50000, 1 << 33 | 0b10, 5), Part::Bad(_)));
    }

    #[test]
    fn external_data_lies_where_the_guest_has_it() {
        let layout = Layout { external_data: true, ..LAYOUT };
        assert_eq!(part(1 << 63, 0, 0, 0, layout), Part::Stored { cluster: 0 });
        assert_eq!(part(0, 0, 0, 0, layout), Part::Unallocated);
        assert!(matches!(part(1 << 63 | 0x10000, 0, 0, 0x20000, layout), Part::Bad(_)));
        assert!(matches!(part(1 << 62 | 0x10000, 0, 0, 0, layout), Part::Bad(_)));
    }
}

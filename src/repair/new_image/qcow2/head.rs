//! The header, and what may be chosen about an image.

use crate::{
    member::qcow2::{Compression, MAGIC},
    repair::RepairError,
};

/// QEMU's bound on an L1 table, in bytes (block/qcow2.h, `QCOW_MAX_L1_SIZE`).
const L1_BYTES_MAX: u64 = 32 << 20;
const V2_BYTES: usize = 72;
const V3_BYTES: usize = 112;
/// Logarithm of a reference count's bits: 16 of them, as qemu-img makes images.
const REFCOUNT_ORDER: u32 = 4;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;

/// The version of the format, by qemu-img's names for who can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// Version 2, QEMU 0.10.
    V2,
    /// Version 3, QEMU 1.1.
    V3,
}

/// What may be chosen about a new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Logarithm of the cluster's bytes, from 9 to 21.
    pub cluster_bits: u32,
    /// The version.
    pub compat: Compat,
    /// How clusters are compressed.
    pub compression: Compression,
    /// Whether they are.
    pub compressed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { cluster_bits: 16, compat: Compat::V3, compression: Compression::Zlib, compressed: false }
    }
}

/// Options that don't make an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Too many clusters.
    #[error(
        "a disk of {size} bytes needs larger clusters than {cluster_bytes} bytes\nhint: {}",
        large_enough(*size)
    )]
    TooLarge {
        /// The disk's bytes.
        size: u64,
        /// The cluster's.
        cluster_bytes: u64,
    },
    /// An old version with a new compression.
    #[error("compression_type=zstd needs compat=1.1\nhint: leave one of them out")]
    OldZstd,
}

impl From<OptionsError> for RepairError {
    fn from(error: OptionsError) -> Self {
        Self::Options(error.to_string())
    }
}

impl Options {
    /// Bytes of a cluster.
    #[must_use]
    pub fn cluster_bytes(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of the L1 table for a disk of `size` bytes.
    ///
    /// # Errors
    /// Where the table would be larger than QEMU reads, or the options contradict each other.
    pub fn l1_entries(self, size: u64) -> Result<u64, OptionsError> {
        if self.compression == Compression::Zstd && self.compat == Compat::V2 {
            return Err(OptionsError::OldZstd);
        }
        let entries = l1_entries(size, self.cluster_bits);
        if entries * 8 > L1_BYTES_MAX {
            return Err(OptionsError::TooLarge { size, cluster_bytes: self.cluster_bytes() });
        }
        Ok(entries)
    }
}

fn l1_entries(size: u64, cluster_bits: u32) -> u64 {
    size.div_ceil(1 << (2 * cluster_bits - 3))
}

fn large_enough(size: u64) -> String {
    match (9..=21).find(|&bits| l1_entries(size, bits) * 8 <= L1_BYTES_MAX) {
        Some(bits) => format!("--output-options cluster_size={}", 1u64 << bits),
        None => "no qcow2 image is so large; without -O qcow2 a raw one is written".into(),
    }
}

/// The first cluster: the header. `l1` and `refcounts` say where the tables lie, in bytes, and their entries or clusters.
#[must_use]
pub(super) fn bytes(options: Options, size: u64, l1: (u64, u64), refcounts: (u64, u64)) -> Vec<u8> {
    let mut header = vec![0; options.cluster_bytes() as usize];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(4, &if options.compat == Compat::V2 { 2u32 } else { 3 }.to_be_bytes());
    put(20, &options.cluster_bits.to_be_bytes());
    put(24, &size.to_be_bytes());
    put(36, &(l1.1 as u32).to_be_bytes());
    put(40, &l1.0.to_be_bytes());
    put(48, &refcounts.0.to_be_bytes());
    put(56, &(refcounts.1 as u32).to_be_bytes());
    if options.compat == Compat::V3 {
        let zstd = options.compression == Compression::Zstd;
        put(72, &if zstd { INCOMPATIBLE_COMPRESSION } else { 0 }.to_be_bytes());
        put(96, &REFCOUNT_ORDER.to_be_bytes());
        put(100, &(V3_BYTES as u32).to_be_bytes());
        put(104, &[u8::from(zstd)]);
    }
    // The list of extensions ends at once: zeros, after either version's header.
    const { assert!(V2_BYTES + 8 <= 512 && V3_BYTES + 8 <= 512) };
    header
}

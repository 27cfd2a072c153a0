//! The header and its extensions: pure, from bytes. Names and offsets as in QEMU's docs/interop/qcow2.rst, "Header".

use std::fmt;

/// What a qcow2 file begins with.
pub const MAGIC: &[u8; 4] = b"QFI\xfb";
/// The bytes of a version 2 header, and of the part that says where the rest ends.
pub const HEAD_BYTES: usize = 104;

const V2_BYTES: usize = 72;
const CLUSTER_BITS_MIN: u32 = 9;
/// QEMU's bound (block/qcow2.h, `MAX_CLUSTER_BITS`).
const CLUSTER_BITS_MAX: u32 = 21;
/// Each cluster of an extended L2 table has 32 subclusters of at least 512 bytes.
const EXTENDED_CLUSTER_BITS_MIN: u32 = 14;
/// QEMU's bound on L1 tables, in bytes (block/qcow2.h, `QCOW_MAX_L1_SIZE`).
const L1_BYTES_MAX: u64 = 32 << 20;
/// Longest name of a backing file ("Backing file name").
const BACKING_NAME_BYTES_MAX: usize = 1023;
/// Snapshots that QEMU allows (block/qcow2.h, `QCOW_MAX_SNAPSHOTS`).
const SNAPSHOTS_MAX: u32 = 65536;

const INCOMPATIBLE_DIRTY: u64 = 1;
const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;
const INCOMPATIBLE_KNOWN: u64 =
    INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT | INCOMPATIBLE_DATA_FILE | INCOMPATIBLE_COMPRESSION | INCOMPATIBLE_EXTENDED_L2;
const COMPATIBLE_LAZY_REFCOUNTS: u64 = 1;
const AUTOCLEAR_BITMAPS: u64 = 1;
const AUTOCLEAR_RAW_DATA_FILE: u64 = 1 << 1;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_FEATURE_NAMES: u32 = 0x6803_f857;
/// QEMU's bound on the refcount table (block/qcow2.h, `QCOW_MAX_REFTABLE_SIZE`).
const REFCOUNT_TABLE_BYTES_MAX: u64 = 8 << 20;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Raw deflate streams.
    Zlib,
    /// Zstandard frames.
    Zstd,
}

impl Compression {
    /// As qemu-img names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

/// What the header says; offsets and sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Logarithm of the cluster's bytes, from 9 to 21.
    pub cluster_bits: u32,
    /// What a guest sees.
    pub size: u64,
    /// Where the active L1 table lies, at a cluster's start.
    pub l1_offset: u64,
    /// Its entries.
    pub l1_entries: u32,
    /// Where the refcount table lies.
    pub refcount_table_offset: u64,
    /// Clusters that the refcount table takes.
    pub refcount_table_clusters: u32,
    /// Logarithm of a refcount's bits, from 0 to 6.
    pub refcount_order: u32,
    /// Where the table of internal snapshots lies.
    pub snapshots_offset: u64,
    /// How many there are.
    pub snapshots: u32,
    /// How compressed clusters are compressed.
    pub compression: Compression,
    /// Whether L2 entries have subclusters.
    pub extended_l2: bool,
    /// Refcounts may be stale.
    pub dirty: bool,
    /// QEMU found damage in its metadata.
    pub corrupt: bool,
    /// Guests' data lies in another file.
    pub external_data: bool,
    /// The other file is a raw image of its own.
    pub raw_external_data: bool,
    /// Refcounts are updated late.
    pub lazy_refcounts: bool,
    /// Persistent bitmaps that are in step with the data.
    pub bitmaps: u32,
    /// All bits that are to be cleared by who writes and doesn't know them.
    pub autoclear: u64,
    /// The backing file's name.
    pub backing: Option<Vec<u8>>,
    /// The backing file's format.
    pub backing_format: Option<Vec<u8>>,
    /// The external data file's name.
    pub data_file: Option<Vec<u8>>,
    /// What QEMU doesn't open it for, though the guest's disk can be read without.
    pub flaws: Vec<String>,
}

/// Why a header can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It is damaged: which field, at which byte of the file, and what is wrong with it.
    Damaged {
        /// Offset of the field in bytes.
        offset: u64,
        /// The field, as the specification names it.
        field: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The disk is encrypted.
    Encrypted {
        /// By which method.
        how: String,
        /// What a guest sees, in bytes.
        size: u64,
    },
    /// It has features that this program doesn't know: their names, or numbers.
    Features(Vec<String>),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { offset, field, what } => write!(f, "its qcow2 header can't be read: {field} at offset {offset:#x} {what}"),
            Self::Encrypted { how, size } => write!(f, "the disk is encrypted ({how}); a guest sees {size} bytes of it"),
            Self::Features(names) => write!(f, "it needs features that aren't known here: {}", names.join(", ")),
        }
    }
}

fn damaged(offset: u64, field: &'static str, what: impl Into<String>) -> HeaderError {
    HeaderError::Damaged { offset, field, what: what.into() }
}

/// The bytes of a file that hold the whole header with its extensions: one cluster.
///
/// # Errors
/// Where the first [`HEAD_BYTES`] bytes (less where the file is shorter) can't be those of a header.
pub fn header_bytes(head: &[u8]) -> Result<u64, HeaderError> {
    if head.len() < V2_BYTES {
        return Err(damaged(head.len() as u64, "header", format!("ends with the file, after {} bytes", head.len())));
    }
    if &head[..4] != MAGIC {
        return Err(damaged(0, "magic", "isn't QFI\\xfb"));
    }
    let version = u32_at(head, 4);
    if !(2..=3).contains(&version) {
        return Err(damaged(4, "version", format!("is {version}; 2 and 3 are known")));
    }
    let cluster_bits = u32_at(head, 20);
    if !(CLUSTER_BITS_MIN..=CLUSTER_BITS_MAX).contains(&cluster_bits) {
        return Err(damaged(20, "cluster_bits", format!("is {cluster_bits}; {CLUSTER_BITS_MIN} to {CLUSTER_BITS_MAX} are possible")));
    }
    Ok(1 << cluster_bits)
}

impl Header {
    /// Reads the header from the file's first cluster (less where the file is shorter).
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let cluster_bytes = header_bytes(bytes)?;
        let bytes = &bytes[..bytes.len().min(cluster_bytes as usize)];
        let (version, cluster_bits) = (u32_at(bytes, 4), u32_at(bytes, 20));
        let crypt = u32_at(bytes, 32);
        let (mut features, mut compatible, mut autoclear, mut refcount_order, mut length) = (0, 0, 0, 4, V2_BYTES);
        if version == 3 {
            if bytes.len() < HEAD_BYTES {
                return Err(damaged(bytes.len() as u64, "header", format!("ends with the file, after {} bytes", bytes.len())));
            }
            (features, compatible, autoclear) = (u64_at(bytes, 72), u64_at(bytes, 80), u64_at(bytes, 88));
            (refcount_order, length) = (u32_at(bytes, 96), u32_at(bytes, 100) as usize);
            // The specification asks for a multiple of 8; QEMU doesn't look.
            if length < HEAD_BYTES || length > bytes.len() {
                return Err(damaged(100, "header_length", format!("is {length}, outside of {HEAD_BYTES} to {}", bytes.len())));
            }
        }
        let backing_offset = u64_at(bytes, 8);
        let extensions_end = if (1..bytes.len() as u64).contains(&backing_offset) { backing_offset as usize } else { bytes.len() };
        let extensions = Extensions::parse(bytes, length, extensions_end)?;
        let unknown = features & !INCOMPATIBLE_KNOWN;
        if unknown != 0 {
            let name = |bit: u32| extensions.feature_names.iter().find(|(number, _)| *number == bit).map(|(_, name)| name.clone());
            let bits = (0..64).filter(|bit| unknown >> bit & 1 == 1);
            return Err(HeaderError::Features(bits.map(|bit| name(bit).unwrap_or_else(|| format!("bit {bit}"))).collect()));
        }
        let encrypted = |how| Err(HeaderError::Encrypted { how, size: u64_at(bytes, 24) });
        match crypt {
            0 => {}
            1 => return encrypted("AES".into()),
            2 => return encrypted("LUKS".into()),
            other => return encrypted(format!("method {other}")),
        }
        let extended_l2 = features & INCOMPATIBLE_EXTENDED_L2 != 0;
        if extended_l2 && cluster_bits < EXTENDED_CLUSTER_BITS_MIN {
            return Err(damaged(20, "cluster_bits", format!("is {cluster_bits}, too small for extended L2 entries")));
        }
        if refcount_order > 6 {
            return Err(damaged(96, "refcount_order", format!("is {refcount_order}; 0 to 6 are possible")));
        }
        let size = u64_at(bytes, 24);
        if i64::try_from(size).is_err() {
            return Err(damaged(24, "size", format!("is {size:#x}, more than a disk can have")));
        }
        let (l1_entries, l1_offset) = (u32_at(bytes, 36), u64_at(bytes, 40));
        let entry_bits = if extended_l2 { 4 } else { 3 };
        let needed = size.div_ceil(1 << (2 * cluster_bits - entry_bits));
        if u64::from(l1_entries) < needed {
            return Err(damaged(36, "l1_size", format!("is {l1_entries}, and a disk of {size} bytes needs {needed}")));
        }
        if u64::from(l1_entries) * 8 > L1_BYTES_MAX {
            return Err(damaged(36, "l1_size", format!("is {l1_entries}; at most {} are possible", L1_BYTES_MAX / 8)));
        }
        if !l1_offset.is_multiple_of(cluster_bytes) || i64::try_from(l1_offset).is_err() {
            return Err(damaged(40, "l1_table_offset", format!("is {l1_offset:#x}, not the start of a cluster")));
        }
        let snapshots = u32_at(bytes, 60);
        if snapshots > SNAPSHOTS_MAX {
            return Err(damaged(60, "nb_snapshots", format!("is {snapshots}; at most {SNAPSHOTS_MAX} are possible")));
        }
        let external_data = features & INCOMPATIBLE_DATA_FILE != 0;
        let flaws = flaws(bytes, cluster_bytes, (external_data, autoclear), &extensions);
        Ok(Self {
            flaws,
            version,
            cluster_bits,
            // A guest sees whole sectors only (block/qcow2.c, `qcow2_do_open`).
            size: size - size % 512,
            l1_offset,
            l1_entries,
            refcount_table_offset: u64_at(bytes, 48),
            refcount_table_clusters: u32_at(bytes, 56),
            refcount_order,
            snapshots_offset: u64_at(bytes, 64),
            snapshots,
            compression: compression(bytes, length, features)?,
            extended_l2,
            dirty: features & INCOMPATIBLE_DIRTY != 0,
            corrupt: features & INCOMPATIBLE_CORRUPT != 0,
            external_data,
            raw_external_data: external_data && autoclear & AUTOCLEAR_RAW_DATA_FILE != 0,
            lazy_refcounts: compatible & COMPATIBLE_LAZY_REFCOUNTS != 0,
            bitmaps: if autoclear & AUTOCLEAR_BITMAPS != 0 { extensions.bitmaps } else { 0 },
            autoclear,
            backing: backing_name(bytes, backing_offset)?,
            backing_format: extensions.backing_format,
            data_file: extensions.data_file,
        })
    }

    /// Bytes of a cluster.
    #[must_use]
    pub fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }
}

fn compression(bytes: &[u8], length: usize, features: u64) -> Result<Compression, HeaderError> {
    let kind = if length > HEAD_BYTES { bytes[HEAD_BYTES] } else { 0 };
    // The bit says that the field isn't 0 ("Incompatible features", bit 3).
    match (kind, features & INCOMPATIBLE_COMPRESSION != 0) {
        (0, false) => Ok(Compression::Zlib),
        (1, true) => Ok(Compression::Zstd),
        (0 | 1, _) => Err(damaged(104, "compression_type", format!("is {kind}, against the feature bit for it"))),
        _ => Err(damaged(104, "compression_type", format!("is {kind}; 0 (zlib) and 1 (zstd) are known"))),
    }
}

/// What QEMU refuses to open an image for, though the guest's disk can be read without (block/qcow2.c, `qcow2_do_open`,
/// `qcow2_read_extensions`).
fn flaws(bytes: &[u8], cluster_bytes: u64, (external_data, autoclear): (bool, u64), extensions: &Extensions) -> Vec<String> {
    let mut flaws = Vec::new();
    let (table_offset, table_clusters) = (u64_at(bytes, 48), u32_at(bytes, 56));
    if table_clusters == 0 {
        flaws.push("its header says that its refcount table has no clusters".into());
    } else if u64::from(table_clusters).saturating_mul(cluster_bytes) > REFCOUNT_TABLE_BYTES_MAX {
        flaws.push(format!("its header says that its refcount table has {table_clusters} clusters, more than QEMU reads"));
    }
    if !table_offset.is_multiple_of(cluster_bytes) {
        flaws.push(format!("its refcount table would lie at {table_offset:#x}, which is no cluster's start"));
    }
    if !u64_at(bytes, 64).is_multiple_of(cluster_bytes) && u32_at(bytes, 60) > 0 {
        flaws.push(format!("its snapshot table would lie at {:#x}, which is no cluster's start", u64_at(bytes, 64)));
    }
    if u64_at(bytes, 8) != 0 && u32_at(bytes, 16) == 0 {
        flaws.push("its header names a backing file whose name has no length".into());
    }
    if !external_data && autoclear & AUTOCLEAR_RAW_DATA_FILE != 0 {
        flaws.push("its header says that its data file is raw (data_file_raw), and it has none".into());
    }
    if external_data && extensions.data_file.is_none() {
        flaws.push("its header says that its data lies in another file, and names none".into());
    }
    if let (true, Some(directory)) = (autoclear & AUTOCLEAR_BITMAPS != 0, &extensions.bitmap_directory) {
        let sound = directory.len() == 24 && {
            let (count, reserved, size, offset) = (u32_at(directory, 0), u32_at(directory, 4), u64_at(directory, 8), u64_at(directory, 16));
            (1..=65535).contains(&count)
                && reserved == 0
                && size >= u64::from(count) * 24
                && offset != 0
                && offset.is_multiple_of(cluster_bytes)
        };
        if !sound {
            flaws.push("its bitmaps extension is damaged".into());
        }
    }
    flaws
}

fn backing_name(bytes: &[u8], offset: u64) -> Result<Option<Vec<u8>>, HeaderError> {
    let length = u32_at(bytes, 16) as usize;
    if offset == 0 || length == 0 {
        return Ok(None);
    }
    if length > BACKING_NAME_BYTES_MAX {
        return Err(damaged(16, "backing_file_size", format!("is {length}; at most {BACKING_NAME_BYTES_MAX} are possible")));
    }
    let name = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(length)?));
    name.map(|name| Some(text(name)))
        .ok_or_else(|| damaged(8, "backing_file_offset", format!("is {offset:#x}, outside of the first cluster")))
}

/// The header extensions that matter here.
#[derive(Default)]
struct Extensions {
    backing_format: Option<Vec<u8>>,
    data_file: Option<Vec<u8>>,
    bitmaps: u32,
    /// The bitmaps extension as it stands.
    bitmap_directory: Option<Vec<u8>>,
    /// Names of incompatible features by bit.
    feature_names: Vec<(u32, String)>,
}

impl Extensions {
    fn parse(bytes: &[u8], start: usize, end: usize) -> Result<Self, HeaderError> {
        let mut found = Self::default();
        let mut at = start;
        while at + 8 <= end {
            let (kind, length) = (u32_at(bytes, at), u32_at(bytes, at + 4) as usize);
            if kind == EXTENSION_END {
                break;
            }
            let Some(data) = bytes[..end].get(at + 8..).and_then(|rest| rest.get(..length)) else {
                return Err(damaged(at as u64, "header extension", format!("is {length} bytes long, more than there are")));
            };
            match kind {
                EXTENSION_BACKING_FORMAT => found.backing_format = Some(text(data)),
                EXTENSION_DATA_FILE => found.data_file = Some(text(data)),
                EXTENSION_BITMAPS => {
                    found.bitmaps = if length >= 4 { u32_at(data, 0) } else { 0 };
                    found.bitmap_directory = Some(data.to_vec());
                }
                EXTENSION_FEATURE_NAMES => {
                    // Type 0: incompatible; then the bit, and a name padded with zeros ("Feature name table").
                    let names = data.chunks_exact(48).filter(|entry| entry[0] == 0);
                    found.feature_names.extend(names.map(|entry| {
                        let name = &entry[2..];
                        let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                        (u32::from(entry[1]), crate::member::escaped(&String::from_utf8_lossy(&name[..length])))
                    }));
                }
                _ => {}
            }
            at += 8 + length.next_multiple_of(8);
        }
        Ok(found)
    }
}

/// Names end at a NUL, as they do in QEMU, which keeps them as C strings.
fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|&byte| byte != 0).collect()
}

/// # Panics
/// Where the bytes end before.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// # Panics
/// As above.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

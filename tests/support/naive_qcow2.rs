//! A qcow2 image read naively, from all of its bytes at once: what QEMU's docs/interop/qcow2.rst says, cluster by cluster, with nothing
//! of the program in it. What can't be known is none.

/// Sectors of the disk, in order; none where the header can't be read, or says something that isn't for this reader: other files,
/// encryption, unknown features, more than `sectors_max` sectors.
#[must_use]
pub fn read(bytes: &[u8], sectors_max: u64) -> Option<Vec<Option<[u8; 512]>>> {
    let image = Image::open(bytes)?;
    let sectors = image.size / 512;
    if sectors > sectors_max {
        return None;
    }
    Some((0..sectors).map(|sector| image.sector(sector * 512)).collect())
}

struct Image<'a> {
    bytes: &'a [u8],
    bits: u32,
    size: u64,
    l1: u64,
    version: u32,
    extended: bool,
    zstd: bool,
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    let at = usize::try_from(at).ok()?;
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

impl<'a> Image<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        if bytes.get(..4)? != b"QFI\xfb" || bytes.len() < 72 {
            return None;
        }
        let (version, bits) = (u32_at(bytes, 4)?, u32_at(bytes, 20)?);
        if !(2..=3).contains(&version) || !(9..=21).contains(&bits) || u32_at(bytes, 32)? != 0 {
            return None;
        }
        let cluster = 1u64 << bits;
        let mut end = (bytes.len() as u64).min(cluster);
        let (mut features, mut order, mut length) = (0, 4, 72);
        if version == 3 {
            (features, order, length) = (u64_at(bytes, 72)?, u32_at(bytes, 96)?, u64::from(u32_at(bytes, 100)?));
            if bytes.len() < 104 || !(104..=end).contains(&length) {
                return None;
            }
        }
        let (backing, backing_length) = (u64_at(bytes, 8)?, u32_at(bytes, 16)?);
        // Dirty, corrupt, zstd and extended L2 are for this reader; other files aren't.
        if features & !0b11011 != 0 || (backing != 0 && backing_length != 0) || order > 6 || u32_at(bytes, 60)? > 65536 {
            return None;
        }
        if (1..end).contains(&backing) {
            end = backing;
        }
        let mut at = length;
        while at + 8 <= end {
            let (kind, size) = (u32_at(bytes, at)?, u64::from(u32_at(bytes, at + 4)?));
            if kind == 0 {
                break;
            }
            if at + 8 + size > end {
                return None;
            }
            at += 8 + size.next_multiple_of(8);
        }
        let kind = if length > 104 { bytes[104] } else { 0 };
        let zstd = match (kind, features >> 3 & 1) {
            (0, 0) => false,
            (1, 1) => true,
            _ => return None,
        };
        let extended = features >> 4 & 1 == 1;
        let size = u64_at(bytes, 24)?;
        let (l1_entries, l1) = (u64::from(u32_at(bytes, 36)?), u64_at(bytes, 40)?);
        let span_bits = 2 * bits - if extended { 4 } else { 3 };
        let fits = size.div_ceil(1 << span_bits) <= l1_entries && l1_entries <= 4 << 20;
        if (extended && bits < 14) || size >> 63 != 0 || l1 >> 63 != 0 || !l1.is_multiple_of(cluster) || !fits {
            return None;
        }
        Some(Self { bytes, bits, size, l1, version, extended, zstd })
    }

    fn sector(&self, at: u64) -> Option<[u8; 512]> {
        let (cluster, entry_bytes) = (1u64 << self.bits, if self.extended { 16 } else { 8 });
        let per_table = cluster / entry_bytes;
        let number = at / cluster;
        let table = u64_at(self.bytes, self.l1 + number / per_table * 8)? & OFFSET;
        if !table.is_multiple_of(cluster) {
            return None;
        }
        if table == 0 {
            return Some([0; 512]);
        }
        let place = table + number % per_table * entry_bytes;
        let entry = u64_at(self.bytes, place)?;
        let bitmap = if self.extended { u64_at(self.bytes, place + 8)? } else { 0 };
        if entry >> 62 & 1 == 1 {
            return self.compressed(entry, at % cluster);
        }
        let host = entry & OFFSET;
        let (zero, stored) = if self.extended {
            let (zeros, stored) = (bitmap >> 32, bitmap & 0xffff_ffff);
            if (host != 0 && zeros & stored != 0) || (host == 0 && stored != 0) {
                return None;
            }
            let bit = at % cluster / (cluster / 32);
            (zeros >> bit & 1 == 1, stored >> bit & 1 == 1)
        } else {
            if entry & 1 == 1 && self.version == 2 {
                return None;
            }
            (entry & 1 == 1, entry & 1 == 0 && host != 0)
        };
        if !host.is_multiple_of(cluster) {
            return None;
        }
        if zero || !stored {
            return Some([0; 512]);
        }
        let from = usize::try_from(host + at % cluster).ok()?;
        // What lies behind the file's end is missing.
        self.bytes.get(from..from.checked_add(512)?)?.try_into().ok()
    }

    fn compressed(&self, entry: u64, inside: u64) -> Option<[u8; 512]> {
        let shift = 62 - (self.bits - 8);
        let (at, further) = (entry & ((1 << shift) - 1), entry >> shift & ((1 << (self.bits - 8)) - 1));
        let end = (at + (further + 1) * 512 - at % 512).min(self.bytes.len() as u64);
        let from = self.bytes.get(usize::try_from(at).ok()?..usize::try_from(end).ok()?)?;
        let mut cluster = vec![0; 1 << self.bits];
        let filled = if self.zstd {
            let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
            fill_zstd(&mut decoder, from, &mut cluster)
        } else {
            let mut deflate = flate2::Decompress::new(false);
            let ended = deflate.decompress(from, &mut cluster, flate2::FlushDecompress::Finish);
            ended.is_ok() && deflate.total_out() == cluster.len() as u64
        };
        let inside = inside as usize;
        if filled { cluster[inside..inside + 512].try_into().ok() } else { None }
    }
}

fn fill_zstd(decoder: &mut zstd::stream::raw::Decoder, from: &[u8], to: &mut [u8]) -> bool {
    use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
    let (mut from, mut to) = (InBuffer::around(from), OutBuffer::around(to));
    loop {
        let before = (from.pos(), to.pos());
        let Ok(left) = decoder.run(&mut from, &mut to) else { return false };
        if to.pos() == to.capacity() {
            return left == 0;
        }
        if before == (from.pos(), to.pos()) {
            return false;
        }
    }
}

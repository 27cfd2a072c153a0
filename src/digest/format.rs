//! The header of a digest. Pure; all numbers are little-endian.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    source::Source,
    tree::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Geometry, HashKind},
};
use crate::vote::{ByteRange, MEMBERS_MAX, SECTOR_MAX, SECTOR_MIN};

/// What a digest begins with.
pub const MAGIC: [u8; 8] = *b"QIMGDIG\0";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Longest header in bytes: 64 members with the longest names.
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// The header's length is a multiple of this, so that pages lie on pages.
const ALIGNMENT: usize = 4096;
/// Bytes before the texts.
const FIXED_BYTES: usize = 136;
/// Where the checksum stands.
const CHECKSUM_AT: usize = 112;
/// What the pages' checksums begin with is made of these bytes: the hash, the geometry, the part, the origin.
const SEED_OF: std::ops::Range<usize> = 16..64;
/// Longest text in bytes.
const TEXT_BYTES_MAX: usize = 8192;

/// How a digest was made, but for the times: parts that are to become one must have this in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The unit of the vote in bytes.
    pub sector: u32,
    /// Ballots that a version needed; 1 where it was made from one member.
    pub threshold: u32,
    /// The options that decided what was hashed, as one line.
    pub options: String,
    /// Who it was made from, in the user's order.
    pub sources: Vec<Source>,
}

/// What a digest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the image is cut and hashed.
    pub geometry: Geometry,
    /// The part that it tells of, in whole chunks (or up to the image's end).
    pub part: ByteRange,
    /// What tells it from digests of other members.
    pub origin: [u8; 16],
    /// How it was made.
    pub maker: Maker,
    /// When that was begun, and ended, in seconds and nanoseconds since 1970.
    pub started: (i64, u32),
    /// See `started`.
    pub finished: (i64, u32),
    /// Its pages.
    pub pages: u64,
    /// Chunks of which it has a value.
    pub values: u64,
    /// Chunks of which it knows nothing.
    pub unknown: u64,
}

/// Why bytes are no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    NoDigest,
    Version(u32),
    Damaged(String),
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let hash: u32 = match self.geometry.hash {
            HashKind::Blake3 => 1,
            HashKind::Xxh3 => 2,
            #[cfg(test)]
            HashKind::Weak => 0xffff,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]); // its length, below
        bytes.extend(hash.to_le_bytes());
        bytes.extend((self.geometry.chunk_bytes as u32).to_le_bytes());
        for number in [self.geometry.size, self.part.start, self.part.end] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.origin);
        bytes.extend(self.pages.to_le_bytes());
        bytes.extend(self.started.0.to_le_bytes());
        bytes.extend(self.finished.0.to_le_bytes());
        for number in [self.started.1, self.finished.1, self.maker.threshold, self.maker.sources.len() as u32, self.maker.sector, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 8]); // the checksum, below
        bytes.extend(self.values.to_le_bytes());
        bytes.extend(self.unknown.to_le_bytes());
        let text = |bytes: &mut Vec<u8>, text: &[u8]| {
            let text = &text[..text.len().min(TEXT_BYTES_MAX)];
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text);
        };
        text(&mut bytes, self.maker.options.as_bytes());
        for source in &self.maker.sources {
            let (seconds, nanoseconds) = source.modified.unwrap_or_default();
            bytes.extend(source.identity);
            bytes.extend(source.size.to_le_bytes());
            bytes.extend(u32::from(source.modified.is_some()).to_le_bytes());
            bytes.extend(nanoseconds.to_le_bytes());
            bytes.extend(seconds.to_le_bytes());
            text(&mut bytes, source.format.as_bytes());
            text(&mut bytes, &source.name);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let length = bytes.len() as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let sum = xxh3_64(&bytes);
        bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Its origin as UUIDs are written.
    #[must_use]
    pub fn origin_in_words(&self) -> String {
        let text = super::hex(&self.origin);
        [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
    }

    /// What the checksums of its pages begin with: a page of another digest isn't taken for one of this.
    #[must_use]
    pub fn seed(&self) -> u64 {
        xxh3_64(&self.encode()[SEED_OF])
    }

    /// How long the header is, by its first 16 bytes.
    pub(super) fn length(start: &[u8; 16]) -> Result<usize, Flaw> {
        if start[..8] != MAGIC {
            return Err(Flaw::NoDigest);
        }
        let number = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        if number(8) != VERSION {
            return Err(Flaw::Version(number(8)));
        }
        let length = number(12) as usize;
        if !length.is_multiple_of(ALIGNMENT) || !(ALIGNMENT..=HEADER_BYTES_MAX).contains(&length) {
            return Err(Flaw::Damaged(format!("it is said to be {length} bytes long")));
        }
        Ok(length)
    }

    /// Reads a whole header.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let damaged = |what: &str| Flaw::Damaged(what.to_owned());
        let start = bytes.first_chunk::<16>().ok_or(Flaw::NoDigest)?;
        if Self::length(start)? != bytes.len() {
            return Err(damaged("it is cut off"));
        }
        let mut summed = bytes.to_vec();
        summed[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
        let mut reader = Reader { bytes, at: 16 };
        let short = || damaged("it ends too early");
        let hash = match reader.u32().ok_or_else(short)? {
            1 => HashKind::Blake3,
            2 => HashKind::Xxh3,
            #[cfg(test)]
            0xffff => HashKind::Weak,
            other => return Err(Flaw::Damaged(format!("hash {other} isn't known"))),
        };
        let chunk_bytes = u64::from(reader.u32().ok_or_else(short)?);
        let mut number = || reader.u64().ok_or_else(short);
        let (size, start, end) = (number()?, number()?, number()?);
        let origin = reader.array::<16>().ok_or_else(short)?;
        let mut number = || reader.u64().ok_or_else(short);
        let (pages, started, finished) = (number()?, number()?.cast_signed(), number()?.cast_signed());
        let mut number = || reader.u32().ok_or_else(short);
        let (started_nano, finished_nano, threshold, sources, sector, _) =
            (number()?, number()?, number()?, number()?, number()?, number()?);
        let mut number = || reader.u64().ok_or_else(short);
        let (sum, values, unknown) = (number()?, number()?, number()?);
        debug_assert_eq!(reader.at, FIXED_BYTES);
        if sum != xxh3_64(&summed) {
            return Err(damaged("its checksum doesn't hold"));
        }
        // Behind a checksum that holds anybody may have written anything.
        if !chunk_bytes.is_power_of_two() || !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes) {
            return Err(Flaw::Damaged(format!("chunks of {chunk_bytes} bytes aren't possible")));
        }
        if !sector.is_power_of_two() || !(SECTOR_MIN..=SECTOR_MAX).contains(&sector) {
            return Err(Flaw::Damaged(format!("sectors of {sector} bytes aren't possible")));
        }
        let whole = (start.is_multiple_of(chunk_bytes) || start == size) && (end.is_multiple_of(chunk_bytes) || end == size);
        if start > end || end > size || !whole || size > i64::MAX as u64 {
            return Err(damaged("the part that it tells of isn't in whole chunks of the image"));
        }
        if sources as usize > MEMBERS_MAX || started_nano >= 1_000_000_000 || finished_nano >= 1_000_000_000 {
            return Err(damaged("its members or times make no sense"));
        }
        let options = String::from_utf8(reader.text().ok_or_else(short)?).map_err(|_| damaged("its options are no text"))?;
        let source = |reader: &mut Reader| {
            let (identity, size, timed) = (reader.array::<16>()?, reader.u64()?, reader.u32()?);
            let (nanoseconds, seconds) = (reader.u32()?, reader.u64()?.cast_signed());
            let format = String::from_utf8(reader.text()?).ok()?;
            Some(Source { identity, size, modified: (timed == 1).then_some((seconds, nanoseconds)), format, name: reader.text()? })
        };
        let sources: Option<Vec<Source>> = (0..sources).map(|_| source(&mut reader)).collect();
        let sources = sources.ok_or_else(short)?;
        Ok(Self {
            geometry: Geometry { hash, chunk_bytes, size },
            part: ByteRange::new(start, end),
            origin,
            maker: Maker { sector, threshold, options, sources },
            started: (started, started_nano),
            finished: (finished, finished_nano),
            pages,
            values,
            unknown,
        })
    }
}

/// Takes numbers and texts off bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.bytes.get(self.at..self.at.checked_add(N)?)?.try_into().ok()?;
        self.at += N;
        Some(array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()? as usize;
        let text = self.bytes.get(self.at..self.at.checked_add(length).filter(|_| length <= TEXT_BYTES_MAX)?)?.to_vec();
        self.at += length;
        Some(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Flaw, Geometry, HashKind, Header, Maker, Source};
    use crate::vote::ByteRange;
    use proptest::prelude::*;

    pub(crate) fn header() -> Header {
        let source = |byte: u8| Source {
            identity: [byte; 16],
            size: 100_000,
            modified: (byte > 1).then_some((-5, 999_999_999)),
            format: "qcow2".into(),
            name: vec![byte, 0xff, b'/'],
        };
        Header {
            geometry: Geometry { hash: HashKind::Blake3, chunk_bytes: 65536, size: 100_000 },
            part: ByteRange::new(65536, 100_000),
            origin: [7; 16],
            maker: Maker { sector: 512, threshold: 2, options: "--trust \u{fc}".into(), sources: vec![source(1), source(2)] },
            started: (-1, 5),
            finished: (1 << 40, 0),
            pages: 3,
            values: 1,
            unknown: 0,
        }
    }

    /// D2, D3, D4, D5: a header says what it was given, and no byte of it can be changed unnoticed.
    #[test]
    fn a_header_comes_back() {
        let bytes = header().encode();
        assert_eq!(bytes.len() % 4096, 0);
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 4;
            assert!(Header::decode(&other).is_err(), "byte {at}");
        }
        assert_eq!(Header::decode(b"QIMGJNL\0........"), Err(Flaw::NoDigest));
        let mut later = bytes;
        later[8] = 2;
        assert_eq!(Header::decode(&later), Err(Flaw::Version(2)));
    }

    proptest! {
        /// Whoever makes a checksum that holds finds no way to make it panic.
        #[test]
        fn no_header_panics(changes in prop::collection::vec((16usize..260, any::<u8>()), 1..8), cut in 0usize..5000) {
            let mut bytes = header().encode();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes[112..120].fill(0);
            let sum = xxhash_rust::xxh3::xxh3_64(&bytes);
            bytes[112..120].copy_from_slice(&sum.to_le_bytes());
            bytes.truncate(bytes.len().min(cut.max(1)));
            let _ = Header::decode(&bytes);
        }
    }
}

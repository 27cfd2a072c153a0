//! The journal's bytes: header, records, entries. Pure; all numbers are little-endian.

use xxhash_rust::xxh3::xxh3_64;

use crate::{electorate::JOURNAL_MAGIC as MAGIC, vote::MEMBERS_MAX};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// What checksums are of, in bytes, whatever the sector size: the piece that a power cut leaves old or new.
pub const UNIT_BYTES: u64 = 512;
/// Header and records start at its multiples: a write that is torn can't reach what was synced before.
pub(super) const ALIGNMENT: u64 = 4096;
/// Longest header, in bytes: 64 members with the longest paths and all their samples.
pub(super) const HEADER_BYTES_MAX: usize = 1 << 20;
/// Samples kept of a member at most.
pub(super) const SAMPLES_MAX: usize = 64;
/// Bytes that a sample is of.
pub const SAMPLE_BYTES: u64 = 4096;

/// Bytes of the header before the options' text.
const FIXED_BYTES: usize = 72;
/// Where the header's checksum stands.
const CHECKSUM_AT: usize = 56;

/// What a journal is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// A random number that its records repeat.
    pub id: [u8; 16],
    /// When it was begun, in seconds since 1970.
    pub created: i64,
    /// The virtual size that was repaired to, in bytes.
    pub size: u64,
    /// The unit of the vote in bytes.
    pub sector: u32,
    /// Length of the journal's file in bytes when it was made: it only grows.
    pub reserved: u64,
    /// The options that decide what is written, as one line.
    pub options: String,
    /// The members, in the user's order.
    pub members: Vec<Identity>,
}

/// What tells a member from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its absolute path then, as bytes.
    pub path: Vec<u8>,
    /// Whether it is a block device.
    pub device: bool,
    /// What its file system calls itself (`f_fsid`, or a UUID); zeros where that isn't known.
    pub file_system: [u8; 16],
    /// Its inode, of a file.
    pub inode: u64,
    /// The number of the device, or of the one that holds the file: a hint, for it changes on NFS, btrfs and after a reboot.
    pub device_number: u64,
    /// Length in bytes before the repair.
    pub size: u64,
    /// Checksums of bytes that the repair doesn't touch.
    pub samples: Vec<Sample>,
    /// When its file was modified before the repair, in seconds and nanoseconds since 1970; none of a device or an export, and in journals
    /// that don't tell.
    pub modified: Option<(i64, u32)>,
}

/// XXH3-64 of [`SAMPLE_BYTES`] bytes, or of fewer at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// First byte.
    pub offset: u64,
    /// The checksum.
    pub hash: u64,
}

/// Writes numbers one after the other.
#[derive(Default)]
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length, and so many bytes.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
    }
}

/// Reads them back; none where they end too early.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl<'a> Decoder<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}

impl Header {
    /// Its bytes, a multiple of 4096.
    ///
    /// # Panics
    /// Where it is longer than a header may be.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Encoder::default();
        body.text(self.options.as_bytes());
        for member in &self.members {
            body.text(&member.path);
            body.u32(u32::from(member.device));
            body.0.extend_from_slice(&member.file_system);
            body.u64(member.inode);
            body.u64(member.device_number);
            body.u64(member.size);
            body.u32(member.samples.len() as u32);
            for sample in &member.samples {
                body.u64(sample.offset);
                body.u64(sample.hash);
            }
        }
        // Behind all of them: what doesn't know of it sees the zeros at the end begin.
        for member in &self.members {
            let (seconds, nanoseconds) = member.modified.unwrap_or_default();
            body.u32(u32::from(member.modified.is_some()));
            body.u32(nanoseconds);
            body.u64(seconds.cast_unsigned());
        }
        let length = (FIXED_BYTES + body.0.len()).next_multiple_of(ALIGNMENT as usize);
        assert!(length <= HEADER_BYTES_MAX, "a journal's header of {length} bytes");
        let mut bytes = Encoder::default();
        bytes.0.extend_from_slice(MAGIC);
        bytes.u32(VERSION);
        bytes.u32(length as u32);
        bytes.0.extend_from_slice(&self.id);
        bytes.0.extend_from_slice(&self.created.to_le_bytes());
        bytes.u64(self.size);
        bytes.u32(self.sector);
        bytes.u32(self.members.len() as u32);
        bytes.u64(0);
        bytes.u64(self.reserved);
        bytes.0.extend_from_slice(&body.0);
        bytes.0.resize(length, 0);
        let hash = xxh3_64(&bytes.0);
        bytes.0[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&hash.to_le_bytes());
        bytes.0
    }

    /// Version and length in bytes of the header that begins so; none where nothing of a journal begins so.
    #[must_use]
    pub(super) fn begins(bytes: &[u8]) -> Option<(u32, usize)> {
        let mut from = Decoder(bytes);
        (from.take(MAGIC.len())? == MAGIC).then_some(())?;
        Some((from.u32()?, from.u32()? as usize))
    }

    /// Reads all of a header; none where it is damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, length) = Self::begins(bytes)?;
        if version != VERSION || length != bytes.len() {
            return None;
        }
        let mut blanked = bytes.to_vec();
        blanked.get_mut(CHECKSUM_AT..CHECKSUM_AT + 8)?.fill(0);
        let mut from = Decoder(bytes.get(16..)?);
        let (id, created, size, sector, members) = (from.array()?, from.i64()?, from.u64()?, from.u32()?, from.u32()?);
        if from.u64()? != xxh3_64(&blanked) || members as usize > MEMBERS_MAX || !sector.is_power_of_two() {
            return None;
        }
        let reserved = from.u64()?;
        let options = String::from_utf8(from.text()?.to_vec()).ok()?;
        let mut header = Self { id, created, size, sector, reserved, options, members: Vec::new() };
        for _ in 0..members {
            let path = from.text()?.to_vec();
            let device = from.u32()? != 0;
            let (file_system, inode, device_number, size) = (from.array()?, from.u64()?, from.u64()?, from.u64()?);
            let count = from.u32()? as usize;
            if count > SAMPLES_MAX {
                return None;
            }
            let samples = (0..count).map(|_| Some(Sample { offset: from.u64()?, hash: from.u64()? })).collect::<Option<_>>()?;
            header.members.push(Identity { path, device, file_system, inode, device_number, size, samples, modified: None });
        }
        for member in &mut header.members {
            let Some((known, nanoseconds, seconds)) = (|| Some((from.u32()?, from.u32()?, from.i64()?)))() else { break };
            member.modified = (known != 0).then_some((seconds, nanoseconds));
        }
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let member = |path: &[u8]| Identity {
            path: path.to_vec(),
            device: false,
            file_system: [7; 16],
            inode: 12,
            device_number: 259,
            size: 1 << 30,
            samples: vec![Sample { offset: 0, hash: 1 }, Sample { offset: 8192, hash: 2 }],
            modified: Some((-1, 999_999_999)).filter(|_| path.len() > 6),
        };
        let members = vec![member(b"/a.img"), member(b"/b\xff.img")];
        Header { id: [9; 16], created: -5, size: 1 << 30, sector: 512, reserved: 9000, options: "threshold 2".into(), members }
    }

    #[test]
    fn a_header_survives_and_no_flipped_bit_does() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), None, "bit {bit}");
        }
    }
}

//! The records of a journal, and their entries. Pure; all numbers are little-endian.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    UNIT_BYTES,
    format::{Decoder, Encoder},
};
use crate::{
    sys::storage::Stamp,
    vote::{ByteRange, MEMBERS_MAX},
};

/// Bytes of a record before its body.
pub(super) const HEAD_BYTES: usize = 64;
/// Bytes of an entry before its checksums.
pub(super) const ENTRY_BYTES: usize = 24;
/// Longest range of one entry, in bytes.
pub const ENTRY_RANGE_MAX: u64 = 1 << 20;
const RECORD_MAGIC: &[u8; 8] = b"QIMGREC\0";

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Old bytes; see [`Entry`].
    Batch,
    /// A session came to its end; see [`Ended`].
    Ended,
    /// From here on members are being put back.
    UndoBegun,
    /// They were put back.
    Undone,
    /// Members are going to get other lengths; see [`Resized`].
    Resized,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Batch => 1,
            Self::Ended => 2,
            Self::UndoBegun => 3,
            Self::Undone => 4,
            Self::Resized => 5,
        }
    }

    fn of(code: u32) -> Option<Self> {
        [Self::Batch, Self::Ended, Self::UndoBegun, Self::Undone, Self::Resized].into_iter().find(|kind| kind.code() == code)
    }
}

/// What stands before a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Counted from 0.
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    /// Counted from 0: the first repair, and each time it went on.
    pub(super) session: u32,
    /// The body's length in bytes.
    pub(super) length: u64,
    /// XXH3-64 of the body.
    pub(super) hash: u64,
}

impl Head {
    pub(super) fn encode(&self, id: &[u8; 16]) -> [u8; HEAD_BYTES] {
        let mut to = Encoder::default();
        to.0.extend_from_slice(RECORD_MAGIC);
        to.0.extend_from_slice(id);
        to.u64(self.sequence);
        to.u32(self.kind.code());
        to.u32(self.session);
        to.u64(self.length);
        to.u64(self.hash);
        to.u64(xxh3_64(&to.0));
        to.0.try_into().expect("eight fields make 64 bytes")
    }

    /// None where no record of that journal begins here, or its head is torn.
    pub(super) fn decode(bytes: &[u8], id: &[u8; 16]) -> Option<Self> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        let mut from = Decoder(bytes);
        if from.take(RECORD_MAGIC.len())? != RECORD_MAGIC || from.take(id.len())? != id {
            return None;
        }
        let (sequence, kind, session, length, hash) = (from.u64()?, from.u32()?, from.u32()?, from.u64()?, from.u64()?);
        (from.u64()? == xxh3_64(&bytes[..HEAD_BYTES - 8])).then_some(())?;
        Some(Self { sequence, kind: Kind::of(kind)?, session, length, hash })
    }
}

/// What a range was before it was rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Bytes, which follow.
    Data,
    /// It could not be read.
    Unreadable,
    /// A hole: zeros.
    Hole,
    /// Beyond the member's end.
    Beyond,
}

/// One range of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The member's number.
    pub member: usize,
    /// What was there.
    pub old: Old,
    /// Whether the range went away rather than being rewritten: the member was cut.
    pub cut: bool,
    /// Where, in bytes.
    pub range: ByteRange,
}

impl Entry {
    /// Units of [`UNIT_BYTES`] that it touches.
    pub(super) fn units(&self) -> usize {
        (self.range.end.div_ceil(UNIT_BYTES) - self.range.start / UNIT_BYTES) as usize
    }

    pub(super) fn old_hashes(&self) -> usize {
        if self.old == Old::Data { self.units() } else { 0 }
    }

    pub(super) fn new_hashes(&self) -> usize {
        if self.cut { 0 } else { self.units() }
    }

    /// Bytes of old data that follow the checksums, without the padding to 8.
    pub(super) fn payload(&self) -> usize {
        if self.old == Old::Data { self.range.length() as usize } else { 0 }
    }

    /// Bytes of the whole entry.
    pub(super) fn encoded_bytes(&self) -> usize {
        ENTRY_BYTES + 8 * (self.old_hashes() + self.new_hashes()) + self.payload().next_multiple_of(8)
    }

    pub(super) fn encode(&self, old_hashes: &[u64], new_hashes: &[u64], payload: &[u8], to: &mut Vec<u8>) {
        assert!(old_hashes.len() == self.old_hashes() && new_hashes.len() == self.new_hashes() && payload.len() == self.payload());
        assert!(self.range.length() <= ENTRY_RANGE_MAX && !self.range.is_empty());
        let mut bytes = Encoder(std::mem::take(to));
        bytes.u16(self.member as u16);
        let old = match self.old {
            Old::Data => 0,
            Old::Unreadable => 1,
            Old::Hole => 2,
            Old::Beyond => 3,
        };
        bytes.0.extend_from_slice(&[old, u8::from(self.cut)]);
        bytes.u32(0);
        bytes.u64(self.range.start);
        bytes.u64(self.range.length());
        old_hashes.iter().chain(new_hashes).for_each(|&hash| bytes.u64(hash));
        bytes.0.extend_from_slice(payload);
        bytes.0.resize(bytes.0.len().next_multiple_of(8), 0);
        *to = bytes.0;
    }

    /// The entry of a journal of so many members that begins so.
    pub(super) fn decode(bytes: &[u8], members: usize) -> Option<Self> {
        let mut from = Decoder(bytes);
        let member = usize::from(from.u16()?);
        let [old, flags] = from.array()?;
        let old = match old {
            0 => Old::Data,
            1 => Old::Unreadable,
            2 => Old::Hole,
            3 => Old::Beyond,
            _ => return None,
        };
        let _reserved = from.u32()?;
        let range = ByteRange::at(from.u64()?, from.u64()?)?;
        let sound = member < members && flags <= 1 && !range.is_empty() && range.length() <= ENTRY_RANGE_MAX;
        sound.then_some(Self { member, old, cut: flags == 1, range })
    }
}

/// Numbers of eight bytes.
pub(super) fn decode_hashes(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes each"))).collect()
}

/// The checksums (XXH3-64) of `bytes`, which stand at `offset`: one for each unit of the image that they touch.
#[must_use]
pub fn unit_hashes(offset: u64, bytes: &[u8]) -> Vec<u64> {
    let first = (UNIT_BYTES - offset % UNIT_BYTES).min(bytes.len() as u64) as usize;
    let (first, rest) = bytes.split_at(first);
    let first = (!first.is_empty()).then(|| xxh3_64(first));
    first.into_iter().chain(rest.chunks(UNIT_BYTES as usize).map(xxh3_64)).collect()
}

/// A member that is going to get another length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    /// The member's number.
    pub member: usize,
    /// Its length in bytes when the session began.
    pub from: u64,
    /// Its length in bytes when all is done.
    pub to: u64,
}

impl Resized {
    pub(super) fn encode_all(list: &[Self]) -> Vec<u8> {
        let mut to = Encoder::default();
        for resized in list {
            to.u64(resized.member as u64);
            to.u64(resized.from);
            to.u64(resized.to);
        }
        to.0
    }

    /// None where that is no list for so many members.
    pub(super) fn decode_all(bytes: &[u8], members: usize) -> Option<Vec<Self>> {
        let mut from = Decoder(bytes);
        let count = bytes.len() / 24;
        let one = |from: &mut Decoder| Some(Self { member: from.u64()? as usize, from: from.u64()?, to: from.u64()? });
        let list: Vec<Self> = (0..count.min(MEMBERS_MAX)).map(|_| one(&mut from)).collect::<Option<_>>()?;
        (list.len() == count && list.iter().all(|resized| resized.member < members)).then_some(list)
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Members for which every batch of this session is on stable storage, as a mask.
    pub synced: u64,
    /// Members for which every batch of the whole journal is.
    pub settled: u64,
    /// Whether all was done that the plan says.
    pub complete: bool,
    /// What each member looked like then. After a power cut those that aren't synced may look otherwise, though nobody wrote.
    pub stamps: Vec<Option<Stamp>>,
}

impl Ended {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        to.u64(self.synced);
        to.u64(self.settled);
        to.u32(u32::from(self.complete));
        to.u32(self.stamps.len() as u32);
        for stamp in &self.stamps {
            let known = stamp.is_some();
            let stamp = stamp.unwrap_or_default();
            to.u32(u32::from(known));
            to.u32(stamp.modified.1);
            to.u32(stamp.changed.1);
            to.u32(0);
            to.u64(stamp.length);
            to.u64(stamp.modified.0.cast_unsigned());
            to.u64(stamp.changed.0.cast_unsigned());
        }
        to.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let (synced, settled, complete, count) = (from.u64()?, from.u64()?, from.u32()? != 0, from.u32()?);
        let mut stamps = Vec::new();
        for _ in 0..(count as usize).min(MEMBERS_MAX) {
            let (known, modified, changed, _) = (from.u32()? != 0, from.u32()?, from.u32()?, from.u32()?);
            let stamp = Stamp { length: from.u64()?, modified: (from.i64()?, modified), changed: (from.i64()?, changed) };
            stamps.push(known.then_some(stamp));
        }
        Some(Self { synced, settled, complete, stamps })
    }
}

/// What the entries of a journal add up to for one member.
#[derive(Clone, Debug, Default)]
pub struct MemberSum {
    /// Entries.
    pub ranges: u64,
    /// Bytes that were rewritten, cut off or added.
    pub bytes: u64,
    /// Bytes that could not be read.
    pub unreadable_bytes: u64,
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::repair::journal::Header;

    #[test]
    fn units_lie_on_the_image_not_on_the_entry() {
        let bytes = [1; 2000];
        assert_eq!(unit_hashes(0, &bytes).len(), 4);
        assert_eq!(unit_hashes(1000, &bytes).len(), 5, "24, 512, 512, 512 and 440 bytes");
        assert_eq!(unit_hashes(1000, &bytes)[0], xxh3_64(&bytes[..24]));
        assert!(unit_hashes(5, &[]).is_empty());
        let entry = Entry { member: 0, old: Old::Data, cut: false, range: ByteRange::new(1000, 3000) };
        assert_eq!(entry.units(), 5);
    }

    proptest! {
        #[test]
        fn records_and_entries_survive(sequence: u64, session: u32, length: u64, hash: u64, start in 0u64..1 << 50, bytes in vec(any::<u8>(), 1..3000)) {
            let head = Head { sequence, kind: Kind::Batch, session, length, hash };
            prop_assert_eq!(Head::decode(&head.encode(&[3; 16]), &[3; 16]), Some(head));
            prop_assert_eq!(Head::decode(&head.encode(&[3; 16]), &[4; 16]), None);
            let range = ByteRange::new(start, start + bytes.len() as u64);
            let entry = Entry { member: 1, old: Old::Data, cut: false, range };
            let hashes = unit_hashes(start, &bytes);
            let mut encoded = vec![1, 2, 3];
            entry.encode(&hashes, &hashes, &bytes, &mut encoded);
            prop_assert_eq!(Entry::decode(&encoded[3..], 2), Some(entry));
            prop_assert_eq!(Entry::decode(&encoded[3..], 1), None);
        }

        #[test]
        fn anything_can_be_decoded(bytes in vec(any::<u8>(), 0..200)) {
            let _ = (Header::decode(&bytes), Head::decode(&bytes, &[0; 16]), Entry::decode(&bytes, 3), Ended::decode(&bytes));
        }
    }
}

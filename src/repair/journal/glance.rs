//! What a journal beside a member says of that member's time: its header and its last record, without reading all that it keeps.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    format::{ALIGNMENT, HEADER_BYTES_MAX, Header, VERSION},
    records::{Ended, HEAD_BYTES, Head, Kind},
};
use crate::sys::storage::Storage;

/// Records looked at.
const RECORDS_MAX: usize = 1 << 16;
/// The longest body of a record that tells of an end: 64 members.
const ENDED_BYTES_MAX: u64 = 8192;

/// What was seen.
pub(in crate::repair) struct Glance {
    /// What it is of.
    pub(in crate::repair) header: Header,
    /// How the last session ended, if nothing was done since.
    pub(in crate::repair) ended: Option<Ended>,
}

/// Looks at a journal; none where it is none, or damaged where that matters.
pub(in crate::repair) fn glance(storage: &dyn Storage) -> Option<Glance> {
    let read = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        (storage.read(offset, &mut bytes).ok()? == length).then_some(bytes)
    };
    let (version, header_bytes) = Header::begins(&read(0, 16)?)?;
    if version != VERSION || !(ALIGNMENT as usize..=HEADER_BYTES_MAX).contains(&header_bytes) {
        return None;
    }
    let header = Header::decode(&read(0, header_bytes)?)?;
    let (mut at, mut ended) = (header_bytes as u64, None);
    for sequence in 0..RECORDS_MAX as u64 {
        let head = read(at, HEAD_BYTES).and_then(|bytes| Head::decode(&bytes, &header.id));
        let Some(head) = head.filter(|head| head.sequence == sequence) else { break };
        let body = at + HEAD_BYTES as u64;
        ended = match head.kind {
            Kind::Ended if head.length <= ENDED_BYTES_MAX => {
                let bytes = read(body, head.length as usize).filter(|bytes| xxh3_64(bytes) == head.hash);
                bytes.and_then(|bytes| Ended::decode(&bytes))
            }
            _ => None,
        };
        at = body.checked_add(head.length)?.checked_next_multiple_of(ALIGNMENT)?;
    }
    Some(Glance { header, ended })
}

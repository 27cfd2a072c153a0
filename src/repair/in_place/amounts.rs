//! How much data there is.

use crate::{
    member::{Extent, KnownExtent, Member},
    vote::ByteRange,
};

/// Bytes of `range` that at least one member holds as data; what can't be told counts as data.
pub(super) fn data_bytes(members: &[&dyn Member], range: ByteRange, stopped: &dyn Fn() -> bool) -> u64 {
    let mut known = vec![KnownExtent::default(); members.len()];
    let (mut at, mut sum) = (range.start, 0);
    while at < range.end && !stopped() {
        let (mut next, mut data, mut any) = (range.end, false, false);
        for (member, known) in members.iter().zip(&mut known).filter(|(member, _)| at < member.size()) {
            let extent = known.at(*member, at).unwrap_or(Extent::Data(member.size()));
            any = true;
            data |= matches!(extent, Extent::Data(_));
            next = next.min(extent.end().max(at + 1)).min(member.size());
        }
        if !any {
            break;
        }
        sum += if data { next - at } else { 0 };
        at = next;
    }
    sum
}

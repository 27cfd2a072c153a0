//! How much content a member holds where nobody has looked.

use crate::{
    member::{Extent, Member},
    scan::content_bytes,
    vote::ByteRange,
};

/// Bytes looked at in one go.
const STEP_BYTES: u64 = 1 << 20;

/// Bytes of content (blocks of 4 KiB with anything but zeros) outside of `ranges`, which are ascending: at least `wanted`, or all there
/// are; and whether it is all. What can't be read isn't content.
pub(super) fn content_at_least(member: &dyn Member, ranges: &[ByteRange], wanted: u64, stopped: &dyn Fn() -> bool) -> (u64, bool) {
    let (mut at, mut held, mut next) = (0, 0, 0);
    let mut bytes = vec![0; STEP_BYTES as usize];
    while at < member.size() && !stopped() {
        if held >= wanted {
            return (held, false);
        }
        let end = ranges.get(next).map_or(member.size(), |range| range.start.min(member.size()));
        if at >= end {
            at = ranges.get(next).map_or(at, |range| range.end);
            next += 1;
            continue;
        }
        match member.extent(at) {
            Ok(Extent::Zero(zeros)) if zeros > at => at = zeros.min(end),
            _ => {
                let step = &mut bytes[..STEP_BYTES.min(end - at) as usize];
                if member.read(at, step, &mut None).is_ok() {
                    held += content_bytes(step);
                }
                at += step.len() as u64;
            }
        }
    }
    (held, true)
}

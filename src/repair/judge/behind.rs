//! What a longer member holds behind the voted end.

use crate::{
    member::{Extent, Member},
    vote::is_zero,
};

/// Bytes looked at in one go.
const STEP_BYTES: usize = 1 << 20;

/// The first byte from `size` on that isn't known to be zero: what can't be read isn't known.
pub(super) fn data_behind(member: &dyn Member, size: u64, stopped: &dyn Fn() -> bool) -> Option<u64> {
    let mut at = size;
    let mut bytes = vec![0; STEP_BYTES];
    while at < member.size() && !stopped() {
        match member.extent(at) {
            Ok(Extent::Zero(end)) if end > at => at = end,
            _ => {
                let step = &mut bytes[..STEP_BYTES.min((member.size() - at) as usize)];
                if member.read(at, step, &mut None).is_err() {
                    return Some(at);
                }
                if !is_zero(step) {
                    return step.iter().position(|&byte| byte != 0).map(|first| at + first as u64);
                }
                at += step.len() as u64;
            }
        }
    }
    None
}

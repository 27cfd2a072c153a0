//! Whether a plan is sane: judged before the first write.

use super::{Forced, RepairError, plan::Plan};
use crate::{
    member::{Extent, KnownExtent, Member, find_file_system, read_partitions},
    report::rfc3339,
    vote::ByteRange,
};

/// Divergences in which a newer member may be outvoted without being taken for the only one up to date.
const NEWER_DIVERGENCES_MAX: u64 = 1000;

/// What the judgement rests on beside the plan.
pub(super) struct Evidence<'a> {
    pub(super) members: &'a [&'a dyn Member],
    /// Bytes that any member holds as data.
    pub(super) data_bytes: u64,
    /// How much of that a member may lose, in percent.
    pub(super) max_damage: f64,
    /// What was warned about: members that share storage.
    pub(super) dependent: &'a [String],
    /// Members that an earlier session of this repair has written to, as a mask: their times say nothing.
    pub(super) begun: u64,
}

/// Refuses a plan that may do harm.
///
/// # Errors
/// The first reason, with the word that overrides it.
pub(super) fn judge(plan: &Plan, evidence: &Evidence, forced: Forced) -> Result<(), RepairError> {
    if plan.is_empty() {
        return Ok(());
    }
    if let Some(what) = evidence.dependent.first().filter(|_| !forced.shared) {
        return Err(RepairError::Shared { what: what.clone() });
    }
    for (index, member) in plan.members.iter().enumerate().filter(|(_, member)| member.written) {
        let name = || evidence.members[index].name().clone();
        let bytes = member.lost_bytes();
        let percent = bytes as f64 * 100.0 / evidence.data_bytes.max(1) as f64;
        if percent > evidence.max_damage && !forced.stale {
            return Err(RepairError::Stale { member: name(), percent, allowed: evidence.max_damage, bytes });
        }
        if member.newer > NEWER_DIVERGENCES_MAX && !forced.newer && evidence.begun >> index & 1 == 0 {
            let times = evidence.members.iter().map(|member| times_of(*member)).collect();
            return Err(RepairError::Newer { member: name(), divergences: member.newer, times });
        }
    }
    Ok(())
}

/// A line with a member's time and that of the file systems in it.
fn times_of(member: &dyn Member) -> String {
    let modified = member.modified().and_then(rfc3339).unwrap_or_else(|| "at an unknown time".into());
    let mut starts = vec![0];
    starts.extend(read_partitions(member).into_iter().flat_map(|table| table.partitions).map(|partition| partition.range.start));
    let written = starts.into_iter().filter_map(|start| find_file_system(member, start)?.written).max();
    let written = written.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let inside = written.map_or_else(String::new, |time| format!(", its file system last written {time} by its guest's clock"));
    format!("\n  {}: modified {modified}{inside}", member.name())
}

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

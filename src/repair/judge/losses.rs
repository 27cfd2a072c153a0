//! Whether members may lose what they would lose: judged before the first write.

use super::guards::{Guard, Judge};
use crate::{
    evidence::{find_file_system, read_partitions},
    member::Member,
    repair::RepairError,
    report::rfc3339,
};

/// Divergences in which a newer member may be outvoted without being taken for the only one up to date.
const NEWER_DIVERGENCES_MAX: u64 = 1000;

/// What one member would lose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Whether it is to be written to at all.
    pub written: bool,
    /// Bytes of data that it holds wrongly or lacks.
    pub bytes: u64,
    /// Divergences in which it was modified more than a minute after all who outvote it; 0 where its time says nothing.
    pub newer: u64,
}

/// What all of them would, and what that is measured by.
pub struct Losses<'a> {
    /// Those who vote.
    pub members: &'a [&'a dyn Member],
    /// One for each.
    pub each: Vec<Loss>,
    /// Bytes that any member holds as data.
    pub data_bytes: u64,
    /// How much of that a member may lose, in percent.
    pub max_damage: f64,
    /// What was warned about: members that share storage.
    pub dependent: &'a [String],
}

impl Judge {
    /// Refuses a plan that may do harm.
    ///
    /// # Errors
    /// The first reason, with the word that overrides it.
    pub(in crate::repair) fn losses(self, losses: &Losses) -> Result<(), RepairError> {
        if let Some(what) = losses.dependent.first().filter(|_| self.heeds(Guard::Shared)) {
            return Err(RepairError::Shared { what: what.clone() });
        }
        for (member, loss) in losses.members.iter().zip(&losses.each).filter(|(_, loss)| loss.written) {
            let percent = loss.bytes as f64 * 100.0 / losses.data_bytes.max(1) as f64;
            if percent > losses.max_damage && self.heeds(Guard::Stale) {
                return Err(RepairError::Stale { member: member.name().clone(), percent, allowed: losses.max_damage, bytes: loss.bytes });
            }
            if loss.newer > NEWER_DIVERGENCES_MAX && self.heeds(Guard::Newer) {
                let times = losses.members.iter().map(|member| times_of(*member)).collect();
                return Err(RepairError::Newer { member: member.name().clone(), divergences: loss.newer, times });
            }
        }
        Ok(())
    }
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

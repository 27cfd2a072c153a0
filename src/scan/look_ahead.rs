//! Reading ahead of the windows that are given out, by members that can: window after window, and in each member after member, so that a
//! disk has long stretches to serve.

use super::job::Job;
use crate::vote::ByteRange;

/// Memory in bytes for what all members together have read ahead.
const AHEAD_BYTES_MAX: u64 = 64 << 20;
/// Windows that are asked for before they are given out.
const WINDOWS_AHEAD: u64 = 2;
/// Bytes of a window: a read of each member.
const WINDOW_BYTES_MAX: u64 = 4 << 20;
const WINDOW_BYTES_MIN: u64 = 256 << 10;

/// What was asked for already.
pub(super) struct LookAhead {
    members: Vec<usize>,
    window_bytes: u64,
    /// The range that comes next, and where in it.
    range: usize,
    at: u64,
    /// Bytes of the ranges before that.
    asked: u64,
}

impl LookAhead {
    /// Of those members who read ahead; none where nobody does.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let members: Vec<usize> = (0..job.members.len()).filter(|&member| job.members[member].reads_ahead()).collect();
        if members.is_empty() {
            return None;
        }
        let windows = job.threads as u64 + WINDOWS_AHEAD;
        let each = AHEAD_BYTES_MAX / (members.len() as u64 * windows);
        let window_bytes = (1 << each.max(1).ilog2()).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        Some(Self { members, window_bytes, range: 0, at: 0, asked: 0 })
    }

    /// Bytes of the windows that are to be given out.
    pub(super) fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// Asks for what comes next; the window at `at` bytes in the range of that number, with `before` bytes of the ranges before it, is given out.
    pub(super) fn ask(&mut self, job: &Job, (range, at): (usize, u64), before: u64) {
        if (self.range, self.at) < (range, at) {
            (self.range, self.at, self.asked) = (range, at, before);
        }
        let until = before.saturating_add((1 + WINDOWS_AHEAD) * self.window_bytes);
        while self.asked < until {
            let Some(range) = job.ranges.get(self.range) else { return };
            self.at = self.at.max(range.start);
            let window = ByteRange::new(self.at, (self.at - self.at % self.window_bytes).saturating_add(self.window_bytes).min(range.end));
            if window.is_empty() {
                self.range += 1;
                self.at = 0;
                continue;
            }
            for &member in &self.members {
                job.members[member].read_ahead(window);
            }
            self.asked += window.length();
            self.at = window.end;
        }
    }
}

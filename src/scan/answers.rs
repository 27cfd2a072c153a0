//! How long members take to answer: who is late is worth reading ahead of.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A reading of a chunk that takes as long as this, in the best case, is late.
const LATE: Duration = Duration::from_millis(3);
/// Readings by which that is judged.
const JUDGED: u64 = 4;

/// How long it took a member to answer.
#[derive(Default)]
pub(super) struct Answers {
    count: AtomicU64,
    /// Whether one came at once.
    quick: AtomicBool,
}

impl Answers {
    /// Notes one.
    pub(super) fn took(&self, time: Duration) {
        if self.count.load(Relaxed) < JUDGED {
            self.quick.fetch_or(time < LATE, Relaxed);
            self.count.fetch_add(1, Relaxed);
        }
    }

    /// By the first ones, before anything was read ahead.
    pub(super) fn are_late(&self) -> bool {
        self.count.load(Relaxed) >= JUDGED && !self.quick.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Answers;

    #[test]
    fn the_first_ones_decide() {
        let late = |times: &[u64]| {
            let answers = Answers::default();
            for &ms in times {
                answers.took(Duration::from_millis(ms));
            }
            answers.are_late()
        };
        assert!(!late(&[9, 9, 9]), "too few");
        assert!(late(&[9, 9, 9, 9]) && late(&[9, 9, 9, 9, 0, 0]), "what was read ahead is there at once");
        assert!(!late(&[9, 1, 9, 9, 9, 9]));
        assert!(!late(&[0; 9]), "nobody tells the time");
    }
}

//! Whether a member that can be mapped is better read: that depends on how its pages lie in the page cache. Pages that came one by one, as a
//! guest or a copying program writes them, cost more to map than to copy (docs/performance.md); those of large folios don't.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

/// Reading must be better by this, in percent of the time that mapping takes.
const BETTER_BY: u32 = 10;

/// Who is read though it could be mapped.
pub(super) struct Manners(Vec<Manner>);

/// One member's. Anything else may take a processor's time meanwhile: one try alone changes nothing.
#[derive(Default)]
struct Manner {
    reads: AtomicBool,
    /// What the last try said.
    last: AtomicBool,
}

impl Manners {
    /// All are mapped.
    pub(super) fn new(members: usize) -> Self {
        Self((0..members).map(|_| Manner::default()).collect())
    }

    /// Takes what a try said; with the one before it that counts.
    pub(super) fn tried(&self, member: usize, better: bool) {
        if self.0[member].last.swap(better, Relaxed) == better {
            self.0[member].reads.store(better, Relaxed);
        }
    }

    /// Whether the member is better read.
    pub(super) fn reads(&self, member: usize) -> bool {
        self.0[member].reads.load(Relaxed)
    }
}

/// Whether reading took so much less than mapping as many bytes.
pub(super) fn is_better(mapping: Duration, reading: Duration) -> bool {
    reading < mapping * (100 - BETTER_BY) / 100
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Manners, is_better};

    /// Mapping stays where both are as good: noise decides nothing.
    #[test]
    fn a_tenth_decides() {
        let micros = Duration::from_micros;
        assert!(is_better(micros(1000), micros(899)));
        assert!(!is_better(micros(1000), micros(901)));
        assert!(!is_better(Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn two_tries_decide() {
        let manners = Manners::new(2);
        for (better, reads) in
            [(true, false), (false, false), (true, false), (true, true), (false, true), (true, true), (false, true), (false, false)]
        {
            manners.tried(1, better);
            assert_eq!((manners.reads(0), manners.reads(1)), (false, reads), "after {better}");
        }
    }
}

//! Looks after calls to servers that may never answer: says who is waited for, and gives them up after `--timeout`, or once the run is to end.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{say::warn, signals::stopped};
use crate::sys::served::{Waiting, give_up, guard, waiting};

/// How often it looks.
const TICK: Duration = Duration::from_millis(100);
/// After this it is said that somebody is waited for, and again each time when twice as much has gone by.
const TELL_AFTER: Duration = Duration::from_secs(30);
/// Longest time between two looks that is thought to be one.
const GAP_MAX: Duration = Duration::from_millis(1500);
/// How much longer calls have to come to their end once the run is to end: a write that only takes its time isn't left in the middle.
const GRACE: Duration = Duration::from_secs(2);

/// Begins, for as long as the program runs. Without `timeout` a call is waited for as long as it takes.
pub(super) fn start(timeout: Option<Duration>) {
    guard();
    let look = move || {
        let mut lookout = Lookout::new(timeout);
        loop {
            thread::sleep(TICK);
            let said = lookout.look(&waiting(), Instant::now(), stopped(), &mut give_up);
            for text in said {
                tell(&text);
            }
        }
    };
    // Without it nothing is given up, and nothing said.
    let _ = thread::Builder::new().name("lookout".into()).spawn(look);
}

struct Lookout {
    timeout: Option<Duration>,
    /// When each call was first seen, by its number.
    calls: BTreeMap<u64, Instant>,
    /// When it looked last.
    looked: Option<Instant>,
    /// When it was first seen that the run is to end.
    stopped: Option<Instant>,
    /// Who was told of: since when, and when it is to be said again.
    told: BTreeMap<Arc<str>, (Instant, Duration)>,
}

impl Lookout {
    fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, calls: BTreeMap::new(), looked: None, stopped: None, told: BTreeMap::new() }
    }

    /// Looks at the calls that are under way; gives up those that are to be, and returns what is to be said.
    fn look(&mut self, waiting: &[Waiting], now: Instant, stopped: bool, give_up: &mut dyn FnMut(u64, &str)) -> Vec<String> {
        let mut said = Vec::new();
        // Time in which this program itself was stopped isn't the servers'.
        let gap = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.duration_since(looked));
        if gap > GAP_MAX {
            self.calls.values_mut().for_each(|since| *since += gap);
            self.told.values_mut().for_each(|(since, _)| *since += gap);
        }
        let stopped = stopped.then(|| *self.stopped.get_or_insert(now));
        let there: BTreeSet<u64> = waiting.iter().map(|call| call.id).collect();
        self.calls.retain(|id, _| there.contains(id));
        let mut late: BTreeMap<&Arc<str>, (Instant, &'static str)> = BTreeMap::new();
        for call in waiting {
            let since = *self.calls.entry(call.id).or_insert(now);
            if stopped.is_some_and(|since| now.duration_since(since) >= GRACE) {
                give_up(call.id, "interrupted while it was waited for");
            } else if let Some(timeout) = self.timeout.filter(|&timeout| now.duration_since(since) >= timeout) {
                give_up(call.id, &format!("no answer for {} s while {} (--timeout)", timeout.as_secs(), call.what));
            }
            let first = late.entry(&call.who).or_insert((since, call.what));
            *first = (*first).min((since, call.what));
        }
        for (who, (since, what)) in &late {
            let waited = now.duration_since(*since);
            let due = self.told.get(*who).map_or(TELL_AFTER, |&(_, due)| due);
            if waited >= due {
                let clock = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::try_from(waited).unwrap_or_default());
                let clock = clock.map_or_else(|_| String::new(), |time| format!(" since {}", time.strftime("%H:%M:%S UTC")));
                said.push(format!("waiting for {who}{clock}: {} s ({what})", waited.as_secs()));
                self.told.insert(Arc::clone(who), (*since, due * 2));
            }
        }
        self.told.retain(|who, (since, _)| {
            let still = late.get(who).is_some_and(|(first, _)| first <= since);
            if !still {
                said.push(format!("{who}: waited for no longer, after {} s", now.duration_since(*since).as_secs()));
            }
            still
        });
        said
    }
}

/// Also with `-q`: who looks at a program that does nothing wants to know why.
fn tell(text: &str) {
    let mut to = io::stderr();
    if to.is_terminal() {
        let _ = write!(to, "\r\x1b[2K"); // a progress bar may stand there
    }
    warn(text);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Lookout, Waiting};

    fn call(id: u64, who: &str) -> Waiting {
        Waiting { id, who: who.into(), what: "reading" }
    }

    /// One hangs, another one is slow, with calls that come and go.
    #[test]
    fn who_is_waited_for_is_said_at_growing_intervals_and_when_it_ends() {
        let (start, mut lookout) = (Instant::now(), Lookout::new(None));
        let mut said = Vec::new();
        for second in 0..200 {
            let calls = [call(1, "hangs"), call(1000 + second / 5, "slow")];
            let there = if second < 150 { &calls[..] } else { &calls[1..] };
            let mut never = |_: u64, _: &str| panic!("nothing is given up");
            for text in lookout.look(there, start + Duration::from_secs(second), false, &mut never) {
                said.push((second, text));
            }
        }
        assert_eq!(said.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [30, 60, 120, 150], "{said:?}");
        assert!(said[0].1.starts_with("waiting for hangs since ") && said[0].1.ends_with(": 30 s (reading)"), "{said:?}");
        assert_eq!(said[3].1, "hangs: waited for no longer, after 150 s");
    }

    #[test]
    fn late_ones_are_given_up_and_all_when_the_run_is_to_end() {
        let (start, mut lookout) = (Instant::now(), Lookout::new(Some(Duration::from_secs(20))));
        let mut given_up = Vec::new();
        for second in 0..30 {
            let calls = [call(1, "hangs"), call(1000 + second / 5, "slow")];
            let there = if second <= 20 { &calls[..] } else { &calls[1..] };
            lookout.look(there, start + Duration::from_secs(second), false, &mut |id, why| given_up.push((second, id, why.to_owned())));
        }
        assert_eq!(given_up, [(20, 1, "no answer for 20 s while reading (--timeout)".to_owned())]);
        let mut ended = Vec::new();
        for second in [31, 32, 33] {
            lookout.look(&[call(second, "slow")], start + Duration::from_secs(second), true, &mut |id, _| ended.push(id));
        }
        assert_eq!(ended, [33], "after a moment of grace");
    }
}

//! Windows end in any order; their results are delivered in theirs.

use std::{
    collections::BTreeMap,
    io,
    sync::{Condvar, Mutex, MutexGuard},
};

use super::{hashed::Hashed, hearing::Heard, job::Outcome, lost::Lost};
use crate::{
    digest::Entry,
    vote::{Run, Runs},
};

/// What came out of one window.
#[derive(Debug, Default)]
pub(super) struct WindowResult {
    /// Its divergences, ascending.
    pub(super) runs: Vec<Run>,
    /// Undecided sectors without a filling.
    pub(super) unfilled: u64,
    /// What members hold and lose, one for each member, or none at all.
    pub(super) lost: Vec<Lost>,
    /// Bytes of the job's ranges up to where this window was looked at.
    pub(super) scanned: u64,
    /// Whether all of the window was looked at.
    pub(super) complete: bool,
    /// What witnesses said.
    pub(super) heard: Heard,
    /// What a digest in the making has to say, ascending: first chunk, what, and of how many.
    pub(super) entries: Vec<(u64, Entry, u64)>,
}

/// Takes results in any order and hands their divergences on in order. Holds few results at a time: threads that are far ahead wait.
pub(super) struct Delivery<'a> {
    state: Mutex<State<'a>>,
    moved: Condvar,
    ahead_max: u64,
    sector: u32,
    hashed: Option<&'a dyn Hashed>,
}

type Sink<'a> = &'a mut (dyn FnMut(&Run) -> io::Result<()> + Send);

struct State<'a> {
    /// The next index to be delivered, and to be given out.
    next: u64,
    given: u64,
    waiting: BTreeMap<u64, WindowResult>,
    runs: Runs,
    outcome: Outcome,
    sink: Sink<'a>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(threads: usize, sector: u32, members: usize, hashed: Option<&'a dyn Hashed>, sink: Sink<'a>) -> Self {
        let outcome = Outcome { complete: true, ..Outcome::unscanned(members) };
        let state = State { next: 0, given: 0, waiting: BTreeMap::new(), runs: Runs::default(), outcome, sink };
        Self { state: Mutex::new(state), moved: Condvar::new(), ahead_max: threads as u64 + 2, sector, hashed }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("a thread that panics ends the program")
    }

    /// Waits until one more window may be begun; false where `stopped` says so.
    pub(super) fn wait_for_room(&self, stopped: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        while !stopped() {
            if state.given < state.next + self.ahead_max {
                state.given += 1;
                return true;
            }
            state = self.moved.wait(state).expect("a thread that panics ends the program");
        }
        false
    }

    /// Lets waiting threads see that the end has come.
    pub(super) fn wake_all(&self) {
        // Whoever is about to wait has looked before: with the lock in hand it waits already, or looks again.
        drop(self.state.lock());
        self.moved.notify_all();
    }

    /// Takes the result of the window `index`; windows are numbered from 0 without gaps.
    pub(super) fn deliver(&self, index: u64, result: WindowResult) -> io::Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.waiting.insert(index, result);
        let mut delivered = Ok(());
        while let Some(result) = state.waiting.remove(&state.next) {
            state.next += 1;
            // Behind a window that was left early nothing counts: what is reported is whole up to a place.
            if !state.outcome.complete || delivered.is_err() {
                continue;
            }
            state.outcome.complete = result.complete;
            state.outcome.scanned_bytes = result.scanned;
            state.outcome.unfilled_sectors += result.unfilled;
            state.outcome.tally.add_lost(&result.lost);
            state.outcome.heard.add(result.heard);
            if let Some(hashed) = self.hashed {
                let mut entries = result.entries.into_iter();
                delivered = entries.try_for_each(|(chunk, entry, count)| hashed.take(chunk, entry, count));
            }
            for run in result.runs {
                if let Some(found) = state.runs.push(run)
                    && delivered.is_ok()
                {
                    state.outcome.tally.add(&found, self.sector);
                    delivered = (state.sink)(&found);
                }
            }
        }
        drop(guard);
        self.moved.notify_all();
        delivered
    }

    /// Hands on the last divergence; what was found, and whether the sink took it.
    pub(super) fn finish(self) -> (Outcome, io::Result<()>) {
        let mut state = self.state.into_inner().expect("a thread that panics ends the program");
        state.outcome.complete &= state.waiting.is_empty();
        let mut closed = Ok(());
        if let Some(found) = state.runs.finish() {
            state.outcome.tally.add(&found, self.sector);
            closed = (state.sink)(&found);
        }
        (state.outcome, closed)
    }
}

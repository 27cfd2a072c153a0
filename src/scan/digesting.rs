//! A digest made of what members vote for, in the pass that compares them.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    check::{Checked, Listener},
    findings::{Findings, Limits},
    hashed::Hashed,
    job::{Job, ScanError, Watch},
    poll::{Poll, Question},
    run::scan,
};
use crate::{
    digest::{Ending, Entry, Geometry, Header, Root, Value, Writer},
    evidence::Evidence,
    member::Member,
    vote::ByteRange,
};

/// How often it is asked whether to go on where zeros are hashed for the root, in chunks.
const CHUNKS_BETWEEN: u64 = 64;

/// A digest in the making.
pub struct Digesting<'a> {
    geometry: Geometry,
    part: ByteRange,
    /// What isn't voted on.
    left_out: Vec<ByteRange>,
    state: Mutex<State<'a>>,
    watch: &'a dyn Watch,
}

struct State<'a> {
    /// The chunk that comes next.
    next: u64,
    writer: Option<Writer<'a>>,
    root: Option<Root>,
    /// The first chunk that isn't known.
    unknown: Option<u64>,
    /// How many aren't.
    unknown_chunks: u64,
}

/// What became of it.
pub struct Digested {
    /// What was found while it was made.
    pub checked: Checked,
    /// What it is of, where it was written.
    pub header: Option<Header>,
    /// The hash of the whole, where that was wanted and all of it is known.
    pub root: Option<Value>,
    /// Where the first place is, in bytes, of which nothing is known; and how many chunks there are of that.
    pub unknown: Option<(u64, u64)>,
}

impl<'a> Digesting<'a> {
    /// Of a part of an image in whole chunks: written by `writer`, if by any, and merged to the hash of the whole where `rooted`.
    #[must_use]
    pub fn new(geometry: Geometry, part: ByteRange, writer: Option<Writer<'a>>, rooted: bool, watch: &'a dyn Watch) -> Self {
        let next = part.start / geometry.chunk_bytes;
        let root = rooted.then(|| Root::new(geometry));
        let left_out = Vec::new();
        Self { geometry, part, left_out, state: Mutex::new(State { next, writer, root, unknown: None, unknown_chunks: 0 }), watch }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was skipped all members hold as zeros, unless it wasn't voted on.
    fn skip(&self, state: &mut State, count: u64) -> io::Result<()> {
        let end = state.next + count;
        for part in &self.left_out {
            let touched = (part.start / self.geometry.chunk_bytes).max(state.next)..part.end.div_ceil(self.geometry.chunk_bytes).min(end);
            if !touched.is_empty() {
                self.say(state, Entry::Zero, touched.start - state.next)?;
                self.say(state, Entry::Unknown, touched.end - touched.start)?;
            }
        }
        self.say(state, Entry::Zero, end - state.next)
    }

    fn say(&self, state: &mut State, entry: Entry, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        if entry == Entry::Unknown {
            state.unknown.get_or_insert(state.next);
            state.unknown_chunks += count;
            state.root = None;
        }
        if let Some(writer) = &mut state.writer {
            writer.push(entry, count)?;
        }
        if let Some(root) = &mut state.root {
            match entry {
                Entry::Value(value) => root.push(value),
                _ => zeros(root, &self.geometry, state.next, count, self.watch)?,
            }
        }
        state.next += count;
        Ok(())
    }

    /// Votes on all of the part, and makes the digest of it.
    ///
    /// # Errors
    /// As [`scan`](super::scan).
    pub fn run(
        mut self,
        members: &[&dyn Member],
        question: &Question,
        poll: &Poll,
        evidence: &Evidence,
        listener: Listener,
        ended: &dyn Fn() -> Ending,
    ) -> Result<Digested, ScanError> {
        self.left_out.clone_from(&poll.skipped);
        let ranges = poll.voted_in(&[self.part]);
        let job = Job::new(members, question, poll, &ranges, self.watch).weighing(evidence).hashed_by(&self);
        let mut findings = Findings::of(evidence, Limits::default());
        let outcome = scan(&job, &mut |run| {
            findings.add(run);
            listener(run, &findings)
        })?;
        let end = self.part.end.div_ceil(self.geometry.chunk_bytes);
        let complete = outcome.complete;
        let mut state = self.lock();
        let left = end.saturating_sub(state.next);
        let rest = if complete { self.skip(&mut state, left) } else { self.say(&mut state, Entry::Unknown, left) };
        rest.map_err(ScanError::Sink)?;
        let header = state.writer.take().map(|writer| writer.finish(ended())).transpose().map_err(ScanError::Sink)?;
        let whole = self.part == ByteRange::new(0, self.geometry.size);
        let root = state.root.take().filter(|_| whole).map(Root::finish);
        let unknown = state.unknown.map(|chunk| (self.geometry.range(chunk).start, state.unknown_chunks));
        drop(state);
        Ok(Digested { checked: Checked { outcome, findings }, header, root, unknown })
    }
}

impl Hashed for Digesting<'_> {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn take(&self, chunk: u64, entry: Entry, count: u64) -> io::Result<()> {
        let mut state = self.lock();
        // A chunk that comes in two parts isn't known, and was told as that before.
        let skipped = chunk.saturating_sub(state.next);
        self.skip(&mut state, skipped)?;
        let told = (state.next - chunk).min(count);
        self.say(&mut state, entry, count - told)
    }
}

/// Hashes zeros for the root: their values depend on the place.
///
/// # Errors
/// Where it is to end.
pub fn zeros(root: &mut Root, geometry: &Geometry, first: u64, count: u64, watch: &dyn Watch) -> io::Result<()> {
    let zeros = vec![0; geometry.chunk_bytes as usize];
    for chunk in first..first + count {
        if chunk.is_multiple_of(CHUNKS_BETWEEN) && watch.stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        root.push(root.zeros(chunk, &zeros));
    }
    Ok(())
}

//! Gives out windows, and skips what every member holds as a hole.

use super::{
    hashed::hears,
    hearing::Heard,
    job::Job,
    look_ahead::LookAhead,
    shared::{Shared, WINDOW_ALIGNMENT},
};
use crate::{
    digest::{Cursor, Entry},
    member::{Extent, KnownExtent},
    vote::ByteRange,
};

/// How often it is asked whether to go on while a digest is gone through.
const STEPS_BETWEEN: u64 = 4096;

/// Longest window in which nothing has to be read, where digests are heard: they may say something else of each chunk.
const HEARD_BYTES_MAX: u64 = 4 << 30;

/// Ranges of no more than so many bytes are given out together, up to so many: each by itself would cost more than looking at it.
const SHORT_BYTES_MAX: u64 = 64 << 10;
const TOGETHER_MAX: usize = 64;
/// Windows that each thread has at least.
const WINDOWS_MIN: usize = 16;

/// Work for one thread: a window, or a few short ranges.
#[derive(Clone, Debug)]
pub(super) struct WindowTask {
    /// Counted from 0 in the order of the image.
    pub(super) index: u64,
    /// Ascending, at least one.
    pub(super) parts: Vec<Part>,
}

/// A part of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where.
    pub(super) range: ByteRange,
    /// Bytes of the job's ranges before it.
    pub(super) before: u64,
}

/// Where the scan stands.
pub(super) struct Feeder<'a> {
    job: &'a Job<'a>,
    window_bytes: u64,
    /// The range being given out, its rest, and the bytes of all before it.
    range: usize,
    at: u64,
    before: u64,
    given: u64,
    /// How many short ranges are given out together.
    together: usize,
    /// For each member the last extent it told.
    known: Vec<KnownExtent>,
    /// Where witnesses are read.
    cursors: Vec<Cursor<'a>>,
    alignment: u64,
    /// How long a window may be in which nothing has to be read.
    idle_bytes: u64,
    /// What witnesses say of what is skipped.
    heard: Heard,
    ahead: Option<LookAhead>,
}

impl<'a> Feeder<'a> {
    pub(super) fn new(job: &'a Job<'a>, window_bytes: u64, ahead: Option<LookAhead>) -> Self {
        let at = job.ranges.first().map_or(0, |range| range.start);
        let cursors = job.hearing.iter().flat_map(|hearing| &hearing.witnesses).map(|witness| witness.digest.cursor()).collect();
        let alignment = WINDOW_ALIGNMENT.max(job.grain());
        let idle_bytes = if job.hearing.is_some() { HEARD_BYTES_MAX } else { u64::MAX };
        Self {
            job,
            window_bytes,
            range: 0,
            at,
            before: 0,
            given: 0,
            // What is read ahead is asked for window by window.
            together: if ahead.is_some() { 1 } else { (job.ranges.len() / (job.threads * WINDOWS_MIN)).clamp(1, TOGETHER_MAX) },
            known: vec![KnownExtent::default(); job.members.len()],
            cursors,
            alignment,
            idle_bytes,
            heard: Heard::default(),
            ahead,
        }
    }

    /// What witnesses say of what was skipped.
    pub(super) fn heard(self) -> Heard {
        self.heard
    }

    /// Whether all was given out.
    pub(super) fn exhausted(&self) -> bool {
        self.range >= self.job.ranges.len()
    }

    /// The next window; none at the end, or where the scan was stopped.
    pub(super) fn next(&mut self, shared: &Shared) -> Option<WindowTask> {
        let short = self.is_short_next();
        let mut parts = vec![self.part(shared)?];
        while short && parts.len() < self.together && self.is_short_next() {
            let Some(part) = self.part(shared) else { break };
            parts.push(part);
        }
        let index = self.given;
        self.given += 1;
        Some(WindowTask { index, parts })
    }

    /// Whether the range that comes next is short.
    fn is_short_next(&self) -> bool {
        let ranges = &self.job.ranges[self.range..];
        ranges.iter().find(|range| self.at < range.end).is_some_and(|range| range.length() <= SHORT_BYTES_MAX)
    }

    /// What comes next.
    fn part(&mut self, shared: &Shared) -> Option<Part> {
        loop {
            let range = *self.job.ranges.get(self.range)?;
            if self.at >= range.end {
                self.before += range.length();
                self.range += 1;
                self.at = self.job.ranges.get(self.range).map_or(0, |next| next.start);
                continue;
            }
            if shared.stopped() {
                return None;
            }
            let (unread_end, by_all) = self.unread(shared);
            let aligned_end = unread_end - unread_end % self.alignment;
            if by_all && self.skips() && self.job.fillers.unread.is_empty() {
                let skip_to = if unread_end >= range.end { range.end } else { aligned_end };
                let skip_to = self.as_zeros(skip_to, shared);
                if skip_to > self.at {
                    self.job.watch.advanced(skip_to - self.at);
                    self.hear_skipped(ByteRange::new(self.at, skip_to));
                    self.at = skip_to;
                    continue;
                }
            }
            let window_end = (self.at - self.at % self.window_bytes).saturating_add(self.window_bytes);
            // Where nothing has to be read, one window is as good as thousands.
            let end = window_end.max(aligned_end.min(self.at.saturating_add(self.idle_bytes))).min(range.end);
            let before = self.before + (self.at - range.start);
            if let Some(ahead) = &mut self.ahead {
                ahead.ask(shared, (self.range, self.at), before);
            }
            let part = Part { range: ByteRange::new(self.at, end), before };
            self.at = end;
            self.prefetch(range);
            return Some(part);
        }
    }

    /// How far, at most up to `end`, no witness holds it against all members that they hold zeros there.
    fn as_zeros(&mut self, end: u64, shared: &Shared) -> u64 {
        let (at, mut steps) = (self.at, 0u64);
        let until = |cursor: &mut Cursor| {
            let geometry = cursor.digest().geometry();
            let mut chunk = at / geometry.chunk_bytes;
            loop {
                let start = geometry.range(chunk).start;
                if chunk >= geometry.chunks() || start >= end {
                    return end;
                }
                steps += 1;
                let said = cursor.at(chunk);
                if steps.is_multiple_of(STEPS_BETWEEN) && shared.stopped() {
                    return start.max(at);
                }
                if matches!(said.entry, Entry::Value(_)) {
                    return start.max(at);
                }
                chunk = chunk.saturating_add(said.count);
            }
        };
        let until = self.cursors.iter_mut().map(until).min().unwrap_or(end);
        if until < end { until - until % self.alignment } else { end }
    }

    /// Counts the chunks that begin in `range`, where all members hold zeros, and no witness knows anything else.
    fn hear_skipped(&mut self, range: ByteRange) {
        let Self { job, cursors, heard, .. } = self;
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let geometry = cursor.digest().geometry();
            let end = range.end.div_ceil(geometry.chunk_bytes).min(geometry.chunks());
            let mut chunk = range.start.div_ceil(geometry.chunk_bytes);
            while chunk < end {
                let said = cursor.at(chunk);
                let count = said.count.clamp(1, end - chunk);
                // Its last chunk may end otherwise than the image does.
                let odd = !hears(job.size, job.sector, geometry.range(chunk + count - 1));
                let chunks = count - u64::from(odd);
                match said.entry {
                    Entry::Unknown => heard.of(index).unknown += chunks,
                    Entry::Zero => heard.of(index).agreed += chunks,
                    Entry::Value(_) => {}
                }
                chunk += count;
            }
        }
    }

    /// Asks for the bytes after the ones just given out, where the system wouldn't by itself.
    fn prefetch(&self, range: ByteRange) {
        let ahead = ByteRange::new(self.at, self.at.saturating_add(self.window_bytes).min(range.end).max(self.at));
        if !ahead.is_empty() {
            self.job.members.iter().for_each(|member| member.prefetch(ahead));
        }
    }

    /// Up to where no member has anything to be read from here on, and whether all of them hold zeros there: others have ended or
    /// failed.
    fn unread(&mut self, shared: &Shared) -> (u64, bool) {
        let at = self.at;
        let (mut end, mut by_all) = (u64::MAX, true);
        for (index, member) in self.job.members.iter().enumerate() {
            if shared.failures[index].get().is_some() || at >= member.size().next_multiple_of(shared.grain) {
                by_all = false;
                continue;
            }
            match self.known[index].at(*member, at).ok() {
                Some(Extent::Zero(zeros)) if zeros > at && at < member.size() => end = end.min(zeros),
                _ => return (at, false),
            }
        }
        (end, by_all)
    }

    fn skips(&self) -> bool {
        // One alone says nothing unless a witness says the same.
        let alone = self.job.members.len() == 1 && self.job.hearing.is_some();
        !alone && self.job.output.is_none_or(|(output, _)| !output.wants_all_zeros())
    }
}

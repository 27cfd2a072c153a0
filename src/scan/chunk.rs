//! One chunk: alike at a glance, or narrowed down to the sectors that aren't.

use super::{
    extents::{State, uniform_vote},
    hearing::Heard,
    job::ScanError,
    private::NoCopy,
    worker::{Mark, Slot, Worker},
};
use crate::vote::{ByteRange, Rule, Run, Verdict, Vote};

/// Why a chunk didn't come to its end.
pub(super) enum Interruption {
    /// A window lost a page, a member failed, or it answered differently when it was read again. All are remembered, so going through the chunk again is another matter.
    Again,
    /// The output took no more.
    Output(ScanError),
    /// The scan is to stop, and this chunk is no part of what is known.
    Stopped,
}

impl From<NoCopy> for Interruption {
    fn from(none: NoCopy) -> Self {
        match none {
            NoCopy::MemberFailed => Self::Again,
            NoCopy::Stopped => Self::Stopped,
        }
    }
}

/// A chunk and how its members stand in it.
pub(super) struct Chunk<'c> {
    pub(super) range: ByteRange,
    pub(super) states: &'c [State],
    pub(super) rule: Rule,
    /// Members whose copy holds the whole chunk, and those whose copy was begun, as masks.
    pub(super) filled: u64,
    begun: u64,
    /// Whose copy holds what others hold as well, whether `Worker::encoded` tells how that is kept, and as a mask those others: they have no
    /// copies of their own.
    pub(super) original: Option<usize>,
    pub(super) encoded: bool,
    pub(super) twins: u64,
    /// Whether `Worker::voted` holds the chunk's voted bytes.
    voted: bool,
}

impl<'c> Chunk<'c> {
    pub(super) fn with_state<F: Fn(State) -> bool>(&self, wanted: F) -> impl Iterator<Item = usize> + use<'c, F> {
        self.states.iter().enumerate().filter(move |&(_, &state)| wanted(state)).map(|(member, _)| member)
    }

    pub(super) fn has_filled(&self, member: usize) -> bool {
        self.filled >> member & 1 == 1
    }

    pub(super) fn is_twin(&self, member: usize) -> bool {
        self.twins >> member & 1 == 1
    }

    /// Whose copy holds the member's bytes.
    pub(super) fn source(&self, member: usize) -> usize {
        self.original.filter(|_| self.is_twin(member)).unwrap_or(member)
    }

    /// Notes that the member's copy holds the whole chunk.
    pub(super) fn holds(&mut self, member: usize) {
        self.begun |= 1 << member;
        self.filled |= 1 << member;
    }

    pub(super) fn at(&self, offset: u64) -> usize {
        (offset - self.range.start) as usize
    }
}

impl Worker<'_> {
    /// Votes on a chunk in which every member's state is the same all along, and hands on its bytes; false where it was stopped, or the
    /// output takes no more.
    pub(super) fn chunk(&mut self, range: ByteRange, states: &mut [State], rule: Rule) -> bool {
        let mark = self.found.mark();
        self.unstable.clear();
        // Who failed meanwhile, or holds zeros by now, isn't read: its ballot needs no such word.
        let reads = |member: usize| matches!(states[member], State::Data | State::Partial);
        self.unstable.extend(self.doubts.unstable_in(range).filter(|&(member, _)| reads(member)));
        loop {
            for (state, failure) in states.iter_mut().zip(&self.shared.failures) {
                if failure.get().is_some() {
                    *state = State::Failed;
                }
            }
            let mut chunk = Chunk { range, states, rule, filled: 0, begun: 0, original: None, encoded: false, twins: 0, voted: false };
            match self.attempt(&mut chunk, &mark) {
                Ok(()) => {
                    self.keep_heard();
                    self.dense = self.found.differing_since(&mark, range) >= range.length() / 2;
                    return true;
                }
                Err(Interruption::Again) => self.found.go_back(&mark),
                Err(interruption) => {
                    self.found.go_back(&mark);
                    if let Interruption::Output(error) = interruption {
                        self.shared.fail(error);
                    }
                    return false;
                }
            }
        }
    }

    fn attempt(&mut self, chunk: &mut Chunk, mark: &Mark) -> Result<(), Interruption> {
        self.heard = Heard::default();
        self.entries.clear();
        self.words.clear();
        self.gifts.clear();
        if chunk.rule == Rule::First {
            return self.take_first(chunk, mark);
        }
        if self.shared.job.fillers.any_unread(chunk.range) || !self.unstable.is_empty() {
            return self.by_sectors(chunk, mark);
        }
        let Some(reference) = chunk.with_state(|state| state == State::Data).next() else {
            let known = chunk.with_state(|state| state == State::Partial).next().is_none();
            return if known { self.known_zeros(chunk, mark) } else { self.by_sectors(chunk, mark) };
        };
        if chunk.with_state(|state| state == State::Partial).next().is_some() {
            return self.by_sectors(chunk, mark);
        }
        for member in chunk.with_state(|state| state == State::Data) {
            let wanted = member == reference && (self.shared.job.output.is_some() || self.hashes());
            if self.dense && !wanted && self.is_twin_by_bytes(chunk, member) {
                chunk.twins |= 1 << member;
            } else if self.dense || !self.map(member) || wanted {
                self.copy_or_twin(chunk, member)?;
            }
        }
        let flawed = (0..chunk.states.len()).any(|member| chunk.has_filled(member) && !self.copies[member].whole());
        if flawed {
            return self.by_sectors(chunk, mark);
        }
        let vote = uniform_vote(chunk.states, chunk.rule);
        let alike = self.alike(chunk, reference, chunk.range);
        if self.hashes() && !(alike && vote.verdict == Verdict::Unanimous) {
            let copy = std::mem::take(&mut self.copies[reference]);
            let done = alike && self.hear_lacking(chunk, copy.bytes(0, chunk.range.length() as usize), &vote);
            self.copies[reference] = copy;
            if !done {
                self.heard = Heard::default();
                return self.by_sectors(chunk, mark);
            }
            self.count_alike(chunk, reference, chunk.range);
            self.heed_spoilt_windows()?;
            return self.write(chunk.range.start, self.copies[reference].bytes(0, chunk.range.length() as usize));
        }
        if alike {
            let length = chunk.range.length() as usize;
            let Self { shared, .. } = self;
            if !shared.geometries.is_empty() {
                let copy = std::mem::take(&mut self.copies[reference]);
                self.hear_alike(chunk.range, copy.bytes(0, length));
                self.copies[reference] = copy;
            }
            self.count_alike(chunk, reference, chunk.range);
            self.alike_range(chunk, &vote, chunk.range)?;
        } else if self.dense {
            // All is at hand already, and little would be spared by looking for the rest.
            chunk.voted = self.shared.job.output.is_some();
            self.sectors(chunk, chunk.range)?;
        } else {
            self.narrow(chunk, reference, &vote, chunk.range)?;
        }
        self.heed_spoilt_windows()?;
        self.confirm(chunk, mark)?;
        let length = chunk.range.length() as usize;
        if chunk.voted {
            self.write_voted(chunk)
        } else {
            let bytes = if chunk.has_filled(reference) { self.copies[reference].bytes(0, length) } else { &[] };
            self.write(chunk.range.start, bytes)
        }
    }

    /// No member's bytes need to be read: all are known zeros, absent or failed.
    fn known_zeros(&mut self, chunk: &mut Chunk, mark: &Mark) -> Result<(), Interruption> {
        let vote = uniform_vote(chunk.states, chunk.rule);
        let runs = if self.hashes() { self.hear_zeros(chunk, &vote) } else { vec![Run { range: chunk.range, vote }] };
        let job = self.shared.job;
        // What is longer than a chunk no witness knows anything of.
        let wanted = job.output.is_some() || (!job.donors.is_empty() && chunk.range.length() <= self.shared.chunk_bytes as u64);
        if wanted && runs.iter().any(|run| run.vote.verdict == Verdict::Undecided) {
            (self.heard, self.entries) = Default::default();
            return self.by_sectors(chunk, mark);
        }
        let Some((output, _)) = job.output else {
            for run in runs {
                self.found.push(run);
            }
            return Ok(());
        };
        for run in runs {
            self.found.push(run);
        }
        output.zeros(chunk.range).map_err(|error| write_error(chunk.range.start, chunk.range.length(), error))
    }

    /// Votes on all of the chunk sector by sector.
    pub(super) fn by_sectors(&mut self, chunk: &mut Chunk, mark: &Mark) -> Result<(), Interruption> {
        chunk.voted = true;
        self.sectors(chunk, chunk.range)?;
        self.heed_spoilt_windows()?;
        self.confirm(chunk, mark)?;
        if chunk.rule != Rule::First {
            self.hash_voted(chunk);
        }
        self.write_voted(chunk)
    }

    /// Halves a range that isn't alike until its parts are, or are small.
    fn narrow(&mut self, chunk: &mut Chunk, reference: usize, vote: &Vote, range: ByteRange) -> Result<(), Interruption> {
        let middle = (range.start + range.length() / 2).next_multiple_of(self.block());
        if middle <= range.start || middle >= range.end {
            if !chunk.voted && self.shared.job.output.is_some() {
                let length = chunk.range.length() as usize;
                self.voted[..length].copy_from_slice(self.copies[reference].bytes(0, length));
                chunk.voted = true;
            }
            return self.sectors(chunk, range);
        }
        let (left, right) = (ByteRange::new(range.start, middle), ByteRange::new(middle, range.end));
        if self.alike(chunk, reference, left) {
            self.count_alike(chunk, reference, left);
            self.alike_range(chunk, vote, left)?;
            // Then the difference is on the right, or was for a moment only: the sectors tell.
            return self.narrow(chunk, reference, vote, right);
        }
        self.narrow(chunk, reference, vote, left)?;
        if self.alike(chunk, reference, right) {
            self.count_alike(chunk, reference, right);
            self.alike_range(chunk, vote, right)
        } else {
            self.narrow(chunk, reference, vote, right)
        }
    }

    /// A range in which all data is alike: one verdict for all of it.
    fn alike_range(&mut self, chunk: &mut Chunk, vote: &Vote, range: ByteRange) -> Result<(), Interruption> {
        if vote.verdict == Verdict::Undecided && self.shared.job.output.is_some() {
            chunk.voted = true;
            return self.sectors(chunk, range);
        }
        self.found.push(Run { range, vote: *vote });
        Ok(())
    }

    /// Whether all members with data (zeros are data) hold the same bytes in `range`.
    fn alike(&self, chunk: &Chunk, reference: usize, range: ByteRange) -> bool {
        let (in_chunk, length) = (chunk.at(range.start), range.length() as usize);
        let in_window = (range.start - self.mapped.start) as usize;
        let bytes = chunk.has_filled(reference).then(|| self.copies[reference].bytes(in_chunk, length));
        let window = |member: usize| match &self.slots[member] {
            Slot::Mapped(window) => window,
            Slot::Unknown | Slot::Read => unreachable!("member {member} is neither mapped nor copied"),
        };
        chunk.states.iter().enumerate().skip(reference_or_zero(chunk, reference)).all(|(member, &state)| {
            let other = match state {
                // Whom it is the twin of is compared.
                _ if member == reference || chunk.is_twin(member) => return true,
                State::Zero => Some(&self.zeros[..length]),
                State::Data => chunk.has_filled(member).then(|| self.copies[member].bytes(in_chunk, length)),
                State::Partial | State::Absent | State::Failed => return true,
            };
            match (bytes, other) {
                (Some(bytes), Some(other)) => bytes == other,
                (Some(bytes), None) => window(member).alike_bytes(in_window, bytes),
                (None, Some(other)) => window(reference).alike_bytes(in_window, other),
                (None, None) => window(reference).alike(window(member), in_window..in_window + length),
            }
        })
    }

    /// Maps the window of a member unless that was done; whether its bytes can be compared there.
    pub(super) fn map(&mut self, index: usize) -> bool {
        if !self.maps || self.shared.manners.reads(index) {
            return false;
        }
        if let Slot::Unknown = self.slots[index] {
            let member = self.shared.job.members[index];
            let range = ByteRange::new(self.mapped.start, self.mapped.end.min(member.size()));
            self.slots[index] = member.window(range).map_or(Slot::Read, Slot::Mapped);
        }
        matches!(self.slots[index], Slot::Mapped(_))
    }

    /// A window that lost a page is given up, and what was said of it too.
    fn heed_spoilt_windows(&mut self) -> Result<(), Interruption> {
        let mut spoilt = false;
        for slot in &mut self.slots {
            if matches!(slot, Slot::Mapped(window) if window.spoilt()) {
                *slot = Slot::Read;
                spoilt = true;
            }
        }
        if spoilt { Err(Interruption::Again) } else { Ok(()) }
    }

    pub(super) fn copy_chunk(&mut self, chunk: &mut Chunk, member: usize) -> Result<(), Interruption> {
        self.copy(chunk, member, chunk.range)?;
        chunk.filled |= 1 << member;
        Ok(())
    }

    /// Copies the sectors of `range` that the member holds.
    pub(super) fn copy(&mut self, chunk: &mut Chunk, member: usize, range: ByteRange) -> Result<(), Interruption> {
        if chunk.begun >> member & 1 == 0 {
            self.copies[member].begin(self.shared.chunk_bytes);
            chunk.begun |= 1 << member;
        }
        let held = match chunk.states[member] {
            State::Partial => {
                let size = self.shared.job.members[member].size();
                ByteRange::new(range.start, (size - size % u64::from(self.shared.job.sector)).clamp(range.start, range.end))
            }
            _ => range,
        };
        if held.is_empty() {
            return Ok(());
        }
        Ok(self.copies[member].fill(self.shared, member, held, chunk.at(held.start))?)
    }

    pub(super) fn write_voted(&self, chunk: &Chunk) -> Result<(), Interruption> {
        self.write(chunk.range.start, &self.voted[..chunk.range.length() as usize])
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Interruption> {
        match self.shared.job.output {
            Some((output, _)) => output.write(offset, bytes).map_err(|error| write_error(offset, bytes.len() as u64, error)),
            None => Ok(()),
        }
    }
}

pub(super) fn write_error(offset: u64, length: u64, error: std::io::Error) -> Interruption {
    Interruption::Output(ScanError::Write { offset, length, error })
}

/// Members before the reference hold no data; zeros among them still have to be compared.
fn reference_or_zero(chunk: &Chunk, reference: usize) -> usize {
    chunk.states[..reference].iter().position(|&state| state == State::Zero).unwrap_or(reference)
}

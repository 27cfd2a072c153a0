//! Private copies: read once, with care for what can't be read.

use super::shared::{HURRIED_BYTES, Shared};
use crate::{
    member::{Member, ReadError},
    sys::buffer::Buffer,
    vote::ByteRange,
};

/// Why a part of a copy holds no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The medium can't read it.
    Unreadable,
    /// The member became shorter since it was opened.
    Absent,
}

/// A member's bytes of one chunk.
#[derive(Default)]
pub(super) struct Copy {
    bytes: Option<Buffer>,
    bounce: Option<Buffer>,
    /// Parts without bytes, ascending, in bytes of the image.
    flaws: Vec<(ByteRange, Flaw)>,
}

/// Why there is no copy.
pub(super) enum NoCopy {
    /// The member failed as a whole.
    MemberFailed,
    /// The scan is to stop: what a dying disk takes minutes for isn't waited for.
    Stopped,
}

impl Copy {
    /// The bytes from `start` (relative to the chunk) on.
    pub(super) fn bytes(&self, start: usize, length: usize) -> &[u8] {
        &self.buffer()[start..start + length]
    }

    fn buffer(&self) -> &Buffer {
        self.bytes.as_ref().expect("filled before it is used")
    }

    /// Whether all of it could be read.
    pub(super) fn whole(&self) -> bool {
        self.flaws.is_empty()
    }

    /// What is wrong with `range`, if anything.
    pub(super) fn flaw(&self, range: ByteRange) -> Option<Flaw> {
        self.flaws.iter().find(|(flawed, _)| flawed.and(range).is_some()).map(|&(_, flaw)| flaw)
    }

    /// Allocates, and forgets the flaws of the chunk before.
    pub(super) fn begin(&mut self, chunk_bytes: usize) {
        self.bytes.get_or_insert_with(|| Buffer::new(chunk_bytes));
        self.flaws.clear();
    }

    /// Memory for reading that needs some.
    pub(super) fn bounce(&mut self) -> &mut Option<Buffer> {
        &mut self.bounce
    }

    /// Has the first `length` bytes put there at once; false where `fill` says so, and anything may stand there then.
    pub(super) fn decode(&mut self, chunk_bytes: usize, length: usize, fill: impl FnOnce(&mut [u8]) -> bool) -> bool {
        self.begin(chunk_bytes);
        fill(&mut self.bytes.as_mut().expect("just begun")[..length])
    }

    /// Reads `range` of the member to the place `at` in this copy.
    ///
    /// What can't be read is narrowed down to the larger of the sector and the smallest read, tried once more, and noted as a flaw.
    pub(super) fn fill(&mut self, shared: &Shared, index: usize, range: ByteRange, at: usize) -> Result<(), NoCopy> {
        let member = shared.job.members[index];
        let unit = member.read_unit().max(u64::from(shared.job.sector));
        // What was wrong with it at an earlier reading is no matter.
        self.flaws.retain(|(flawed, _)| flawed.and(range).is_none());
        let bytes = &mut self.bytes.as_mut().expect("begun before it is filled")[at..at + range.length() as usize];
        let reading = Reading { shared, member, index, unit };
        reading.fill(range, bytes, &mut self.bounce, &mut self.flaws)
    }
}

/// One member being read with care.
struct Reading<'a> {
    shared: &'a Shared<'a>,
    member: &'a dyn Member,
    index: usize,
    /// What unreadable parts are narrowed down to, in bytes.
    unit: u64,
}

impl Reading<'_> {
    fn fill(
        &self,
        range: ByteRange,
        bytes: &mut [u8],
        bounce: &mut Option<Buffer>,
        flaws: &mut Vec<(ByteRange, Flaw)>,
    ) -> Result<(), NoCopy> {
        let mut again = false;
        loop {
            let begun = self.shared.job.watch.elapsed();
            let flaw = match self.member.read(range.start, bytes, bounce) {
                Ok(()) => {
                    self.shared.answers[self.index].took(self.shared.job.watch.elapsed().saturating_sub(begun));
                    return Ok(());
                }
                Err(ReadError::Member(error)) => {
                    self.shared.member_failed(self.index, error.to_string());
                    return Err(NoCopy::MemberFailed);
                }
                Err(ReadError::Medium(_)) => Flaw::Unreadable,
                Err(ReadError::Ended) => Flaw::Absent,
            };
            self.shared.waited(self.index, self.shared.job.watch.elapsed().saturating_sub(begun));
            if self.shared.stopped() {
                return Err(NoCopy::Stopped);
            }
            let unit = if self.shared.hurries(self.index) { self.unit.max(HURRIED_BYTES) } else { self.unit };
            let middle = (range.start + range.length() / 2).next_multiple_of(unit);
            if middle < range.end && middle > range.start {
                let (left, right) = bytes.split_at_mut((middle - range.start) as usize);
                self.fill(ByteRange::new(range.start, middle), left, bounce, flaws)?;
                return self.fill(ByteRange::new(middle, range.end), right, bounce, flaws);
            }
            if flaw == Flaw::Absent || again {
                bytes.fill(0);
                match flaws.last_mut() {
                    Some((last, same)) if last.end == range.start && *same == flaw => last.end = range.end,
                    _ => flaws.push((range, flaw)),
                }
                return Ok(());
            }
            again = true; // only an error that repeats is believed
        }
    }
}

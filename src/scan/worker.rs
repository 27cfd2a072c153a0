//! One thread's work: a window, piece by piece, chunk by chunk.

use std::io;

use super::{
    doubts::Doubts,
    extents::{BLOCK_BYTES, Piece, State, Track, pieces, track},
    feeder::{Part, WindowTask},
    gift::Gift,
    hashed::Word,
    hearing::Heard,
    lost::{self, Lost, Voted},
    ordered::WindowResult,
    private::Copy,
    shared::{MAPPED_ALONE_BYTES_MIN, MAPPED_BYTES_MIN, Shared, WINDOW_ALIGNMENT},
};
use crate::{
    digest::{Cursor, Entry},
    evidence::Evidence,
    member::{Encoded, Extent, KnownExtent, ReadError},
    sys::{buffer::Buffer, mapping::Window, ring::Ring},
    vote::{ByteRange, Run, Verdict},
};

/// A member's window, as far as it is known.
pub(super) enum Slot {
    /// Not asked for yet.
    Unknown,
    /// Mapped.
    Mapped(Window),
    /// Can't be mapped, or lost a page: it is read instead.
    Read,
}

/// One thread with its memory, which it keeps from window to window.
pub(super) struct Worker<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) copies: Vec<Copy>,
    /// The chunk at hand as a member keeps it: the first one's, which was decoded, and that of the one looked at.
    pub(super) encoded: [Encoded; 2],
    /// For each member the last stretch of data that it told of.
    known: Vec<KnownExtent>,
    pub(super) slots: Vec<Slot>,
    /// Where the slots' mappings start, and where the window ends.
    pub(super) mapped: ByteRange,
    /// Whether the piece at hand is to be mapped where members can be.
    pub(super) maps: bool,
    /// Whether most of the chunk before differed: then the next one is copied as a whole, and voted on sector by sector.
    pub(super) dense: bool,
    /// A chunk of zeros, to compare with.
    pub(super) zeros: Buffer,
    /// The voted bytes of a chunk that isn't alike in all members.
    pub(super) voted: Buffer,
    pub(super) found: Found,
    /// Keeps direct readings of what differs in flight, once anything does.
    pub(super) ring: Option<io::Result<Ring>>,
    /// What is to be read a second time before the window is through.
    pub(super) doubts: Doubts,
    /// Sectors of the chunk at hand in which a member answered differently when it was read again.
    pub(super) unstable: Vec<(usize, ByteRange)>,
    /// What witnesses said in the chunk at hand: their words on what differs, what was counted, and what a digest in the making takes.
    pub(super) words: Vec<Word>,
    pub(super) heard: Heard,
    pub(super) entries: Vec<(u64, Entry, u64)>,
    /// Where witnesses are read, one for each.
    pub(super) cursors: Vec<Cursor<'a>>,
    /// Members' copies of a digest's chunk of which only a part is looked at.
    pub(super) spare: Vec<Copy>,
    /// What donors hold of the chunk at hand, where that was wanted.
    pub(super) gifts: Vec<Gift>,
}

/// What was found in the window so far.
#[derive(Default)]
pub(super) struct Found {
    runs: Vec<Run>,
    pub(super) unfilled: u64,
    /// One for each member once there is anything to count.
    lost: Vec<Lost>,
    heard: Heard,
    entries: Vec<(u64, Entry, u64)>,
}

/// A place to go back to.
pub(super) struct Mark {
    runs: usize,
    last: Option<Run>,
    unfilled: u64,
    lost: Vec<Lost>,
}

impl Found {
    /// Takes a vote; neighbours of one kind join.
    pub(super) fn push(&mut self, run: Run) {
        if run.vote.verdict == Verdict::Unanimous {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.range.end == run.range.start && last.vote == run.vote => last.range.end = run.range.end,
            _ => self.runs.push(run),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { runs: self.runs.len(), last: self.runs.last().copied(), unfilled: self.unfilled, lost: self.lost.clone() }
    }

    /// Whether anything differs that wasn't known at that place.
    pub(super) fn grew_since(&self, mark: &Mark) -> bool {
        self.runs.len() > mark.runs || self.runs.last() != mark.last.as_ref()
    }

    /// Where data differs in `range` that wasn't known at that place.
    pub(super) fn since(&self, mark: &Mark, range: ByteRange) -> Vec<ByteRange> {
        // The last one before may have grown into it.
        let new = self.runs[mark.runs.saturating_sub(1)..].iter().filter(|run| run.vote.grouping.versions().nth(1).is_some());
        ByteRange::joined(new.filter_map(|run| run.range.and(range)))
    }

    /// How many bytes of `range` differ that weren't known to at that place.
    pub(super) fn differing_since(&self, mark: &Mark, range: ByteRange) -> u64 {
        if self.grew_since(mark) { self.since(mark, range).iter().map(|place| place.length()).sum() } else { 0 }
    }

    pub(super) fn go_back(&mut self, mark: &Mark) {
        self.runs.truncate(mark.runs);
        if let (Some(last), Some(then)) = (self.runs.last_mut(), mark.last) {
            *last = then;
        }
        self.unfilled = mark.unfilled;
        self.lost.clone_from(&mark.lost);
    }

    /// Takes what was heard in a chunk that came to its end.
    pub(super) fn keep(&mut self, heard: Heard, entries: Vec<(u64, Entry, u64)>) {
        self.heard.add(heard);
        self.entries.extend(entries);
    }

    /// Where nobody won in `range`, which was looked at last.
    pub(super) fn undecided_in(&self, range: ByteRange) -> Vec<ByteRange> {
        let last = self.runs.iter().rev().take_while(|run| run.range.end > range.start);
        last.filter(|run| run.vote.verdict == Verdict::Undecided).filter_map(|run| run.range.and(range)).collect()
    }

    /// Counts what members lose in a sector.
    pub(super) fn count_lost(&mut self, sector: &Voted, evidence: Option<&Evidence>) {
        if sector.vote.dissenters() != 0 {
            self.lost.resize(sector.ballots.len(), Lost::default());
            lost::count(&mut self.lost, sector, evidence);
        }
    }

    /// Counts bytes of content that a member holds, of so many.
    pub(super) fn count_content(&mut self, members: usize, member: usize, bytes: u64) {
        if bytes > 0 {
            self.lost.resize(members, Lost::default());
            self.lost[member].content_held += bytes;
        }
    }
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        let members = shared.job.members.len();
        Self {
            shared,
            copies: (0..members).map(|_| Copy::default()).collect(),
            encoded: Default::default(),
            known: vec![KnownExtent::default(); members],
            slots: (0..members).map(|_| Slot::Unknown).collect(),
            mapped: ByteRange::new(0, 0),
            maps: true,
            dense: false,
            zeros: Buffer::new(shared.chunk_bytes),
            voted: Buffer::new(shared.chunk_bytes),
            found: Found::default(),
            ring: None,
            doubts: Doubts::default(),
            unstable: Vec::new(),
            words: Vec::new(),
            heard: Heard::default(),
            entries: Vec::new(),
            cursors: shared.job.hearing.iter().flat_map(|hearing| &hearing.witnesses).map(|witness| witness.digest.cursor()).collect(),
            spare: (0..members).map(|_| Copy::default()).collect(),
            gifts: Vec::new(),
        }
    }

    /// Works through a window.
    pub(super) fn window(&mut self, task: &WindowTask) -> WindowResult {
        let (mut scanned, mut complete) = self.parts(task);
        if !self.confirm_waiting() {
            // Somebody answers differently when asked again: once more, and each chunk is seen to before the next one.
            self.found = Found::default();
            self.doubts.again = true;
            (scanned, complete) = self.parts(task);
            self.doubts = Doubts::default();
        }
        let found = std::mem::take(&mut self.found);
        WindowResult {
            runs: found.runs,
            unfilled: found.unfilled,
            lost: found.lost,
            scanned,
            complete,
            heard: found.heard,
            entries: found.entries,
        }
    }

    /// Works through all parts of the window; returns how far it came, in bytes of the job's ranges, and whether to its end.
    fn parts(&mut self, task: &WindowTask) -> (u64, bool) {
        let mut scanned = 0;
        for part in &task.parts {
            let reached = self.part(task.index, part);
            scanned = part.before + (reached - part.range.start);
            if reached < part.range.end {
                return (scanned, false);
            }
        }
        (scanned, true)
    }

    /// Works through a part of the window of that number; returns how far it came.
    fn part(&mut self, index: u64, part: &Part) -> u64 {
        let range = part.range;
        self.mapped = ByteRange::new(range.start - range.start % WINDOW_ALIGNMENT, range.end);
        let tracks: Vec<Track> = (0..self.shared.job.members.len()).map(|member| self.track(member, range)).collect();
        let mut reached = range.start;
        let pieces = pieces(range, &tracks);
        let alone = pieces.len() == 1;
        if alone {
            self.try_manners(index, range, &pieces[0].states);
        }
        for mut piece in pieces {
            self.maps = piece.range.length() >= if alone { MAPPED_ALONE_BYTES_MIN } else { MAPPED_BYTES_MIN };
            reached = self.piece(&mut piece);
            if reached < piece.range.end {
                break;
            }
        }
        self.slots.iter_mut().for_each(|slot| *slot = Slot::Unknown);
        reached
    }

    fn track(&mut self, index: usize, range: ByteRange) -> Track {
        let (job, block) = (self.shared.job, self.shared.grain);
        let (member, known) = (job.members[index], &mut self.known[index]);
        if self.shared.failures[index].get().is_some() {
            return vec![(range.end, State::Failed)];
        }
        match track(range, block, job.size, member.size(), |at| known.data_at(member, at)) {
            Ok(track) => track,
            Err(ReadError::Member(error)) => {
                self.shared.member_failed(index, error.to_string());
                vec![(range.end, State::Failed)]
            }
            // Where it can't tell its holes, reading tells all.
            Err(ReadError::Medium(_) | ReadError::Ended) => {
                let all_data = |_| Ok::<_, std::convert::Infallible>(Extent::Data(member.size()));
                let Ok(track) = track(range, block, job.size, member.size(), all_data);
                track
            }
        }
    }

    /// What differs is narrowed down to this before it is voted on sector by sector.
    pub(super) fn block(&self) -> u64 {
        BLOCK_BYTES.max(u64::from(self.shared.job.sector))
    }

    /// Works through a piece; returns how far it came.
    fn piece(&mut self, piece: &mut Piece) -> u64 {
        let job = self.shared.job;
        let readers = piece.states.iter().filter(|&&state| matches!(state, State::Data | State::Partial)).count() as u64;
        let chunk_bytes = self.shared.chunk_bytes as u64;
        let mut at = piece.range.start;
        while at < piece.range.end && !self.shared.stopped() {
            let rule = job.rules.at(at);
            let all = ByteRange::new(at, piece.range.end.min(job.rules.next_change(at)));
            // Known zeros of which the output wants to hear little are one chunk, however long, as far as witnesses say the same of them.
            let zeros = readers == 0
                && job.fillers.unread.is_empty()
                && (!self.hashes() || at.is_multiple_of(self.shared.grain))
                && job.output.is_none_or(|(output, _)| !output.wants_all_zeros());
            let at_once = zeros.then(|| self.zeros_at_once(all, &piece.states, rule));
            let end = match at_once {
                Some((end, decided, silent)) if decided || (job.output.is_none() && (silent || job.donors.is_empty())) => end,
                _ => (at - at % chunk_bytes + chunk_bytes).min(all.end),
            };
            // What isn't a whole chunk at its end stands alone.
            let whole = end - if self.hashes() && at_once.is_some() && end < job.size { end % self.shared.grain } else { 0 };
            let end = if whole > at { whole } else { end };
            job.watch.spend((end - at) * readers);
            if !self.chunk(ByteRange::new(at, end), &mut piece.states, rule) {
                break;
            }
            if !self.doubts.again {
                job.watch.advanced(end - at); // else it was told before
            }
            at = end;
        }
        at
    }
}

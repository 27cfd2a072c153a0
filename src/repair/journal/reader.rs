//! Reads a journal, and believes nothing of it that its checksums don't vouch for.

use std::{io, sync::OnceLock};

use xxhash_rust::xxh3::Xxh3;

use super::{
    error::JournalError,
    format::{ALIGNMENT, HEADER_BYTES_MAX, Header, VERSION},
    records::{Ended, HEAD_BYTES, Head, Kind, MemberSum, Resized},
    writer::JournalWriter,
};
use crate::{
    member::MemberName,
    sys::storage::Storage,
    vote::{ByteRange, is_zero},
};

/// Bytes read at a time.
const STEP_BYTES: usize = 1 << 20;
/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;
/// Records read at most: more than any disk can hold batches.
const RECORDS_MAX: usize = 1 << 20;

/// How far it all came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The repair was cut off, or not all could be done.
    Unfinished,
    /// The repair did all that its plan said.
    Complete,
    /// Members were being put back.
    UndoBegun,
    /// They were put back.
    Undone,
}

impl State {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Complete => "complete",
            Self::UndoBegun => "undo begun",
            Self::Undone => "undone",
        }
    }
}

/// A record whose checksum is right.
pub(super) struct Record {
    pub(super) at: u64,
    pub(super) head: Head,
    /// Of a batch: members whose earlier batches are on stable storage; of an end: its body.
    pub(super) synced: u64,
    pub(super) ended: Option<Ended>,
    resized: Vec<Resized>,
}

/// A journal that was read through.
pub struct Journal {
    name: MemberName,
    storage: Box<dyn Storage>,
    pub(super) header: Header,
    pub(super) records: Vec<Record>,
    /// Where the next record would go.
    end: u64,
    /// Up to where something lies behind it: of a record that was cut off.
    remnant: u64,
    /// What the entries add up to, once that was asked for.
    pub(super) sums: OnceLock<Vec<MemberSum>>,
}

impl Journal {
    /// Reads all of it, and checks every checksum.
    ///
    /// # Errors
    /// See [`JournalError`]. A record at the end that has no head is no error: it was cut off while it was written, and nothing relied on it. One
    /// that has a head was on stable storage as a whole before: where its checksum is wrong it has rotted.
    pub fn load(name: &MemberName, storage: Box<dyn Storage>) -> Result<Self, JournalError> {
        let read_error = |offset, error| JournalError::Read { journal: name.clone(), offset, error };
        let damaged = |offset| JournalError::Damaged { journal: name.clone(), offset };
        let length = storage.length().map_err(|error| read_error(0, error))?;
        let mut start = [0; 16];
        let read = storage.read(0, &mut start).map_err(|error| read_error(0, error))?;
        let Some((version, header_bytes)) = Header::begins(&start[..read]) else {
            return Err(JournalError::Foreign { journal: name.clone() });
        };
        if version != VERSION {
            return Err(JournalError::Version { journal: name.clone(), version });
        }
        if !(ALIGNMENT as usize..=HEADER_BYTES_MAX).contains(&header_bytes) || header_bytes as u64 > length {
            return Err(damaged(0));
        }
        let mut bytes = vec![0; header_bytes];
        storage.read(0, &mut bytes).map_err(|error| read_error(0, error))?;
        let header = Header::decode(&bytes).ok_or_else(|| damaged(0))?;
        let mut journal =
            Self { name: name.clone(), storage, header, records: Vec::new(), end: header_bytes as u64, remnant: 0, sums: OnceLock::new() };
        while let Some(record) = journal.record_at(journal.end, length)? {
            journal.end = (record.at + HEAD_BYTES as u64 + record.head.length).next_multiple_of(ALIGNMENT);
            // Only the last end is ever asked what members looked like.
            if let Some(Record { ended: Some(ended), .. }) = journal.records.last_mut() {
                ended.stamps.clear();
            }
            journal.records.push(record);
            if journal.records.len() > RECORDS_MAX {
                return Err(damaged(journal.end));
            }
        }
        journal.refuse_later_records(length)?;
        // What was completed gave back what it didn't need; everything else is as long as it was made.
        if journal.state() == State::Unfinished && length < journal.header.reserved {
            return Err(damaged(length));
        }
        Ok(journal)
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, JournalError> {
        self.storage.read(offset, bytes).map_err(|error| JournalError::Read { journal: self.name.clone(), offset, error })
    }

    pub(super) fn damaged(&self, offset: u64) -> JournalError {
        JournalError::Damaged { journal: self.name.clone(), offset }
    }

    /// The record at `at`, if a whole one stands there.
    fn record_at(&self, at: u64, length: u64) -> Result<Option<Record>, JournalError> {
        let mut head = [0; HEAD_BYTES];
        if self.read(at, &mut head)? < HEAD_BYTES {
            return Ok(None);
        }
        let Some(head) = Head::decode(&head, &self.header.id) else {
            // Heads don't reach over a sector's end: one that was never written is zeros, as all of the space is.
            return if is_zero(&head) || !self.records.is_empty() && self.state() != State::Unfinished {
                Ok(None)
            } else {
                Err(self.damaged(at))
            };
        };
        let body = at + HEAD_BYTES as u64;
        if head.sequence != self.records.len() as u64 || head.length > length.saturating_sub(body) {
            return Ok(None);
        }
        let mut hash = Xxh3::new();
        let mut first = Vec::new();
        let mut bytes = vec![0; STEP_BYTES.min(head.length.max(1) as usize)];
        let mut done = 0;
        while done < head.length {
            let step = (head.length - done).min(bytes.len() as u64) as usize;
            let read = self.read(body + done, &mut bytes[..step])?;
            if read < step {
                return Ok(None);
            }
            hash.update(&bytes[..step]);
            if done == 0 {
                first = bytes[..step.min(64 << 10)].to_vec();
            }
            done += step as u64;
        }
        if hash.digest() != head.hash {
            return Err(self.damaged(at));
        }
        let nonsense = || self.damaged(at);
        let synced = match head.kind {
            Kind::Batch => first.first_chunk().map(|mask| u64::from_le_bytes(*mask)).ok_or_else(nonsense)?,
            _ => 0,
        };
        let ended = match head.kind {
            Kind::Ended => Some(Ended::decode(&first).ok_or_else(nonsense)?),
            _ => None,
        };
        let resized = match head.kind {
            Kind::Resized => Resized::decode_all(&first, self.header.members.len()).ok_or_else(nonsense)?,
            _ => Vec::new(),
        };
        Ok(Some(Record { at, head, synced, ended, resized }))
    }

    /// Where the records end, no other may follow: each is synced before the next one is written.
    ///
    /// What a guest's disk holds may lie there, from a record that was cut off; but it can't know this journal's number.
    fn refuse_later_records(&mut self, length: u64) -> Result<(), JournalError> {
        let mut bytes = vec![0; STEP_BYTES];
        // The first one may be torn: its head is whole, and its body isn't.
        let mut at = self.end + ALIGNMENT;
        self.remnant = at.min(length);
        while at < length {
            // Holes hold no record, however long they are.
            match self.storage.next_data(at) {
                Ok(Some(data)) => at = at.max(data - data % ALIGNMENT),
                Ok(None) => break,
                Err(_) => {}
            }
            let read = self.read(at, &mut bytes)?;
            if let Some(last) = bytes[..read].rchunks(SECTOR).position(|sector| !is_zero(sector)) {
                self.remnant = at + read as u64 - (last * SECTOR) as u64;
            }
            let heads = bytes[..read].chunks(ALIGNMENT as usize);
            let later =
                heads.filter_map(|chunk| Head::decode(chunk, &self.header.id)).any(|head| head.sequence >= self.records.len() as u64);
            if later {
                return Err(self.damaged(self.end));
            }
            if read < bytes.len() {
                break;
            }
            at += read as u64;
        }
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &MemberName {
        &self.name
    }

    /// What it is of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How far it all came.
    #[must_use]
    pub fn state(&self) -> State {
        match self.records.last().map(|record| (record.head.kind, &record.ended)) {
            Some((Kind::Undone, _)) => State::Undone,
            Some((Kind::Ended, Some(ended))) if ended.complete => State::Complete,
            _ if self.records.iter().any(|record| record.head.kind == Kind::UndoBegun) => State::UndoBegun,
            _ => State::Unfinished,
        }
    }

    /// Times that the repair began or went on.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.records.last().map_or(0, |record| record.head.session + 1)
    }

    /// Whether its last record was cut off while it was written: nothing of what it speaks was done yet.
    #[must_use]
    pub fn torn(&self) -> bool {
        self.state() == State::Unfinished && self.remnant > self.end + ALIGNMENT
    }

    /// Batches in it.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.records.iter().filter(|record| record.head.kind == Kind::Batch).count()
    }

    /// Bytes of it that hold something.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// How the last session ended; none where it was cut off, or something was done since.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.records.last()?.ended.as_ref()
    }

    /// The members that got, or were to get, another length, session by session.
    pub fn resized(&self) -> impl Iterator<Item = Resized> + '_ {
        self.records.iter().flat_map(|record| record.resized.iter().copied())
    }

    /// The members, as a mask, of which nothing that was done may be missing on stable storage.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.ended().map_or(0, |ended| ended.settled)
    }

    /// Goes on with it, as another session of the repair.
    ///
    /// # Errors
    /// What reading, writing and syncing its last record say.
    pub fn resume(self) -> io::Result<JournalWriter> {
        let (session, sequence, last) = (self.sessions(), self.records.len() as u64, self.last());
        JournalWriter::resume(self.storage, self.header.id, session, sequence, last, self.remnant)
    }

    /// Where the last record lies, in bytes; the end of the header where there is none.
    fn last(&self) -> ByteRange {
        let record = self.records.last().map(|record| (record.at, record.at + HEAD_BYTES as u64 + record.head.length));
        record.map_or(ByteRange::new(self.end, self.end), |(start, end)| ByteRange::new(start, end))
    }

    /// Notes that the members of the mask are going to be written to by somebody who isn't a session: their times and lengths will say
    /// nothing more.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub fn without_stamps(mut self, members: u64) -> io::Result<Self> {
        let Some(mut ended) = self.ended().cloned() else { return Ok(self) };
        ended.stamps.iter_mut().enumerate().filter(|(index, _)| members >> index & 1 == 1).for_each(|(_, stamp)| *stamp = None);
        ended.settled &= !members;
        let (session, sequence, last) = (self.sessions().saturating_sub(1), self.records.len() as u64, self.last());
        let mut writer = JournalWriter::resume(self.storage, self.header.id, session, sequence, last, self.remnant)?;
        let head = writer.note_ended(&ended)?;
        self.records.push(Record { at: self.end, head, synced: 0, ended: Some(ended), resized: Vec::new() });
        (self.storage, self.end) = writer.into_parts();
        self.remnant = self.end;
        Ok(self)
    }

    /// Notes that members are being put back, or that they were.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub fn noted(mut self, done: bool) -> io::Result<Self> {
        let (session, sequence, last) = (self.sessions().saturating_sub(1), self.records.len() as u64, self.last());
        let mut writer = JournalWriter::resume(self.storage, self.header.id, session, sequence, last, self.remnant)?;
        let head = writer.note_undo(done)?;
        self.records.push(Record { at: self.end, head, synced: 0, ended: None, resized: Vec::new() });
        (self.storage, self.end) = writer.into_parts();
        self.remnant = self.end;
        Ok(self)
    }
}

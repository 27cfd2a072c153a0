//! Appends to a journal: each record is on stable storage before the next one, or anything that relies on it, is written.

use std::{ffi::OsStr, io};

use xxhash_rust::xxh3::Xxh3;

use super::{
    Header,
    format::ALIGNMENT,
    records::{Ended, Entry, HEAD_BYTES, Head, Kind, Resized},
};
use crate::{
    sys::{
        locks::Claim,
        storage::{Folder, Replace, Storage},
    },
    vote::ByteRange,
};

/// Bytes written at a time.
const STEP_BYTES: usize = 1 << 20;

/// An open journal, at its end.
pub struct JournalWriter {
    storage: Box<dyn Storage>,
    id: [u8; 16],
    session: u32,
    sequence: u64,
    /// Where the next record goes.
    at: u64,
    /// Up to where something lies behind that, of a record that was given up.
    remnant: u64,
}

/// How a journal takes its space.
pub struct Reserve<'a> {
    /// Bytes taken for records, beside the header.
    pub bytes: u64,
    /// Hears of each step, in bytes; false stops.
    pub step: &'a dyn Fn(u64) -> bool,
}

impl JournalWriter {
    /// Makes a new journal: written, synced and given its name, with its space taken. `header.reserved` is set here.
    ///
    /// # Errors
    /// What the system says, `Interrupted` where it was stopped; nothing is left of it then.
    pub fn create(folder: &dyn Folder, name: &OsStr, mut header: Header, reserve: &Reserve) -> io::Result<Self> {
        let draft = folder.create()?;
        if draft.storage().claim(true)? != Claim::Ours {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let begin = header.encode().len() as u64;
        let end = begin.saturating_add(reserve.bytes.next_multiple_of(ALIGNMENT));
        header.reserved = end;
        draft.storage().write(0, &header.encode())?;
        // Written, not allocated: only that is sure to be there on every file system.
        let zeros = vec![0; STEP_BYTES];
        let mut at = begin;
        while at < end {
            let length = (end - at).min(STEP_BYTES as u64);
            draft.storage().write(at, &zeros[..length as usize])?;
            at += length;
            if !(reserve.step)(length) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        draft.storage().sync()?;
        Ok(Self { storage: draft.publish(name, Replace::Never)?, id: header.id, session: 0, sequence: 0, at: begin, remnant: begin })
    }

    /// Goes on with one that stands there, whose last record lies in `last` (bytes).
    ///
    /// That record is written once more: where its sync failed, the page cache shows it, and the medium may not hold it. What lies behind
    /// it up to `remnant`, of a record that was cut off, becomes zeros.
    pub(super) fn resume(
        storage: Box<dyn Storage>,
        id: [u8; 16],
        session: u32,
        sequence: u64,
        last: ByteRange,
        remnant: u64,
    ) -> io::Result<Self> {
        let mut bytes = vec![0; STEP_BYTES];
        let mut at = last.start;
        while at < last.end {
            let step = &mut bytes[..(last.end - at).min(STEP_BYTES as u64) as usize];
            if storage.read(at, step)? < step.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            storage.write(at, step)?;
            at += step.len() as u64;
        }
        storage.sync()?;
        let mut journal = Self { storage, id, session, sequence, at: last.end.next_multiple_of(ALIGNMENT), remnant };
        journal.clear()?;
        Ok(journal)
    }

    /// Makes what a record that was given up left behind zeros again: a head that was never written is told by that.
    fn clear(&mut self) -> io::Result<()> {
        if self.remnant <= self.at {
            return Ok(());
        }
        let zeros = vec![0; STEP_BYTES];
        for step in ByteRange::new(self.at, self.remnant).pieces(STEP_BYTES as u64) {
            self.storage.write(step.start, &zeros[..step.length() as usize])?;
        }
        self.storage.sync()?;
        self.remnant = self.at;
        Ok(())
    }

    /// Length in bytes, as far as it holds records.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Begins a batch; `synced` tells, as a mask, for which members all earlier batches of this session are on stable storage.
    ///
    /// # Errors
    /// What writing says.
    pub fn batch(&mut self, synced: u64) -> io::Result<BatchWriter<'_>> {
        BatchWriter::begin(self, Kind::Batch, &synced.to_le_bytes())
    }

    /// Notes that members are going to get other lengths.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub fn resized(&mut self, list: &[Resized]) -> io::Result<()> {
        BatchWriter::begin(self, Kind::Resized, &Resized::encode_all(list))?.finish()
    }

    /// Ends the session.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub fn end(&mut self, ended: &Ended) -> io::Result<()> {
        BatchWriter::begin(self, Kind::Ended, &ended.encode())?.finish()?;
        if ended.complete {
            // Space that wasn't needed; an undo will note two things more. Where it stays, it does no harm.
            let needed = self.at + 3 * ALIGNMENT;
            if self.storage.length().is_ok_and(|length| length > needed) {
                let _ = self.storage.set_length(needed);
            }
        }
        Ok(())
    }

    /// The journal's file, and where its records end.
    pub(super) fn into_parts(self) -> (Box<dyn Storage>, u64) {
        (self.storage, self.at)
    }

    /// Notes how a session ended, as it stands now.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub(super) fn note_ended(&mut self, ended: &Ended) -> io::Result<Head> {
        BatchWriter::begin(self, Kind::Ended, &ended.encode())?.finish_head()
    }

    /// Notes that members are being put back, or that they were.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub(super) fn note_undo(&mut self, done: bool) -> io::Result<Head> {
        BatchWriter::begin(self, if done { Kind::Undone } else { Kind::UndoBegun }, &[])?.finish_head()
    }
}

/// A record in the making. Dropped unfinished, it never was.
pub struct BatchWriter<'a> {
    journal: &'a mut JournalWriter,
    kind: Kind,
    hash: Xxh3,
    length: u64,
    pending: Vec<u8>,
    entries: u64,
}

impl<'a> BatchWriter<'a> {
    fn begin(journal: &'a mut JournalWriter, kind: Kind, body: &[u8]) -> io::Result<Self> {
        journal.clear()?;
        let mut batch = Self { journal, kind, hash: Xxh3::new(), length: 0, pending: Vec::new(), entries: 0 };
        batch.pending.extend_from_slice(body);
        batch.flush_from(STEP_BYTES)?;
        Ok(batch)
    }

    /// Adds what a range was, and the checksums of what is there before and after.
    ///
    /// # Errors
    /// What writing says.
    pub fn entry(&mut self, entry: &Entry, old_hashes: &[u64], new_hashes: &[u64], payload: &[u8]) -> io::Result<()> {
        entry.encode(old_hashes, new_hashes, payload, &mut self.pending);
        self.entries += 1;
        self.flush_from(STEP_BYTES)
    }

    /// Entries so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes what is pending, from so many bytes on.
    fn flush_from(&mut self, bytes: usize) -> io::Result<()> {
        if self.pending.len() < bytes {
            return Ok(());
        }
        let at = self.journal.at + HEAD_BYTES as u64 + self.length;
        self.journal.remnant = at + self.pending.len() as u64;
        self.journal.storage.write(at, &self.pending)?;
        self.hash.update(&self.pending);
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Returns when the record is on stable storage.
    ///
    /// # Errors
    /// What writing and syncing say.
    pub fn finish(self) -> io::Result<()> {
        self.finish_head().map(|_| ())
    }

    fn finish_head(mut self) -> io::Result<Head> {
        if !self.pending.is_empty() {
            self.flush_from(0)?;
        }
        let journal = self.journal;
        // The body first: where a head stands, all of its record was on stable storage, and what is wrong with it has rotted.
        journal.storage.sync()?;
        let head =
            Head { sequence: journal.sequence, kind: self.kind, session: journal.session, length: self.length, hash: self.hash.digest() };
        journal.remnant = journal.remnant.max(journal.at + HEAD_BYTES as u64);
        journal.storage.write(journal.at, &head.encode(&journal.id))?;
        journal.storage.sync()?;
        journal.sequence += 1;
        journal.at += (HEAD_BYTES as u64 + self.length).next_multiple_of(ALIGNMENT);
        journal.remnant = journal.at;
        Ok(head)
    }
}

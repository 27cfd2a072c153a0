//! What a journal's batches hold.

use super::{
    error::JournalError,
    reader::{Journal, Record},
    records::{ENTRY_BYTES, ENTRY_RANGE_MAX, Entry, HEAD_BYTES, Kind, MemberSum, Old, decode_hashes},
};
use crate::vote::{ByteRange, CoarseRanges, mask_of, members_of};

/// Bytes read at a time.
const STEP_BYTES: usize = 1 << 20;
/// Lists of ranges that share the memory of one: each member has some for each session.
const LISTS: usize = 64;

/// An entry with its checksums and old bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What and where.
    pub entry: Entry,
    /// Of the old bytes, one for each unit; empty unless they were data.
    pub old_hashes: Vec<u64>,
    /// Of the new bytes, one for each unit; empty where the range was cut off.
    pub new_hashes: Vec<u64>,
    /// The old bytes; empty unless they were data and asked for.
    pub old: Vec<u8>,
    /// Where its batch stands in the journal, in bytes: earlier ones come first.
    pub record: u64,
}

impl Journal {
    /// What the entries add up to, member by member. They are gone through once, the first time.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn sums(&self) -> Result<&[MemberSum], JournalError> {
        if let Some(sums) = self.sums.get() {
            return Ok(sums);
        }
        let mut sums = vec![MemberSum::default(); self.header.members.len()];
        self.entries(false, false, &mut |loaded| -> Result<(), JournalError> {
            let Entry { member, old, range, .. } = loaded.entry;
            let sum = &mut sums[member];
            sum.ranges += 1;
            sum.bytes += range.length();
            sum.unreadable_bytes += if old == Old::Unreadable { range.length() } else { 0 };
            Ok(())
        })?;
        Ok(self.sums.get_or_init(|| sums))
    }

    /// Bytes that all entries are of.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn entry_bytes(&self) -> Result<u64, JournalError> {
        Ok(self.sums()?.iter().fold(0, |sum, member| sum.saturating_add(member.bytes)))
    }

    /// The members, as a mask, that something may have been done to.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn touched(&self) -> Result<u64, JournalError> {
        let resized = self.resized().map(|resized| resized.member);
        let rewritten = self.sums()?.iter().enumerate().filter(|(_, sum)| sum.ranges > 0).map(|(member, _)| member);
        Ok(mask_of(resized.chain(rewritten)))
    }

    /// Calls `each` for the entries of all batches, the last batch first where `backwards`; `with_old` reads the old bytes, too.
    ///
    /// # Errors
    /// Where it can't be read, and what `each` says.
    pub fn entries<E: From<JournalError>>(
        &self,
        backwards: bool,
        with_old: bool,
        each: &mut dyn FnMut(&Loaded) -> Result<(), E>,
    ) -> Result<(), E> {
        let batches: Vec<&Record> = self.records.iter().filter(|record| record.head.kind == Kind::Batch).collect();
        let mut one = |record: &Record| self.entries_of(record, with_old, each);
        if backwards { batches.into_iter().rev().try_for_each(&mut one) } else { batches.into_iter().try_for_each(&mut one) }
    }

    fn entries_of<E: From<JournalError>>(
        &self,
        record: &Record,
        with_old: bool,
        each: &mut dyn FnMut(&Loaded) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = record.at + HEAD_BYTES as u64 + size_of::<u64>() as u64;
        let end = record.at + HEAD_BYTES as u64 + record.head.length;
        let mut bytes = Ahead { journal: self, bytes: vec![0; STEP_BYTES + ENTRY_RANGE_MAX as usize], from: at, held: 0, end };
        while at < end {
            let head = bytes.take(at, ENTRY_BYTES)?;
            let entry = Entry::decode(head, self.header.members.len()).ok_or_else(|| self.damaged(at))?;
            let hashes_end = ENTRY_BYTES + 8 * (entry.old_hashes() + entry.new_hashes());
            let whole = bytes.take(at, hashes_end + if with_old { entry.payload() } else { 0 })?;
            let mut old_hashes = decode_hashes(&whole[ENTRY_BYTES..hashes_end]);
            let new_hashes = old_hashes.split_off(entry.old_hashes());
            let old = whole[hashes_end..].to_vec();
            at += entry.encoded_bytes() as u64;
            each(&Loaded { entry, old_hashes, new_hashes, old, record: record.at })?;
        }
        Ok(())
    }

    /// For each member the ranges that were to be rewritten and aren't known to be on stable storage, ascending, perhaps widened.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn unsynced(&self) -> Result<Vec<Vec<ByteRange>>, JournalError> {
        let members = self.header.members.len();
        let mut lists: Vec<Vec<(u64, CoarseRanges)>> = vec![Vec::new(); members];
        for (index, record) in self.records.iter().enumerate().filter(|(_, record)| record.head.kind == Kind::Batch) {
            let unsynced = !self.synced_after(index);
            if members_of(unsynced).all(|member| member >= members) {
                continue;
            }
            self.entries_of(record, false, &mut |loaded: &Loaded| -> Result<(), JournalError> {
                let Entry { member, cut, range, .. } = loaded.entry;
                if unsynced >> member & 1 == 1 && !cut {
                    let lists = &mut lists[member];
                    if let Some((last, ranges)) = lists.last_mut().filter(|(last, _)| *last <= range.start) {
                        ranges.add(range);
                        *last = range.start;
                    } else {
                        let mut ranges = CoarseRanges::shared_by(LISTS);
                        ranges.add(range);
                        lists.push((range.start, ranges));
                    }
                }
                Ok(())
            })?;
        }
        let ascending = |lists: Vec<(u64, CoarseRanges)>| {
            let mut all: Vec<ByteRange> = lists.into_iter().flat_map(|(_, list)| list.finish(1, u64::MAX)).collect();
            all.sort_unstable();
            ByteRange::joined(all)
        };
        Ok(lists.into_iter().map(ascending).collect())
    }

    /// The members, as a mask, for which the batch that is record `index` is known to be on stable storage.
    fn synced_after(&self, index: usize) -> u64 {
        let session = self.records[index].head.session;
        self.records[index + 1..].iter().fold(0, |mask, later| {
            let own = later.head.session == session;
            let ended = later.ended.as_ref().map_or(0, |ended| ended.settled | if own { ended.synced } else { 0 });
            mask | ended | if own { later.synced } else { 0 }
        })
    }
}

/// A batch's bytes, read ahead.
struct Ahead<'a> {
    journal: &'a Journal,
    bytes: Vec<u8>,
    /// What is held: from here on, so many bytes.
    from: u64,
    held: usize,
    end: u64,
}

impl Ahead<'_> {
    /// `length` bytes (of an entry, less than what can be held) from `at` on.
    fn take(&mut self, at: u64, length: usize) -> Result<&[u8], JournalError> {
        if length as u64 > self.end.saturating_sub(at) {
            return Err(self.journal.damaged(at));
        }
        if at < self.from || at + length as u64 > self.from + self.held as u64 {
            let wanted = self.bytes.len().min((self.end - at) as usize);
            (self.from, self.held) = (at, self.journal.read(at, &mut self.bytes[..wanted])?);
        }
        let start = (at - self.from) as usize;
        self.bytes[..self.held].get(start..start + length).ok_or_else(|| self.journal.damaged(at))
    }
}

//! Digests alone vote, chunk by chunk: copies are compared where they lie, by what was brought from there.

use std::{
    io,
    time::{Duration, SystemTime},
};

use super::{
    check::{Checked, Listener},
    findings::{Findings, Limits},
    job::{Outcome, Watch},
    poll::majority,
};
use crate::{
    digest::{Cursor, DigestFile, Entry, Geometry},
    evidence::Evidence,
    member::{Extent, Member, MemberName, ReadError, Readable, Rewritable},
    sys::buffer::Buffer,
    vote::{Ballot, ByteRange, MEMBERS_MAX, Rule, Run, Runs, Vote},
};

/// A digest in the place of the copy that it was made from: who it is, and none of its bytes.
pub struct DigestMember {
    name: MemberName,
    size: u64,
    modified: Option<SystemTime>,
}

impl DigestMember {
    /// The copy that a digest speaks for.
    #[must_use]
    pub fn of(digest: &DigestFile) -> Self {
        let newest = digest.header().maker.sources.iter().filter_map(|source| source.modified).max();
        // A time before 1970 says nothing.
        let since = |(seconds, nanoseconds): (i64, u32)| Some(Duration::new(u64::try_from(seconds).ok()?, nanoseconds));
        let modified = newest.and_then(since).and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        Self { name: digest.name().clone(), size: digest.geometry().size, modified }
    }
}

impl Readable for DigestMember {
    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, _offset: u64) -> Result<Extent, ReadError> {
        Ok(Extent::Data(self.size))
    }

    fn read(&self, _offset: u64, _bytes: &mut [u8], _bounce: &mut Option<Buffer>) -> Result<(), ReadError> {
        Err(ReadError::Medium(io::ErrorKind::Unsupported.into()))
    }
}

impl Rewritable for DigestMember {}

impl Member for DigestMember {
    fn name(&self) -> &MemberName {
        &self.name
    }

    fn format(&self) -> &'static str {
        "digest"
    }

    fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    fn changed(&self) -> Option<String> {
        None
    }
}

/// Why digests can't be held against each other, in words; none where they can: `size` and sector are told of the first.
#[must_use]
pub fn incomparable(digests: &[DigestFile]) -> Option<String> {
    let first = digests.first()?;
    let cut = |it: Geometry| format!("{} in chunks of {} bytes", it.hash.name(), it.chunk_bytes);
    let differs = |other: &&DigestFile| {
        let (ours, theirs) = (first.geometry(), other.geometry());
        ours.hash != theirs.hash || ours.chunk_bytes != theirs.chunk_bytes
    };
    let other = digests.iter().find(differs)?;
    Some(format!(
        "{} is made by {}, and {} by {}: their values can't be compared\nhint: make both with the same --hash and --chunk-size",
        first.name(),
        cut(first.geometry()),
        other.name(),
        cut(other.geometry())
    ))
}

/// Votes on what digests say of each chunk up to `size` bytes; they can be compared. `threshold`: a majority where none is given. Where some
/// are of one origin (not `independent`) nobody can be outvoted: what one copy said twice isn't two votes.
///
/// # Errors
/// Where `listener` does.
pub fn vote_on_digests(
    digests: &[DigestFile],
    size: u64,
    (threshold, independent): (Option<usize>, bool),
    evidence: &Evidence,
    limits: Limits,
    watch: &dyn Watch,
    listener: Listener,
) -> io::Result<Checked> {
    let rule = if independent { Rule::Threshold(threshold.unwrap_or_else(|| majority(digests.len()))) } else { Rule::Unanimity };
    let chunk_bytes = digests[0].geometry().chunk_bytes;
    let (mut findings, mut outcome, mut runs) = (Findings::of(evidence, limits), Outcome::unscanned(digests.len()), Runs::default());
    let mut cursors: Vec<Cursor> = digests.iter().map(DigestFile::cursor).collect();
    let sector = u32::try_from(chunk_bytes).unwrap_or(u32::MAX);
    let (mut chunk, chunks) = (0, size.div_ceil(chunk_bytes));
    let mut found = |outcome: &mut Outcome, run: Run| {
        outcome.tally.add(&run, sector);
        findings.add(&run);
        listener(&run, &findings)
    };
    while chunk < chunks && !watch.stopped() {
        let mut count = chunks - chunk;
        let mut said = Vec::with_capacity(digests.len());
        for (digest, cursor) in digests.iter().zip(&mut cursors) {
            let run = cursor.at(chunk);
            let own = digest.geometry();
            // Its last chunk may be shorter than others' there: then it has another value.
            let left = own.chunks().saturating_sub(chunk);
            count = count.min(if left == 0 { u64::MAX } else { run.count.min(left).max(1) });
            said.push(if left == 0 { None } else { Some(run.entry) });
        }
        let mut ballots = [Ballot::Unasked; MEMBERS_MAX];
        for (ballot, said) in ballots.iter_mut().zip(&said) {
            *ballot = match said {
                None => Ballot::Absent,
                Some(Entry::Unknown) => Ballot::Unreadable,
                Some(Entry::Zero) => Ballot::Data(&[]),
                Some(Entry::Value(value)) => Ballot::Data(value),
            };
        }
        let start = chunk * chunk_bytes;
        let range = ByteRange::new(start, (chunk + count).saturating_mul(chunk_bytes).min(size));
        if let Some(run) = runs.push(Run { range, vote: Vote::of(&ballots[..digests.len()], rule) }) {
            found(&mut outcome, run)?;
        }
        watch.advanced(range.length());
        outcome.scanned_bytes = range.end;
        chunk += count;
    }
    if let Some(run) = runs.finish() {
        found(&mut outcome, run)?;
    }
    outcome.complete = chunk >= chunks;
    Ok(Checked { outcome, findings })
}

//! The passes over the members, and over what was written.

use std::{io, sync::Arc};

use super::{
    outcome::Written,
    qcow2::Qcow2Image,
    verify::{Nowhere, ReadBack, VotedDigest, find_difference, sum_up},
    wish::Repair,
    writer::{Ground, Sink, Writer},
};
use crate::{
    digest::Sum,
    member::{
        Cache, RawMember,
        qcow2::{Caches, Opening, Qcow2Member, References, read_header},
    },
    repair::RepairError,
    scan::{Checked, Findings, Job, Listener, Outcome, Output, ScanError, scan_as_far, workers},
    sys::storage::{Draft, Folder, Storage},
    vote::{ByteRange, Fill, Rule, Rules, Run, Verdict},
};

/// What QEMU's sizes are multiples of, in bytes.
const SECTOR: u64 = 512;
/// Memory for tables and inflated clusters while an image is read back, each.
const READ_BACK_BYTES: usize = 16 << 20;

/// What is in the making.
#[derive(Clone, Copy)]
pub(super) enum Making<'a> {
    /// A file that has no name yet.
    Draft(&'a dyn Draft),
    /// A device.
    Device(&'a dyn Storage),
}

impl<'a> Making<'a> {
    fn storage(self) -> &'a dyn Storage {
        match self {
            Self::Draft(draft) => draft.storage(),
            Self::Device(device) => device,
        }
    }
}

impl Repair<'_> {
    /// Votes and writes in one go: each member is read once.
    pub(super) fn stream(&self, making: Making, listener: Listener) -> Result<Written, RepairError> {
        let storage = making.storage();
        let ground = Ground::Holes(self.wish.sparse_bytes);
        let writer = if let Some(options) = self.wish.qcow2 {
            Writer::to(
                Sink::Qcow2(Box::new(Qcow2Image::new(storage, options, self.poll.size.next_multiple_of(SECTOR))?)),
                ground,
                self.watch,
            )
        } else {
            storage
                .set_length(self.poll.size)
                .map_err(self.failed("can't be given its length", "choose a file system that allows files of that size"))?;
            Writer::new(storage, ground, self.watch)
        };
        let copied = self.copy_unlisted(&writer)?;
        let (checked, error) = if copied.complete {
            let fails = self.wish.fill == Fill::Fail;
            self.vote("voting and writing", Some(&writer), self.findings(), &mut |run, findings| {
                if fails && run.vote.verdict == Verdict::Undecided {
                    writer.doom();
                }
                listener(run, findings)
            })?
        } else {
            (Checked { outcome: Outcome::unscanned(self.members.len()), findings: self.findings() }, None)
        };
        let unfilled = copied.tally.undecided.max(checked.outcome.unfilled_sectors);
        let mut written = Written { copied_from_others: copied.tally.decided, ..Written::by(&writer, checked, unfilled) };
        if let Some(error) = error {
            written.fail(error);
        }
        self.weigh(&mut written);
        if written.usable {
            let completed = self.complete(making, writer, &mut written);
            written.heed(completed);
        }
        Ok(written)
    }

    fn complete(&self, making: Making, writer: Writer, written: &mut Written) -> Result<(), RepairError> {
        writer.finish().map_err(self.failed("can't be completed", self.remains()))?;
        written.bytes = writer.bytes_written();
        self.read_back(making, &[ByteRange::new(0, self.poll.size)], writer, written)
    }

    /// Copies what an earlier report doesn't list: that is unanimous by its word, so one member is enough.
    pub(super) fn copy_unlisted(&self, output: &dyn Output) -> Result<Outcome, RepairError> {
        let others = self.wish.earlier.as_ref().map_or_else(Vec::new, |earlier| earlier.others(self.poll.size));
        if others.is_empty() {
            return Ok(Outcome { complete: true, ..Outcome::default() });
        }
        (self.phases)("copying", others.iter().map(|range| range.length()).sum());
        self.scan(&self.job(&others, &Rules::new(Rule::First), Some(output)), &mut |_| Ok(()))
    }

    /// Votes as for writing, and writes nothing: tells what would have no filling, here and in what is only copied.
    pub(super) fn rehearse(&self, listener: Listener) -> Result<Written, RepairError> {
        if let Some(expected) = &self.wish.expected {
            return self.check_digest(expected, listener);
        }
        let copied = self.copy_unlisted(&Nowhere)?;
        let (mut checked, error) = self.vote("voting", Some(&Nowhere), self.findings(), listener)?;
        checked.outcome.complete &= copied.complete;
        let unfilled = copied.tally.undecided.max(checked.outcome.unfilled_sectors);
        let mut written = Written { error, ..Written::nothing(checked, unfilled) };
        self.weigh(&mut written);
        Ok(written)
    }

    /// Votes, clones the member that needs the fewest changes, and writes those.
    pub(super) fn clone_and_patch(
        &self,
        new: &dyn Draft,
        folder: &dyn Folder,
        cloneable: &[usize],
        listener: Listener,
    ) -> Result<Written, RepairError> {
        let (checked, error) = self.vote("voting", None, self.findings().with_changes_of(cloneable), listener)?;
        let counted = &checked.outcome.tally.members;
        let flaws = |index: usize| {
            let member = counted[index];
            (
                checked.outcome.failures[index].is_some(),
                member.dissenting + member.unreadable + member.unstable + member.absent + member.failed,
            )
        };
        // What is left out of the vote comes from the first member, however the image is made.
        let may_be = |&index: &usize| self.poll.skipped.is_empty() || index == 0;
        let base = cloneable.iter().copied().filter(may_be).min_by_key(|&index| flaws(index));
        let undecided = checked.outcome.tally.undecided > 0;
        let base = base.filter(|_| checked.outcome.complete && !(undecided && self.wish.fill == Fill::Fail));
        let Some((base, (ranges, changes))) = base.and_then(|base| Some((base, checked.findings.changes_of(base)?))) else {
            let unfilled = checked.outcome.tally.undecided;
            let mut written = Written { error, ..Written::nothing(checked, unfilled) };
            self.weigh(&mut written);
            return Ok(written);
        };
        let ranges = ranges.finish(u64::from(self.poll.sector), self.poll.size);
        let mut written = Written { method: "clone", base: Some(base), ..Written::nothing(checked, 0) };
        self.weigh(&mut written);
        if written.refused.is_some() {
            return Ok(written);
        }
        let patched = self.patch(new, folder, &ranges, changes, &mut written);
        written.heed(patched);
        Ok(written)
    }

    /// Clones the base, and writes what differs from it: the `ranges`, whose votes add up to `changes`.
    fn patch(
        &self,
        new: &dyn Draft,
        folder: &dyn Folder,
        ranges: &[ByteRange],
        changes: u64,
        written: &mut Written,
    ) -> Result<(), RepairError> {
        let bytes = ranges.iter().map(|range| range.length()).sum();
        self.judge().room(&self.output_name(), bytes, folder.free_bytes())?;
        let base = written.base.ok_or(RepairError::Unsteady)?;
        let source = self.members[base].plain_file().ok_or(RepairError::Unsteady)?;
        new.clone_from(source).map_err(self.failed("can't be cloned from a member", "try --reflink never"))?;
        new.storage().set_length(self.poll.size).map_err(self.failed("can't be given its length", "try --reflink never"))?;
        (self.phases)("writing", bytes);
        let writer = Writer::new(new.storage(), Ground::Anything, self.watch);
        let again = self.vote_again(ranges, &writer, &written.checked.outcome, self.findings().with_changes_of(&[base]), |again| {
            again.changes_of(base).is_some_and(|(_, again)| again == changes)
        })?;
        (written.bytes, written.unfilled) = (writer.bytes_written(), again.unfilled_sectors);
        written.usable = written.checked.outcome.complete && again.complete && again.unfilled_sectors == 0;
        if written.usable {
            self.read_back(Making::Draft(new), ranges, writer, written)?;
        }
        Ok(())
    }

    /// Votes on `ranges` once more and writes what wins; the votes must be the ones that were cast before.
    pub(super) fn vote_again(
        &self,
        ranges: &[ByteRange],
        writer: &Writer,
        before: &Outcome,
        mut again: Findings,
        same: impl Fn(&Findings) -> bool,
    ) -> Result<Outcome, RepairError> {
        let job = self.job(ranges, &self.poll.rules, Some(writer)).as_before(before.tally.any_unstable());
        let outcome = self.scan(&job, &mut |run| {
            again.add(run);
            Ok(())
        })?;
        if outcome.complete && !same(&again) {
            return Err(RepairError::Unsteady);
        }
        Ok(outcome)
    }

    /// Votes on what is to be voted on, as far as the output takes it: an error of that stands beside what was found.
    fn vote(
        &self,
        phase: &'static str,
        output: Option<&dyn Output>,
        mut findings: Findings,
        listener: Listener,
    ) -> Result<(Checked, Option<RepairError>), RepairError> {
        let ranges = self.ranges();
        (self.phases)(phase, ranges.iter().map(|range| range.length()).sum());
        let job = self.job(&ranges, &self.poll.rules, output).weighing(self.evidence);
        let (outcome, error) = self.scan_as_far(&job, &mut |run| {
            findings.add(run);
            listener(run, &findings)
        });
        match error {
            // It is no fault of the output.
            Some(error @ RepairError::Scan(_)) => Err(error),
            error => Ok((Checked { outcome, findings }, error)),
        }
    }

    pub(super) fn findings(&self) -> Findings {
        Findings::of(self.evidence, self.limits())
    }

    /// What is voted on.
    pub(super) fn ranges(&self) -> Vec<ByteRange> {
        match &self.wish.earlier {
            Some(earlier) => earlier.open(),
            None => vec![self.poll.range],
        }
    }

    pub(super) fn scan(&self, job: &Job, sink: &mut (dyn FnMut(&Run) -> io::Result<()> + Send)) -> Result<Outcome, RepairError> {
        let (outcome, error) = self.scan_as_far(job, sink);
        error.map_or(Ok(outcome), Err)
    }

    /// What to scan, and where the bytes go. Only the vote that guards are asked about weighs what members lose.
    fn job<'a>(&'a self, ranges: &'a [ByteRange], rules: &'a Rules, output: Option<&'a dyn Output>) -> Job<'a> {
        let threads = workers(self.question.threads, self.members);
        let job = Job::new(self.members, self.question, &self.poll, ranges, self.watch).ruled_by(rules).in_threads(threads);
        let Some(output) = output else { return job };
        // A cluster that is compressed, and the one that it was made from.
        let compressed = self.wish.qcow2.filter(|options| options.compressed);
        job.writing_to(output, self.wish.fill).with_scratch(compressed.map_or(0, |options| 3 * options.cluster_bytes() as usize))
    }

    fn scan_as_far(&self, job: &Job, sink: &mut (dyn FnMut(&Run) -> io::Result<()> + Send)) -> (Outcome, Option<RepairError>) {
        let (outcome, error) = scan_as_far(job, sink);
        let error = error.map(|error| match error {
            ScanError::Write { offset, length, error } => RepairError::Output {
                output: self.output_name(),
                doing: format!("writing {length} bytes at offset {offset:#x}"),
                error,
                hint: self.remains(),
            },
            other => other.into(),
        });
        (outcome, error)
    }

    /// Votes on everything and computes the digest of what would be written, before it is: for what can't be taken back.
    pub(super) fn check_digest(&self, expected: &Sum, listener: Listener) -> Result<Written, RepairError> {
        let all = [ByteRange::new(0, self.poll.size)];
        (self.phases)("voting, summing up", self.poll.size);
        let mut findings = self.findings();
        let digest = VotedDigest::by(expected.kind);
        // One thread alone hands on its chunks in ascending order.
        let job = self.job(&all, &self.poll.rules, Some(&digest)).weighing(self.evidence).in_threads(1);
        let (outcome, error) = self.scan_as_far(&job, &mut |run| {
            findings.add(run);
            listener(run, &findings)
        });
        if let Some(error) = error {
            return Err(error);
        }
        let (found, unfilled) = (digest.finish(), outcome.unfilled_sectors);
        let wrong = outcome.complete && unfilled == 0 && found != *expected;
        let error = wrong.then(|| self.wrong_sum(found, expected));
        let mut written = Written { error, ..Written::nothing(Checked { outcome, findings }, unfilled) };
        self.weigh(&mut written);
        Ok(written)
    }

    fn wrong_sum(&self, found: Sum, expected: &Sum) -> RepairError {
        RepairError::Digest { output: self.output_name(), kind: expected.kind.name(), found: found.hex, expected: expected.hex.clone() }
    }

    /// Syncs, and reads back past the page cache.
    pub(super) fn read_back(&self, making: Making, ranges: &[ByteRange], writer: Writer, written: &mut Written) -> Result<(), RepairError> {
        let storage = making.storage();
        let failed = self.failed("can't be synced", self.remains());
        (self.phases)("syncing", 0);
        storage.sync().map_err(failed)?;
        if !self.wish.verify {
            return Ok(());
        }
        storage.forget_cached();
        (self.phases)("reading back", ranges.iter().map(|range| range.length()).sum());
        let failed = self.failed("can't be read back", self.remains());
        let image = self.as_image(making)?;
        let reader = image.as_ref().map_or(ReadBack::Medium(storage), |image| ReadBack::Image(image));
        let difference = find_difference(&reader, ranges, &writer.into_fingerprint(), self.question.threads, self.watch).map_err(failed)?;
        written.origin = reader.origin();
        if let Some(part) = difference {
            return Err(RepairError::ReadBack { output: self.output_name(), from: part.start, to: part.end.min(self.poll.size) });
        }
        written.verified = !self.watch.stopped();
        written.usable = !self.watch.stopped();
        Ok(())
    }

    /// The output as a guest will see it, where that isn't byte for byte.
    fn as_image(&self, making: Making) -> Result<Option<Qcow2Member>, RepairError> {
        let (Some(_), Making::Draft(draft)) = (self.wish.qcow2, making) else { return Ok(None) };
        let failed = || self.failed("can't be read back", self.remains());
        let (name, path) = (self.output_name(), self.wish.output);
        let file = draft.file().map_err(failed())?;
        let file = RawMember::of_file(name, path, file, Cache::None).map_err(|error| failed()(io::Error::other(error.cause())))?;
        let header = read_header(&file).map_err(|error| failed()(io::Error::other(error.to_string())))?;
        let caches = Arc::new(Caches::new(READ_BACK_BYTES, READ_BACK_BYTES));
        let opening = Opening { cache: Cache::None, references: References::Refused, snapshot: None, caches: &caches };
        let opened = Qcow2Member::open(file, header, false, &opening);
        opened.map(|(member, _)| Some(member)).map_err(|error| failed()(io::Error::other(error.to_string())))
    }

    /// The digest, where it was asked for.
    pub(super) fn settle(&self, making: Making, written: &mut Written) -> Result<(), RepairError> {
        let Some(expected) = &self.wish.expected else { return Ok(()) };
        (self.phases)("summing up", self.poll.size);
        let failed = self.failed("can't be read back", self.remains());
        let image = self.as_image(making)?;
        let reader = image.as_ref().map_or(ReadBack::Cached(making.storage()), |image| ReadBack::Image(image));
        match sum_up(&reader, self.poll.size, expected.kind, self.watch).map_err(failed)? {
            None => written.usable = false,
            Some(found) if found != *expected => return Err(self.wrong_sum(found, expected)),
            found => written.sum = found,
        }
        Ok(())
    }
}

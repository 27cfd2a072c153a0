//! The way of a new image from end to end.

use std::{ffi::OsStr, os::unix::fs::MetadataExt};

use super::{
    outcome::{Written, refused_image},
    passes::Making,
    target::Target,
    wish::Repair,
    writer::{Ground, Writer},
};
use crate::{
    member::Member,
    repair::RepairError,
    report::{ReadPattern, Report},
    scan::{Checked, Limits, Listener, Outcome, newer_warnings},
    sys::{
        holes,
        storage::{Draft, Folder, NotSynced, Replace, Storage},
    },
    vote::{ByteRange, Rule},
};

impl Repair<'_> {
    /// Writes the voted image and reports, or reports why it is refused; `listener` hears of each divergence in order, and `warnings` go into the report.
    ///
    /// # Errors
    /// See [`RepairError`]: nothing is left of the output then. (A device holds what was written so far.)
    pub fn run(mut self, warnings: Vec<String>, listener: Listener) -> Result<Report, RepairError> {
        if let (Some(_), Target::Device(_)) = (self.wish.qcow2, &self.wish.target) {
            let (what, hint) = ("a block device takes a raw image".into(), "leave -O qcow2 out, or name a file");
            return Err(RepairError::Target { output: self.output_name(), what, hint });
        }
        match self.judge().admit(self.members, self.question, &self.poll).and_then(|()| self.refuse_cuts()) {
            Err(refusal) if refusal.exit_code() == 2 => {
                let output = (self.wish.output, self.wish.qcow2.is_some());
                return Ok(refused_image(self.members, self.question, &self.poll, output, warnings, &refusal));
            }
            judged => judged?,
        }
        let asked = self.question.range.map(|_| self.poll.range.into());
        if self.question.range.is_some() {
            // Outside of the range the members must agree: nobody asked for a vote there.
            let asked = self.poll.range;
            self.poll.rules.underlay(ByteRange::new(0, asked.start), Rule::Unanimity);
            self.poll.rules.underlay(ByteRange::new(asked.end, self.poll.size), Rule::Unanimity);
            self.poll.range = ByteRange::new(0, self.poll.size);
        }
        let written = match &self.wish.target {
            Target::File { folder, name, replace } => self.to_file(&**folder, name, *replace, listener),
            Target::Device(device) => self.to_device(&**device, &warnings, listener),
        };
        let mut report = match written {
            Ok(written) => self.report(written, warnings),
            // Of threads, or of whoever listens: it says nothing of the output.
            Err(error @ RepairError::Scan(_)) => return Err(error),
            Err(error) => self.broken_off(&error, warnings),
        };
        report.range = asked;
        Ok(report)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { divergences: self.wish.divergences_max, fill: self.wish.fill }
    }

    fn to_file(&self, folder: &dyn Folder, name: &OsStr, replace: Replace, listener: Listener) -> Result<Written, RepairError> {
        let new =
            folder.create().map_err(self.failed("can't be made in its folder", "choose a folder that exists and that you may write to"))?;
        let cloneable: Vec<usize> = if self.wish.reflink && self.wish.qcow2.is_none() {
            let candidates = self.members.iter().enumerate().filter_map(|(index, member)| Some((index, member.plain_file()?)));
            // Under fifo the first member's word is taken wherever it can be read, and nobody was compared with it.
            let candidates = candidates.filter(|&(index, _)| index == 0 || self.question.read_pattern == ReadPattern::Quorum);
            candidates.filter(|(_, source)| new.can_clone_from(source)).map(|(index, _)| index).collect()
        } else {
            Vec::new()
        };
        let mut written = if cloneable.is_empty() {
            self.judge().room(&self.output_name(), self.data_bytes(), folder.free_bytes())?;
            self.stream(Making::Draft(&*new), listener)?
        } else {
            self.clone_and_patch(&*new, folder, &cloneable, listener)?
        };
        if written.usable {
            let settled = self.settle(Making::Draft(&*new), &mut written);
            written.heed(settled);
        }
        // Looked at last: up to here somebody may have written to a member.
        if written.usable && !self.watch.stopped() && !self.any_changed(&written.checked) {
            match self.publish(new, name, replace) {
                // It stands there, whole and synced; its name may not outlive a power cut.
                Ok(unsynced) => written.error = unsynced,
                Err(error) => written.fail(error),
            }
        } else {
            written.usable = false;
        }
        Ok(written)
    }

    /// Gives it mode, owner and name; what may take the name away again.
    fn publish(&self, new: Box<dyn Draft>, name: &OsStr, replace: Replace) -> Result<Option<RepairError>, RepairError> {
        let owners: Vec<(u32, u32, u32)> = self
            .members
            .iter()
            .filter_map(|member| member.files().first().map(|file| file.metadata()))
            .filter(|meta| meta.is_file())
            .map(|meta| (meta.uid(), meta.gid(), meta.mode()))
            .collect();
        self.resemble(&*new, &owners)?;
        new.storage().sync().map_err(self.failed("can't be synced", "look at the storage that holds it"))?;
        match new.publish(name, replace) {
            Ok(_) => Ok(None),
            Err(error) if NotSynced::is(&error) => {
                let hint = "the image is whole: sync its folder, or wait, and look again before you rely on it";
                Ok(Some(self.failed("stands there, but its folder can't be synced, so a power cut may take it away", hint)(error)))
            }
            Err(error) => {
                let hint = "if something else has appeared under it, choose another; --force overwrite replaces";
                Err(self.failed("can't be given its name", hint)(error))
            }
        }
    }

    /// Mode and owner, where the members agree on them; else it stays the caller's own, and private.
    fn resemble(&self, new: &dyn Draft, owners: &[(u32, u32, u32)]) -> Result<(), RepairError> {
        let Some(&(user, group, mode)) = owners.first() else { return Ok(()) };
        let owner = owners.iter().all(|other| (other.0, other.1) == (user, group)).then_some((user, group));
        let mode = if owners.iter().all(|other| other.2 == mode) { mode } else { 0o600 };
        new.resemble(owner, mode).map_err(self.failed("can't be given its mode", "look at the file system that holds it"))
    }

    /// Whether any of those who voted and haven't failed changed.
    fn any_changed(&self, checked: &Checked) -> bool {
        let voted = self.members.iter().zip(&checked.outcome.failures).filter(|(_, failure)| failure.is_none());
        !checked.outcome.late.is_empty() || voted.into_iter().any(|(member, _)| member.changed().is_some())
    }

    /// Bytes of data that an output surely takes: no less than the member with the fewest.
    fn data_bytes(&self) -> u64 {
        if self.wish.sparse_bytes == 0 {
            return self.poll.size;
        }
        let data = |member: &&dyn Member| member.plain_file().map_or(0, |file| holes::data_bytes(file, member.size().min(self.poll.size)));
        self.members.iter().map(data).min().unwrap_or(0)
    }

    /// A device can't appear complete: all is voted on, and every filling found, before the first byte is written.
    fn to_device(&self, device: &dyn Storage, warnings: &[String], listener: Listener) -> Result<Written, RepairError> {
        let mut written = self.rehearse(listener)?;
        let Written { checked, unfilled, error, refused, .. } = &written;
        if error.is_some() || refused.is_some() || !checked.outcome.complete || *unfilled > 0 || self.any_changed(checked) {
            return Ok(written);
        }
        (self.before)(&[warnings, &newer_warnings(self.members, &checked.findings, &|_| false)].concat());
        let overwritten = self.overwrite(device, &mut written);
        written.heed(overwritten);
        Ok(written)
    }

    /// Votes again, writes, and reads back.
    fn overwrite(&self, device: &dyn Storage, written: &mut Written) -> Result<(), RepairError> {
        let writer = Writer::new(device, Ground::Anything, self.watch);
        let again = self.write(&writer, &written.checked);
        written.bytes = writer.bytes_written(); // of a device that failed halfway, too
        let (copied, again) = again?;
        written.unfilled = copied.tally.undecided.max(again.unfilled_sectors);
        written.copied_from_others = copied.tally.decided;
        written.usable = copied.complete && again.complete && written.unfilled == 0;
        if written.usable {
            self.read_back(Making::Device(device), &[ByteRange::new(0, self.poll.size)], writer, written)?;
            // It was right before it was written: what is wrong now is the storage.
            self.settle(Making::Device(device), written).map_err(|error| match error {
                RepairError::Digest { output, .. } => RepairError::ReadBack { output, from: 0, to: self.poll.size },
                other => other,
            })?;
        }
        Ok(())
    }

    /// Copies what is only copied, and votes on the rest once more, as it was voted on before.
    fn write(&self, writer: &Writer, before: &Checked) -> Result<(Outcome, Outcome), RepairError> {
        let (copied, ranges) = (self.copy_unlisted(writer)?, self.ranges());
        (self.phases)("writing", ranges.iter().map(|range| range.length()).sum());
        let digest = before.findings.digest();
        let again = self.vote_again(&ranges, writer, &before.outcome, self.findings(), |again| again.digest() == digest)?;
        Ok((copied, again))
    }
}

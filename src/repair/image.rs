//! A new image: voted, written, synced, read back, and only then given its name.

use std::{fs::File, os::unix::fs::MetadataExt, path::Path};

use super::{
    Earlier, Forced, Qcow2Options, RepairError, Target,
    cut_off::data_behind,
    writer::{Ground, Writer},
};
use crate::{
    member::{Member, MemberName},
    report::{Picked, ReadPattern, RepairReport, Report, Span},
    scan::{Checked, Limits, Listener, Poll, Question, Watch, majority, make_report, newer_warnings},
    sys::{
        holes,
        new_file::NewFile,
        storage::{Storage, free_bytes},
    },
    vote::{ByteRange, Fill, Rule, VirtualSize},
};

/// What the user wants of a new image.
pub struct Wish<'a> {
    /// The output's name as given.
    pub output: &'a Path,
    /// Where it goes.
    pub target: Target,
    /// What goes into undecided sectors.
    pub fill: Fill,
    /// Zeros are left out in blocks of so many bytes; 0: everything is written.
    pub sparse_bytes: u64,
    /// The qcow2 image to write; none: a raw one.
    pub qcow2: Option<Qcow2Options>,
    /// Whether members may be cloned.
    pub reflink: bool,
    /// Whether what was written is read back.
    pub verify: bool,
    /// The digest that the guest-visible bytes must have, in lower-case hex.
    pub expected_sha256: Option<String>,
    /// An earlier report.
    pub earlier: Option<Earlier>,
    /// Overridden refusals.
    pub forced: Forced,
    /// Divergences listed.
    pub divergences_max: usize,
}

/// Hears what is being done: a word, and how many bytes of it there are.
pub type Phases<'a> = &'a dyn Fn(&'static str, u64);

/// A repair: who votes, how, and what is to become of it.
pub struct Repair<'a> {
    /// Those who vote.
    pub members: &'a [&'a dyn Member],
    /// What the user wants of the vote.
    pub question: &'a Question,
    /// What is known before it; see [`admit`].
    pub poll: Poll,
    /// What the user wants of the image.
    pub wish: &'a Wish<'a>,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
    /// Who hears what people should know before a device is overwritten.
    pub before: &'a dyn Fn(&[String]),
}

/// What was written, before it is judged.
pub(super) struct Written {
    pub(super) checked: Checked,
    pub(super) method: &'static str,
    pub(super) base: Option<usize>,
    pub(super) bytes: u64,
    pub(super) unfilled: u64,
    /// Whether it may be kept: complete, and something everywhere.
    pub(super) usable: bool,
    pub(super) verified: bool,
    pub(super) sha256: Option<String>,
    /// Whether the read-back came from the medium, past the page cache.
    pub(super) from_medium: bool,
    /// Sectors outside of an earlier report's list that could not be read from the first member.
    pub(super) copied_from_others: u64,
}

/// What must hold before anything is read.
///
/// # Errors
/// A refusal with its override's word, or with the option that decides.
pub fn admit(members: &[&dyn Member], question: &Question, poll: &Poll, forced: Forced) -> Result<(), RepairError> {
    let fifo = question.read_pattern == ReadPattern::Fifo;
    let needed = majority(members.len());
    if poll.threshold < needed && question.trust.is_none() && !fifo && !forced.minority {
        return Err(RepairError::Minority { threshold: poll.threshold, members: members.len(), majority: needed });
    }
    if let VirtualSize::Undecided { .. } = poll.size_vote {
        let sizes = members.iter().map(|member| format!("{} has {} bytes", member.name(), member.size()));
        return Err(RepairError::SizeUndecided { sizes: sizes.collect::<Vec<_>>().join(", ") });
    }
    Ok(())
}

impl Repair<'_> {
    /// Writes the voted image and reports; `listener` hears of each divergence in order, and `warnings` go into the report.
    ///
    /// # Errors
    /// See [`RepairError`]: nothing is left of the output then. (A device holds what was written so far.)
    pub fn run(mut self, warnings: Vec<String>, listener: Listener) -> Result<Report, RepairError> {
        let asked = self.question.range.map(|_| self.poll.range.into());
        if self.question.range.is_some() {
            // Outside of the range the members must agree: nobody asked for a vote there.
            let asked = self.poll.range;
            self.poll.rules.underlay(ByteRange::new(0, asked.start), Rule::Unanimity);
            self.poll.rules.underlay(ByteRange::new(asked.end, self.poll.size), Rule::Unanimity);
            self.poll.range = ByteRange::new(0, self.poll.size);
        }
        if self.question.size.is_none() && self.question.trust.is_none() {
            self.refuse_to_cut_data()?;
        }
        let written = match &self.wish.target {
            Target::File { folder, name, replace } => self.to_file(folder, name, *replace, listener)?,
            Target::Device(file) => self.to_device(file, &warnings, listener)?,
        };
        let mut report = self.report(written, warnings);
        report.range = asked;
        Ok(report)
    }

    fn refuse_to_cut_data(&self) -> Result<(), RepairError> {
        let size = self.poll.size;
        let longer = self.members.iter().filter(|member| member.size() > size);
        for member in longer {
            (self.phases)("looking behind the end", 0);
            if let Some(offset) = data_behind(*member, size, &|| self.watch.stopped()) {
                return Err(RepairError::CutsOff { member: member.name().clone(), offset, size, longer: member.size() });
            }
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { divergences: self.wish.divergences_max, fill: self.wish.fill }
    }

    pub(super) fn output_name(&self) -> MemberName {
        MemberName::from(self.wish.output)
    }

    pub(super) fn failed(&self, doing: &str, hint: &'static str) -> impl Fn(std::io::Error) -> RepairError + use<> {
        let (output, doing) = (self.output_name(), doing.to_owned());
        move |error| RepairError::Output { output: output.clone(), doing: doing.clone(), error, hint }
    }

    fn to_file(&self, folder: &Path, name: &std::ffi::OsStr, replace: bool, listener: Listener) -> Result<Written, RepairError> {
        let new = NewFile::create(folder)
            .map_err(self.failed("can't be made in its folder", "choose a folder that exists and that you may write to"))?;
        let cloneable: Vec<usize> = if self.wish.reflink && self.wish.qcow2.is_none() {
            let candidates = self.members.iter().enumerate().filter_map(|(index, member)| Some((index, member.plain_file()?)));
            // Under fifo the first member's word is taken wherever it can be read, and nobody was compared with it.
            let candidates = candidates.filter(|&(index, _)| index == 0 || self.question.read_pattern == ReadPattern::Quorum);
            candidates.filter(|(_, source)| new.can_clone_from(source)).map(|(index, _)| index).collect()
        } else {
            Vec::new()
        };
        let mut written = if cloneable.is_empty() {
            self.refuse_without_room(folder, self.data_bytes())?;
            self.stream(new.file(), listener)?
        } else {
            self.clone_and_patch(&new, folder, &cloneable, listener)?
        };
        if written.usable {
            self.settle(new.file(), &mut written)?;
        }
        // Looked at last: up to here somebody may have written to a member.
        if written.usable && !self.watch.stopped() && !self.any_changed() {
            let owners: Vec<(u32, u32, u32)> = self
                .members
                .iter()
                .filter_map(|member| member.files().first().map(|file| file.metadata()))
                .filter(|meta| meta.is_file())
                .map(|meta| (meta.uid(), meta.gid(), meta.mode()))
                .collect();
            self.resemble(&new, &owners)?;
            new.file().sync().map_err(self.failed("can't be synced", "look at the storage that holds it"))?;
            new.publish(name, replace).map_err(self.failed(
                "can't be given its name",
                "if something else has appeared under it, choose another; --force overwrite replaces",
            ))?;
        } else {
            written.usable = false;
        }
        Ok(written)
    }

    /// Mode and owner, where the members agree on them; else it stays the caller's own, and private.
    fn resemble(&self, new: &NewFile, owners: &[(u32, u32, u32)]) -> Result<(), RepairError> {
        let Some(&(user, group, mode)) = owners.first() else { return Ok(()) };
        let owner = owners.iter().all(|other| (other.0, other.1) == (user, group)).then_some((user, group));
        let mode = if owners.iter().all(|other| other.2 == mode) { mode } else { 0o600 };
        new.resemble(owner, mode).map_err(self.failed("can't be given its mode", "look at the file system that holds it"))
    }

    fn any_changed(&self) -> bool {
        self.members.iter().any(|member| member.changed().is_some())
    }

    /// Bytes of data that an output surely takes: no less than the member with the fewest.
    fn data_bytes(&self) -> u64 {
        if self.wish.sparse_bytes == 0 {
            return self.poll.size;
        }
        let data = |member: &&dyn Member| member.plain_file().map_or(0, |file| holes::data_bytes(file, member.size().min(self.poll.size)));
        self.members.iter().map(data).min().unwrap_or(0)
    }

    pub(super) fn refuse_without_room(&self, folder: &Path, needed: u64) -> Result<(), RepairError> {
        match free_bytes(folder) {
            Some(free) if free < needed && !self.wish.forced.space => Err(RepairError::Space { output: self.output_name(), needed, free }),
            _ => Ok(()),
        }
    }

    /// A device can't appear complete: all is voted on, and every filling found, before the first byte is written.
    fn to_device(&self, file: &File, warnings: &[String], listener: Listener) -> Result<Written, RepairError> {
        let (checked, uncopied) = self.rehearse(listener)?;
        let unfilled = uncopied.max(checked.outcome.unfilled_sectors);
        if !checked.outcome.complete || unfilled > 0 || self.any_changed() {
            return Ok(Written::nothing(checked, unfilled));
        }
        (self.before)(&[warnings, &newer_warnings(self.members, &checked.findings)].concat());
        let writer = Writer::new(file, Ground::Anything, self.watch);
        let (copied, ranges) = (self.copy_unlisted(&writer)?, self.ranges());
        (self.phases)("writing", ranges.iter().map(|range| range.length()).sum());
        let digest = checked.findings.digest();
        let again = self.vote_again(&ranges, &writer, self.findings(), |again| again.digest() == digest)?;
        let complete = copied.complete && again.complete;
        let unfilled = copied.tally.undecided.max(again.unfilled_sectors);
        let copied_from_others = copied.tally.decided;
        let mut written = Written { usable: complete && unfilled == 0, copied_from_others, ..Written::by(&writer, checked, unfilled) };
        if written.usable {
            self.read_back(file, &[ByteRange::new(0, self.poll.size)], writer, &mut written)?;
            // It was right before it was written: what is wrong now is the storage.
            self.settle(file, &mut written).map_err(|error| match error {
                RepairError::Digest { output, .. } => RepairError::ReadBack { output, from: 0, to: self.poll.size },
                other => other,
            })?;
        }
        Ok(written)
    }

    /// Whether the output is a device: what was written there stays.
    fn is_device(&self) -> bool {
        matches!(self.wish.target, Target::Device(_))
    }

    /// What becomes of a half-written output.
    pub(super) fn remains(&self) -> &'static str {
        if self.is_device() {
            "the device holds a part of the new image, and must be written anew"
        } else {
            "nothing of the output is kept; make room or choose another place"
        }
    }

    fn report(&self, written: Written, mut warnings: Vec<String>) -> Report {
        if written.copied_from_others > 0 {
            warnings.push(format!(
                "{} sectors that the earlier report doesn't list could not be read from the first member; another's were taken without a vote",
                written.copied_from_others
            ));
        }
        let undecided = written.checked.outcome.tally.undecided;
        let fill = match self.wish.fill {
            Fill::Fail => None,
            Fill::First => Some("first"),
            Fill::Zero => Some("zero"),
            Fill::Marker => Some("marker"),
            Fill::Bytes => Some("bytes"),
        };
        let filled = fill.is_some() && undecided > 0;
        let findings = &written.checked.findings;
        let picked = self.question.picks.iter();
        let section = RepairReport {
            output: self.output_name().to_string(),
            format: if self.wish.qcow2.is_some() { "qcow2" } else { "raw" },
            written: written.usable,
            method: written.usable.then_some(written.method),
            base: written.base.filter(|_| written.usable),
            bytes_written: if written.usable || self.is_device() { written.bytes } else { 0 },
            verified: written.verified,
            verified_from: written.verified.then_some(if written.from_medium { "medium" } else { "cache" }),
            composed_blocks: findings.composed_blocks(),
            fill: fill.filter(|_| filled),
            filled_sectors: if filled { undecided - written.unfilled.min(undecided) } else { 0 },
            filled: if filled { findings.undecided().into_iter().map(Span::from).collect() } else { Vec::new() },
            unfilled_sectors: written.unfilled,
            picked: picked.map(|&(range, member)| Picked { span: Span::from(range), member }).collect(),
            sha256: written.sha256,
        };
        let proven = section.sha256.is_some();
        let stopped = self.watch.stopped();
        let mut report = make_report("repair", self.members, self.question, &self.poll, written.checked, warnings);
        let settled = if undecided > 0 || section.unfilled_sectors > 0 { 2 } else { 0 };
        report.exit_code = match report.exit_code {
            130 => 130,
            _ if stopped && !section.written => 130,
            3 => 3,
            _ if section.written && proven => 0,
            _ => settled,
        };
        report.repair = Some(section);
        report
    }
}

impl Written {
    /// Votes were held, and nothing was written.
    pub(super) fn nothing(checked: Checked, unfilled: u64) -> Self {
        Self {
            checked,
            method: "stream",
            base: None,
            bytes: 0,
            unfilled,
            usable: false,
            verified: false,
            sha256: None,
            from_medium: false,
            copied_from_others: 0,
        }
    }

    /// Something was written: of use if it was complete, and no sector lacks its bytes.
    pub(super) fn by(writer: &Writer, checked: Checked, unfilled: u64) -> Self {
        Self { usable: checked.outcome.complete && unfilled == 0, bytes: writer.bytes_written(), ..Self::nothing(checked, unfilled) }
    }
}

//! A new image: voted, written, synced, read back, and only then given its name.

use std::{fs::File, os::unix::fs::MetadataExt, path::Path};

use super::{
    Earlier, Forced, RepairError, Target,
    cut_off::data_behind,
    verify::{find_difference, sha256},
    writer::{Ground, Writer},
};
use crate::{
    member::{Member, MemberName},
    report::{Picked, ReadPattern, RepairReport, Report, Span},
    scan::{Checked, Findings, Job, Limits, Listener, Outcome, Output, Poll, Question, Watch, check, majority, make_report, scan},
    sys::{
        holes,
        storage::{NewFile, Storage, free_bytes},
    },
    vote::{ByteRange, Fill, Rule, Rules, VirtualSize},
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

/// What a repair leaves: the report, complete but for warnings that its caller adds.
pub type Repaired = Report;

/// How the image comes about.
struct Plan<'a> {
    members: &'a [&'a dyn Member],
    question: &'a Question,
    poll: Poll,
    wish: &'a Wish<'a>,
    watch: &'a dyn Watch,
    phases: Phases<'a>,
}

/// What was written, before it is judged.
struct Written {
    checked: Checked,
    method: &'static str,
    base: Option<usize>,
    bytes_written: u64,
    unfilled: u64,
    /// Whether it may be kept: complete, and something everywhere.
    usable: bool,
    verified: bool,
    sha256: Option<String>,
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

/// Writes the voted image; `listener` hears of each divergence in order.
///
/// # Errors
/// See [`RepairError`]: nothing is left of the output then. (A device holds what was written so far.)
pub fn repair(
    members: &[&dyn Member],
    question: &Question,
    mut poll: Poll,
    wish: &Wish,
    watch: &dyn Watch,
    phases: Phases,
    warnings: Vec<String>,
    listener: Listener,
) -> Result<Repaired, RepairError> {
    let asked = poll.range;
    if question.range.is_some() {
        // Outside of the range the members must agree: nobody asked for a vote there.
        let edge = |start, end| ByteRange { start, end };
        poll.rules.except(edge(0, asked.start), Rule::Unanimity);
        poll.rules.except(edge(asked.end, poll.size), Rule::Unanimity);
        poll.range = ByteRange::new(0, poll.size);
    }
    let plan = Plan { members, question, poll, wish, watch, phases };
    if question.size.is_none() && question.trust.is_none() {
        plan.refuse_to_cut_data()?;
    }
    let written = match &wish.target {
        Target::File { folder, name, replace } => plan.to_file(folder, name, *replace, listener)?,
        Target::Device { file, .. } => plan.to_device(file, listener)?,
    };
    Ok(plan.report(written, warnings))
}

impl Plan<'_> {
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

    fn limits(&self) -> Limits {
        Limits { divergences: self.wish.divergences_max, fill: self.wish.fill }
    }

    fn output_name(&self) -> MemberName {
        MemberName::from(self.wish.output)
    }

    fn failed(&self, doing: &str, hint: &'static str) -> impl Fn(std::io::Error) -> RepairError + use<> {
        let (output, doing) = (self.output_name(), doing.to_owned());
        move |error| RepairError::Output { output: output.clone(), doing: doing.clone(), error, hint }
    }

    fn to_file(&self, folder: &Path, name: &std::ffi::OsStr, replace: bool, listener: Listener) -> Result<Written, RepairError> {
        let new = NewFile::create(folder).map_err(self.failed("can't be made in its folder", "choose a folder that exists and that you may write to"))?;
        let cloneable: Vec<usize> = if self.wish.reflink {
            let candidates = self.members.iter().enumerate().filter_map(|(index, member)| Some((index, member.plain_file()?)));
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
            let owners: Vec<(u32, u32, u32)> = self.members.iter().filter_map(|member| member.plain_file()?.metadata().ok()).map(|m| (m.uid(), m.gid(), m.mode())).collect();
            self.resemble(&new, &owners)?;
            new.file().sync().map_err(self.failed("can't be synced", "look at the storage that holds it"))?;
            new.publish(name, replace).map_err(self.failed("can't be given its name", "something else may have appeared under that name"))?;
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

    fn refuse_without_room(&self, folder: &Path, needed: u64) -> Result<(), RepairError> {
        match free_bytes(folder) {
            Some(free) if free < needed && !self.wish.forced.space => Err(RepairError::Space { output: self.output_name(), needed, free }),
            _ => Ok(()),
        }
    }

    /// Votes and writes in one go: each member is read once.
    fn stream(&self, file: &File, listener: Listener) -> Result<Written, RepairError> {
        file.set_length(self.poll.size).map_err(self.failed("can't be given its length", "choose a file system that allows files of that size"))?;
        let writer = Writer::new(file, Ground::Holes(self.wish.sparse_bytes), self.watch);
        let mut findings = self.findings();
        let mut outcome = Outcome { complete: true, ..Outcome::default() };
        let mut unfilled = 0;
        if let Some(earlier) = &self.wish.earlier {
            // What the report doesn't list is unanimous by its word: one member is enough.
            let others = earlier.others(self.poll.size);
            (self.phases)("copying", others.iter().map(|range| range.length()).sum());
            let copied = self.scan(&others, &Rules::new(Rule::First), Some(&writer), &mut |_| Ok(()))?;
            unfilled = copied.tally.undecided;
            outcome.complete = copied.complete;
        }
        if outcome.complete {
            let ranges = self.ranges();
            (self.phases)("voting and writing", ranges.iter().map(|range| range.length()).sum());
            let fill = self.wish.fill;
            outcome = self.scan(&ranges, &self.poll.rules, Some(&writer), &mut |run| {
                if fill == Fill::Fail && run.vote.verdict == crate::vote::Verdict::Undecided {
                    writer.doom();
                }
                findings.add(run);
                listener(run, &findings)
            })?;
        }
        unfilled += outcome.unfilled_sectors;
        let mut written = self.written("stream", None, &writer, outcome, findings, unfilled);
        if written.usable {
            self.read_back(file, &[ByteRange::new(0, self.poll.size)], writer, &mut written)?;
        }
        Ok(written)
    }

    /// Votes, clones the member that needs the fewest changes, and writes those.
    fn clone_and_patch(&self, new: &NewFile, folder: &Path, cloneable: &[usize], listener: Listener) -> Result<Written, RepairError> {
        let checked = self.check_listed(listener)?;
        let counted = &checked.outcome.tally.members;
        let flaws = |index: usize| {
            let member = counted[index];
            (checked.outcome.failures[index].is_some(), member.dissenting + member.unreadable + member.absent + member.failed)
        };
        let base = cloneable.iter().copied().min_by_key(|&index| flaws(index));
        let undecided = checked.outcome.tally.undecided > 0;
        let Some(base) = base.filter(|_| checked.outcome.complete && !(undecided && self.wish.fill == Fill::Fail)) else {
            let unfilled = checked.outcome.tally.undecided;
            return Ok(Written::without_output(checked, unfilled));
        };
        let ranges = checked.findings.ranges.clone().finish(u64::from(self.poll.sector), self.poll.size);
        let bytes = ranges.iter().map(|range| range.length()).sum();
        self.refuse_without_room(folder, bytes)?;
        let source = self.members[base].plain_file().ok_or(RepairError::Unsteady)?;
        new.clone_from(source).map_err(self.failed("can't be cloned from a member", "try --reflink never"))?;
        new.file().set_length(self.poll.size).map_err(self.failed("can't be given its length", "try --reflink never"))?;
        (self.phases)("writing", bytes);
        let writer = Writer::new(new.file(), Ground::Anything, self.watch);
        let again = self.patch(&ranges, &writer, &checked)?;
        let mut written = self.written("clone", Some(base), &writer, again, checked.findings, 0);
        written.checked.outcome = Outcome { unfilled_sectors: written.unfilled, complete: written.checked.outcome.complete, ..checked.outcome };
        if written.usable {
            self.read_back(new.file(), &ranges, writer, &mut written)?;
        }
        Ok(written)
    }

    /// Votes on `ranges` once more and writes what wins; the votes must be the ones that were cast before.
    fn patch(&self, ranges: &[ByteRange], writer: &Writer, before: &Checked) -> Result<Outcome, RepairError> {
        let mut again = self.findings();
        let outcome = self.scan(ranges, &self.poll.rules, Some(writer), &mut |run| {
            again.add(run);
            Ok(())
        })?;
        if outcome.complete && again.digest() != before.findings.digest() {
            return Err(RepairError::Unsteady);
        }
        Ok(outcome)
    }

    /// A device can't appear complete: all is voted on before the first byte is written.
    fn to_device(&self, file: &File, listener: Listener) -> Result<Written, RepairError> {
        let checked = self.check_listed(listener)?;
        let undecided = checked.outcome.tally.undecided;
        if !checked.outcome.complete || (undecided > 0 && self.wish.fill == Fill::Fail) || self.any_changed() {
            return Ok(Written::without_output(checked, undecided));
        }
        let writer = Writer::new(file, Ground::Anything, self.watch);
        let mut unfilled = 0;
        let mut complete = true;
        if let Some(earlier) = &self.wish.earlier {
            let others = earlier.others(self.poll.size);
            (self.phases)("copying", others.iter().map(|range| range.length()).sum());
            let copied = self.scan(&others, &Rules::new(Rule::First), Some(&writer), &mut |_| Ok(()))?;
            (unfilled, complete) = (copied.tally.undecided, copied.complete);
        }
        let ranges = self.ranges();
        (self.phases)("writing", ranges.iter().map(|range| range.length()).sum());
        let again = if complete { self.patch(&ranges, &writer, &checked)? } else { Outcome::default() };
        let mut written = self.written("stream", None, &writer, again, checked.findings, unfilled);
        written.checked.outcome = Outcome { unfilled_sectors: written.unfilled, complete: written.checked.outcome.complete, ..checked.outcome };
        if written.usable {
            self.read_back(file, &[ByteRange::new(0, self.poll.size)], writer, &mut written)?;
            self.settle(file, &mut written)?;
        }
        Ok(written)
    }

    fn check_listed(&self, listener: Listener) -> Result<Checked, RepairError> {
        let ranges = self.ranges();
        (self.phases)("voting", ranges.iter().map(|range| range.length()).sum());
        if self.wish.earlier.is_none() {
            return Ok(check(self.members, self.question, &self.poll, self.limits(), self.watch, listener)?);
        }
        let mut findings = self.findings();
        let outcome = self.scan(&ranges, &self.poll.rules, None, &mut |run| {
            findings.add(run);
            listener(run, &findings)
        })?;
        Ok(Checked { outcome, findings })
    }

    fn findings(&self) -> Findings {
        Findings::of(self.members, self.limits())
    }

    /// What is voted on.
    fn ranges(&self) -> Vec<ByteRange> {
        match &self.wish.earlier {
            Some(earlier) => earlier.ranges().to_vec(),
            None => vec![self.poll.range],
        }
    }

    fn scan(
        &self,
        ranges: &[ByteRange],
        rules: &Rules,
        output: Option<&dyn Output>,
        sink: &mut (dyn FnMut(&crate::vote::Run) -> std::io::Result<()> + Send),
    ) -> Result<Outcome, RepairError> {
        let job = Job {
            members: self.members,
            size: self.poll.size,
            sector: self.poll.sector,
            ranges,
            rules,
            threshold: self.poll.threshold,
            threads: self.question.threads,
            output: output.map(|output| (output, self.wish.fill)),
            watch: self.watch,
        };
        scan(&job, sink).map_err(|error| match error {
            crate::scan::ScanError::Write { offset, length, error } => RepairError::Output {
                output: self.output_name(),
                doing: format!("writing {length} bytes at offset {offset:#x}"),
                error,
                hint: "nothing of the output is kept; make room or choose another place",
            },
            other => other.into(),
        })
    }

    fn written(&self, method: &'static str, base: Option<usize>, writer: &Writer, outcome: Outcome, findings: Findings, unfilled: u64) -> Written {
        let unfilled = unfilled.max(outcome.unfilled_sectors);
        Written {
            usable: outcome.complete && unfilled == 0,
            checked: Checked { outcome, findings },
            method,
            base,
            bytes_written: writer.bytes_written(),
            unfilled,
            verified: false,
            sha256: None,
        }
    }

    /// Syncs, and reads back past the page cache.
    fn read_back(&self, file: &File, ranges: &[ByteRange], writer: Writer, written: &mut Written) -> Result<(), RepairError> {
        let failed = self.failed("can't be synced", "look at the storage that holds it; nothing of the output is kept");
        (self.phases)("syncing", 0);
        file.sync().map_err(failed)?;
        if !self.wish.verify {
            return Ok(());
        }
        file.forget_cached();
        (self.phases)("reading back", ranges.iter().map(|range| range.length()).sum());
        let failed = self.failed("can't be read back", "look at the storage that holds it; nothing of the output is kept");
        let difference = find_difference(file, ranges, &writer.into_fingerprint(), self.question.threads, self.watch).map_err(failed)?;
        if let Some(part) = difference {
            return Err(RepairError::ReadBack { output: self.output_name(), from: part.start, to: part.end.min(self.poll.size) });
        }
        written.verified = !self.watch.stopped();
        written.usable = !self.watch.stopped();
        Ok(())
    }

    /// The digest, where it was asked for.
    fn settle(&self, file: &File, written: &mut Written) -> Result<(), RepairError> {
        let Some(expected) = &self.wish.expected_sha256 else { return Ok(()) };
        (self.phases)("computing SHA-256", self.poll.size);
        let failed = self.failed("can't be read back", "look at the storage that holds it; nothing of the output is kept");
        match sha256(file, self.poll.size, self.watch).map_err(failed)? {
            None => written.usable = false,
            Some(found) if found != *expected => {
                return Err(RepairError::Digest { output: self.output_name(), found, expected: expected.clone() });
            }
            found => written.sha256 = found,
        }
        Ok(())
    }

    fn report(&self, written: Written, warnings: Vec<String>) -> Report {
        let tally = written.checked.outcome.tally.clone();
        let undecided = tally.undecided;
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
            written: written.usable,
            method: written.usable.then_some(written.method),
            base: written.base.filter(|_| written.usable),
            bytes_written: written.bytes_written,
            verified: written.verified,
            composed_blocks: findings.composed_blocks(),
            fill: fill.filter(|_| filled),
            filled_sectors: if filled { undecided - written.unfilled.min(undecided) } else { 0 },
            filled: if filled { findings.undecided().iter().map(|run| run.range.into()).collect() } else { Vec::new() },
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
    fn without_output(checked: Checked, unfilled: u64) -> Self {
        Self { checked, method: "stream", base: None, bytes_written: 0, unfilled, usable: false, verified: false, sha256: None }
    }
}

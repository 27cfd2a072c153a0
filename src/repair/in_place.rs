//! An in-place repair from end to end: vote, plan, judge, journal, write, sync, read back, report.

use std::ffi::OsStr;

use super::{
    Earlier, Forced, RepairError,
    journal::{Header, Identity, Journal, JournalError, JournalWriter, Reserve, State},
    judge::{Evidence, data_bytes, judge},
    plan::{Plan, Planner, Standing},
    rewrite::{Progress, Rewriter, Stop},
    samples::with_samples,
};
use crate::{
    member::{Member, MemberName},
    report::{InPlaceMember, InPlaceReport, MemberSpan, Picked, Planned, Report, Span},
    scan::{Checked, Findings, Job, Limits, Listener, Outcome, Poll, Question, Watch, make_report, scan},
    sys::storage::{Folder, PAGE_BYTES, Storage},
    vote::{ByteRange, Fill, Run, Verdict, VirtualSize, members_of},
};

use super::image::Phases;

/// Where the journal goes.
pub struct JournalPlace<'a> {
    /// The folder.
    pub folder: &'a dyn Folder,
    /// The name in it.
    pub name: &'a OsStr,
    /// The name as messages show it.
    pub shown: MemberName,
}

/// What the user wants of an in-place repair.
pub struct InPlaceWish<'a> {
    /// Only the plan.
    pub dry_run: bool,
    /// Members that are never written to.
    pub no_write: Vec<usize>,
    /// Cut what lies behind the virtual size.
    pub truncate: bool,
    /// How much of the data a member may lose, in percent.
    pub max_damage: f64,
    /// Where the journal goes; none where none is wanted.
    pub journal: Option<JournalPlace<'a>>,
    /// The options that decide what is written, as one line: a repair is gone on with only under the same ones.
    pub options: String,
    /// What tells the members from others, without samples.
    pub identities: Vec<Identity>,
    /// A random number for a new journal.
    pub id: [u8; 16],
    /// The time, in seconds since 1970.
    pub now: i64,
    /// Members that share storage, in words.
    pub dependent: Vec<String>,
    /// An earlier report.
    pub earlier: Option<Earlier>,
    /// Overridden refusals.
    pub forced: Forced,
    /// Divergences listed.
    pub divergences_max: usize,
}

/// What is going to be done, for people to agree to.
pub struct Proposal<'a> {
    /// Who gets what.
    pub members: &'a [InPlaceMember],
    /// Ranges that are written, over all members.
    pub writes: u64,
    /// Bytes written to members.
    pub bytes: u64,
    /// Bytes that are read again before.
    pub voted_bytes: u64,
    /// Bytes that the journal takes at most.
    pub journal_bytes: u64,
    /// The journal, where there is one.
    pub journal: Option<&'a MemberName>,
    /// Whether an unfinished repair is gone on with.
    pub resumed: bool,
}

/// An in-place repair: who votes, how, who is written to, and by which way.
pub struct InPlace<'a> {
    /// Those who vote.
    pub members: &'a [&'a dyn Member],
    /// Where each one's bytes are rewritten; none where they aren't.
    pub stores: &'a [Option<&'a dyn Storage>],
    /// What the user wants of the vote.
    pub question: &'a Question,
    /// What is known before it; see [`admit`](super::admit).
    pub poll: &'a Poll,
    /// What the user wants of the repair.
    pub wish: &'a InPlaceWish<'a>,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Who hears of the phases.
    pub phases: Phases<'a>,
    /// Asked before the first write; false: nothing is written.
    pub confirm: &'a dyn Fn(&Proposal) -> bool,
}

/// What was written, for the report.
struct Done {
    progress: Vec<Progress>,
    unsteady: Vec<ByteRange>,
    from_medium: bool,
    journal_bytes: Option<u64>,
    interrupted: bool,
    completed: bool,
}

impl InPlace<'_> {
    /// Repairs and reports; `listener` hears of each divergence in order, and `warnings` go into the report.
    ///
    /// # Errors
    /// See [`RepairError`]: where the plan is refused nothing was written; what was written stands in the journal.
    pub fn run(&self, mut warnings: Vec<String>, listener: Listener) -> Result<Report, RepairError> {
        let (unfinished, standing_there) = self.earlier_journal()?;
        let begun = match &unfinished {
            Some(journal) => written_members(journal)?,
            None => 0,
        };
        let (checked, planner) = self.vote(begun, listener)?;
        let plan = planner.finish(&checked.outcome.tally.members);
        let composed_blocks = checked.findings.composed_blocks();
        let listed = listed(&checked.findings, &plan);
        let complete = checked.outcome.complete;
        let left = plan.members.iter().zip(self.members).filter(|(plan, _)| plan.left_bytes > 0);
        warnings.extend(left.map(|(plan, member)| {
            let why = "a sector before them is undecided, or it is a device";
            format!("{}: {} bytes that it lacks at its end can't be added: {why}", member.name(), plan.left_bytes)
        }));
        let failed = checked.outcome.failures.iter().any(Option::is_some);
        let mut report = make_report("repair", self.members, self.question, self.poll, checked, warnings);
        if self.wish.earlier.is_some() {
            report.range = None;
        }
        let (kept, omitted) = listed;
        let mut section = InPlaceReport {
            in_place: true,
            dry_run: self.wish.dry_run,
            resumed: unfinished.is_some(),
            composed_blocks,
            journal_bytes: if plan.is_empty() || self.wish.journal.is_none() { 0 } else { plan.record_bytes() },
            members: self.proposed(&plan),
            plan: kept,
            plan_omitted: omitted,
            picked: self.question.picks.iter().map(|&(range, member)| Picked { span: Span::from(range), member }).collect(),
            ..InPlaceReport::default()
        };
        let readable = complete && report.exit_code != 3;
        let mut code = if readable { self.left_over(&report, &plan, failed) } else { report.exit_code };
        if readable {
            let evidence = Evidence {
                members: self.members,
                data_bytes: data_bytes(self.members, ByteRange::new(0, self.poll.size), &|| self.watch.stopped()),
                max_damage: self.wish.max_damage,
                dependent: &self.wish.dependent,
                begun,
            };
            judge(&plan, &evidence, self.wish.forced)?;
            let work = !plan.is_empty() || unfinished.is_some();
            if let Some(error) = standing_there.filter(|_| !plan.is_empty()) {
                return Err(error);
            }
            if work && !self.wish.dry_run && self.agreed(&section, &plan) {
                let done = self.rewrite(&plan, unfinished)?;
                code = code.max(self.settle(&mut section, &plan, &done));
            } else if !plan.is_empty() {
                code = code.max(1);
            } else {
                section.completed = !work && !self.wish.dry_run;
            }
        }
        report.exit_code = code;
        report.in_place = Some(section);
        Ok(report)
    }

    /// An unfinished journal of this very repair; or the error that is due where another one stands there, once something is to be
    /// written.
    fn earlier_journal(&self) -> Result<(Option<Journal>, Option<RepairError>), RepairError> {
        let Some(place) = &self.wish.journal else { return Ok((None, None)) };
        let unreadable = |error| RepairError::Journal(JournalError::Read { journal: place.shown.clone(), offset: 0, error });
        let Some(storage) = place.folder.open(place.name).map_err(unreadable)? else { return Ok((None, None)) };
        let journal = match Journal::load(&place.shown, storage) {
            Ok(journal) => journal,
            // It is in nobody's way as long as nothing is to be written.
            Err(error @ (JournalError::Foreign { .. } | JournalError::Version { .. })) => return Ok((None, Some(error.into()))),
            Err(error) => return Err(error.into()),
        };
        let undo = format!("quorum-img undo {} takes that repair back; or name another place with --journal", place.shown.quoted());
        let paths = journal.header().members.iter().map(|member| crate::member::escaped(&String::from_utf8_lossy(&member.path)));
        let holds = paths.collect::<Vec<_>>().join(", ");
        let exists = |state: State, hint: String| RepairError::JournalExists {
            journal: place.shown.clone(),
            state: state.name(),
            holds: holds.clone(),
            hint,
        };
        match journal.state() {
            State::Unfinished => match self.foreign(&journal) {
                None => Ok((Some(journal), None)),
                Some(what) => Err(RepairError::JournalOther { journal: place.shown.clone(), what }),
            },
            State::UndoBegun => Err(exists(State::UndoBegun, format!("finish that first: quorum-img undo {}", place.shown.quoted()))),
            State::Complete => Ok((None, Some(exists(State::Complete, undo)))),
            State::Undone => {
                let hint = "it was undone, so it may be removed; or name another place with --journal".to_owned();
                Ok((None, Some(exists(State::Undone, hint))))
            }
        }
    }

    /// What tells the journal's repair from this one.
    fn foreign(&self, journal: &Journal) -> Option<String> {
        let header = journal.header();
        let same = |a: &Identity, b: &Identity| (a.device, a.inode, &a.path) == (b.device, b.inode, &b.path);
        if header.members.len() != self.wish.identities.len() {
            return Some(format!("it is of {} members, and {} are given", header.members.len(), self.wish.identities.len()));
        }
        for (then, now) in header.members.iter().zip(&self.wish.identities) {
            if !same(then, now) {
                let names = [&then.path, &now.path].map(|path| crate::member::escaped(&String::from_utf8_lossy(path)));
                return Some(format!("it is of {} where {} is given now", names[0], names[1]));
            }
        }
        let (then, now) = (&header.options, &self.wish.options);
        (then != now).then(|| format!("it was made with other options ({then}; now: {now})"))
    }

    fn vote(&self, begun: u64, listener: Listener) -> Result<(Checked, Planner), RepairError> {
        let modified = |index: usize| self.members[index].modified().filter(|_| begun >> index & 1 == 0);
        let stopped = || self.watch.stopped();
        let standings = self.members.iter().enumerate().map(|(index, member)| {
            let surplus = ByteRange::new(self.poll.size.min(member.size()), member.size());
            let tail = ByteRange::new(member.size().min(self.poll.size), self.poll.size);
            // Of what is only planned nobody has opened a way to write: a plain file can be resized.
            let resizable = self.stores[index].map_or(member.plain_file().is_some() || !self.wish.dry_run, Storage::resizable);
            let truncated = self.wish.truncate && self.is_written(index) && resizable;
            Standing {
                size: member.size(),
                modified: modified(index),
                written: self.is_written(index),
                block_bytes: self.block_bytes(index),
                grows: resizable,
                truncated,
                tail_data: if tail.is_empty() { 0 } else { data_bytes(self.members, tail, &stopped) },
                surplus_data: if truncated { data_in(*member, surplus, &stopped) } else { 0 },
            }
        });
        let ranges = match &self.wish.earlier {
            Some(earlier) => earlier.ranges().to_vec(),
            None if self.poll.range.is_empty() => Vec::new(),
            None => vec![self.poll.range],
        };
        let mut planner = Planner::new(self.poll.size, self.poll.sector, &ranges, standings.collect());
        let limits = Limits { divergences: self.wish.divergences_max, fill: Fill::Fail };
        let mut findings = Findings::of(self.members, limits);
        (self.phases)("voting", ranges.iter().map(|range| range.length()).sum());
        let job = Job::new(self.members, self.question, self.poll, &ranges, self.watch);
        let outcome: Outcome = scan(&job, &mut |run| {
            findings.add(run);
            planner.add(run);
            listener(run, &findings)
        })?;
        for (index, failure) in outcome.failures.iter().enumerate() {
            if failure.is_some() {
                planner.spare(index);
            }
        }
        Ok((Checked { outcome, findings }, planner))
    }

    /// Whether a member may be written to, as far as the user is concerned.
    fn is_written(&self, index: usize) -> bool {
        !self.wish.no_write.contains(&index) && self.question.trust != Some(index) && (self.wish.dry_run || self.stores[index].is_some())
    }

    fn block_bytes(&self, index: usize) -> u64 {
        self.stores[index].map_or(PAGE_BYTES, Storage::block_bytes)
    }

    fn proposed(&self, plan: &Plan) -> Vec<InPlaceMember> {
        let with_work = plan.members.iter().enumerate().filter(|(_, member)| member.differs());
        with_work
            .map(|(index, member)| InPlaceMember {
                index,
                name: self.members[index].name().to_string(),
                no_write: self.wish.no_write.contains(&index),
                dissenting_bytes: member.dissenting_bytes,
                absent_bytes: member.absent_bytes,
                unreadable_bytes: member.unreadable_bytes,
                left_bytes: member.left_bytes,
                surplus_bytes: if member.truncate_to.is_some() { 0 } else { member.surplus_bytes },
                extend_to: member.extend_to,
                truncate_to: member.truncate_to,
                zeros_over_data_bytes: member.data_zeroed,
                data_over_zeros_bytes: member.zeros_replaced,
                ..InPlaceMember::default()
            })
            .collect()
    }

    /// The exit code for what stays as it is, whatever is written.
    fn left_over(&self, report: &Report, plan: &Plan, failed: bool) -> u8 {
        let undecided = report.sectors.undecided > 0 || matches!(self.poll.size_vote, VirtualSize::Undecided { .. });
        let kept = plan
            .members
            .iter()
            .any(|member| (!member.written && member.differs()) || (member.surplus_bytes > 0 && member.truncate_to.is_none()));
        let left = plan.members.iter().any(|member| member.left_bytes > 0);
        match (failed, undecided || left, kept) {
            (true, ..) => 3,
            (_, true, _) => 2,
            (.., true) => 1,
            _ => 0,
        }
    }

    fn agreed(&self, section: &InPlaceReport, plan: &Plan) -> bool {
        (self.confirm)(&Proposal {
            members: &section.members,
            writes: plan.writes,
            bytes: plan.bytes(),
            voted_bytes: plan.voted_bytes(),
            journal_bytes: section.journal_bytes,
            journal: self.wish.journal.as_ref().map(|place| &place.shown),
            resumed: section.resumed,
        })
    }

    fn rewrite(&self, plan: &Plan, unfinished: Option<Journal>) -> Result<Done, RepairError> {
        // From here on what the vote saw must stay as it is.
        for member in self.members {
            if let Some(what) = member.changed() {
                return Err(RepairError::Changed { member: member.name().clone(), what });
            }
        }
        let (forced, unsettled) = match &unfinished {
            Some(journal) => (journal.unsynced()?, self.unsettled(journal)?),
            None => (Vec::new(), 0),
        };
        let journal = match (unfinished, &self.wish.journal) {
            (Some(journal), _) => Some((journal.name().clone(), journal.resume())),
            (None, Some(place)) => Some((place.shown.clone(), self.new_journal(place, plan)?)),
            (None, None) => None,
        };
        let mut rewriter = Rewriter {
            members: self.members,
            stores: self.stores,
            blocks: (0..self.members.len()).map(|index| self.block_bytes(index)).collect(),
            question: self.question,
            poll: self.poll,
            plan,
            watch: self.watch,
            journal,
            synced: u64::MAX,
            progress: vec![Progress::default(); self.members.len()],
            unsteady: Vec::new(),
            from_medium: true,
        };
        let gone_through = self.stages(&mut rewriter, &forced, unsettled);
        let closed = rewriter.close(gone_through.is_ok());
        let interrupted = match gone_through {
            Ok(()) => false,
            Err(Stop::Interrupted) => true,
            Err(Stop::Failed(error)) => return Err(error),
        };
        closed?;
        let sound = rewriter.progress.iter().all(|progress| progress.error.is_none());
        Ok(Done {
            journal_bytes: rewriter.journal.as_ref().map(|(_, journal)| journal.bytes()),
            completed: !interrupted && sound && rewriter.unsteady.is_empty(),
            progress: rewriter.progress,
            unsteady: rewriter.unsteady,
            from_medium: rewriter.from_medium,
            interrupted,
        })
    }

    /// The members, as a mask, that an earlier session changed and of which something may be missing on stable storage.
    fn unsettled(&self, journal: &Journal) -> Result<u64, RepairError> {
        let identities = journal.header().members.iter().zip(self.members).enumerate();
        let resized = identities.filter(|(_, (then, now))| then.size != now.size()).fold(0, |mask, (index, _)| mask | 1 << index);
        Ok((written_members(journal)? | resized) & !journal.settled())
    }

    fn stages(&self, rewriter: &mut Rewriter, forced: &[Vec<ByteRange>], unsettled: u64) -> Result<(), Stop> {
        if forced.iter().any(|ranges| !ranges.is_empty()) {
            (self.phases)("writing again", 0);
            rewriter.again(forced)?;
        }
        (self.phases)("rewriting", rewriter.plan.voted_bytes());
        rewriter.planned()?;
        (self.phases)("setting lengths", 0);
        rewriter.extend();
        rewriter.cut()?;
        rewriter.settle(unsettled);
        Ok(())
    }

    fn new_journal(&self, place: &JournalPlace, plan: &Plan) -> Result<JournalWriter, RepairError> {
        let needed = plan.record_bytes();
        (self.phases)("taking the journal's space", needed);
        let touched = |index: usize, range: ByteRange| plan.touches(index, range);
        let members = self.wish.identities.iter().enumerate();
        let header = Header {
            id: self.wish.id,
            created: self.wish.now,
            size: self.poll.size,
            sector: self.poll.sector,
            reserved: 0,
            options: self.wish.options.clone(),
            members: members.map(|(index, identity)| with_samples(identity, self.members[index], &|range| touched(index, range))).collect(),
        };
        let step = |bytes: u64| {
            self.watch.spend(bytes);
            self.watch.advanced(bytes);
            !self.watch.stopped()
        };
        JournalWriter::create(place.folder, place.name, header, &Reserve { bytes: needed, step: &step }).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::Interrupted => "it was interrupted; run this again",
                std::io::ErrorKind::AlreadyExists => {
                    "something else appeared under its name; look at it, or name another place with --journal"
                }
                _ => "make room, or name another place with --journal",
            };
            RepairError::JournalCreate { journal: place.shown.clone(), error, needed, hint }
        })
    }

    /// Notes what was done; returns the exit code for it.
    fn settle(&self, section: &mut InPlaceReport, plan: &Plan, done: &Done) -> u8 {
        let sector = u64::from(self.poll.sector);
        let count = |bytes: fn(&Progress) -> u64| done.progress.iter().map(|progress| bytes(progress).div_ceil(sector)).sum();
        section.healed_sectors = count(|progress| progress.healed_bytes);
        section.not_healed_sectors = count(|progress| progress.not_healed_bytes);
        let spans = |ranges: fn(&Progress) -> &Vec<ByteRange>| {
            let of = |(member, progress)| ranges(progress).iter().map(move |&range| MemberSpan { span: Span::from(range), member });
            done.progress.iter().enumerate().flat_map(of).take(self.wish.divergences_max).collect::<Vec<_>>()
        };
        section.healed = spans(|progress| &progress.healed);
        section.not_healed = spans(|progress| &progress.not_healed);
        section.unsteady = done.unsteady.iter().map(|&range| Span::from(range)).collect();
        section.bytes_written = done.progress.iter().map(|progress| progress.written).sum();
        for member in &mut section.members {
            let progress = &done.progress[member.index];
            member.bytes_written = progress.written;
            member.written =
                progress.written > 0 || (plan.members[member.index].is_rewritten() && progress.error.is_none() && done.completed);
            member.error.clone_from(&progress.error);
        }
        for (index, progress) in done.progress.iter().enumerate() {
            // What an earlier session had begun may be all there was to do to it.
            let listed = section.members.iter().any(|member| member.index == index);
            if !listed && (progress.written > 0 || progress.error.is_some()) {
                section.members.push(InPlaceMember {
                    index,
                    name: self.members[index].name().to_string(),
                    written: progress.written > 0,
                    bytes_written: progress.written,
                    error: progress.error.clone(),
                    ..InPlaceMember::default()
                });
            }
        }
        section.completed = done.completed;
        section.verified = done.completed;
        section.verified_from = done.completed.then_some(if done.from_medium { "medium" } else { "cache" });
        section.journal = self.wish.journal.as_ref().filter(|_| done.journal_bytes.is_some()).map(|place| place.shown.to_string());
        section.journal_bytes = done.journal_bytes.unwrap_or(0);
        let errors = !done.unsteady.is_empty() || done.progress.iter().any(|progress| progress.error.is_some());
        match (done.interrupted, errors, section.not_healed_sectors > 0) {
            (true, ..) => 130,
            (_, true, _) => 3,
            (.., true) => 2,
            _ => 0,
        }
    }
}

/// The members that an unfinished repair may have written to, as a mask.
fn written_members(journal: &Journal) -> Result<u64, RepairError> {
    let mut mask = 0;
    journal.entries(false, false, &mut |loaded| -> Result<(), RepairError> {
        mask |= 1 << loaded.entry.member;
        Ok(())
    })?;
    Ok(mask)
}

/// Bytes in `range` that the member holds as data, as far as it can tell.
fn data_in(member: &dyn Member, range: ByteRange, stopped: &dyn Fn() -> bool) -> u64 {
    use crate::member::Extent;
    let (mut at, mut sum) = (range.start, 0);
    while at < range.end && !stopped() {
        let (end, data) = match member.extent(at) {
            Ok(Extent::Zero(end)) if end > at => (end.min(range.end), false),
            Ok(Extent::Data(end)) if end > at => (end.min(range.end), true),
            _ => (range.end, true),
        };
        sum += if data { end - at } else { 0 };
        at = end;
    }
    sum
}

/// What is listed of the plan, and how much isn't.
fn listed(findings: &Findings, plan: &Plan) -> (Vec<Planned>, u64) {
    let planned = |run: &Run| {
        let Verdict::Decided { winner } = run.vote.verdict else { return None };
        let to: Vec<usize> = members_of(plan.duties(run).all()).collect();
        let from = members_of(run.vote.grouping.holders(winner)).collect();
        (!to.is_empty()).then(|| Planned { span: Span::from(run.range), from, to })
    };
    let kept: Vec<Planned> = findings.listed().iter().filter_map(planned).collect();
    let omitted = plan.divergences.saturating_sub(kept.len() as u64);
    (kept, omitted)
}

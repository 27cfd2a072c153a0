//! An in-place repair from end to end: vote, plan, judge, journal, write, sync, read back, report.

use super::{
    amounts::data_bytes,
    batch::Flow,
    clusters::Clusters,
    outcome::{Done, listed, refused_in_place},
    plan::{MemberPlan, Plan, Planner, Standing},
    rewriter::{Progress, Rewriter, Stop},
    survey::Survey,
    wish::{Answer, InPlace, Proposal},
};
use crate::{
    evidence::Known,
    member::{Image, Readable},
    repair::{
        Earlier, RepairError,
        journal::Journal,
        judge::{Guard, Judge, Stand, Stands, Way, Weighing},
    },
    report::{InPlaceReport, Picked, Report, Span},
    scan::{Checked, Findings, Job, Limits, Listener, Outcome, Weighed, WitnessFacts, make_report, scan, structures},
    sys::storage::{Origin, PAGE_BYTES, Storage},
    vote::{ByteRange, Fill, mask_of, members_of},
};

impl InPlace<'_> {
    /// Repairs and reports; `listener` hears of each divergence in order, and `warnings` go into the report.
    ///
    /// # Errors
    /// See [`RepairError`]: nothing was written then. From the plan on whatever goes wrong is a part of the report.
    pub fn run(&self, mut warnings: Vec<String>, listener: Listener) -> Result<Report, RepairError> {
        match self.judge().admit(self.members, self.question, self.poll) {
            Err(refusal) if refusal.exit_code() == 2 => {
                return Ok(refused_in_place(self.members, self.question, self.poll, self.wish.dry_run, warnings, &refusal));
            }
            judged => judged?,
        }
        let (unfinished, standing_there) = self.earlier_journal()?;
        if let (Some(earlier), None) = (&self.wish.earlier, &unfinished) {
            earlier.refuse_stale(self.judge())?;
        }
        if let Some(journal) = unfinished.as_ref().filter(|_| self.judge().heeds(Guard::Changed)) {
            self.refuse_foreign_writes(journal)?;
        }
        let begun = match &unfinished {
            Some(journal) => journal.touched()?,
            None => 0,
        };
        self.refuse_half_written(unfinished.as_ref(), begun)?;
        let mut survey = Survey::new(self.members, |index| self.is_written(index));
        let (checked, planner) = self.vote(&mut survey, listener)?;
        let plan = planner.finish(&checked.outcome.tally.members);
        let composed_blocks = checked.findings.composed_blocks();
        let listed = listed(&checked.findings, &plan);
        let complete = checked.outcome.complete;
        warnings.extend(self.lacks(&plan));
        let failures = &checked.outcome.failures;
        // The plan would rely on its vote.
        let late = checked.outcome.late.first().map(|&member| (member, failures[member].clone().unwrap_or_default()));
        let voted = mask_of((0..self.members.len()).filter(|&index| failures[index].is_none()));
        let failed = failures.iter().any(Option::is_some);
        let newer =
            checked.findings.newer().iter().enumerate().filter(|(index, places)| **places > 0 && plan.members[*index].is_rewritten());
        // Who is trusted is right, whoever is newer.
        let newer: Vec<usize> = newer.map(|(index, _)| index).filter(|_| self.question.trust.is_none()).collect();
        let stands = self.stands(&checked, &plan, begun);
        let structures = structures(self.members, &|| self.watch.stopped());
        let unsound = structures.iter().any(|structure| !structure.errors.is_empty());
        let weighed = Weighed { structures, ..stands.reported(self.wish.forced) };
        let mut report = make_report("repair", self.members, self.question, self.poll, checked, warnings, weighed);
        if let Some(earlier) = &self.wish.earlier {
            tell_of_part(&mut report, earlier);
        }
        let (kept, omitted) = listed;
        let mut section = InPlaceReport {
            in_place: true,
            dry_run: self.wish.dry_run,
            resumed: unfinished.is_some(),
            composed_blocks,
            journal_bytes: if plan.is_empty() || self.wish.journal.is_none() {
                0
            } else {
                plan.record_bytes().saturating_add(survey.record_bytes())
            },
            members: self.proposed(&plan),
            plan: kept,
            plan_omitted: omitted,
            picked: self.question.picks.iter().map(|&(range, member)| Picked { span: Span::from(range), member }).collect(),
            ..InPlaceReport::default()
        };
        let readable = complete && (report.exit_code != 3 || late.is_some());
        let mut code = if readable { self.left_over(&report, &plan, failed, &stands.blank_surplus) } else { report.exit_code };
        if readable {
            let mut again = unfinished.as_ref().map_or(Ok(Vec::new()), Journal::unsynced)?;
            // Images were put back before: nothing of an earlier session stands in them.
            again.iter_mut().zip(self.members).filter(|(_, member)| member.image().is_some()).for_each(|(ranges, _)| ranges.clear());
            let again_bytes = again.iter().flatten().map(|range| range.length()).sum();
            let work = !plan.is_empty() || unfinished.is_some();
            let refused = self.judged(&stands.guards, &plan, &survey).err().or(standing_there.filter(|_| !plan.is_empty()));
            if self.watch.stopped() {
                code = 130;
            } else if let Some((member, why)) = late {
                let error = RepairError::Failed { member: self.members[member].name().clone(), why };
                code = code.max(error.exit_code());
                section.error = Some(error.to_string());
            } else if let Some(refusal) = refused {
                code = code.max(refusal.exit_code());
                section.refused = Some(refusal.to_string());
            } else if !work {
                section.completed = !self.wish.dry_run;
            } else if self.wish.dry_run {
                code = code.max(1);
            } else {
                let answer = self.answer(&section, &plan, again_bytes, &newer, &report);
                let go = || self.rewrite(&plan, &survey, unfinished, &again, voted);
                code = code.max(self.act(answer, &mut section, &plan, go));
            }
            // What a check didn't come to is left alone.
            code = code.max(u8::from(self.wish.earlier.as_ref().is_some_and(|earlier| !earlier.unseen().is_empty())));
        }
        // An image that a guest could not go on with isn't mended by what its sectors say.
        report.exit_code = if unsound { code.max(1) } else { code };
        report.in_place = Some(section);
        Ok(report)
    }

    /// What is to be said of what can't be added at members' ends.
    fn lacks(&self, plan: &Plan) -> Vec<String> {
        let left = plan.members.iter().zip(self.members).filter(|(plan, _)| plan.left_bytes > 0);
        let told = left.map(|(plan, member)| {
            let why = match member.image() {
                Some(image) => {
                    let resized = image.resized_by(self.poll.size).map_or_else(String::new, |program| format!("{program} does that, "));
                    format!("the size of an image isn't changed in place: {resized}repair -o makes a new one")
                }
                None => "a sector before them is undecided, or it is a device".into(),
            };
            format!("{}: {} bytes that it lacks at its end can't be added: {why}", member.name(), plan.left_bytes)
        });
        told.collect()
    }

    /// Does what was answered, and returns the exit code for it.
    fn act(&self, answer: Answer, section: &mut InPlaceReport, plan: &Plan, rewrite: impl FnOnce() -> Result<Done, RepairError>) -> u8 {
        match answer {
            Answer::Yes => match rewrite() {
                Ok(done) => self.settle(section, plan, &done),
                // Hours of voting aren't thrown away for it.
                Err(error) => {
                    section.error = Some(error.to_string());
                    error.exit_code()
                }
            },
            Answer::No if self.watch.stopped() => 130,
            Answer::No => 1,
            Answer::Refused(why) => {
                section.refused = Some(why);
                2
            }
        }
    }

    fn vote(&self, survey: &mut Survey, listener: Listener) -> Result<(Checked, Planner), RepairError> {
        let stopped = || self.watch.stopped();
        let standings = self.members.iter().enumerate().map(|(index, member)| {
            let surplus = ByteRange::new(self.poll.size.min(member.size()), member.size());
            let tail = ByteRange::new(member.size().min(self.poll.size), self.poll.size);
            // Of what is only planned nobody has opened a way to write: a plain file can be resized.
            let resizable = self.stores[index].map_or(member.plain_file().is_some() || !self.wish.dry_run, Storage::resizable)
                && member.image().is_none();
            let truncated = self.wish.truncate && self.is_written(index) && resizable;
            Standing {
                size: member.size(),
                written: self.is_written(index),
                block_bytes: self.block_bytes(index),
                grows: resizable,
                truncated,
                tail_data: if tail.is_empty() { 0 } else { data_bytes(self.members, tail, &stopped) },
                surplus_data: if truncated { data_bytes(&[*member], surplus, &stopped) } else { 0 },
            }
        });
        let ranges = self.ranges();
        let mut planner = Planner::new(self.poll.size, self.poll.sector, &ranges, standings.collect(), self.wish.portion_bytes);
        let limits = Limits { divergences: self.wish.divergences_max, fill: Fill::Fail };
        let mut findings = Findings::of(self.evidence, limits);
        (self.phases)("voting", ranges.iter().map(|range| range.length()).sum());
        let job = Job::new(self.members, self.question, self.poll, &ranges, self.watch).weighing(self.evidence);
        let outcome: Outcome = scan(&job, &mut |run| {
            findings.add(run);
            planner.add(run);
            survey.add(run);
            listener(run, &findings)
        })?;
        for (index, failure) in outcome.failures.iter().enumerate() {
            if failure.is_some() {
                planner.spare(index);
            }
        }
        Ok((Checked { outcome, findings }, planner))
    }

    /// An image in which an earlier session was cut off is none: what was read of it says nothing.
    fn refuse_half_written(&self, unfinished: Option<&Journal>, begun: u64) -> Result<(), RepairError> {
        let half = |index: &usize| begun >> index & 1 == 1 && self.members[*index].image().is_some() && !self.wish.put_back.contains(index);
        match ((0..self.members.len()).find(half), unfinished) {
            (Some(index), Some(journal)) => {
                Err(RepairError::NotPutBack { member: self.members[index].name().clone(), journal: journal.name().clone() })
            }
            _ => Ok(()),
        }
    }

    /// What is voted on.
    fn ranges(&self) -> Vec<ByteRange> {
        match &self.wish.earlier {
            Some(earlier) => self.poll.voted_in(earlier.ranges()),
            None => self.poll.ranges(),
        }
    }

    /// Members, as a mask, whose partition table names what lies behind the voted end: with the others' table it would be out of reach.
    fn reaching_out(&self) -> u64 {
        let reaches = |known: &Known| known.table.iter().flat_map(|table| &table.partitions).any(|it| it.range.end > self.poll.size);
        let known = &self.evidence.members;
        mask_of((0..known.len()).filter(|&index| self.question.trust.is_none() && reaches(&known[index])))
    }

    /// The guards that stand before what the plan would do. Of members (a mask) that an earlier session has begun to write to they were
    /// asked then: half written, such a member looks like nothing that it ever was.
    fn stands(&self, checked: &Checked, plan: &Plan, begun: u64) -> Stands {
        let those =
            |which: &dyn Fn(&MemberPlan) -> bool| mask_of((0..plan.members.len()).filter(|&index| which(&plan.members[index]))) & !begun;
        let weighing = Weighing {
            members: self.members,
            question: self.question,
            poll: self.poll,
            evidence: self.evidence,
            ranges: &self.ranges(),
            losers: those(&|member| member.written),
            cut: those(&|member| member.truncate_to.is_some()) | (those(&|member| member.written) & self.reaching_out()),
            max_damage: self.wish.max_damage,
            dependent: &self.wish.dependent,
            content: self.wish.earlier.as_ref().map_or(&[], Earlier::content),
            witnesses: WitnessFacts::of(self.question),
            stopped: &|| self.watch.stopped(),
        };
        weighing.stands(&checked.outcome, &checked.findings)
    }

    /// Refuses a plan that may do harm, or that can't be carried out.
    fn judged(&self, stands: &[Stand], plan: &Plan, survey: &Survey) -> Result<(), RepairError> {
        if !plan.is_empty() {
            self.judge().heed(stands)?;
        }
        let journalled = self.wish.journal.is_some() || self.wish.dry_run;
        self.judge().images(survey.needs(|index| plan.members[index].is_rewritten()), journalled, &|| self.watch.stopped())
    }

    fn judge(&self) -> Judge {
        Judge { way: Way::InPlace, forced: self.wish.forced }
    }

    /// Whether a member may be written to, as far as the user is concerned.
    pub(super) fn is_written(&self, index: usize) -> bool {
        !self.wish.no_write.contains(&index) && self.question.trust != Some(index) && (self.wish.dry_run || self.stores[index].is_some())
    }

    fn block_bytes(&self, index: usize) -> u64 {
        self.stores[index].map_or(PAGE_BYTES, Storage::block_bytes)
    }

    fn answer(&self, section: &InPlaceReport, plan: &Plan, again_bytes: u64, newer: &[usize], report: &Report) -> Answer {
        let forced = report.guards.iter().filter(|guard| guard.forced && guard.in_place == "refused");
        let mut overridden: Vec<&str> = forced.map(|guard| guard.word).collect();
        overridden.dedup(); // they come in the table's order
        (self.confirm)(&Proposal {
            overridden: &overridden,
            newer,
            members: &section.members,
            writes: plan.writes,
            bytes: plan.bytes(),
            again_bytes,
            voted_bytes: plan.voted_bytes(),
            journal_bytes: section.journal_bytes,
            journal: self.wish.journal.as_ref().map(|place| &place.shown),
            resumed: section.resumed,
            warnings: &report.warnings,
        })
    }

    /// The file of a member, which the journal tells of.
    pub(super) fn file(&self, index: usize) -> &dyn Readable {
        self.members[index].image().map_or(self.members[index], Image::as_bytes)
    }

    fn rewrite(
        &self,
        plan: &Plan,
        survey: &Survey,
        unfinished: Option<Journal>,
        again: &[Vec<ByteRange>],
        voted: u64,
    ) -> Result<Done, RepairError> {
        // From here on what the vote saw must stay as it is.
        for member in members_of(voted).map(|index| self.members[index]) {
            if let Some(what) = member.changed() {
                return Err(RepairError::Changed { member: member.name().clone(), what });
            }
        }
        let unsettled = match &unfinished {
            Some(journal) => journal.touched()? & !journal.settled(),
            None => 0,
        };
        let journal = match (unfinished, &self.wish.journal) {
            (Some(journal), _) => {
                let name = journal.name().clone();
                let failed = |error| RepairError::JournalWrite { journal: name.clone(), error };
                let resumed = journal.resume().map_err(failed)?;
                Some((name, resumed))
            }
            (None, Some(place)) => Some((place.shown.clone(), self.new_journal(place, plan, survey.record_bytes())?)),
            (None, None) => None,
        };
        let mut rewriter = Rewriter {
            members: self.members,
            files: (0..self.members.len()).map(|index| self.file(index)).collect(),
            images: self.members.iter().enumerate().map(|(index, member)| Some(Clusters::new(*member, member.image()?, index))).collect(),
            lengths_max: (0..self.members.len()).map(|index| survey.length_max(index)).collect(),
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
            origin: Origin::Medium,
            voted,
        };
        let gone_through = self.stages(&mut rewriter, again, unsettled);
        let closed = rewriter.close(gone_through.is_ok());
        let (interrupted, error) = match gone_through {
            Ok(()) => (false, closed.err()),
            Err(Stop::Interrupted) => (true, closed.err()),
            Err(Stop::Failed(error)) => (false, Some(error)),
        };
        let sound = rewriter.progress.iter().all(|progress| progress.error.is_none());
        Ok(Done {
            journal_bytes: rewriter.journal.as_ref().map(|(_, journal)| journal.bytes()),
            completed: !interrupted && error.is_none() && sound && rewriter.unsteady.is_empty(),
            progress: rewriter.progress,
            unsteady: rewriter.unsteady,
            origin: rewriter.origin,
            interrupted,
            error,
        })
    }

    fn stages(&self, rewriter: &mut Rewriter, forced: &[Vec<ByteRange>], unsettled: u64) -> Result<(), Stop> {
        rewriter.announce_lengths()?;
        std::thread::scope(|scope| {
            let mut flow = Flow::new(scope);
            let written = self.portions(rewriter, &mut flow, forced);
            rewriter.heed_read_back(&mut flow);
            written
        })?;
        (self.phases)("setting lengths", 0);
        rewriter.extend();
        rewriter.cut()?;
        rewriter.settle(unsettled);
        Ok(())
    }

    fn portions<'s, 'a: 's>(&self, rewriter: &mut Rewriter<'a>, flow: &mut Flow<'s, '_>, forced: &[Vec<ByteRange>]) -> Result<(), Stop> {
        // What is voted on again, what is journalled, and what is written: about as much work each.
        let copies = 1 + u64::from(rewriter.journal.is_some());
        let work = |voted: u64, written: u64| voted.saturating_add(written.saturating_mul(copies));
        if forced.iter().any(|ranges| !ranges.is_empty()) {
            let bytes = forced.iter().flatten().map(|range| range.length()).sum::<u64>();
            (self.phases)("writing again", work(bytes, bytes));
            rewriter.again(flow, forced)?;
        }
        (self.phases)("rewriting", work(rewriter.plan.voted_bytes(), rewriter.plan.bytes()));
        rewriter.planned(flow)
    }
}

/// Makes the report of a vote on what an earlier one lists tell of what that looked at: all, or what it came to before it was interrupted.
fn tell_of_part(report: &mut Report, earlier: &Earlier) {
    report.range = earlier.unseen().first().map(|unseen| Span { offset: 0, length: unseen.start });
    // What members hold elsewhere wasn't counted now.
    report.members.iter_mut().for_each(|member| member.content_bytes = None);
    if let Some(seen) = report.range {
        report.members.iter_mut().for_each(|member| member.whole = false);
        let total = seen.length.div_ceil(u64::from(report.sector_size));
        report.sectors.total = total;
        report.sectors.unanimous = total.saturating_sub(report.sectors.decided + report.sectors.undecided);
    }
}

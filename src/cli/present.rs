//! Shows a report: on standard output, and in a file.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::{
    report_file::ReportFile,
    say::{Output, begun, colours, columns, complain, warn_unless},
    show_args::{Diagnose, OutputFormat, ShowArgs},
};
use crate::{
    member::{Member, MemberName},
    report::{
        self, DamageReport, Damaged, Damages, Diagnosis, Drawing, Look, Order, Problem, Report, Times, events_of, last_events, rfc3339,
    },
    scan::{Findings, LostSector, Watch, find_elsewhere, losers, stands_elsewhere},
    vote::{ByteRange, Run, members_of},
};

/// Divergences whose losing versions are looked at: more of them tell nothing new.
const DIAGNOSED_MAX: usize = 1000;
/// Sectors of a place of which one is looked for elsewhere.
const SECTORS_TRIED: usize = 128;

/// Takes divergences as they are found, and the report at the end.
pub(super) struct Presenter<'a> {
    show: &'a ShowArgs,
    members: &'a [&'a dyn Member],
    /// What the damages of each look like, and those of the first divergences.
    diagnoses: Vec<Diagnosis>,
    damages: Damages,
    names: Vec<String>,
    file: Option<ReportFile>,
    events: Output,
    /// Warnings that were shown before the report.
    warned: Vec<String>,
    /// What went wrong, to be said once the report was shown.
    complaints: Vec<String>,
    /// When it was, where that isn't now.
    times: Option<Times>,
}

impl<'a> Presenter<'a> {
    /// Refuses a report file that can't be written, or would take the place of something else, before anything is read.
    pub(super) fn new(show: &'a ShowArgs, members: &'a [&'a dyn Member]) -> Result<Self> {
        let file = show.report.as_deref().map(|target| ReportFile::new(target, members)).transpose();
        let file = file.with_context(|| format!("--report {}", shown(show.report.as_deref())))?;
        let names = members.iter().map(|member| member.name().to_string()).collect();
        let diagnoses = vec![Diagnosis::default(); members.len()];
        Ok(Self {
            show,
            members,
            diagnoses,
            damages: Damages::new(),
            names,
            file,
            events: Output::new(),
            warned: Vec::new(),
            complaints: Vec::new(),
            times: None,
        })
    }

    /// Takes a divergence, and looks at it.
    pub(super) fn divergence(&mut self, run: &Run, findings: &Findings) -> io::Result<()> {
        let members = self.members;
        self.diagnose(run, || losers(members, run));
        self.take(run, findings)
    }

    /// Takes a divergence whose losing versions were looked at before.
    pub(super) fn told(&mut self, run: &Run, looks: &[DamageReport], findings: &Findings) -> io::Result<()> {
        self.diagnose(run, || looks.to_vec());
        self.take(run, findings)
    }

    /// Looks once more at the last divergence of a part, which goes on behind it: at its beginning, wherever that ends.
    pub(super) fn look_beyond(&mut self, whole: &Run) {
        if let Some(damaged) = self.damages.get_mut(&whole.range.start) {
            damaged.versions = losers(self.members, whole);
        }
    }

    fn take(&mut self, run: &Run, findings: &Findings) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let added = file.add(&findings.described(run));
            added.map_err(|error| io::Error::new(error.kind(), format!("--report {}: {error}", shown(Some(file.target())))))?;
        }
        if self.show.format == OutputFormat::Events && !self.show.progress.is_quiet() {
            for event in events_of(run, &self.names) {
                let written = self.events.write_all(event.line(now()).as_bytes());
                written.map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))?;
            }
        }
        Ok(())
    }

    /// Looks at what lost in a divergence, as long as there aren't too many of them.
    fn diagnose(&mut self, run: &Run, look: impl FnOnce() -> Vec<DamageReport>) {
        if self.show.diagnose == Diagnose::Never {
            return;
        }
        if self.damages.len() >= DIAGNOSED_MAX {
            members_of(run.vote.dissenters()).for_each(|member| self.diagnoses[member].add_unseen());
            return;
        }
        let versions = look();
        if !versions.is_empty() {
            self.damages.insert(run.range.start, Damaged { length: run.range.length(), versions });
        }
    }

    /// Looks for what lost elsewhere in the image, as `best` holds it.
    pub(super) fn look_elsewhere(&mut self, best: usize, threads: usize, watch: &dyn Watch) {
        let mut wanted: Vec<LostSector> = Vec::new();
        let mut places = Vec::new();
        for (&offset, damaged) in &self.damages {
            for (index, version) in damaged.versions.iter().enumerate().filter(|(_, version)| version.may_be_misplaced()) {
                let Some(&member) = version.members.first() else { continue };
                // The first sector that says something: zeros are found everywhere.
                let mut sectors = (offset..offset.saturating_add(damaged.length)).step_by(512).take(SECTORS_TRIED);
                if let Some(lost) = sectors.find_map(|at| LostSector::of(self.members[member], at)) {
                    places.push((offset, index, lost.offset));
                    wanted.push(lost);
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        let found = find_elsewhere(self.members[best], &wanted, threads, watch);
        for ((offset, index, at), there) in places.into_iter().zip(found) {
            let (Some(damaged), Some(there)) = (self.damages.get_mut(&offset), there) else { continue };
            let (version, range) = (&mut damaged.versions[index], ByteRange::at(offset, damaged.length));
            let further = i64::try_from(i128::from(there) - i128::from(at)).ok();
            let (Some(range), Some(further), Some(&member)) = (range, further, version.members.first()) else { continue };
            if stands_elsewhere(self.members[best], self.members[member], range, further) {
                version.is_misplaced(further);
            }
        }
    }

    /// Shows warnings that can't wait for the report, which won't repeat them.
    pub(super) fn warn_ahead(&mut self, warnings: &[String]) {
        for warning in warnings {
            warn_unless(self.show.progress.is_quiet(), warning);
        }
        self.warned.extend_from_slice(warnings);
    }

    /// Says what went wrong: after the report where that is shown on a terminal, so that it is seen.
    pub(super) fn complain(&mut self, text: &str) {
        if self.ends_with_verdict() {
            self.complaints.push(text.to_owned());
        } else {
            complain(text);
        }
    }

    fn ends_with_verdict(&self) -> bool {
        self.show.format == OutputFormat::Human && !self.show.progress.is_quiet() && io::stdout().is_terminal()
    }

    fn order(&self) -> Order {
        order_for(self.ends_with_verdict())
    }

    /// How the picture is drawn, where one is wanted of it.
    fn drawing(&self, report: &Report) -> Option<Drawing> {
        self.show.picture.is_wanted(self.ends_with_verdict() && report.map.is_some()).then(drawing)
    }

    /// Adds what is known only now: what damages look like, what leads on, how long it took.
    fn complete(&mut self, report: &mut Report, look: &Look) {
        for damaged in self.damages.values() {
            for version in &damaged.versions {
                version.members.iter().for_each(|&member| self.diagnoses[member].add(version, damaged.length));
            }
        }
        report.divergences.diagnose(std::mem::take(&mut self.damages));
        for (member, diagnosis) in report.members.iter_mut().zip(&self.diagnoses) {
            let both: Vec<String> = member.conclusion.take().into_iter().chain(diagnosis.in_words()).collect();
            member.conclusion = (!both.is_empty()).then(|| both.join("; "));
            member.damage = diagnosis.totals();
        }
        let refused =
            report.repair.as_ref().and_then(|it| it.refused.as_ref()).or(report.in_place.as_ref().and_then(|it| it.refused.as_ref()));
        report.refusal = refused.map(|text| Problem::of(text, &self.names));
        // A word that isn't UTF-8 can't be told in JSON.
        report.next = look.next.clone().filter(|next| next.words.iter().all(|word| word.to_str().is_some()));
        report.next_comment = look.next.as_ref().map(|next| next.comment.clone()).filter(|comment| !comment.is_empty());
        let bytes = report.scanned_bytes.unwrap_or(report.sectors.total.saturating_mul(report.sector_size.into()));
        report.times = self.times.take().unwrap_or_else(|| times(bytes));
    }

    /// The same of a report that others made, at those times.
    pub(super) fn finish_at(mut self, report: Report, look: &Look, times: Times) -> Result<u8> {
        self.times = Some(times);
        self.finish(report, look)
    }

    /// Shows the report and returns its exit code.
    pub(super) fn finish(mut self, mut report: Report, look: &Look) -> Result<u8> {
        self.complete(&mut report, look);
        // To people all that is known was said: why it is refused.
        let said = report.unvoted && self.show.format == OutputFormat::Human;
        for warning in report.warnings.iter().filter(|warning| !said && !self.warned.contains(warning)) {
            warn_unless(self.show.progress.is_quiet(), warning);
        }
        if !self.show.progress.is_quiet() {
            let printed = match self.show.format {
                OutputFormat::Human if said => Ok(()),
                OutputFormat::Human => {
                    let mut to = io::BufWriter::new(Output::new().styled());
                    report::render(&report, self.order(), self.drawing(&report), &mut to).and_then(|()| to.flush()).and_then(|()| {
                        for text in self.complaints.drain(..) {
                            complain(&text);
                        }
                        report::lead_on(look, &mut to).and_then(|()| to.flush())
                    })
                }
                OutputFormat::Json => {
                    let mut to = io::BufWriter::new(Output::new());
                    report::write(&report, &mut to).and_then(|()| to.flush())
                }
                OutputFormat::Events => {
                    last_events(&report).iter().try_for_each(|event| self.events.write_all(event.line(now()).as_bytes()))
                }
            };
            printed.context("standard output")?;
        } else if self.show.progress.quiet == 1 && self.show.format == OutputFormat::Human && report.exit_code != 0 && !said {
            let mut to = io::BufWriter::new(Output::new().styled());
            report::render_brief(&report, &mut to).and_then(|()| to.flush()).context("standard output")?;
        }
        for text in &self.complaints {
            complain(text);
        }
        if let Some(file) = self.file {
            let target = file.target().to_owned();
            file.publish(&mut report).with_context(|| format!("--report {}", shown(Some(&target))))?;
        }
        Ok(report.exit_code)
    }
}

/// When this run was, and how many bytes a second it looked at.
pub(super) fn times(bytes: u64) -> Times {
    let (started, now) = (begun(), SystemTime::now());
    let seconds = now.duration_since(started).unwrap_or_default().as_secs_f64();
    #[allow(clippy::cast_sign_loss)] // neither is negative
    let rate = (bytes > 0 && seconds > 0.0).then(|| (bytes as f64 / seconds) as u64);
    Times { started: rfc3339(started), finished: rfc3339(now), duration: Some((seconds * 1e3).round() / 1e3), rate }
}

/// How a report is ordered: the verdict last on a terminal, where the eye is.
pub(super) fn order_for(terminal: bool) -> Order {
    if terminal { Order::VerdictLast { columns: columns(io::stdout()) } } else { Order::VerdictFirst }
}

/// As wide as standard output; with blocks where that takes colours and says that it knows more letters than ASCII.
pub(super) fn drawing() -> Drawing {
    let text = |name: &str| env::var(name).unwrap_or_default().to_lowercase();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().map(text).find(|value| !value.is_empty()).unwrap_or_default();
    let coloured = colours() != anstream::ColorChoice::Never;
    Drawing { columns: columns(io::stdout()), blocks: coloured && locale.replace('-', "").contains("utf8") }
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| MemberName::from(path).to_string())
}

/// Seconds and microseconds since 1970.
pub(super) fn now() -> (u64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_micros())
}

//! Shows a report: on standard output, and in a file.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::{
    args::{OutputFormat, ShowArgs},
    places::same_place,
    report_file::ReportFile,
    say::{Output, columns, complain, warn_unless},
};
use crate::{
    evidence::Looks,
    member::{Member, MemberName, escaped},
    report::{self, DamageReport, Damages, Diagnosis, Divergence, Look, Order, Report, events_of, last_events},
    scan::{Findings, Loser, losers},
    vote::{Run, members_of},
};

/// Divergences whose losing versions are looked at: more of them tell nothing new.
const DIAGNOSED_MAX: usize = 1000;

/// Takes divergences as they are found, and the report at the end.
pub(super) struct Presenter<'a> {
    show: &'a ShowArgs,
    members: &'a [&'a dyn Member],
    /// What the damages of each look like, and those of the first divergences.
    diagnoses: Vec<Diagnosis>,
    damages: Damages,
    names: Vec<String>,
    file: Option<ReportFile>,
    /// Whether the file is the very list that is read (`--from`).
    is_list: bool,
    events: Output,
    /// Warnings that were shown before the report.
    warned: Vec<String>,
    /// What went wrong, to be said once the report was shown.
    complaints: Vec<String>,
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
            is_list: false,
            events: Output::new(),
            warned: Vec::new(),
            complaints: Vec::new(),
        })
    }

    /// The report file may be the list that is read: a report of less doesn't take its place, since it could not be read like it.
    pub(super) fn reading(self, list: Option<&Path>) -> Self {
        let is_list = list.zip(self.show.report.as_deref()).is_some_and(|(list, report)| same_place(list, report));
        Self { is_list, ..self }
    }

    /// Takes a divergence.
    pub(super) fn divergence(&mut self, run: &Run, findings: &Findings) -> io::Result<()> {
        let damage = self.diagnose(run);
        if let Some(file) = &mut self.file {
            let added = file.add(&Divergence { damage, ..findings.described(run) });
            added.map_err(|error| io::Error::new(error.kind(), format!("--report {}: {error}", shown(Some(file.target())))))?;
        }
        if self.show.format == OutputFormat::Events && !self.show.progress.is_quiet() {
            for event in events_of(run, &self.names) {
                let written = writeln!(self.events, "{}", event.line(now()));
                written.map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))?;
            }
        }
        Ok(())
    }

    /// Looks at what lost in a divergence, as long as there aren't too many of them.
    fn diagnose(&mut self, run: &Run) -> Vec<DamageReport> {
        if self.damages.len() >= DIAGNOSED_MAX {
            members_of(run.vote.dissenters()).for_each(|member| self.diagnoses[member].add_unseen());
            return Vec::new();
        }
        let damage: Vec<DamageReport> = losers(self.members, run).into_iter().map(told).collect();
        for version in &damage {
            version.members.iter().for_each(|&member| self.diagnoses[member].add(version, run.range.length()));
        }
        if !damage.is_empty() {
            self.damages.insert(run.range.start, damage.clone());
        }
        damage
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
        if self.ends_with_verdict() { Order::VerdictLast { columns: columns(io::stdout()) } } else { Order::VerdictFirst }
    }

    /// Shows the report and returns its exit code.
    pub(super) fn finish(mut self, mut report: Report, look: &Look) -> Result<u8> {
        report.divergences.diagnose(std::mem::take(&mut self.damages));
        for (member, diagnosis) in report.members.iter_mut().zip(&self.diagnoses) {
            member.conclusion = diagnosis.in_words();
        }
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
                    report::render(&report, self.order(), &mut to).and_then(|()| to.flush()).and_then(|()| {
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
                OutputFormat::Events => last_events(&report).iter().try_for_each(|event| writeln!(self.events, "{}", event.line(now()))),
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
            if self.is_list && report.ended_early() {
                let kept =
                    format!("--report {}: stays the list of --from, since this run didn't come to its end", shown(Some(file.target())));
                warn_unless(self.show.progress.is_quiet(), &kept);
                return Ok(report.exit_code);
            }
            let target = file.target().to_owned();
            file.publish(&mut report).with_context(|| format!("--report {}", shown(Some(&target))))?;
        }
        Ok(report.exit_code)
    }
}

/// A losing version as reports have it.
fn told(loser: Loser) -> DamageReport {
    let looks = &loser.looks;
    let (bits_set, bits_cleared, bits) = match *looks {
        Looks::Flips { set, cleared, bits } => (Some(set), Some(cleared), (0..8).filter(|bit| bits >> bit & 1 == 1).collect()),
        _ => (None, None, Vec::new()),
    };
    let filler = match looks {
        Looks::Filled(text) if text.len() > 1 && text.is_ascii() => Some(escaped(&String::from_utf8_lossy(text))),
        Looks::Filled(bytes) => Some(bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))),
        _ => None,
    };
    let shifted_bytes = if let Looks::Shifted(by) = *looks { Some(by) } else { None };
    DamageReport { members: loser.members, looks: looks.word(), bits_set, bits_cleared, bits, filler, shifted_bytes }
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| MemberName::from(path).to_string())
}

/// Seconds and microseconds since 1970.
fn now() -> (u64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_micros())
}

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
    member::{Member, MemberName},
    report::{self, Look, Order, Report, events_of, last_events},
    scan::Findings,
    vote::Run,
};

/// Takes divergences as they are found, and the report at the end.
pub(super) struct Presenter<'a> {
    show: &'a ShowArgs,
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
    pub(super) fn new(show: &'a ShowArgs, members: &[&dyn Member]) -> Result<Self> {
        let file = show.report.as_deref().map(|target| ReportFile::new(target, members)).transpose();
        let file = file.with_context(|| format!("--report {}", shown(show.report.as_deref())))?;
        let names = members.iter().map(|member| member.name().to_string()).collect();
        Ok(Self { show, names, file, is_list: false, events: Output::new(), warned: Vec::new(), complaints: Vec::new() })
    }

    /// The report file may be the list that is read: a report of less doesn't take its place, since it could not be read like it.
    pub(super) fn reading(self, list: Option<&Path>) -> Self {
        let is_list = list.zip(self.show.report.as_deref()).is_some_and(|(list, report)| same_place(list, report));
        Self { is_list, ..self }
    }

    /// Takes a divergence.
    pub(super) fn divergence(&mut self, run: &Run, findings: &Findings) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let added = file.add(&findings.described(run));
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

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| MemberName::from(path).to_string())
}

/// Seconds and microseconds since 1970.
fn now() -> (u64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_micros())
}

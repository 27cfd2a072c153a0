//! What became of a new image, and the report of it.

use std::path::Path;

use super::{wish::Repair, writer::Writer};
use crate::{
    digest::{Sum, SumKind},
    member::{Member, MemberName},
    repair::{
        Earlier, RepairError,
        judge::{Stands, Weighing},
        refused::refused_report,
    },
    report::{Picked, RepairReport, Report, Span, sectors},
    scan::{Checked, Poll, Question, Weighed, make_report, structures},
    sys::storage::Origin,
    vote::{ByteRange, Fill},
};

/// The report of an image that is refused before anything is read: its output, whether it would be a qcow2 one, and `warnings`.
#[must_use]
pub fn refused_image(
    members: &[&dyn Member],
    question: &Question,
    poll: &Poll,
    (output, qcow2): (&Path, bool),
    warnings: Vec<String>,
    refusal: &RepairError,
) -> Report {
    let (output, format) = (MemberName::from(output).to_string(), format_name(qcow2));
    let repair = RepairReport { output, format, refused: Some(refusal.to_string()), ..RepairReport::default() };
    Report { repair: Some(repair), ..refused_report(members, question, poll, warnings, refusal) }
}

fn format_name(qcow2: bool) -> &'static str {
    if qcow2 { "qcow2" } else { "raw" }
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
    pub(super) sum: Option<Sum>,
    /// Whether the read-back came from the medium, past the page cache.
    pub(super) origin: Origin,
    /// Sectors outside of an earlier report's list that could not be read from the first member.
    pub(super) copied_from_others: u64,
    /// The guards that stand.
    pub(super) stands: Stands,
    /// Why nothing was kept, where one of them is heeded.
    pub(super) refused: Option<RepairError>,
    /// What failed: it is of no use then, or its name may be lost.
    pub(super) error: Option<RepairError>,
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
            sum: None,
            origin: Origin::Cache,
            copied_from_others: 0,
            stands: Stands::default(),
            refused: None,
            error: None,
        }
    }

    /// Where something failed it is of no use, and the vote is reported all the same.
    pub(super) fn heed(&mut self, result: Result<(), RepairError>) {
        if let Err(error) = result {
            self.fail(error);
        }
    }

    /// Likewise, by the error.
    pub(super) fn fail(&mut self, error: RepairError) {
        self.usable = false;
        self.verified = false;
        self.sum = None;
        self.error = Some(error);
    }

    /// Something was written: of use if it was complete, and no sector lacks its bytes.
    pub(super) fn by(writer: &Writer, checked: Checked, unfilled: u64) -> Self {
        Self { usable: checked.outcome.complete && unfilled == 0, bytes: writer.bytes_written(), ..Self::nothing(checked, unfilled) }
    }
}

impl Repair<'_> {
    /// Weighs what was voted before anything of it is kept: where a guard is heeded nothing is.
    pub(super) fn weigh(&self, written: &mut Written) {
        let ranges = self.ranges();
        written.stands = self.weighing(&ranges, &|| self.watch.stopped()).stands(&written.checked.outcome, &written.checked.findings);
        if let Err(refusal) = self.judge().heed(&written.stands.guards) {
            written.usable = false;
            written.refused = Some(refusal);
        }
    }

    /// Refuses what can't come to a good end, whatever is voted.
    pub(super) fn refuse_cuts(&self) -> Result<(), RepairError> {
        (self.phases)("looking behind the end", 0);
        self.judge().heed(&self.weighing(&[], &|| self.watch.stopped()).before_the_vote())
    }

    fn weighing<'a>(&'a self, ranges: &'a [ByteRange], stopped: &'a dyn Fn() -> bool) -> Weighing<'a> {
        let content = self.wish.earlier.as_ref().map_or(&[] as &[_], Earlier::content);
        let all = Weighing::all(self.members, self.question, &self.poll, self.evidence, stopped);
        Weighing { ranges, dependent: &self.wish.dependent, content, ..all }
    }

    /// The report where writing failed before the vote had come to its end: nothing of it is kept.
    pub(super) fn broken_off(&self, error: &RepairError, warnings: Vec<String>) -> Report {
        let (output, format) = (self.output_name().to_string(), format_name(self.wish.qcow2.is_some()));
        let repair = RepairReport { output, format, error: Some(error.to_string()), ..RepairReport::default() };
        Report { repair: Some(repair), ..refused_report(self.members, self.question, &self.poll, warnings, error) }
    }

    pub(super) fn report(&self, written: Written, mut warnings: Vec<String>) -> Report {
        if written.copied_from_others > 0 {
            warnings.push(format!(
                "{} that the earlier report doesn't list could not be read from the first member; another's were taken without a vote",
                sectors(written.copied_from_others)
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
            format: format_name(self.wish.qcow2.is_some()),
            written: written.usable,
            method: written.usable.then_some(written.method),
            base: written.base.filter(|_| written.usable),
            bytes_written: if written.usable || self.is_device() { written.bytes } else { 0 },
            verified: written.verified,
            verified_from: written.verified.then_some(written.origin.word()),
            composed_blocks: findings.composed_blocks(),
            fill: fill.filter(|_| filled),
            filled_sectors: if filled { undecided - written.unfilled.min(undecided) } else { 0 },
            filled: if filled { findings.undecided().into_iter().map(Span::from).collect() } else { Vec::new() },
            unfilled_sectors: written.unfilled,
            picked: picked.map(|&(range, member)| Picked { span: Span::from(range), member }).collect(),
            sha256: written.sum.as_ref().filter(|sum| sum.kind == SumKind::Sha256).map(|sum| sum.hex.clone()),
            blake3: written.sum.as_ref().filter(|sum| sum.kind == SumKind::Blake3).map(|sum| sum.hex.clone()),
            refused: written.refused.as_ref().map(ToString::to_string),
            error: written.error.as_ref().map(ToString::to_string),
        };
        let failed = written.error.as_ref().map(RepairError::exit_code);
        let proven = written.sum.is_some();
        let stopped = self.watch.stopped();
        let refused = written.refused.as_ref().map(RepairError::exit_code);
        let structures = structures(self.members, &|| stopped);
        let weighed = Weighed { structures, ..written.stands.reported(self.wish.forced) };
        let mut report = make_report("repair", self.members, self.question, &self.poll, written.checked, warnings, weighed);
        let settled = if undecided > 0 || section.unfilled_sectors > 0 { 2 } else { 0 };
        report.exit_code = match report.exit_code {
            130 if stopped || failed.is_none() => 130,
            code if failed.is_some() => failed.unwrap_or(code),
            _ if stopped && !section.written => 130,
            3 => 3,
            _ if refused.is_some() => refused.unwrap_or(2),
            _ if section.written && proven => 0,
            // All hold the same, and a digest that is heard something else.
            _ if report.heard.contradicted_chunks() > 0 => 2,
            _ => settled,
        };
        report.repair = Some(section);
        report
    }
}

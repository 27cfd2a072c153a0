//! Events in QMP's shape, QEMU's own among them (QEMU, qapi/block-core.json): what reads QEMU's events reads these.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Report, Status, harmless};
use crate::vote::{Run, Verdict, members_of};

/// What `reference` names in QEMU's `QUORUM_FAILURE`: there the quorum's device, here the vote of this program.
const REFERENCE: &str = "quorum-img";
/// The unit of QEMU's events in bytes, whatever the vote's is.
const UNIT: u64 = 512;

/// One event, without its time.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its name.
    pub event: &'static str,
    /// What it says.
    pub data: Value,
}

impl Event {
    /// A line of JSON with its end, and the time: seconds and microseconds since 1970. To be written in one go: several threads may tell events.
    #[must_use]
    pub fn line(&self, (seconds, microseconds): (u64, u32)) -> String {
        let timestamp = json!({ "seconds": seconds, "microseconds": microseconds });
        harmless::line(&json!({ "event": self.event, "data": self.data, "timestamp": timestamp })) + "\n"
    }
}

/// The events of one divergence: `QUORUM_REPORT_BAD` for each member that lost or can't be read, `QUORUM_FAILURE` where nobody won,
/// and `QUORUM_IMG_ABSENT` for each member that ends before.
///
/// A dissenter's event has no `error`, as in QEMU (`block/quorum.c`, `quorum_report_bad_versions`).
#[must_use]
pub fn events_of(run: &Run, names: &[String]) -> Vec<Event> {
    let (first, end) = (run.range.start / UNIT, run.range.end.div_ceil(UNIT));
    let place = json!({ "sector-num": first, "sectors-count": end - first });
    let with = |more: Value| {
        let mut data = place.clone();
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend(more);
        }
        data
    };
    let grouping = &run.vote.grouping;
    let mut events = Vec::new();
    let mut add = |event, data| events.push(Event { event, data });
    for member in members_of(grouping.unreadable()) {
        let error = "Input/output error"; // strerror(EIO), as QEMU says it
        add("QUORUM_REPORT_BAD", with(json!({ "type": "read", "error": error, "node-name": names[member] })));
    }
    for member in members_of(run.vote.dissenters() | grouping.fillers() | grouping.unstable()) {
        add("QUORUM_REPORT_BAD", with(json!({ "type": "read", "node-name": names[member] })));
    }
    for member in members_of(grouping.absent()) {
        add("QUORUM_IMG_ABSENT", with(json!({ "node-name": names[member] })));
    }
    if run.vote.verdict == Verdict::Undecided {
        add("QUORUM_FAILURE", with(json!({ "reference": REFERENCE })));
    }
    events
}

/// The events at the end: failed members, surplus, warnings, and the totals.
#[must_use]
pub fn last_events(report: &Report) -> Vec<Event> {
    let mut events = Vec::new();
    let mut add = |event, data| events.push(Event { event, data });
    for member in &report.members {
        if member.status == Status::Failed {
            add("QUORUM_IMG_MEMBER_FAILED", json!({ "node-name": member.name, "error": member.error }));
        }
        if member.surplus_bytes > 0 {
            add("QUORUM_IMG_SURPLUS", json!({ "node-name": member.name, "surplus-bytes": member.surplus_bytes }));
        }
    }
    for warning in &report.warnings {
        add("QUORUM_IMG_WARNING", json!({ "message": warning }));
    }
    let mut summary = serde_json::to_value(SummaryOf(report)).unwrap_or_default();
    if let Value::Object(summary) = &mut summary {
        let image = report.repair.as_ref().and_then(|repair| serde_json::to_value(repair).ok());
        let in_place = report.in_place.as_ref().and_then(|repair| serde_json::to_value(repair).ok());
        summary.extend(image.or(in_place).map(|repair| ("repair".to_owned(), repair)));
        if let Ok(Value::Object(heard)) = serde_json::to_value(&report.heard) {
            summary.extend(heard);
        }
        if !report.guards.is_empty() {
            summary.extend(serde_json::to_value(&report.guards).ok().map(|guards| ("guards".to_owned(), guards)));
        }
    }
    add("QUORUM_IMG_COMPLETED", summary);
    events
}

/// A report without its list.
struct SummaryOf<'a>(&'a Report);

impl Serialize for SummaryOf<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.0;
        json!({
            "command": report.command, "size": report.size, "sector-size": report.sector_size, "threshold": report.threshold,
            "verdict": report.verdict, "exit-code": report.exit_code, "partial": report.partial,
            "members": report.members, "sectors": report.sectors,
        })
        .serialize(serializer)
    }
}

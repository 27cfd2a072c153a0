//! What a set is, and what a run made of it.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    counted, human_size,
    styles::{BAD, GOOD, MEND},
};

/// What a run of a set adds to its report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct SetReport {
    /// As given, control characters escaped.
    pub name: String,
    /// The set's UUID.
    pub uuid: String,
    /// This run's number in its history.
    pub run: i64,
    /// The set's epoch after it.
    pub epoch: u64,
    /// What the set is in now: see `quorum-img-set(1)`.
    pub state: String,
    /// Parts of the image.
    pub parts: u64,
    /// Those of them that were checked in the pass that this run belongs to.
    pub parts_done: u64,
    /// Parts that somebody wrote to while they were checked: nothing is said of them.
    #[serde(skip_serializing_if = "super::member::is_zero")]
    pub parts_void: u64,
    /// Whether the pass is over: all of the image was checked.
    pub completed: bool,
    /// Parts that the set's own digest had a word on.
    #[serde(skip_serializing_if = "super::member::is_zero")]
    pub digest_parts: u64,
    /// Its members, in the order of the report's.
    pub members: Vec<SetMemberReport>,
}

/// What a run made of a member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct SetMemberReport {
    /// Its number in the report.
    pub index: usize,
    /// Its own UUID.
    pub uuid: String,
    /// Its state now.
    pub state: String,
    /// What it was before, where that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Why it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it had a ballot in this run.
    pub voted: bool,
    /// Sectors whose bytes became others though nobody wrote to its file: silent corruption.
    #[serde(skip_serializing_if = "super::member::is_zero")]
    pub silent_sectors: u64,
}

impl SetReport {
    /// In lines for people; `names` are the members'.
    #[must_use]
    pub fn lines(&self, names: &[&str]) -> Vec<String> {
        let progress = if self.completed {
            "all of the image was checked".to_owned()
        } else {
            format!("{} of {} of this pass done", self.parts_done, counted(self.parts, "part"))
        };
        let void = if self.parts_void > 0 { format!(", {} void: somebody wrote meanwhile", self.parts_void) } else { String::new() };
        let mut lines = vec![format!("set {}: {}; run {}, {progress}{void}", self.name, self.state, self.run)];
        for member in &self.members {
            let name = names.get(member.index).copied().unwrap_or_default();
            if member.silent_sectors > 0 {
                lines.push(format!(
                    "#{} {name}: silent corruption: {} became others, and nobody wrote to its file",
                    member.index,
                    super::sectors(member.silent_sectors)
                ));
            }
            if let (Some(was), Some(why)) = (&member.was, &member.why) {
                lines.push(format!("#{} {name}: {was} -> {}: {why}", member.index, member.state));
            }
        }
        lines
    }
}

/// What a set is, without a run.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct SetStatus {
    /// As given, control characters escaped.
    pub name: String,
    /// The set's UUID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// `ok`, `unchecked`, `suspect`, `undecided`, `degraded`, `contradicted`, `inquorate`, `disputed`, `unreadable`.
    pub state: &'static str,
    /// What that means.
    pub meaning: String,
    /// What to do; nothing where there is nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Bytes of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its epoch.
    pub epoch: u64,
    /// Ballots that a version needs.
    pub threshold: u64,
    /// Parts of the image.
    pub parts: u64,
    /// Those that were checked in the pass that goes on; all of them where none does.
    pub parts_done: u64,
    /// Parts of whose bytes the set has a digest.
    pub parts_hashed: u64,
    /// Sectors that nobody won when they were checked last.
    pub undecided_sectors: u64,
    /// Whether a run works on it now.
    pub running: bool,
    /// Its members.
    pub members: Vec<StatusMember>,
    /// The last run with which all of the image had been checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_completed: Option<SetRun>,
    /// The last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<SetRun>,
}

/// A member of a set.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct StatusMember {
    /// Its number.
    pub index: usize,
    /// Its name, control characters escaped.
    pub name: String,
    /// Its own UUID.
    pub uuid: String,
    /// Its state.
    pub state: &'static str,
    /// Since when (RFC 3339).
    pub since: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Sectors in which it was outvoted, since that was cleared.
    pub dissenting_sectors: u64,
    /// Sectors of it that couldn't be read.
    pub unreadable_sectors: u64,
    /// Sectors whose bytes became others though nobody wrote to its file.
    pub silent_sectors: u64,
    /// Sectors that were repaired.
    pub repaired_sectors: u64,
    /// Why it carries no mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmarked: Option<String>,
}

/// A run of a set.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct SetRun {
    /// Its number.
    pub run: i64,
    /// What it was.
    pub kind: String,
    /// When it began (RFC 3339).
    pub begun: String,
    /// When it ended; none where it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Seconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What came of it.
    pub outcome: String,
    /// Bytes of the image that were looked at.
    pub looked_bytes: u64,
    /// Sectors that differed and were decided.
    pub decided_sectors: u64,
    /// Sectors that nobody won.
    pub undecided_sectors: u64,
    /// Bytes written to members.
    pub written_bytes: u64,
    /// Whether all of the image had been checked with it.
    pub completed: bool,
    /// The journal of what it overwrote, as long as that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// What it made of members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<SetChange>,
    /// Where members dissented, as far as that is remembered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<SetPlace>,
}

/// A change of a member's state.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct SetChange {
    /// The member's name.
    pub member: String,
    /// What it was.
    pub was: String,
    /// What it became.
    pub became: String,
    /// Why.
    pub why: String,
}

/// A place where a member dissented.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct SetPlace {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// `dissents`, `unreadable`, `undecided`, `repaired`.
    pub kind: String,
    /// The member's name; none where nobody won.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// What is counted of members, with its heading.
type Column = (&'static str, fn(&StatusMember) -> u64);

impl SetStatus {
    /// Whether all is well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.state == "ok"
    }
}

/// Writes what a set is for people: one screen.
///
/// # Errors
/// What writing says.
pub fn render_status(status: &SetStatus, to: &mut dyn Write) -> io::Result<()> {
    let style = match status.state {
        "ok" => GOOD,
        "unchecked" | "suspect" | "degraded" => MEND,
        _ => BAD,
    };
    let mut line = |what: &str, value: &str| writeln!(to, "{what:>8}: {value}");
    line("set", &status.name)?;
    line("state", &format!("{style}{}{style:#}", status.state))?;
    if !status.meaning.is_empty() {
        line("means", &status.meaning)?;
    }
    if !status.action.is_empty() {
        line("action", &status.action)?;
    }
    if status.uuid.is_empty() {
        return Ok(());
    }
    if let Some(size) = status.size {
        let hashed = format!("digest of {} of {}", status.parts_hashed, counted(status.parts, "part"));
        line("image", &format!("{}, threshold {}, {hashed}", human_size(size), status.threshold))?;
    }
    match &status.last_completed {
        Some(run) => line("checked", &described(run))?,
        None => line("checked", "never as a whole")?,
    }
    if status.running || status.parts_done < status.parts {
        let now = if status.running { "a run works on it now: " } else { "" };
        line("pass", &format!("{now}{} of {} done", status.parts_done, counted(status.parts, "part")))?;
    }
    let last = status.last_run.as_ref().filter(|run| status.last_completed.as_ref().is_none_or(|completed| completed.run != run.run));
    if let Some(run) = last {
        line("last run", &described(run))?;
    }
    let columns: [Column; 4] = [
        ("DISSENTS", |member| member.dissenting_sectors),
        ("UNREADABLE", |member| member.unreadable_sectors),
        ("SILENT", |member| member.silent_sectors),
        ("REPAIRED", |member| member.repaired_sectors),
    ];
    let width = status.members.iter().map(|member| member.state.len()).max().unwrap_or(0).max(5);
    let mut head = format!("\n  {:>3}  {:width$}", "#", "STATE");
    for (name, _) in columns {
        let _ = write!(head, "  {name:>10}"); // a String takes all
    }
    writeln!(to, "{head}  MEMBER")?;
    for member in &status.members {
        let mut row = format!("  {:>3}  {:width$}", member.index, member.state);
        for (_, of) in columns {
            let _ = write!(row, "  {:>10}", of(member)); // likewise
        }
        writeln!(to, "{row}  {}", member.name)?;
        if member.state != "ok" && !member.why.is_empty() {
            writeln!(to, "       since {}: {}", member.since, member.why)?;
        }
        if let Some(why) = &member.unmarked {
            writeln!(to, "       carries no mark ({why}): known by its file and its contents alone")?;
        }
    }
    Ok(())
}

/// A run in a line.
fn described(run: &SetRun) -> String {
    let took = run.duration.map_or_else(String::new, |seconds| format!(", {}", super::duration(seconds as f64)));
    let when = run.ended.as_deref().unwrap_or(&run.begun);
    let code = run.exit_code.map_or_else(|| "under way".to_owned(), |code| format!("code {code}"));
    let outcome = if run.outcome.is_empty() { String::new() } else { format!(": {}", run.outcome) };
    format!("{when} (run {}, {}{took}, {code}){outcome}", run.run, run.kind)
}

/// Writes the history for people, the latest run last.
///
/// # Errors
/// What writing says.
pub fn render_history(runs: &[SetRun], to: &mut dyn Write) -> io::Result<()> {
    for run in runs {
        writeln!(to, "{}", described(run))?;
        for change in &run.changes {
            writeln!(to, "    {}: {} -> {}: {}", change.member, change.was, change.became, change.why)?;
        }
        for place in &run.places {
            let who = place.member.as_deref().unwrap_or("nobody won");
            writeln!(to, "    {:#x}, {}: {} {who}", place.offset, human_size(place.length), place.kind)?;
        }
        if let Some(journal) = &run.journal {
            writeln!(to, "    journal: {journal}")?;
        }
    }
    Ok(())
}

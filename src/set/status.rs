//! What a set is, told from its record alone.

use std::path::Path;

use super::{
    error::SetError,
    place::Place,
    record::{MemberRow, Record, RunRow},
    state::State,
};
use crate::{
    member::{MemberName, escaped},
    report::{SetRun, SetStatus, StatusMember, rfc3339_of},
    scan::majority,
};

/// What a set is; of one that can't be read, why.
#[must_use]
pub fn status_of(path: &Path) -> SetStatus {
    looked(path).unwrap_or_else(|error| {
        let error = error.to_string();
        let (what, way) = error.split_once("\nhint: ").unwrap_or((&error, ""));
        SetStatus {
            name: MemberName::from(path).to_string(),
            state: "unreadable",
            meaning: what.to_owned(),
            action: way.to_owned(),
            ..SetStatus::default()
        }
    })
}

fn looked(path: &Path) -> Result<SetStatus, SetError> {
    let place = Place::of(path)?;
    let record = Record::look(&place)?;
    let (rows, parts, policy) = (record.members()?, record.parts()?, record.policy()?);
    let size = record.fact::<i64>("size")?.map(|size| size.max(0).cast_unsigned());
    let pass = record.fact::<i64>("pass")?.unwrap_or(1);
    let count = size.map_or(0, |size| size.div_ceil(policy.part_bytes_of(size)));
    let state = set_state(&record)?;
    let quoted = place.name.quoted_word();
    let (meaning, action) = told(&record, &rows, state, &quoted)?;
    Ok(SetStatus {
        name: place.name.to_string(),
        uuid: record.uuid.to_string(),
        state,
        meaning,
        action,
        size,
        epoch: record.epoch()?,
        threshold: threshold(&record, &rows)? as u64,
        parts: count,
        parts_done: parts.iter().filter(|part| part.pass == pass).count() as u64,
        parts_hashed: parts.iter().filter(|part| part.digest.is_some()).count() as u64,
        undecided_sectors: record.undecided()?,
        running: place.is_taken(),
        members: rows.iter().enumerate().map(|(index, row)| member(index, row)).collect(),
        last_completed: record.last_completed()?.map(|run| shown_run(&run)),
        last_run: record.runs(1)?.first().map(shown_run),
    })
}

fn threshold(record: &Record, rows: &[MemberRow]) -> Result<usize, SetError> {
    Ok(record.policy()?.threshold.unwrap_or_else(|| majority(rows.len()).max(2)))
}

/// What a set is in: the words of [`SetStatus::state`].
///
/// # Errors
/// What SQLite says.
pub fn set_state(record: &Record) -> Result<&'static str, SetError> {
    let rows = record.members()?;
    let votes = rows.iter().filter(|row| row.state.votes()).count();
    let undecided = record.undecided()? > 0;
    let is = |state: State| rows.iter().any(|row| row.state == state);
    Ok(if record.fact::<String>("disputed")?.is_some() {
        "disputed"
    } else if votes < threshold(record, &rows)? || record.fact::<String>("too-few")?.is_some() {
        "inquorate"
    } else if record.fact::<i64>("contradicted")?.is_some() {
        "contradicted"
    } else if undecided {
        "undecided"
    } else if [State::Returning, State::Stale, State::Syncing, State::Failed].into_iter().any(is) {
        "degraded"
    } else if is(State::Suspect) {
        "suspect"
    } else if record.fact::<i64>("completed")?.is_none() {
        "unchecked"
    } else {
        "ok"
    })
}

/// What that means, and what to do.
fn told(record: &Record, rows: &[MemberRow], state: &str, set: &str) -> Result<(String, String), SetError> {
    let find = |state: State| rows.iter().position(|row| row.state == state);
    let text = |meaning: &str, action: String| (meaning.to_owned(), action);
    Ok(match state {
        "disputed" => {
            let why = record.fact::<String>("disputed")?.unwrap_or_default();
            let why = escaped(&why);
            (format!("the vote itself may be wrong ({why}): nobody's state changes until a person decides"), settling(record, rows, set)?)
        }
        "inquorate" => text(
            "fewer members vote, or could be reached, than a version needs: nothing that differs can be decided",
            if let Some(index) = find(State::Stale).or_else(|| find(State::Syncing)) {
                let right = whom_to_trust(rows, None);
                format!("quorum-img set resync {set} '#{index}' --trust {right}, if that one is right; else quorum-img set check {set}")
            } else {
                let own = find(State::Returning).map(|index| {
                    format!(
                        "; if all are there and differ, a person decides who is right: quorum-img set clear {set} '#{index}', for instance, lets that \
                         one vote again"
                    )
                });
                format!("bring members back, and quorum-img set check {set}{}", own.unwrap_or_default())
            },
        ),
        "undecided" => text(
            "there are places that no version won",
            format!(
                "quorum-img set check {set} --restart, and look at what it shows; a person decides: quorum-img set repair {set} --pick OFFSET:LENGTH=MEMBER"
            ),
        ),
        "contradicted" => text(
            "all members hold the same where the set's digest knows something else: it became another in all of them, or was written unseen",
            format!("look at what is there; if the members are right: quorum-img set clear --digest {set}, and quorum-img set check {set}"),
        ),
        "degraded" => match (find(State::Stale).or_else(|| find(State::Syncing)), find(State::Failed)) {
            (Some(index), _) => {
                text("a member is stale: it is compared, and has no vote", format!("quorum-img set resync {set} '#{index}'"))
            }
            (None, Some(index)) => {
                text("a member can't be read as what it is", format!("mend it, or quorum-img set replace {set} '#{index}' NEW"))
            }
            _ => text(
                "a member was away: it is compared, and votes again after a complete check without a difference",
                format!("bring it back, and quorum-img set check {set}"),
            ),
        },
        "suspect" => text("a member dissents; the others decide", format!("quorum-img set repair {set}")),
        "unchecked" => text("all of the image was never checked", format!("quorum-img set check {set}")),
        _ => text("all members agreed when they were checked last", String::new()),
    })
}

/// Whom a person may trust where too few vote, as an argument; `target` is to be written to.
#[must_use]
pub fn whom_to_trust(rows: &[MemberRow], target: Option<usize>) -> String {
    let others: Vec<usize> = (0..rows.len()).filter(|&index| target != Some(index) && rows[index].state.votes()).collect();
    match others[..] {
        // Of more than two the one that is left is no better than those that went.
        [only] if rows.len() == 2 => format!("'#{only}'"),
        _ => "MEMBER".to_owned(),
    }
}

/// What settles a dispute.
fn settling(record: &Record, rows: &[MemberRow], set: &str) -> Result<String, SetError> {
    let member = record.fact::<i64>("disputed-member")?.and_then(|id| rows.iter().position(|row| row.id == id));
    let word = record.fact::<String>("disputed-words")?.unwrap_or_else(|| "WORD".to_owned());
    let word = escaped(&word);
    let done = format!("quorum-img set clear {set} says that it is settled otherwise");
    let Some(index) = member else {
        return Ok(format!("find out who is right; quorum-img set resync {set} MEMBER --trust MEMBER copies that one; {done}"));
    };
    let write =
        if rows[index].state.votes() { format!("repair {set} --force {word}") } else { format!("resync {set} '#{index}' --force {word}") };
    Ok(format!(
        "if #{index} is right: quorum-img set resync {set} MEMBER --trust '#{index}', for each other member; if the others are: quorum-img set {write}; {done}"
    ))
}

fn member(index: usize, row: &MemberRow) -> StatusMember {
    StatusMember {
        index,
        name: row.shown().to_string(),
        uuid: row.uuid.to_string(),
        state: row.state.word(),
        since: time(row.since),
        why: row.why.clone(),
        dissenting_sectors: row.counters.dissenting,
        unreadable_sectors: row.counters.unreadable,
        silent_sectors: row.counters.silent,
        repaired_sectors: row.counters.repaired,
        unmarked: row.unmarked.clone(),
    }
}

/// A time as reports have it.
fn time(seconds: i64) -> String {
    rfc3339_of((seconds, 0)).unwrap_or_else(|| seconds.to_string())
}

/// A run as reports have it.
#[must_use]
pub fn shown_run(run: &RunRow) -> SetRun {
    SetRun {
        run: run.id,
        kind: run.kind.clone(),
        begun: time(run.begun),
        ended: run.ended.map(time),
        duration: run.ended.map(|ended| ended.saturating_sub(run.begun).max(0).cast_unsigned()),
        exit_code: run.exit_code,
        outcome: run.outcome.clone(),
        looked_bytes: run.looked,
        decided_sectors: run.decided,
        undecided_sectors: run.undecided,
        written_bytes: run.written,
        completed: run.completed,
        ..SetRun::default()
    }
}

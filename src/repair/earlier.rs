//! `--from`: an earlier report, and whether it still speaks of these members.

use std::{
    fs::{self, File},
    path::Path,
};

use super::{
    RepairError,
    judge::{Guard, Judge},
};
use crate::{
    member::{Member, MemberName, escaped},
    report::{Reported, SCHEMA, order_by_names, read_reported, rfc3339},
    scan::Poll,
    vote::ByteRange,
};

/// The way out where a report is of no use.
const AGAIN: &str = "make a new one: quorum-img check --report FILE MEMBER...";

/// Where an earlier check found differences.
#[derive(Debug)]
pub struct Earlier {
    report: MemberName,
    ranges: Vec<ByteRange>,
    /// What it wasn't able to look at, since it was interrupted.
    unseen: Vec<ByteRange>,
    /// For each member the bytes of its content, where the report tells.
    content: Vec<Option<u64>>,
    /// The first member that was modified since the report was made, and the first one of another size, in words.
    stale: Option<String>,
    resized: Option<String>,
}

impl Earlier {
    /// Reads the report at `path` and holds it against the members as they are now; see [`refuse_stale`](Self::refuse_stale).
    ///
    /// # Errors
    /// Where it is no whole report, or one of other members.
    pub fn read(path: &Path, members: &[&dyn Member], poll: &Poll) -> Result<Self, RepairError> {
        let report = MemberName::from(path);
        let unusable = |what: String, hint| RepairError::Earlier { report: report.clone(), what, hint };
        let read = fs::metadata(path)
            .and_then(|there| if there.is_file() { File::open(path) } else { Err(std::io::ErrorKind::InvalidInput.into()) });
        let file = read.map_err(|error| unusable(format!("can't be read: {error}"), "name a file that check --report wrote"))?;
        let mut reported = read_reported(file).map_err(|error| unusable(format!("is no report: {error}"), AGAIN))?;
        if let Some(what) = shortcoming(&reported, members.len(), poll) {
            return Err(unusable(what, AGAIN));
        }
        let names: Vec<String> = members.iter().map(|member| member.name().to_string()).collect();
        order_by_names(&names, &mut reported.members, |then| then.name.clone());
        let otherwise = members.iter().zip(&reported.members).find_map(|(member, then)| {
            let now = described(member.format(), member.snapshot());
            let then = escaped(&described(&then.format, then.snapshot.as_deref()));
            (now != then).then(|| format!("{} was read as {then} then, and is now as {now}", member.name()))
        });
        if let Some(what) = otherwise {
            return Err(unusable(what, "read them as they were read for it, or make a new one: quorum-img check --report FILE MEMBER..."));
        }
        let resized = members.iter().zip(&reported.members).find_map(|(member, then)| {
            let differs = member.size() != then.size;
            differs
                .then(|| format!("{} had {} bytes then ({}), and has {} now", member.name(), then.size, escaped(&then.name), member.size()))
        });
        let stale = members.iter().zip(&reported.members).find_map(|(member, then)| {
            let now = member.modified().and_then(rfc3339);
            let what = match now {
                None => "doesn't tell when it was modified, so nobody knows whether that was",
                Some(_) if now != then.modified => "was modified",
                Some(_) => return None,
            };
            Some(format!("{} {what} since it was made", member.name()))
        });
        let ranges = reported.listed.ranges.iter().map(|range| range.widened(u64::from(poll.sector), poll.size));
        let ranges = ByteRange::joined(ranges.filter(|range| !range.is_empty()));
        // What was looked at is a part from the start on.
        let seen = if reported.partial { reported.scanned_bytes.min(poll.size) } else { poll.size };
        let seen = seen - if seen < poll.size { seen % u64::from(poll.sector) } else { 0 };
        let unseen = if seen < poll.size { vec![ByteRange::new(seen, poll.size)] } else { Vec::new() };
        // Of a part it says nothing of the whole.
        let content = reported.members.iter().map(|member| member.content_bytes.filter(|_| unseen.is_empty())).collect();
        Ok(Self { report, ranges, unseen, content, stale, resized })
    }

    /// Refuses a report of members that have other sizes now, or, unless that is overridden, were modified since.
    ///
    /// # Errors
    /// The first such member.
    pub fn refuse_stale(&self, judge: Judge) -> Result<(), RepairError> {
        let refuse = |what: &String, hint| Err(RepairError::Earlier { report: self.report.clone(), what: what.clone(), hint });
        match (&self.resized, &self.stale) {
            (Some(what), _) => refuse(what, AGAIN),
            (None, Some(what)) if judge.heeds(Guard::Changed) => {
                refuse(what, "make a new one, or say --force changed where you know that what changed is listed")
            }
            _ => Ok(()),
        }
    }

    /// What became different since the report was made, in words.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.resized.as_deref().or(self.stale.as_deref())
    }

    /// What tells this list from others.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let bytes: Vec<u8> = self.ranges.iter().flat_map(|range| [range.start.to_le_bytes(), range.end.to_le_bytes()].concat()).collect();
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    /// For each member the bytes of its content, where it tells.
    #[must_use]
    pub fn content(&self) -> &[Option<u64>] {
        &self.content
    }

    /// What it lists, in whole sectors, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// What the check that it is of didn't come to, since it was interrupted.
    #[must_use]
    pub fn unseen(&self) -> &[ByteRange] {
        &self.unseen
    }

    /// What it can't call unanimous: what it lists, and what it didn't come to; ascending.
    #[must_use]
    pub fn open(&self) -> Vec<ByteRange> {
        let mut open: Vec<ByteRange> = self.ranges.iter().chain(&self.unseen).copied().collect();
        open.sort_unstable();
        ByteRange::joined(open)
    }

    /// What it calls unanimous, up to `size` bytes.
    #[must_use]
    pub fn others(&self, size: u64) -> Vec<ByteRange> {
        let mut at = 0;
        let mut others = Vec::new();
        for range in self.open() {
            if at < range.start {
                others.push(ByteRange::new(at, range.start));
            }
            at = range.end;
        }
        if at < size {
            others.push(ByteRange::new(at, size));
        }
        others
    }
}

/// What a member was read as, in words.
fn described(format: &str, snapshot: Option<&str>) -> String {
    match snapshot {
        Some(snapshot) => format!("{format}'s snapshot {snapshot}"),
        None => format.to_owned(),
    }
}

/// Why the report can't stand for a scan of these members, if it can't.
fn shortcoming(reported: &Reported, members: usize, poll: &Poll) -> Option<String> {
    if reported.schema != SCHEMA {
        return Some(format!("has schema {}, and this version reads {SCHEMA}", reported.schema));
    }
    if reported.error.is_some() {
        return Some("is of a run that failed".into());
    }
    if reported.unvoted {
        return Some("is of a run that was refused before it looked at anything".into());
    }
    let fillers = poll.fillers.given();
    if fillers < reported.fillers {
        return Some(format!(
            "was made with {} --filler and --mapfile options, and {fillers} are given now: what was never read would vote",
            reported.fillers
        ));
    }
    if reported.range.is_some() || reported.read_pattern != "quorum" {
        return Some("is of a check that didn't compare everything".into());
    }
    if reported.divergences_omitted > 0 {
        return Some(format!("leaves out {} divergences", reported.divergences_omitted));
    }
    if reported.sector_size != poll.sector || reported.size != poll.size {
        let (size, sector) = (reported.size, reported.sector_size);
        return Some(format!(
            "is of an image of {size} bytes in sectors of {sector}, and this is one of {} in sectors of {}",
            poll.size, poll.sector
        ));
    }
    // Every sector that isn't unanimous stands in the list: what doesn't would be taken from one member without a vote.
    let counted = reported.sectors.map(|sectors| sectors.decided.saturating_add(sectors.undecided));
    let listed = reported.listed.bytes.div_ceil(u64::from(reported.sector_size.max(1)));
    if counted.is_none_or(|counted| counted != listed) {
        let counted = counted.map_or_else(|| "no totals".to_owned(), |counted| format!("{counted} sectors that differ"));
        return Some(format!("contradicts itself: it counts {counted}, and lists {listed}"));
    }
    if reported.members.len() != members {
        return Some(format!("is of {} members, and {} are given", reported.members.len(), members));
    }
    None
}

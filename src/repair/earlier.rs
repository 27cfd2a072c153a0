//! `--from`: an earlier report, and whether it still speaks of these members.

use std::{
    fs::{self, File},
    path::Path,
};

use super::RepairError;
use crate::{
    member::{Member, MemberName},
    report::{Reported, SCHEMA, read_reported, rfc3339},
    scan::Poll,
    vote::ByteRange,
};

/// The way out where a report is of no use.
const AGAIN: &str = "make a new one: quorum-img check --report FILE MEMBER...";

/// Where an earlier check found differences.
#[derive(Debug)]
pub struct Earlier {
    ranges: Vec<ByteRange>,
}

impl Earlier {
    /// Reads the report at `path` and holds it against the members as they are now. With `changed` a member may have been modified
    /// since.
    ///
    /// # Errors
    /// Where it is no whole report, or one of other members.
    pub fn read(path: &Path, members: &[&dyn Member], poll: &Poll, changed: bool) -> Result<Self, RepairError> {
        let report = MemberName::from(path);
        let unusable = |what: String, hint| RepairError::Earlier { report: report.clone(), what, hint };
        let read = fs::metadata(path)
            .and_then(|there| if there.is_file() { File::open(path) } else { Err(std::io::ErrorKind::InvalidInput.into()) });
        let file = read.map_err(|error| unusable(format!("can't be read: {error}"), "name a file that check --report wrote"))?;
        let reported = read_reported(file).map_err(|error| unusable(format!("is no report: {error}"), AGAIN))?;
        if let Some(what) = shortcoming(&reported, members, poll) {
            return Err(unusable(what, AGAIN));
        }
        for (member, then) in members.iter().zip(&reported.members) {
            let now = member.modified().and_then(rfc3339);
            if !changed && (now.is_none() || now != then.modified) {
                let what =
                    if now.is_none() { "doesn't tell when it was modified, so nobody knows whether that was" } else { "was modified" };
                return Err(unusable(
                    format!("{} {what} since it was made", member.name()),
                    "make a new one, or say --force changed where you know that what changed is listed",
                ));
            }
        }
        let ranges = reported.ranges.iter().map(|range| range.widened(u64::from(poll.sector), poll.size));
        let mut joined: Vec<ByteRange> = Vec::new();
        for range in ranges.filter(|range| !range.is_empty()) {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Ok(Self { ranges: joined })
    }

    /// What it lists, in whole sectors, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// What it doesn't list, up to `size` bytes.
    #[must_use]
    pub fn others(&self, size: u64) -> Vec<ByteRange> {
        let mut at = 0;
        let mut others = Vec::new();
        for range in &self.ranges {
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

/// Why the report can't stand for a scan of these members, if it can't.
fn shortcoming(reported: &Reported, members: &[&dyn Member], poll: &Poll) -> Option<String> {
    if reported.schema != SCHEMA {
        return Some(format!("has schema {}, and this version reads {SCHEMA}", reported.schema));
    }
    if reported.partial || reported.range.is_some() || reported.read_pattern != "quorum" {
        return Some("is of a check that didn't compare everything".into());
    }
    if reported.divergences_omitted > 0 {
        return Some(format!("leaves out {} divergences", reported.divergences_omitted));
    }
    if reported.sector_size != poll.sector || reported.size != poll.size {
        return Some(format!("is of an image of {} bytes in sectors of {}", reported.size, reported.sector_size));
    }
    if reported.members.len() != members.len() {
        return Some(format!("is of {} members, and {} are given", reported.members.len(), members.len()));
    }
    members.iter().zip(&reported.members).find_map(|(member, then)| {
        (member.size() != then.size)
            .then(|| format!("{} had {} bytes then ({}), and has {} now", member.name(), then.size, then.name, member.size()))
    })
}

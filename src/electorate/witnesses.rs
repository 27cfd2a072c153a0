//! Digests among those who are named: which they are, and what their word is worth.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use super::given::Given;
use crate::{
    digest::{DigestError, DigestFile, Hearing, MAGIC, Source, Witness},
    member::{Member, MemberName, escaped},
    vote::{MEMBERS_MAX, mask_of, members_of},
};

/// What says that a name is a digest's.
const PREFIX: &[u8] = b"digest:";

/// Why digests can't vote.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// It is of no use.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// More than fit a vote.
    #[error("{0} digests can't vote: at most {MEMBERS_MAX} do\nhint: leave some out")]
    TooMany(usize),
}

/// Sorts digests out of those who are named: `digest:PATH`, or where no format is `stated`, a file that begins as one.
#[must_use]
pub fn sort_out(names: &[OsString], stated: bool) -> (Vec<OsString>, Vec<OsString>) {
    let is_digest = |name: &&OsString| {
        name.as_bytes().starts_with(PREFIX)
            || (!stated && matches!(Given::of(name), Given::Path { path, format: None } if begins_as_digest(&path)))
    };
    names.iter().cloned().partition(|name| !is_digest(&name))
}

/// Whether a file begins as a digest does.
#[must_use]
pub fn begins_as_digest(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    let regular = fs::metadata(path).is_ok_and(|there| there.is_file());
    regular && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}

/// Opens a digest.
///
/// # Errors
/// See [`DigestError`].
pub fn open_digest(name: &OsStr) -> Result<DigestFile, DigestError> {
    let digest = MemberName::new(name);
    let path = Path::new(OsStr::from_bytes(name.as_bytes().strip_prefix(PREFIX).unwrap_or(name.as_bytes())));
    // Opening a FIFO would wait for a writer.
    match fs::metadata(path).and_then(|there| if there.is_file() { File::open(path) } else { Err(std::io::ErrorKind::InvalidInput.into()) })
    {
        Ok(file) => DigestFile::open(digest, file),
        Err(error) => Err(DigestError::Io { digest, error }),
    }
}

/// Opens digests that are to vote beside these members: each origin is one witness, what one was made from is known, and so is whether a
/// member was modified since.
///
/// # Errors
/// See [`WitnessError`].
pub fn open_witnesses(names: &[OsString], members: &[&dyn Member]) -> Result<Hearing, WitnessError> {
    if names.len() > MEMBERS_MAX {
        return Err(WitnessError::TooMany(names.len()));
    }
    let digests = names.iter().map(|name| open_digest(name)).collect::<Result<Vec<DigestFile>, DigestError>>()?;
    let now: Vec<Source> = members.iter().map(|member| Source::of(*member)).collect();
    let groups = groups(&digests);
    let mut warnings = Vec::new();
    let mut witnesses: Vec<Witness> = Vec::new();
    for (digest, group) in digests.into_iter().zip(groups) {
        let (name, header) = (digest.name().clone(), digest.header().clone());
        let memory_of = match &header.maker.sources[..] {
            [alone] => mask_of((0..now.len()).filter(|&member| now[member].identity == alone.identity)),
            _ => 0,
        };
        for member in members_of(memory_of) {
            warnings.push(format!(
                "{name}: was made from {} alone: it is what that held then, and adds nothing to what it holds now",
                members[member].name()
            ));
        }
        if !header.geometry.hash.proves() {
            warnings.push(format!("{name}: is made of {}'s values: it names what differs, and has no vote", header.geometry.hash.name()));
        }
        if let Some(other) = witnesses.iter().find(|other| other.group == group) {
            warnings.push(format!("{name}: has the same origin as {}: both together are one witness", other.digest.name()));
        }
        let old = old(&name, &header.maker.sources, header.started, members, &now);
        warnings.extend(old.clone());
        witnesses.push(Witness { digest, group, memory_of, old });
    }
    Ok(Hearing { witnesses, warnings })
}

/// What is to be said of digests that vote alone, and have a source in common.
#[must_use]
pub fn same_origin(digests: &[DigestFile]) -> Vec<String> {
    let groups = groups(digests);
    let first = |index: usize| (0..index).find(|&other| groups[other] == groups[index]);
    let told = (0..digests.len()).filter_map(|index| Some((index, first(index)?)));
    told.map(|(index, other)| {
        format!("{}: was made from the same as {}: what both say one copy may have said", digests[index].name(), digests[other].name())
    })
    .collect()
}

/// For each digest a number that it shares with those of its origin: those that were made from the same, or have a source in common.
fn groups(digests: &[DigestFile]) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..digests.len()).collect();
    for (index, digest) in digests.iter().enumerate() {
        for other in 0..index {
            let (ours, theirs) = (digest.header(), digests[other].header());
            let shared = |source: &Source| theirs.maker.sources.iter().any(|its| its.identity == source.identity);
            if ours.origin == theirs.origin || ours.maker.sources.iter().any(shared) {
                let (from, to) = (groups[index], groups[other]);
                groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
            }
        }
    }
    groups
}

/// Why a digest may know only what stood there before: the first member that was modified since, or of which nobody can tell.
fn old(name: &MemberName, sources: &[Source], started: (i64, u32), members: &[&dyn Member], now: &[Source]) -> Option<String> {
    let readable = members.iter().zip(now).filter(|(member, _)| member.failure().is_none());
    readable.into_iter().find_map(|(member, now)| {
        if sources.iter().any(|then| then.is_untouched(now)) {
            return None;
        }
        let what = match now.modified {
            None => "doesn't tell when it was modified",
            Some(modified) if modified >= started => "was modified",
            Some(_) => return None,
        };
        Some(format!("{name}: {} {what} since it was made", escaped(&member.name().to_string())))
    })
}

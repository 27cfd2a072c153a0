//! Digests among those who are named: which they are, and what their word is worth.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::SystemTime,
};

use super::given::Given;
use crate::{
    digest::{DigestError, DigestFile, Header, Hearing, MAGIC, Source, Witness},
    member::{Member, MemberName},
    report::counted,
    sys::{served, storage::Storage},
    vote::{MEMBERS_MAX, mask_of, members_of},
};

/// Pages of a digest that are looked through beforehand: 256 MiB of them.
const LOOKED_AT_PAGES: u64 = 1 << 16;

/// Bytes that any digest may have.
const SMALL_BYTES: u64 = 1 << 20;

/// Bits of the magic in which a file may differ and still be a digest that is damaged, rather than a disk.
const DAMAGED_BITS_MAX: u32 = 4;

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

/// Sorts digests out of those who are named: `digest:PATH`, or a file that begins as one and isn't called a member (`raw:PATH`).
#[must_use]
pub fn sort_out(names: &[OsString]) -> (Vec<OsString>, Vec<OsString>) {
    let is_digest = |name: &&OsString| {
        name.as_bytes().starts_with(PREFIX)
            || match Given::of(name) {
                Given::Path { path, format: None } => asked(name, move || begins_as_digest(&path)).unwrap_or(false),
                _ => false,
            }
    };
    names.iter().cloned().partition(|name| !is_digest(&name))
}

/// Asks a file system that may be a server's, which may never answer: then the wait can be given up.
fn asked<T: Send + 'static>(name: &OsStr, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    served::call(&MemberName::new(name).to_string().into(), "opening", work)
}

/// Whether a file begins as a digest does, or nearly: a flipped bit makes no disk of one.
#[must_use]
pub fn begins_as_digest(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    let regular = fs::metadata(path).is_ok_and(|there| there.is_file());
    let read = regular && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    let differing: u32 = start.iter().zip(&MAGIC).map(|(a, b)| (a ^ b).count_ones()).sum();
    read && differing <= DAMAGED_BITS_MAX
}

/// Where a digest lies.
#[must_use]
pub fn digest_path(name: &OsStr) -> &Path {
    Path::new(OsStr::from_bytes(name.as_bytes().strip_prefix(PREFIX).unwrap_or(name.as_bytes())))
}

/// Opens a digest.
///
/// # Errors
/// See [`DigestError`].
pub fn open_digest(name: &OsStr) -> Result<DigestFile, DigestError> {
    let digest = MemberName::new(name);
    let path = digest_path(name).to_owned();
    // Opening a FIFO would wait for a writer.
    let open =
        move || fs::metadata(&path).and_then(|there| if there.is_file() { File::open(&path) } else { Err(ErrorKind::InvalidInput.into()) });
    match asked(name, open).unwrap_or_else(|why| Err(io::Error::new(ErrorKind::TimedOut, why))) {
        Ok(file) => DigestFile::open(digest, file),
        Err(error) => Err(DigestError::Io { digest, error }),
    }
}

/// Opens digests that are to vote beside these members: each origin is one witness, what one was made from is known, and so is whether a
/// member was modified since. `times` tells when they were, as far as that says something of what they hold; `clock` is in seconds since 1970.
///
/// # Errors
/// See [`WitnessError`].
pub fn open_witnesses(
    names: &[OsString],
    members: &[&dyn Member],
    times: &[Option<SystemTime>],
    clock: i64,
) -> Result<Hearing, WitnessError> {
    if names.len() > MEMBERS_MAX {
        return Err(WitnessError::TooMany(names.len()));
    }
    let digests = names.iter().map(|name| open_digest(name)).collect::<Result<Vec<DigestFile>, DigestError>>()?;
    let now: Vec<Source> = members.iter().zip(times).map(|(member, time)| Source::of(*member).modified_at(*time)).collect();
    let groups = groups(&digests);
    let mut warnings = Vec::new();
    let mut witnesses: Vec<Witness> = Vec::new();
    for (digest, group) in digests.into_iter().zip(groups) {
        let (name, header) = (digest.name().clone(), digest.header().clone());
        let memory_of = match &header.maker.sources[..] {
            // A copy with all its times, or the same one moved to another place, holds what that held.
            [alone] => mask_of((0..now.len()).filter(|&member| {
                let now = &now[member];
                now.identity == alone.identity || (now.modified.is_some() && now.modified == alone.modified && now.size == alone.size)
            })),
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
        let (old_for, old) = old(&name, &header, members, &now, clock);
        warnings.extend(old.clone());
        warnings.extend(oddities(&digest, members));
        let known = header.maker.sources.iter().any(|source| now.iter().any(|now| now.identity == source.identity));
        witnesses.push(Witness { digest, group, memory_of, old_for, old, known });
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
        format!(
            "{}: was made from the same as {}: what both say one copy may have said, so nobody is outvoted",
            digests[index].name(),
            digests[other].name()
        )
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

/// Whom a digest may know only as they were before, as a mask: those that were modified since, and those of which nobody can tell; and the
/// first of them in words.
fn old(name: &MemberName, header: &Header, members: &[&dyn Member], now: &[Source], clock: i64) -> (u64, Option<String>) {
    let (mut old_for, mut first, mut others) = (0, None, 0usize);
    for (index, (member, now)) in members.iter().zip(now).enumerate().filter(|(_, (member, _))| member.failure().is_none()) {
        let then = header.maker.sources.iter().find(|then| then.identity == now.identity);
        let who = member.name();
        let what = match (then, now.modified) {
            (Some(then), _) if then.is_untouched(now) => continue,
            (_, None) => format!("nobody can tell whether {who} was modified after {name} was made"),
            // Be it by an older copy that was put back.
            (Some(_), Some(_)) => format!("{who} isn't what it was when {name} was made"),
            (None, Some(_)) if header.started.0 > clock => {
                format!("{name} says that it was made in the future, so nobody can tell whether {who} was modified after that")
            }
            (None, Some(modified)) if modified >= header.started => format!("{who} was modified after {name} was made"),
            (None, Some(_)) if now.size != header.geometry.size => {
                format!("{name} was made of {} bytes, and {who} has {}", header.geometry.size, now.size)
            }
            (None, Some(_)) => continue,
        };
        old_for |= 1 << index;
        others += usize::from(first.is_some());
        first.get_or_insert(what);
    }
    let more = if others == 0 { String::new() } else { format!(" (so it is with {})", counted(others as u64, "more member")) };
    (old_for, first.map(|first| first + &more))
}

/// What else is odd about a digest.
#[must_use]
pub fn oddities(digest: &DigestFile, members: &[&dyn Member]) -> Vec<String> {
    let (header, mut odd) = (digest.header(), Vec::new());
    if header.pages <= LOOKED_AT_PAGES
        && let (pages @ 1.., chunks) = digest.damage()
    {
        odd.push(format!(
            "{}: is damaged: {pages} of its {} pages don't hold, so it has no word on {chunks} chunks",
            digest.name(),
            header.pages
        ));
    }
    let size = header.geometry.size;
    let length = Storage::length(digest.file()).unwrap_or(0);
    if length > size / 100 + SMALL_BYTES && !digest.name().as_os_str().as_bytes().starts_with(PREFIX) {
        odd.push(format!(
            "{}: is taken for a digest by its first bytes, and is large for one: if it is a disk, say raw:PATH",
            digest.name()
        ));
    }
    if !members.is_empty() && members.iter().all(|member| member.size() != size) {
        odd.push(format!("{}: is of an image of {size} bytes, and no member has so many: is it of this one?", digest.name()));
    }
    odd
}

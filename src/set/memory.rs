//! What a set knows of its image's bytes: a digest for each part, which speaks as long as nobody wrote to a member that votes.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{error::SetError, place::Place, record::PartRow, roster::Roster, state::Met};
use crate::{
    digest::{DigestFile, Geometry, HashKind, Header, Maker, Witness, merge},
    evidence::Uuid,
    member::MemberName,
    report::counted,
    vote::ByteRange,
};

/// Bytes of a chunk.
const CHUNK_BYTES: u64 = 64 << 10;
/// What names a part's digest.
const PREFIX: &str = "part-";

/// What tells whether members were written to.
#[derive(Clone, Debug)]
pub struct Now<'a> {
    /// Which boot of this machine it is; after another one, acknowledged writes can have left old times.
    pub boot: &'a str,
    /// Whether a person says that nobody wrote.
    pub assume_unwritten: bool,
}

/// What the set's digest has to say in a run.
#[derive(Debug, Default)]
pub struct Memory {
    /// It, as a witness; none where it knows nothing that it may say.
    pub witness: Option<Witness>,
    /// Parts, by number, that it speaks of.
    pub speaks: Vec<u64>,
    /// Why it is silent of others, in words.
    pub silent: Vec<String>,
}

/// Why a member of a part may have been written to since; none where it wasn't.
#[must_use]
pub fn touched(roster: &Roster, index: usize, part: &PartRow, now: &Now) -> Option<&'static str> {
    let seat = &roster.seats[index];
    let then = part.print_of(seat.row.id);
    let print = seat.fingerprint.as_ref();
    match (then, print) {
        (Some((then, _)), Some(print)) if now.assume_unwritten && then.may_be(print) => None,
        (Some((then, _)), Some(print)) if !then.is_same(print) => Some("was written to since"),
        _ if now.assume_unwritten => None,
        (_, None) => Some("is no file: nobody can tell whether it was written to"),
        (_, Some(print)) if print.untrusted.is_some() => Some("lies where times don't tell whether it was written to"),
        (None, _) => Some("wasn't there, or wasn't known well enough, when it was hashed"),
        (Some((_, boot)), _) if boot != now.boot || boot.is_empty() => Some(
            "may have been written to before this machine was started again: after a power cut times don't tell (--assume-unwritten says that \
                 nobody wrote)",
        ),
        _ => None,
    }
}

/// Why a member of a part takes the digest's word away there. Of one that has no vote only what is known of it does: that it was written to since.
fn silences(roster: &Roster, index: usize, part: &PartRow, now: &Now) -> Option<&'static str> {
    let seat = &roster.seats[index];
    let heard = seat.votes || (seat.met == Met::Read && seat.fingerprint.is_some() && part.print_of(seat.row.id).is_some());
    touched(roster, index, part, now).filter(|_| heard)
}

impl Memory {
    /// Gathers what may be said of the parts of an image of `size` bytes, where a version needs so many ballots.
    ///
    /// # Errors
    /// Where the set's folder can't be written to.
    pub fn gather(place: &Place, parts: &[PartRow], roster: &Roster, size: u64, now: &Now, needed: usize) -> Result<Self, SetError> {
        let (mut files, mut memory) = (Vec::new(), Self::default());
        // It is a witness among those who vote, and takes nobody's place.
        if (roster.voters().count_ones() as usize) < needed {
            memory.silent.extend(
                parts.iter().any(|part| part.digest.is_some()).then(|| "the set's digest is silent: too few members vote".to_owned()),
            );
            return Ok(memory);
        }
        let mut reasons: Vec<(usize, &'static str, u64)> = Vec::new();
        let (mut lost, mut lost_then) = (0u64, 0u64);
        for part in parts {
            let Some(name) = &part.digest else { continue };
            let why = (0..roster.seats.len()).find_map(|index| Some((index, silences(roster, index, part, now)?)));
            if let Some((index, why)) = why {
                match reasons.iter_mut().find(|(other, said, _)| *other == index && *said == why) {
                    Some((.., count)) => *count += 1,
                    None => reasons.push((index, why, 1)),
                }
                continue;
            }
            match open(place, name).filter(|digest| digest.geometry() == geometry(size) && digest.header().part == part.range) {
                Some(digest) => {
                    files.push(digest);
                    memory.speaks.push(part.number);
                    // Who lost there when it was hashed may be newer than what was hashed.
                    let lost = |index: &usize| part.of(roster.seats[*index].row.id).is_none_or(|there| there.differs);
                    lost_then |= crate::vote::mask_of((0..roster.seats.len()).filter(lost));
                }
                None => lost += 1,
            }
        }
        for (index, why, count) in reasons {
            let name = roster.seats[index].row.shown();
            memory.silent.push(format!("the set's digest is silent of {}: {name} {why}", counted(count, "part")));
        }
        if lost > 0 {
            memory.silent.push(format!(
                "the set's digest is silent of {}: its file is lost, damaged, or of another size of the image",
                counted(lost, "part")
            ));
        }
        if files.is_empty() {
            return Ok(memory);
        }
        let failed = |error| SetError::Io { path: MemberName::from(place.folder().as_path()), error };
        let storage = scratch(&place.folder()).map_err(failed)?;
        match merge(&files, &storage) {
            Ok(_) => {
                let name = MemberName::new(OsStr::new("the set's digest"));
                if let Ok(digest) = DigestFile::open(name, storage) {
                    let voters = roster.voters();
                    // Who doesn't vote may hold what was written since.
                    let all = crate::vote::mask_of(0..roster.seats.len());
                    memory.witness =
                        Some(Witness { digest, group: 0, memory_of: 0, old_for: (all & !voters) | lost_then, old: None, known: true });
                }
            }
            Err(error) => memory.silent.push(format!("the set's digest is silent: {error}")),
        }
        if memory.witness.is_none() {
            memory.speaks.clear();
        }
        Ok(memory)
    }
}

/// How a set's image is cut and hashed.
#[must_use]
pub fn geometry(size: u64) -> Geometry {
    Geometry { hash: HashKind::Blake3, chunk_bytes: CHUNK_BYTES, size }
}

/// What the digest of a part begins with. Whatever it knows at least two copies, or one and the digest before, agreed on.
#[must_use]
pub fn header(set: Uuid, size: u64, part: ByteRange, sector: u32) -> Header {
    Header {
        geometry: geometry(size),
        part,
        origin: set.bytes(),
        maker: Maker { sector, threshold: 2, options: format!("set {set}"), sources: Vec::new() },
        started: (0, 0),
        finished: (0, 0),
        pages: 0,
        values: 0,
        unknown: 0,
    }
}

/// Whether a name can be a part's digest's, in the set's folder: a record that was made up leads nowhere else.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.contains('/')
}

/// Opens a part's digest, if it is one.
fn open(place: &Place, name: &str) -> Option<DigestFile> {
    let path = is_plain(name).then(|| place.folder().join(name))?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path).ok()?;
    file.metadata().ok()?.is_file().then_some(())?;
    DigestFile::open(MemberName::from(path.as_path()), file).ok()
}

/// How many chunks of a part nothing is known of by its digest; none where there is no such digest.
#[must_use]
pub fn unknown_chunks(place: &Place, name: &str) -> Option<u64> {
    open(place, name).map(|digest| digest.header().unknown)
}

/// The name of the digest that a run makes of a part.
#[must_use]
pub fn file_name(part: u64, run: i64) -> String {
    format!("{PREFIX}{part:06}-{run}.qdg")
}

/// A file without a name in that folder.
///
/// # Errors
/// What the system says.
pub fn scratch(folder: &Path) -> std::io::Result<File> {
    let nameless = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(folder);
    nameless.or_else(|_| {
        // Some file systems have none.
        let path = folder.join(".scratch");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

/// Removes digests of parts that no part goes by any more.
pub fn tidy(place: &Place, parts: &[PartRow]) {
    let Ok(entries) = fs::read_dir(place.folder()) else { return };
    let known: HashSet<&str> = parts.iter().filter_map(|part| part.digest.as_deref()).collect();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if !known.contains(name) {
            let _ = fs::remove_file(entry.path()); // it is in nobody's way
        }
    }
}

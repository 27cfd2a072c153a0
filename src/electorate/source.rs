//! What a name leads to: the one place that knows the kinds of members apart.

use std::{ffi::OsStr, sync::Arc};

use super::{
    error::ElectorateError,
    foreign::elsewhere,
    given::{Format, Given},
    independence::DependenceError,
    locking::busy_device,
    roll::Roll,
};
use crate::member::{
    Cache, FailedMember, Member, MemberName, NbdMember, OpenError, RawMember,
    qcow2::{Caches, Opening, Qcow2Member, read_header, unsupported},
};
use crate::sys::{libnbd::NbdError, storage::Origin};

/// What a member's bytes come from; opened, and nothing read yet.
pub(super) enum Source {
    /// A file or device, whatever its format.
    File(Box<RawMember>),
    /// An export, which is what a guest sees.
    Export(Box<NbdMember>),
    /// Nothing, since it can't be opened: by its name, and why.
    Missing(MemberName, String),
}

impl Source {
    /// Opens what `given` means, called `name` by the user; `rewritten`: for writing, too. Adds what to warn about.
    pub(super) fn open(
        roll: &Roll,
        name: &OsStr,
        given: &Given,
        rewritten: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ElectorateError> {
        let name = MemberName::new(name);
        match given {
            Given::Nbd(uri) => {
                let stop = (roll.stop)().map_err(ElectorateError::Signals)?;
                let export = if rewritten { NbdMember::open_to_rewrite(name, uri, stop)? } else { NbdMember::open(name, uri, stop)? };
                warnings.extend(warnings_of_export(&export, rewritten, roll.cache));
                Ok(Self::Export(Box::new(export)))
            }
            Given::Path { path, .. } => {
                let cache = roll.cache;
                let opened = if rewritten { RawMember::open_to_rewrite(name, path, cache) } else { RawMember::open(name, path, cache) };
                let file = match opened {
                    Err(OpenError::Busy { member, rdev }) => return Err(busy_device(&member, rdev).into()),
                    Err(error @ OpenError::Open { .. }) if error.code() == Some(libc::ENOENT) => {
                        return Err(match elsewhere(&path.to_string_lossy()) {
                            Some(way) => ElectorateError::Elsewhere { member: MemberName::from(path.as_path()), way },
                            None => error.into(),
                        });
                    }
                    other => other?,
                };
                warnings.extend(warnings_of_file(&file, cache));
                Ok(Self::File(Box::new(file)))
            }
        }
    }

    /// Takes what can't be opened for a member that has failed.
    pub(super) fn missing(name: &OsStr, error: ElectorateError) -> Result<Self, ElectorateError> {
        match &error {
            ElectorateError::Open(OpenError::Open { error: why, .. }) if why.raw_os_error() != Some(libc::EMFILE) => {
                Ok(Self::Missing(MemberName::new(name), format!("can't be opened: {why}")))
            }
            ElectorateError::Export(why) if why.error != NbdError::Interrupted => {
                Ok(Self::Missing(MemberName::new(name), why.error.to_string()))
            }
            _ => Err(error),
        }
    }

    /// Whether it couldn't be opened.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(..))
    }

    pub(super) fn name(&self) -> &MemberName {
        match self {
            Self::File(file) => file.name(),
            Self::Export(export) => export.name(),
            Self::Missing(name, _) => name,
        }
    }

    pub(super) fn file(&self) -> Option<&RawMember> {
        match self {
            Self::File(file) => Some(file),
            Self::Export(_) | Self::Missing(..) => None,
        }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut RawMember> {
        match self {
            Self::File(file) => Some(file),
            Self::Export(_) | Self::Missing(..) => None,
        }
    }

    /// Whatever it was called, an export has one vote. Of different exports nobody can tell from here.
    pub(super) fn refuse_same_export(&self, earlier: &[Self]) -> Result<(), DependenceError> {
        let Self::Export(export) = self else { return Ok(()) };
        let same = |first: &&Self| matches!(first, Self::Export(first) if first.is_same_export(export));
        match earlier.iter().find(same) {
            Some(first) => {
                let how = "both addresses lead to one export of one server".into();
                Err(DependenceError { first: first.name().clone(), second: export.name().clone(), how })
            }
            None => Ok(()),
        }
    }

    /// The member that it is, of that format; `guessed`: nobody said so. Adds what to warn about.
    pub(super) fn into_member(
        self,
        roll: &Roll,
        format: Format,
        guessed: bool,
        caches: &Arc<Caches>,
        warnings: &mut Vec<String>,
    ) -> Result<Box<dyn Member>, ElectorateError> {
        let file = match (self, format) {
            (Self::Export(export), _) => return Ok(export),
            (Self::Missing(name, why), format) => return Ok(Box::new(FailedMember::missing(name, format.name(), why))),
            (Self::File(file), Format::Raw) => return Ok(file),
            (Self::File(file), Format::Qcow2) => *file,
        };
        let opening = Opening { cache: roll.cache, references: roll.references, snapshot: roll.snapshot, caches };
        let header = match read_header(&file) {
            Ok(header) => header,
            // The others may be read; where none can be, each is told of.
            Err(error) => return Ok(Box::new(FailedMember::new(file, format.name(), unsupported(&error)))),
        };
        let (member, told) = Qcow2Member::open(file, header, guessed, &opening)?;
        warnings.extend(told);
        Ok(Box::new(member))
    }
}

fn warnings_of_export(export: &NbdMember, rewritten: bool, cache: Cache) -> Vec<String> {
    let mut warnings = Vec::new();
    if rewritten {
        let facts = export.export();
        warnings.push(format!("{}: an export can't be locked: nobody can tell from here whether another program uses it", export.name()));
        if !facts.can_flush && !facts.can_fua {
            warnings.push(format!("{}: its server can't be told to make writes durable: a power cut there may lose them", export.name()));
        }
    }
    if cache == Cache::None {
        warnings.push(format!("{}: its server's cache can't be passed from here: the medium may hold something else", export.name()));
    }
    warnings
}

fn warnings_of_file(file: &RawMember, cache: Cache) -> Option<String> {
    use crate::member::Readable as _;
    (cache == Cache::None && file.origin() == Origin::Cache).then(|| {
        format!(
            "{}: its file system refuses direct I/O, so it is read through this machine's page cache: the medium may hold something else",
            file.name()
        )
    })
}

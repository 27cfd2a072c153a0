//! Where the output goes: settled, and what stands against it said, before anything is read.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::RepairError;
use crate::{
    member::{Member, MemberName, device_conflict, file_system_conflict},
    sys::{
        device::{self, Sysfs},
        storage::place_of,
    },
};

/// Refusals that the user overrode by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forced {
    /// An existing file is replaced.
    pub overwrite: bool,
    /// A block device is written to.
    pub device: bool,
    /// A threshold below the majority decides.
    pub minority: bool,
    /// Too little space, by all that is known.
    pub space: bool,
    /// Members that changed since the report of `--from` was made.
    pub changed: bool,
    /// Persistent bitmaps of images become stale.
    pub bitmaps: bool,
    /// A member that may be stale is rewritten.
    pub stale: bool,
    /// A member that may be the only one up to date is rewritten.
    pub newer: bool,
    /// Members that aren't independent decide.
    pub shared: bool,
}

/// Where the output goes.
pub enum Target {
    /// A new name in a folder.
    File {
        /// The folder.
        folder: PathBuf,
        /// The name in it.
        name: OsString,
        /// Whether a file of that name is to be replaced.
        replace: bool,
    },
    /// A block device, open for reading and writing, and for nobody else (`O_EXCL`).
    Device(File),
}

impl Target {
    /// Looks at what stands at `path`; `size` bytes are to be written.
    ///
    /// # Errors
    /// Where it is a member under any name, anything else than a file or a device, or there already and not forced.
    pub fn settle(path: &Path, size: u64, members: &[&dyn Member], forced: Forced) -> Result<Self, RepairError> {
        let output = MemberName::from(path);
        let refuse = |what: &str, hint| RepairError::Target { output: output.clone(), what: what.into(), hint };
        let failed = |doing: &str, error, hint| RepairError::Output { output: output.clone(), doing: doing.into(), error, hint };
        // Resolved here once; whatever the link says later is no matter.
        let resolved = if path.is_symlink() {
            fs::canonicalize(path).map_err(|error| failed("is a symbolic link that leads nowhere", error, "name the file itself"))?
        } else {
            path.to_owned()
        };
        let there = match fs::metadata(&resolved) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("can't be looked at", error, "choose another name")),
        };
        if let Some(kind) = there.as_ref().map(fs::Metadata::file_type) {
            let conflict = device_conflict(&resolved, members, &Sysfs::default());
            let conflict = conflict.map_err(|error| failed("can't be looked at", error, "choose another name"))?;
            if let Some(member) = conflict {
                return Err(refuse(
                    &format!("is the member {member}, or lies on it; a member is never its own output"),
                    "choose another name",
                ));
            }
            if kind.is_dir() {
                return Err(refuse("is a folder", "name a file in it"));
            }
            if kind.is_block_device() {
                return Self::device(&resolved, size, forced, &output);
            }
            if !kind.is_file() {
                return Err(refuse("is neither a file nor a block device", "choose another name"));
            }
            if !forced.overwrite {
                return Err(refuse("exists already", "choose another name, or say --force overwrite to replace it"));
            }
        }
        let Some((folder, name)) = place_of(&resolved) else {
            return Err(refuse("is no file's name", "name a file"));
        };
        let inside = file_system_conflict(folder, members, &Sysfs::default())
            .map_err(|error| failed("its folder can't be looked at", error, "make the folder first, or choose another"))?;
        if let Some(member) = inside {
            let what = format!("lies on a file system inside of the member {member}, which writing would change");
            return Err(refuse(&what, "choose a folder elsewhere"));
        }
        Ok(Self::File { folder: folder.to_owned(), name: name.to_owned(), replace: forced.overwrite })
    }

    fn device(path: &Path, needed: u64, forced: Forced, output: &MemberName) -> Result<Self, RepairError> {
        if !forced.device {
            return Err(RepairError::Target {
                output: output.clone(),
                what: "is a block device, whose contents would be overwritten".into(),
                hint: "say --force device where that is meant",
            });
        }
        // O_EXCL: refused where a file system, another device or a program holds it (open(2)).
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(path).map_err(|error| {
            let busy = error.raw_os_error() == Some(libc::EBUSY);
            let (doing, hint) = if busy {
                ("is in use", "unmount it, or stop what holds it")
            } else {
                ("can't be opened for writing", "run it as a user who may write to it")
            };
            RepairError::Output { output: output.clone(), doing: doing.into(), error, hint }
        })?;
        let size = device::size_bytes(&file).map_err(|error| RepairError::Output {
            output: output.clone(),
            doing: "its size can't be found out".into(),
            error,
            hint: "choose another device",
        })?;
        if size < needed {
            return Err(RepairError::Target {
                output: output.clone(),
                what: format!("holds {size} bytes, and the image has {needed}"),
                hint: "choose a larger device",
            });
        }
        Ok(Self::Device(file))
    }
}

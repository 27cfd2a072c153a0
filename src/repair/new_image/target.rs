//! Where the output goes: settled, and what stands against it said, before anything is read.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use crate::{
    electorate::{device_conflict, file_system_conflict},
    member::{Member, MemberName},
    repair::{
        RepairError,
        judge::{Judge, Occupant, capacity, surroundings},
    },
    sys::{
        device::{self, Sysfs},
        disk_file::DiskFile,
        storage::{Folder, Replace, Storage, place_of},
    },
};

/// Where the output goes.
pub enum Target {
    /// A new name in a folder.
    File {
        /// The folder.
        folder: Box<dyn Folder>,
        /// The name in it.
        name: OsString,
        /// Whether a file of that name is to be replaced.
        replace: Replace,
    },
    /// A block device, open for reading and writing, and for nobody else (`O_EXCL`).
    Device(Box<dyn Storage>),
}

impl Target {
    /// Looks at what stands at `path`; `size` bytes are to be written.
    ///
    /// # Errors
    /// Where it is a member under any name, anything else than a file or a device, or there already and not forced.
    pub fn settle(path: &Path, size: u64, members: &[&dyn Member], judge: Judge) -> Result<Self, RepairError> {
        let output = MemberName::from(path);
        let failed = |doing: &str, error, hint| RepairError::Output { output: output.clone(), doing: doing.into(), error, hint };
        // Resolved here once; whatever the link says later is no matter.
        let resolved = if path.is_symlink() {
            fs::canonicalize(path).map_err(|error| failed("is a symbolic link that leads nowhere", error, "name the file itself"))?
        } else {
            path.to_owned()
        };
        let stands = occupant(&resolved, members).map_err(|error| failed("can't be looked at", error, "choose another name"))?;
        judge.output(&output, &stands)?;
        if stands == Occupant::Device {
            return Self::device(&resolved, size, &output);
        }
        let Some((folder, name)) = place_of(&resolved) else {
            return Err(RepairError::Target { output, what: "is no file's name".into(), hint: "name a file" });
        };
        let inside = file_system_conflict(folder, members, &Sysfs::default()).map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::NotFound {
                "make the folder first, or choose another"
            } else {
                "choose another folder, or run it as a user who may look into this one"
            };
            failed("its folder can't be looked at", error, hint)
        })?;
        surroundings(&output, inside)?;
        Ok(Self::File { folder: Box::new(folder.to_owned()), name: name.to_owned(), replace: judge.replaces() })
    }

    fn device(path: &Path, needed: u64, output: &MemberName) -> Result<Self, RepairError> {
        let failed = |doing: &str, error, hint| RepairError::Output { output: output.clone(), doing: doing.into(), error, hint };
        let sizeless = |error| failed("its size can't be found out", error, "choose another device");
        let file = open_alone(path).map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => failed("is in use", error, "unmount it, or stop what holds it"),
            _ => failed("can't be opened for writing", error, "run it as a user who may write to it"),
        })?;
        capacity(output, device::size_bytes(&file).map_err(sizeless)?, needed)?;
        Ok(Self::Device(Box::new(DiskFile::new(file).map_err(sizeless)?)))
    }
}

/// Opens a device for nobody else: refused where a file system, another device or a program holds it (`O_EXCL`, open(2)).
fn open_alone(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(path)
}

/// What stands at `path`.
fn occupant(path: &Path, members: &[&dyn Member]) -> io::Result<Occupant> {
    let kind = match fs::metadata(path) {
        Ok(there) => there.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nothing),
        Err(error) => return Err(error),
    };
    Ok(match device_conflict(path, members, &Sysfs::default())? {
        Some(member) => Occupant::Member(member),
        None if kind.is_dir() => Occupant::Folder,
        None if kind.is_block_device() => Occupant::Device,
        None if kind.is_file() => Occupant::File,
        None => Occupant::Other,
    })
}

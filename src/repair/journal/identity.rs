//! What a journal tells its members by.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use super::format::Identity;
use crate::member::{HostFile, Member};

impl Identity {
    /// What tells a member from others, without samples: of an export, only its address, which is relative to the folder `here`, if to any.
    ///
    /// # Errors
    /// Where its file's name can't be followed any more.
    pub fn of(member: &dyn Member, here: Option<&Path>) -> io::Result<Self> {
        match (member.address(), member.files().first()) {
            (None, Some(file)) => Self::of_file(file),
            (address, _) => Ok(Self {
                path: absolute(address.unwrap_or_default(), here).into_bytes(),
                device: true,
                file_system: [0; 16],
                inode: 0,
                device_number: 0,
                size: member.size(),
                samples: Vec::new(),
                modified: None,
            }),
        }
    }

    /// The same of a file or device.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub fn of_file(file: &HostFile) -> io::Result<Self> {
        let path = fs::canonicalize(file.path())?;
        let (meta, device) = (file.metadata(), file.is_device());
        Ok(Self {
            path: path.as_os_str().as_bytes().to_vec(),
            device,
            file_system: file_system_of(file),
            inode: if device { 0 } else { meta.ino() },
            device_number: if device { meta.rdev() } else { meta.dev() },
            size: file.size(),
            samples: Vec::new(),
            modified: (!device).then(|| (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or(0))),
        })
    }
}

/// An address that means the same from every folder.
fn absolute(uri: &str, here: Option<&Path>) -> String {
    let Some((before, socket)) = uri.split_once("socket=") else { return uri.to_owned() };
    match here {
        Some(folder) if !socket.starts_with('/') && !socket.to_ascii_lowercase().starts_with("%2f") => {
            let escaped = folder.to_string_lossy().replace('%', "%25").replace('&', "%26").replace('#', "%23").replace(' ', "%20");
            format!("{before}socket={escaped}/{socket}")
        }
        _ => uri.to_owned(),
    }
}

/// What the file system that holds a member calls itself; zeros for a device, and where that isn't known.
#[must_use]
pub fn file_system_of(file: &HostFile) -> [u8; 16] {
    let mut id = [0; 16];
    if let (false, Ok(facts)) = (file.is_device(), nix::sys::statvfs::fstatvfs(file.file())) {
        id[..8].copy_from_slice(&facts.filesystem_id().to_le_bytes());
    }
    id
}

//! Why a file or device can't be a member.

use std::io;

use super::name::MemberName;

/// The way out for members that can't be written to.
const READ_ONLY: &str = "it can't be written to by this user or on this mount; --no-write lets it vote only";

/// The way out where a server doesn't know a file any more that this machine remembers.
pub const STALE_HANDLE: &str = "its server doesn't know it any more: unmount it, and mount it anew";

/// A member that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What the system said.
    #[error("{member}: can't be opened: {error}\nhint: {hint}")]
    Open {
        /// Which one.
        member: MemberName,
        /// The system's word.
        error: io::Error,
        /// The way out.
        hint: &'static str,
    },
    /// A device that something holds.
    #[error("{member}: the device is in use by a file system, another device or a program\nhint: unmount it, or stop what holds it")]
    Busy {
        /// Which one.
        member: MemberName,
        /// The device's number.
        rdev: u64,
    },
    /// Not a file that can hold a disk.
    #[error("{member}: is {kind}, not a disk image\nhint: members are regular files and block devices")]
    Kind {
        /// Which one.
        member: MemberName,
        /// What it is.
        kind: &'static str,
    },
}

impl OpenError {
    /// Nobody answered when it was opened, and nobody waits any more; why.
    #[must_use]
    pub(super) fn silent(member: MemberName, why: &str) -> Self {
        let error = io::Error::new(io::ErrorKind::TimedOut, why.to_owned());
        Self::Open { member, error, hint: "look at its server and its mount, or leave this copy out" }
    }

    /// Whether that is how it was.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        // The system's own word for it has a number.
        matches!(self, Self::Open { error, .. } if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none())
    }

    /// What is in the way, without the name and the way out.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Open { error, .. } => error.to_string(),
            Self::Busy { .. } => "the device is in use".into(),
            Self::Kind { kind, .. } => format!("it is {kind}, not a disk image"),
        }
    }

    /// The system's error number, where it was the system.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        if let Self::Open { error, .. } = self { error.raw_os_error() } else { None }
    }
}

/// What the system said, with the way out.
pub(super) fn failed_to_open(name: &MemberName, error: io::Error, writes: bool) -> OpenError {
    let hint = match error.kind() {
        _ if error.raw_os_error() == Some(libc::EMFILE) => "raise the limit of open files (ulimit -n), or name fewer members",
        _ if error.raw_os_error() == Some(libc::ESTALE) => STALE_HANDLE,
        io::ErrorKind::NotFound if name.to_string().starts_with("nbd:") => {
            "an export is named nbd://HOST:PORT/NAME, or nbd+unix:///NAME?socket=PATH"
        }
        io::ErrorKind::NotFound => "check the spelling; a copy that is lost is left out, and the threshold is set for those that are left",
        io::ErrorKind::PermissionDenied if writes => READ_ONLY,
        io::ErrorKind::PermissionDenied => "run it as a user who may read the image",
        io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
        _ => "leave this copy out, or make it readable first",
    };
    OpenError::Open { member: name.clone(), error, hint }
}

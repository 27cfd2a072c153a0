//! What a digest was made from: who it was, and how to tell that nothing was written to it since.

use std::{
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    time::SystemTime,
};

use nix::sys::statvfs::fstatvfs;

use crate::{
    member::{HostFile, Member},
    sys::mount::{Mount, host_name, network},
};

/// A member that a digest was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Tells its storage from others', whatever it holds: see [`identity`](Self::identity).
    pub identity: [u8; 16],
    /// Bytes that a guest saw.
    pub size: u64,
    /// When it was last modified, in seconds and nanoseconds since 1970; none where nobody knows.
    pub modified: Option<(i64, u32)>,
    /// Its format then.
    pub format: String,
    /// Its name as it was given, as bytes.
    pub name: Vec<u8>,
}

impl Source {
    /// A member as it is now.
    #[must_use]
    pub fn of(member: &dyn Member) -> Self {
        Self::unmodified(member).modified_at(member.modified())
    }

    fn unmodified(member: &dyn Member) -> Self {
        Self {
            identity: Self::identity(member),
            size: member.size(),
            modified: None,
            format: member.format().to_owned(),
            name: member.name().as_os_str().as_bytes().to_vec(),
        }
    }

    /// The same, last modified at that time.
    #[must_use]
    pub fn modified_at(self, time: Option<SystemTime>) -> Self {
        let modified = time.and_then(|time| {
            let time = jiff::Timestamp::try_from(time).ok()?;
            // Nanoseconds count upward, before 1970 too.
            let (second, nano) = (time.as_second(), time.subsec_nanosecond());
            Some(if nano < 0 { (second - 1, (nano + 1_000_000_000).cast_unsigned()) } else { (second, nano.cast_unsigned()) })
        });
        Self { modified, ..self }
    }

    /// Tells a member's storage from others', whatever it holds and however it is called: of a file its file system (of a network's, the
    /// server and the folder) and inode, of a device its number and this machine, of an export its address.
    #[must_use]
    pub fn identity(member: &dyn Member) -> [u8; 16] {
        let text = match (member.address(), member.files().first()) {
            (None, Some(file)) if file.is_device() => format!("device {} {}", host_name(), file.metadata().rdev()),
            (None, Some(file)) => format!("file {} {}", file_system(file), file.metadata().ino()),
            (address, _) => format!("export {}", address.unwrap_or_default()),
        };
        let mut identity = [0; 16];
        identity.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        identity
    }

    /// What a digest of these tells itself from others by: version 8 of RFC 9562, made of their identities in whatever order.
    #[must_use]
    pub fn origin(sources: &[Self]) -> [u8; 16] {
        let mut identities: Vec<[u8; 16]> = sources.iter().map(|source| source.identity).collect();
        identities.sort_unstable();
        let mut origin = [0; 16];
        origin.copy_from_slice(&blake3::hash(&identities.concat()).as_bytes()[..16]);
        origin[6] = origin[6] & 0x0f | 0x80;
        origin[8] = origin[8] & 0x3f | 0x80;
        origin
    }

    /// Whether another one is the same, and nothing was written to it in between.
    #[must_use]
    pub fn is_untouched(&self, now: &Self) -> bool {
        self.identity == now.identity && self.size == now.size && self.modified.is_some() && self.modified == now.modified
    }
}

/// What a file's file system calls itself.
fn file_system(file: &HostFile) -> String {
    if network(file.file()).is_some()
        && let Some(mount) = Mount::of(file.file())
    {
        return format!("{} {}", mount.source, mount.root);
    }
    fstatvfs(file.file()).map_or_else(|_| String::new(), |facts| format!("{:x}", facts.filesystem_id()))
}

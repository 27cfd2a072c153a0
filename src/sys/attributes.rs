//! Extended attributes of open files, and what tells whether a file was touched.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    time::UNIX_EPOCH,
};

use nix::sys::statfs::fstatfs;
use serde::{Deserialize, Serialize};
use xattr::FileExt as _;

use super::mount::Mount;

/// An attribute that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Its bytes.
    Value(Vec<u8>),
    /// The file has none of that name.
    Nothing,
    /// There is no room for attributes of users there: on devices (xattr(7)), FAT, NFS before 4.2.
    Unsupported,
}

/// Reads an attribute.
///
/// # Errors
/// What the system says.
pub fn attribute(file: &File, name: &str) -> io::Result<Attribute> {
    if cannot_have(file)? {
        return Ok(Attribute::Unsupported);
    }
    match file.get_xattr(name) {
        Ok(Some(value)) => Ok(Attribute::Value(value)),
        Ok(None) => Ok(Attribute::Nothing),
        Err(error) if is_unsupported(&error) => Ok(Attribute::Unsupported),
        Err(error) => Err(error),
    }
}

/// Writes an attribute, or takes it away where `value` is none; false where there can't be any.
///
/// # Errors
/// What the system says.
pub fn set_attribute(file: &File, name: &str, value: Option<&[u8]>) -> io::Result<bool> {
    if cannot_have(file)? {
        return Ok(false);
    }
    let done = match value {
        Some(value) => file.set_xattr(name, value),
        None => file.remove_xattr(name).or_else(|error| if error.raw_os_error() == Some(libc::ENODATA) { Ok(()) } else { Err(error) }),
    };
    match done {
        Err(error) if is_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
        Ok(()) => file.sync_all().map(|()| true),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

/// User attributes are refused to what isn't a file or a folder, by EPERM, which means other things, too (xattr(7)).
fn cannot_have(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.file_type().is_block_device())
}

/// What tells a file from any other of its file system, for good: numbers of inodes are given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// Its number.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970; none where the file system doesn't say (statx(2), `stx_btime`).
    pub born: Option<i64>,
}

impl FileId {
    /// Of an open file.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let since = meta.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self { inode: meta.ino(), born: since.and_then(|since| i64::try_from(since.as_nanos()).ok()) })
    }

    /// Whether nothing tells them apart.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        self.inode == other.inode && self.born.zip(other.born).is_none_or(|(own, other)| own == other)
    }
}

/// Has what programs wrote to a file's pages go to its file system: only the first write to a mapped page after that moves the file's times
/// (Linux, `page_mkwrite` of each file system).
///
/// # Errors
/// What the system says.
pub fn write_back(file: &File) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the file stays open for the call, which takes numbers alone and touches no memory of ours.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a file system says of a file at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fingerprint {
    /// Length in bytes.
    pub size: u64,
    /// When its bytes were modified, in nanoseconds since 1970.
    pub modified: i128,
    /// When anything of it was changed; likewise.
    pub changed: i128,
    /// Its number in its file system.
    pub inode: u64,
    /// Why its times don't tell whether it was written to; none where they do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub untrusted: Option<String>,
}

/// File systems of this machine whose change time moves with every write (statfs(2), linux/magic.h). Not tmpfs: what is written through a mapping
/// leaves its times as they are.
const TRUSTED: [(i64, &str); 3] = [(0xef53, "ext4"), (0x5846_5342, "XFS"), (0x9123_683e, "btrfs")];

impl Fingerprint {
    /// Of an open file.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Ok(Self {
            size: meta.len(),
            modified: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            untrusted: if meta.is_file() { untrusted(file)? } else { Some("it is no regular file".into()) },
        })
    }

    /// Whether it is of the same file, and that was perhaps not written to: its change time moves with its mode and its marks, too.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        (self.size, self.modified, self.inode) == (other.size, other.modified, other.inode)
    }

    /// Whether it is of the same file, and that wasn't written to in between.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.size, self.modified, self.changed, self.inode) == (other.size, other.modified, other.changed, other.inode)
    }
}

fn untrusted(file: &File) -> io::Result<Option<String>> {
    let magic = i64::from(u32::try_from(fstatfs(file)?.filesystem_type().0 & 0xffff_ffff).unwrap_or(0));
    if !TRUSTED.iter().any(|(number, _)| *number == magic) {
        return Ok(Some("its file system isn't one whose change times are relied on".into()));
    }
    let Some(mount) = Mount::of(file) else { return Ok(Some("how it is mounted can't be told".into())) };
    let lazy = mount.options.iter().any(|option| option == "lazytime");
    Ok(lazy.then(|| "it is mounted with lazytime".into()))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, thread::sleep, time::Duration};

    use super::{Attribute, FileId, Fingerprint, attribute, set_attribute, write_back};

    #[test]
    fn attributes_come_and_go() {
        let file = tempfile::NamedTempFile::new_in(".").expect("a temporary file");
        let opened = fs::File::open(file.path()).expect("it is there");
        let name = "user.quorum-img-test";
        match attribute(&opened, name).expect("it can be asked") {
            Attribute::Unsupported => return eprintln!("SKIPPED: attributes_come_and_go: there are none here"),
            there => assert_eq!(there, Attribute::Nothing),
        }
        assert!(set_attribute(&opened, name, Some(b"x")).expect("it can be written to by its owner"));
        assert_eq!(attribute(&opened, name).expect("it can be asked"), Attribute::Value(b"x".to_vec()));
        assert!(set_attribute(&opened, name, None).expect("it can be taken away"));
        assert!(set_attribute(&opened, name, None).expect("twice, too"));
        assert_eq!(attribute(&opened, name).expect("it can be asked"), Attribute::Nothing);
    }

    #[test]
    fn files_are_told_apart() {
        let files = [(); 2].map(|()| tempfile::NamedTempFile::new_in(".").expect("a temporary file"));
        let [one, other] = files.each_ref().map(|file| FileId::of(file.as_file()).expect("it can be asked"));
        assert!(one.may_be(&one) && !one.may_be(&other));
        // The same number again, and another birth.
        let again = FileId { inode: one.inode, born: Some(1) };
        assert_eq!(one.may_be(&again), one.born.is_none());
        assert!(one.may_be(&FileId { inode: one.inode, born: None }), "nothing is known of it");
    }

    #[test]
    fn pages_are_written_back() {
        let mut file = tempfile::NamedTempFile::new_in(".").expect("a temporary file");
        file.write_all(b"a").expect("it can be written to");
        let read_only = fs::File::open(file.path()).expect("it is there");
        write_back(&read_only).expect("a file that is open for reading will do");
    }

    #[test]
    fn a_write_through_a_mapping_is_seen_once_the_page_went_back() {
        let mut file = tempfile::NamedTempFile::new_in(".").expect("a temporary file");
        file.write_all(&[0; 4096]).expect("it can be written to");
        let of = |file: &tempfile::NamedTempFile| Fingerprint::of(file.as_file()).expect("it can be asked");
        if of(&file).untrusted.is_some() {
            return eprintln!("SKIPPED: a_write_through_a_mapping_is_seen_once_the_page_went_back: its times aren't relied on");
        }
        // SAFETY: the file is ours alone, and nobody cuts it.
        let mut mapped = unsafe { memmap2::MmapMut::map_mut(file.as_file()) }.expect("it can be mapped");
        mapped[5] = 1;
        write_back(file.as_file()).expect("it is open");
        let before = of(&file);
        sleep(Duration::from_millis(20));
        mapped[5] = 2;
        assert!(!before.is_same(&of(&file)));
    }

    #[test]
    fn a_device_has_none() {
        let null = fs::File::open("/dev/null").expect("it is everywhere");
        assert!(Fingerprint::of(&null).expect("it can be asked").untrusted.is_some());
    }

    #[test]
    fn a_write_is_seen() {
        let mut file = tempfile::NamedTempFile::new_in(".").expect("a temporary file");
        file.write_all(b"a").expect("it can be written to");
        let of = |file: &tempfile::NamedTempFile| Fingerprint::of(file.as_file()).expect("it can be asked");
        let before = of(&file);
        assert!(before.is_same(&of(&file)));
        sleep(Duration::from_millis(20));
        file.write_all(b"b").expect("it can be written to");
        assert!(!before.is_same(&of(&file)));
    }
}

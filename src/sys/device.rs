//! Block devices: size, block sizes, and what lies beneath them (by /sys, see Linux' Documentation/ABI/stable/sysfs-block).

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};

mod ioctls {
    nix::ioctl_read!(blkgetsize64, 0x12, 114, u64);
    nix::ioctl_read_bad!(blksszget, 0x1268, i32);
    nix::ioctl_read_bad!(blkpbszget, 0x127b, u32);
    nix::ioctl_read_bad!(blkroget, 0x125e, i32);
    nix::ioctl_read_bad!(loop_get_status64, 0x4c05, super::LoopInfo);
}

/// `struct loop_info64` (Linux, include/uapi/linux/loop.h) up to what is used here, in 64-bit words; it has 29 of them.
type LoopInfo = [u64; 29];

/// What the loop device of that name rests on: device and inode of a file, or the number of a device.
fn loop_target(name: &OsStr) -> Option<(u64, u64, u64)> {
    let file = File::open(Path::new("/dev").join(name)).ok()?;
    let mut info: LoopInfo = [0; 29];
    // SAFETY: LOOP_GET_STATUS64 writes a `struct loop_info64` of 232 bytes, as long as `info`.
    unsafe { ioctls::loop_get_status64(file.as_raw_fd(), &raw mut info) }.ok()?;
    Some((info[0], info[1], info[2]))
}

/// A block device's size in bytes.
///
/// # Errors
/// Where the ioctl fails.
pub fn size_bytes(file: &File) -> io::Result<u64> {
    let mut size = 0;
    // SAFETY: BLKGETSIZE64 writes 8 bytes, whatever the type in its number says.
    unsafe { ioctls::blkgetsize64(file.as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// Logical block size in bytes: the smallest read that the device does.
///
/// # Errors
/// Where the ioctl fails.
pub fn logical_block_bytes(file: &File) -> io::Result<u32> {
    let mut size = 0;
    // SAFETY: BLKSSZGET writes an int.
    unsafe { ioctls::blksszget(file.as_raw_fd(), &raw mut size) }?;
    u32::try_from(size).map_err(io::Error::other)
}

/// Physical block size in bytes: what the device writes at a time without reading first.
///
/// # Errors
/// Where the ioctl fails.
pub fn physical_block_bytes(file: &File) -> io::Result<u32> {
    let mut size = 0;
    // SAFETY: BLKPBSZGET writes an unsigned int.
    unsafe { ioctls::blkpbszget(file.as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// Whether a block device takes no writes, though it can be opened for them.
#[must_use]
pub fn is_read_only(file: &File) -> bool {
    let mut locked = 0;
    // SAFETY: BLKROGET writes an int.
    unsafe { ioctls::blkroget(file.as_raw_fd(), &raw mut locked) }.is_ok() && locked != 0
}

/// Where the kernel shows its devices; tests put a folder of their own in its place.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { root: PathBuf::from("/sys") }
    }
}

/// What a block device rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beneath {
    /// Part of the device `rdev`, or of a file: `start` bytes in, and so long.
    Part {
        /// The device beneath.
        rdev: u64,
        /// Bytes from its start.
        start: u64,
        /// Length in bytes.
        length: u64,
    },
    /// A loop device's file or device by its number, `start` bytes in; `length` 0 means up to its end.
    Inode {
        /// The file system's device number, or 0 where it rests on a device.
        dev: u64,
        /// The file's inode.
        ino: u64,
        /// The device that it rests on, or 0 where it is a file.
        rdev: u64,
        /// Bytes from its start.
        start: u64,
        /// Length in bytes, 0 for all the rest.
        length: u64,
    },
    /// A loop device's file, `start` bytes in; `length` 0 means up to its end.
    File {
        /// The file's path as the kernel knows it.
        path: PathBuf,
        /// Bytes from its start.
        start: u64,
        /// Length in bytes, 0 for all the rest.
        length: u64,
    },
    /// Somewhere on the device (device-mapper, md): which part can't be seen here.
    Somewhere {
        /// The device beneath.
        rdev: u64,
    },
}

impl Sysfs {
    /// A tree of another root, for tests.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The device's folder, for instance `/sys/dev/block/7:0`.
    fn folder(&self, rdev: u64) -> PathBuf {
        self.root.join(format!("dev/block/{}:{}", major(rdev), minor(rdev)))
    }

    /// A line that the kernel shows of the device, for instance `queue/rotational`.
    #[must_use]
    pub fn fact(&self, rdev: u64, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder(rdev).join(name)).ok()?;
        let text = text.trim_end_matches('\n').to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// A fact that is yes or no.
    #[must_use]
    pub fn flag(&self, rdev: u64, name: &str) -> Option<bool> {
        self.fact(rdev, name).map(|text| text.trim() == "1")
    }

    /// What the device rests on, one step down; empty for a disk.
    #[must_use]
    pub fn beneath(&self, rdev: u64) -> Vec<Beneath> {
        let folder = self.folder(rdev);
        let number = |name| self.fact(rdev, name).and_then(|text| text.parse::<u64>().ok());
        if let Some(path) = self.fact(rdev, "loop/backing_file") {
            let (start, length) = (number("loop/offset").unwrap_or(0), number("loop/sizelimit").unwrap_or(0));
            // The path is what it was called once; the numbers are what it is.
            if let Some((dev, ino, rdev)) = fs::canonicalize(&folder).ok().and_then(|folder| loop_target(folder.file_name()?)) {
                return vec![Beneath::Inode { dev, ino, rdev, start, length }];
            }
            return vec![Beneath::File { path: PathBuf::from(path), start, length }];
        }
        if number("partition").is_some() {
            // "start" and "size" count 512-byte units, whatever the device's blocks are.
            let bytes = |name| number(name).unwrap_or(0).saturating_mul(512);
            let parent = fs::canonicalize(&folder).ok().and_then(|folder| number_in(folder.parent()?));
            return parent.map(|rdev| Beneath::Part { rdev, start: bytes("start"), length: bytes("size") }).into_iter().collect();
        }
        let slaves = fs::read_dir(folder.join("slaves")).into_iter().flatten().flatten();
        slaves.filter_map(|slave| Some(Beneath::Somewhere { rdev: number_in(&slave.path())? })).collect()
    }

    /// The names of the loop devices that rest on the file with these numbers (of its file system and its own).
    #[must_use]
    pub fn loops_over(&self, dev: u64, ino: u64) -> Vec<String> {
        let devices = fs::read_dir(self.root.join("block")).into_iter().flatten().flatten();
        let names = devices.map(|entry| entry.file_name()).filter(|name| name.as_encoded_bytes().starts_with(b"loop"));
        let over = names.filter(|name| {
            loop_target(name).map_or_else(
                // Whoever may not open it sees at least the path that it was set up with.
                || {
                    use std::os::unix::fs::MetadataExt;
                    let path = fs::read_to_string(self.root.join("block").join(name).join("loop/backing_file")).unwrap_or_default();
                    fs::metadata(path.trim_end_matches('\n')).is_ok_and(|there| (there.dev(), there.ino()) == (dev, ino))
                },
                |target| target == (dev, ino, 0),
            )
        });
        over.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// The devices on top of it: its partitions, and what is built on it.
    #[must_use]
    pub fn above(&self, rdev: u64) -> Vec<u64> {
        let folder = self.folder(rdev);
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
        let partitions = entries(&folder).into_iter().filter(|path| path.join("partition").exists());
        partitions.chain(entries(&folder.join("holders"))).filter_map(|path| number_in(&path)).collect()
    }

    /// Programs' view of what holds the device: file systems and devices above it that the kernel knows of.
    #[must_use]
    pub fn holders(&self, rdev: u64) -> Vec<String> {
        let holders = fs::read_dir(self.folder(rdev).join("holders")).into_iter().flatten().flatten();
        holders.map(|holder| holder.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// The device number that a device's folder tells in its file `dev`.
fn number_in(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?))
}

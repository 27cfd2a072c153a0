//! What btrfs tells of itself (Linux, include/uapi/linux/btrfs.h): its device numbers in `stat` are its own inventions.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

mod ioctls {
    nix::ioctl_read!(fs_info, 0x94, 31, [u8; 1024]);
    nix::ioctl_readwrite!(dev_info, 0x94, 30, [u8; 4096]);
}

/// Device ids looked at: they are handed out in ascending order, and few are ever used.
const DEVICES_MAX: u64 = 256;
/// Where `struct btrfs_ioctl_dev_info_args` has the device's path, behind 8 + 16 + 8 + 8 + 16 bytes and 377 words.
const PATH_AT: usize = 56 + 377 * 8;

/// What tells one btrfs from another: the start of its file system's id.
///
/// # Errors
/// Where it isn't btrfs.
pub fn id(file: &File) -> io::Result<u64> {
    Ok(word(&info(file)?, 16)) // behind max_id and num_devices
}

/// The devices that the file system of `file` lies on, by their paths; none where it isn't btrfs.
#[must_use]
pub fn devices(file: &File) -> Vec<PathBuf> {
    let Ok(info) = info(file) else { return Vec::new() };
    let ids = 1..=word(&info, 0).min(DEVICES_MAX);
    ids.filter_map(|id| {
        let mut device = [0; 4096];
        device[..8].copy_from_slice(&id.to_ne_bytes());
        // SAFETY: BTRFS_IOC_DEV_INFO reads and writes a structure of 4096 bytes.
        unsafe { ioctls::dev_info(file.as_raw_fd(), &raw mut device) }.ok()?;
        let path = device[PATH_AT..].split(|&byte| byte == 0).next()?;
        (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
    })
    .collect()
}

fn info(file: &File) -> io::Result<[u8; 1024]> {
    let mut info = [0; 1024];
    // SAFETY: BTRFS_IOC_FS_INFO writes a structure of 1024 bytes.
    unsafe { ioctls::fs_info(file.as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

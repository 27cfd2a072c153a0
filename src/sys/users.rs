//! Who uses a block device: what is mounted from it, and which processes have it open. Image locks don't reach through another node of
//! the same device.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use nix::sys::stat::{major, minor};

use super::{
    device::{Beneath, Sysfs},
    locks::Holder,
};

/// Devices over devices that are looked at; more are never stacked.
const DEVICES_MAX: usize = 64;

/// What is known of a device's users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// What is mounted from it or built on it, in words: "it is mounted on /srv".
    pub mounted: Vec<String>,
    /// Who has it open, in words: "process 12 (qemu-system-x86_64 ...) has it open".
    pub open: Vec<String>,
    /// Whether there are processes whose open files this user may not see.
    pub hidden: bool,
}

impl Users {
    /// All of them in one line; empty where there are none.
    #[must_use]
    pub fn in_words(&self) -> String {
        self.mounted.iter().chain(&self.open).cloned().collect::<Vec<_>>().join(", ")
    }
}

/// Looks for users of the device with that number, of one on top of it, and of the disk that it is a part of.
#[must_use]
pub fn of_device(rdev: u64, sysfs: &Sysfs) -> Users {
    let mut devices = vec![rdev];
    let mut next = 0;
    while next < devices.len() && devices.len() < DEVICES_MAX {
        devices.extend(sysfs.above(devices[next]));
        next += 1;
    }
    let mut users = Users::default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for &device in &devices {
        let number = format!("{}:{}", major(device), minor(device));
        let points = mounts.lines().filter_map(|line| mount_point(line, &number));
        users.mounted.extend(points.map(|point| format!("it is mounted on {point}")));
        users.mounted.extend(sysfs.holders(device).iter().map(|holder| format!("the device {holder} is built on it")));
    }
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let mut swapped = swaps.lines().skip(1).filter_map(|line| fs::metadata(line.split_whitespace().next()?).ok());
    if swapped.any(|meta| devices.contains(&meta.rdev())) {
        users.mounted.push("the system swaps to it".into());
    }
    let disk = |beneath| if let Beneath::Part { rdev, .. } = beneath { Some(rdev) } else { None };
    let disks: Vec<u64> = sysfs.beneath(rdev).into_iter().filter_map(disk).collect();
    processes(&devices, &disks, &mut users);
    users
}

/// The mount point of a line of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`), where it is of that device.
fn mount_point<'a>(line: &'a str, number: &str) -> Option<&'a str> {
    let mut words = line.split(' ');
    let found = words.nth(2)?;
    (found == number).then_some(words.nth(1)?)
}

/// Processes that have one of the devices open, or one of the disks that hold them, for writing.
fn processes(devices: &[u64], disks: &[u64], users: &mut Users) {
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in numbers.filter(|&pid| pid != own) {
        let folder = Path::new("/proc").join(pid.to_string());
        let Ok(files) = fs::read_dir(folder.join("fd")) else {
            // One that has ended hides nothing.
            users.hidden |= folder.exists();
            continue;
        };
        let has_one = files.flatten().any(|file| {
            let meta = fs::metadata(file.path()).ok().filter(|meta| meta.file_type().is_block_device());
            meta.is_some_and(|meta| {
                devices.contains(&meta.rdev()) || (disks.contains(&meta.rdev()) && writes(&folder.join("fdinfo").join(file.file_name())))
            })
        });
        if has_one {
            let Holder { pid, command } = Holder::of(pid);
            users.open.push(format!("process {pid} ({command}) has it open"));
        }
    }
}

/// Whether a file is open for writing, by its line `flags:` in octal (`proc_pid_fdinfo(5)`).
fn writes(fdinfo: &Path) -> bool {
    let text = fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = text.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::mount_point;

    #[test]
    fn mounts_are_told_by_their_device() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mount_point(line, "98:0"), Some("/mnt2"));
        assert_eq!(mount_point(line, "98:1"), None);
        assert_eq!(mount_point("", "98:0"), None);
    }
}

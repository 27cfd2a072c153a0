//! An XFS file system in a file, since its files can share blocks (clones), as those of ext4 can't. Root's alone.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    data,
    machine::{self, Outcome},
};

/// A mounted file system. Nothing is left of it when this goes, also where making it failed half-way.
pub struct Xfs {
    image: PathBuf,
    mount: PathBuf,
    /// The loop device, until the kernel has been told to free it with the mount.
    device: Option<String>,
}

impl Xfs {
    /// Makes and mounts one with room for `size_bytes` below `dir`.
    pub fn new(dir: &Path, size_bytes: u64) -> Outcome<Self> {
        if !machine::is_root() {
            return Err("mounting is root's".into());
        }
        let mut xfs = Self { image: dir.join("race-xfs.img"), mount: dir.join("race-xfs"), device: None };
        _ = machine::run("umount", [&xfs.mount]); // an earlier race may have been killed
        fs::create_dir_all(&xfs.mount)?;
        // The log, the allocation groups, and more than mkfs.xfs' least size.
        File::create(&xfs.image)?.set_len(size_bytes + (1 << 30))?;
        let image = xfs.image.to_str().ok_or("the folder's name is not text")?.to_owned();
        machine::run("mkfs.xfs", ["-q", "-f", "-m", "reflink=1", &image])?;
        // Direct: or everything would sit in the page cache twice. Where the file's own system can't, twice it is.
        let attach = |options: &[&str]| machine::run("losetup", ["--find", "--show"].iter().chain(options).chain(&[image.as_str()]));
        let device = attach(&["--direct-io=on"]).or_else(|_| attach(&[]))?;
        xfs.device = Some(device.clone());
        machine::run("mount", [device.as_ref(), xfs.mount.as_os_str()])?;
        // From now on the device goes with the mount, and the file's blocks with the device, whatever becomes of us.
        machine::run("losetup", ["-d", &device])?;
        xfs.device = None;
        fs::remove_file(&xfs.image)?;
        Ok(xfs)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        // Not mounted is fine here; still in use is not, but then lazily is the best that can be done.
        if machine::run("umount", [&self.mount]).is_err() {
            _ = machine::run("umount", ["-l".as_ref(), self.mount.as_os_str()]);
        }
        if let Some(device) = &self.device {
            _ = machine::run("losetup", ["-d", device]);
        }
        _ = data::remove_if_there(&self.image);
        if let Err(error) = fs::remove_dir(&self.mount) {
            eprintln!("race: {}: {error}", self.mount.display());
        }
    }
}

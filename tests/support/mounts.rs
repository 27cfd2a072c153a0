//! File systems and loop devices of a test's own; they are undone when dropped, even on panic.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// Whether we are root, as mounting asks for; says aloud what is skipped where not.
pub fn is_root(what_for: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        super::skip(&format!("{what_for} needs root"));
    }
    root
}

/// Whether we have the kernel's leave to mount; says aloud what is skipped where not.
pub fn may_mount(what_for: &str) -> bool {
    // Root in a container is seldom given it. capabilities(7): CAP_SYS_ADMIN is bit 21.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    is_root(what_for)
        && (effective.is_some_and(|bits| (bits >> 21) & 1 == 1) || super::skip(&format!("{what_for} needs the capability SYS_ADMIN")))
}

/// Whether mount(8) will work; says aloud what is skipped where not.
pub fn can_mount(what_for: &str) -> bool {
    may_mount(what_for) && super::needs("mount")
}

/// Runs a tool that must succeed, and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Unmounts; a reader that was just killed may need a moment to let go of its files.
pub fn unmount(point: &Path) {
    if super::tool_path("umount").is_none() {
        return; // what FUSE serves ends with its session
    }
    for _ in 0..20 {
        if Command::new("umount").arg(point).output().is_ok_and(|output| output.status.success()) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = Command::new("umount").arg("-l").arg(point).output();
}

/// A mounted file system.
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// XFS that can share extents between files (`mkfs.xfs` wants 300 MiB; almost all of it stays a hole).
    pub fn xfs(folder: &Path) -> Option<Self> {
        Self::on_image(folder, "xfs", 320, &["mkfs.xfs", "-q", "-m", "reflink=1"])
    }

    /// btrfs, which can share extents too.
    pub fn btrfs(folder: &Path) -> Option<Self> {
        Self::on_image(folder, "btrfs", 256, &["mkfs.btrfs", "-q"])
    }

    /// ext4, which can't.
    pub fn ext4(folder: &Path, size_mib: u64) -> Option<Self> {
        Self::on_image(folder, "ext4", size_mib, &["mkfs.ext4", "-q", "-m", "0"])
    }

    fn on_image(folder: &Path, kind: &str, size_mib: u64, mkfs: &[&str]) -> Option<Self> {
        if !can_mount(&format!("mounting {kind}")) || !super::needs(mkfs[0]) || !kernel_has(kind) || !has_loop_devices() {
            return None;
        }
        let image = folder.join(format!("{kind}.fs"));
        fs::File::create_new(&image).and_then(|file| file.set_len(size_mib << 20)).expect("a sparse file can be made");
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image));
        Some(Self::mount(folder, kind, &["-o", "loop", "-t", kind], &image))
    }

    /// A tmpfs that is soon full. None, said aloud, where we may not.
    pub fn tmpfs(folder: &Path, size_bytes: u64) -> Option<Self> {
        can_mount("mounting a tmpfs").then(|| {
            let size = format!("size={size_bytes}");
            Self::mount(folder, "tmpfs", &["-t", "tmpfs", "-o", &size], Path::new("tmpfs"))
        })
    }

    /// Mounts what a loop device or an image holds.
    pub fn mount(folder: &Path, name: &str, options: &[&str], source: &Path) -> Self {
        let point = folder.join(format!("{name}.mounted"));
        fs::create_dir(&point).expect("the mount point is new");
        run(Command::new("mount").args(options).arg(source).arg(&point));
        Self { point }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// A file on it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Bytes that are taken on it. What was written is brought to the disk first, so that they are counted.
    pub fn used_bytes(&self) -> u64 {
        run(Command::new("sync").arg("-f").arg(&self.point));
        let printed = run(Command::new("df").args(["--output=used", "-B1"]).arg(&self.point));
        printed.lines().last().and_then(|line| line.trim().parse().ok()).expect("df prints a number")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.point);
    }
}

/// Whether the kernel can mount it; says aloud where not.
fn kernel_has(kind: &str) -> bool {
    let known = |kind: &str| fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.split_whitespace().any(|word| word == kind));
    // Where it is a module, mount loads it by itself, but only modprobe tells beforehand.
    let has = known(kind) || Command::new("modprobe").arg(kind).output().is_ok_and(|output| output.status.success());
    if !has {
        super::skip(&format!("this kernel has no {kind}"));
    }
    has
}

/// Whether there are loop devices; says aloud where not.
fn has_loop_devices() -> bool {
    Path::new("/dev/loop-control").exists() || super::skip("there is no /dev/loop-control")
}

/// A loop device over a file.
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Over all of `file`. None, said aloud, where we may not.
    pub fn new(file: &Path) -> Option<Self> {
        Self::with(file, &[])
    }

    /// With options of losetup(8).
    pub fn with(file: &Path, options: &[&str]) -> Option<Self> {
        if !may_mount("a loop device") || !super::needs("losetup") || !has_loop_devices() {
            return None;
        }
        let path = run(Command::new("losetup").args(["--find", "--show"]).args(options).arg(file));
        Some(Self { path: path.into() })
    }

    /// The device's node.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).output();
    }
}

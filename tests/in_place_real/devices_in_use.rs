//! Devices that somebody else uses: no lock tells, so mounts and everybody's open files are looked at.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{
    Set, alone_with_loop_devices,
    devices::Devices,
    repair,
    support::{
        MIB,
        mounts::{Mounted, run as shell},
        needs, skip,
    },
    undo, wait_until,
};

/// A user who is not root.
const USER: u32 = 65534;

/// A program that has a device open for reading and writing, without locks or `O_EXCL`.
struct Opener(Child);

impl Opener {
    fn of(device: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<>\"$1\"; exec sleep 1000", "sh"]).arg(device).stdin(Stdio::null());
        let child = command.spawn().expect("sh starts");
        let name = format!("/proc/{}/comm", child.id());
        wait_until("the device is open", || fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep"));
        Self(child)
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another node of the same device, in the lab.
fn second_node(devices: &Devices, index: usize) -> Option<PathBuf> {
    let number = fs::metadata(devices.nodes[index].path()).expect("a node").rdev();
    let node = devices.set.lab.path(format!("node-{index}"));
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    shell(Command::new("mknod").arg(&node).args(["b", &major.to_string(), &minor.to_string()]));
    // A file system that is mounted with nodev has nodes that open nothing.
    (fs::metadata(&node).expect("it was made").file_type().is_block_device() && fs::File::open(&node).is_ok()
        || skip("nodes open nothing here"))
    .then_some(node)
}

#[test]
fn a_device_that_is_open_elsewhere_is_in_use() {
    let _alone = alone_with_loop_devices();
    let Some(devices) = Devices::new() else { return };
    let opener = Opener::of(devices.nodes[1].path());
    let name = devices.nodes[1].path().display().to_string();
    let id = format!("process {}", opener.0.id());
    devices.set.refuses(devices.repair(), 4, &[&name, &id, "sleep"]);
    // There is no word against that.
    devices.set.refuses(devices.repair().args(["--force", "device"]), 4, &[&name, &id, "sleep"]);
    drop(opener);
    let run = devices.repair().exits(0);
    devices.flush();
    devices.set.assert_repaired(&run);

    let opener = Opener::of(devices.nodes[1].path());
    let id = format!("process {}", opener.0.id());
    devices.set.refuses(undo(&devices.set.lab, &devices.journal()), 4, &[&name, &id, "sleep"]);
    drop(opener);
    let run = undo(&devices.set.lab, &devices.journal()).exits(0);
    devices.flush();
    devices.set.assert_as_before(&run);
}

/// The device counts, not its name.
#[test]
fn a_device_that_is_open_by_another_node_is_in_use() {
    let _alone = alone_with_loop_devices();
    let Some(devices) = Devices::new() else { return };
    let Some(node) = second_node(&devices, 2) else { return };
    let opener = Opener::of(&node);
    devices.set.refuses(devices.repair(), 4, &[&format!("process {}", opener.0.id())]);
    drop(opener);
    devices.repair().exits(0);
}

/// A member that only votes may be read by others.
#[test]
fn a_device_that_is_not_written_may_be_open() {
    let _alone = alone_with_loop_devices();
    let Some(devices) = Devices::new() else { return };
    let name = devices.nodes[1].path().display().to_string();
    let reader = fs::File::open(&name).expect("root can");
    let run = devices.repair().args(["--no-write", &name]).exits(1);
    drop(reader);
    devices.flush();
    super::assert_holds(&devices.set.members[0], &devices.set.original, &run);
    super::assert_holds(&devices.set.members[1], &devices.set.damaged[1], &run);
}

/// Three copies of a small file system, one of them mounted.
#[test]
fn a_mounted_device_is_in_use() {
    let _alone = alone_with_loop_devices();
    if !needs("mkfs.ext4") {
        return;
    }
    let lab = super::support::Lab::new();
    let image = lab.sparse("ext4.img", 8 * MIB);
    shell(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
    let original = lab.bytes(&image);
    let mut wrong = original.clone();
    wrong[5 << 20..(5 << 20) + 512].fill(0x55);
    let set = Set::of(original.clone(), [original.clone(), wrong.clone(), original]);
    let Some(devices) = Devices::over(set) else { return };
    for (index, options) in [(1, "rw"), (1, "ro"), (0, "rw")] {
        let device = devices.nodes[index].path();
        let mounted = Mounted::mount(lab.folder(), &format!("on-{index}-{options}"), &["-t", "ext4", "-o", options], device);
        let run = devices.repair().exits(4);
        run.complains(&device.display().to_string()).complains(&mounted.path().display().to_string());
        assert!(!devices.journal().exists(), "{run}");
        drop(mounted);
        devices.flush();
        let sector = devices.set.lab.read(&devices.set.members[1], 5 * MIB..5 * MIB + 512);
        assert_eq!(sector, [0x55; 512], "{run}");
    }
}

/// Who can't see other users' open files can't know that a device is free.
#[test]
fn who_cannot_see_its_users_needs_a_word() {
    let _alone = alone_with_loop_devices();
    let Some(devices) = Devices::new() else { return };
    let (Some(a), Some(b), Some(c)) = (second_node(&devices, 0), second_node(&devices, 1), second_node(&devices, 2)) else { return };
    let lab = &devices.set.lab;
    let folder = lab.path("own");
    fs::create_dir(&folder).expect("a folder");
    let nodes = [a, b, c];
    for path in nodes.iter().chain([&folder]) {
        chown(path, Some(USER), Some(USER)).expect("root can");
    }
    let journal = folder.join("journal");
    let again = || repair(lab, &nodes).arg("--journal").arg(&journal).by_user(USER);
    let run = again().exits(3);
    run.complains("--force device");
    devices.flush();
    devices.set.assert_as_before(&run);
    assert!(!journal.exists(), "{run}");

    let run = again().args(["--force", "device"]).exits(0);
    devices.flush();
    devices.set.assert_repaired(&run);

    let run = undo(lab, &journal).by_user(USER).exits(3);
    run.complains("--force device");
    devices.flush();
    devices.set.assert_repaired(&run);
    let run = undo(lab, &journal).by_user(USER).args(["--force", "device"]).exits(0);
    devices.flush();
    devices.set.assert_as_before(&run);
}

/// While we write to a device, nobody can mount it or claim it.
#[test]
fn a_device_is_claimed_while_it_is_rewritten() {
    let _alone = alone_with_loop_devices();
    if !needs("mkfs.ext4") {
        return;
    }
    let (original, damaged) = super::scattered(31, false);
    // Of one length: a device can't be extended.
    let damaged = damaged.map(|mut bytes| {
        bytes.extend_from_slice(&original[bytes.len()..]);
        bytes
    });
    let Some(devices) = Devices::over(Set::of(original, damaged)) else { return };
    let mut running = devices.repair().args(["-r", "2M"]).start();
    wait_until("the device is claimed", || {
        assert!(running.runs(), "it ended before it was seen to claim anything");
        devices.paths().iter().all(|path| !can_claim(path))
    });
    drop(running);
    let run = devices.repair().exits(0);
    devices.flush();
    devices.set.assert_repaired(&run);
}

/// Whether `O_EXCL`, which mounting asks for too, is to be had.
fn can_claim(device: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device).is_ok()
}

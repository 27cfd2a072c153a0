//! Block devices as members: repaired in place, and put back.

use std::path::PathBuf;

use super::{
    Set, alone_with_loop_devices, repair, state,
    support::{
        Lab, MIB, Run,
        mounts::{LoopDevice, run as shell},
        noise, sectors,
    },
    undo,
};

/// Loop devices over the members of a set.
pub struct Devices {
    pub nodes: [LoopDevice; 3],
    pub set: Set,
}

impl Devices {
    pub fn new() -> Option<Self> {
        Self::over(Set::new())
    }

    pub fn over(set: Set) -> Option<Self> {
        let [a, b, c] = &set.members;
        Some(Self { nodes: [LoopDevice::new(a)?, LoopDevice::new(b)?, LoopDevice::new(c)?], set })
    }

    pub fn paths(&self) -> [PathBuf; 3] {
        [0, 1, 2].map(|index| self.nodes[index].path().to_owned())
    }

    pub fn journal(&self) -> PathBuf {
        self.set.lab.path("journal")
    }

    /// With a journal, without which no device is written to.
    pub fn repair(&self) -> Run {
        repair(&self.set.lab, self.paths()).arg("--journal").arg(self.journal())
    }

    /// Brings what the kernel keeps of the devices into the files below.
    pub fn flush(&self) {
        for path in self.paths() {
            shell(std::process::Command::new("blockdev").arg("--flushbufs").arg(path));
        }
    }
}

#[test]
fn devices_are_repaired_in_place_and_put_back() {
    let _alone = alone_with_loop_devices();
    let Some(devices) = Devices::new() else { return };
    let run = devices.repair().exits(0);
    devices.flush();
    devices.set.assert_repaired(&run);
    let report = run.json();
    assert_eq!(report["repair"]["completed"], true, "{run}");
    assert_eq!(report["repair"]["verified"], true, "{run}");
    assert_eq!(report["repair"]["verified-from"], "medium", "a device can be read past the page cache\n{run}");
    assert_eq!(state(&devices.set.lab, &devices.journal()), "complete");
    devices.set.lab.quorum_img(["check"]).args(devices.paths()).exits(0);

    undo(&devices.set.lab, &devices.journal()).arg("--dry-run").exits(0);
    let run = undo(&devices.set.lab, &devices.journal()).exits(0);
    devices.flush();
    devices.set.assert_as_before(&run);
    assert_eq!(state(&devices.set.lab, &devices.journal()), "undone");
    // Once more, nothing is left to do.
    let run = undo(&devices.set.lab, &devices.journal()).exits(0);
    devices.flush();
    devices.set.assert_as_before(&run);
}

/// Beside a device is `/dev`, which is gone with the power.
#[test]
fn a_device_needs_a_place_for_the_journal() {
    let _alone = alone_with_loop_devices();
    let Some(devices) = Devices::new() else { return };
    let set = &devices.set;
    set.refuses(repair(&set.lab, devices.paths()), 3, &["--journal"]);
    // One among files is enough.
    let other = Set::new();
    let Some(node) = LoopDevice::new(&other.members[1]) else { return };
    let mixed = [other.members[0].clone(), node.path().to_owned(), other.members[2].clone()];
    other.refuses(repair(&other.lab, &mixed), 3, &["--journal"]);
    for path in devices.paths() {
        assert!(!super::journal_of(&path).exists(), "{}", path.display());
    }
    let run = repair(&set.lab, devices.paths()).arg("--no-journal").exits(0);
    devices.flush();
    set.assert_repaired(&run);
    assert!(run.json()["repair"].get("journal").is_none(), "{run}");
}

#[test]
fn devices_and_files_are_repaired_together() {
    let _alone = alone_with_loop_devices();
    let set = Set::new();
    let Some(node) = LoopDevice::new(&set.members[1]) else { return };
    let flush = || shell(std::process::Command::new("blockdev").arg("--flushbufs").arg(node.path()));
    let mixed = [set.members[0].clone(), node.path().to_owned(), set.members[2].clone()];
    let journal = set.lab.path("journal");
    let run = repair(&set.lab, &mixed).arg("--journal").arg(&journal).exits(0);
    flush();
    set.assert_repaired(&run);
    let run = undo(&set.lab, &journal).exits(0);
    flush();
    set.assert_as_before(&run);
}

/// Whoever uses a file through a loop device can't be seen from the file: a file system in it may be mounted.
#[test]
fn a_file_under_a_loop_device_is_refused() {
    let _alone = alone_with_loop_devices();
    let set = Set::new();
    let Some(node) = LoopDevice::new(&set.members[1]) else { return };
    let name = node.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    set.refuses(repair(&set.lab, &set.members), 4, &["disk-1.img", &name]);
    drop(node);
    let run = repair(&set.lab, &set.members).exits(0);
    set.assert_repaired(&run);
}

/// What a longer device holds behind its image belongs to nobody here, and no device can be cut.
#[test]
fn a_longer_device_keeps_its_end() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let original = noise(4, 1 << 20);
    let [a, b, c] = lab.copies_of("disk.img", &original);
    lab.damage(&c, sectors(7..9));
    let longer = [lab.bytes(&c), noise(9, 8192)].concat();
    lab.file("disk-2.img", &longer);
    let Some(device) = LoopDevice::new(&c) else { return };
    let journal = lab.path("journal");
    let members = [a, b, device.path().to_owned()];
    let run = repair(&lab, &members).arg("--journal").arg(&journal).output();
    shell(std::process::Command::new("blockdev").arg("--flushbufs").arg(device.path()));
    let expected = [&original[..], &longer[1 << 20..]].concat();
    super::assert_holds(&c, &expected, &run);
    // Nobody could do more; but the members differ still.
    run.expect_code(1);
    let run = undo(&lab, &journal).exits(0);
    shell(std::process::Command::new("blockdev").arg("--flushbufs").arg(device.path()));
    super::assert_holds(&c, &longer, &run);
}

/// A device can't be extended: what fits is repaired, and the rest is said to be left.
#[test]
fn a_shorter_device_is_repaired_as_far_as_it_reaches() {
    let _alone = alone_with_loop_devices();
    let lab = Lab::new();
    let original = noise(4, 1 << 20);
    let [a, b, c] = lab.copies_of("disk.img", &original);
    lab.damage(&c, sectors(7..9));
    lab.set_length(&c, MIB - 32768);
    let Some(device) = LoopDevice::new(&c) else { return };
    let journal = lab.path("journal");
    let run = repair(&lab, [&a, &b, &device.path().to_owned()]).arg("--journal").arg(&journal).output();
    shell(std::process::Command::new("blockdev").arg("--flushbufs").arg(device.path()));
    super::assert_holds(&c, &original[..original.len() - 32768], &run);
    assert!(run.code().is_some_and(|code| (1..=3).contains(&code)), "all is not well\n{run}");
    let member = &run.json()["repair"]["members"][0];
    assert_eq!((&member["index"], &member["left-bytes"]), (&2.into(), &32768.into()), "{run}");
}

#[test]
fn a_read_only_device_is_named() {
    let _alone = alone_with_loop_devices();
    let set = Set::new();
    let Some(device) = LoopDevice::with(&set.members[1], &["--read-only"]) else { return };
    let members = [set.members[0].clone(), device.path().to_owned(), set.members[2].clone()];
    let name = device.path().display().to_string();
    let journal = set.lab.path("journal");
    let again = || repair(&set.lab, &members).arg("--journal").arg(&journal);
    set.refuses(again(), 3, &[&name, "--no-write"]);
    again().arg("--dry-run").exits(1).complains(&name).complains("read-only").complains("--no-write");
    let run = again().args(["--no-write", &name]).exits(1);
    super::assert_holds(&set.members[0], &set.original, &run);
    super::assert_holds(&set.members[1], &set.damaged[1], &run);
    super::assert_holds(&set.members[2], &set.original, &run);
}

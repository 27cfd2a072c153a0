//! What the kernel says of a block device.

use std::os::unix::fs::MetadataExt;

use crate::{
    member::{Facts, HostFile, Record, Words, escaped},
    sys::device::{self, Sysfs},
};

/// The facts of a device.
pub(super) fn device_facts(device: &HostFile) -> Facts {
    let (file, rdev) = (device.file(), device.metadata().rdev());
    let sysfs = Sysfs::default();
    let fact = |name| sysfs.fact(rdev, name).map(|text| escaped(text.trim()));
    let (logical, physical) = (device::logical_block_bytes(file).ok(), device::physical_block_bytes(file).ok());
    let (read_only, rotational) = (sysfs.flag(rdev, "ro"), sysfs.flag(rdev, "queue/rotational"));
    let (model, backing_file) = (fact("device/model"), fact("loop/backing_file"));
    let holders: Vec<String> = sysfs.holders(rdev).iter().map(|holder| escaped(holder)).collect();

    let mut words = Vec::new();
    words.extend(model.clone());
    words.extend(backing_file.as_ref().map(|file| format!("over {file}")));
    if let (Some(logical), Some(physical)) = (logical, physical) {
        words.push(format!("blocks of {logical} bytes, physically {physical}"));
    }
    words.extend(rotational.map(|turns| if turns { "rotational".to_owned() } else { "not rotational".to_owned() }));
    words.extend(read_only.filter(|&locked| locked).map(|_| "read-only".to_owned()));
    if !holders.is_empty() {
        words.push(format!("held by {}", holders.join(", ")));
    }

    let record = Record::default()
        .with_some("logical-block-size", logical)
        .with_some("physical-block-size", physical)
        .with_some("read-only", read_only)
        .with_some("rotational", rotational)
        .with_some("model", model)
        .with_some("backing-file", backing_file)
        .with_some("holders", (!holders.is_empty()).then_some(holders));
    Facts { section: "device", record, lines: vec![("device:", Words::line(words.join(", ")))], ..Facts::default() }
}

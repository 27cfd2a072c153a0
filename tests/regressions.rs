//! Faults that were found once: each has its story.

mod support;

use std::{
    fs,
    os::unix::fs::FileExt,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use support::{
    Lab, MIB,
    mounts::{LoopDevice, Mounted},
    sectors,
};

/// The first pass over a device's members didn't know what could not be filled: the device was overwritten, and the report said
/// that nothing had been written.
#[test]
fn a_device_is_not_touched_where_something_has_no_filling() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", MIB);
    for member in &members[1..] {
        lab.damage(member, sectors(9..10)); // three different sectors
    }
    lab.write(&members[1], 9 * 512, &[1; 512]);
    lab.write(&members[2], 9 * 512, &[2; 512]);
    let backing = lab.sparse("backing", MIB);
    let Some(device) = LoopDevice::new(&backing) else { return };
    let run = lab.quorum_img(["repair", "--undecided", "bytes", "--force", "device", "-o"]).arg(device.path());
    run.args(&members).exits(2).says("nothing was written");
    assert!(fs::read(device.path()).expect("it can be read").iter().all(|&byte| byte == 0), "the device was written to");
}

/// Warnings came when the device was overwritten already, or not at all where that failed.
#[test]
fn a_newer_member_is_pointed_out_before_a_device_is_overwritten() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 4 * MIB);
    lab.damage(&members[1], sectors(9..10));
    let later = SystemTime::now() + Duration::from_hours(1);
    fs::File::options().write(true).open(&members[1]).and_then(|file| file.set_modified(later)).expect("our own file");
    let Some(small) = Mounted::tmpfs(lab.folder(), MIB) else { return };
    fs::File::create(small.join("backing")).and_then(|file| file.set_len(4 * MIB)).expect("a hole fits");
    let Some(device) = LoopDevice::new(&small.join("backing")) else { return };
    let run = lab.quorum_img(["repair", "--force", "device", "-o"]).arg(device.path()).args(&members).exits(3);
    run.complains("the device holds a part of the new image").complains("is newer than every member that outvotes it");
    run.says("it holds a part of the new image, and must be written anew");
    drop(device);

    let backing = lab.sparse("backing", 4 * MIB);
    let Some(device) = LoopDevice::new(&backing) else { return };
    let run = lab.quorum_img(["repair", "--force", "device", "-o"]).arg(device.path()).args(&members).exits(0);
    assert_eq!(run.stderr().matches("is newer than").count(), 1, "{run}");
}

/// What failed while the unlisted was copied counted as nothing written; and the list, hours of work, made way for a report of a part.
#[test]
fn a_device_that_fails_while_the_unlisted_is_copied_is_no_untouched_one() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 4 * MIB);
    lab.damage(&members[1], sectors(9..10));
    let list = lab.folder().join("list.json");
    lab.quorum_img(["check", "--report"]).arg(&list).args(&members).exits(1);
    let before = lab.bytes(&list);
    let Some(small) = Mounted::tmpfs(lab.folder(), MIB) else { return };
    fs::File::create(small.join("backing")).and_then(|file| file.set_len(4 * MIB)).expect("a hole fits");
    let Some(device) = LoopDevice::new(&small.join("backing")) else { return };
    let run = lab.quorum_img(["repair", "--force", "device", "--from"]).arg(&list).arg("-o").arg(device.path());
    let run = run.args(&members).exits(3);
    run.says("it holds a part of the new image, and must be written anew");
    let run = lab.quorum_img(["repair", "--from"]).arg(&list).arg("--report").arg(&list).arg("-o").arg("fixed.img").args(&members).exits(3);
    run.complains("names the list that is read (--from)").complains("hint: choose another name");
    assert_eq!(lab.bytes(&list), before, "{run}");
}

/// A full disk lost what the vote had found until then, or the report told of divergences and counted none.
#[test]
fn a_new_image_that_breaks_off_is_reported_as_far_as_it_came() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 8 * MIB);
    for sector in (1..16_000).step_by(1000) {
        lab.damage(&members[1], sectors(sector..sector + 1));
    }
    let Some(small) = Mounted::tmpfs(lab.folder(), 3 * MIB) else { return };
    let report = lab.folder().join("report.json");
    let line = ["repair", "--force", "space", "--sparse-size", "0", "--output", "json", "--report"];
    let run = lab.quorum_img(line).arg(&report).arg("-o").arg(small.join("out.img")).args(&members).exits(3);
    let told: Value = serde_json::from_slice(&lab.bytes(&report)).expect("a report");
    for told in [told, run.json()] {
        let scanned = told["scanned-bytes"].as_u64().expect("how far it came");
        assert!((MIB..8 * MIB).contains(&scanned) && told["partial"] == true, "{run}");
        let found = told["divergences"].as_array().expect("a list");
        assert!(found.iter().all(|one| one["offset"].as_u64().is_some_and(|offset| offset < scanned)), "{run}");
        assert_eq!(told["sectors"]["decided"], found.len(), "{run}");
        assert_eq!(told["sectors"]["total"], scanned / 512, "{run}");
        assert_eq!(told["repair"]["written"], false, "{run}");
        assert!(told["repair"]["error"].as_str().is_some_and(|error| error.contains("No space left")), "{run}");
    }
    assert!(!small.join("out.img").exists(), "{run}");
}

/// A device has no modification time, and "none" equalled "none": what was written since the report was copied without a vote.
#[test]
fn a_report_on_devices_is_not_believed_blindly() {
    let lab = Lab::new();
    let images: [_; 3] = lab.copies("disk.img", MIB);
    let devices: Vec<LoopDevice> = images.iter().filter_map(|image| LoopDevice::new(image)).collect();
    if devices.len() < 3 {
        return;
    }
    let paths: Vec<_> = devices.iter().map(LoopDevice::path).collect();
    lab.quorum_img(["check", "--report", "report.json"]).args(&paths).exits(0);
    let run = lab.quorum_img(["repair", "--from", "report.json", "-o", "out.img"]).args(&paths).exits(3);
    assert!(run.complains("modified").stderr().contains("--force changed"));
    assert!(!lab.path("out.img").exists());
}

/// A loop device knows its file by number. By the path that it once had, one over a member went unnoticed.
#[test]
fn a_loop_device_over_a_renamed_member_is_the_same_storage() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let Some(over) = LoopDevice::new(&a) else { return };
    let renamed = lab.path("renamed.img");
    fs::rename(&a, &renamed).expect("it can be renamed");
    lab.quorum_img(["check"]).arg(over.path()).args([&renamed, &b]).exits(3).complains("same storage");
    let before = lab.bytes(&renamed);
    lab.quorum_img(["repair", "--force", "device", "-o"]).arg(over.path()).args([&renamed, &b, &c]).exits(3).complains("member");
    assert_eq!(lab.bytes(&renamed), before);
}

/// btrfs invents device numbers, so that an output on a member's own file system was taken for one elsewhere; a report was never
/// looked at in that way at all.
#[test]
fn nothing_is_written_to_a_file_system_on_a_member() {
    let lab = Lab::new();
    let [b, c] = [lab.sparse("b.img", 256 * MIB), lab.sparse("c.img", 256 * MIB)];
    let Some(mounted) = Mounted::btrfs(lab.folder()) else { return };
    let member = lab.path("btrfs.fs");
    let inside = mounted.join("out.img");
    let run = lab.quorum_img(["repair", "-o"]).arg(&inside).args([&member, &b, &c]);
    run.exits(3).complains("inside of the member");
    let run = lab.quorum_img(["check", "--report"]).arg(&inside).args([&member, &b, &c]);
    run.exits(3).complains("inside of the member");
    // Nor is word left there of a run that failed for another reason.
    lab.quorum_img(["check", "--report"]).arg(&inside).args([&member, &b, &lab.path("gone.img")]).exits(3).complains("can't be opened");
    assert!(!inside.exists());
}

/// Whether something stood under the report's name was asked at the end, so that what had appeared meanwhile was replaced; and any
/// JSON with a schema was taken for a report.
#[test]
fn a_report_replaces_nothing_but_an_earlier_report() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let running = lab.quorum_img(["check", "-r", "2M", "--report", "report.json"]).args([&a, &b, &c]).start();
    thread::sleep(Duration::from_millis(300));
    lab.file("report.json", "precious");
    running.wait().expect_code(3).complains("meanwhile");
    assert_eq!(lab.bytes(&lab.path("report.json")), b"precious");

    lab.file("settings.json", "{ \"schema\": \"my settings\" }");
    lab.quorum_img(["check", "--report", "settings.json"]).args([&a, &b, &c]).exits(3).complains("something else");
    lab.quorum_img(["check", "--report", "own.json"]).args([&a, &b, &c]).exits(0);
    lab.quorum_img(["check", "--report", "own.json"]).args([&a, &b, &c]).exits(0);
}

/// Progress that couldn't be printed ended the program with SIGABRT.
#[test]
fn a_full_standard_error_is_no_crash() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let shell = lab.program("sh").args(["-c", "exec \"$0\" check -p \"$@\" 2>/dev/full", env!("CARGO_BIN_EXE_quorum-img")]);
    shell.args([&a, &b, &c]).exits(0);
}

/// An interrupt while what a report doesn't list was copied left totals of no member, and making the report of them panicked.
#[test]
fn an_interrupt_while_copying_is_reported() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 4 * MIB);
    lab.damage(&b, sectors(9..10));
    lab.quorum_img(["check", "--report", "report.json"]).args([&a, &b, &c]).exits(1);
    let repair = ["repair", "--reflink", "never", "-r", "1M", "--from", "report.json", "--output", "json", "-o", "out.img"];
    let running = lab.quorum_img(repair).args([&a, &b, &c]).start();
    thread::sleep(Duration::from_millis(500));
    running.signal("INT");
    let report = running.wait().expect_code(130).json();
    assert_eq!(report["partial"], true);
    assert!(!lab.path("out.img").exists());
}

/// The rule for all that lies outside of --range hid a person's decision there.
#[test]
fn a_pick_outside_of_the_range_still_decides() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let original = lab.bytes(&a);
    lab.damage(&b, sectors(9..10));
    lab.damage(&c, sectors(900..901));
    lab.quorum_img(["repair", "--range", "0:64k", "-o", "no.img"]).args([&a, &b, &c]).exits(2);
    let run = lab.quorum_img(["repair", "--range", "0:64k", "--pick", "460800:512=#0", "--output", "json", "-o", "out.img"]);
    let report = run.args([&a, &b, &c]).exits(0).json();
    assert_eq!(lab.bytes(&lab.path("out.img")), original);
    assert_eq!((report["range"]["offset"].as_u64(), report["range"]["length"].as_u64()), (Some(0), Some(65536)), "what was asked");
}

/// `new/.` made a file called `new`.
#[test]
fn a_name_that_ends_in_a_dot_is_no_files_name() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.quorum_img(["repair", "-o", "new/."]).args([&a, &b, &c]).exits(3);
    assert!(!lab.path("new").exists());
}

/// What is only to be read is never opened for writing.
#[test]
fn members_stay_as_they_were() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    fs::File::options().write(true).open(&b).expect("it opens").write_all_at(b"x", 777).expect("it can be written");
    let before = lab.listing();
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1);
    assert_eq!(lab.listing(), before);
}

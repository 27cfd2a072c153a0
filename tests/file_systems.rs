//! Real file systems and devices: clones on XFS and btrfs, loop devices as members and as output, full disks, direct I/O, and two
//! names for one storage.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use support::{
    KIB, Lab, MIB, Output, Run,
    mounts::{LoopDevice, Mounted, can_mount, run},
    needs, noise, sectors,
};

fn repair<'a>(lab: &Lab, output: &Path, members: impl IntoIterator<Item = &'a PathBuf>) -> Run {
    lab.quorum_img(["repair", "--output", "json", "-o"]).arg(output).args(members)
}

fn assert_holds(file: &Path, expected: &[u8]) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let first = bytes.iter().zip(expected).position(|(one, other)| one != other);
    assert!(first.is_none() && bytes.len() == expected.len(), "{} is wrong from byte {first:?} on", file.display());
}

/// Ends with code 3 and these words, and every file is as it was.
fn refuses(lab: &Lab, run: Run, words: &[&str]) -> Output {
    let before = lab.listing();
    let output = run.exits(3);
    for word in words {
        output.complains(word);
    }
    assert_eq!(lab.listing(), before, "something was written\n{output}");
    output
}

/// All that a report, or a run, has to say in words.
fn warnings(output: &Output) -> String {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    format!("{} {}", report["warnings"], output.stderr())
}

// --- clones -----------------------------------------------------------------------------------------------------------------

/// Only what differs is written; all else is shared with the member that needs the fewest changes.
fn clones_the_best_member(mounted: &Mounted) {
    let lab = Lab::below(mounted.path());
    let members: [_; 3] = lab.copies("disk.img", 24 * MIB);
    let original = lab.bytes(&members[0]);
    // Cloning the first would leave 8 MiB to be written, the second 12; the third needs one sector.
    lab.damage(&members[0], 0..8 * MIB);
    lab.damage(&members[1], 8 * MIB..20 * MIB);
    lab.damage(&members[2], 22 * MIB..22 * MIB + 512);
    let before = mounted.used_bytes();
    let run = repair(&lab, &lab.path("out.img"), &members).exits(0);
    let grown = mounted.used_bytes().saturating_sub(before);
    assert_holds(&lab.path("out.img"), &original);
    assert!(grown < 4 * MIB, "a clone of the third takes next to nothing, not {grown} bytes\n{run}");

    let before = mounted.used_bytes();
    repair(&lab, &lab.path("anew.img"), &members).args(["--reflink", "never"]).exits(0);
    let grown = mounted.used_bytes().saturating_sub(before);
    assert_holds(&lab.path("anew.img"), &original);
    assert!(grown >= 23 * MIB, "every byte anew takes 24 MiB, not {grown} bytes");
}

/// The member that is cloned may be longer, shorter, or end within a sector.
fn cuts_and_grows_a_clone(mounted: &Mounted) {
    for length in [8 * MIB + 64 * KIB + 7, 8 * MIB - 100_000, 8 * MIB - 4096] {
        let lab = Lab::below(mounted.path());
        let members: [_; 3] = lab.copies("disk.img", 8 * MIB);
        let original = lab.bytes(&members[0]);
        lab.set_length(&members[0], length);
        lab.damage(&members[1], 0..2 * MIB);
        lab.damage(&members[2], 2 * MIB..4 * MIB);
        repair(&lab, &lab.path("out.img"), &members).exits(0);
        assert_holds(&lab.path("out.img"), &original);
        assert_holds(&members[0], &{
            let mut cut = original.clone();
            cut.resize(usize::try_from(length).expect("a length"), 0);
            cut
        });
    }
}

#[test]
fn clones_the_best_member_on_xfs() {
    let lab = Lab::new();
    if let Some(mounted) = Mounted::xfs(lab.folder()) {
        clones_the_best_member(&mounted);
    }
}

/// Under fifo the first member is taken at its word, and nobody was compared with it: a clone of another one, in which nothing was
/// found for the simple reason that it wasn't asked, once became the output.
#[test]
fn under_fifo_only_the_first_member_is_cloned() {
    let lab = Lab::new();
    let Some(mounted) = Mounted::xfs(lab.folder()) else { return };
    let inner = Lab::below(mounted.path());
    let members: [_; 3] = inner.copies("disk.img", 4 * MIB);
    inner.damage(&members[0], 0..MIB);
    inner.set_length(&members[0], 3 * MIB);
    let mut expected = inner.bytes(&members[0]);
    expected.extend_from_slice(&inner.bytes(&members[1])[3 * 1024 * 1024..]);
    repair(&inner, &inner.path("out.img"), &members).args(["--read-pattern", "fifo"]).exits(0);
    assert_holds(&inner.path("out.img"), &expected);
}

#[test]
fn cuts_and_grows_a_clone_on_xfs() {
    let lab = Lab::new();
    if let Some(mounted) = Mounted::xfs(lab.folder()) {
        cuts_and_grows_a_clone(&mounted);
    }
}

#[test]
fn clones_the_best_member_on_btrfs() {
    let lab = Lab::new();
    if let Some(mounted) = Mounted::btrfs(lab.folder()) {
        clones_the_best_member(&mounted);
    }
}

#[test]
fn cuts_and_grows_a_clone_on_btrfs() {
    let lab = Lab::new();
    if let Some(mounted) = Mounted::btrfs(lab.folder()) {
        cuts_and_grows_a_clone(&mounted);
    }
}

/// The output on one file system, the members on another: no clone is possible, and none is needed.
#[test]
fn the_output_may_lie_on_another_file_system() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 2 * MIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[0], sectors(7..9));
    if let Some(mounted) = Mounted::xfs(lab.folder()) {
        repair(&lab, &mounted.join("out.img"), &members).exits(0);
        assert_holds(&mounted.join("out.img"), &original);
    }
}

// --- one storage under two names --------------------------------------------------------------------------------------------

/// A reflink copy shares its extents: damage to one of those is damage to both. It still votes, with a warning.
#[test]
fn reflinked_members_give_a_warning() {
    let lab = Lab::new();
    for mounted in [Mounted::xfs(lab.folder()), Mounted::btrfs(lab.folder())].into_iter().flatten() {
        let lab = Lab::below(mounted.path());
        let [a, b] = lab.copies("disk.img", 2 * MIB);
        let clone = lab.path("clone.img");
        run(Command::new("cp").arg("--reflink=always").arg(&a).arg(&clone));
        run(Command::new("sync").arg("-f").arg(mounted.path()));
        let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &clone]).exits(0);
        let text = warnings(&report);
        assert!(text.contains("disk-0.img") && text.contains("clone.img"), "both must be named\n{report}");
        let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b]).exits(0);
        assert!(!warnings(&report).contains("disk-1.img"), "real copies give no warning\n{report}");
    }
}

/// Copies within one file system that share a hole, or nothing at all, share no extents.
#[test]
fn sparse_copies_are_independent() {
    let lab = Lab::new();
    if let Some(mounted) = Mounted::xfs(lab.folder()) {
        let lab = Lab::below(mounted.path());
        let members = [lab.sparse("a.img", 4 * MIB), lab.sparse("b.img", 4 * MIB)];
        let report = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(0);
        assert!(!warnings(&report).contains("independent"), "{report}");
    }
}

#[test]
fn a_bind_mount_is_the_same_file() {
    let lab = Lab::new();
    if !can_mount("a bind mount") {
        return;
    }
    let members: [_; 2] = lab.copies("disk.img", 64 * KIB);
    let bound = Mounted::mount(lab.folder(), "bind", &["--bind"], lab.folder());
    let again = bound.join("disk-0.img");
    let run = lab.quorum_img(["check"]).args([&members[0], &members[1], &again]).exits(3);
    run.complains("same storage").complains("disk-0.img");
}

#[test]
fn a_loop_device_over_a_member_is_the_same_storage() {
    let lab = Lab::new();
    let members: [_; 2] = lab.copies("disk.img", 256 * KIB);
    let Some(over) = LoopDevice::new(&members[0]) else { return };
    for part in [&[][..], &["--offset", "65536"], &["--sizelimit", "65536"]] {
        let Some(device) = LoopDevice::with(&members[0], part) else { return };
        let all = [members[0].as_path(), members[1].as_path(), device.path()];
        refuses(&lab, lab.quorum_img(["check"]).args(all), &["same storage", &device.path().display().to_string()]);
        refuses(&lab, repair(&lab, &lab.path("out.img"), []).args(all), &["same storage"]);
    }
    // Two devices over one file, the file itself not among the members.
    let Some(twin) = LoopDevice::new(&members[0]) else { return };
    refuses(&lab, lab.quorum_img(["check"]).args([over.path(), twin.path(), &members[1]]), &["same storage"]);
}

/// The device under the file system that holds another member.
#[test]
fn a_file_on_a_member_is_the_same_storage() {
    let lab = Lab::new();
    let image = lab.sparse("disk.img", 16 * MIB);
    if !needs("mkfs.ext4") {
        return;
    }
    run(Command::new("mkfs.ext4").arg("-q").arg(&image));
    let Some(device) = LoopDevice::new(&image) else { return };
    let mounted = Mounted::mount(lab.folder(), "inner", &["-t", "ext4"], device.path());
    let inner = mounted.join("inner.img");
    fs::write(&inner, noise(1, 65536)).expect("it can be written");
    lab.quorum_img(["check"]).args([device.path(), &inner]).exits(3).complains("same storage");
}

// --- loop devices as members ------------------------------------------------------------------------------------------------

/// A device's size comes from an ioctl: its node says 0.
#[test]
fn loop_devices_vote_beside_files() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 2 * MIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[0], sectors(3..5));
    lab.damage(&members[1], sectors(1000..1001));
    lab.damage(&members[2], sectors(4095..4096));
    let (Some(first), Some(second)) = (LoopDevice::with(&members[0], &["--read-only"]), LoopDevice::with(&members[1], &["--read-only"]))
    else {
        return;
    };
    let all = [first.path().to_owned(), second.path().to_owned(), members[2].clone()];
    for cache in ["writeback", "none"] {
        let run = lab.quorum_img(["check", "--output", "json", "-T", cache]).args(&all).exits(1);
        let report = run.json();
        for member in 0..3 {
            assert_eq!(report["members"][member]["size"], 2 * MIB, "{run}");
        }
        let dissenting = [0, 1, 2].map(|member| report["members"][member]["dissenting-sectors"].clone());
        assert_eq!(dissenting, [2, 1, 1], "{run}");
    }
    let run = repair(&lab, &lab.path("out.img"), &all).exits(0);
    assert_holds(&lab.path("out.img"), &original);
    assert!(run.json()["members"][0].get("modified").is_none(), "a node's own time says nothing of its contents\n{run}");
}

/// A device is larger than its image, as is usual with partitions and volumes: a surplus, whatever is in it.
#[test]
fn a_device_that_is_longer_has_a_surplus() {
    let lab = Lab::new();
    let members: [_; 2] = lab.copies("disk.img", MIB);
    let long = lab.file("long.img", [lab.bytes(&members[0]), vec![0; 4096]].concat());
    let Some(device) = LoopDevice::new(&long) else { return };
    // A device has the size that it has: zeros behind the end are told, and are no difference.
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).arg(device.path()).exits(0);
    assert_eq!(run.json()["members"][2]["surplus-bytes"], 4096, "{run}");
    lab.quorum_img(["repair", "--in-place", "--journal", "journal"]).args(&members).arg(device.path()).exits(0);
    drop(device);
    lab.write(&long, MIB + 100, b"data");
    let Some(device) = LoopDevice::new(&long) else { return };
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).arg(device.path()).exits(2);
    assert_eq!(run.json()["guards"][0]["word"], "cuts", "{run}");
}

// --- a device as output -----------------------------------------------------------------------------------------------------

/// Three damaged copies, and a device of `length` bytes that is full of something else.
struct ToDevice {
    lab: Lab,
    members: [PathBuf; 3],
    original: Vec<u8>,
    backing: PathBuf,
    device: LoopDevice,
}

impl ToDevice {
    fn new(length: u64) -> Option<Self> {
        let lab = Lab::new();
        let members = lab.copies("disk.img", MIB);
        let original = lab.bytes(&members[0]);
        lab.damage(&members[0], sectors(3..5));
        lab.damage(&members[1], sectors(100..101));
        let backing = lab.file("backing", vec![0xee; usize::try_from(length).expect("a small device")]);
        let device = LoopDevice::new(&backing)?;
        Some(Self { lab, members, original, backing, device })
    }

    fn repair(&self) -> Run {
        repair(&self.lab, self.device.path(), &self.members)
    }
}

#[test]
fn a_device_is_written_to_only_with_force() {
    let Some(set) = ToDevice::new(MIB + 4096) else { return };
    refuses(&set.lab, set.repair(), &["device"]);
    refuses(&set.lab, set.repair().args(["--force", "overwrite"]), &["device"]);
    set.repair().args(["--force", "device"]).exits(0);
    let written = set.lab.bytes(&set.backing);
    assert_eq!(written[..1 << 20], set.original[..], "the repaired image");
    assert_eq!(written[1 << 20..], [0xee; 4096], "what lies behind it is none of our business");
}

/// A symlink such as those in /dev/disk/by-id is the device.
#[test]
fn a_symlink_to_a_device_is_a_device() {
    let Some(set) = ToDevice::new(MIB) else { return };
    let link = set.lab.path("by-id");
    std::os::unix::fs::symlink(set.device.path(), &link).expect("a symlink");
    refuses(&set.lab, repair(&set.lab, &link, &set.members).args(["--force", "overwrite"]), &["device"]);
    repair(&set.lab, &link, &set.members).args(["--force", "device"]).exits(0);
    assert_eq!(set.lab.bytes(&set.backing), set.original);
}

#[test]
fn a_device_that_is_too_small_is_refused() {
    let Some(set) = ToDevice::new(MIB - 512) else { return };
    refuses(&set.lab, set.repair().args(["--force", "device"]), &[&set.device.path().display().to_string()]);
}

#[test]
fn a_mounted_device_is_refused() {
    let Some(set) = ToDevice::new(8 * MIB) else { return };
    if !needs("mkfs.ext4") {
        return;
    }
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(set.device.path()));
    let mounted = Mounted::mount(set.lab.folder(), "device", &["-t", "ext4"], set.device.path());
    fs::write(mounted.join("precious"), "precious").expect("it can be written");
    let run = set.repair().args(["--force", "device"]).output();
    assert!(matches!(run.code(), Some(3 | 4)), "{run}");
    let (point, name) = (mounted.path().to_owned(), mounted.join("precious"));
    assert_eq!(fs::read(&name).expect("it is there"), b"precious");
    drop(mounted);
    support::mounts::run(Command::new("e2fsck").args(["-f", "-n"]).arg(set.device.path()));
    assert!(!point.join("precious").exists());
}

#[test]
fn a_device_over_a_member_is_no_output() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    lab.damage(&members[2], sectors(3..5));
    let Some(device) = LoopDevice::new(&members[2]) else { return };
    refuses(&lab, repair(&lab, device.path(), &members).args(["--force", "device"]), &["disk-2.img"]);
    // The device itself is a member, too.
    let all = [members[0].clone(), members[1].clone(), device.path().to_owned()];
    refuses(&lab, repair(&lab, device.path(), &all).args(["--force", "device"]), &[&device.path().display().to_string()]);
    refuses(&lab, repair(&lab, &members[2], &all).args(["--force", "overwrite,device"]), &[]);
}

/// It can't be written anew and renamed: so all is voted on before the first byte is written.
#[test]
fn a_device_is_voted_through_before_the_first_write() {
    let Some(set) = ToDevice::new(MIB) else { return };
    for member in &set.members {
        set.lab.damage(member, MIB - 512..MIB);
    }
    let before = set.lab.listing();
    set.repair().args(["--force", "device"]).exits(2);
    assert_eq!(set.lab.listing(), before, "the last sector is undecided, so nothing is written");
}

/// The pass before the first write knows the digest: a device needn't be overwritten to find out that the result is the wrong one.
#[test]
fn a_wrong_digest_leaves_a_device_as_it_was() {
    let Some(set) = ToDevice::new(MIB) else { return };
    let before = set.lab.listing();
    let wrong = support::sha256(b"something else");
    let run = set.repair().args(["--force", "device", "--expect-sha256", &wrong]).output();
    assert!(run.code().is_some_and(|code| code != 0), "{run}");
    assert_eq!(set.lab.listing(), before, "the digest is wrong, so nothing is written");
    let report = run.json();
    assert!(report.get("partial").is_none() && report["sectors"]["decided"] == 3, "all was voted on\n{run}");
}

#[test]
fn a_read_only_device_is_a_clear_error() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let backing = lab.sparse("backing", MIB);
    let Some(device) = LoopDevice::with(&backing, &["--read-only"]) else { return };
    refuses(&lab, repair(&lab, device.path(), &members).args(["--force", "device"]), &[&device.path().display().to_string()]);
}

// --- full disks -------------------------------------------------------------------------------------------------------------

/// 3 MiB do not fit into 2, and that can be known before.
#[test]
fn a_full_disk_is_a_clear_error_and_nothing_is_left() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 3 * MIB);
    lab.damage(&members[1], sectors(3..5));
    let Some(small) = Mounted::tmpfs(lab.folder(), 2 * MIB) else { return };
    fs::write(small.join("old.img"), "precious").expect("there is space for that");
    refuses(&lab, repair(&lab, &small.join("out.img"), &members), &["space", "out.img"]);
    refuses(&lab, repair(&lab, &small.join("old.img"), &members).args(["--force", "overwrite"]), &["space"]);
    assert_eq!(small.used_bytes(), 4096, "only the old file takes space");
}

/// 3 MiB of which most are zeros do fit: to refuse them would be wrong.
#[test]
fn a_sparse_image_fits_on_a_small_disk() {
    let lab = Lab::new();
    let mut bytes = vec![0; 3 << 20];
    bytes[1 << 20..(1 << 20) + 500_000].copy_from_slice(&noise(1, 500_000));
    let members: [_; 3] = lab.copies_of("disk.img", &bytes);
    let sparse = members.clone().map(|member| member.with_extension("sparse"));
    for (member, sparse) in members.iter().zip(&sparse) {
        run(Command::new("cp").arg("--sparse=always").arg(member).arg(sparse));
    }
    lab.damage(&sparse[1], MIB + 512..MIB + 1024);
    let Some(small) = Mounted::tmpfs(lab.folder(), 2 * MIB) else { return };
    repair(&lab, &small.join("out.img"), &sparse).exits(0);
    assert_holds(&small.join("out.img"), &bytes);
}

/// Zeros that are written in every member take no space in the output either.
#[test]
fn written_zeros_fit_on_a_small_disk() {
    let lab = Lab::new();
    let mut bytes = vec![0; 3 << 20];
    bytes[1 << 20..(1 << 20) + 500_000].copy_from_slice(&noise(1, 500_000));
    let members: [_; 3] = lab.copies_of("disk.img", &bytes);
    lab.damage(&members[1], MIB + 512..MIB + 1024);
    let Some(small) = Mounted::tmpfs(lab.folder(), 2 * MIB) else { return };
    let run = repair(&lab, &small.join("out.img"), &members).output();
    // A check of the free space beforehand can't know of them, and may refuse; what it may not do is fail half-way with a wrong file.
    if run.code() == Some(0) {
        assert_holds(&small.join("out.img"), &bytes);
    } else {
        run.expect_code(3).complains("space");
        assert_eq!(fs::read_dir(small.path()).expect("our own folder").count(), 0);
    }
}

// --- direct I/O -------------------------------------------------------------------------------------------------------------

/// The same answer past the page cache, and only then is it called one of the medium.
#[test]
fn direct_reading_gives_the_same_report() {
    let lab = Lab::new();
    for mounted in [Mounted::ext4(lab.folder(), 32), Mounted::xfs(lab.folder())].into_iter().flatten() {
        let lab = Lab::below(mounted.path());
        let members: [_; 3] = lab.copies("disk.img", MIB + 100);
        let original = lab.bytes(&members[0]);
        lab.damage(&members[0], sectors(0..1));
        lab.flip_bit(&members[1], 777_777);
        lab.flip_bit(&members[2], MIB + 99);
        let check = |cache: &str| lab.quorum_img(["check", "--output", "json", "-T", cache]).args(&members).exits(1);
        let (cached, direct) = (check("writeback"), check("none"));
        for key in ["divergences", "sectors", "verdict", "size"] {
            assert_eq!(cached.json()[key], direct.json()[key], "{key}\n{cached}\n{direct}");
        }
        for member in 0..3 {
            assert_eq!(cached.json()["members"][member]["read-from"], "cache", "{cached}");
            assert_eq!(direct.json()["members"][member]["read-from"], "medium", "{direct}");
        }
        let human = |cache: &str| lab.quorum_img(["check", "-T", cache]).args(&members).exits(1);
        human("none").says("medium");
        human("writeback").says_nothing_of("medium");
        repair(&lab, &lab.path("out.img"), &members).args(["-T", "none"]).exits(0);
        assert_holds(&lab.path("out.img"), &original);
    }
}

/// A change on the medium that the page cache doesn't know of is seen only past the cache: that is what `-T none` is for.
#[test]
fn direct_reading_sees_what_the_page_cache_hides() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", MIB);
    let devices: Vec<_> = members.iter().filter_map(|member| LoopDevice::new(member)).collect();
    if devices.len() < 3 {
        return;
    }
    let check = |cache: &str| {
        let paths = devices.iter().map(LoopDevice::path);
        lab.quorum_img(["check", "--output", "json", "-T", cache]).args(paths)
    };
    // Held open, so that the cache of the device outlives each run.
    let _open: Vec<_> = devices.iter().map(|device| fs::File::open(device.path()).expect("root can")).collect();
    check("writeback").exits(0);
    lab.damage(&members[1], sectors(40..41));
    check("writeback").exits(0);
    let run = check("none").exits(1);
    assert_eq!(run.json()["members"][1]["dissenting-sectors"], 1, "{run}");
}

/// ramfs has no direct I/O: the run goes on, and says that the medium was not asked.
#[test]
fn where_direct_reading_is_refused_it_says_so() {
    let lab = Lab::new();
    if !can_mount("mounting a ramfs") {
        return;
    }
    let mounted = Mounted::mount(lab.folder(), "ramfs", &["-t", "ramfs"], Path::new("ramfs"));
    let lab = Lab::below(mounted.path());
    let members: [_; 2] = lab.copies("disk.img", 64 * KIB);
    let run = lab.quorum_img(["check", "--output", "json", "-T", "none"]).args(&members).output();
    assert!(matches!(run.code(), Some(0 | 3)), "it goes on, or refuses\n{run}");
    let said = warnings(&run).to_lowercase();
    assert!(said.contains("direct") && said.contains("disk-0.img"), "{run}");
}

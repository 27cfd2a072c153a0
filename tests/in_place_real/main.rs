//! `repair --in-place` and `undo` against the real thing: QEMU's locks, devices, full and failing disks, kills, signals, file systems.

#[path = "../support/fuse_disk.rs"]
mod fuse_disk;
#[path = "../support/fuse_lossy.rs"]
mod fuse_lossy;
#[path = "../support/fuse_medium.rs"]
mod fuse_medium;
#[path = "../support/signals.rs"]
mod signals;
#[path = "../support/mod.rs"]
mod support;

mod devices;
mod devices_in_use;
mod ext4;
mod file_systems;
mod healing;
mod interrupts;
mod journal_place;
mod kills;
mod locks;
mod midway;
mod no_locks;
mod on_media;
mod power_cuts;
mod qemu;
mod unstable;
mod write_errors;

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use support::{KIB, Lab, MIB, Output, Run, noise, sectors};

/// Three damaged copies of one disk, to be made whole in place.
struct Set {
    lab: Lab,
    members: [PathBuf; 3],
    /// What all of them hold afterwards.
    original: Vec<u8>,
    /// What each holds now.
    damaged: [Vec<u8>; 3],
}

impl Set {
    /// A few sectors of each member are wrong, no two at the same place.
    fn new() -> Self {
        Self::below(Lab::new())
    }

    fn below(lab: Lab) -> Self {
        let original = noise(4, 1 << 20);
        let members = lab.copies_of("disk.img", &original);
        lab.damage(&members[0], sectors(10..12));
        lab.flip_bit(&members[1], 100 * 512 + 77);
        lab.damage(&members[1], sectors(700..708));
        lab.damage(&members[2], sectors(2047..2048));
        let damaged = members.clone().map(|member| lab.bytes(&member));
        Self { lab, members, original, damaged }
    }

    /// The given contents, written anew.
    fn of(original: Vec<u8>, damaged: [Vec<u8>; 3]) -> Self {
        let lab = Lab::new();
        let members = [0, 1, 2].map(|index| lab.file(format!("disk-{index}.img"), &damaged[index]));
        Self { lab, members, original, damaged }
    }

    /// The default journal.
    fn journal(&self) -> PathBuf {
        journal_of(&self.members[0])
    }

    fn repair(&self) -> Run {
        repair(&self.lab, &self.members)
    }

    fn undo(&self) -> Run {
        undo(&self.lab, &self.journal())
    }

    /// Every member holds what was voted for.
    fn assert_repaired(&self, run: &Output) {
        for member in &self.members {
            assert_holds(member, &self.original, run);
        }
    }

    /// Every member holds what it held before the repair.
    fn assert_as_before(&self, run: &Output) {
        for (member, bytes) in self.members.iter().zip(&self.damaged) {
            assert_holds(member, bytes, run);
        }
    }

    /// The run ends with this code and says these words, and nothing is written: no bytes, no times, no journal.
    fn refuses(&self, run: Run, code: i32, words: &[&str]) -> Output {
        refuses(&self.lab, &self.members, run, code, words)
    }
}

/// `repair --in-place --output json MEMBER...`, with more options to come.
fn repair<M: AsRef<OsStr>>(lab: &Lab, members: impl IntoIterator<Item = M>) -> Run {
    lab.quorum_img(["repair", "--in-place", "--output", "json", "-y"]).args(members)
}

/// `undo JOURNAL`.
fn undo(lab: &Lab, journal: &Path) -> Run {
    lab.quorum_img(["undo"]).arg(journal)
}

/// Where the journal stands unless another place is given.
fn journal_of(member: &Path) -> PathBuf {
    let mut name = member.file_name().expect("a file").to_owned();
    name.push(".quorum-journal");
    member.with_file_name(name)
}

/// What `info` calls the journal's state.
fn state(lab: &Lab, journal: &Path) -> String {
    let run = lab.quorum_img(["info", "--output", "json"]).arg(journal).exits(0);
    let found = &run.json()[0];
    assert_eq!(found["format"], "quorum-journal", "{run}");
    found["journal"]["state"].as_str().unwrap_or_else(|| panic!("no state\n{run}")).to_owned()
}

/// See [`Set::refuses`].
fn refuses(lab: &Lab, members: &[PathBuf], run: Run, code: i32, words: &[&str]) -> Output {
    let times = || members.iter().map(|member| changed(member)).collect::<Vec<_>>();
    let before = (lab.listing(), times());
    let output = run.exits(code);
    for word in words {
        output.complains(word);
    }
    assert_eq!((lab.listing(), times()), before, "something was written\n{output}");
    output
}

/// When contents and properties of a file were last changed.
fn changed(file: &Path) -> [i64; 4] {
    let meta = fs::metadata(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]
}

/// The file holds exactly these bytes.
fn assert_holds(file: &Path, expected: &[u8], run: &Output) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}\n{run}", file.display()));
    assert_equal(&file.display().to_string(), &bytes, expected, run);
}

/// Waits for the other tests that make loop devices: `losetup --find` opens devices for a moment to see whether they are free, and
/// a device that is open elsewhere is in use.
fn alone_with_loop_devices() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Equal, or the first place where not.
fn assert_equal(name: &str, bytes: &[u8], expected: &[u8], run: &Output) {
    if bytes == expected {
        return;
    }
    let first = bytes.iter().zip(expected).position(|(one, other)| one != other);
    let wrong = bytes.chunks(512).zip(expected.chunks(512)).filter(|(one, other)| one != other).count();
    let lengths = format!("{} bytes of {}", bytes.len(), expected.len());
    panic!("{name} is wrong from byte {first:?} on, in {wrong} sectors ({lengths})\n{run}");
}

/// Waits until something holds; fails the test after half a minute.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not after half a minute: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Repeatable numbers below a bound.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A set with about 2000 bad sectors, no two members in the same one. The second member lacks its end, within a sector; `surplus`
/// gives the third one some bytes too many (then no two agree about the size, which must be given).
fn scattered(seed: u64, surplus: bool) -> (Vec<u8>, [Vec<u8>; 3]) {
    let size = 8 * MIB;
    let original = noise(seed, 8 << 20);
    let mut damaged = [original.clone(), original.clone(), original.clone()];
    let mut dice = Dice(seed);
    for index in 0..2000 {
        // Each sector has one member that may be wrong there, and none where the second one's end is missing.
        let sector = dice.below((size - 104 * KIB) / 512);
        let bytes = &mut damaged[(sector % 3) as usize][(sector * 512) as usize..][..512];
        match index % 4 {
            0 => bytes.fill(0),
            1 => bytes[dice.below(512) as usize] ^= 1,
            _ => bytes.copy_from_slice(&noise(seed ^ index, 512)),
        }
    }
    damaged[1].truncate((size - 100 * KIB - 77) as usize);
    if surplus {
        damaged[2].extend(noise(!seed, 5000));
    }
    (original, damaged)
}

//! A month of nights with a guest's ext4 disk on three copies. After each night stands what a careful person would say of it, written down before
//! the night was run: the verdict, the states, and whose bytes are whose.

use super::{Lab, MIB, can_be_marked, create, history, rot_unseen, states};
use crate::support::{Output, needs, tool_path};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The first night, in seconds since 1970: the first of November 2026.
const FIRST: i64 = 1_793_491_200;
const DAY: i64 = 86_400;

struct Month {
    lab: Lab,
    members: Vec<PathBuf>,
    /// What the guest's disk should hold.
    truth: Vec<u8>,
    night: i64,
    /// How many files the guest has written.
    files: u64,
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Month {
    /// A disk of 16 MiB with ext4 and some files, three copies of it, a set.
    fn begin() -> Option<Self> {
        let lab = Lab::new();
        if !needs("mke2fs") || !needs("debugfs") || !can_be_marked(&lab) {
            return None;
        }
        let folder = lab.path("files");
        fs::create_dir(&folder).expect("a folder");
        for file in 0..20 {
            fs::write(folder.join(format!("file-{file}")), crate::support::noise(file, 200_000)).expect("room");
        }
        let disk = lab.sparse("guest.img", 16 * MIB);
        let mke2fs = tool_path("mke2fs").expect("it is there");
        run(Command::new(mke2fs)
            .args(["-q", "-t", "ext4", "-d"])
            .arg(&folder)
            .arg(&disk)
            .env("E2FSPROGS_FAKE_TIME", (FIRST - DAY).to_string()));
        let truth = lab.bytes(&disk);
        let members = lab.copies_of::<3>("disk.img", &truth).to_vec();
        create(&lab, &members).args(["--clock", &FIRST.to_string()]).exits(0);
        Some(Self { lab, members, truth, night: 0, files: 0 })
    }

    fn clock(&self) -> String {
        (FIRST + self.night * DAY).to_string()
    }

    /// The guest writes a file of so many bytes, by ext4's own tools; what it wrote reaches these members.
    fn guest_writes(&mut self, bytes: usize, reaches: &[usize]) {
        self.files += 1;
        let content = self.lab.file("content", crate::support::noise(1000 + self.files, bytes));
        let disk = self.lab.file("guest.img", &self.truth);
        let write = format!("write {} new-{}", content.display(), self.files);
        let debugfs = tool_path("debugfs").expect("it is there");
        run(Command::new(debugfs).args(["-w", "-R", &write]).arg(&disk).env("E2FSPROGS_FAKE_TIME", self.clock()));
        let before = std::mem::replace(&mut self.truth, self.lab.bytes(&disk));
        for &member in reaches {
            self.copy_changes(member, &before);
        }
    }

    /// Writes to a member what became different.
    fn copy_changes(&self, member: usize, before: &[u8]) {
        for (at, (old, new)) in before.chunks(4096).zip(self.truth.chunks(4096)).enumerate() {
            if old != new {
                self.lab.write(&self.members[member], at as u64 * 4096, new);
            }
        }
    }

    /// A night's check: the verdict and the states that a careful person expects; and no byte of a member becomes another.
    fn night(&mut self, code: i32, expected: &[&str], why: &str) -> Output {
        self.night += 1;
        let before = self.bytes();
        let run = self.lab.quorum_img(["set", "check", "--restart", "--clock", &self.clock(), "vm.qset"]).output();
        assert_eq!(run.code(), Some(code), "night {}: {why}\n{run}", self.night);
        assert_eq!(states(&self.lab), expected, "night {}: {why}\n{run}", self.night);
        assert!(before == self.bytes(), "a check writes nothing");
        run
    }

    fn bytes(&self) -> Vec<Option<Vec<u8>>> {
        self.members.iter().map(|member| fs::read(member).ok()).collect()
    }

    fn set(&self, words: &[&str]) -> Output {
        let clock = self.clock();
        let (command, rest) = words.split_first().expect("a command");
        self.lab.quorum_img(["set", command, "--clock", &clock]).args(rest).output()
    }

    /// All members hold what the guest's disk should hold.
    fn all_true(&self) {
        for member in &self.members {
            assert!(self.lab.bytes(member) == self.truth, "{} isn't what the guest wrote", member.display());
        }
    }

    fn away(&self, member: usize) -> PathBuf {
        let away = self.lab.path(format!("away-{member}"));
        fs::rename(&self.members[member], &away).expect("our own");
        away
    }

    /// Two members' files change places.
    fn swap(&self, one: usize, other: usize) {
        let between = self.lab.path("between");
        fs::rename(&self.members[one], &between).expect("our own");
        fs::rename(&self.members[other], &self.members[one]).expect("our own");
        fs::rename(&between, &self.members[other]).expect("our own");
    }

    fn back(&self, member: usize) {
        fs::rename(self.lab.path(format!("away-{member}")), &self.members[member]).expect("our own");
    }
}

/// Puts bytes back into the same file, as a backup's restore does.
fn restore(lab: &Lab, path: &Path, bytes: &[u8]) {
    lab.write(path, 0, bytes);
}

#[test]
#[allow(clippy::too_many_lines)] // a month
fn a_month_of_nights() {
    let Some(mut month) = Month::begin() else { return };
    let all = [0, 1, 2];
    let ok = ["ok", "ok", "ok"];

    month.night(0, &ok, "nothing happened");
    month.guest_writes(30_000, &all);
    month.night(0, &ok, "the guest wrote, and all copies have it");

    // A bit of the second copy's medium flips.
    rot_unseen(&month.lab, &month.members[1], 5 * MIB + 77);
    let run = month.night(1, &["ok", "suspect", "ok"], "rot in one copy");
    run.says("silent corruption");
    assert_eq!(month.set(&["repair", "-y", "vm.qset"]).code(), Some(0));
    month.all_true();
    month.night(0, &ok, "it was healed");

    // A write of which the third server's disk acknowledged all and kept none.
    month.guest_writes(20_000, &[0, 1]);
    month.night(1, &["ok", "ok", "suspect"], "a lost write: the copy that lost it is older, and outvoted");
    assert_eq!(month.set(&["repair", "-y", "vm.qset"]).code(), Some(0));
    month.all_true();
    month.night(0, &ok, "and has it now");

    // The first server is down for a night, and nobody wrote meanwhile.
    month.away(0);
    month.night(1, &["returning", "ok", "ok"], "one was away");
    month.back(0);
    month.night(0, &ok, "it needs nobody to come back");

    // Two are down: this host was cut off.
    month.away(1);
    month.away(2);
    month.night += 1;
    let run = month.set(&["check", "--restart", "vm.qset"]);
    run.complains("too few votes");
    assert_eq!(states(&month.lab), ok, "nobody's absence says anything");
    month.back(1);
    month.back(2);
    month.guest_writes(5_000, &all);
    month.night(0, &ok, "all vote, as before");

    // The third is away for a week in which the guest writes on.
    month.away(2);
    for _ in 0..7 {
        month.guest_writes(300_000, &[0, 1]);
        month.night(1, &["ok", "ok", "returning"], "a week without it");
    }
    month.back(2);
    let run = month.night(1, &["ok", "ok", "stale"], "it missed a week");
    run.says("next: quorum-img set resync vm.qset '#2'");
    // A guest's disk isn't rolled back by it: the others decide, and a repair leaves it alone.
    month.set(&["repair", "-y", "vm.qset"]);
    assert!(month.lab.bytes(&month.members[2]) != month.truth);
    assert_eq!(month.set(&["resync", "-y", "vm.qset", "#2"]).code(), Some(0));
    month.all_true();
    month.night(0, &ok, "resynced");

    // A twin of the second member, made from the same template: the same UUIDs, another machine's disk.
    let second = month.away(1);
    let mut twin = month.truth.clone();
    twin[9 * 1024 * 1024..9 * 1024 * 1024 + 4096].fill(7);
    fs::write(&month.members[1], &twin).expect("room");
    month.night(2, &ok, "a copy without its mark may be another machine's").complains("mark is lost");
    fs::remove_file(&month.members[1]).expect("our own");
    fs::rename(second, &month.members[1]).expect("our own");

    // Two cables are swapped.
    month.swap(0, 1);
    month.night(2, &ok, "swapped").complains("they were swapped");
    month.swap(0, 1);
    month.night(0, &ok, "as they were");

    // An older state of two copies is put back, into the same files: a majority that is stale.
    let old = month.truth.clone();
    month.guest_writes(100_000, &all);
    month.night(0, &ok, "the guest wrote");
    restore(&month.lab, &month.members[1], &old);
    restore(&month.lab, &month.members[2], &old);
    month.night(2, &["ok", "stale", "stale"], "two were rolled back: they don't outvote the one that wasn't");
    assert_eq!(month.set(&["repair", "-y", "vm.qset"]).code(), Some(2), "and nothing is written by it");
    assert!(month.lab.bytes(&month.members[0]) == month.truth);
    month.set(&["resync", "-y", "--trust", "#0", "vm.qset", "#1"]);
    month.set(&["resync", "-y", "--trust", "#0", "vm.qset", "#2"]);
    month.all_true();
    month.night(0, &ok, "a person has decided");

    // A disk is replaced.
    let new = month.lab.file("new.img", b"");
    let name = month.members[2].display().to_string();
    assert_eq!(month.set(&["replace", "-y", "vm.qset", &name, "new.img"]).code(), Some(0));
    month.members[2] = new;
    month.all_true();
    month.night(0, &ok, "a new disk");

    // Two copies only: each rots at a place of its own, and the memory of what they agreed on heals both.
    let name = month.members[2].display().to_string();
    assert_eq!(month.set(&["remove", "vm.qset", &name]).code(), Some(0));
    month.members.truncate(2);
    month.night(0, &["ok", "ok"], "two are left");
    rot_unseen(&month.lab, &month.members[0], 3 * MIB + 1);
    rot_unseen(&month.lab, &month.members[1], 3 * MIB + 40_000);
    month.night(1, &["suspect", "suspect"], "both rot");
    assert_eq!(month.set(&["repair", "-y", "vm.qset"]).code(), Some(0));
    month.all_true();
    month.night(0, &["ok", "ok"], "both were healed");

    // A power cut: a write that was acknowledged has its old time.
    month.guest_writes(2_000, &[]);
    let before = month.lab.bytes(&month.members[0]);
    let at = before.iter().zip(&month.truth).position(|(old, new)| old != new).expect("the guest wrote") as u64;
    rot_unseen(&month.lab, &month.members[0], at);
    let written = month.lab.bytes(&month.members[0]);
    let run = month.set(&["check", "--restart", "--boot", "after-the-cut", "vm.qset"]);
    assert_eq!(run.code(), Some(2), "two copies, and nobody knows: {run}");
    assert_eq!(month.set(&["repair", "-y", "--boot", "after-the-cut", "vm.qset"]).code(), Some(2));
    assert!(month.lab.bytes(&month.members[0]) == written, "an acknowledged write isn't taken back");

    let runs = history(&month.lab);
    assert!(runs.len() > 30);
    assert!(runs.iter().all(|run| run["ended"].is_string()), "every run has its end");
}

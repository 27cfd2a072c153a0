//! QEMU's locks, byte by byte: whoever holds one keeps us out and is named, and we hold all of them to the end.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    process,
};

use super::{
    Set, repair, scattered,
    support::{Lab, Running},
    wait_until,
};

/// All that a writer in place holds: every permission, and none of them shared.
pub const EXCLUSIVE: [u64; 7] = [100, 101, 103, 200, 201, 202, 203];
/// QEMU's permissions and refusals to share them.
const QEMUS: [i64; 8] = [100, 101, 102, 103, 200, 201, 202, 203];

/// Takes a shared lock on one byte, as QEMU does for each permission; it lasts as long as the file is open.
fn held(member: &Path, byte: i64) -> File {
    let file = File::open(member).expect("it opens");
    let lock = libc::flock { l_type: libc::F_RDLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).expect("a lock to be had");
    file
}

/// The bytes of `member` that a process has locked, as /proc tells: `lock: 1: OFDLCK ADVISORY  READ -1 fe:00:10160192 100 101`.
pub fn bytes_locked(pid: u32, member: &Path) -> Vec<u64> {
    let place = format!(":{}", fs::metadata(member).expect("it is there").ino());
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok()).collect::<String>();
    let mut bytes: Vec<u64> = texts
        .lines()
        .filter_map(|line| line.strip_prefix("lock:"))
        .filter_map(|lock| {
            let words: Vec<&str> = lock.split_whitespace().collect();
            let at = words.iter().position(|word| word.ends_with(&place))?;
            let (first, last) = (words.get(at + 1)?.parse::<u64>().ok()?, words.get(at + 2)?.parse::<u64>().ok()?);
            Some(first..=last)
        })
        .flatten()
        .collect();
    bytes.sort_unstable();
    bytes.dedup();
    bytes
}

/// Waits until a run has locked a member as a writer in place does.
pub fn wait_for_locks(running: &mut Running, member: &Path) {
    let pid = running.id();
    wait_until("the member is locked", || {
        assert!(running.runs(), "it ended before it was seen to lock anything");
        let bytes = bytes_locked(pid, member);
        EXCLUSIVE.iter().all(|byte| bytes.contains(byte))
    });
}

#[test]
fn each_byte_alone_stops_a_repair_and_names_its_holder() {
    let set = Set::new();
    let holder = format!("process {}", process::id());
    for (index, byte) in QEMUS.into_iter().enumerate() {
        let member = &set.members[index % 3];
        let file = held(member, byte);
        let name = format!("disk-{}.img", index % 3);
        let run = set.refuses(set.repair(), 4, &[&name, &holder, "in_place_real"]);
        assert_eq!(run.json()["exit-code"], 4, "byte {byte}: programs hear of it, too\n{run}");
        drop(file);
    }
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
}

#[test]
fn each_byte_alone_stops_an_undo_and_names_its_holder() {
    let set = Set::new();
    set.repair().exits(0);
    let holder = format!("process {}", process::id());
    for (index, byte) in QEMUS.into_iter().enumerate() {
        let file = held(&set.members[index % 3], byte);
        set.refuses(set.undo(), 4, &[&format!("disk-{}.img", index % 3), &holder, "in_place_real"]);
        drop(file);
    }
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// A member that isn't rewritten is read, and nobody may write to it meanwhile; a reader of it is no trouble.
#[test]
fn a_member_that_only_votes_is_locked_too() {
    let set = Set::new();
    for byte in [101, 103, 200] {
        let _file = held(&set.members[2], byte);
        set.refuses(set.repair().args(["--no-write", "#2"]), 4, &["disk-2.img"]);
    }
}

/// Without locks nobody would know of the other.
#[test]
fn unlocked_writing_is_refused() {
    let set = Set::new();
    set.refuses(set.repair().arg("-U"), 3, &["-U"]);
    set.refuses(set.repair().arg("--force-share"), 3, &["--in-place"]);
}

/// A plan locks nobody out who reads, and is kept out by nobody who reads.
#[test]
fn a_dry_run_shares_with_readers() {
    let set = Set::new();
    let _reader = [held(&set.members[1], 100), held(&set.members[1], 201), held(&set.members[1], 203)];
    set.refuses(set.repair().arg("--dry-run"), 1, &[]);
    let _writer = held(&set.members[1], 101);
    set.refuses(set.repair().arg("--dry-run"), 4, &["disk-1.img"]);
}

/// Ours are the bytes of QEMU's protocol and no others, on every member, and they end with the run.
#[test]
fn holds_all_bytes_of_all_members_and_lets_go() {
    let (original, damaged) = scattered(21, false);
    let set = Set::of(original, damaged);
    let mut running = set.repair().args(["-r", "4M"]).start();
    for member in &set.members {
        wait_for_locks(&mut running, member);
        assert_eq!(bytes_locked(running.id(), member), EXCLUSIVE, "{}", member.display());
    }
    // Our own commands heed them, too.
    let check = set.lab.quorum_img(["check"]).args(&set.members).exits(4);
    check.complains(&format!("process {}", running.id()));
    set.repair().exits(4).complains(&format!("process {}", running.id()));
    assert!(running.runs(), "it was to be slow");
    drop(running);
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    for member in &set.members {
        let place = format!(":{} ", fs::metadata(member).expect("it is there").ino());
        assert!(!locks.lines().any(|line| line.contains(&place)), "{} is still locked: {locks}", member.display());
    }
    let run = set.repair().exits(0);
    set.assert_repaired(&run);
}

/// A refused member must not leave the ones before it locked, or keep anybody waiting.
#[test]
fn one_member_in_use_lets_go_of_the_others() {
    let lab = Lab::new();
    let set = Set::below(lab);
    let _guest = held(&set.members[2], 101);
    set.refuses(set.repair(), 4, &["disk-2.img"]);
    let pair = repair(&set.lab, &set.members[..2]).output();
    assert_ne!(pair.code(), Some(4), "{pair}");
}

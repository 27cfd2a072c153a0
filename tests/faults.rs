//! Members that fail while they are read: bad sectors, servers that go away, files that change; and signals to the program.

#[path = "support/signals.rs"]
mod signals;
mod support;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde_json::Value;
use signals::wait_for_handler;
use support::{
    KIB, Lab, MIB, Output, Run,
    fuse::{FaultyFile, FaultyMount},
    noise, sectors,
};

/// Three copies behind a faulty file system, `a.img`, `b.img` and `c.img`, each with the faults that a test gives it.
struct Faulty {
    // Unmounted before the folder goes.
    mount: FaultyMount,
    lab: Lab,
    original: Vec<u8>,
}

const NAMES: [&str; 3] = ["a.img", "b.img", "c.img"];

impl Faulty {
    fn new(length: u64, faults: [fn(FaultyFile) -> FaultyFile; 3]) -> Option<Self> {
        let lab = Lab::new();
        let original = noise(11, usize::try_from(length).expect("a small image"));
        let files = [0, 1, 2].map(|index| (NAMES[index], faults[index](FaultyFile::new(original.clone()))));
        let mount = FaultyMount::new(lab.folder(), files)?;
        Some(Self { mount, lab, original })
    }

    fn members(&self) -> [PathBuf; 3] {
        NAMES.map(|name| self.mount.path(name))
    }

    fn check(&self) -> Run {
        self.lab.quorum_img(["check", "--output", "json"]).args(self.members())
    }

    fn repair(&self) -> Run {
        self.lab.quorum_img(["repair", "--output", "json", "-o"]).arg(self.output()).args(self.members())
    }

    fn output(&self) -> PathBuf {
        self.lab.path("out.img")
    }

    fn assert_restored(&self) {
        let bytes = self.lab.bytes(&self.output());
        let first = bytes.iter().zip(&self.original).position(|(one, other)| one != other);
        assert!(first.is_none() && bytes.len() == self.original.len(), "wrong from byte {first:?} on");
    }
}

fn sound(file: FaultyFile) -> FaultyFile {
    file
}

/// Sectors that plain reading, sector by sector, can't get: what this kernel and this way of reading make of one bad byte.
fn unreadable_sectors(path: &Path) -> Vec<u64> {
    let file = fs::File::open(path).expect("it can be opened");
    let size = file.metadata().expect("its metadata").len();
    (0..size / 512).filter(|sector| file.read_exact_at(&mut [0; 512], sector * 512).is_err()).collect()
}

fn all_words(run: &Output) -> String {
    format!("{}{}", run.stdout(), run.stderr())
}

// --- bad sectors ------------------------------------------------------------------------------------------------------------

/// Past the page cache each sector is asked for by itself, so that one bad sector is one unreadable ballot.
#[test]
fn a_bad_sector_is_one_unreadable_ballot() {
    let bad = |file: FaultyFile| file.uncached().fails(sectors(1001..1002), libc::EIO).fails(sectors(1003..1005), libc::EIO);
    let Some(set) = Faulty::new(MIB, [FaultyFile::uncached, bad, FaultyFile::uncached]) else { return };
    let run = set.check().exits(1);
    let report = run.json();
    assert_eq!(report["members"][1]["unreadable-sectors"], 3, "{run}");
    assert_eq!(report["members"][1]["dissenting-sectors"], 0, "what can't be read doesn't dissent\n{run}");
    assert_eq!(report["sectors"]["decided"], 3, "{run}");
    let listed: Vec<_> = report["divergences"].as_array().expect("a list").iter().map(|it| (&it["offset"], &it["length"])).collect();
    assert_eq!(listed, [(&Value::from(1001 * 512), &Value::from(512)), (&Value::from(1003 * 512), &Value::from(1024))], "{run}");
    assert_eq!(report["divergences"][0]["unreadable"], serde_json::json!([1]), "{run}");
    assert_eq!(report["divergences"][0]["versions"], serde_json::json!([{"members": [0, 2]}]), "{run}");
}

/// Through the page cache a bad byte takes its whole page with it. Mapped, such a page raises SIGBUS: the program goes on, and finds
/// just what plain reading finds.
#[test]
fn a_bad_page_under_a_mapping_is_survived_and_counted() {
    let bad = |file: FaultyFile| file.fails(300_000..300_001, libc::EIO);
    let Some(set) = Faulty::new(2 * MIB, [bad, sound, sound]) else { return };
    let expected = unreadable_sectors(&set.mount.path("a.img"));
    assert!(expected.contains(&(300_000 / 512)) && expected.len() < 1024, "the fault must be there: {expected:?}");
    let run = set.check().exits(1);
    assert_eq!(run.json()["members"][0]["unreadable-sectors"], expected.len(), "{run}");
    assert_eq!(run.json()["divergences"][0]["offset"], expected[0] * 512, "{run}");
    let run = set.repair().exits(0);
    set.assert_restored();
    assert_eq!(run.json()["members"][0]["unreadable-sectors"], expected.len(), "{run}");
}

/// Direct reads come in blocks: the bad sector is among those that can't be read, and no block beside it.
#[test]
fn direct_reading_of_a_bad_sector_costs_a_block_at_most() {
    let bad = |file: FaultyFile| file.fails(sectors(1001..1002), libc::EIO);
    let Some(set) = Faulty::new(MIB, [sound, sound, bad]) else { return };
    let run = set.check().args(["-T", "none"]).exits(1);
    let count = run.json()["members"][2]["unreadable-sectors"].as_u64().unwrap_or(0);
    assert!((1..=8).contains(&count), "{run}");
    for divergence in run.json()["divergences"].as_array().expect("a list") {
        let offset = divergence["offset"].as_u64().expect("an offset");
        assert!((1000 * 512..1008 * 512).contains(&offset), "{run}");
    }
    set.repair().args(["-T", "none"]).exits(0);
    set.assert_restored();
}

/// Each copy has a bad sector of its own in one block of 4 KiB. QEMU's quorum gives up here; two of three can read each sector.
#[test]
fn bad_sectors_of_all_members_in_one_block_are_repaired() {
    let faults: [fn(FaultyFile) -> FaultyFile; 3] = [
        |file| file.uncached().fails(sectors(800..801), libc::EIO),
        |file| file.uncached().fails(sectors(803..804), libc::EIO),
        |file| file.uncached().fails(sectors(807..808), libc::EIO),
    ];
    let Some(set) = Faulty::new(MIB, faults) else { return };
    let run = set.repair().exits(0);
    set.assert_restored();
    assert_eq!(run.json()["repair"]["composed-blocks"], 1, "no member holds that block whole\n{run}");
}

/// One readable ballot of three is no majority.
#[test]
fn what_only_one_can_read_is_undecided() {
    let bad = |file: FaultyFile| file.uncached().fails(sectors(40..42), libc::EIO);
    let Some(set) = Faulty::new(256 * KIB, [bad, bad, FaultyFile::uncached]) else { return };
    let run = set.check().exits(2);
    assert_eq!(run.json()["sectors"]["undecided"], 2, "{run}");
    assert_eq!(run.json()["divergences"][0]["unreadable"], serde_json::json!([0, 1]), "{run}");
    set.repair().exits(2);
    assert!(!set.output().exists());
    set.repair().args(["--undecided", "first"]).exits(2);
    set.assert_restored();
}

/// A dissenter that can be read, beside a good copy that can't: one against one.
#[test]
fn unreadable_is_never_a_version() {
    let bad = |file: FaultyFile| file.uncached().fails(sectors(40..41), libc::EIO);
    let Some(set) = Faulty::new(256 * KIB, [bad, FaultyFile::uncached, FaultyFile::uncached]) else { return };
    set.mount.change("c.img", |file| file.bytes[40 * 512 + 5] ^= 1);
    let run = set.check().exits(2);
    let divergence = &run.json()["divergences"][0];
    assert_eq!(divergence["verdict"], "undecided", "{run}");
    assert_eq!(divergence["versions"], serde_json::json!([{"members": [1]}, {"members": [2]}]), "{run}");
    assert_eq!(divergence["unreadable"], serde_json::json!([0]), "{run}");
}

/// A sector that nobody can read is no version, not even with `--undecided first`: there is no ballot to take.
#[test]
fn what_nobody_can_read_is_never_made_up() {
    let bad = |file: FaultyFile| file.uncached().fails(sectors(40..41), libc::EIO);
    let Some(set) = Faulty::new(256 * KIB, [bad, bad, bad]) else { return };
    for policy in ["fail", "first", "bytes"] {
        set.repair().args(["--undecided", policy]).exits(2);
        assert!(!set.output().exists(), "--undecided {policy}");
    }
    set.repair().args(["--undecided", "zero"]).exits(2);
    assert_eq!(set.lab.read(&set.output(), sectors(40..41)), [0; 512]);
}

/// `--trust`: where the trusted copy can't be read, nobody else is asked.
#[test]
fn what_a_trusted_member_cannot_read_is_undecided() {
    let bad = |file: FaultyFile| file.uncached().fails(sectors(40..41), libc::EIO);
    let Some(set) = Faulty::new(256 * KIB, [FaultyFile::uncached, bad, FaultyFile::uncached]) else { return };
    let run = set.repair().args(["--trust", "#1"]).exits(2);
    assert!(!set.output().exists(), "{run}");
    assert_eq!(run.json()["sectors"]["undecided"], 1, "{run}");
}

/// An error that goes away when one asks again is none of the medium's.
#[test]
fn an_error_that_does_not_repeat_is_no_ballot() {
    let once = |file: FaultyFile| {
        file.uncached()
            .surprised(100_000, |file| file.faults.push((100_000..100_001, libc::EIO)))
            .surprised(100_000, |file| file.faults.clear())
    };
    let Some(set) = Faulty::new(256 * KIB, [FaultyFile::uncached, once, FaultyFile::uncached]) else { return };
    let run = set.check().exits(0);
    assert_eq!(run.json()["members"][1]["unreadable-sectors"], 0, "{run}");
}

/// fifo: a member is read only where all before it could not be.
#[test]
fn fifo_reads_the_next_only_where_it_must() {
    let bad = |file: FaultyFile| file.uncached().fails(sectors(1000..1001), libc::EIO);
    let Some(set) = Faulty::new(MIB, [bad, FaultyFile::uncached, FaultyFile::uncached]) else { return };
    // Nothing is compared: what is wrong in the second doesn't matter where the first can be read.
    set.mount.change("b.img", |file| file.bytes[..4096].fill(0));
    let run = set.repair().args(["--read-pattern", "fifo"]).output();
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    set.assert_restored();
    let report = run.json();
    assert_eq!(report["read-pattern"], "fifo", "{run}");
    assert_eq!(report["members"][0]["unreadable-sectors"], 1, "what was unreadable is reported\n{run}");
    assert!(set.mount.reads("c.img") <= 16, "the third was read {} times", set.mount.reads("c.img"));
}

// --- servers that go away ---------------------------------------------------------------------------------------------------

/// The third server went away in the middle: it is a failed member, and the two others decide.
#[test]
fn a_member_that_goes_away_is_failed_and_the_others_decide() {
    for errno in [libc::ESTALE, libc::ETIMEDOUT, libc::ENXIO] {
        for uncached in [false, true] {
            let Some(set) = Faulty::new(MIB, [sound, sound, sound]) else { return };
            set.mount.change("b.img", |file| {
                file.uncached = uncached;
                file.faults.push((MIB / 2..MIB, errno));
            });
            let run = set.check().exits(1);
            let report = run.json();
            let member = &report["members"][1];
            assert_eq!(member["status"], "failed", "errno {errno}\n{run}");
            assert!(member["error"].as_str().is_some_and(|error| !error.is_empty()), "errno {errno}\n{run}");
            assert_ne!(member["whole"], true, "errno {errno}\n{run}");
            assert_eq!(report["sectors"]["undecided"], 0, "two of three are enough\n{run}");
            assert_eq!(report["members"][0]["whole"], true, "{run}");
            set.repair().exits(0);
            set.assert_restored();
        }
    }
}

/// N still counts it: of two that are left, both must agree.
#[test]
fn a_failed_member_still_counts() {
    let gone = |file: FaultyFile| file.uncached().fails(0..u64::MAX, libc::ESTALE);
    let Some(set) = Faulty::new(256 * KIB, [gone, sound, sound]) else { return };
    set.mount.change("b.img", |file| file.bytes[99_999] ^= 1);
    let run = set.check().exits(2);
    assert_eq!(run.json()["sectors"]["undecided"], 1, "{run}");
    assert_eq!(run.json()["threshold"], 2, "{run}");
    assert_eq!(run.json()["members"][0]["status"], "failed", "{run}");
    set.repair().exits(2);
    assert!(!set.output().exists());
}

/// Two of three servers are gone: nothing can be decided, and nothing may be called clean.
#[test]
fn two_failed_members_of_three_leave_all_undecided() {
    let gone = |file: FaultyFile| file.fails(0..u64::MAX, libc::ETIMEDOUT);
    let Some(set) = Faulty::new(256 * KIB, [gone, sound, gone]) else { return };
    let run = set.check().output();
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    let run = set.repair().output();
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    assert!(!set.output().exists());
}

/// A server that hangs in the middle: an interrupt still ends the run within seconds.
#[test]
fn an_interrupt_is_heard_while_a_slow_server_is_read() {
    let slow = |file: FaultyFile| file.slow(Duration::from_millis(100));
    let Some(set) = Faulty::new(32 * MIB, [sound, slow, sound]) else { return };
    let mut running = set.check().start();
    wait_for_handler(&mut running, libc::SIGINT);
    thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    running.signal("INT");
    running.wait().expect_code(130);
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
}

// --- files that change ------------------------------------------------------------------------------------------------------

/// All bytes agree, but one member was written to meanwhile: what was read first may be different by now, so it isn't clean.
#[test]
fn a_member_written_to_during_the_run_is_not_clean() {
    let touched = |file: FaultyFile| file.uncached().surprised(700_000, |file| file.modified = UNIX_EPOCH + Duration::from_hours(500_000));
    let Some(set) = Faulty::new(MIB, [sound, touched, sound]) else { return };
    let run = set.check().output();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    assert!(all_words(&run).contains("b.img"), "the member must be named\n{run}");
    assert!(run.json()["warnings"].to_string().contains("b.img") || run.json()["members"][1].get("error").is_some(), "{run}");
}

/// It ends early while it is read, under mappings and without: its missing part is absent or the member failed; the others decide.
#[test]
fn a_member_that_shrinks_during_the_run_is_survived() {
    for uncached in [false, true] {
        let shrinks = |file: FaultyFile| file.surprised(500_000, |file| file.bytes.truncate(520_000));
        let Some(set) = Faulty::new(2 * MIB, [sound, sound, shrinks]) else { return };
        set.mount.change("c.img", |file| file.uncached = uncached);
        let run = set.check().output();
        assert!(matches!(run.code(), Some(1..=3)), "{run}");
        assert!(all_words(&run).contains("c.img"), "the member must be named\n{run}");
        if run.code() == Some(1) {
            assert_eq!(run.json()["sectors"]["undecided"], 0, "the others agree everywhere\n{run}");
        }
    }
}

#[test]
fn a_member_that_grows_during_the_run_is_reported() {
    let grows = |file: FaultyFile| file.uncached().surprised(500_000, |file| file.bytes.extend([7; 4096]));
    let Some(set) = Faulty::new(MIB, [grows, sound, sound]) else { return };
    let run = set.check().output();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    assert!(all_words(&run).contains("a.img"), "the member must be named\n{run}");
}

/// On an ordinary file system: cut by another process while it is scanned.
#[test]
fn a_file_truncated_during_the_run_is_reported() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 4 * MIB);
    let original = lab.bytes(&members[0]);
    let mut running = lab.quorum_img(["check", "--output", "json", "--rate-limit", "10M"]).args(&members).start();
    wait_for_handler(&mut running, libc::SIGINT);
    thread::sleep(Duration::from_millis(100));
    lab.set_length(&members[1], 100_000);
    let run = running.wait();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    assert!(all_words(&run).contains("disk-1.img"), "{run}");

    // A repair at that moment either does without it, or gives no file.
    lab.file("disk-1.img", &original);
    let mut running = lab.quorum_img(["repair", "--rate-limit", "10M", "-o", "out.img"]).args(&members).start();
    wait_for_handler(&mut running, libc::SIGINT);
    thread::sleep(Duration::from_millis(100));
    lab.set_length(&members[1], 100_000);
    let run = running.wait();
    assert!(all_words(&run).contains("disk-1.img"), "{run}");
    if lab.path("out.img").exists() {
        lab.assert_same_bytes(&lab.path("out.img"), &members[0]);
    } else {
        assert_ne!(run.code(), Some(0), "{run}");
    }
}

/// Another file is put in the place of a member: what was read is the old one, and the name now means the new.
#[test]
fn a_member_replaced_during_the_run_is_reported() {
    let lab = Lab::new();
    let members: [_; 2] = lab.copies("disk.img", 2 * MIB);
    let mut running = lab.quorum_img(["check", "--output", "json", "--rate-limit", "4M"]).args(&members).start();
    wait_for_handler(&mut running, libc::SIGINT);
    thread::sleep(Duration::from_millis(100));
    let new = lab.file("new.img", lab.bytes(&members[1]));
    fs::rename(new, &members[1]).expect("a rename");
    let run = running.wait();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    assert!(all_words(&run).contains("disk-1.img"), "{run}");
}

// --- signals ----------------------------------------------------------------------------------------------------------------

/// As qemu-img does: USR1 prints how far it is, once, and the run goes on.
#[test]
fn usr1_prints_progress_and_the_run_goes_on() {
    let lab = Lab::new();
    let members: [_; 2] = lab.copies("disk.img", 2 * MIB);
    let mut running = lab.quorum_img(["check", "--output", "json", "--rate-limit", "4M"]).args(&members).start();
    wait_for_handler(&mut running, libc::SIGUSR1);
    thread::sleep(Duration::from_millis(300));
    running.signal("USR1");
    let run = running.wait().expect_code(0);
    assert!(run.stderr().contains('%') || run.stderr().contains("MiB"), "no progress was printed\n{run}");
    assert!(run.json()["sectors"]["total"].is_u64(), "standard output is still the report alone\n{run}");
}

/// Unasked, a run that isn't on a terminal says nothing of its progress.
#[test]
fn progress_is_printed_only_when_asked_for() {
    let lab = Lab::new();
    let members: [_; 2] = lab.copies("disk.img", MIB);
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(0);
    assert_eq!(run.stderr(), "", "{run}");
    let run = lab.quorum_img(["check", "-p", "--output", "json"]).args(&members).exits(0);
    assert!(run.stderr().contains('%'), "{run}");
}

/// sshfs makes an end of the file of a remote read error, while the file's size stays what it was (libfuse/sshfs, issue 224): around that
/// place the page cache holds zeros that nobody wrote, and two copies on one such server would outvote the only good one with them.
#[test]
fn a_member_that_ends_before_its_end_has_failed() {
    fn broken_off(file: FaultyFile) -> FaultyFile {
        FaultyFile { ends_at: Some(5 * MIB / 2), ..file }
    }
    let Some(set) = Faulty::new(4 * MIB, [broken_off, broken_off, broken_off]) else { return };
    let good = set.lab.file("good.img", &set.original);
    let [b, c, _] = set.members();
    let before = set.lab.bytes(&good);
    for line in [vec!["check"], vec!["check", "-T", "none"]] {
        let run = set.lab.quorum_img(line).args(["--output", "json"]).args([&good, &b, &c]).output();
        assert!(matches!(run.code(), Some(2 | 3)), "{run}");
        let report = run.json();
        assert_eq!(report["sectors"]["decided"], 0, "nothing of theirs outvotes anybody\n{run}");
        for index in [1, 2] {
            assert_eq!(report["members"][index]["status"], "failed", "{run}");
            let error = report["members"][index]["error"].as_str().expect("why");
            assert!(error.contains("a read ended at") && error.contains("though its size is"), "{run}");
        }
    }
    let run = set.lab.quorum_img(["repair", "--in-place", "-y", "--no-write", "#1", "--no-write", "#2", "--max-damage", "100"]);
    let run = run.args(["--journal", "journal"]).args([&good, &b, &c]).output();
    assert!(run.code() != Some(0), "{run}");
    assert_eq!(set.lab.bytes(&good), before, "the only good copy\n{run}");
}

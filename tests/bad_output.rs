//! An output disk that lies, fills up or fails: no image appears unless it is complete, synced and read back.

#[path = "support/fuse_disk.rs"]
mod fuse_disk;
mod support;

use std::{ffi::OsString, fs, path::PathBuf};

use fuse_disk::{BadDisk, Faults, Step};
use serde_json::json;
use support::{Lab, MIB, Run, needs, sectors};

/// Three damaged copies on a good disk, and a bad one for the output.
struct Set {
    // Unmounted before the folder goes.
    disk: BadDisk,
    lab: Lab,
    members: [PathBuf; 3],
    original: Vec<u8>,
}

impl Set {
    fn new(faults: Faults) -> Option<Self> {
        let lab = Lab::new();
        let members = lab.copies("disk.img", MIB);
        let original = lab.bytes(&members[0]);
        lab.damage(&members[0], sectors(3..5));
        lab.damage(&members[1], sectors(1000..1001));
        let disk = BadDisk::new(lab.folder(), faults)?;
        Some(Self { disk, lab, members, original })
    }

    fn repair(&self) -> Run {
        self.lab.quorum_img(["repair", "--output", "json", "-o"]).arg(self.disk.path("out.img")).args(&self.members)
    }

    /// It fails with an error that names the output, and leaves nothing on the disk.
    fn fails(&self, words: &[&str]) {
        let run = self.repair().exits(3);
        for word in words {
            run.complains(word);
        }
        run.complains("out.img");
        // Programs are told, too.
        let report = run.json();
        assert_eq!((&report["exit-code"], &report["repair"]["written"]), (&json!(3), &json!(false)), "{run}");
        assert!(report["repair"]["error"].as_str().is_some_and(|error| error.contains("out.img") && error.contains("hint: ")), "{run}");
        assert_eq!(self.disk.names(), Vec::<OsString>::new(), "nothing half-made may stay\n{run}");
    }
}

/// Promise 3, watched from the disk's side: written, synced, read back, and only then named; the folder is synced at last.
#[test]
fn an_output_is_named_only_when_it_is_synced_and_read_back() {
    let Some(set) = Set::new(Faults::default()) else { return };
    let run = set.repair().exits(0);
    assert_eq!(set.disk.names(), ["out.img"], "{run}");
    assert_eq!(set.disk.bytes("out.img"), set.original);
    let steps = set.disk.steps();
    let last = |step: &Step| steps.iter().rposition(|it| it == step).unwrap_or_else(|| panic!("no {step:?} in {steps:?}\n{run}"));
    let named = last(&Step::Name("out.img".into()));
    let synced = last(&Step::Sync);
    assert!(last(&Step::Write) < synced, "what was written is synced: {steps:?}");
    assert!(synced < named, "synced before it has a name: {steps:?}");
    let read = steps[..named].iter().rposition(|it| *it == Step::Read).unwrap_or_else(|| panic!("not read back: {steps:?}\n{run}"));
    assert!(last(&Step::Write) < read, "what was written is read back from the disk: {steps:?}");
    assert!(named < last(&Step::SyncFolder), "the name is synced, too: {steps:?}");
}

/// A disk that stores one bit wrong, silently. The page cache still has it right: only the disk itself can tell.
#[test]
fn a_disk_that_lies_is_found_out() {
    let Some(set) = Set::new(Faults { flips_at: Some(777_777), ..Faults::default() }) else { return };
    set.fails(&[]);
    // Without looking it can't be known: that is what one asks for.
    set.repair().arg("--no-verify").exits(0);
    assert_ne!(set.disk.bytes("out.img"), set.original);
}

/// `df` said that there is space, and in the middle there isn't.
#[test]
fn a_disk_that_fills_up_half_way_is_a_clear_error() {
    let Some(set) = Set::new(Faults { write_error: Some((500_000, libc::ENOSPC)), ..Faults::default() }) else { return };
    set.fails(&["space"]);
}

#[test]
fn a_disk_that_cannot_be_written_is_a_clear_error() {
    let Some(set) = Set::new(Faults { write_error: Some((500_000, libc::EIO)), ..Faults::default() }) else { return };
    set.fails(&["error"]);
    let Some(set) = Set::new(Faults { write_error: Some((500_000, libc::EDQUOT)), ..Faults::default() }) else { return };
    set.fails(&["quota"]);
}

/// What a failed sync lost stays lost, whatever a second one says: there is no output.
#[test]
fn a_failed_sync_means_no_output() {
    let Some(set) = Set::new(Faults { sync_error: Some(libc::EIO), ..Faults::default() }) else { return };
    set.fails(&[]);
}

/// A server that is over its quota may say so only when a file is closed, though all writes and syncs went well (close(2)).
#[test]
fn what_only_closing_tells_means_no_output() {
    let Some(set) = Set::new(Faults { close_error: Some(libc::EDQUOT), ..Faults::default() }) else { return };
    set.fails(&["quota"]);
}

/// Results that go to such a server are lost as well, and that is told.
#[test]
fn what_only_closing_tells_of_standard_output_is_told() {
    let Some(set) = Set::new(Faults { close_error: Some(libc::EDQUOT), ..Faults::default() }) else { return };
    for line in [vec!["check", "--output", "json"], vec!["info"]] {
        let to = fs::File::create(set.disk.path("result")).expect("it can be made");
        set.lab.quorum_img(line).args(&set.members).stdout_to(to).exits(3).complains("standard output").complains("quota");
    }
}

/// A limit on the size of files is an error like any other, not the end of the program without a word.
#[test]
fn a_limit_on_file_sizes_is_a_clear_error() {
    if !needs("prlimit") {
        return;
    }
    let lab = Lab::new();
    let members: [PathBuf; 3] = lab.copies("disk.img", MIB);
    lab.damage(&members[1], sectors(1000..1001));
    let before = lab.listing();
    let run = lab.quorum_img(["repair", "-o", "out.img"]).args(&members).under(["prlimit", "--fsize=600000"]).exits(3);
    run.complains("out.img").complains("too large").complains("hint: ");
    lab.quorum_img(["repair", "--in-place", "-y"]).args(&members).under(["prlimit", "--fsize=2000"]).exits(3).complains("too large");
    let run = lab.quorum_img(["check", "--report", "report.json"]).args(&members).under(["prlimit", "--fsize=100"]).exits(3);
    run.complains("report.json").complains("too large");
    assert_eq!(lab.listing(), before, "nothing half-made may stay\n{run}");
}

/// A server that knows no `O_TMPFILE`, no `RENAME_NOREPLACE` and no hard links: with a name that is free it works even there, or it
/// is refused; never is a file left, or replaced.
#[test]
fn a_server_with_plain_renames_only_loses_nothing() {
    let Some(set) = Set::new(Faults { plain_renames_only: true, ..Faults::default() }) else { return };
    let run = set.repair().output();
    match run.code() {
        Some(0) => assert_eq!(set.disk.bytes("out.img"), set.original),
        code => assert_eq!((code, set.disk.names()), (Some(3), vec![]), "{run}"),
    }
    // To replace a file, a plain rename is what is wanted.
    fs::write(set.disk.path("out.img"), "old").expect("it can be written");
    let run = set.repair().args(["--force", "overwrite"]).exits(0);
    assert_eq!(set.disk.names(), ["out.img"], "{run}");
    assert_eq!(set.disk.bytes("out.img"), set.original);
}

//! Repairs and undos that came to an end too early: who may go on with them, and how.
//!
//! The end comes by a limit on the length of files, which only the member that is to grow reaches.

use std::path::PathBuf;

use super::{
    all_bytes, assert_all_hold, assert_holds, in_place, journal_of, refuses,
    support::{KIB, Lab, MIB, Run, needs, sectors},
    work,
};

/// Three members of a MiB: a has a bad sector, b another one, and c ends 32 KiB early.
struct Set {
    lab: Lab,
    members: [PathBuf; 3],
    original: Vec<u8>,
    before: Vec<Vec<u8>>,
}

impl Set {
    fn new() -> Option<Self> {
        if !needs("prlimit") {
            return None;
        }
        let lab = Lab::new();
        let members = lab.copies("disk.img", MIB);
        let original = lab.bytes(&members[0]);
        lab.damage(&members[0], sectors(10..11));
        lab.damage(&members[1], sectors(900..902));
        lab.set_length(&members[2], MIB - 32 * KIB);
        let before = all_bytes(&lab, &members);
        Some(Self { lab, members, original, before })
    }

    /// A set with a repair that ended before c was done.
    fn unfinished() -> Option<Self> {
        let set = Self::new()?;
        limited(in_place(&set.lab, &set.members)).exits(3);
        Some(set)
    }

    fn undo(&self) -> Run {
        self.lab.quorum_img(["undo"]).arg(journal_of(&self.members[0]))
    }

    fn state(&self) -> String {
        let run = self.lab.quorum_img(["info", "--output", "json"]).arg(journal_of(&self.members[0])).exits(0);
        run.json()[0]["journal"]["state"].as_str().unwrap_or_else(|| panic!("no state\n{run}")).to_owned()
    }
}

/// No file may grow beyond 1008 KiB; whoever tries is told so rather than killed.
fn limited(run: Run) -> Run {
    run.under(["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=1032192"])
}

/// "A write error on one member stops the writing to that member only."
#[test]
fn a_member_that_cannot_be_written_does_not_stop_the_others() {
    let Some(set) = Set::new() else { return };
    let run = limited(in_place(&set.lab, &set.members)).exits(3);
    run.complains("disk-2.img").complains("undo");
    super::support::refusal::assert_clean(&run);
    assert_holds(&set.members[0], &set.original);
    assert_holds(&set.members[1], &set.original);
    let report = run.json();
    assert_eq!(report["repair"]["completed"], false, "{run}");
    assert!(work(&report, 2)["error"].is_string(), "{run}");
    assert!(work(&report, 0).get("error").is_none() && work(&report, 1).get("error").is_none(), "{run}");
    assert_eq!(set.state(), "unfinished");
}

#[test]
fn the_same_command_goes_on_with_it() {
    let Some(set) = Set::unfinished() else { return };
    let run = in_place(&set.lab, &set.members).exits(0);
    let said = run.stderr().to_lowercase();
    assert!(said.contains("journal") && (said.contains("goes on") || said.contains("unfinished")), "it must say that it goes on\n{run}");
    assert_all_hold(&set.members, &vec![set.original.clone(); 3]);
    assert_eq!(set.state(), "complete");
    set.undo().exits(0);
    assert_all_hold(&set.members, &set.before);
}

#[test]
fn an_unfinished_repair_can_be_undone() {
    let Some(set) = Set::unfinished() else { return };
    set.undo().exits(0);
    assert_all_hold(&set.members, &set.before);
    assert_eq!(set.state(), "undone");
}

/// Also where the rest failed a second time.
#[test]
fn it_can_fail_again_and_still_be_undone() {
    let Some(set) = Set::unfinished() else { return };
    limited(in_place(&set.lab, &set.members)).exits(3);
    assert_eq!(set.state(), "unfinished");
    set.undo().exits(0);
    assert_all_hold(&set.members, &set.before);
}

/// What is left to do would be something else: the journal would not fit.
#[test]
fn other_options_do_not_go_on_with_it() {
    let Some(set) = Set::unfinished() else { return };
    for options in [
        &["--trust", "#0"][..],
        &["--sector-size", "4096"],
        &["--threshold", "3", "--size", "1M"],
        &["--range", "0:512k"],
        &["--no-write", "#2"],
        &["--pick", "0:512=#1"],
        &["--size", "900k"],
    ] {
        refuses(&set.lab, in_place(&set.lab, &set.members).args(options), 3, &["disk-0.img.quorum-journal"]);
    }
}

#[test]
fn other_members_do_not_go_on_with_it() {
    let Some(set) = Set::unfinished() else { return };
    let [a, b, c] = &set.members;
    let extra = set.lab.file("extra.img", &set.original);
    let strangers: [_; 3] = set.lab.copies("other.img", 64 * KIB);
    set.lab.damage(&strangers[1], sectors(3..4));
    for members in [&[a, b, &extra][..], &[a, b, c, &extra], &[&strangers[0], &strangers[1], &strangers[2]]] {
        let run = set.lab.quorum_img(["repair", "--in-place", "--journal"]).arg(journal_of(a)).args(members);
        refuses(&set.lab, run, 3, &["disk-0.img.quorum-journal"]);
    }
}

/// What only tells more or less of it is the same repair.
#[test]
fn other_words_for_the_same_go_on_with_it() {
    let Some(set) = Set::unfinished() else { return };
    let names = ["disk-0.img", "./disk-1.img", "disk-2.img"];
    set.lab.quorum_img(["repair", "--in-place", "-j", "1", "--report", "report.json"]).args(names).exits(0);
    assert_all_hold(&set.members, &vec![set.original.clone(); 3]);
    assert_eq!(set.state(), "complete");
}

/// The plan is told, and neither the journal nor a member is touched.
#[test]
fn a_dry_run_leaves_it_as_it_is() {
    let Some(set) = Set::unfinished() else { return };
    refuses(&set.lab, in_place(&set.lab, &set.members).arg("--dry-run"), 1, &[]);
    assert_eq!(set.state(), "unfinished");
}

/// The undo of a cut surplus has to lengthen a file, and can't: it is begun, and must be finished before anything else.
#[test]
fn an_undo_that_failed_is_finished_by_another() {
    if !needs("prlimit") {
        return;
    }
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 960 * KIB);
    lab.set_length(&members[2], MIB);
    lab.write(&members[2], MIB - 5000, &super::support::noise(2, 5000));
    lab.damage(&members[0], sectors(10..11));
    let before = all_bytes(&lab, &members);
    in_place(&lab, &members).args(["--truncate", "--force", "cuts"]).exits(0);

    let undo = || lab.quorum_img(["undo"]).arg(journal_of(&members[0]));
    limited(undo()).exits(3).complains("disk-2.img");
    let info = lab.quorum_img(["info", "--output", "json"]).arg(journal_of(&members[0])).exits(0);
    assert_eq!(info.json()[0]["journal"]["state"], "undo begun", "{info}");
    refuses(&lab, in_place(&lab, &members).arg("--truncate"), 3, &["undo"]);
    undo().exits(0);
    assert_all_hold(&members, &before);
    undo().exits(0);
    assert_all_hold(&members, &before);
}

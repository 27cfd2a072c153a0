//! Where a person knows better, or wants to look at a part only: `--pick`, `--trust`, `--range`, `--from`, `--threshold`.

use super::{
    Damaged, UNDECIDED, assert_holds, filled, refuses, repair,
    support::{KIB, Lab, sectors},
};

#[test]
fn a_pick_settles_what_is_undecided() {
    for by_number in [false, true] {
        let set = Damaged::with_an_undecided_sector();
        let picked = set.lab.read(&set.members[1], UNDECIDED);
        let name = if by_number { "#1".to_owned() } else { set.members[1].display().to_string() };
        let run = set.repair().args(["--pick", &format!("4096:512={name}")]).exits(0);
        let mut expected = set.original.clone();
        expected[4096..4608].copy_from_slice(&picked);
        assert_holds(&set.output, &expected);
        assert_eq!(filled(&run.json()), [], "picked is not filled\n{run}");
        assert!(run.json()["repair"].to_string().contains("pick"), "the report must name what was picked\n{run}");
    }
}

/// A person outvotes them all, and only in the range that was named.
#[test]
fn a_pick_overrides_the_majority() {
    let set = Damaged::new();
    let wrong = set.lab.read(&set.members[2], sectors(300..302));
    set.repair().args(["--pick", &format!("{}:1k=#2", 300 * 512)]).exits(0);
    let mut expected = set.original.clone();
    expected[300 * 512..302 * 512].copy_from_slice(&wrong);
    assert_holds(&set.output, &expected);
}

#[test]
fn picks_can_be_repeated() {
    let set = Damaged::with_an_undecided_sector();
    for member in &set.members {
        set.lab.damage(member, 8192..8704);
    }
    refuses(&set.lab, set.repair().args(["--pick", "4096:512=#0"]), 2, &[]);
    set.repair().args(["--pick", "4096:512=#0", "--pick", "8192:512=#1"]).exits(0);
    let mut expected = set.original.clone();
    expected[4096..4608].copy_from_slice(&set.lab.read(&set.members[0], UNDECIDED));
    expected[8192..8704].copy_from_slice(&set.lab.read(&set.members[1], 8192..8704));
    assert_holds(&set.output, &expected);
}

#[test]
fn a_pick_that_means_nothing_is_refused() {
    let set = Damaged::new();
    for pick in ["4096:512", "4096=#0", "x:512=#0", "4096:512=#3", "4096:512=nobody.img", "4096:512=", "0:0x=#1"] {
        refuses(&set.lab, set.repair().args(["--pick", pick]), 3, &[]);
    }
}

/// No vote: the trusted copy is right where it is outvoted, too.
#[test]
fn trust_copies_one_member() {
    let set = Damaged::new();
    let trusted = set.lab.bytes(&set.members[2]);
    for name in ["#2".to_owned(), set.members[2].display().to_string()] {
        set.repair().args(["--force", "overwrite", "--trust", &name]).exits(0);
        assert_holds(&set.output, &trusted);
    }
}

#[test]
fn the_size_of_a_trusted_member_is_right_too() {
    for length in [100 * KIB + 100, 300 * KIB] {
        let set = Damaged::new();
        set.lab.set_length(&set.members[0], length);
        // What the others have behind that end is theirs alone.
        let words = if length < 256 * KIB { &["--trust", "#0", "--force", "cuts"][..] } else { &["--trust", "#0"] };
        set.repair().args(words).exits(0);
        assert_holds(&set.output, &set.lab.bytes(&set.members[0]));
    }
}

#[test]
fn trust_of_a_stranger_is_refused() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().args(["--trust", "stranger.img"]), 3, &["stranger.img"]);
    refuses(&set.lab, set.repair().args(["--trust", "#7"]), 3, &["7"]);
}

/// Nobody looked at the rest, so nobody can vouch for it.
#[test]
fn what_differs_outside_of_the_range_is_undecided() {
    let set = Damaged::new();
    // Inside: a's damage. Outside: those of b and c.
    let range = ["--range", "0:16k"];
    refuses(&set.lab, set.repair().args(range), 2, &[]);
    let run = set.repair().args(range).args(["--undecided", "first"]).exits(2);
    assert_eq!(filled(&run.json()), [(100 * 512, 512), (300 * 512, 3 * 512)], "{run}");
    // What a, the first, holds there is right.
    set.assert_restored();
}

#[test]
fn a_range_that_holds_all_differences_is_enough() {
    let set = Damaged::new();
    set.repair().args(["--range", "5k:200k"]).exits(0);
    set.assert_restored();
}

/// Only what an earlier check listed is voted on again.
#[test]
fn repairs_from_a_report() {
    let set = Damaged::new();
    set.lab.quorum_img(["check", "--report", "report.json"]).args(&set.members).exits(1);
    set.repair().args(["--from", "report.json"]).exits(0);
    set.assert_restored();
}

/// The report is of yesterday, and today a copy has a new bad sector: it must not be handed on as if it had been looked at.
#[test]
fn damage_later_than_the_report_is_not_passed_on_in_silence() {
    for member in 0..3 {
        let set = Damaged::new();
        set.lab.quorum_img(["check", "--report", "report.json"]).args(&set.members).exits(1);
        set.lab.damage(&set.members[member], sectors(400..401));
        let run = set.repair().args(["--from", "report.json"]).output();
        if run.code() == Some(0) {
            set.assert_restored();
        }
    }
}

#[test]
fn a_report_that_is_none_is_refused() {
    let set = Damaged::new();
    set.lab.file("report.json", "{\"schema\": 1}");
    refuses(&set.lab, set.repair().args(["--from", "report.json"]), 3, &["report.json"]);
    set.lab.file("report.json", "no JSON");
    refuses(&set.lab, set.repair().args(["--from", "report.json"]), 3, &["report.json"]);
    refuses(&set.lab, set.repair().args(["--from", "missing.json"]), 3, &["missing.json"]);
}

/// Its offsets would mean other things here.
#[test]
fn a_report_of_another_disk_is_refused() {
    let set = Damaged::new();
    let [x, y, z] = set.lab.copies("other.img", 128 * KIB);
    set.lab.damage(&x, sectors(7..8));
    set.lab.quorum_img(["check", "--report", "report.json"]).args([&x, &y, &z]).exits(1);
    refuses(&set.lab, set.repair().args(["--from", "report.json"]), 3, &["report.json"]);
}

/// Two of four are no majority: whoever wants that says so by name.
#[test]
fn a_threshold_below_the_majority_needs_force() {
    let lab = Lab::new();
    let members: [_; 4] = lab.copies("disk.img", 64 * KIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[0], sectors(5..6));
    lab.damage(&members[3], sectors(5..6));
    let output = lab.path("out.img");
    let run = || repair(&lab, &output, &members).args(["--threshold", "2"]);
    refuses(&lab, run(), 2, &["minority"]);
    refuses(&lab, run().args(["--force", "overwrite"]), 2, &["minority"]);
    refuses(&lab, repair(&lab, &output, &members), 2, &[]);
    run().args(["--force", "minority"]).exits(0);
    assert_holds(&output, &original);
}

#[test]
fn a_force_that_does_not_exist_is_refused() {
    let set = Damaged::new();
    refuses(&set.lab, set.repair().args(["--force", "everything"]), 3, &["everything"]);
    // "One word a refusal", and several at once, as design.md writes it.
    set.repair().args(["--force", "minority,overwrite"]).exits(0);
}

//! Media that don't say the same twice: what memory or the way made up has no ballot, and what a medium doesn't keep is nobody's writing.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
};

use super::{
    fuse_medium::BLOCK,
    on_media::OnMedia,
    support::{Output, noise},
};

/// The block that answers differently.
const PLACE: u64 = 5;
/// Only the first answer is made up.
const ONCE: u64 = 1;

/// Three good copies, of which some, by name, have `flips` in that block.
fn flaky(names: &[&str], flips: u64) -> Option<OnMedia> {
    let original = noise(5, 300_000);
    let set = OnMedia::new(original.clone(), [original.clone(), original.clone(), original])?;
    set.flip(names, flips);
    Some(set)
}

impl OnMedia {
    /// The next readings of that block of these copies have flipped bits.
    fn flip(&self, names: &[&str], flips: u64) {
        for name in names {
            self.media.with(name, |file| file.flaky.insert(PLACE, flips));
        }
    }

    fn check(&self, code: i32) -> Output {
        self.lab.quorum_img(["check", "--output", "json"]).args(self.members()).exits(code)
    }
}

/// A flipped bit in the page cache, or one that a cable flipped, isn't what the copy holds: it isn't counted against its data.
#[test]
fn what_answers_otherwise_has_no_ballot_and_is_told() {
    let Some(set) = flaky(&["b.img"], ONCE) else { return };
    let run = set.check(1);
    let report = run.json();
    assert_eq!(report["members"][1]["unstable-sectors"], 1, "{run}");
    assert_eq!(report["members"][1]["dissenting-sectors"], 0, "{run}");
    assert_eq!(report["members"][1]["whole"], false, "{run}");
    assert!(report["members"][0].get("unstable-sectors").is_none(), "only where there is something to say\n{run}");
    let listed = &report["divergences"][0];
    assert_eq!((listed["offset"].as_u64(), listed["unstable"].to_string().as_str()), (Some(PLACE * BLOCK), "[1]"), "{run}");
    set.flip(&["b.img"], ONCE);
    let run = set.lab.quorum_img(["check"]).args(set.members()).exits(1);
    let said = run.stdout();
    assert!(said.contains("UNSTABLE") && said.contains("1 sector answered differently when read again"), "{run}");
    assert!(said.contains("unstable: #1"), "{run}");
}

/// Two copies whose answers memory made up alike would outvote, and overwrite, the only one that told the truth.
#[test]
fn made_up_answers_dont_outvote_the_third_copy() {
    for (way, code) in [("check", 2), ("in place", 2), ("new image", 2)] {
        let Some(set) = flaky(&["a.img", "b.img"], ONCE) else { return };
        let run = match way {
            "check" => set.check(code),
            "in place" => set.repair().exits(code),
            _ => set.lab.quorum_img(["repair", "-o", "new.img"]).args(set.members()).exits(code),
        };
        set.assert_as_before(&run);
        assert!(!set.lab.path("new.img").exists(), "{run}");
    }
}

/// What was made up once only is there when it is looked at again: both ways of writing go through.
#[test]
fn a_single_wrong_answer_is_repaired_around() {
    let Some(set) = flaky(&["b.img"], ONCE) else { return };
    let run = set.lab.quorum_img(["repair", "-o", "new.img"]).args(set.members()).exits(0);
    assert_eq!(set.lab.bytes(&set.lab.path("new.img")), set.original, "{run}");
    // A copy that is of two minds all the time.
    let Some(set) = flaky(&["b.img"], 0x5555_5555_5555_5555) else { return };
    let run = set.repair().output();
    set.assert_repaired(&run);
}

/// The second copy has to be repaired, and its medium keeps other bytes there than are written.
fn bending() -> Option<OnMedia> {
    let original = noise(5, 300_000);
    let mut second = original.clone();
    second[(PLACE * BLOCK) as usize..][..512].fill(7);
    let set = OnMedia::new(original.clone(), [original.clone(), second, original])?;
    set.media.with("b.img", |file| file.bending.insert(PLACE));
    Some(set)
}

/// The medium keeps other bytes than were written, which the reading back notices. Nobody else wrote there, and nobody is said to have.
fn not_kept(finished: bool) {
    let Some(set) = bending() else { return };
    let run = set.repair().exits(3);
    assert!(run.stderr().contains("reads back differently") || run.stdout().contains("reads back differently"), "{run}");
    let again = set.repair().exits(3);
    assert!(!again.stderr().contains("somebody wrote"), "{again}");
    assert!(again.stdout().contains("reads back differently"), "its cause, once more\n{again}");
    // Replaced by one that does keep it, the repair goes through; or what was there before comes back.
    set.media.with("b.img", |file| file.bending.clear());
    if finished {
        let run = set.repair().exits(0);
        set.assert_repaired(&run);
    } else {
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
    }
}

#[test]
fn what_a_medium_didnt_keep_isnt_somebodys_writing() {
    [true, false].into_iter().for_each(not_kept);
}

/// The same where somebody did write there since: that is told.
#[test]
fn what_somebody_wrote_where_a_medium_failed_is_told() {
    let Some(set) = bending() else { return };
    set.repair().exits(3);
    set.media.with("b.img", |file| file.bending.clear());
    let mut file = fs::OpenOptions::new().write(true).open(set.media.path("b.img")).expect("it is there");
    file.seek(SeekFrom::Start(PLACE * BLOCK + 9)).and_then(|_| file.write_all(b"mine")).expect("it can be written");
    drop(file);
    for run in [set.repair().exits(3), set.undo().exits(3)] {
        assert!(run.stderr().contains("isn't as the repair") && run.stderr().contains("somebody wrote there since"), "{run}");
    }
}

//! Sectors that can't be read: overwriting a whole block heals it, where all of the block is known and the medium plays along.

use std::{fs, ops::Range, os::unix::fs::FileExt};

use serde_json::Value;

use super::{
    fuse_medium::{BLOCK, Bad},
    on_media::{NAMES, OnMedia},
    support::{KIB, Output, noise, sectors},
};

/// Something ordinary that is wrong with the second member.
const DISSENTING: Range<u64> = 200 * 512..202 * 512;

/// The second copy has bad blocks, under which nothing is left, and two sectors that are just wrong.
fn worn(length: u64, uncached: bool, bad: &[(u64, Bad)]) -> Option<OnMedia> {
    let original = noise(6, usize::try_from(length).expect("a small image"));
    let mut second = original.clone();
    second[DISSENTING.start as usize..DISSENTING.end as usize].fill(0x77);
    for (offset, _) in bad {
        let block = (offset / BLOCK * BLOCK) as usize;
        let end = (block + BLOCK as usize).min(second.len());
        second[block..end].fill(0xdd);
    }
    let set = OnMedia::new(original.clone(), [original.clone(), second, original])?;
    for name in NAMES {
        set.media.with(name, |file| file.uncached = uncached);
    }
    set.media.with("b.img", |file| file.bad.extend(bad.iter().map(|(offset, how)| (offset / BLOCK, *how))));
    Some(set)
}

impl OnMedia {
    /// Undoes it, which always works, and looks at what comes back: all but the blocks `kept` of the second member, which hold the
    /// right bytes.
    fn undone(&self, kept: &[u64]) -> Output {
        let run = self.undo().exits(0);
        let mut expected = self.before[1].clone();
        for block in kept {
            let start = (block * BLOCK) as usize;
            let range = start..(start + BLOCK as usize).min(expected.len());
            expected[range.clone()].copy_from_slice(&self.original[range]);
        }
        self.assert_holds("b.img", &expected, &run);
        self.assert_holds("a.img", &self.before[0], &run);
        self.assert_holds("c.img", &self.before[2], &run);
        run
    }

    /// The second member's blocks that were written to.
    fn blocks_written(&self) -> Vec<u64> {
        let writes = self.media.with("b.img", |file| file.writes.clone());
        let mut blocks: Vec<u64> = writes.iter().flat_map(|write| write.start / BLOCK..write.end.div_ceil(BLOCK)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }
}

/// Where the ranges of a list in the report begin and end; they are the second member's.
fn listed(run: &Output, key: &str) -> Vec<(u64, u64)> {
    let report = run.json();
    let list = report["repair"][key].as_array().unwrap_or_else(|| panic!("no list {key}\n{run}"));
    let number = |entry: &Value, key: &str| entry[key].as_u64().unwrap_or_else(|| panic!("{key} of {entry}\n{run}"));
    let entries = list.iter().map(|entry| {
        assert_eq!(entry["member"], 1, "{run}");
        (number(entry, "offset"), number(entry, "offset") + number(entry, "length"))
    });
    entries.collect()
}

/// Whether an optional list is empty or missing.
fn nothing_listed(run: &Output, key: &str) -> bool {
    run.json()["repair"].get(key).is_none_or(|list| list.as_array().is_some_and(Vec::is_empty))
}

#[test]
fn whole_blocks_are_healed_and_stay_so_after_an_undo() {
    for uncached in [false, true] {
        let bad = [(8 * KIB, Bad::UntilOverwritten), (44 * KIB, Bad::UntilOverwritten), (48 * KIB, Bad::UntilOverwritten)];
        let Some(set) = worn(256 * KIB, uncached, &bad) else { return };
        let run = set.repair().exits(0);
        set.assert_holds("b.img", &set.original, &run);
        assert!(set.media.with("b.img", |file| file.bad.is_empty()), "{run}");
        let repair = &run.json()["repair"];
        assert_eq!((&repair["healed-sectors"], &repair["not-healed-sectors"]), (&24.into(), &0.into()), "{run}");
        assert_eq!(repair["completed"], true, "{run}");
        assert_eq!(listed(&run, "healed"), [(8 * KIB, 12 * KIB), (44 * KIB, 52 * KIB)], "{run}");
        assert!(nothing_listed(&run, "not-healed"), "{run}");
        let member = &repair["members"][0];
        assert_eq!((&member["index"], &member["unreadable-bytes"]), (&1.into(), &(24 * 512).into()), "{run}");
        assert_eq!(member["dissenting-bytes"], 1024, "{run}");
        assert_eq!(set.blocks_written(), [2, 11, 12, DISSENTING.start / BLOCK], "nothing but what differs, rounded to blocks\n{run}");

        let run = set.undone(&[2, 11, 12]);
        let said = run.stdout() + &run.stderr();
        assert!(said.contains("b.img") && said.contains("unreadable"), "{run}");
        assert!(
            (said.contains("8192") || said.contains("0x2000")) && (said.contains("45056") || said.contains("0xb000")),
            "healed sectors are listed\n{run}"
        );
    }
}

/// Of the member nothing but bad blocks is wrong: an undo has nothing to put back.
#[test]
fn info_says_what_was_unreadable() {
    let Some(set) = worn(256 * KIB, false, &[(64 * KIB, Bad::UntilOverwritten)]) else { return };
    set.repair().exits(0);
    let run = set.lab.quorum_img(["info", "--output", "json"]).arg(set.journal()).exits(0);
    let members = run.json()[0]["journal"]["members"].clone();
    let second =
        members.as_array().into_iter().flatten().find(|member| member["path"].as_str().is_some_and(|path| path.ends_with("b.img")));
    let second = second.unwrap_or_else(|| panic!("it isn't there\n{run}"));
    assert_eq!(second["unreadable-bytes"], 4096, "{run}");
}

/// The short block at the end of a file can't be written as a whole: whatever becomes of it, the report is right.
#[test]
fn the_short_last_block_is_healed_or_listed() {
    let length = 256 * KIB - 1000;
    let Some(set) = worn(length, false, &[(length - 1, Bad::UntilOverwritten)]) else { return };
    let run = set.repair().output();
    let healed = set.media.with("b.img", |file| file.bad.is_empty());
    let last = (252 * KIB, length);
    if healed {
        set.assert_holds("b.img", &set.original, &run);
        assert_eq!(listed(&run, "healed"), [last], "{run}");
        run.expect_code(0);
    } else {
        assert_eq!(listed(&run, "not-healed"), [last], "{run}");
        run.expect_code(2);
    }
}

/// To heal it the whole block would have to be written, and nobody knows what belongs into one of its sectors.
#[test]
fn a_block_with_an_undecided_sector_is_left_alone() {
    for uncached in [false, true] {
        let bad = [(8 * KIB, Bad::UntilOverwritten), (40 * KIB, Bad::UntilOverwritten)];
        let Some(mut set) = worn(256 * KIB, uncached, &bad) else { return };
        let undecided = sectors(83..84);
        set.media.with("c.img", |file| file.bytes[undecided.start as usize] ^= 1);
        set.before[2] = set.media.bytes("c.img");
        let run = set.repair().exits(2);
        assert!(!set.blocks_written().contains(&10), "{run}");
        assert!(set.media.with("b.img", |file| file.bad.keys().eq([&10])), "the other one is healed\n{run}");
        let repair = &run.json()["repair"];
        assert_eq!(repair["healed-sectors"], 8, "{run}");
        // Seven are decided, and whether the undecided one counts is a matter of words.
        assert!([7, 8].map(Value::from).contains(&repair["not-healed-sectors"]), "{run}");
        let not_healed = listed(&run, "not-healed");
        assert!(not_healed.first().is_some_and(|range| range.0 == 40 * KIB), "{run}");
        assert!(not_healed.last().is_some_and(|range| range.1 == 44 * KIB), "{run}");
        assert_eq!(run.json()["sectors"]["undecided"], 1, "{run}");
        set.assert_holds("a.img", &set.before[0], &run);
        set.assert_holds("c.img", &set.before[2], &run);
        set.undone(&[2]);
    }
}

/// A block that takes no writes, or takes them and still can't be read: said, and the rest is done.
#[test]
fn what_never_heals_is_listed() {
    for how in [Bad::ForWriting, Bad::ForGood] {
        for uncached in [false, true] {
            let bad = [(8 * KIB, Bad::UntilOverwritten), (40 * KIB, how)];
            let Some(set) = worn(256 * KIB, uncached, &bad) else { return };
            let run = set.repair().output();
            let what = format!("{how:?}, uncached: {uncached}\n{run}");
            assert_eq!(run.code(), Some(2), "{what}");
            let repair = &run.json()["repair"];
            assert_eq!((&repair["healed-sectors"], &repair["not-healed-sectors"]), (&8.into(), &8.into()), "{what}");
            assert_eq!(listed(&run, "healed"), [(8 * KIB, 12 * KIB)], "{what}");
            assert_eq!(listed(&run, "not-healed"), [(40 * KIB, 44 * KIB)], "{what}");
            let bytes = set.media.bytes("b.img");
            let (start, end) = (DISSENTING.start as usize, DISSENTING.end as usize);
            assert_eq!(bytes[start..end], set.original[start..end], "the rest is repaired\n{what}");
            run.complains("b.img");
            match how {
                // What lies under the block can't be known, nor put back.
                Bad::ForGood => set.undone(&[2, 10]),
                _ => set.undone(&[2]),
            };
        }
    }
}

/// Healing isn't done where it isn't asked for.
#[test]
fn a_plan_heals_nothing() {
    let Some(set) = worn(256 * KIB, false, &[(8 * KIB, Bad::UntilOverwritten)]) else { return };
    let run = set.repair().arg("--dry-run").exits(1);
    assert_eq!(run.json()["repair"]["members"][0]["unreadable-bytes"], 4096, "{run}");
    assert_eq!(set.blocks_written(), [0; 0], "{run}");
    let run = set.repair().args(["--no-write", "#1"]).exits(1);
    assert_eq!(set.blocks_written(), [0; 0], "{run}");
}

/// What the other tests stand on: the medium fails as it says.
#[test]
fn the_medium_itself() {
    let bad = [(8 * KIB, Bad::UntilOverwritten), (16 * KIB, Bad::ForWriting), (24 * KIB, Bad::ForGood)];
    for uncached in [false, true] {
        let Some(set) = worn(128 * KIB, uncached, &bad) else { return };
        let file = fs::OpenOptions::new().read(true).write(true).open(set.media.path("b.img")).expect("it opens");
        let reads = |block: u64| file.read_exact_at(&mut [0; 512], block * BLOCK + 512).is_ok();
        let writes = |block: u64, length: usize| file.write_all_at(&vec![1; length], block * BLOCK).and_then(|()| file.sync_all()).is_ok();
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(reads), [true, false, true, false, true, false, true]);
        assert_eq!([1, 2, 4, 6].map(|block| writes(block, 512)), [true, false, false, false]);
        assert_eq!([1, 2, 4, 6].map(|block| writes(block, 4096)), [true, true, false, true]);
        // What was written just now is still in the page cache, unless that is asked to forget.
        nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("it may be asked");
        assert_eq!([1, 2, 4, 6].map(reads), [true, true, false, false]);
    }
}

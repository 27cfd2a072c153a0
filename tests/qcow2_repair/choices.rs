//! What is written to images, and what isn't, is chosen as for raw members.

use std::fs;

use super::{
    assert_equal, assert_guest, assert_image, guest_bytes, have_qemu, qemu_img, refuses,
    set::{PLAIN, SIZE, Set, follow},
    some_disk, state,
    support::{Lab, Run, sectors},
    words,
};

fn plain() -> Set {
    Set::new(&[PLAIN])
}

/// The plan is shown, and nothing is written: no byte, no time, no journal.
#[test]
fn a_dry_run_writes_nothing() {
    if !have_qemu() {
        return;
    }
    for lines in [&[PLAIN][..], &["img convert -c -f raw -O qcow2 was.raw bad.q", "img snapshot -c s1 bad.q"]] {
        let set = Set::new(lines);
        let report = refuses(&set.lab, set.repair().arg("--dry-run"), 1, &[]).json();
        assert_eq!(report["repair"]["dry-run"], true, "{report}");
        assert_eq!(report["repair"]["members"][0]["index"], 1, "{report}");
        assert!(!report["repair"]["plan"].as_array().expect("a plan").is_empty(), "{report}");
        let human = set.lab.quorum_img(words("repair --in-place --dry-run raw:a.raw qcow2:bad.q raw:c.raw")).exits(1);
        human.says("bad.q");
    }
}

#[test]
fn a_spared_member_only_votes() {
    if !have_qemu() {
        return;
    }
    let set = plain();
    for name in ["#1", "qcow2:bad.q", "bad.q"] {
        let before = state(&set.lab);
        let run = set.repair().args(["--no-write", name]).output();
        if name == "bad.q" && run.code() == Some(3) {
            continue; // members are named as they are given
        }
        super::assert_state(&before, &state(&set.lab), &run);
        run.expect_code(1);
    }
    // Its vote counts all the same.
    set.lab.damage(&set.lab.path("a.raw"), sectors(300..301));
    let run = set.repair().args(["--no-write", "#1"]).exits(1);
    assert_equal("a.raw", &set.lab.bytes(&set.lab.path("a.raw")), &set.good, &run);
    set.assert_as_before(&run);
}

/// One member is right: the image becomes like a raw file, or raw files become like the image.
#[test]
fn one_member_is_trusted() {
    if !have_qemu() {
        return;
    }
    let set = plain();
    set.is_mended_and_undone(set.repair().args(["--trust", "#2"]));

    let set = plain();
    let was = guest_bytes(&set.lab, "bad.q", None);
    let run = set.repair().args(words("--trust #1 --force stale,newer")).exits(0);
    set.assert_as_before(&run);
    for name in ["a.raw", "c.raw"] {
        assert_equal(name, &set.lab.bytes(&set.lab.path(name)), &was, &run);
    }
    let run = set.undo().exits(0);
    for name in ["a.raw", "c.raw"] {
        assert_equal(name, &set.lab.bytes(&set.lab.path(name)), &set.good, &run);
    }

    // Two are enough for that: an image that becomes like another one.
    let set = plain();
    qemu_img(&set.lab, "convert -c -f raw -O qcow2 good.raw good.q");
    let good = set.lab.bytes(&set.lab.path("good.q"));
    let run = set
        .lab
        .quorum_img(words("repair --in-place -f qcow2 --trust good.q --max-damage 100 --force zeros,empty,cuts --force newer bad.q good.q"))
        .exits(0);
    set.assert_repaired(&run);
    assert_equal("good.q", &set.lab.bytes(&set.lab.path("good.q")), &good, &run);
}

#[test]
fn a_range_is_repaired_and_nothing_else() {
    if !have_qemu() {
        return;
    }
    for options in ["-o cluster_size=512", "-o cluster_size=4k", "", "-c", "-o cluster_size=2M"] {
        let set = Set::new(&[&format!("img convert -f raw -O qcow2 {options} was.raw bad.q"), "img snapshot -c s1 bad.q"]);
        let mut expected = guest_bytes(&set.lab, "bad.q", None);
        let range = 1_048_576..1_500_160;
        expected[range.clone()].copy_from_slice(&set.good[range.clone()]);
        let words = format!("--range {}:{}", range.start, range.len());
        let run = set.repair().args(super::words(&words)).exits(0);
        assert_image(&set.lab, "bad.q", &expected, &run);
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
    }
}

/// Sectors that nobody wins stay as they are in each member; a person may say who is right there.
#[test]
fn undecided_sectors_are_left_alone() {
    if !have_qemu() {
        return;
    }
    for pick in [None, Some("#0"), Some("qcow2:bad.q")] {
        let set = plain();
        // The image holds other bytes in its last sector, too.
        let last = SIZE - 512..SIZE;
        set.lab.damage(&set.lab.path("a.raw"), last.clone());
        let mine = set.lab.bytes(&set.lab.path("a.raw"));
        let from = usize::try_from(last.start).expect("small");
        let theirs = guest_bytes(&set.lab, "bad.q", None)[from..].to_vec();
        let options = pick.map(|name| format!("--pick {}:512={name}", last.start));
        let run = set.repair().args(options.as_deref().map(words).unwrap_or_default()).exits(if pick.is_some() { 0 } else { 2 });
        let (mut image, mut raw) = (set.good.clone(), set.good.clone());
        match pick {
            None => {
                image[from..].copy_from_slice(&theirs);
                raw[from..].copy_from_slice(&mine[from..]);
            }
            Some("#0") => [&mut image, &mut raw].into_iter().for_each(|disk| disk[from..].copy_from_slice(&mine[from..])),
            Some(_) => [&mut image, &mut raw].into_iter().for_each(|disk| disk[from..].copy_from_slice(&theirs)),
        }
        assert_image(&set.lab, "bad.q", &image, &run);
        assert_equal("a.raw", &set.lab.bytes(&set.lab.path("a.raw")), &raw, &run);
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
        assert_equal("a.raw", &set.lab.bytes(&set.lab.path("a.raw")), &mine, &run);
    }
}

/// An image that differs that much may be another disk's.
#[test]
fn too_much_damage_is_refused() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    let good = some_disk(31, SIZE);
    lab.file("good.raw", &good);
    for name in ["a.raw", "c.raw"] {
        lab.file(name, &good);
    }
    follow(&lab, &["img convert -f raw -O qcow2 good.raw bad.q", "noise bad.q 100k 1000000"]);
    let repair = |options: &str| -> Run {
        lab.quorum_img(words("repair --in-place -y --force newer")).args(words(options)).args(["raw:a.raw", "qcow2:bad.q", "raw:c.raw"])
    };
    refuses(&lab, repair(""), 2, &["bad.q", "stale"]);
    refuses(&lab, repair("--max-damage 20"), 2, &["bad.q", "stale"]);
    let run = repair("--max-damage 95 --force zeros").exits(0);
    assert_image(&lab, "bad.q", &good, &run);
}

/// The unit of the vote may be larger than the clusters, or smaller.
#[test]
fn sectors_of_any_size() {
    if !have_qemu() {
        return;
    }
    for sector in ["4096", "65536"] {
        for options in ["-o cluster_size=512", "-o cluster_size=4k", "-c -o cluster_size=2M"] {
            let set =
                Set::new(&[&format!("img convert -f raw -O qcow2 {options} was.raw bad.q")]).options(&format!("--sector-size {sector}"));
            set.is_mended_and_undone(set.repair().args(words("--force stale")));
        }
    }
}

/// A report of an earlier check says what to vote on again.
#[test]
fn from_a_report() {
    if !have_qemu() {
        return;
    }
    let set = plain();
    let members = ["raw:a.raw", "qcow2:bad.q", "raw:c.raw"];
    set.lab.quorum_img(words("check --report all.json")).args(members).exits(1);
    set.is_mended_and_undone(set.repair().args(["--from", "all.json"]));
}

/// The journal goes where it is told to, and never over anything.
#[test]
fn the_journal_has_its_place() {
    if !have_qemu() {
        return;
    }
    let set = plain();
    fs::create_dir(set.lab.path("elsewhere")).expect("a folder");
    refuses(&set.lab, set.repair().args(["--journal", "bad.q"]), 3, &["bad.q"]);
    refuses(&set.lab, set.repair().args(["--journal", "good.raw"]), 3, &["good.raw"]);
    refuses(&set.lab, set.repair().args(["--journal", "no/such/folder/j"]), 3, &["no/such/folder"]);
    let run = set.repair().args(["--journal", "elsewhere/j"]).exits(0);
    set.assert_repaired(&run);
    assert!(!set.journal().exists(), "{run}");
    let run = set.lab.quorum_img(["undo", "elsewhere/j"]).exits(0);
    set.assert_as_before(&run);
}

/// Own clusters, where the journal isn't wanted.
#[test]
fn the_vote_is_the_same_whatever_the_threads() {
    if !have_qemu() {
        return;
    }
    let mut files = Vec::new();
    for threads in ["1", "8"] {
        let set = Set::new(&["img convert -c -f raw -O qcow2 -o cluster_size=4k was.raw bad.q"]);
        let run = set.repair().args(["-j", threads]).exits(0);
        set.assert_repaired(&run);
        assert_guest(&set.lab, "bad.q", &set.good, &run);
        files.push(set.lab.bytes(&set.bad()));
    }
    assert!(files[0] == files[1], "one thread makes another file than eight");
}

/// `-q` says nothing, `-p` and `-y` are taken, events tell of both.
#[test]
fn output_of_any_kind() {
    if !have_qemu() {
        return;
    }
    for options in ["-q", "-p -y", "--output events", "--report all.json", "-T none", "-r 100M"] {
        let set = plain();
        let line = format!("repair --in-place --max-damage 100 --force zeros,empty,cuts {options} raw:a.raw qcow2:bad.q raw:c.raw");
        let run = set.lab.quorum_img(words(&line)).exits(0);
        set.assert_repaired(&run);
        if options == "-q" {
            assert!(run.stderr.is_empty(), "{run}");
        }
        if options.contains("events") {
            assert!(!run.events().is_empty(), "{run}");
        }
        let run = set.undo().exits(0);
        set.assert_as_before(&run);
    }
}

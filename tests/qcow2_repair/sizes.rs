//! An image's virtual size isn't changed in place: it is all repaired or left alone, with words, and never half done.

use super::{
    assert_equal, assert_guest, guest_bytes, have_qemu, refuses,
    set::{SIZE, Set},
    state,
    support::{Output, Run},
    words,
};

/// Runs it: either nothing is written (3), or what is common is repaired and the rest is told (1, and 2 where it lacks something: no
/// option heals that), as undo can take back.
fn never_half_done(set: &Set, run: Run, says: &[&str]) -> Output {
    let before = state(&set.lab);
    let size = guest_bytes(&set.lab, "bad.q", None).len();
    let run = run.output();
    let text = (run.stdout() + &run.stderr()).to_lowercase();
    for word in says {
        assert!(text.contains(word), "it should say {word}\n{run}");
    }
    match run.code() {
        Some(3) => super::assert_state(&before, &state(&set.lab), &run),
        Some(1 | 2) => {
            let now = guest_bytes(&set.lab, "bad.q", None);
            assert_eq!(now.len(), size, "its size was changed\n{run}");
            let common = now.len().min(set.good.len());
            assert_equal("the common part", &now[..common], &set.good[..common], &run);
            set.lab.program("qemu-img").args(words("check -f qcow2 bad.q")).exits(0);
            if set.journal().exists() {
                set.undo().exits(0);
            }
            set.assert_as_before(&run);
        }
        _ => panic!("code 1 to 3 is wanted\n{run}"),
    }
    run
}

#[test]
fn a_smaller_image() {
    if !have_qemu() {
        return;
    }
    for size in ["1M", "2M", "512"] {
        for options in ["", "-o cluster_size=512", "-c"] {
            let set = Set::new(&[
                &format!("img convert -f raw -O qcow2 {options} was.raw bad.q"),
                &format!("img resize -q --shrink -f qcow2 bad.q {size}"),
            ]);
            refuses_or_tells(&set);
            never_half_done(&set, set.repair().args(words("--force stale")), &["size", "repair -o"]);
            // The way out that it tells of.
            set.lab.program("qemu-img").args(words(&format!("resize -q -f qcow2 bad.q {SIZE}"))).exits(0);
            let run = again(&set).args(words("--force stale,newer")).exits(0);
            assert_guest(&set.lab, "bad.q", &set.good, &run);
        }
    }
}

/// The plan is honest about it, too.
fn refuses_or_tells(set: &Set) {
    let before = state(&set.lab);
    let run = set.repair().args(words("--force stale --dry-run")).output();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    super::assert_state(&before, &state(&set.lab), &run);
}

#[test]
fn a_bigger_image() {
    if !have_qemu() {
        return;
    }
    for size in ["2098176", "3M", "1T"] {
        for behind in [false, true] {
            let mut lines = vec!["img convert -f raw -O qcow2 was.raw bad.q".to_owned(), format!("img resize -q -f qcow2 bad.q {size}")];
            if behind {
                lines.push(format!("noise bad.q {SIZE} 512"));
            }
            let set = Set::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            if size == "1T" {
                // Too much to convert. Nothing but the size is looked at.
                let run = set_output(&set, "");
                assert!(matches!(run.code(), Some(1..=3)), "{run}");
                continue;
            }
            for option in ["", "--truncate"] {
                let run = never_half_done(&set, again(&set).args(words(option)), &["bad.q", "isn't changed in place", "repair -o"]);
                assert!(!run.stderr().contains("--truncate cuts"), "it does not\n{run}");
            }
        }
    }
}

fn set_output(set: &Set, options: &str) -> Output {
    set.repair().args(words(options)).output()
}

fn again(set: &Set) -> Run {
    if set.journal().exists() {
        std::fs::remove_file(set.journal()).expect("it is there");
    }
    set.repair()
}

/// Where the others are the odd ones, they become like the image, their lengths too.
#[test]
fn raw_members_get_the_images_size() {
    if !have_qemu() {
        return;
    }
    let set = Set::new(&["img convert -f raw -O qcow2 good.raw bad.q"]);
    set.lab.set_length(&set.lab.path("c.raw"), SIZE - 300_000);
    let run = set.repair().exits(0);
    assert_guest(&set.lab, "bad.q", &set.good, &run);
    assert_equal("c.raw", &set.lab.bytes(&set.lab.path("c.raw")), &set.good, &run);
    set.assert_as_before(&run);
    set.undo().exits(0);
    assert_eq!(set.lab.bytes(&set.lab.path("c.raw")).len() as u64, SIZE - 300_000);
}

/// Trust goes for the size as well: an image can't follow it.
#[test]
fn a_trusted_members_size() {
    if !have_qemu() {
        return;
    }
    let set = Set::new(&["img convert -f raw -O qcow2 was.raw bad.q", "img resize -q --shrink -f qcow2 bad.q 1M"]);
    never_half_done(&set, set.repair().args(words("--trust #0 --force stale")), &["repair -o"]);
}

/// Sizes that nobody agrees on are asked for.
#[test]
fn sizes_without_a_winner() {
    if !have_qemu() {
        return;
    }
    let set = Set::new(&["img convert -f raw -O qcow2 was.raw bad.q", "img resize -q -f qcow2 bad.q 3M"]);
    set.lab.set_length(&set.lab.path("a.raw"), SIZE + 4096);
    let before = state(&set.lab);
    let run = set.repair().output();
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    super::assert_state(&before, &state(&set.lab), &run);
    run.complains("--size");
    let _ = refuses(&set.lab, set.repair().arg("--dry-run"), run.code().expect("a code"), &["--size"]);
}

/// Raw files of odd lengths: the image can only be of whole sectors, and is outvoted or wins by its own size.
#[test]
fn odd_sizes() {
    if !have_qemu() {
        return;
    }
    let set = Set::new(&["img convert -f raw -O qcow2 was.raw bad.q"]);
    for name in ["a.raw", "c.raw"] {
        set.lab.set_length(&set.lab.path(name), SIZE - 100);
    }
    let before = set.lab.bytes(&set.bad());
    let run = set.repair().output();
    assert!(matches!(run.code(), Some(1..=3)), "{run}");
    set.lab.program("qemu-img").args(words("check -f qcow2 bad.q")).exits(0);
    if set.journal().exists() {
        let run = set.undo().exits(0);
        assert_equal("bad.q", &set.lab.bytes(&set.bad()), &before, &run);
    }
}

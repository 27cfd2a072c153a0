//! A file system that gives no locks: nobody can tell who else is there.

use super::{
    on_media::{NAMES, OnMedia},
    repair,
    support::noise,
};

/// The second copy is damaged.
fn lockless(errno: i32) -> Option<OnMedia> {
    let original = noise(5, 1 << 18);
    let mut damaged = original.clone();
    damaged[5000..5100].fill(0);
    OnMedia::without_locks(original.clone(), [original.clone(), damaged, original], errno)
}

#[test]
fn without_locks_writing_takes_a_word() {
    for errno in [libc::ENOLCK, libc::EOPNOTSUPP, libc::ENOSYS] {
        let Some(set) = lockless(errno) else { return };
        let run = set.repair().exits(3);
        run.complains("no-locks").complains("a.img");
        set.assert_as_before(&run);
        assert!(!set.journal().exists(), "{run}");
        assert!(NAMES.iter().all(|name| set.media.with(name, |file| file.writes.is_empty())), "{run}");

        let run = set.repair().args(["--force", "no-locks"]).exits(0);
        set.assert_repaired(&run);

        let run = set.undo().exits(3);
        run.complains("no-locks");
        set.assert_repaired(&run);
        let run = set.undo().args(["--force", "no-locks"]).exits(0);
        set.assert_as_before(&run);
    }
}

/// Looking is allowed, with a warning.
#[test]
fn without_locks_a_plan_is_shown() {
    let Some(set) = lockless(libc::ENOLCK) else { return };
    let run = repair(&set.lab, set.members()).arg("--dry-run").output();
    let said = run.stdout() + &run.stderr();
    assert!(said.contains("locks"), "{run}");
    set.assert_as_before(&run);
}

/// So is a check.
#[test]
fn without_locks_a_check_is_made() {
    let Some(set) = lockless(libc::ENOLCK) else { return };
    let run = set.lab.quorum_img(["check"]).args(set.members()).exits(1);
    let said = run.stdout() + &run.stderr();
    assert!(said.contains("a.img") && said.contains("locks"), "{run}");
}

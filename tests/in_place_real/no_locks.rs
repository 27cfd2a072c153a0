//! A file system that gives no locks: nobody can tell who else is there.

use std::path::PathBuf;

use super::{
    assert_equal,
    fuse_medium::{Media, Medium},
    repair,
    support::{Lab, Output, Run, noise},
    undo,
};

const NAMES: [&str; 3] = ["a.img", "b.img", "c.img"];

struct Lockless {
    // Unmounted before the folder goes.
    media: Media,
    lab: Lab,
    original: Vec<u8>,
    damaged: Vec<u8>,
}

impl Lockless {
    fn new(errno: i32) -> Option<Self> {
        let lab = Lab::new();
        let original = noise(5, 1 << 18);
        let mut damaged = original.clone();
        damaged[5000..5100].fill(0);
        let contents = [&original, &damaged, &original];
        let files = [0, 1, 2].map(|index| (NAMES[index], Medium::new(contents[index].clone())));
        let media = Media::without_locks(lab.folder(), files, errno)?;
        Some(Self { media, lab, original, damaged })
    }

    fn members(&self) -> [PathBuf; 3] {
        NAMES.map(|name| self.media.path(name))
    }

    fn journal(&self) -> PathBuf {
        self.lab.path("journal")
    }

    fn repair(&self) -> Run {
        repair(&self.lab, self.members()).arg("--journal").arg(self.journal())
    }

    fn assert_second_holds(&self, expected: &[u8], run: &Output) {
        assert_equal("b.img", &self.media.bytes("b.img"), expected, run);
    }
}

#[test]
fn without_locks_writing_takes_a_word() {
    for errno in [libc::ENOLCK, libc::EOPNOTSUPP, libc::ENOSYS] {
        let Some(set) = Lockless::new(errno) else { return };
        let run = set.repair().exits(3);
        run.complains("no-locks").complains("a.img");
        set.assert_second_holds(&set.damaged, &run);
        assert!(!set.journal().exists(), "{run}");
        assert!(NAMES.iter().all(|name| set.media.with(name, |file| file.writes.is_empty())), "{run}");

        let run = set.repair().args(["--force", "no-locks"]).exits(0);
        set.assert_second_holds(&set.original, &run);

        let run = undo(&set.lab, &set.journal()).exits(3);
        run.complains("no-locks");
        set.assert_second_holds(&set.original, &run);
        let run = undo(&set.lab, &set.journal()).args(["--force", "no-locks"]).exits(0);
        set.assert_second_holds(&set.damaged, &run);
    }
}

/// Looking is allowed, with a warning.
#[test]
fn without_locks_a_plan_is_shown() {
    let Some(set) = Lockless::new(libc::ENOLCK) else { return };
    let run = repair(&set.lab, set.members()).arg("--dry-run").output();
    let said = run.stdout() + &run.stderr();
    assert!(said.contains("locks"), "{run}");
    set.assert_second_holds(&set.damaged, &run);
}

/// So is a check.
#[test]
fn without_locks_a_check_is_made() {
    let Some(set) = Lockless::new(libc::ENOLCK) else { return };
    let run = set.lab.quorum_img(["check"]).args(set.members()).exits(1);
    let said = run.stdout() + &run.stderr();
    assert!(said.contains("a.img") && said.contains("locks"), "{run}");
}

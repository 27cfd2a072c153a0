//! Three copies on a medium of the test's own, which wears out, fails, or gives no locks, as each test has it.

use std::{array, path::PathBuf};

use super::{
    assert_equal,
    fuse_medium::{Media, Medium},
    repair,
    support::{Lab, Output, Run},
    undo,
};

pub const NAMES: [&str; 3] = ["a.img", "b.img", "c.img"];

/// The copies, and a good disk for the journal.
pub struct OnMedia {
    // Unmounted before the folder goes.
    pub media: Media,
    pub lab: Lab,
    /// What all of them should hold.
    pub original: Vec<u8>,
    /// What each holds before anything is repaired.
    pub before: [Vec<u8>; 3],
}

impl OnMedia {
    pub fn new(original: Vec<u8>, before: [Vec<u8>; 3]) -> Option<Self> {
        Self::mount(original, before, None)
    }

    /// Asked for a lock, the medium answers with `errno`.
    pub fn without_locks(original: Vec<u8>, before: [Vec<u8>; 3], errno: i32) -> Option<Self> {
        Self::mount(original, before, Some(errno))
    }

    fn mount(original: Vec<u8>, before: [Vec<u8>; 3], lock_error: Option<i32>) -> Option<Self> {
        let lab = Lab::new();
        let files = array::from_fn(|index| (NAMES[index], Medium::new(before[index].clone())));
        let media = match lock_error {
            Some(errno) => Media::without_locks::<3>(lab.folder(), files, errno)?,
            None => Media::new::<3>(lab.folder(), files)?,
        };
        Some(Self { media, lab, original, before })
    }

    pub fn members(&self) -> [PathBuf; 3] {
        NAMES.map(|name| self.media.path(name))
    }

    pub fn journal(&self) -> PathBuf {
        self.lab.path("journal")
    }

    pub fn repair(&self) -> Run {
        repair(&self.lab, self.members()).arg("--journal").arg(self.journal())
    }

    pub fn undo(&self) -> Run {
        undo(&self.lab, &self.journal())
    }

    /// The medium itself holds exactly these bytes, whatever caches say.
    pub fn assert_holds(&self, name: &str, expected: &[u8], run: &Output) {
        assert_equal(name, &self.media.bytes(name), expected, run);
    }

    pub fn assert_repaired(&self, run: &Output) {
        for name in NAMES {
            self.assert_holds(name, &self.original, run);
        }
    }

    pub fn assert_as_before(&self, run: &Output) {
        for (name, before) in NAMES.iter().zip(&self.before) {
            self.assert_holds(name, before, run);
        }
    }
}

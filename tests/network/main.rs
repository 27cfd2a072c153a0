//! Members on network file systems: servers that fail, stall, or answer from their own memory. FUSE stands for all of them here, since a test can
//! be its server; tests/nfs tries real ones.

#[allow(dead_code)] // other tests wear it out otherwise
#[path = "../support/fuse_medium.rs"]
mod fuse_medium;
#[path = "../support/signals.rs"]
mod signals;
#[path = "../support/mod.rs"]
mod support;

mod clocks;
mod failing;
mod leftovers;
mod sharing;
mod silent;

use std::path::PathBuf;

use fuse_medium::{Media, Medium};
use serde_json::Value;
use support::{Lab, Run, noise};

const NAMES: [&str; 3] = ["a.img", "b.img", "c.img"];

/// Three copies on servers of the test's own.
struct Servers {
    // Unmounted before the folder goes.
    media: Media,
    lab: Lab,
    original: Vec<u8>,
}

impl Servers {
    fn new() -> Option<Self> {
        let lab = Lab::new();
        let original = noise(3, 4 << 20);
        let media = Media::new::<3>(lab.folder(), NAMES.map(|name| (name, Medium::new(original.clone()))))?;
        Some(Self { media, lab, original })
    }

    fn members(&self) -> [PathBuf; 3] {
        NAMES.map(|name| self.media.path(name))
    }

    fn check(&self) -> Run {
        self.lab.quorum_img(["check", "--output", "json"]).args(self.members())
    }

    fn in_place(&self) -> Run {
        self.lab.quorum_img(["repair", "--in-place", "--output", "json", "--journal", "journal"]).args(self.members())
    }

    /// The second member's bytes differ there from the others'.
    fn damage(&self, at: usize) {
        self.media.with("b.img", |file| file.bytes[at..at + 512].fill(0x55));
    }
}

/// What the report says of a member.
fn member(report: &Value, index: usize) -> &Value {
    &report["members"][index]
}

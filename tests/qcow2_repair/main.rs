//! qcow2 images that are written: new ones, and members that are rewritten in place. QEMU's own tools judge what comes out: its check
//! finds nothing, its compare no difference, its snapshots are what they were.

#[path = "../support/mod.rs"]
mod support;

mod described;
mod in_place;
mod interrupted;
mod output;
mod refused;

use std::path::PathBuf;

use support::{Lab, needs};

/// Overrides for damage that is no few sectors: what is tested here is the writing.
const FORCED: &str = "stale,newer";

/// Whether QEMU's tools are here; says aloud where not.
fn have_qemu() -> bool {
    needs("qemu-img") && needs("qemu-io")
}

/// Runs `qemu-img` with the words of `line`; it must succeed.
fn qemu_img(lab: &Lab, line: &str) {
    lab.program("qemu-img").args(line.split_whitespace()).exits(0);
}

/// Runs these commands of `qemu-io` on a qcow2 image, discards and all.
fn qemu_io(lab: &Lab, image: &str, commands: &[&str]) {
    let words = commands.iter().flat_map(|command| ["-c", command]);
    lab.program("qemu-io").args(["-f", "qcow2", "-d", "unmap"]).args(words).arg(image).exits(0);
}

/// Three copies of an image, of which `b.q` is damaged, and what a guest should see, in `good.raw`.
struct Scene {
    lab: Lab,
    /// `b.q` before anything is done to it.
    damaged: Vec<u8>,
    snapshot: Option<Vec<u8>>,
    options: Vec<String>,
}

impl Scene {
    /// Makes `a.q` with `make`, each line for qemu-img, lets a guest write to it, copies it, and damages `b.q` as `damage` tells qemu-io.
    fn new(make: &[&str], snapshot: bool, damage: &[&str]) -> Self {
        let lab = Lab::new();
        for line in make {
            qemu_img(&lab, line);
        }
        let guest = ["write -q -P 1 0 2M", "write -q -P 2 3M 300k", "write -q -z 5M 200k", "write -q -P 7 6M 1M", "write -q -P 9 8191k 1k"];
        qemu_io(&lab, "a.q", &guest);
        Self::of(lab, snapshot, damage)
    }

    /// The same with an `a.q` that is there already.
    fn of(lab: Lab, snapshot: bool, damage: &[&str]) -> Self {
        if snapshot {
            qemu_img(&lab, "snapshot -c s1 a.q");
            qemu_io(&lab, "a.q", &["write -q -P 3 100k 70k"]);
        }
        let bytes = lab.bytes(&lab.path("a.q"));
        for name in ["b.q", "c.q"] {
            lab.file(name, &bytes);
        }
        qemu_io(&lab, "b.q", damage);
        qemu_img(&lab, "convert -f qcow2 -O raw a.q good.raw");
        let damaged = lab.bytes(&lab.path("b.q"));
        let mut scene = Self { lab, damaged, snapshot: None, options: Vec::new() };
        scene.snapshot = snapshot.then(|| scene.snapshot_now("b.q"));
        scene
    }

    fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    fn snapshot_now(&self, image: &str) -> Vec<u8> {
        qemu_img(&self.lab, &format!("convert -f qcow2 -O raw -l s1 {image} snapshot.raw"));
        self.lab.bytes(&self.lab.path("snapshot.raw"))
    }

    fn journal(&self) -> PathBuf {
        self.lab.path("a.q.quorum-journal")
    }

    fn repair(&self) -> support::Run {
        let words = ["repair", "--in-place", "-f", "qcow2", "--force", FORCED];
        self.lab.quorum_img(words).args(&self.options).args(["a.q", "b.q", "c.q"])
    }

    /// `b.q` is what it should be, to QEMU.
    fn is_repaired(&self) {
        self.lab.program("qemu-img").args(["check", "-f", "qcow2", "b.q"]).exits(0);
        qemu_img(&self.lab, "compare -f qcow2 -F raw b.q good.raw");
        if let Some(snapshot) = &self.snapshot {
            assert!(self.snapshot_now("b.q") == *snapshot, "the snapshot is another one");
        }
        for whole in ["a.q", "c.q"] {
            qemu_img(&self.lab, &format!("compare -f qcow2 -F raw {whole} good.raw"));
        }
    }

    /// Undo gives the very file back.
    fn is_undone(&self) {
        self.lab.quorum_img(["undo", "-y"]).arg(self.journal()).exits(0);
        assert!(self.lab.bytes(&self.lab.path("b.q")) == self.damaged, "undo gave back another file");
    }
}

//! NBD exports as members: qemu-nbd and nbdkit serve them, and a server of the test's own does what no real one does on command.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod far;
mod formats;
mod holes_and_speed;
mod hostile;
mod in_place;
mod info;
mod lost_servers;
mod servers;
mod stand_in;
mod tls;
mod unreachable;
mod votes;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use support::{
    Lab, MIB, Output, Run, needs, noise,
    qemu::{self, qemu_img},
    skip,
};

/// Whether libnbd is here; says aloud where not.
fn have_libnbd() -> bool {
    let listed = Command::new("/sbin/ldconfig").arg("-p").output().map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed);
    let mut places = listed.lines().filter(|line| line.contains("libnbd.so.0 ")).filter_map(|line| line.split("=> ").nth(1));
    // It is a cache that is listed: what it names may be gone.
    places.any(|place| Path::new(place).is_file()) || skip("libnbd is not installed")
}

/// Whether libnbd and QEMU's tools are here; says aloud where not.
fn have_qemu() -> bool {
    have_libnbd() && needs("qemu-nbd") && qemu::have_qemu()
}

/// A disk, and two files that hold it: what an export is measured against.
struct Scene {
    lab: Lab,
    good: Vec<u8>,
    copies: [PathBuf; 2],
}

impl Scene {
    fn new() -> Self {
        Self::of(noise(17, MIB as usize))
    }

    fn of(good: Vec<u8>) -> Self {
        let lab = Lab::new();
        let copies = lab.copies_of("good.img", &good);
        Self { lab, good, copies }
    }

    /// `check --output json EXPORT COPY COPY`.
    fn check(&self, uri: &str) -> Run {
        self.lab.quorum_img(["check", "--output", "json", uri]).args(self.raw_copies())
    }

    /// `repair -o out.img EXPORT COPY COPY`: whatever is wrong with the export, the two copies decide.
    fn repairs(&self, uri: &str) -> Output {
        let run = self.lab.quorum_img(["repair", "--output", "json", "-o", "out.img", uri]).args(self.raw_copies()).exits(0);
        assert_holds(&self.lab.path("out.img"), &self.good);
        run
    }

    fn raw_copies(&self) -> [String; 2] {
        self.copies.each_ref().map(|copy| raw(copy))
    }
}

/// The file as a raw member.
fn raw(path: &Path) -> String {
    format!("raw:{}", path.display())
}

/// The file holds exactly these bytes.
fn assert_holds(file: &Path, expected: &[u8]) {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let first = bytes.iter().zip(expected).position(|(one, other)| one != other);
    assert!(first.is_none(), "{} is wrong from byte {first:?} on", file.display());
    assert_eq!(bytes.len(), expected.len(), "{} has the wrong length", file.display());
}

/// The export failed as a whole, is told why, and the two copies decided everything.
fn assert_failed(run: &Output) {
    let member = &run.json()["members"][0];
    assert_eq!(member["status"], "failed", "{run}");
    assert!(member["error"].as_str().is_some_and(|error| !error.is_empty()), "{run}");
    assert_ne!(member["whole"], true, "{run}");
    assert_eq!(run.json()["sectors"]["undecided"], 0, "two of three are enough\n{run}");
    assert_eq!(run.json()["members"][1]["whole"], true, "{run}");
}

/// The sectors that the report lists as unreadable for member 0, in order.
fn unreadable(report: &Value) -> Vec<u64> {
    let listed = report["divergences"].as_array().into_iter().flatten();
    let hit = listed.filter(|divergence| divergence["unreadable"].as_array().is_some_and(|who| who.iter().any(|index| index == 0)));
    hit.flat_map(|divergence| {
        let number = |key: &str| divergence[key].as_u64().expect("a number") / 512;
        number("offset")..number("offset") + number("length")
    })
    .collect()
}

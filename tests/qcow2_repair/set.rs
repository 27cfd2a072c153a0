//! A damaged qcow2 image among good copies, and all that must hold when it is repaired in place and when that is undone.

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use serde_json::Value;

use super::{
    Standing, assert_equal, assert_image, assert_state, guest_bytes, qemu_img, qemu_io, refuses, snapshots, some_disk, state,
    support::{Lab, MIB, Output, Run, noise},
    words,
};

/// The guest's disk: not a whole number of clusters, and more than one L2 table of small ones.
pub const SIZE: u64 = 2 * MIB + 512;
/// Makes the image as most tests want it.
pub const PLAIN: &str = "img convert -f raw -O qcow2 -o cluster_size=4k was.raw bad.q";

/// The image `bad.q` between two raw files with what is right, `a.raw` and `c.raw`; nobody touches `good.raw`, which holds the same.
pub struct Set {
    pub lab: Lab,
    /// What a guest should see.
    pub good: Vec<u8>,
    /// The file `bad.q` before it is repaired.
    pub damaged: Vec<u8>,
    /// Its snapshots, by name, and what a guest sees of them.
    snapshots: Vec<(String, Vec<u8>)>,
    options: Vec<String>,
}

impl Set {
    /// Makes `bad.q` by these lines (see [`follow`]) of `was.raw` and `good.raw`: two versions of one disk that differ a bit everywhere.
    pub fn new(lines: &[&str]) -> Self {
        static DISKS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
            let good = some_disk(11, SIZE);
            let was = worse(&good);
            [good, was]
        });
        Self::of(DISKS[0].clone(), &DISKS[1], lines)
    }

    /// The same with other disks.
    pub fn of(good: Vec<u8>, was: &[u8], lines: &[&str]) -> Self {
        let lab = Lab::new();
        lab.file("good.raw", &good);
        lab.file("was.raw", was);
        follow(&lab, lines);
        Self::with(lab, good)
    }

    /// Of a `bad.q` that is there already.
    pub fn with(lab: Lab, good: Vec<u8>) -> Self {
        let snapshots = snapshots(&lab, "bad.q").into_iter().map(|name| (name.clone(), guest_bytes(&lab, "bad.q", Some(&name)))).collect();
        let damaged = lab.bytes(&lab.path("bad.q"));
        // They are younger than what they outvote.
        for name in ["a.raw", "c.raw"] {
            lab.file(name, &good);
        }
        Self {
            lab,
            good,
            damaged,
            snapshots,
            options: words("--max-damage 100 --force zeros,empty,cuts").into_iter().map(str::to_owned).collect(),
        }
    }

    /// With more options for every run.
    pub fn options(mut self, options: &str) -> Self {
        self.options.extend(words(options).into_iter().map(str::to_owned));
        self
    }

    pub fn bad(&self) -> PathBuf {
        self.lab.path("bad.q")
    }

    /// The default journal.
    pub fn journal(&self) -> PathBuf {
        self.lab.path("a.raw.quorum-journal")
    }

    /// `repair --in-place --output json` of all three.
    pub fn repair(&self) -> Run {
        let members = ["raw:a.raw", "qcow2:bad.q", "raw:c.raw"];
        self.lab.quorum_img(["repair", "--in-place", "--output", "json", "-y"]).args(&self.options).args(members)
    }

    pub fn undo(&self) -> Run {
        self.lab.quorum_img(["undo"]).arg(self.journal())
    }

    /// All but the image and the journal.
    pub fn others(&self) -> BTreeMap<PathBuf, Standing> {
        let mut all = state(&self.lab);
        all.retain(|path, _| *path != self.bad() && *path != self.journal());
        all
    }

    /// The image is clean, a guest sees what is right, and the snapshots are what they were.
    pub fn assert_repaired(&self, run: &Output) {
        assert_image(&self.lab, "bad.q", &self.good, run);
        let names = snapshots(&self.lab, "bad.q");
        assert!(names.iter().eq(self.snapshots.iter().map(|(name, _)| name)), "other snapshots: {names:?}\n{run}");
        for (name, expected) in &self.snapshots {
            assert_equal(&format!("snapshot {name}"), &guest_bytes(&self.lab, "bad.q", Some(name)), expected, run);
        }
    }

    /// The image's file is the one that it was.
    pub fn assert_as_before(&self, run: &Output) {
        assert_equal("bad.q", &self.lab.bytes(&self.bad()), &self.damaged, run);
    }

    /// That run repairs it, and undo takes it back.
    pub fn is_mended_and_undone(&self, run: Run) {
        let run = run.exits(0);
        self.assert_repaired(&run);
        let run = self.undo().exits(0);
        self.assert_as_before(&run);
    }

    /// What `info` calls the journal's state.
    pub fn journal_state(&self) -> String {
        let run = self.lab.quorum_img(["info", "--output", "json"]).arg(self.journal()).exits(0);
        run.json()[0]["journal"]["state"].as_str().unwrap_or_else(|| panic!("no state\n{run}")).to_owned()
    }

    /// Shows the plan, repairs, repairs again, and undoes: at each step all is as it should be. The first report.
    pub fn heals(&self) -> Value {
        let others = self.others();
        let plan = refuses(&self.lab, self.repair().arg("--dry-run"), 1, &[]).json();
        let run = self.repair().exits(0);
        self.assert_repaired(&run);
        assert_state(&others, &self.others(), &run);
        assert_eq!(self.journal_state(), "complete", "{run}");
        let report = run.json();
        assert_eq!(report["repair"]["plan"], plan["repair"]["plan"], "what was planned is done\n{run}");
        assert_eq!(report["repair"]["completed"], true, "{run}");
        assert_eq!(report["repair"]["verified"], true, "{run}");

        let repaired = state(&self.lab);
        let check = self.lab.quorum_img(["check"]).args(self.references()).args(["raw:a.raw", "qcow2:bad.q", "raw:c.raw"]);
        check.exits(0);
        let again = self.repair().exits(0);
        assert_state(&repaired, &state(&self.lab), &again);

        let undone = self.undo().exits(0);
        self.assert_as_before(&undone);
        assert_state(&others, &self.others(), &undone);
        assert_eq!(self.journal_state(), "undone", "{undone}");
        report
    }

    fn references(&self) -> Option<&String> {
        self.options.iter().find(|option| option.starts_with("--allow-references"))
    }
}

/// The disk as it was before a guest had written some more: a few sectors, stretches along no cluster and over several, zeros where
/// there is data now, data where there are zeros, and another last sector.
pub fn worse(good: &[u8]) -> Vec<u8> {
    let mut was = good.to_vec();
    let part = good.len() / 16;
    for (index, length) in [(1, 512), (3, 3000), (5, 512), (7, 9000), (9, 70_000)] {
        let at = (index * part).next_multiple_of(512) + index; // along no sector either
        was[at..at + length].copy_from_slice(&noise(index as u64, length));
    }
    was[11 * part..11 * part + 140_000].fill(0);
    was[13 * part..13 * part + 5000].fill(0);
    let zeros = good.windows(4096).position(|window| window.iter().all(|&byte| byte == 0)).expect("zeros");
    was[zeros + 1000..zeros + 3000].fill(b'z');
    let end = was.len() - 512;
    was[end..].fill(b'!');
    was
}

/// Makes images: `img ...` is a line for qemu-img, `io FILE COMMAND` one for qemu-io, `noise FILE OFFSET LENGTH` writes noise into a
/// guest's disk, `part FILE FROM OFFSET LENGTH` what another disk holds there, `copy FILE FILE` copies.
pub fn follow(lab: &Lab, lines: &[&str]) {
    for line in lines {
        let (verb, rest) = line.split_once(' ').expect("a verb and its object");
        match verb {
            "img" => drop(qemu_img(lab, rest)),
            "io" => {
                let (image, command) = rest.split_once(' ').expect("an image and a command");
                qemu_io(lab, image, [command]);
            }
            "noise" => {
                let [image, offset, length] = words(rest)[..] else { panic!("three words: {line:?}") };
                let length: usize = length.parse().expect("bytes");
                lab.file("noise.raw", noise(length as u64 ^ 0x99, length));
                qemu_io(lab, image, [format!("write -q -s noise.raw {offset} {length}")]);
                std::fs::remove_file(lab.path("noise.raw")).expect("our own file");
            }
            "part" => {
                let [image, from, offset, length] = words(rest)[..] else { panic!("four words: {line:?}") };
                let number = |word: &str| match word.strip_suffix('k') {
                    Some(number) => number.parse::<usize>().expect("KiB") << 10,
                    None => word.parse().expect("bytes"),
                };
                let bytes = lab.bytes(&lab.path(from));
                let part = &bytes[number(offset)..(number(offset) + number(length)).min(bytes.len())];
                lab.file("part.raw", part);
                qemu_io(lab, image, [format!("write -q -s part.raw {offset} {}", part.len())]);
                std::fs::remove_file(lab.path("part.raw")).expect("our own file");
            }
            "copy" => {
                let [from, to] = words(rest)[..] else { panic!("two words: {line:?}") };
                lab.file(to, lab.bytes(&lab.path(from)));
            }
            _ => panic!("what is {line:?}?"),
        }
    }
}

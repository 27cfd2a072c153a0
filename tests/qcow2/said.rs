//! What is said of images: the command to run next, what an earlier report is good for, and which state of an image voted.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use super::{
    have_qemu,
    layout::Layout,
    qemu_img, qemu_io,
    support::{Lab, MIB, is_root, noise},
};

/// Three overlays, each on a base of its own, with a snapshot `s1` of other bytes; `b.q` has a bad sector in both states.
fn overlays() -> Lab {
    let lab = Lab::new();
    let base = noise(1, 4 << 20);
    for name in ["a", "b", "c"] {
        lab.file(format!("{name}.raw"), &base);
        let image = format!("{name}.q");
        qemu_img(&lab, &format!("create -q -f qcow2 -b {name}.raw -F raw {image}"));
        qemu_io(&lab, "qcow2", &image, ["write -q -P 1 1M 512"]);
        if name == "b" {
            qemu_io(&lab, "qcow2", &image, ["write -q -P 9 2M 512"]);
        }
        qemu_img(&lab, &format!("snapshot -c s1 {image}"));
        qemu_io(&lab, "qcow2", &image, ["write -q -P 2 1M 512", "write -q -P 3 3M 64k"]);
    }
    lab
}

const IMAGES: [&str; 3] = ["qcow2:a.q", "qcow2:b.q", "qcow2:c.q"];

/// The command that is suggested does it, whichever way the formats were stated.
#[test]
fn the_next_command_has_all_that_it_needs() {
    if !have_qemu() {
        return;
    }
    let lab = overlays();
    for members in [IMAGES, ["a.q", "b.q", "c.q"]] {
        for snapshot in [&[][..], &["--snapshot", "s1"]] {
            let mut words = vec!["check", "--allow-references"];
            words.extend(snapshot);
            if members != IMAGES {
                words.extend(["-f", "qcow2"]);
            }
            let run = lab.quorum_img(&words).args(members).exits(1);
            let said = run.stdout();
            let next = said.lines().find(|line| line.contains("quorum-img repair ")).expect("a command").to_owned();
            let words = next.split_whitespace().skip_while(|word| *word != "repair").map(str::to_owned);
            lab.quorum_img(words).exits(0);
            let of_snapshot = if snapshot.is_empty() { "" } else { "-l s1 " };
            qemu_img(&lab, &format!("convert {of_snapshot}-f qcow2 -O raw a.q good.raw"));
            lab.assert_same_bytes(&lab.path("fixed.img"), &lab.path("good.raw"));
            fs::remove_file(lab.path("fixed.img")).expect("it was written");
        }
    }
}

/// Images that only have the same length are no copies of one another, and nobody is told to vote on their bytes.
#[test]
fn only_copies_are_called_so() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 1)] {
        lab.file("disk.raw", noise(seed, 2 << 20));
        qemu_img(&lab, &format!("convert -f raw -O qcow2 disk.raw {name}.q"));
    }
    lab.quorum_img(["check", "-f", "qcow2", "a.q", "b.q"]).exits(2).says_nothing_of("-f raw");
    lab.quorum_img(["check", "--max-damage", "100", "-f", "qcow2", "a.q", "b.q", "c.q"]).exits(1).says_nothing_of("-f raw");
    qemu_io(&lab, "qcow2", "c.q", ["write -q -P 1 1M 512"]);
    lab.quorum_img(["check", "-f", "qcow2", "a.q", "c.q"]).exits(2).says("-f raw");
}

/// A report speaks of what voted for it, and of nothing else.
#[test]
fn a_report_of_another_state_is_refused() {
    if !have_qemu() {
        return;
    }
    let lab = overlays();
    let check = |options: &[&str]| {
        lab.quorum_img(["check", "-q", "--allow-references", "--report", "found.json"]).args(options).args(IMAGES).exits(1);
    };
    let repair = |options: &[&str]| lab.quorum_img(["repair", "--from", "found.json", "-o", "new.img"]).args(options).args(IMAGES);
    check(&["--snapshot", "s1"]);
    repair(&["--allow-references"]).exits(3).complains("snapshot s1").complains("hint:");
    repair(&["--allow-references", "--snapshot", "s1"]).exits(0);
    fs::remove_file(lab.path("new.img")).expect("it was written");
    check(&[]);
    repair(&["--allow-references", "--snapshot", "s1"]).exits(3).complains("snapshot s1").complains("hint:");

    // Whoever wrote the report doesn't write on the terminal.
    let report = fs::read_to_string(lab.path("found.json")).expect("a report");
    fs::write(lab.path("found.json"), report.replacen("\"qcow2\"", r#""\u001b[31mqcow2""#, 1)).expect("our own file");
    let run = repair(&["--allow-references"]).exits(3);
    assert!(run.stderr().contains("[31mqcow2") && !run.stderr().contains('\u{1b}'), "{run}");
    fs::write(lab.path("found.json"), report).expect("our own file");

    // What lies under an image is a part of it.
    lab.damage(&lab.path("c.raw"), 3_500_000..3_500_512);
    repair(&["--allow-references"]).exits(3).complains("c.q").complains("modified");
    assert!(!lab.path("new.img").exists());
    // The files themselves are something else than what a guest sees.
    lab.quorum_img(["repair", "-f", "raw", "--from", "found.json", "-o", "new.img", "a.q", "b.q", "c.q"]).exits(3);
    assert!(!lab.path("new.img").exists());
}

/// The state that voted is in the report.
#[test]
fn snapshots_are_named_and_what_has_none_is_told() {
    if !have_qemu() {
        return;
    }
    let lab = overlays();
    let snapshot = ["check", "--allow-references", "--snapshot", "s1"];
    let run = lab.quorum_img(snapshot).args(["--output", "json"]).args(IMAGES).exits(1);
    assert_eq!(run.json()["members"][1]["snapshot"], "s1", "{run}");
    lab.quorum_img(snapshot).args(IMAGES).exits(1).says("qcow2, s1");
    let run = lab.quorum_img(["check", "--allow-references", "--output", "json"]).args(IMAGES).exits(1);
    assert_eq!(run.json()["members"][1].get("snapshot"), None, "{run}");

    qemu_img(&lab, "convert -l s1 -f qcow2 -O raw a.q s1.raw");
    let run = lab.quorum_img(snapshot).args(["qcow2:a.q", "qcow2:c.q", "raw:s1.raw"]).exits(0);
    run.complains("raw:s1.raw").complains("--snapshot");
    let run = lab.quorum_img(["check", "--snapshot", "s1", "raw:s1.raw", "raw:a.raw"]).exits(3);
    run.complains("none of the members is a qcow2 image").complains("hint:");
}

/// New images look like the old ones, whatever the format.
#[test]
fn mode_and_owner_are_those_of_the_images() {
    if !have_qemu() {
        return;
    }
    let lab = overlays();
    let mode = |name: &str, mode| fs::set_permissions(lab.path(name), fs::Permissions::from_mode(mode)).expect("our own files");
    let output = || {
        lab.quorum_img(["repair", "-q", "--allow-references", "--force", "overwrite", "-o", "new.img"]).args(IMAGES).exits(0);
        let meta = fs::metadata(lab.path("new.img")).expect("it was written");
        (meta.permissions().mode() & 0o777, meta.uid())
    };
    for name in ["a.q", "b.q", "c.q"] {
        mode(name, 0o640);
    }
    let own = fs::metadata(lab.path("a.q")).expect("it is there").uid();
    assert_eq!(output(), (0o640, own));
    mode("b.q", 0o644);
    assert_eq!(output(), (0o600, own), "they don't agree: it is private");
    if is_root() {
        for name in ["a.q", "b.q", "c.q"] {
            mode(name, 0o640);
            std::os::unix::fs::chown(lab.path(name), Some(65534), None).expect("root can");
        }
        assert_eq!(output(), (0o640, 65534));
    }
}

/// A compressed cluster that doesn't inflate is tried once, not once for each of its sectors.
#[test]
fn damaged_big_clusters_take_little_time() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    let mut disk = noise(3, 32 << 20);
    disk.chunks_mut(64).for_each(|chunk| chunk[16..].fill(7));
    lab.copies_of::<2>("good.raw", &disk);
    qemu_img(&lab, "convert -c -f raw -O qcow2 -o cluster_size=2M good-0.raw top.q");
    let layout = Layout::of(&lab, &lab.path("top.q"));
    for cluster in 0..8 {
        let (at, length) = layout.compressed(cluster * 4 * MIB);
        lab.write(&lab.path("top.q"), at + length * 9 / 10, &vec![0xff; (length / 20) as usize]);
    }
    let run = lab.quorum_img(["check", "--output", "json", "qcow2:top.q", "raw:good-0.raw", "raw:good-1.raw"]);
    let report = run.within(Duration::from_secs(40)).exits(1).json();
    assert_eq!(report["members"][0]["unreadable-sectors"], 8 * 2 * MIB / 512);
}

//! What people must know before anything is written, and what can't go well.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    time::{Duration, SystemTime},
};

use super::{
    have_qemu,
    layout::Layout,
    refuses,
    set::{PLAIN, Set, follow},
    state,
    support::{
        Lab, MIB,
        mounts::{Mounted, can_mount, is_root},
    },
    words,
};

/// Warnings come before the plan, and once.
#[test]
fn warnings_come_before_the_first_write() {
    if !have_qemu() {
        return;
    }
    let set = Set::new(&[PLAIN]);
    let later = SystemTime::now() + Duration::from_hours(1);
    fs::File::options().write(true).open(set.bad()).and_then(|file| file.set_modified(later)).expect("our own file");
    let run = set.repair().args(words("--force newer")).exits(0);
    let said = run.stderr();
    let warning = said.find("warning: qcow2:bad.q").unwrap_or_else(|| panic!("no warning\n{run}"));
    assert!(warning < said.find("About to write").expect("a plan"), "{run}");
    assert_eq!(said.matches("warning: qcow2:bad.q").count(), 1, "{run}");
}

/// Whoever may only read can look at the plan, and is told that it is no more than that.
#[test]
fn a_plan_says_what_the_repair_would_be_refused_for() {
    if !have_qemu() || !is_root("becoming another user") {
        return;
    }
    let set = Set::new(&[PLAIN]);
    fs::set_permissions(set.lab.folder(), fs::Permissions::from_mode(0o755)).expect("our own folder");
    let own = set.lab.path("own");
    fs::create_dir(&own).and_then(|()| chown(&own, Some(65534), Some(65534))).expect("root can");
    let repair = || set.repair().args(["--journal", "own/journal"]).by_user(65534);
    let plan = refuses(&set.lab, repair().arg("--dry-run"), 1, &["bad.q", "Permission denied", "--no-write"]);
    assert_eq!(plan.json()["repair"]["dry-run"], true, "{plan}");
    refuses(&set.lab, repair(), 3, &["Permission denied"]);
}

/// An image that can't grow where it lies is refused before anything is written.
#[test]
fn new_clusters_need_room() {
    if !have_qemu() || !can_mount("mounting a small disk") {
        return;
    }
    let lab = Lab::new();
    let good = super::some_disk(17, super::set::SIZE);
    lab.file("good.raw", &good);
    follow(&lab, &["img create -q -f qcow2 -o cluster_size=4k bad.q 2097664", "io bad.q write -q -P 1 0 4k"]);
    let small = Mounted::tmpfs(lab.folder(), 600 << 10).expect("root can mount");
    let image = small.path().join("bad.q");
    fs::copy(lab.path("bad.q"), &image).expect("it fits");
    fs::remove_file(lab.path("bad.q")).and_then(|()| std::os::unix::fs::symlink(&image, lab.path("bad.q"))).expect("our own folder");
    let set = Set::with(lab, good).options("--force stale");
    for dry in [None, Some("--dry-run")] {
        refuses(&set.lab, set.repair().args(dry), 3, &["bad.q", "room", "--force space"]);
    }
    // Who knows better may try, and gets the very file back.
    let others = state(&set.lab).len();
    let run = set.repair().args(words("--force space")).exits(3);
    run.complains("bad.q");
    assert_eq!(state(&set.lab).len(), others + 1, "a journal\n{run}");
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

/// Clusters that are lost, counted and not used, are no room; and two images on one file system share what there is.
#[test]
fn room_is_what_can_be_had() {
    if !have_qemu() || !can_mount("mounting a small disk") {
        return;
    }
    let lab = Lab::new();
    let disk = super::some_disk(18, 3 * MIB);
    for name in ["a", "b", "x"] {
        lab.file(format!("{name}.raw"), &disk);
    }
    follow(&lab, &["img create -q -f qcow2 leaky.q 3M", "io leaky.q write -q -P 1 0 3M", "img create -q -f qcow2 empty.q 3M"]);
    let layout = Layout::of(&lab, &lab.path("leaky.q"));
    lab.write(&lab.path("leaky.q"), layout.l2_table(0), &[0; 512]);
    let small = Mounted::tmpfs(lab.folder(), 6 << 20).expect("root can mount");
    let put = |name: &str, to: &str| fs::copy(lab.path(name), small.join(to)).expect("it fits");
    let repair = |members: &[&str]| {
        let images = members.iter().map(|name| format!("qcow2:{}", small.join(name).display()));
        let line = "repair --in-place --force stale,newer --max-damage 100 --journal journal --dry-run raw:a.raw raw:b.raw raw:x.raw";
        lab.quorum_img(words(line)).args(images)
    };
    put("leaky.q", "leaky.q");
    refuses(&lab, repair(&["leaky.q"]), 3, &["leaky.q", "room"]);
    fs::remove_file(small.join("leaky.q")).expect("it is there");
    // Each would fit.
    put("empty.q", "c.q");
    repair(&["c.q"]).exits(1);
    put("empty.q", "d.q");
    let both = ["c.q", "d.q"];
    refuses(&lab, repair(&both), 3, &["room"]);
    repair(&both).args(words("--force space")).exits(1);
}

/// A member whose header is gone isn't passed over in silence.
#[test]
fn a_failed_member_is_told_before_the_others_are_written() {
    if !have_qemu() {
        return;
    }
    let set = Set::new(&["img convert -f raw -O qcow2 was.raw bad.q"]);
    set.lab.damage(&set.bad(), 0..4);
    set.lab.file("d.raw", &set.good);
    set.lab.damage(&set.lab.path("d.raw"), 512..1024);
    let run = set.repair().args(words("raw:d.raw --threshold 2 --force minority")).exits(3);
    let said = run.stderr();
    let told = said.find("bad.q: its qcow2 header can't be read").unwrap_or_else(|| panic!("it isn't told\n{run}"));
    assert!(told < said.find("About to write").expect("a plan") && said.contains("rebuild it with repair -o"), "{run}");
    set.lab.assert_same_bytes(&set.lab.path("d.raw"), &set.lab.path("a.raw"));
}

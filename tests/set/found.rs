//! Ways in which a set once destroyed what it keeps, or gave a vote where none was due: each was found by somebody who tried.

use super::{Lab, MIB, can_be_marked, check, create, disk, history, rot_unseen, set_of_three, states, status};
use crate::support::{is_root, noise, sectors};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

pub(super) const MARK: &str = "user.quorum-img";

pub(super) fn epoch(path: &Path) -> Option<u64> {
    let mark = xattr::get(path, MARK).ok().flatten()?;
    String::from_utf8(mark).ok()?.rsplit(' ').next()?.parse().ok()
}

pub(super) fn away(lab: &Lab, path: &Path) {
    fs::rename(path, lab.path("away").with_extension(path.extension().unwrap_or_default())).expect("our own");
}

pub(super) fn back(lab: &Lab, path: &Path) {
    fs::rename(lab.path("away").with_extension(path.extension().unwrap_or_default()), path).expect("our own");
}

/// Three of eight parts of a pass.
pub(super) fn begin_a_pass(lab: &Lab) {
    for _ in 0..3 {
        lab.quorum_img(["set", "check", "--time-limit", "1s", "-r", "2M", "vm.qset"]).output();
    }
    let done = status(lab)["parts-done"].as_u64().expect("a number");
    assert!((1..8).contains(&done), "{done}");
}

/// A stale member carried the newest epoch, so that a record made anew of marks let it vote.
#[test]
fn who_has_no_vote_keeps_an_old_mark() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 4);
    let first = epoch(&c);
    away(&lab, &c);
    for member in [&a, &b] {
        lab.write(member, 0, &noise(3, 512 << 10));
    }
    check(&lab);
    back(&lab, &c);
    check(&lab);
    check(&lab);
    assert_eq!(states(&lab), ["ok", "ok", "stale"]);
    assert_eq!(epoch(&c), first, "it is as old as it was");
    assert!(epoch(&a) > first);
    fs::remove_file(lab.path("vm.qset")).expect("our own");
    lab.quorum_img(["set", "create", "--adopt", "--assume-clean", "new.qset"]).args([&a, &b, &c]).exits(0);
    let told = lab.quorum_img(["set", "status", "--output", "json", "new.qset"]).output().json();
    assert_eq!(told[0]["members"][2]["state"], "stale");
    // A record that turns up again is an old one.
    lab.quorum_img(["set", "check", "--restart", "new.qset"]).output();
}

/// Where nobody won, agreeing with one side of a tie is no agreement.
#[test]
fn an_undecided_check_proves_nobody() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    away(&lab, &c);
    check(&lab);
    lab.write(&a, 5000, b"the newest write, which b missed");
    let newest = lab.bytes(&a);
    back(&lab, &c);
    check(&lab).expect_code(2);
    assert_eq!(states(&lab)[2], "returning");
    check(&lab).expect_code(2);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2);
    assert!(lab.bytes(&a) == newest);
    let _ = b;
}

/// With no voter met the digest spoke of nobody's behalf, and a stale pair got its votes from it.
#[test]
fn a_digest_without_voters_is_silent() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    for member in [&b, &c] {
        lab.quorum_img(["set", "mark", "vm.qset"]).arg(member).exits(0);
    }
    lab.write(&a, 5000, b"the newest write");
    let newest = lab.bytes(&a);
    away(&lab, &a);
    check(&lab).complains("too few members vote");
    assert_eq!(states(&lab)[1..], ["returning", "returning"]);
    back(&lab, &a);
    check(&lab);
    lab.quorum_img(["set", "repair", "-q", "-y", "vm.qset"]).output();
    assert!(lab.bytes(&a) == newest);
}

/// Whatever lay at a member's path was marked as that member when another one was added.
#[test]
fn an_imposter_is_not_marked_by_the_way() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    fs::remove_file(&c).expect("our own");
    lab.file(c.file_name().expect("a name"), noise(1, 2 << 20));
    let new = lab.file("d.img", lab.bytes(&a));
    lab.quorum_img(["set", "add", "vm.qset"]).arg(&new).exits(2).complains("mark is lost");
    lab.quorum_img(["set", "replace", "-y", "vm.qset"]).arg(&b).arg(&new).exits(2);
    assert_eq!(epoch(&c), None);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
}

/// An older copy with its older mark was marked anew by a command about another member.
#[test]
fn an_older_mark_is_not_raised_by_the_way() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let [a, b, c] = set_of_three(&lab, 2);
    let old = (lab.bytes(&c), xattr::get(&c, MARK).expect("it has one").expect("it has one"));
    lab.damage(&a, sectors(3..4));
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    fs::write(&c, &old.0).expect("our own");
    xattr::set(&c, MARK, &old.1).expect("it can be marked");
    lab.quorum_img(["set", "mark", "vm.qset"]).arg(&b).exits(0);
    assert_eq!(xattr::get(&c, MARK).ok().flatten(), Some(old.1));
    check(&lab);
    assert_eq!(states(&lab)[2], "stale");
}

/// Parts that were compared before a member was away, or became another file, say nothing of it now.
#[test]
fn a_pass_that_began_before_says_nothing_of_who_comes_back() {
    let lab = Lab::new();
    let copies = lab.copies_of::<3>("disk.img", &disk(7, 8 * MIB));
    create(&lab, &copies).exits(0);
    begin_a_pass(&lab);
    let [a, b, c] = &copies;
    away(&lab, c);
    for member in [a, b] {
        lab.write(member, 4096, b"a write that c missed, in a part that is done");
    }
    lab.quorum_img(["set", "repair", "-y", "-q", "vm.qset"]).output();
    assert_eq!(states(&lab)[2], "returning");
    back(&lab, c);
    lab.quorum_img(["set", "check", "vm.qset"]).output();
    assert_eq!(states(&lab)[2], "returning", "the rest of the pass says nothing of its first part");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(1);
    assert_eq!(states(&lab)[2], "stale");
}

/// The same by a person's word that another file is the member.
#[test]
fn nor_of_who_was_marked_anew() {
    let lab = Lab::new();
    let copies = lab.copies_of::<3>("disk.img", &disk(7, 8 * MIB));
    create(&lab, &copies).exits(0);
    begin_a_pass(&lab);
    let mut old = lab.bytes(&copies[2]);
    old[4096..8192].fill(1);
    fs::remove_file(&copies[2]).expect("our own");
    fs::write(&copies[2], &old).expect("our own");
    lab.quorum_img(["set", "mark", "vm.qset"]).arg(&copies[2]).exits(0);
    lab.quorum_img(["set", "check", "vm.qset"]).output();
    assert_eq!(states(&lab)[2], "returning");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(1);
    assert_eq!(states(&lab)[2], "stale");
}

/// An undo gave back a vote that was lost since, and what was found in the pass.
#[test]
fn an_undo_gives_no_vote_back() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 4);
    lab.damage(&c, sectors(9..10));
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    let run = history(&lab).last().expect("runs")["run"].to_string();
    away(&lab, &c);
    for member in [&a, &b] {
        lab.write(member, 0, &noise(3, 512 << 10));
    }
    check(&lab);
    back(&lab, &c);
    check(&lab);
    assert_eq!(states(&lab)[2], "stale");
    lab.quorum_img(["set", "undo", "-y", "vm.qset", &run]).exits(0);
    assert_eq!(states(&lab)[2], "stale");
}

/// A write that gave the file its time back, as rsync does, is a write.
#[test]
fn a_write_that_hides_its_time_makes_a_part_void() {
    let lab = Lab::new();
    let copies = lab.copies_of::<2>("disk.img", &disk(7, 4 * MIB));
    create(&lab, &copies).exits(0);
    let running = lab.quorum_img(["set", "check", "--restart", "-U", "--rate-limit", "4M", "--output", "json", "vm.qset"]).start();
    let begun = Instant::now();
    while status(&lab)["parts-done"] != 1 && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    for copy in &copies {
        let time = fs::metadata(copy).expect("our own").modified().expect("it has one");
        lab.write(copy, 100, b"hidden");
        fs::File::options().write(true).open(copy).expect("our own").set_modified(time).expect("it can be set");
    }
    let ended = running.wait();
    assert!(ended.json()["set"]["parts-void"].as_u64().is_some_and(|void| void >= 1), "{ended}");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(0);
    check(&lab).expect_code(0);
}

/// SQLite rolls a journal back that it finds beside the record: one that somebody else put there gave root a command to run.
#[test]
fn a_planted_journal_is_refused() {
    let lab = Lab::new();
    set_of_three(&lab, 1);
    let planted = lab.file("vm.qset-journal", b"planted");
    if is_root() {
        std::os::unix::fs::chown(&planted, Some(65534), Some(65534)).expect("root may");
        lab.quorum_img(["set", "check", "vm.qset"]).exits(3).complains("it belongs to another user");
    }
    fs::remove_file(&planted).expect("our own");
    std::os::unix::fs::symlink(lab.path("elsewhere"), &planted).expect("our own");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(3).complains("it is no file");
    fs::remove_file(&planted).expect("our own");
    fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o1777)).expect("our own");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(3).complains("keep it in a folder of your own");
    fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o700)).expect("our own");
    check(&lab).expect_code(0);
}

/// Members that are away were taken for members of no bytes: the size became zero, and all that was known was forgotten.
#[test]
fn a_run_without_a_quorum_forgets_nothing() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    lab.quorum_img(["set", "mark", "vm.qset"]).arg(&c).exits(0);
    for (member, name) in [(&a, "x"), (&b, "y")] {
        fs::rename(member, lab.path(name)).expect("our own");
    }
    let run = check(&lab);
    assert_eq!(run.code(), Some(2), "{run}");
    let told = status(&lab);
    assert_eq!((&told["size"], &told["parts-hashed"]), (&(2 * MIB).into(), &2.into()), "{told:#}");
    assert_eq!(told["state"], "inquorate");
    for (member, name) in [(&a, "x"), (&b, "y")] {
        fs::rename(lab.path(name), member).expect("our own");
    }
    check(&lab).expect_code(0);
    assert_eq!(states(&lab), ["ok", "ok", "ok"]);
}

/// A dispute ended with the next run that looked elsewhere.
#[test]
fn a_dispute_outlives_the_rest_of_its_pass() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    for member in [&a, &b] {
        lab.write(member, 0, &vec![0; 256 << 10]);
    }
    let kept = lab.bytes(&c);
    check(&lab).expect_code(2);
    assert_eq!(status(&lab)["state"], "disputed");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2).complains("is disputed");
    lab.quorum_img(["set", "repair", "-y", "--force", "stale", "vm.qset"]).exits(2).complains("--force zeros");
    assert!(lab.bytes(&c) == kept);
    lab.quorum_img(["set", "status", "vm.qset"]).exits(2).says("if #2 is right").says("--trust '#2'");
    for member in ["#0", "#1"] {
        lab.quorum_img(["set", "resync", "-y", "--trust", "#2", "vm.qset", member]).output();
    }
    assert!(lab.bytes(&a) == kept && lab.bytes(&b) == kept);
    check(&lab).expect_code(0);
    assert_eq!(status(&lab)["state"], "ok");
}

/// What a disputed check hashed was heard in the next run, for those who may be wrong, against the newest copy.
#[test]
fn a_disputed_check_leaves_no_memory() {
    let lab = Lab::new();
    let bytes = crate::support::disks::bytes("ext4-disk-old");
    let copies = lab.copies_of::<3>("disk.img", &bytes);
    create(&lab, &copies).exits(0);
    let newest = crate::support::disks::bytes("ext4-disk-new");
    lab.write(&copies[2], 0, &newest);
    let newest = lab.bytes(&copies[2]);
    for _ in 0..3 {
        check(&lab).expect_code(2);
        assert_eq!(states(&lab), ["ok", "ok", "ok"]);
        assert_eq!(status(&lab)["state"], "disputed");
    }
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2);
    assert!(lab.bytes(&copies[2]) == newest);
    // Cleared by a person, the guard itself stands.
    lab.quorum_img(["set", "clear", "vm.qset"]).exits(0);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(2).complains("newer");
    assert!(lab.bytes(&copies[2]) == newest);
}

/// A snapshot got the member's mark, and the record the snapshot's number.
#[test]
fn a_snapshot_is_not_marked() {
    let lab = Lab::new();
    if !can_be_marked(&lab) {
        return;
    }
    let copies = set_of_three(&lab, 1);
    let mut via = Vec::new();
    for (index, member) in copies.iter().enumerate() {
        let snapshot = lab.file(format!("snapshot-{index}"), lab.bytes(member));
        via.push(format!("--via=#{index}={}", snapshot.display()));
    }
    lab.damage(&lab.path("snapshot-1"), sectors(3..4));
    lab.quorum_img(["set", "check", "--restart", "vm.qset"]).args(&via).exits(1);
    assert_eq!(epoch(&lab.path("snapshot-0")), None);
    check(&lab).expect_code(0);
}

/// The journal of a repair that was gone on with was pruned as the older run's.
#[test]
fn a_journal_belongs_to_the_last_run_that_wrote_it() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 16);
    lab.quorum_img(["set", "policy", "vm.qset", "keep-journals=1"]).exits(0);
    let before = lab.bytes(&b);
    lab.write(&b, 0, &noise(4, 1 << 20));
    let damaged = lab.bytes(&b);
    let running = lab.quorum_img(["set", "repair", "-y", "--rate-limit", "12M", "vm.qset"]).start();
    let begun = Instant::now();
    while lab.bytes(&b) == damaged && begun.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal("KILL");
    running.wait();
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    assert!(lab.bytes(&b) == before);
    let run = history(&lab).last().expect("runs")["run"].to_string();
    lab.quorum_img(["set", "undo", "-y", "vm.qset", &run]).exits(0);
    assert!(lab.bytes(&b) == damaged);
    let _ = (a, c);
}

/// One record under two names had two locks and two folders.
#[test]
fn a_link_to_a_set_is_that_set() {
    let lab = Lab::new();
    set_of_three(&lab, 8);
    fs::create_dir(lab.path("links")).expect("our own");
    std::os::unix::fs::symlink(lab.path("vm.qset"), lab.path("links/l.qset")).expect("our own");
    let running = lab.quorum_img(["set", "check", "--restart", "--rate-limit", "8M", "vm.qset"]).start();
    let begun = Instant::now();
    while status(&lab)["running"] != true && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.quorum_img(["set", "check", "links/l.qset"]).exits(4);
    running.signal("INT");
    running.wait();
    assert!(!lab.path("links/l.qset.d").exists());
    fs::hard_link(lab.path("vm.qset"), lab.path("links/h.qset")).expect("our own");
    lab.quorum_img(["set", "check", "links/h.qset"]).exits(3).complains("a hard link");
}

/// A replacement that can't be filled took a voter away first.
#[test]
fn a_replacement_that_cant_be_filled_changes_nothing() {
    let lab = Lab::new();
    let copies = lab.copies_of::<2>("disk.img", &disk(7, MIB));
    create(&lab, &copies).exits(0);
    let new = lab.file("new.img", b"");
    lab.quorum_img(["set", "replace", "-y", "vm.qset", "#1", "new.img"]).exits(2).complains("--trust '#0'");
    assert_eq!(states(&lab), ["ok", "ok"]);
    lab.quorum_img(["set", "replace", "-y", "--trust", "#0", "vm.qset", "#1", "new.img"]).exits(0);
    lab.assert_same_bytes(&new, &copies[0]);
    check(&lab).expect_code(0);
}

/// A guest's newest write was called silent corruption once others had it decided against.
#[test]
fn what_a_guest_wrote_is_no_silent_corruption() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 2);
    for (member, text) in [(&a, b"one"), (&b, b"two"), (&c, b"tri")] {
        lab.write(member, 5000, text);
    }
    check(&lab).expect_code(2);
    lab.write(&b, 5000, b"tri");
    let report = lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).output().json();
    assert!(report["set"]["members"][0]["silent-sectors"].is_null(), "{report:#}");
}

/// A check after a reboot threw away what a person's word would have given a voice.
#[test]
fn a_check_after_a_reboot_keeps_the_memory() {
    let lab = Lab::new();
    let copies = lab.copies_of::<2>("disk.img", &disk(7, 2 * MIB));
    create(&lab, &copies).exits(0);
    let right = lab.bytes(&copies[0]);
    rot_unseen(&lab, &copies[1], 70_000);
    for _ in 0..2 {
        lab.quorum_img(["set", "check", "--boot", "another", "vm.qset"]).exits(2).complains("--assume-unwritten");
    }
    lab.quorum_img(["set", "repair", "-y", "--boot", "another", "--assume-unwritten", "vm.qset"]).exits(0);
    assert!(lab.bytes(&copies[1]) == right);
}

/// A resync that was cut off, and then its disk died: nothing of the set could be written any more.
#[test]
fn a_dead_resync_is_in_nobodys_way() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 16);
    away(&lab, &c);
    check(&lab);
    for member in [&a, &b] {
        lab.write(member, 0, &noise(9, 3 << 20));
    }
    back(&lab, &c);
    check(&lab);
    let running = lab.quorum_img(["set", "resync", "-y", "--rate-limit", "6M", "vm.qset", "#2"]).start();
    let begun = Instant::now();
    while states(&lab)[2] != "syncing" && begun.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal("KILL");
    running.wait();
    fs::remove_file(&c).expect("our own");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    let new = lab.file("new.img", b"");
    let run = lab.quorum_img(["set", "replace", "-y", "vm.qset", "#2", "new.img"]).output();
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    lab.assert_same_bytes(&a, &new);
    lab.assert_same_bytes(&a, &b);
    check(&lab).expect_code(0);
}

/// A guest stayed frozen where the run was ended while it froze it.
#[test]
fn after_is_run_where_before_is_interrupted() {
    let lab = Lab::new();
    set_of_three(&lab, 1);
    lab.quorum_img(["set", "policy", "vm.qset", "before=echo frozen >> log; sleep 100", "after=echo thawed >> log"]).exits(0);
    let running = lab.quorum_img(["set", "check", "vm.qset"]).start();
    let begun = Instant::now();
    while !lab.path("log").exists() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal("TERM");
    running.wait();
    assert_eq!(fs::read_to_string(lab.path("log")).expect("it was run"), "frozen\nthawed\n");
    assert!(history(&lab).iter().all(|run| run["ended"].is_string()));
}

/// A longer copy was taken for a whole one by what writes, and for a case for a person by what checks.
#[test]
fn a_longer_copy_is_cut_where_that_is_asked_for() {
    let lab = Lab::new();
    let [a, ..] = set_of_three(&lab, 2);
    let mut longer = lab.bytes(&a);
    longer.extend(noise(2, 1 << 20));
    let big = lab.file("big.img", longer);
    lab.quorum_img(["set", "replace", "-y", "vm.qset", "#2", "big.img"]).output();
    assert!(!status(&lab)["members"][2]["name"].as_str().expect("a name").contains("big"), "what is longer isn't whole");
    lab.quorum_img(["set", "replace", "-y", "--truncate", "--force", "cuts", "vm.qset", "#2", "big.img"]).exits(0);
    assert_eq!(states(&lab), ["ok"; 3]);
    lab.assert_same_bytes(&a, &big);
    check(&lab).expect_code(0);
}

/// A record that was made up named files to delete.
#[test]
fn a_made_up_record_deletes_nothing() {
    let lab = Lab::new();
    set_of_three(&lab, 1);
    let victim = lab.file("victim", b"dear");
    let record = rusqlite::Connection::open(lab.path("vm.qset")).expect("a database");
    record.execute_batch("UPDATE part SET digest = '../victim'; UPDATE run SET journal = '../victim'; UPDATE policy SET value = '0' WHERE key = 'keep-journals'").expect("it can be changed");
    check(&lab);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).output();
    lab.quorum_img(["set", "undo", "-y", "vm.qset", "1"]).exits(3);
    assert_eq!(lab.bytes(&victim), b"dear");
    record.execute_batch("CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM member; END").expect("it can be made");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(3).complains("more in it than a set's tables");
}

/// A copy that a set leaves out doesn't make a threshold that nobody reaches.
#[test]
fn a_threshold_stays_within_reach() {
    let lab = Lab::new();
    let copies = set_of_three(&lab, 1);
    lab.quorum_img(["set", "policy", "vm.qset", "threshold=3"]).exits(0);
    lab.quorum_img(["set", "remove", "vm.qset", "#2"]).exits(3).complains("threshold=majority first");
    lab.quorum_img(["set", "policy", "vm.qset", "threshold=majority"]).exits(0);
    lab.quorum_img(["set", "remove", "vm.qset", "#2"]).exits(0);
    check(&lab).expect_code(0);
    let _ = copies;
}

//! The record: what it may be called, who may write to it, what a kill, a full disk or a hostile hand leave of it.

use super::{Lab, MIB, check, create, disk, history, set_of_three, states, status};
use crate::support::{mounts::Mounted, sectors};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

#[test]
fn names_are_sets_names_and_collide_with_nothing() {
    let lab = Lab::new();
    let copies = lab.copies_of::<2>("disk.img", &disk(7, MIB));
    let create = |name: &str| lab.quorum_img(["set", "create", name]).args(&copies);
    for name in ["vm", "vm.img", ".qset", "vm.qset.bak"] {
        create(name).exits(3).complains("NAME.qset");
    }
    for suffix in ["-journal", "-wal", "-shm", ".d"] {
        let beside = lab.file(format!("vm.qset{suffix}"), b"somebody's");
        create("vm.qset").exits(3).complains("stands beside it");
        assert_eq!(lab.bytes(&beside), b"somebody's");
        fs::remove_file(beside).expect("our own");
    }
    create("no/such/folder.qset").exits(3);
    create("vm.qset").exits(0);
}

/// SQLite deletes what it takes for its own journal: an undo journal that was called so would be gone when it is needed.
#[test]
fn an_undo_journal_beside_a_set_is_never_eaten() {
    let lab = Lab::new();
    let [_, b, _] = set_of_three(&lab, 1);
    let others = lab.copies_of::<3>("other.img", &disk(8, MIB));
    lab.damage(&others[1], sectors(3..4));
    for name in ["vm.qset-journal", "vm.qset-wal", "vm.qset-shm"] {
        let run = lab.quorum_img(["repair", "--in-place", "-y", "--journal", name]).args(&others).exits(3);
        run.complains("is an SQLite database");
        assert!(!lab.path(name).exists());
    }
    // Beside what is no database any name will do.
    lab.quorum_img(["repair", "--in-place", "-y", "--journal", "x.qset-journal"]).args(&others).exits(0);
    lab.damage(&b, sectors(3..4));
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    lab.quorum_img(["set", "check", "vm.qset"]).exits(0);
    lab.quorum_img(["undo", "-y", "x.qset-journal"]).exits(0);
    lab.quorum_img(["set", "undo", "-y", "vm.qset", "2"]).exits(0);
}

#[test]
fn a_record_that_others_may_write_to_is_refused() {
    let lab = Lab::new();
    set_of_three(&lab, 1);
    fs::set_permissions(lab.path("vm.qset"), Permissions::from_mode(0o666)).expect("our own");
    for words in [&["set", "check", "vm.qset"][..], &["set", "repair", "-y", "vm.qset"], &["set", "history", "vm.qset"]] {
        lab.quorum_img(words).exits(3).complains("isn't to be trusted");
    }
    lab.quorum_img(["set", "status", "vm.qset"]).exits(3).says("isn't to be trusted");
    fs::set_permissions(lab.path("vm.qset"), Permissions::from_mode(0o600)).expect("our own");
    fs::set_permissions(lab.path("vm.qset.d"), Permissions::from_mode(0o777)).expect("our own");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(3).complains("isn't to be trusted");
}

#[test]
fn what_is_no_set_is_refused() {
    let lab = Lab::new();
    let [a, ..] = set_of_three(&lab, 1);
    lab.quorum_img(["set", "check", "nothing.qset"]).exits(3).complains("there is no such set");
    assert!(!lab.path("nothing.qset.d").exists());
    for (name, bytes) in [
        ("empty.qset", &b""[..]),
        ("text.qset", b"not a database, but long enough to be one, or so it seems to be here"),
        ("a.qset", &lab.bytes(&a)),
    ] {
        lab.file(name, bytes);
        lab.quorum_img(["set", "check", name]).exits(3).complains("hint: ");
        lab.quorum_img(["set", "status", name]).exits(3).says("unreadable");
    }
    // Another program's database, and one of a newer version.
    let other = rusqlite::Connection::open(lab.path("other.qset")).expect("a database");
    other.execute_batch("CREATE TABLE fact (key TEXT, value)").expect("a table");
    lab.quorum_img(["set", "check", "other.qset"]).exits(3).complains("another program's database");
    let record = rusqlite::Connection::open(lab.path("vm.qset")).expect("a database");
    record.pragma_update(None, "user_version", 99).expect("it can be set");
    lab.quorum_img(["set", "check", "vm.qset"]).exits(3).complains("newer version");
}

/// A record whose numbers and texts were made up does no harm.
#[test]
fn hostile_records_do_no_harm() {
    let lab = Lab::new();
    set_of_three(&lab, 2);
    let good = lab.bytes(&lab.path("vm.qset"));
    for sql in [
        "UPDATE part SET start = -1, length = -1",
        "UPDATE part SET start = 9223372036854775807, length = 9223372036854775807",
        "UPDATE part SET digest = '../../../etc/passwd'",
        "UPDATE part SET digest = 'part-000000-1.qdg'",
        "UPDATE part SET undecided = -5",
        "UPDATE member SET state = 'fine'",
        "UPDATE member SET uuid = id",
        "UPDATE member SET name = x'00ff2f'",
        "UPDATE member SET ages = '[{\"range\":'",
        "UPDATE member SET dissenting = 9223372036854775807",
        "UPDATE fact SET value = 9223372036854775807 WHERE key IN ('epoch', 'pass')",
        "UPDATE fact SET value = -9223372036854775808 WHERE key IN ('epoch', 'pass', 'size')",
        "UPDATE fact SET value = 'x' WHERE key IN ('epoch', 'pass', 'size')",
        "UPDATE policy SET value = '999999999999999999999' WHERE key = 'part-size'",
        "UPDATE policy SET value = '-1'",
        "DELETE FROM member",
        "DELETE FROM fact",
        "DROP TABLE part_member",
        "UPDATE run SET begun = 9223372036854775807, ended = -9223372036854775808",
        "INSERT INTO run (id, kind, begun) VALUES (9223372036854775807, 'x', 0)",
        "UPDATE fingerprint SET modified = 9223372036854775807",
        "UPDATE member SET why = char(27) || '[31m', unmarked = char(27) || '[31m'; UPDATE run SET outcome = char(27) || ']0;x'; UPDATE fact SET value = char(27) WHERE key = 'disputed'",
    ] {
        fs::write(lab.path("vm.qset"), &good).expect("our own");
        let record = rusqlite::Connection::open(lab.path("vm.qset")).expect("a database");
        record.execute_batch("PRAGMA foreign_keys = OFF").expect("it can be set");
        record.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        drop(record);
        let before = super::members_of(&lab);
        for words in [
            &["set", "status", "vm.qset"][..],
            &["set", "history", "--places", "vm.qset"],
            &["set", "export", "vm.qset"],
            &["set", "check", "vm.qset"],
            &["set", "repair", "-y", "vm.qset"],
        ] {
            let run = lab.quorum_img(words).output();
            assert!(matches!(run.code(), Some(0..=4)), "{sql}: {words:?}: {run}");
            assert!(!run.stderr().contains("this is a bug"), "{sql}: {run}");
            assert!(!run.stdout().contains('\u{1b}') && !run.stderr().contains('\u{1b}'), "{sql}: {run}");
        }
        assert!(before == super::members_of(&lab), "{sql}: a member was written to");
    }
}

/// Two runs at once: the second one isn't started, and status is told all the while.
#[test]
fn a_second_run_waits_for_nobody() {
    let lab = Lab::new();
    set_of_three(&lab, 8);
    let running = lab.quorum_img(["set", "check", "--restart", "--rate-limit", "8M", "vm.qset"]).start();
    let begun = Instant::now();
    while status(&lab)["running"] != true && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.quorum_img(["set", "check", "vm.qset"]).exits(4).complains("another run works on it");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(4);
    lab.quorum_img(["set", "status", "vm.qset"]).output().says("a run works on it now");
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(130), "{ended}");
    check(&lab).expect_code(0);
}

/// Killed at random: the record opens, states are what they were, what was done is remembered.
#[test]
fn killed_at_random_the_record_is_whole() {
    let lab = Lab::new();
    let [a, b, c] = set_of_three(&lab, 8);
    lab.damage(&b, sectors(100..110));
    for round in 0..12 {
        let running = lab.quorum_img(["set", "check", "--restart", "--rate-limit", "60M", "vm.qset"]).start();
        std::thread::sleep(Duration::from_millis(15 + 37 * round % 400));
        running.signal("KILL");
        running.wait();
        let told = states(&lab);
        assert!(told == ["ok", "ok", "ok"] || told == ["ok", "suspect", "ok"], "{told:?}");
    }
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    lab.assert_same_bytes(&a, &b);
    lab.assert_same_bytes(&a, &c);
    assert!(history(&lab).iter().any(|run| run["outcome"] == "it was cut off"));
}

/// A full disk below the record: an error that says so, and nothing is lost.
#[test]
fn a_full_disk_is_told() {
    let lab = Lab::new();
    let Some(small) = Mounted::tmpfs(lab.folder(), 600 << 10) else { return };
    let copies = lab.copies_of::<3>("disk.img", &disk(7, 4 * MIB));
    let folder = small.join("sets");
    fs::create_dir(&folder).expect("room for it");
    let set = folder.join("vm.qset");
    lab.quorum_img(["set", "create", "--policy", "part-size=1048576"]).arg(&set).args(&copies).exits(0);
    let fill = small.join("fill");
    let mut bytes = 600 << 10;
    while bytes > 0 && fs::write(&fill, vec![1; bytes]).is_err() {
        bytes -= 4 << 10;
    }
    lab.damage(&copies[1], sectors(5..6));
    let run = lab.quorum_img(["set", "check", "--restart"]).arg(&set).output();
    assert_eq!(run.code(), Some(3), "{run}");
    run.complains("room");
    fs::remove_file(&fill).expect("our own");
    lab.quorum_img(["set", "check", "--restart"]).arg(&set).exits(1);
    lab.quorum_img(["set", "repair", "-y"]).arg(&set).exits(0);
    lab.quorum_img(["set", "status"]).arg(&set).exits(0);
}

#[test]
fn a_record_is_exported_and_imported() {
    let lab = Lab::new();
    let [_, b, _] = set_of_three(&lab, 1);
    lab.damage(&b, sectors(5..6));
    check(&lab).expect_code(1);
    lab.quorum_img(["set", "policy", "vm.qset", "keep-days=7", "before=touch /tmp/should-not-run"]).exits(0);
    let exported = lab.quorum_img(["set", "export", "vm.qset"]).exits(0).stdout();
    lab.file("vm.json", &exported);
    fs::remove_file(lab.path("vm.qset")).expect("our own");
    fs::remove_dir_all(lab.path("vm.qset.d")).expect("our own");
    let run = lab.quorum_img(["set", "create", "--import", "vm.json", "vm.qset"]).exits(0);
    run.complains("isn't taken over");
    assert_eq!(states(&lab), ["ok", "suspect", "ok"]);
    lab.quorum_img(["set", "policy", "vm.qset"]).exits(0).says("keep-days=7");
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).exits(0);
    for bad in ["", "{}", "[]", "{\"qset\": 9}", &exported.replace("ok", "fine"), &exported[..exported.len() / 2]] {
        lab.file("bad.json", bad);
        lab.quorum_img(["set", "create", "--import", "bad.json", "bad.qset"]).exits(3).complains("--import bad.json");
        assert!(!lab.path("bad.qset").exists());
    }
}

/// An ordinary user keeps a set of files that are theirs.
#[test]
fn an_ordinary_user_keeps_a_set() {
    if !crate::support::is_root() {
        return; // every other test shows it
    }
    let lab = Lab::new();
    std::os::unix::fs::chown(lab.folder(), Some(65534), Some(65534)).expect("root may");
    let copies = lab.copies_of::<3>("disk.img", &disk(7, MIB));
    for copy in &copies {
        std::os::unix::fs::chown(copy, Some(65534), Some(65534)).expect("root may");
    }
    create(&lab, &copies).by_user(65534).exits(0);
    lab.damage(&copies[1], sectors(5..6));
    lab.quorum_img(["set", "check", "--output", "json", "vm.qset"]).by_user(65534).exits(1);
    lab.quorum_img(["set", "repair", "-y", "vm.qset"]).by_user(65534).exits(0);
    lab.quorum_img(["set", "status", "vm.qset"]).by_user(65534).exits(0);
    // Somebody else's record is nothing to go by.
    lab.quorum_img(["set", "check", "vm.qset"]).by_user(65533).exits(3);
}

/// 3 x 64 TiB sparse, and ten thousand runs of history: a set is opened and told of at once.
#[test]
fn large_sets_are_told_of_at_once() {
    let lab = Lab::new();
    let copies: Vec<_> = ["a.img", "b.img", "c.img"].map(|name| lab.sparse(name, 15 << 40)).to_vec();
    lab.quorum_img(["set", "create", "vm.qset"]).args(&copies).exits(0);
    let record = rusqlite::Connection::open(lab.path("vm.qset")).expect("a database");
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
                INSERT INTO run (kind, begun, ended, exit_code, outcome, completed) SELECT 'check', i, i, 0, 'no difference', 1 FROM n";
    record.execute_batch(many).expect("room for it");
    assert_eq!(status(&lab)["state"], "ok");
    lab.quorum_img(["set", "history", "vm.qset"]).exits(0);
}

/// A record that the first version wrote is read for ever.
#[test]
fn a_record_of_version_1_is_read() {
    let lab = Lab::new();
    let set = lab.path("vm.qset");
    fs::copy(crate::support::testdata("set-v1.qset"), &set).expect("it ships");
    fs::set_permissions(&set, Permissions::from_mode(0o600)).expect("our own");
    let told = status(&lab);
    assert_eq!((&told["state"], &told["uuid"]), (&"degraded".into(), &"6c2e1f52-2f3b-4bd6-9d3c-0f7a5f1f4a01".into()), "{told:#}");
    assert_eq!((&told["size"], &told["parts"]), (&(2 * MIB).into(), &2.into()));
    assert_eq!(states(&lab), ["ok", "suspect", "returning"]);
    let runs = history(&lab);
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[1]["changes"][0]["became"], &runs[1]["places"][0]["offset"]), (&"suspect".into(), &5120.into()));
    lab.quorum_img(["set", "policy", "vm.qset"]).exits(0).says("keep-days=7");
    // A run brings it to the format of now: its members aren't there, and nothing else is wrong with it.
    let run = lab.quorum_img(["set", "check", "vm.qset"]).output();
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    assert_eq!(states(&lab), ["ok", "suspect", "returning"]);
}

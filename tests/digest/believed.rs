//! What a digest is believed: stories of those whose good bytes were overwritten by one that it should not have been.

use std::{fs, process::Stdio, time::Duration};

use crate::{MIB, age, copies, disk, rot, support::Lab};

/// Shards of two copies with equal times were merged to one digest of the first, and the second one's rot became evidence against it.
#[test]
fn shards_of_two_copies_are_not_one_digest() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(1, MIB));
    let time = fs::metadata(&a).and_then(|meta| meta.modified()).expect("it is there");
    fs::File::options().write(true).open(&b).and_then(|file| file.set_modified(time)).expect("a file of ours");
    rot(&b, &[1500]);
    lab.quorum_img(["digest", "-q", "--shard", "0/2", "-o", "0.qdg"]).arg(&a).exits(0);
    lab.quorum_img(["digest", "-q", "--shard", "1/2", "-o", "1.qdg"]).arg(&b).exits(0);
    lab.quorum_img(["digest", "--merge", "-o", "w.qdg", "0.qdg", "1.qdg"]).exits(3).complains("was another one then");
    assert!(!lab.path("w.qdg").exists());
}

/// A copy was moved, and so got another inode: what it had said of itself isn't another's word for that.
#[test]
fn a_moved_copy_is_still_the_one_whose_memory_it_is() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(2, MIB));
    rot(&a, &[77]);
    lab.quorum_img(["digest", "-q", "-o", "a.qdg"]).arg(&a).exits(0);
    lab.program("cp").args(["-p", a.to_str().expect("text"), "moved"]).exits(0);
    fs::rename(lab.path("moved"), &a).expect("it can be moved");
    lab.quorum_img(["check"]).args([&a, &b]).arg("a.qdg").exits(2).complains("adds nothing");
}

/// An older copy was put back with its old times: they aren't what the digest saw, though earlier than it.
#[test]
fn what_was_restored_is_not_what_it_was() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(3, MIB));
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    lab.write(&b, 8192, b"as it was in the backup");
    age(&b, 86_400 * 9);
    let before = lab.bytes(&b);
    lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b]).arg("disk.qdg").exits(2).complains("--force old-witness");
    assert!(lab.bytes(&b) == before);
}

/// A guest wrote by way of a loop device, which leaves the files' times as they are: where both copies have a write that the digest doesn't
/// know, it isn't believed where one copy lost another.
#[test]
fn a_digest_that_is_contradicted_by_all_settles_nothing() {
    let lab = Lab::new();
    let [a, b] = copies(&lab, &disk(4, MIB));
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    rot(&a, &[100]);
    rot(&b, &[100]);
    rot(&a, &[1900]);
    let before = lab.bytes(&a);
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b]).arg("disk.qdg").exits(2).json();
    assert_eq!(report["guards"][0]["word"], "old-witness", "{report}");
    for way in [&["repair", "-o", "new.img"][..], &["repair", "--in-place", "-y"]] {
        lab.quorum_img(way).args([&a, &b]).arg("disk.qdg").exits(2).complains("contradicts what all members hold in 1 chunk");
    }
    assert!(lab.bytes(&a) == before && !lab.path("new.img").exists());
}

/// The digest of another image had a say in how long this one is.
#[test]
fn a_stranger_does_not_vote_on_the_size() {
    let lab = Lab::new();
    let a = lab.file("a.img", disk(5, 2 * MIB));
    let b = lab.file("b.img", &disk(5, 2 * MIB)[..MIB as usize]);
    let other = lab.file("x.img", disk(6, MIB));
    for file in [&a, &b, &other] {
        age(file, 3600);
    }
    lab.quorum_img(["digest", "-q", "-o", "x.qdg"]).arg(&other).exits(0);
    lab.quorum_img(["repair", "-o", "new.img"]).args([&a, &b]).arg("x.qdg").exits(2);
    assert!(!lab.path("new.img").exists());
    lab.quorum_img(["check"]).args([&a, &a.with_file_name("b.img")]).arg("x.qdg").exits(2);
}

/// What `--trust` made it say is one member's word; and a vote below the majority is nobody's.
#[test]
fn a_persons_word_is_not_laundered() {
    let lab = Lab::new();
    let [a, b, c] = copies(&lab, &disk(7, MIB));
    rot(&a, &[5]);
    rot(&b, &[6]);
    lab.quorum_img(["digest", "-q", "--trust", "#0", "-o", "t.qdg"]).args([&a, &b]).exits(0);
    lab.quorum_img(["check"]).args([&a, &b]).arg("t.qdg").exits(2).complains("adds nothing");
    lab.quorum_img(["digest", "--threshold", "2", "-o", "m.qdg"]).args([&a, &b, &c]).exits(0);
    let others: [_; 2] = lab.copies_of("other.img", &disk(7, MIB));
    lab.quorum_img(["digest", "--threshold", "2", "-o", "n.qdg"]).args([&a, &b, &c]).args(&others).exits(3).complains("below the majority");
    lab.quorum_img(["digest", "-o", "o.qdg"]).args([&a, &b]).arg("m.qdg").exits(3).complains("isn't made by the word of an old one");
}

/// What is left out of the vote isn't zeros.
#[test]
fn what_was_not_voted_on_is_unknown() {
    let lab = Lab::new();
    let legs = ["md-1.2-leg0.qcow2", "md-1.2-leg1.qcow2"].map(|name| crate::support::testdata("evidence").join(name));
    for sector in ["512", "65536"] {
        let name = format!("{sector}.qdg");
        let told = lab.quorum_img(["digest", "-f", "qcow2", "--skip-device-metadata", "--sector-size", sector, "-o", &name]).args(&legs);
        told.exits(2).says("unknown").complains("the first at 0x0");
    }
}

/// A repair that was killed has changed the times itself: it goes on all the same.
#[test]
fn a_killed_repair_goes_on_by_the_same_digest() {
    let lab = Lab::new();
    let right = disk(8, 16 * MIB);
    let [a, b] = copies(&lab, &right);
    lab.quorum_img(["digest", "-q", "-o", "disk.qdg"]).args([&a, &b]).exits(0);
    let of = |first: u64| (0..400).map(|at| first + at * 64).collect::<Vec<u64>>();
    rot(&a, &of(1));
    rot(&b, &of(9));
    let mut killed = false;
    for delay in [80, 160, 40, 320] {
        let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_quorum-img"))
            .args(["repair", "--in-place", "-y", "-r", "40M"])
            .args([&a, &b])
            .arg("disk.qdg")
            .current_dir(lab.folder())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(delay * 4));
        let _ = running.kill();
        let _ = running.wait();
        killed |= lab.bytes(&a) != right
            && fs::metadata(&a).and_then(|meta| meta.modified()).is_ok_and(|time| time.elapsed().is_ok_and(|since| since.as_secs() < 60));
        if killed {
            break;
        }
    }
    let rerun = lab.quorum_img(["repair", "--in-place", "-y"]).args([&a, &b]).arg("disk.qdg").output();
    assert!(matches!(rerun.code(), Some(0)), "{rerun}");
    assert!(lab.bytes(&a) == right && lab.bytes(&b) == right);
    // And afterwards its journal explains the times: what rots later is healed by the same digest.
    rot(&a, &[3]);
    let later = lab.quorum_img(["repair", "--in-place", "-y", "--journal", "second"]).args([&a, &b]).arg("disk.qdg").output();
    assert!(matches!(later.code(), Some(0)), "{later}");
    assert!(lab.bytes(&a) == right);
}

//! What this program did to a file's time says nothing of its age.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{
    check, copy, files, in_place,
    support::{Lab, noise, report::warnings},
};

fn modified(path: &std::path::Path) -> SystemTime {
    fs::metadata(path).and_then(|meta| meta.modified()).expect("a time")
}

/// Three copies of long ago; the second was damaged.
fn old_and_damaged() -> (Lab, Vec<std::path::PathBuf>) {
    let lab = Lab::new();
    let disk = noise(1, 1 << 20);
    let members = files(&lab, &[disk.clone(), disk.clone(), disk]);
    lab.flip_bit(&members[1], 77_777);
    let then = SystemTime::now() - Duration::from_hours(90 * 24);
    for member in &members {
        fs::File::options().write(true).open(member).and_then(|file| file.set_modified(then)).expect("a time");
    }
    (lab, members)
}

/// A member that was healed looked newer than the others ever after: the next damage to it was warned about, or refused.
#[test]
fn a_healed_member_is_not_newer() {
    let (lab, members) = old_and_damaged();
    in_place(&lab, &members).exits(0);
    assert!(modified(&members[1]) > modified(&members[0]) + Duration::from_hours(24), "its file's time is what it is");
    lab.flip_bit(&members[0], 5);
    // Damage that comes by itself leaves no time; here it was written.
    let then = modified(&members[2]);
    fs::File::options().write(true).open(&members[0]).and_then(|file| file.set_modified(then)).expect("a time");
    let time = modified(&members[1]);
    lab.flip_bit(&members[1], 99_999);
    fs::File::options().write(true).open(&members[1]).and_then(|file| file.set_modified(time)).expect("a time");
    let run = check(&lab, &members).exits(1);
    assert_eq!(warnings(&run.json()), "", "the journal beside it explains its time\n{run}");
    fs::rename(lab.path("0.img.quorum-journal"), lab.path("elsewhere")).expect("it can be moved");
    let run = check(&lab, &members).exits(1);
    assert!(warnings(&run.json()).contains("newer"), "{run}");
}

/// A time that somebody else set afterwards is somebody else's.
#[test]
fn a_member_that_was_written_to_after_it_was_healed_is_newer() {
    let (lab, members) = old_and_damaged();
    in_place(&lab, &members).exits(0);
    std::thread::sleep(Duration::from_millis(20));
    lab.flip_bit(&members[1], 99_999);
    let run = check(&lab, &members).exits(1);
    assert!(warnings(&run.json()).contains("newer"), "{run}");
}

/// What was undone is as old as it was.
#[test]
fn an_undone_member_has_its_time_back() {
    let (lab, members) = old_and_damaged();
    copy(&members[1], &lab.path("as-it-was"));
    let times: Vec<_> = members.iter().map(|member| modified(member)).collect();
    in_place(&lab, &members).exits(0);
    lab.quorum_img(["undo", "0.img.quorum-journal"]).exits(0);
    lab.assert_same_bytes(&members[1], &lab.path("as-it-was"));
    assert_eq!(members.iter().map(|member| modified(member)).collect::<Vec<_>>(), times);
    assert_eq!(warnings(&check(&lab, &members).exits(1).json()), "");
}

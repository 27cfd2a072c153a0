//! What is written to members of one length: the winner's bytes where a member dissents, and nothing else.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use serde_json::json;

use super::{
    Damaged, UNDECIDED, all_bytes, apply_plan, assert_all_hold, assert_holds, checks, in_place, journal_of, number,
    support::{KIB, Lab, MIB, noise, sectors},
    work, worked_on,
};

#[test]
fn each_member_gets_what_the_others_hold() {
    let set = Damaged::new();
    set.repair().exits(0);
    set.assert_repaired();
    checks(&set.lab, &set.members, 0);
}

/// Four healthy copies need no touch: not even their times change.
#[test]
fn a_member_that_agrees_is_left_alone() {
    let lab = Lab::new();
    let members: [_; 5] = lab.copies("disk.img", 128 * KIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[3], sectors(20..25));
    let times = |index: usize| fs::metadata(&members[index]).map(|meta| (meta.mtime_nsec(), meta.ctime_nsec())).expect("it is there");
    let before = [0, 1, 2, 4].map(times);
    let run = in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 5]);
    assert_eq!([0, 1, 2, 4].map(times), before, "{run}");
    assert_eq!(worked_on(&run.json()), [3], "{run}");
}

/// Whoever has the file open, or holds it by another name, goes on with the same one.
#[test]
fn files_keep_their_inode_mode_and_links() {
    let set = Damaged::new();
    for (member, mode) in set.members.iter().zip([0o600, 0o640, 0o666]) {
        fs::set_permissions(member, fs::Permissions::from_mode(mode)).expect("our own file");
    }
    fs::hard_link(&set.members[1], set.lab.path("link")).expect("a hard link");
    let facts = || {
        let fact = |path| fs::metadata(path).map(|meta| (meta.ino(), meta.mode(), meta.nlink(), meta.uid(), meta.gid()));
        set.members.iter().map(|member| fact(member).expect("it is there")).collect::<Vec<_>>()
    };
    let before = facts();
    set.repair().exits(0);
    assert_eq!(facts(), before);
    assert_holds(&set.lab.path("link"), &set.original);
}

/// Both ends of the image, neighbours, both sides of a chunk's border, several members at once.
#[test]
fn damage_anywhere_is_repaired() {
    let lab = Lab::new();
    let members: [_; 5] = lab.copies("disk.img", 4 * MIB);
    let original = lab.bytes(&members[0]);
    let last = 4 * MIB / 512;
    for (member, range) in [
        (0, 0..1),
        (1, 0..2),
        (2, 7..9),
        (3, 8..9),
        (4, 4095..4097),
        (1, 2047..2049),
        (0, last - 1..last),
        (1, last - 2..last),
        (2, 5000..5100),
        (3, 5050..5150),
    ] {
        lab.damage(&members[member], sectors(range));
    }
    in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 5]);
}

/// No sector has neighbours of its kind: 4096 divergences, and every block is put together from several members.
#[test]
fn thousands_of_single_sectors_are_repaired() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 2 * MIB);
    let original = lab.bytes(&members[0]);
    for (member, phase) in members.iter().zip([0, 1, 2]) {
        let mut bytes = original.clone();
        bytes.chunks_mut(512).skip(phase).step_by(3).for_each(|sector| sector[phase] ^= 0x20);
        lab.write(member, 0, &bytes);
    }
    let before = all_bytes(&lab, &members);
    let run = in_place(&lab, &members).args(["--force", "stale,newer"]).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
    assert_eq!(run.json()["repair"]["composed-blocks"], 512, "{run}");
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_all_hold(&members, &before);
}

/// Versions that several members share are outvoted all the same, and all of them are rewritten.
#[test]
fn several_dissenters_get_the_same_bytes() {
    let lab = Lab::new();
    let members: [_; 5] = lab.copies("disk.img", 64 * KIB);
    let original = lab.bytes(&members[0]);
    let wrong = noise(9, 512);
    for member in [1, 4] {
        lab.write(&members[member], 30 * 512, &wrong);
    }
    let run = in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 5]);
    assert_eq!(run.json()["repair"]["plan"], json!([{ "offset": 30 * 512, "length": 512, "from": [0, 2, 3], "to": [1, 4] }]), "{run}");
}

/// The image isn't a multiple of the sector: its last sector is short.
#[test]
fn a_short_last_sector_is_repaired() {
    for length in [100_001usize, 65_537, 70_655] {
        let lab = Lab::new();
        let bytes = noise(length as u64, length);
        let members: [_; 3] = lab.copies_of("disk.img", &bytes);
        lab.flip_bit(&members[0], length as u64 - 1);
        lab.flip_bit(&members[2], 700);
        let run = in_place(&lab, &members).exits(0);
        assert_all_hold(&members, &vec![bytes; 3]);
        assert_eq!(work(&run.json(), 0)["dissenting-bytes"], (length % 512) as u64, "{run}");
    }
}

/// A vote on large sectors rewrites large sectors; the bytes are the same.
#[test]
fn every_sector_size_works() {
    for sector in [512, 4096, 65_536u64] {
        let lab = Lab::new();
        // The last sector is short at each of the sizes.
        let bytes = noise(sector, (2 << 20) + 300);
        let members: [_; 3] = lab.copies_of("disk.img", &bytes);
        lab.flip_bit(&members[0], 5 * 65_536 + 5000);
        lab.flip_bit(&members[1], 9 * 65_536 - 1);
        lab.flip_bit(&members[2], (2 << 20) + 299);
        let run = in_place(&lab, &members).args(["--sector-size", &sector.to_string()]).exits(0);
        assert_all_hold(&members, &vec![bytes; 3]);
        let report = run.json();
        assert_eq!(work(&report, 0)["dissenting-bytes"], sector, "{run}");
        assert_eq!(work(&report, 1)["dissenting-bytes"], sector, "{run}");
        assert_eq!(work(&report, 2)["dissenting-bytes"], 300, "{run}");
    }
}

/// With large sectors, damage to two members in different halves of one sector has no winner; at 512 bytes it has.
#[test]
fn the_sector_size_decides_who_can_win() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    lab.damage(&members[0], sectors(80..81));
    lab.damage(&members[1], sectors(83..84));
    let before = all_bytes(&lab, &members);
    in_place(&lab, &members).args(["--sector-size", "4096"]).exits(2);
    assert_all_hold(&members, &before);
    in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
}

/// Nobody knows what is right there; everything else is done.
#[test]
fn undecided_sectors_are_left_and_the_rest_is_written() {
    let set = Damaged::with_an_undecided_sector();
    let before = set.bytes();
    let run = set.repair().exits(2);
    for (member, before) in set.members.iter().zip(&before) {
        let mut expected = set.original.clone();
        expected[4096..4608].copy_from_slice(&before[4096..4608]);
        assert_holds(member, &expected);
    }
    let report = run.json();
    assert_eq!(report["sectors"]["undecided"], 1, "{run}");
    assert_eq!(report["exit-code"], 2, "{run}");
    run.complains("--pick");
    let left = checks(&set.lab, &set.members, 2);
    assert_eq!(left["divergences"][0]["offset"], UNDECIDED.start);
    assert_eq!(left["divergences"].as_array().map(Vec::len), Some(1), "{left}");
}

/// Where nothing can be decided, nothing is written, and no journal is left about it.
#[test]
fn nothing_decided_means_nothing_written() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    for member in &members {
        lab.damage(member, UNDECIDED);
    }
    super::refuses(&lab, in_place(&lab, &members), 2, &[]);
}

#[test]
fn members_that_agree_need_nothing() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    let run = super::refuses(&lab, in_place(&lab, &members), 0, &[]);
    let report = run.json();
    assert_eq!(report["verdict"], "unanimous", "{run}");
    assert!(report["repair"].get("journal").is_none(), "no journal is made where nothing is to be written\n{run}");
}

/// A second run finds nothing to do, and lets the journal of the first one stand.
#[test]
fn a_second_run_has_nothing_to_do() {
    let (set, _) = Damaged::repaired();
    super::refuses(&set.lab, set.repair(), 0, &[]);
}

/// 8 MiB of holes with 1 MiB of data: a bad sector takes no more room than the block that it lies in.
#[test]
fn holes_stay_holes() {
    let lab = Lab::new();
    let data = noise(5, 1 << 20);
    let members = ["a", "b", "c"].map(|name| {
        let member = lab.sparse(name, 4 * MIB);
        lab.write(&member, 2 * MIB, &data);
        member
    });
    let original = lab.bytes(&members[0]);
    lab.damage(&members[1], 2 * MIB + 4096..2 * MIB + 4608);
    // Data in a's hole: the zeros that win are written over it.
    lab.write(&members[0], MIB, &noise(6, 4096));
    let before = members.each_ref().map(|member| lab.allocated(member));
    in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
    for (member, before) in members.iter().zip(before) {
        let after = lab.allocated(member);
        assert!(after <= before, "{} took {before} bytes and takes {after}", member.display());
        assert!(after >= MIB, "nothing that holds data is punched away");
    }
}

/// What is allocated stays so: a guest that had reserved its space must not run out of it later.
#[test]
fn zeros_that_won_are_written_and_not_punched() {
    let lab = Lab::new();
    let mut bytes = vec![0; 1 << 20];
    bytes[..1 << 19].copy_from_slice(&noise(7, 1 << 19));
    let members: [_; 3] = lab.copies_of("disk.img", &bytes);
    lab.write(&members[1], 3 << 18, &noise(8, 16 << 10));
    let before = lab.allocated(&members[1]);
    let run = in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![bytes; 3]);
    assert!(lab.allocated(&members[1]) >= before, "{run}");
    assert_eq!(work(&run.json(), 1)["zeros-over-data-bytes"], 16 * KIB, "{run}");
    assert_eq!(work(&run.json(), 1)["data-over-zeros-bytes"], 0, "{run}");
}

/// A copy that lost blocks to zeros gets its data back, in its holes, too.
#[test]
fn data_that_won_fills_holes() {
    let lab = Lab::new();
    let bytes = noise(7, 1 << 20);
    let [a, b] = lab.copies_of("disk.img", &bytes);
    let c = lab.sparse("c.img", MIB);
    lab.write(&c, 0, &bytes[..600 << 10]);
    lab.write(&c, 640 << 10, &bytes[640 << 10..]);
    let members = [a, b, c];
    let run = in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![bytes; 3]);
    assert_eq!(work(&run.json(), 2)["data-over-zeros-bytes"], 40 * KIB, "{run}");
    assert_eq!(work(&run.json(), 2)["zeros-over-data-bytes"], 0, "{run}");
}

/// A few kinds of reading and telling; none changes what is written.
#[test]
fn options_of_check_work_in_place_too() {
    for options in [&["-T", "none"][..], &["-p"], &["-r", "100M"], &["-j", "1"], &["--output", "human"], &["--output", "events"], &["-y"]] {
        let set = Damaged::new();
        let before = set.bytes();
        set.lab.quorum_img(["repair", "--in-place"]).args(options).args(&set.members).exits(0);
        set.assert_repaired();
        set.undo().exits(0);
        set.assert_bytes(&before);
    }
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let set = Damaged::new();
    let run = set.lab.quorum_img(["repair", "-q", "--in-place"]).args(&set.members).exits(0);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    set.assert_repaired();
}

/// A bare name has no folder in it: the journal comes to stand beside member 0 all the same.
#[test]
fn the_journal_is_beside_member_0() {
    let set = Damaged::new();
    let folder = set.lab.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let names = ["../disk-0.img", "../disk-1.img", "../disk-2.img"];
    set.lab.quorum_img(["repair", "--in-place"]).args(names).in_folder(&folder).exits(0);
    set.assert_repaired();
    assert_eq!(fs::metadata(set.journal()).expect("it is there").mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
}

#[test]
fn the_journal_goes_where_it_is_told_to() {
    let set = Damaged::new();
    let before = set.bytes();
    let run = set.repair().args(["--journal", "undo.log"]).exits(0);
    assert!(run.json()["repair"]["journal"].as_str().is_some_and(|name| name.ends_with("undo.log")), "{run}");
    assert!(!journal_of(&set.members[0]).exists(), "{run}");
    set.assert_repaired();
    assert_eq!(fs::metadata(set.lab.path("undo.log")).expect("it is there").mode() & 0o7777, 0o600);
    set.lab.quorum_img(["undo", "undo.log"]).exits(0);
    set.assert_bytes(&before);
}

/// Asked for by name: nothing is kept of what was overwritten.
#[test]
fn without_a_journal_it_is_the_same_repair() {
    let set = Damaged::new();
    let names: Vec<_> = set.lab.listing().into_keys().collect();
    let before = set.bytes();
    let run = set.repair().arg("--no-journal").exits(0);
    set.assert_repaired();
    let report = run.json();
    assert!(report["repair"].get("journal").is_none(), "{run}");
    assert_eq!(apply_plan(&before, &report), set.bytes(), "{run}");
    assert!(number(&report["repair"], "bytes-written") >= 6 * 512, "{run}");
    assert_eq!(set.lab.listing().into_keys().collect::<Vec<_>>(), names, "nothing new in the folder\n{run}");
}

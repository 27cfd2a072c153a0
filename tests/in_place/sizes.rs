//! Members that aren't of one length: absent parts are filled in, a surplus goes only when asked to.

use serde_json::json;

use super::{
    all_bytes, apply_plan, assert_all_hold, assert_holds, checks, in_place, journal_of, refuses,
    support::{KIB, Lab, MIB, noise, sectors},
    work,
};

#[test]
fn a_member_that_ends_early_is_extended() {
    // Between sectors, within one, and with one byte missing.
    for missing in [16 * KIB, 16 * KIB + 100, 1, 512] {
        let lab = Lab::new();
        let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
        let original = lab.bytes(&members[0]);
        lab.set_length(&members[1], 256 * KIB - missing);
        lab.damage(&members[2], sectors(400..402));
        let before = all_bytes(&lab, &members);
        let run = in_place(&lab, &members).exits(0);
        assert_all_hold(&members, &vec![original; 3]);
        let report = run.json();
        assert_eq!(work(&report, 1)["extend-to"], 256 * KIB, "{run}");
        assert_eq!(work(&report, 1)["absent-bytes"], missing.next_multiple_of(512), "also the sector that it holds a part of\n{run}");
        assert_eq!(work(&report, 1)["dissenting-bytes"], 0, "{run}");
        assert!(work(&report, 2).get("extend-to").is_none(), "{run}");
        assert_eq!(apply_plan(&before, &report), all_bytes(&lab, &members), "{run}");
        lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
        assert_all_hold(&members, &before);
    }
}

/// The extension of a short last sector, at each size of the sector.
#[test]
fn an_extension_may_end_in_a_short_sector() {
    for sector in ["512", "4096", "65536"] {
        let lab = Lab::new();
        let bytes = noise(3, (1 << 20) + 77);
        let members: [_; 3] = lab.copies_of("disk.img", &bytes);
        lab.set_length(&members[0], MIB - 5);
        let before = all_bytes(&lab, &members);
        in_place(&lab, &members).args(["--sector-size", sector]).exits(0);
        assert_all_hold(&members, &vec![bytes; 3]);
        lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
        assert_all_hold(&members, &before);
    }
}

/// A file of no bytes at all has nothing to lose: it gets everything back.
#[test]
fn an_empty_member_is_filled() {
    let lab = Lab::new();
    let bytes = noise(3, 64 << 10);
    let [a, b] = lab.copies_of("disk.img", &bytes);
    let c = lab.file("c.img", []);
    let members = [a, b, c];
    in_place(&lab, &members).exits(0);
    assert_all_hold(&members, &vec![bytes; 3]);
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_holds(&members[2], &[]);
}

/// Zeros that won beyond a member's end take no room there.
#[test]
fn an_extension_by_zeros_stays_a_hole() {
    let lab = Lab::new();
    let data = noise(3, 256 << 10);
    // b holds its zeros written out, a as a hole.
    let a = lab.file("a.img", &data);
    lab.set_length(&a, 2 * MIB);
    let mut bytes = data.clone();
    bytes.resize(2 << 20, 0);
    let b = lab.file("b.img", &bytes);
    let c = lab.file("c.img", &data);
    let members = [a, b, c];
    let run = in_place(&lab, &members).args(["--force", "stale", "--max-damage", "100"]).exits(0);
    assert_all_hold(&members, &vec![bytes; 3]);
    let allocated = lab.allocated(&members[2]);
    assert!(allocated <= 256 * KIB + 64 * KIB, "256 KiB of data take {allocated} bytes\n{run}");
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_holds(&members[2], &data);
}

/// Data, zeros, data beyond the end: only the data takes room.
#[test]
fn an_extension_writes_data_and_leaves_holes_between() {
    let lab = Lab::new();
    let mut bytes = vec![0; 2 << 20];
    bytes[..1 << 20].copy_from_slice(&noise(3, 1 << 20));
    bytes[(2 << 20) - 8192..].copy_from_slice(&noise(4, 8192));
    let [a, b] = lab.copies_of("disk.img", &bytes);
    let c = lab.file("c.img", &bytes[..1 << 20]);
    let members = [a, b, c];
    in_place(&lab, &members).args(["--force", "stale", "--max-damage", "100"]).exits(0);
    assert_all_hold(&members, &vec![bytes; 3]);
    let allocated = lab.allocated(&members[2]);
    assert!(allocated <= MIB + 128 * KIB, "1 MiB and 8 KiB of data take {allocated} bytes");
}

/// Nobody knows how the disk goes on there, so a member can't either: it ends before that sector.
#[test]
fn an_extension_ends_before_an_undecided_sector() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    lab.set_length(&members[2], 490 * 512);
    lab.damage(&members[0], sectors(500..501));
    lab.damage(&members[1], sectors(20..21));
    let before = all_bytes(&lab, &members);
    let run = in_place(&lab, &members).exits(2);
    assert_holds(&members[2], &original[..500 * 512]);
    assert_holds(&members[1], &original);
    assert_holds(&members[0], &before[0]);
    let report = run.json();
    assert_eq!(work(&report, 2)["extend-to"], 500 * 512, "{run}");
    assert!(work(&report, 2)["left-bytes"].as_u64().is_some_and(|bytes| bytes >= 11 * 512), "what it still lacks\n{run}");
    assert_eq!(apply_plan(&before, &report), all_bytes(&lab, &members), "{run}");
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_all_hold(&members, &before);
}

/// The very sector that it holds a part of is the undecided one: its length and its part stay.
#[test]
fn no_extension_where_the_first_absent_sector_is_undecided() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    lab.set_length(&members[2], 500 * 512 + 100);
    lab.damage(&members[0], sectors(500..501));
    let before = all_bytes(&lab, &members);
    let run = refuses(&lab, in_place(&lab, &members), 2, &[]);
    assert_all_hold(&members, &before);
    if let Some(member) = run.json()["repair"]["members"].as_array().and_then(|members| members.first()) {
        assert!(member.get("extend-to").is_none(), "{run}");
    }
}

/// A pick decides there, and then the extension goes on to the end.
#[test]
fn a_pick_lets_the_extension_go_on() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    lab.set_length(&members[2], 490 * 512);
    lab.damage(&members[0], sectors(500..501));
    in_place(&lab, &members).args(["--pick", &format!("{}:512=#1", 500 * 512)]).exits(0);
    assert_all_hold(&members, &vec![original; 3]);
}

/// Two copies of three that hold no vote beyond one's end are a majority still; one of three isn't.
#[test]
fn two_short_members_lose_nothing_and_gain_nothing() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    lab.set_length(&members[1], 255 * KIB);
    lab.set_length(&members[2], 255 * KIB);
    let run = in_place(&lab, &members).exits(1);
    assert_eq!(run.json()["size"], 255 * KIB, "{run}");
    assert_holds(&members[0], &original);
    in_place(&lab, &members).args(["--size", "256k"]).exits(2);
    assert_holds(&members[1], &original[..255 << 10]);
}

/// Somebody may have put data there on purpose.
#[test]
fn a_surplus_is_kept_unless_told_otherwise() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 256 * KIB);
    let original = lab.bytes(&members[0]);
    let surplus = noise(4, 3333);
    lab.set_length(&members[1], 256 * KIB + 3333);
    lab.write(&members[1], 256 * KIB, &surplus);
    lab.damage(&members[1], sectors(7..8));
    let run = in_place(&lab, &members).exits(1);
    assert_holds(&members[1], &[&original[..], &surplus].concat());
    run.complains("--truncate");
    assert!(work(&run.json(), 1).get("truncate-to").is_none(), "{run}");
    assert_eq!(run.json()["exit-code"], 1, "{run}");
}

/// With nothing else to do there is nothing to write, hence no journal; the work that is left is told.
#[test]
fn a_mere_surplus_leaves_everything_alone() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    lab.set_length(&members[1], 64 * KIB + 1);
    refuses(&lab, in_place(&lab, &members), 1, &["--truncate"]);
}

#[test]
fn truncate_cuts_a_surplus_and_undo_brings_it_back() {
    // Whole sectors, parts of one, and one that begins within the last short sector.
    for (length, surplus) in [(256 << 10, 4096), (256 << 10, 3333), ((256 << 10) - 100, 1), ((256 << 10) - 100, 5000)] {
        let lab = Lab::new();
        let bytes = noise(length as u64, length);
        let members: [_; 3] = lab.copies_of("disk.img", &bytes);
        let longer = [&bytes[..], &noise(4, surplus)].concat();
        lab.file("disk-2.img", &longer);
        lab.damage(&members[0], sectors(7..8));
        let before = all_bytes(&lab, &members);
        // What would be cut may be all that is right: that is said first.
        refuses(&lab, in_place(&lab, &members).arg("--truncate"), 2, &["disk-2.img", "--force cuts", "--size"]);
        let run = in_place(&lab, &members).args(["--truncate", "--force", "cuts"]).exits(0);
        assert_all_hold(&members, &vec![bytes; 3]);
        let report = run.json();
        assert_eq!(work(&report, 2)["truncate-to"], length as u64, "{run}");
        assert_eq!(apply_plan(&before, &report), all_bytes(&lab, &members), "{run}");
        checks(&lab, &members, 0);
        lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
        assert_all_hold(&members, &before);
    }
}

/// A surplus that is one hole, far longer than the image: cutting it and putting it back moves no data.
#[test]
fn a_surplus_of_holes_comes_back_as_one() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    let original = lab.bytes(&members[0]);
    lab.set_length(&members[0], 64 * MIB);
    lab.write(&members[0], 32 * MIB, b"data");
    in_place(&lab, &members).args(["--truncate", "--force", "cuts"]).exits(0);
    assert_all_hold(&members, &vec![original.clone(); 3]);
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_eq!(lab.bytes(&members[0]).len() as u64, 64 * MIB);
    assert_eq!(lab.read(&members[0], 0..64 * KIB), original);
    assert_eq!(lab.read(&members[0], 32 * MIB..32 * MIB + 5), b"data\0");
    assert!(lab.allocated(&members[0]) < 2 * MIB, "{} bytes", lab.allocated(&members[0]));
    let journal = lab.allocated(&journal_of(&members[0]));
    assert!(journal < 2 * MIB, "the journal of a hole takes {journal} bytes");
}

/// No size has a majority: nothing is written before a person says it.
#[test]
fn without_a_size_nothing_is_done() {
    let lab = Lab::new();
    let bytes = noise(1, 96 << 10);
    let members = [88, 92, 96].map(|kib: usize| lab.file(format!("{kib}.img"), &bytes[..kib << 10]));
    lab.damage(&members[0], sectors(3..4));
    let run = refuses(&lab, in_place(&lab, &members), 2, &["--size"]);
    let report = run.json();
    assert_eq!(
        (&report["size-undecided"], &report["exit-code"], &report["repair"]["in-place"]),
        (&json!(true), &json!(2), &json!(true)),
        "{run}"
    );
    assert!(report["repair"]["refused"].as_str().is_some_and(|why| why.contains("--size")), "{run}");
    let run = in_place(&lab, &members).args(["--size", "92k"]).exits(0);
    assert_holds(&members[0], &bytes[..92 << 10]);
    assert_holds(&members[1], &bytes[..92 << 10]);
    assert_holds(&members[2], &bytes);
    run.complains("--truncate");
    in_place(&lab, &members).args(["--size", "92k", "--truncate", "--journal", "second"]).exits(0);
    assert_all_hold(&members, &vec![bytes[..92 << 10].to_vec(); 3]);
}

/// A person knows that the disk is smaller than all copies of it; or longer, where nobody has a ballot.
#[test]
fn a_size_that_no_member_has() {
    let lab = Lab::new();
    let members: [_; 3] = lab.copies("disk.img", 64 * KIB);
    lab.damage(&members[1], sectors(3..4));
    lab.damage(&members[2], sectors(126..127));
    let before = all_bytes(&lab, &members);
    let expected = before[0][..60 << 10].to_vec();
    in_place(&lab, &members).args(["--size", "60k", "--truncate"]).exits(0);
    assert_all_hold(&members, &vec![expected; 3]);
    lab.quorum_img(["undo"]).arg(journal_of(&members[0])).exits(0);
    assert_all_hold(&members, &before);

    let run = in_place(&lab, &members).args(["--size", "70k", "--journal", "second"]).exits(2);
    assert_all_hold(&members, &vec![before[0].clone(); 3]);
    assert_eq!(run.json()["sectors"]["undecided"], 12, "{run}");
}

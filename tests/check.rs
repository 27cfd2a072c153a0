//! `quorum-img check`, by its contract: what is found, and the exit code.

mod support;

use std::fs;

use serde_json::json;
use support::{
    KIB, Lab, MIB, Output, SECTOR, noise,
    report::{divergence, divergences, one_bad_sector, warnings},
    sectors,
};

// --- exit codes and totals ------------------------------------------------------------------------------------------------

#[test]
fn equal_copies_are_unanimous() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(0).json();
    assert_eq!(report["verdict"], "unanimous");
    assert_eq!(report["exit-code"], 0);
    assert_eq!(report["sectors"], json!({ "total": 2048, "unanimous": 2048, "decided": 0, "undecided": 0 }));
    assert_eq!(report["divergences"], json!([]));
    assert_eq!(report["divergences-omitted"], 0);
    for member in report["members"].as_array().expect("members") {
        assert_eq!((&member["status"], &member["whole"]), (&json!("ok"), &json!(true)), "{member}");
    }
}

#[test]
fn a_bad_sector_is_decided_against_its_member() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(report["verdict"], "decided");
    assert_eq!(report["sectors"], json!({ "total": 2048, "unanimous": 2047, "decided": 1, "undecided": 0 }));
    assert_eq!(divergences(&report), json!([divergence(sectors(100..101), "decided", &[&[0, 2], &[1]], &[])]));
    let told: Vec<_> =
        (0..3).map(|m| &report["members"][m]).map(|m| (m["status"].as_str(), &m["whole"], &m["dissenting-sectors"])).collect();
    assert_eq!(told[0], (Some("ok"), &json!(true), &json!(0)));
    assert_eq!(told[1], (Some("divergent"), &json!(false), &json!(1)));
    assert_eq!(told[2], (Some("ok"), &json!(true), &json!(0)));
}

#[test]
fn a_sector_with_three_versions_is_undecided() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.damage(&a, sectors(7..8));
    lab.damage(&b, sectors(7..9));
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(2).json();
    assert_eq!(report["verdict"], "undecided");
    assert_eq!(report["sectors"], json!({ "total": 2048, "unanimous": 2046, "decided": 1, "undecided": 1 }));
    let expected = json!([
        divergence(sectors(7..8), "undecided", &[&[0], &[1], &[2]], &[]),
        divergence(sectors(8..9), "decided", &[&[0, 2], &[1]], &[]),
    ]);
    assert_eq!(divergences(&report), expected);
    assert!(report["members"].as_array().expect("members").iter().all(|member| member["whole"] == false), "nobody agrees with a tie");
}

/// QEMU's quorum lets the version that it saw last win a tie; we don't guess, whatever the threshold.
#[test]
fn two_against_two_is_a_tie_even_at_a_threshold_of_two() {
    let lab = Lab::new();
    let [a, b, c, d] = lab.copies("disk.img", 64 * KIB);
    lab.damage(&c, sectors(3..4));
    fs::copy(&c, &d).expect("a copy");
    for threshold in ["2", "3"] {
        let run = lab.quorum_img(["check", "--output", "json", "--threshold", threshold]).args([&a, &b, &c, &d]);
        let report = run.exits(2).json();
        assert_eq!(divergences(&report), json!([divergence(sectors(3..4), "undecided", &[&[0, 1], &[2, 3]], &[])]));
    }
}

#[test]
fn two_members_that_differ_decide_nothing() {
    let lab = Lab::new();
    let [a, b] = lab.copies("disk.img", 64 * KIB);
    lab.quorum_img(["check"]).args([&a, &b]).exits(0);
    lab.flip_bit(&b, 12345);
    lab.quorum_img(["check"]).args([&a, &b]).exits(2);
}

// --- options --------------------------------------------------------------------------------------------------------------

#[test]
fn a_range_is_widened_to_sectors_and_says_so() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.damage(&b, sectors(1..2));
    lab.damage(&b, sectors(3..4));
    let part = |range: &str| lab.quorum_img(["check", "--output", "json", "--range", range]).args([&a, &b, &c]);

    let exact = part("512:512").exits(1);
    let report = exact.json();
    assert_eq!(report["range"], json!({ "offset": 512, "length": 512 }));
    assert_eq!(report["sectors"], json!({ "total": 1, "unanimous": 0, "decided": 1, "undecided": 0 }));
    assert_eq!(report["size"], MIB);
    let says_so = |output: &Output| output.stderr().to_lowercase().contains("widened") || warnings(&output.json()).contains("widened");
    assert!(!says_so(&exact), "nothing was widened\n{exact}");

    let inside = part("1k:512").exits(0).json();
    assert_eq!(inside["sectors"]["total"], 1, "sector 2 is fine");

    let wide = part("1000:100").exits(1);
    let report = wide.json();
    assert!(says_so(&wide), "{wide}");
    assert_eq!(report["range"], json!({ "offset": 512, "length": 1024 }), "bytes 1000 to 1100 lie in sectors 1 and 2");
    assert_eq!(report["sectors"]["total"], 2);

    let hex = part("0x200:0x200").output();
    if hex.code() == Some(1) {
        assert_eq!(hex.json()["range"]["offset"], 512, "{hex}");
    }
    let tail = part("1047552:1M").output();
    match tail.code() {
        Some(0) => assert_eq!(tail.json()["sectors"]["total"], 2, "cut at the disk's end\n{tail}"),
        Some(3) => assert!(tail.stderr().contains("hint:"), "{tail}"),
        _ => panic!("a range past the end is cut or refused\n{tail}"),
    }
}

#[test]
fn a_given_size_replaces_the_vote_on_it() {
    let lab = Lab::new();
    let whole = noise(1, 30 * 512);
    let [a, b, c] = [10, 20, 30].map(|length: usize| lab.file(format!("{length}.img"), &whole[..length * 512]));
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(2);

    let report = lab.quorum_img(["check", "--output", "json", "--size", "10k"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(report["size"], 10 * KIB, "20 sectors");
    assert_eq!(report["sectors"], json!({ "total": 20, "unanimous": 10, "decided": 10, "undecided": 0 }));
    assert_eq!(divergences(&report), json!([divergence(sectors(10..20), "decided", &[&[1, 2]], &[0])]));
    let told = |key: &str| (0..3).map(|member| report["members"][member][key].as_u64()).collect::<Vec<_>>();
    assert_eq!(told("absent-sectors"), [Some(10), Some(0), Some(0)]);
    assert_eq!(told("surplus-bytes"), [Some(0), Some(0), Some(10 * SECTOR)]);
    assert_eq!(report["members"][1]["whole"], true, "the only one of that size");
    assert_eq!(report["members"][2]["whole"], true, "what lies behind a size that was given isn't counted");
}

#[test]
fn the_sector_is_the_unit_of_the_vote() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", MIB);
    lab.flip_bit(&a, 70_000);
    lab.flip_bit(&b, 70_600);
    for (unit, code) in [(512, 1), (1024, 2), (4096, 2), (65536, 2)] {
        let unit_text = unit.to_string();
        let run = lab.quorum_img(["check", "--output", "json", "--sector-size", &unit_text]).args([&a, &b, &c]);
        let report = run.exits(code).json();
        assert_eq!(report["sector-size"], unit);
        assert_eq!(report["sectors"]["total"], MIB / unit, "{unit}");
        if code == 2 {
            let start = 70_000 / unit * unit;
            let expected = json!([divergence(start..start + unit, "undecided", &[&[0], &[1], &[2]], &[])]);
            assert_eq!(divergences(&report), expected, "two flipped bits share a sector of {unit}");
        }
    }
    let report = lab.quorum_img(["check", "--output", "json", "--sector-size", "4k"]).args([&a, &b, &c]).exits(2).json();
    assert_eq!(report["sector-size"], 4096, "sizes take suffixes");
}

#[test]
fn a_threshold_below_a_majority_decides_and_warns() {
    let lab = Lab::new();
    let [a, b, c, d] = lab.copies("disk.img", 64 * KIB);
    lab.damage(&c, sectors(5..6));
    lab.damage(&d, sectors(5..6));
    let members = [&a, &b, &c, &d];
    let majority = lab.quorum_img(["check", "--output", "json"]).args(members).exits(2).json();
    assert_eq!(majority["threshold"], 3, "a majority of four");
    assert_eq!(warnings(&majority), "", "nothing to warn of");

    let output = lab.quorum_img(["check", "--output", "json", "--threshold", "2"]).args(members).exits(2);
    let report = output.json();
    assert_eq!(report["threshold"], 2);
    assert_eq!(divergences(&report), json!([divergence(sectors(5..6), "decided", &[&[0, 1], &[2], &[3]], &[])]));
    assert!(warnings(&report).contains("majority"), "{output}");
    assert_eq!(report["guards"][0]["word"], "minority", "{output}");

    let people = lab.quorum_img(["check", "--threshold", "2"]).args(members).exits(2);
    let all = people.stdout() + &people.stderr();
    assert!(all.to_lowercase().contains("majority"), "{people}");
}

#[test]
fn a_threshold_above_a_majority_asks_for_more() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    lab.quorum_img(["check", "--threshold", "2"]).args([&a, &b, &c]).exits(1);
    let report = lab.quorum_img(["check", "--output", "json", "--threshold", "3"]).args([&a, &b, &c]).exits(2).json();
    assert_eq!(divergences(&report), json!([divergence(sectors(100..101), "undecided", &[&[0, 2], &[1]], &[])]));
}

/// As QEMU's fifo: the first member answers, and nobody is asked after it.
#[test]
fn fifo_compares_nothing() {
    let lab = Lab::new();
    let [a, b, c] = one_bad_sector(&lab);
    let report = lab.quorum_img(["check", "--output", "json", "--read-pattern", "fifo"]).args([&a, &b, &c]).exits(0).json();
    assert_eq!(report["read-pattern"], "fifo");
    assert_eq!(divergences(&report), json!([]));
    assert_eq!(report["members"][1]["dissenting-sectors"], 0);
    let quorum = lab.quorum_img(["check", "--output", "json", "--read-pattern", "quorum"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(quorum["read-pattern"], "quorum");
}

#[test]
fn a_trusted_member_is_right_against_the_majority() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 64 * KIB);
    lab.damage(&a, sectors(10..11)); // a is trusted: b and c are wrong here
    lab.damage(&b, sectors(20..22));
    for trusted in [a.to_str().expect("UTF-8"), "#0"] {
        let report = lab.quorum_img(["check", "--output", "json", "--trust", trusted]).args([&a, &b, &c]).exits(1).json();
        let expected = json!([
            divergence(sectors(10..11), "decided", &[&[0], &[1, 2]], &[]),
            divergence(sectors(20..22), "decided", &[&[0, 2], &[1]], &[]),
        ]);
        assert_eq!(divergences(&report), expected, "{trusted}");
        let dissents: Vec<_> = (0..3).map(|member| report["members"][member]["dissenting-sectors"].as_u64()).collect();
        assert_eq!(dissents, [Some(0), Some(3), Some(1)], "{trusted}");
        let whole: Vec<_> = (0..3).map(|member| report["members"][member]["whole"].as_bool()).collect();
        assert_eq!(whole, [Some(true), Some(false), Some(false)], "{trusted}");
    }
}

#[test]
fn a_trusted_members_size_is_right_too() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 64 * KIB);
    lab.set_length(&a, 60 * KIB);
    let report = lab.quorum_img(["check", "--output", "json", "--trust", "#0"]).args([&a, &b, &c]).exits(2).json();
    assert_eq!(report["size"], 60 * KIB);
    assert_eq!(report["sectors"]["total"], 120);
    assert_eq!(report["guards"][0]["word"], "cuts");
    let surplus: Vec<_> = (0..3).map(|member| report["members"][member]["surplus-bytes"].as_u64()).collect();
    assert_eq!(surplus, [Some(0), Some(4 * KIB), Some(4 * KIB)]);
}

/// With two members there is no majority, but a person may know which one is good.
#[test]
fn trust_settles_a_pair() {
    let lab = Lab::new();
    let [a, b] = lab.copies("disk.img", 64 * KIB);
    lab.damage(&b, sectors(1..2));
    lab.quorum_img(["check"]).args([&a, &b]).exits(2);
    lab.quorum_img(["check", "--trust", "#1"]).args([&a, &b]).exits(1);
}

// --- lengths --------------------------------------------------------------------------------------------------------------

#[test]
fn a_shorter_member_is_absent_from_its_last_whole_sector_on() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 20 * SECTOR);
    lab.set_length(&c, 10 * SECTOR + 100);
    let report = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(report["size"], 20 * SECTOR);
    assert_eq!(report["sectors"], json!({ "total": 20, "unanimous": 10, "decided": 10, "undecided": 0 }));
    assert_eq!(divergences(&report), json!([divergence(sectors(10..20), "decided", &[&[0, 1]], &[2])]));
    let member = &report["members"][2];
    assert_eq!((&member["absent-sectors"], &member["dissenting-sectors"]), (&json!(10), &json!(0)), "{member}");
    assert_eq!((&member["status"], &member["whole"]), (&json!("divergent"), &json!(false)), "{member}");
}

/// Whatever is behind the end of the disk, the disk itself is fine: but lengths differ, so check is not 0.
#[test]
fn a_surplus_is_divergent() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 20 * SECTOR);
    lab.set_length(&b, 20 * SECTOR + 1000);
    let output = lab.quorum_img(["check", "--output", "json"]).args([&a, &b, &c]).exits(1);
    let report = output.json();
    assert_eq!(report["size"], 20 * SECTOR);
    assert_eq!(report["verdict"], "decided");
    assert_eq!(report["sectors"], json!({ "total": 20, "unanimous": 20, "decided": 0, "undecided": 0 }));
    assert_eq!(divergences(&report), json!([]));
    let member = &report["members"][1];
    assert_eq!(member["surplus-bytes"], 1000);
    assert_eq!((&member["status"], &member["whole"]), (&json!("divergent"), &json!(false)), "{output}");
    assert_eq!(report["members"][0]["whole"], true);
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(1).says("1000");
}

#[test]
fn lengths_without_a_winner_leave_the_tail_undecided() {
    let lab = Lab::new();
    let whole = noise(2, 20 * 512);
    let (short, long) = (lab.file("short.img", &whole[..12 * 512]), lab.file("long.img", &whole));
    let output = lab.quorum_img(["check", "--output", "json"]).args([&short, &long]).exits(2);
    let report = output.json();
    assert_eq!(report["size"], 20 * SECTOR, "check goes to the longest");
    assert_eq!(report["sectors"], json!({ "total": 20, "unanimous": 12, "decided": 0, "undecided": 8 }));
    assert_eq!(divergences(&report), json!([divergence(sectors(12..20), "undecided", &[&[1]], &[0])]));
    assert_eq!(report["members"][1]["surplus-bytes"], 0, "nothing is a surplus where nobody knows the size");
    let people = lab.quorum_img(["check"]).args([&short, &long]).exits(2);
    let all = people.stdout() + &people.stderr();
    assert!(all.contains("--size"), "the way out\n{people}");
}

/// A disk need not be a multiple of the sector, and its short last sector votes like any other.
#[test]
fn a_short_last_sector_votes() {
    let lab = Lab::new();
    let [a, b, c] = lab.copies("disk.img", 1000);
    lab.quorum_img(["check"]).args([&a, &b, &c]).exits(0);
    lab.flip_bit(&b, 999);
    let report = lab.quorum_img(["check", "--output", "json", "--max-damage", "100"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(report["sectors"], json!({ "total": 2, "unanimous": 1, "decided": 1, "undecided": 0 }));
    assert_eq!(divergences(&report), json!([divergence(512..1000, "decided", &[&[0, 2], &[1]], &[])]));

    lab.set_length(&b, 999);
    let report = lab.quorum_img(["check", "--output", "json", "--max-damage", "100"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(divergences(&report), json!([divergence(512..1000, "decided", &[&[0, 2]], &[1])]), "one byte is missing");

    lab.set_length(&b, 1001);
    lab.write(&b, 0, &lab.read(&a, 0..1000));
    let report = lab.quorum_img(["check", "--output", "json", "--max-damage", "100"]).args([&a, &b, &c]).exits(1).json();
    assert_eq!(divergences(&report), json!([]), "one byte is too many, but not of the disk");
    assert_eq!(report["members"][1]["surplus-bytes"], 1);
}

// --- many members, holes --------------------------------------------------------------------------------------------------

#[test]
fn sixty_four_members_vote() {
    let lab = Lab::new();
    let members = lab.many_copies_of("disk.img", &noise(64, 128 * 1024), 64);
    for (index, member) in members.iter().enumerate().skip(33) {
        lab.damage(member, sectors(9..10)); // 33 against 31 loners
        if index == 63 {
            lab.damage(member, sectors(200..201));
        }
    }
    let report = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(1).json();
    assert_eq!(report["threshold"], 33);
    let (winners, others): (Vec<usize>, Vec<usize>) = ((0..33).collect(), (33..64).collect());
    let loners: Vec<[usize; 1]> = others.iter().map(|&member| [member]).collect();
    let versions: Vec<&[usize]> = std::iter::once(&winners[..]).chain(loners.iter().map(|one| &one[..])).collect();
    let all_but_last: Vec<usize> = (0..63).collect();
    let expected = json!([
        divergence(sectors(9..10), "decided", &versions, &[]),
        divergence(sectors(200..201), "decided", &[&all_but_last, &[63]], &[]),
    ]);
    assert_eq!(divergences(&report), expected);
    lab.damage(&members[0], sectors(9..10));
    lab.quorum_img(["check"]).args(&members).exits(2);
}

#[test]
fn a_hole_is_as_good_as_zeros() {
    let lab = Lab::new();
    let hole = lab.sparse("hole.img", 8 * MIB);
    let zeros = lab.file("zeros.img", vec![0; 8 << 20]);
    let mixed = lab.sparse("mixed.img", 8 * MIB);
    lab.write(&mixed, 3 * MIB, &vec![0; 100_000]);
    lab.quorum_img(["check"]).args([&hole, &zeros, &mixed]).exits(0);

    // Data in one where the others have a hole or zeros, right at the edges of blocks.
    lab.write(&mixed, 5 * MIB - 1, &[1, 1]);
    lab.write(&zeros, 8 * MIB - 1, &[1]);
    let report = lab.quorum_img(["check", "--output", "json", "--max-damage", "100"]).args([&hole, &zeros, &mixed]).exits(1).json();
    let (edge, last) = (5 * MIB / SECTOR, 8 * MIB / SECTOR - 1);
    let expected = json!([
        divergence(sectors(edge - 1..edge + 1), "decided", &[&[0, 1], &[2]], &[]),
        divergence(sectors(last..last + 1), "decided", &[&[0, 2], &[1]], &[]),
    ]);
    assert_eq!(divergences(&report), expected);
    assert_eq!(report["sectors"]["total"], 8 * MIB / SECTOR);
}

//! What a damage looks like: told of each place and of each member, as reports have it and as people read it.

#[path = "support/mod.rs"]
mod support;

use support::{Lab, MIB, noise};

/// Three copies, of which the second was changed like that; what is said of it, and what the places look like.
fn looked_at(change: impl Fn(&mut Vec<u8>)) -> (String, Vec<String>) {
    let lab = Lab::new();
    let good = noise(11, MIB as usize);
    let mut bad = good.clone();
    change(&mut bad);
    let members = [("a.img", &good), ("b.img", &bad), ("c.img", &good)].map(|(name, bytes)| lab.file(name, bytes));
    let run = lab.quorum_img(["check", "--output", "json", "--report", "report.json"]).args(&members).output();
    let report = run.json();
    let said = report["members"][1]["conclusion"].as_str().unwrap_or_else(|| panic!("nothing is said\n{run}")).to_owned();
    assert!(report["members"][0].get("conclusion").is_none(), "{run}");
    let list = |report: &serde_json::Value| -> Vec<String> {
        let rows = report["divergences"].as_array().into_iter().flatten();
        rows.map(|row| row["damage"][0]["looks"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let kept: serde_json::Value = serde_json::from_slice(&lab.bytes(&lab.path("report.json"))).expect("a report");
    assert_eq!(list(&report), list(&kept), "the report's file tells the same\n{run}");
    let people = lab.quorum_img(["check"]).args(&members).output();
    assert!(people.stdout().contains(&format!("#1 {}: {said}.", members[1].display())), "{people}");
    (said, list(&report))
}

#[test]
fn every_kind_is_told_of_in_words() {
    let (said, looks) = looked_at(|disk| disk[0x10000..0x20000].fill(0));
    assert_eq!((said.as_str(), &looks[..]), ("one place of 64 KiB of zeros", &["zeroed".to_owned()][..]));
    let (said, looks) = looked_at(|disk| {
        for at in [1001, 200_000, 700_003] {
            disk[at] ^= 0x20;
        }
    });
    assert!(said.starts_with("3 flipped bits in 3 places, ") && said.ends_with("all in bit 5"), "{said}");
    assert_eq!(looks, ["bit-flips"; 3]);
    let (said, _) = looked_at(|disk| disk[4096..8192].fill(0xf6));
    assert_eq!(said, "one place of 4 KiB filled with 0xf6");
    let (said, looks) = looked_at(|disk| disk[8192..12_288].rotate_right(3));
    assert_eq!((said.as_str(), &looks[..]), ("one place of 4 KiB with the others' bytes, shifted", &["shifted".to_owned()][..]));
    let (said, looks) = looked_at(|disk| {
        for start in [0x8000, 0x40000] {
            for at in 0..100 {
                disk.swap(start + at, start + at + 200);
            }
        }
    });
    assert_eq!(looks, ["same-sum"; 2]);
    assert!(said.contains("TCP's checksum can't see"), "{said}");
    let (said, _) = looked_at(|disk| disk[0x5000..0x5200].copy_from_slice(&noise(5, 512)));
    assert_eq!(said, "one place of 512 B of other bytes");
}

/// More than a thousand places aren't looked at one by one.
#[test]
fn many_places_are_bounded() {
    let (said, looks) = looked_at(|disk| {
        for sector in (0..2048).step_by(2).take(1010) {
            disk[sector * 512] ^= 1;
        }
    });
    assert!(said.ends_with("; 10 more places weren't looked at"), "{said}");
    assert_eq!(looks.iter().filter(|looks| *looks == "bit-flips").count(), 1000);
}

/// Nobody could tell a copy that had been away from one that rots: what its file system says of its age was known, and not said.
#[test]
fn a_stale_copy_is_called_one() {
    let lab = Lab::new();
    let [old, new] = ["ext4-disk-old", "ext4-disk-new"].map(support::disks::bytes);
    let members = [("a.img", &new), ("b.img", &old), ("c.img", &new)].map(|(name, bytes)| lab.file(name, bytes));
    let run = lab.quorum_img(["check"]).args(&members).output();
    let line = run.stdout().lines().find(|line| line.starts_with("#1 ")).unwrap_or_default().to_owned();
    assert!(line.contains(": looks stale: ") && line.contains(" % differ, its ext4 "), "{run}");
}

#[test]
fn a_shorter_copy_and_another_disk_are_called_so() {
    let lab = Lab::new();
    let disk = noise(1, 2 * MIB as usize);
    let members = [("a.img", &disk[..]), ("b.img", &disk[..MIB as usize]), ("c.img", &disk[..])].map(|(name, bytes)| lab.file(name, bytes));
    lab.quorum_img(["check"]).args(&members).exits(1).says("b.img: 1 MiB shorter.");
}

/// A controller wrote a block to the wrong place: it says so who is asked to look for it.
#[test]
fn what_belongs_elsewhere_is_found() {
    let lab = Lab::new();
    let good = noise(7, 3 * MIB as usize + 512);
    let mut bad = good.clone();
    bad.copy_within(0x20_0000..0x20_1000, 0x8_0000);
    let members = [("a.img", &good), ("b.img", &bad), ("c.img", &good)].map(|(name, bytes)| lab.file(name, bytes));
    let run = lab.quorum_img(["check", "--output", "json", "--diagnose", "deep", "--report", "list.json"]).args(&members).exits(1);
    let kept: serde_json::Value = serde_json::from_slice(&lab.bytes(&lab.path("list.json"))).expect("a report");
    for report in [run.json(), kept] {
        let damage = &report["divergences"][0]["damage"][0];
        assert_eq!((&damage["looks"], &damage["misplaced-bytes"]), (&"misplaced".into(), &0x18_0000.into()), "{run}");
    }
    assert_eq!(run.json()["members"][1]["conclusion"], "one place of 4 KiB with what belongs elsewhere in the image");
    let quick = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(1).json();
    assert_eq!(quick["divergences"][0]["damage"][0]["looks"], "other");
    let never = lab.quorum_img(["check", "--output", "json", "--diagnose", "never"]).args(&members).exits(1).json();
    assert!(never["divergences"][0].get("damage").is_none() && never["members"][1].get("conclusion").is_none());
    lab.quorum_img(["repair", "-o", "new.img", "--diagnose", "deep"])
        .args(&members)
        .exits(3)
        .complains("hint: quorum-img check --diagnose deep");
}

/// A sector that isn't whole at an image's end was asked for as if it were, and its member was a failed one from then on.
#[test]
fn an_odd_end_and_a_huge_hole_do_no_harm() {
    let lab = Lab::new();
    let good = noise(7, 100_000);
    let (mut a, mut b) = (good.clone(), good.clone());
    a[99_900..].fill(7);
    a[50_000] ^= 1;
    b.copy_within(0..512, 51_200);
    let members = [("a.img", &a), ("b.img", &b), ("c.img", &good)].map(|(name, bytes)| lab.file(name, bytes));
    let run = lab.quorum_img(["check", "--diagnose", "deep"]).args(&members).exits(1);
    run.says("b.img: one place of 512 B with what belongs elsewhere in the image.");
    let next = run.stdout().lines().find_map(|line| line.strip_prefix("next: ").map(str::to_owned)).expect("something leads on");
    assert!(!next.contains("--diagnose"), "{next}");
    let sparse = ["x.img", "y.img", "z.img"].map(|name| lab.sparse(name, 4 << 40));
    for (index, member) in sparse.iter().enumerate() {
        lab.write(member, 0, &noise(if index == 1 { 3 } else { 4 }, 512));
    }
    // (A sector is an eighth of all that these hold, and so a guard stands.)
    lab.quorum_img(["check", "--diagnose", "deep"]).args(&sparse).exits(2);
}

/// 64 KiB of zeros and 192 KiB of other data behind them were called 256 KiB of zeros.
#[test]
fn a_long_place_is_not_judged_by_its_beginning() {
    let (said, looks) = looked_at(|disk| {
        disk[0x4_0000..0x5_0000].fill(0);
        disk[0x5_0000..0x8_0000].iter_mut().for_each(|byte| *byte ^= 0x55);
    });
    assert_eq!((said.as_str(), &looks[..]), ("one place of 256 KiB of other bytes", &["other".to_owned()][..]));
    let (said, _) = looked_at(|disk| disk[0x4_0000..0x8_0000].fill(0));
    assert_eq!(said, "one place of 256 KiB of zeros");
    let (said, _) = looked_at(|disk| disk[0x4_0000..0x8_0000].iter_mut().for_each(|byte| *byte ^= 0x55));
    assert!(said.ends_with("; long places were judged by how they begin"), "{said}");
}

/// One sector that stands elsewhere doesn't make a place misplaced, and zeros at its beginning don't hide that it is.
#[test]
fn a_place_is_misplaced_as_a_whole() {
    let lab = Lab::new();
    let mut good = noise(7, 3 * MIB as usize);
    good[0x20_0000..0x20_0400].fill(0);
    let (mut whole, mut part) = (good.clone(), good.clone());
    whole.copy_within(0x20_0000..0x21_0000, 0x8_0000);
    part.copy_within(0x20_4000..0x20_4200, 0xc_0000);
    part[0xc_0200..0xd_0000].copy_from_slice(&noise(9, 0xfe00));
    let members = [("a.img", &good), ("b.img", &whole), ("c.img", &part), ("d.img", &good)].map(|(name, bytes)| lab.file(name, bytes));
    let report = lab.quorum_img(["check", "--output", "json", "--diagnose", "deep"]).args(&members).output().json();
    let looks: Vec<&str> =
        report["divergences"].as_array().into_iter().flatten().filter_map(|row| row["damage"][0]["looks"].as_str()).collect();
    assert_eq!(looks, ["misplaced", "other"]);
}

#[test]
fn data_that_zeros_outvote_is_told_as_that() {
    let lab = Lab::new();
    let good = noise(11, MIB as usize);
    let mut lost = good.clone();
    lost[0x1_0000..0x1_8000].fill(0);
    let members = [("a.img", &lost), ("b.img", &good), ("c.img", &lost)].map(|(name, bytes)| lab.file(name, bytes));
    lab.quorum_img(["check"]).args(&members).output().says("b.img: one place of 32 KiB of data where those who won hold zeros.");
}

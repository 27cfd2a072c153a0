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
        for at in [1000, 200_000, 700_000] {
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

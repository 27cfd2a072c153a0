//! What is to be run next leads on. Every run of every test follows it as printed (`support::lead_on`); here are the situations in which
//! it once led back, nowhere, or to what had just been refused.

use std::fs;

use super::{
    files,
    support::{KIB, Lab, MIB, disks::bytes, needs, noise, sectors},
};

/// The line that begins with `next:`.
fn next(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("next: ")).unwrap_or_else(|| panic!("no next: in\n{text}"))
}

/// Three copies that nobody wins at `places`.
fn without_winner(lab: &Lab, places: &[u64]) -> Vec<std::path::PathBuf> {
    let members = files(lab, &vec![noise(1, MIB as usize); 3]);
    for &place in places {
        for member in &members[1..] {
            lab.damage(member, sectors(place..place + 1));
        }
    }
    members
}

/// What was picked before was dropped by the next suggestion: an endless loop.
#[test]
fn a_second_decision_keeps_the_first() {
    let lab = Lab::new();
    let members = without_winner(&lab, &[8, 40, 80]);
    let run = lab.quorum_img(["check"]).args(&members).exits(2);
    assert!(next(&run.stdout()).starts_with("quorum-img show 0x1000:512 "), "{run}");
    let run = lab.quorum_img(["show", "0x1000:512"]).args(&members).exits(2);
    assert!(next(&run.stdout()).contains("--pick '0x1000:512=#0' -o fixed.img"), "{run}");
    let run = lab.quorum_img(["repair", "--pick", "0x1000:512=#0", "-o", "new.img"]).args(&members).exits(2);
    let text = run.stdout();
    let line = next(&text);
    assert!(line.contains("--pick '0x1000:512=#0'") && line.contains("--pick '0x5000:512=#0'") && line.contains("-o new.img"), "{run}");
    let run = lab.quorum_img(["repair", "--in-place", "--dry-run"]).args(&members).exits(2);
    assert!(next(&run.stdout()).starts_with("quorum-img repair --in-place --dry-run --pick '0x1000:512=#0'"), "{run}");
}

/// Two healthy legs of an array looked damaged, and one of them was to be picked.
#[test]
fn legs_are_compared_without_what_makes_them_legs() {
    let lab = Lab::new();
    let members = files(&lab, &[0, 1].map(|leg| bytes(&format!("md-1.2-leg{leg}"))));
    let run = lab.quorum_img(["check"]).args(&members).exits(2);
    assert!(next(&run.stdout()).starts_with("quorum-img check --skip-device-metadata"), "{run}");
}

/// A replacement disk that came full of ones was taken for the only one with data.
#[test]
fn a_disk_of_ones_is_empty() {
    let lab = Lab::new();
    let disk = bytes("ext4-disk-old");
    let members = files(&lab, &[disk.clone(), disk.clone(), vec![0xff; disk.len()]]);
    let run = lab.quorum_img(["check"]).args(&members).exits(2);
    run.says("Whole as they stand: #0");
    assert!(next(&run.stdout()).starts_with("quorum-img repair -o fixed.img"), "{run}");
}

/// Options of the output and of reading were dropped.
#[test]
fn what_was_given_is_given_again() {
    let lab = Lab::new();
    let members = without_winner(&lab, &[8]);
    let line = ["repair", "-O", "qcow2", "-o", "new.qcow2", "-T", "none", "-j", "2", "-r", "100M", "--report", "list.json"];
    let run = lab.quorum_img(line).args(&members).exits(2);
    for part in ["--target-format qcow2", "-o new.qcow2", "--cache none", "--threads 2", "--rate-limit 100M", "--report list.json"] {
        assert!(next(&run.stdout()).contains(part), "{part}: {run}");
    }
    // After a check that looked at a part, the image is made of the whole.
    let run = lab.quorum_img(["check", "--range", "0:64k", "--force-share"]).args(&members).exits(2);
    assert!(!next(&run.stdout()).contains("--range") && next(&run.stdout()).contains("--force-share"), "{run}");
}

/// What was read once for a list was read again.
#[test]
fn a_list_is_gone_by() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, MIB as usize); 3]);
    lab.damage(&members[1], sectors(7..9));
    let run = lab.quorum_img(["check", "--report", "list.json"]).args(&members).exits(1);
    assert!(next(&run.stdout()).contains("--from list.json -o fixed.img"), "{run}");
    // Nothing is written over.
    fs::write(lab.path("fixed.img"), "mine").expect("it can be written");
    let run = lab.quorum_img(["check"]).args(&members).exits(1);
    assert!(next(&run.stdout()).contains("-o fixed-2.img"), "{run}");
    fs::remove_file(lab.path("fixed.img")).expect("it is there");
}

/// Where nobody could read anything, `#N` and `first` can't work.
#[test]
fn what_nobody_has_is_marked() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, MIB as usize); 2]);
    lab.file("map", "# Mapfile\n0x0 + 1\n0x0 0x1000 +\n0x1000 0x400 -\n0x1400 0xfec00 +\n");
    let maps = ["--mapfile", "#0=map", "--mapfile", "#1=map"];
    let run = lab.quorum_img(["check"]).args(maps).args(&members).exits(2);
    let text = run.stdout();
    assert!(next(&text).contains("--mapfile '#0=map' --mapfile '#1=map' --undecided marker"), "{run}");
    assert!(!next(&text).contains("--pick"), "{run}");
    let run = lab.quorum_img(["repair", "--undecided", "bytes", "-o", "new.img"]).args(maps).args(&members).exits(2);
    assert!(next(&run.stdout()).contains("--undecided marker"), "{run}");
}

/// A vote on bytes left places open, and the suggestion dropped it.
#[test]
fn what_bytes_could_not_settle_is_marked() {
    let lab = Lab::new();
    let members = without_winner(&lab, &[8]);
    // Here the bytes have no majority either: three are of three minds everywhere.
    for (index, member) in members.iter().enumerate() {
        lab.write(member, 40 * 512, &[10 + index as u8; 512]);
    }
    let run = lab.quorum_img(["repair", "--undecided", "bytes", "-o", "new.img"]).args(&members).exits(2);
    assert!(next(&run.stdout()).contains("--undecided marker -o new.img") || next(&run.stdout()).contains("-o new.img"), "{run}");
}

/// A longer member's data was to be cut by the very command that is refused for it.
#[test]
fn a_surplus_of_data_asks_for_a_size() {
    let lab = Lab::new();
    let mut longer = noise(1, MIB as usize);
    longer.extend(noise(2, 4096));
    let members = files(&lab, &[noise(1, MIB as usize), noise(1, MIB as usize), longer]);
    let run = lab.quorum_img(["check"]).args(&members).exits(2);
    assert!(next(&run.stdout()).starts_with("quorum-img check --size 1052672"), "{run}");
    lab.quorum_img(["repair", "-o", "new.img"]).args(&members).exits(2);
    lab.quorum_img(["repair", "--in-place"]).args(&members).output();
}

/// One that failed is to be brought back, rather than left out.
#[test]
fn one_that_failed_comes_back_first() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, MIB as usize); 2]);
    lab.damage(&members[1], sectors(7..9));
    lab.program("qemu-img").args(["create", "-f", "qcow2", "bad.qcow2", "1M"]).exits(0);
    lab.write(&lab.path("bad.qcow2"), 72, &[0xff]);
    let raws = members.iter().map(|member| format!("raw:{}", member.display()));
    let run = lab.quorum_img(["check"]).args(raws).arg("qcow2:bad.qcow2").exits(2);
    assert!(next(&run.stdout()).ends_with("# once #2 can be read again"), "{run}");
}

/// Images whose files are alike, and whose data file isn't, were to be compared by the files that are alike.
#[test]
fn damage_in_a_data_file_is_no_reason_to_compare_images() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        let folder = {
            let folder = lab.path(name);
            fs::create_dir(&folder).expect("a folder");
            folder
        };
        let create = ["create", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "disk.qcow2", "1M"];
        lab.program("qemu-img").args(create).in_folder(&folder).exits(0);
        fs::write(folder.join("data.raw"), noise(1, MIB as usize)).expect("it can be written");
    }
    lab.damage(&lab.path("b/data.raw"), 0..16 * KIB);
    let run = lab.quorum_img(["check", "-f", "qcow2", "--allow-references", "a/disk.qcow2", "b/disk.qcow2", "c/disk.qcow2"]).exits(1);
    run.says_nothing_of("-f raw");
}

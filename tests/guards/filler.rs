//! Sectors that say of themselves that nothing was read there.

use std::{fmt::Write as _, fs};

use super::{
    check, files, in_place,
    support::{Lab, noise},
};

/// `--undecided marker` made an image, it was stored twice, and voted against the original: our own marker won, in a new image and in
/// place.
#[test]
fn a_marker_does_not_outvote_the_original() {
    let lab = Lab::new();
    let original = noise(1, 1 << 20);
    let mut others = [original.clone(), original.clone()];
    others[0][4096..8192].copy_from_slice(&noise(2, 4096));
    others[1][4096..8192].copy_from_slice(&noise(3, 4096));
    let members = files(&lab, &[original.clone(), others[0].clone(), others[1].clone()]);
    lab.quorum_img(["repair", "-o", "marked.img", "--undecided", "marker"]).args(&members).exits(2);
    let marked = lab.bytes(&lab.path("marked.img"));
    let members = files(&lab, &[marked.clone(), original.clone(), original.clone()]);
    let run = check(&lab, &members).exits(1);
    assert_eq!(run.json()["members"][0]["filler-sectors"], 8, "{run}");
    assert_eq!(run.json()["divergences"][0]["filler"], serde_json::json!([0]), "{run}");

    let members = files(&lab, &[marked.clone(), original.clone(), marked.clone()]);
    check(&lab, &members).exits(2);
    in_place(&lab, &members).exits(2);
    assert!(lab.bytes(&members[1]) == original, "one ballot doesn't decide, and no filler does");
    lab.quorum_img(["repair", "-o", "fixed.img", "--undecided", "first"]).args(&members).exits(2);
    assert!(lab.bytes(&lab.path("fixed.img")) == original, "the only one with anything there");
}

/// What overwrites a filler is journalled and undone as data is.
#[test]
fn a_filler_that_was_overwritten_comes_back() {
    let lab = Lab::new();
    let original = noise(1, 1 << 20);
    let mut filled = original.clone();
    filled[100 * 512..200 * 512].fill(0xf6);
    let members = files(&lab, &[original.clone(), filled.clone(), original.clone()]);
    let run = check(&lab, &members).args(["--filler", "0xf6"]).exits(1);
    assert_eq!(run.json()["members"][1]["filler-sectors"], 100, "{run}");
    in_place(&lab, &members).args(["--filler", "0xf6"]).exits(0);
    assert!(lab.bytes(&members[1]) == original);
    lab.quorum_img(["undo", "0.img.quorum-journal"]).exits(0);
    assert!(lab.bytes(&members[1]) == filled);
}

/// Three copies read by ddrescue, each with zeros where it couldn't: without their mapfiles zeros would win where two failed at one place;
/// with them the copies merge to the whole disk.
#[test]
fn copies_of_a_failing_disk_merge_by_their_mapfiles() {
    let lab = Lab::new();
    let original = noise(1, 1 << 20);
    let mut bytes = vec![original.clone(); 3];
    let areas = [[(0x1_0000, 0x4000), (0x8_0000, 0x200)], [(0x2_0000, 0x1000), (0x8_0000, 0x200)], [(0x3_0000, 0x8000), (0xf_fe00, 0x200)]];
    for (index, areas) in areas.iter().enumerate() {
        let mut map = "# Mapfile. Created by GNU ddrescue version 1.27\n# current_pos current_status current_pass\n0x0 + 1\n".to_owned();
        let mut at = 0;
        for &(start, length) in areas {
            bytes[index][start..start + length].fill(0);
            let _ = writeln!(map, "{at:#x} {:#x} +\n{start:#x} {length:#x} -", start - at);
            at = start + length;
        }
        if at < 1 << 20 {
            let _ = writeln!(map, "{at:#x} {:#x} +", (1 << 20) - at);
        }
        fs::write(lab.path(format!("{index}.map")), map).expect("a map");
    }
    let members = files(&lab, &bytes);
    let maps = ["--mapfile", "#0=0.map", "--mapfile", "1.img=1.map", "--mapfile", "#2=2.map"];
    let members: Vec<_> = members.iter().map(|member| std::path::PathBuf::from(member.file_name().expect("a name"))).collect();
    let run = check(&lab, &members).args(maps).exits(2);
    assert_eq!(run.json()["sectors"]["undecided"], 1, "where two could not be read one ballot is left\n{run}");
    lab.quorum_img(["repair", "-o", "whole.img", "--undecided", "first"]).args(maps).args(&members).exits(2);
    assert!(lab.bytes(&lab.path("whole.img")) == original);
    lab.quorum_img(["check", "--mapfile", "#0=missing.map"]).args(&members).exits(3).complains("missing.map");
    fs::write(lab.path("bad.map"), "hello\n").expect("a file");
    lab.quorum_img(["check", "--mapfile", "#0=bad.map"]).args(&members).exits(3).complains("line 1").complains("hint:");
}

/// What none of them could read is undecided, though all hold the same zeros there, be they written or a hole.
#[test]
fn what_nobody_has_read_is_undecided() {
    for sparse in [false, true] {
        let lab = Lab::new();
        let mut disk = noise(1, 1 << 20);
        disk[0x4_0000..0x8_0000].fill(0);
        let members: Vec<_> = (0..3)
            .map(|index| {
                let name = format!("{index}.img");
                if !sparse {
                    return lab.file(name, &disk);
                }
                let member = lab.sparse(name, 1 << 20);
                lab.write(&member, 0, &disk[..0x4_0000]);
                lab.write(&member, 0x8_0000, &disk[0x8_0000..]);
                member
            })
            .collect();
        fs::write(lab.path("map"), "0 +\n0 0x40000 +\n0x40000 0x40000 -\n0x80000 0x80000 +\n").expect("a map");
        let maps = ["--mapfile", "#0=map", "--mapfile", "#1=map", "--mapfile", "#2=map"];
        let run = check(&lab, &members).args(maps).exits(2);
        assert_eq!(run.json()["sectors"]["undecided"], 512, "{run}");
        check(&lab, &members).args(&maps[..4]).exits(2);
        check(&lab, &members).args(&maps[..2]).exits(1);
    }
}

/// Zeros can be taken for what was never read, too; that is said aloud.
#[test]
fn zeros_can_be_fillers() {
    let lab = Lab::new();
    let original = noise(1, 1 << 20);
    let mut holed = vec![original.clone(); 3];
    for (index, disk) in holed.iter_mut().enumerate() {
        disk[index * 65536..(index + 1) * 65536].fill(0);
    }
    let members = files(&lab, &holed);
    let run = lab.quorum_img(["repair", "-o", "whole.img", "--filler", "zero"]).args(&members).exits(0);
    run.complains("zeros are taken for");
    assert!(lab.bytes(&lab.path("whole.img")) == original);
}

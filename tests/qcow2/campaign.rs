//! Bits flipped all over the metadata of small images, the same ones on every run: whatever becomes of the image, two sound copies get
//! the disk back, and where QEMU still reads it, it reads what we read.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use super::{
    damage::Scene,
    have_qemu,
    layout::Layout,
    layout::be64,
    making::{Dice, follow, some_disk},
    support::{Lab, MIB, Output},
};

/// Flips in each kind of image.
const FLIPS: u64 = 50;

/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// An image made by these lines, and what QEMU reads of it.
fn sound(lines: &[&str]) -> Lab {
    let lab = Lab::new();
    lab.file("base.raw", some_disk(99, 200_192));
    follow(&lab, lines);
    let good = lab.bytes(&super::converted(&lab, "top.q", "sound.raw"));
    lab.copies_of::<2>("good.raw", &good);
    lab
}

/// One flip after the other, each in a fresh copy of the image; `data_too` for images whose data has a form that can break.
fn flip_all(seed: u64, lines: &[&str], data_too: bool) {
    if !have_qemu() {
        return;
    }
    let lab = sound(lines);
    let image = lab.path("top.q");
    let (before, good) = (lab.bytes(&image), lab.bytes(&lab.path("good-0.raw")));
    let mut places = Layout::of(&lab, &image).metadata();
    if data_too {
        places.push(0..before.len() as u64);
    }
    let mut dice = Dice::new(seed);
    let mut faults = Vec::new();
    for _ in 0..FLIPS {
        let place = places[usize::try_from(dice.below(places.len() as u64)).expect("an index")].clone();
        let at = (place.start + dice.below(place.end - place.start)).min(before.len() as u64 - 1);
        let bit = dice.below(8);
        let mut bytes = before.clone();
        bytes[usize::try_from(at).expect("small")] ^= 1 << bit;
        lab.file("top.q", &bytes);
        if let Err(fault) = one_flip(&lab, &bytes, &good) {
            faults.push(format!("bit {bit} of byte {at}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "seed {seed}, {lines:?}:\n{}", faults.join("\n\n"));
}

fn one_flip(lab: &Lab, bytes: &[u8], good: &[u8]) -> Result<(), String> {
    let out = lab.path("out.img");
    let _ = fs::remove_file(&out);
    let options = ["repair", "--allow-references", "--output", "json", "-o", "out.img"];
    let run = lab.quorum_img(options).args(Scene::members()).within(LIMIT).output();
    let wrong = |text: &str| Err(format!("{text}\n{run}"));
    if run.stderr().contains("panicked") {
        return wrong("a panic");
    }
    let theirs = read_by_qemu(lab, bytes);
    match run.code() {
        Some(0) if lab.bytes(&out) != good => return wrong("the repaired image is not the good one"),
        Some(0) => (),
        Some(3) if theirs.is_some() => return wrong("refused, and QEMU reads it"),
        Some(3) if !run.stderr().contains("hint:") => return wrong("refused without a way out"),
        Some(3) => return Ok(()),
        _ => return wrong("neither repaired nor refused"),
    }
    let report = run.json();
    let member = &report["members"][0];
    let Some(theirs) = theirs else { return Ok(()) };
    if member["status"] == "failed" {
        return wrong("failed, and QEMU reads it");
    }
    if member["size"] != theirs.len() {
        return wrong(&format!("QEMU sees {} bytes", theirs.len()));
    }
    let errors = member["image-errors"].as_array().cloned().unwrap_or_default();
    let ends = |error: &Value| error["error"].as_str().is_some_and(|text| text.contains("beyond the end of the file"));
    if !errors.iter().all(ends) {
        return wrong("QEMU reads what is called damage");
    }
    same_as_qemu(lab, &run, &theirs, good)
}

/// What QEMU makes of the image; none where it can't read it. Sizes beyond reason aren't tried.
fn read_by_qemu(lab: &Lab, bytes: &[u8]) -> Option<Vec<u8>> {
    if be64(bytes, 24) > 16 * MIB {
        return None;
    }
    let theirs = lab.path("theirs.raw");
    let _ = fs::remove_file(&theirs);
    let run = lab.program("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw", "top.q", "theirs.raw"]).within(LIMIT).output();
    (run.code() == Some(0)).then(|| lab.bytes(&theirs))
}

/// Sector by sector: where QEMU reads the good bytes nothing dissents; where it reads others, those are the ones that dissent.
fn same_as_qemu(lab: &Lab, run: &Output, theirs: &[u8], good: &[u8]) -> Result<(), String> {
    let report = run.json();
    let common = theirs.len().min(good.len()) / 512;
    let (mut dissents, mut lost) = (vec![false; common], vec![false; common]);
    for divergence in report["divergences"].as_array().expect("a list") {
        let number = |key: &str| usize::try_from(divergence[key].as_u64().expect("bytes")).expect("small") / 512;
        let is_lost = divergence["unreadable"].as_array().is_some_and(|all| all.contains(&Value::from(0)));
        let versions = divergence["versions"].as_array().expect("a list");
        let dissented = versions.len() > 1;
        for sector in (number("offset")..number("offset") + number("length")).take_while(|&sector| sector < common) {
            (dissents[sector], lost[sector]) = (dissented, is_lost);
        }
    }
    let sector = |bytes: &[u8], number: usize| bytes[number * 512..number * 512 + 512].to_vec();
    let differs = |number: usize| sector(theirs, number) != sector(good, number);
    if let Some(wrong) = (0..common).find(|&number| !lost[number] && dissents[number] != differs(number)) {
        return Err(format!("sector {wrong} as QEMU reads it: {}\n{run}", if differs(wrong) { "damaged" } else { "good" }));
    }
    if dissents.contains(&true) && !lost.contains(&true) {
        let ours = own_bytes(lab)?;
        if let Some(wrong) = (0..common).find(|&number| sector(&ours, number) != sector(theirs, number)) {
            return Err(format!("sector {wrong} isn't what QEMU reads there\n{run}"));
        }
    }
    Ok(())
}

/// The image's own bytes, right or wrong.
fn own_bytes(lab: &Lab) -> Result<Vec<u8>, String> {
    let ours: &Path = &lab.path("ours.raw");
    let _ = fs::remove_file(ours);
    let options = ["repair", "--allow-references", "--force", "empty", "--trust", "#0", "-o", "ours.raw"];
    let run = lab.quorum_img(options).args(Scene::members()).within(LIMIT).output();
    if run.code() == Some(0) { Ok(lab.bytes(ours)) } else { Err(format!("QEMU reads all of it\n{run}")) }
}

#[test]
fn flips_in_plain_images() {
    flip_all(1, &["img create -f qcow2 -o cluster_size=1k top.q 200192", "fill top.q", "fill top.q"], false);
}

#[test]
fn flips_in_version_2() {
    flip_all(2, &["img create -f qcow2 -o compat=v2,cluster_size=512 top.q 100352", "fill top.q", "fill top.q"], false);
}

#[test]
fn flips_in_zlib_images() {
    flip_all(3, &["img convert -c -f raw -O qcow2 -o cluster_size=4k base.raw top.q", "fill top.q"], true);
}

#[test]
fn flips_in_zstd_images() {
    let convert = "img convert -c -f raw -O qcow2 -o cluster_size=4k,compression_type=zstd base.raw top.q";
    flip_all(4, &[convert, "fill top.q"], true);
}

#[test]
fn flips_in_extended_l2() {
    flip_all(5, &["img create -f qcow2 -o extended_l2=on,cluster_size=16k top.q 300032", "fill top.q", "fill top.q"], false);
}

#[test]
fn flips_in_overlays() {
    let lines = [
        "img convert -c -f raw -O qcow2 -o cluster_size=8k base.raw base.q",
        "img create -f qcow2 -o cluster_size=4k -b base.q -F qcow2 top.q",
        "fill top.q",
        "img snapshot -c s top.q",
        "fill top.q",
    ];
    flip_all(6, &lines, false);
}

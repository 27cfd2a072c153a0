//! qcow2 members: what the guest sees votes, whatever holds it. QEMU's own tools make the images, and its `qemu-img convert` is the
//! judge of every byte.

#[path = "../support/mod.rs"]
mod support;

mod backing;
mod campaign;
mod damage;
mod damaged_chains;
mod damaged_headers;
mod facts;
mod features;
mod layout;
mod locks;
mod making;
mod matrix;
mod mixed;
mod references;
mod safety;
mod said;
mod twins;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use support::{
    Lab,
    qemu::{have_qemu, qemu_img, qemu_io},
};

/// The image as QEMU reads it, in a raw file.
fn converted(lab: &Lab, image: &str, raw: &str) -> PathBuf {
    qemu_img(lab, &format!("convert -f qcow2 -O raw {image} {raw}"));
    lab.path(raw)
}

/// Fails unless quorum-img reads `image` byte for byte as QEMU does. What check reports of the image.
fn reads_as_qemu(lab: &Lab, image: &str, options: &[&str]) -> Value {
    let oracle = converted(lab, image, &format!("{image}.oracle"));
    reads_as(lab, image, &oracle, options)
}

/// Fails unless quorum-img reads `image` byte for byte as it stands in the file `oracle`: by a vote against two copies of that, and
/// written out whole. What check reports of the image.
fn reads_as(lab: &Lab, image: &str, oracle: &Path, options: &[&str]) -> Value {
    let bytes = lab.bytes(oracle);
    assert!(bytes.iter().any(|&byte| byte != 0), "{image} holds nothing but zeros: that shows nothing");
    let copy = lab.file(format!("{image}.copy"), &bytes);
    let members = [format!("qcow2:{image}"), format!("raw:{}", oracle.display()), format!("raw:{}", copy.display())];
    let check = lab.quorum_img(["check", "--output", "json"]).args(options).args(&members).output();
    let report = check.json();
    // What is wrong with an image's books is no matter of the disk.
    let sound = report["members"][0].get("structure-errors").is_none();
    assert_eq!(check.code(), Some(i32::from(!sound)), "{check}");
    assert_eq!((&report["sectors"]["decided"], &report["sectors"]["undecided"]), (&0.into(), &0.into()), "{check}");
    let member = report["members"][0].clone();
    assert_eq!(member["format"], "qcow2", "{check}");
    assert_eq!(member["size"], bytes.len(), "{check}");
    assert_eq!(member.get("format-guessed"), None, "{check}");
    assert_eq!(member.get("image-errors"), None, "{check}");
    let out = lab.path(format!("{image}.out"));
    lab.quorum_img(["repair", "--trust", "#0", "-o"]).arg(&out).args(options).args(&members).exits(0);
    lab.assert_same_bytes(&out, oracle);
    fs::remove_file(&out).and_then(|()| fs::remove_file(&copy)).expect("our own files");
    report
}

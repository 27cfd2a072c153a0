//! Members that can't vote with each other.

use std::{fs::File, os::fd::AsRawFd, path::PathBuf, process};

use super::{
    Subject,
    scene::{NO_OPTIONS, Scene},
};
use crate::support::{KIB, noise};

pub fn one_member(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.refuses(NO_OPTIONS, &scene.operands[..1], &["disk-0.img", "member"]);
}

pub fn too_many(subject: &Subject) {
    let scene = Scene::new(subject);
    let members = scene.lab.many_copies_of("many.img", b"disk", 65);
    scene.refuses(NO_OPTIONS, &members, &["64"]);
}

pub fn all_empty(subject: &Subject) {
    let scene = Scene::new(subject);
    let members = scene.lab.many_copies_of("empty.img", b"", 3);
    scene.refuses(NO_OPTIONS, &members, &["empty-0.img", "all members"]);
}

/// The last member is the first one by this name.
fn refuses_twice(scene: &Scene, name: PathBuf) {
    let members = [&scene.operands[..2], &[name]].concat();
    scene.refuses(NO_OPTIONS, &members, &["disk-0.img", "same storage"]);
}

pub fn the_same_name(subject: &Subject) {
    let scene = Scene::new(subject);
    refuses_twice(&scene, scene.operands[0].clone());
    refuses_twice(&scene, "disk-0.img".into());
    refuses_twice(&scene, "raw:disk-0.img".into());
}

pub fn hard_link(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.other_names(&scene.operands[0]);
    refuses_twice(&scene, "hard".into());
}

pub fn symbolic_links(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.other_names(&scene.operands[0]);
    refuses_twice(&scene, "soft".into());
    refuses_twice(&scene, "softer".into());
}

pub fn detours(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.other_names(&scene.operands[0]).into_iter().for_each(|name| refuses_twice(&scene, name));
    refuses_twice(&scene, scene.lab.folder().join("..").join(scene.lab.folder().file_name().expect("a name")).join("disk-0.img"));
}

/// Two open descriptors of one file are one file.
pub fn descriptor(subject: &Subject) {
    let scene = Scene::new(subject);
    let file = File::open(&scene.operands[0]).expect("a file");
    refuses_twice(&scene, format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()).into());
}

/// Nobody takes a journal for a copy of a disk.
pub fn journal(subject: &Subject) {
    let scene = Scene::new(subject);
    let members: [_; 3] = scene.lab.copies("other.img", 64 * KIB);
    scene.lab.flip_bit(&members[0], 5);
    scene.lab.quorum_img(["repair", "--in-place"]).args(&members).exits(0);
    let name = "other-0.img.quorum-journal";
    for members in scene.operands_with(name.as_ref()) {
        scene.refuses(NO_OPTIONS, &members, &[name, "this is the journal of", "hint:"]);
    }
}

/// What is one only by its first bytes may be a damaged or a foreign copy: that isn't guessed.
pub fn what_looks_like_qcow2(subject: &Subject) {
    let scene = Scene::new(subject);
    let bytes = [b"QFI\xfb\0\0\0\x03", &noise(3, 64 << 10)[8..]].concat();
    let images = scene.lab.many_copies_of("disk.qcow2", &bytes, 3);
    scene.refuses(NO_OPTIONS, &images, &["qcow2", "disk-0.qcow2", "-f raw"]);
    scene.refuses_operand(&images[0], "disk-0.qcow2");
}

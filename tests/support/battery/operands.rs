//! What can't be opened as a member or a journal, wherever it stands among good ones; nothing is waited for.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
};

use super::{
    Subject,
    scene::{NO_OPTIONS, Scene},
};
use crate::support::{is_root, refusal};

/// The user `nobody`.
const NOBODY: u32 = 65534;

pub fn missing(subject: &Subject) {
    Scene::new(subject).refuses_operand("missing.img", "missing.img");
}

pub fn nameless(subject: &Subject) {
    Scene::new(subject).refuses_operand("", "");
}

pub fn folder(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.refuses_operand("folder", "folder");
    scene.refuses_operand(".", ".");
    scene.refuses_operand("/", "/");
}

pub fn fifo(subject: &Subject) {
    Scene::new(subject).refuses_operand("fifo", "fifo");
}

pub fn link_to_a_fifo(subject: &Subject) {
    Scene::new(subject).refuses_operand("to-fifo", "to-fifo");
}

pub fn socket(subject: &Subject) {
    Scene::new(subject).refuses_operand("socket", "socket");
}

pub fn character_device(subject: &Subject) {
    let scene = Scene::new(subject);
    for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"] {
        scene.refuses_operand(device, device);
    }
}

pub fn dangling_link(subject: &Subject) {
    Scene::new(subject).refuses_operand("dangling", "dangling");
}

pub fn circular_link(subject: &Subject) {
    Scene::new(subject).refuses_operand("circle", "circle");
}

pub fn below_a_file(subject: &Subject) {
    Scene::new(subject).refuses_operand("text/below", "text/below");
}

pub fn long_name(subject: &Subject) {
    let scene = Scene::new(subject);
    // Too long for a file, and for any path.
    for length in [300, 5000] {
        scene.refuses_operand("x".repeat(length), "xxx");
    }
}

/// Prefixes and addresses behind which there is nothing.
pub fn unknown_addresses(subject: &Subject) {
    let scene = Scene::new(subject);
    let known = [
        ("raw:", ""),
        ("qcow2:", ""),
        ("raw:missing.img", "missing.img"),
        ("nbd+unix:///?socket=/nowhere", "/nowhere"),
        ("nbd://localhost:1/disk", "localhost:1"),
    ];
    for (name, shown) in known {
        scene.refuses_operand(name, shown);
    }
}

/// The caller owns all of it, and may not read one.
pub fn unreadable(subject: &Subject) {
    let scene = Scene::new(subject);
    if is_root() {
        for path in scene.lab.listing().keys().chain([&scene.lab.folder().to_owned()]).filter(|path| !path.is_symlink()) {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }
    for operand in &scene.operands {
        let mode = |mode| fs::set_permissions(operand, fs::Permissions::from_mode(mode)).expect("our own file");
        mode(0o000);
        let run = scene.lab.quorum_img(scene.line(NO_OPTIONS, &scene.operands));
        let run = if is_root() { run.by_user(NOBODY) } else { run };
        let name = operand.file_name().and_then(|name| name.to_str()).expect("a plain name");
        scene.refuses_run(run, &[name, "permission", "hint:"]);
        mode(0o600);
    }
}

/// They are shown, without their teeth.
pub fn hostile_names(subject: &Subject) {
    let scene = Scene::new(subject);
    for (name, shown) in refusal::hostile_names() {
        scene.refuses_operand(PathBuf::from(name), shown);
    }
}

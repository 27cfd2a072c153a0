//! What isn't taken for a journal, or isn't to be trusted as one.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use super::{
    Subject,
    scene::{NO_OPTIONS, Scene},
};
use crate::support::{is_root, skip};

pub fn empty_file(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.lab.file("empty", "");
    scene.refuses_operand("empty", "empty");
}

pub fn member(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.refuses_operand("disk-0.img", "disk-0.img");
    scene.refuses_operand("text", "text");
}

pub fn two_journals(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.refuses(NO_OPTIONS, &[scene.operands[0].clone(), "another".into()], &["another"]);
}

/// It names files that will be written to: nobody else may have had a hand in it.
pub fn open_to_others(subject: &Subject) {
    let scene = Scene::new(subject);
    for mode in [0o666, 0o660, 0o606, 0o620, 0o602, 0o622, 0o777] {
        fs::set_permissions(&scene.operands[0], fs::Permissions::from_mode(mode)).expect("our own file");
        scene.refuses_operand(&scene.operands[0], "disk-0.img.quorum-journal");
    }
}

pub fn of_another_user(subject: &Subject) {
    if !is_root() {
        skip("owners can't be tested without root");
        return;
    }
    let scene = Scene::new(subject);
    chown(&scene.operands[0], Some(4321), None).expect("root may");
    scene.refuses_operand(&scene.operands[0], "disk-0.img.quorum-journal");
}

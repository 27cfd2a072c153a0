//! Words that make no command.

use std::ffi::OsString;

use super::{
    Subject, Takes,
    scene::{NO_OPTIONS, Scene, assert_explained},
};
use crate::support::refusal::{AT_ONCE, hostile_names, refused};

/// What stands in the scene isn't refused: what the other tests see refused is refused for its own reason.
pub fn works_otherwise(subject: &Subject) {
    let scene = Scene::new(subject);
    let output = scene.lab.quorum_img(scene.line(NO_OPTIONS, &scene.operands)).within(AT_ONCE).output();
    assert!(matches!(output.code(), Some(0 | 1)), "{output}");
}

pub fn no_operand(subject: &Subject) {
    let operand = if subject.takes == Takes::Journal { "<JOURNAL>" } else { "<MEMBER>" };
    Scene::new(subject).refuses(NO_OPTIONS, &[], &[operand]);
}

pub fn unknown_option(subject: &Subject) {
    let scene = Scene::new(subject);
    for option in ["--nonsense", "--nonsense=1", "-Z", "---"] {
        scene.refuses([option], &scene.operands, &[option.split('=').next().unwrap_or(option)]);
    }
    for (name, shown) in hostile_names() {
        let mut option = OsString::from("--");
        option.push(name);
        scene.refuses([option], &scene.operands, &[shown]);
    }
}

pub fn flag_with_a_value(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.refuses(["--help=1"], &scene.operands, &["--help"]);
}

/// What goes with another way to use the command would be ignored here.
pub fn foreign_options(subject: &Subject) {
    let scene = Scene::new(subject);
    for option in subject.foreign {
        // Named by the long form or the short one.
        let output = refused(&scene.lab, scene.line([option], &scene.operands));
        assert_explained(&output);
    }
}

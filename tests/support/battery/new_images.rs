//! Where `-o` may not write.

use std::ffi::OsString;

use super::{
    Subject,
    scene::{NO_OPTIONS, Scene, assert_explained},
};
use crate::support::refusal::refused;

/// The subject's line with another output.
fn line(scene: &Scene, output: impl Into<OsString>) -> Vec<OsString> {
    let mut line = scene.line(NO_OPTIONS, &scene.operands);
    let place = line.iter().position(|word| word == "-o").expect("an output") + 1;
    line[place] = output.into();
    line
}

/// Under whatever name it goes, the last good copy of a disk is not to be written to.
pub fn onto_a_member(subject: &Subject) {
    let scene = Scene::new(subject);
    for (name, shown) in scene.members_by_name() {
        scene.refuses_line(&line(&scene, name), &[&shown, "hint:"]);
    }
}

/// A file that is there already is replaced only by its word.
pub fn onto_a_file(subject: &Subject) {
    let scene = Scene::new(subject);
    for force in [None, Some("device")] {
        let force = force.iter().flat_map(|word| ["--force".into(), word.into()]);
        let output = refused(&scene.lab, line(&scene, "text").into_iter().chain(force));
        assert_explained(&output);
        output.complains("text").complains("--force overwrite");
    }
}

pub fn onto_something_else(subject: &Subject) {
    let scene = Scene::new(subject);
    let names =
        ["folder", "folder/", "fifo", "to-fifo", "socket", "dangling", "circle", ".", "..", "/", "/dev/null", "/dev/zero", "new.img/", ""];
    for name in names {
        scene.refuses_line(&line(&scene, name), &[name]);
    }
}

pub fn without_a_folder(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["missing/new.img", "text/new.img", "dangling/new.img"] {
        scene.refuses_line(&line(&scene, name), &[name, "hint:"]);
    }
    scene.refuses_line(&line(&scene, "x".repeat(300)), &["xxx"]);
}

/// Two things can't have one name: the report would take the place of the image that was just repaired.
pub fn onto_the_report(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["new.img", "./new.img", "folder/up/new.img"] {
        scene.refuses(["--report", name], &scene.operands, &["new.img", "hint:"]);
        // A person has to decide about the size first, and is told so in a report: even that one doesn't go there.
        let sizes = ["1.img", "2.img", "3.img"].map(|name| scene.lab.file(name, vec![7; 512 * usize::from(name.as_bytes()[0] - b'0')]));
        scene.refuses(["--report", name], &sizes, &["new.img", "hint:"]);
    }
    scene.lab.file("new.img", "precious");
    for name in ["new.img", "folder/up/new.img"] {
        scene.refuses(["--report", name], &scene.operands, &["new.img", "hint:"]);
    }
}

pub fn twice(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.refuses(["-o", "other.img"], &scene.operands, &["-o"]);
}

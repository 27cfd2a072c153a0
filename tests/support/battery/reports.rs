//! Where `--report` may not write.

use std::ffi::OsString;

use super::{Subject, scene::Scene};

fn refuses(scene: &Scene, report: impl Into<OsString>, words: &[&str]) {
    scene.refuses(["--report".into(), report.into()], &scene.operands, words);
}

/// Whatever it is called.
pub fn onto_a_member(subject: &Subject) {
    let scene = Scene::new(subject);
    for (name, shown) in scene.members_by_name() {
        refuses(&scene, name, &["--report", &shown, "hint:"]);
    }
}

/// Only a report is replaced by a report.
pub fn onto_something_else(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["text", "folder", "fifo", "to-fifo", "socket", "dangling", "/dev/null", "/dev/full", ".", "/"] {
        refuses(&scene, name, &["--report", name, "hint:"]);
    }
}

pub fn without_a_folder(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["missing/report.json", "text/report.json", "dangling/report.json"] {
        refuses(&scene, name, &["--report", name, "hint:"]);
    }
}

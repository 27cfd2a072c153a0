//! Where `--report` may not write.

use super::{Subject, scene::Scene};

/// Whatever it is called.
pub fn onto_a_member(subject: &Subject) {
    let scene = Scene::new(subject);
    for (name, shown) in scene.members_by_name() {
        scene.refuses_value("--report", name, &["--report", &shown, "hint:"]);
    }
}

/// Only a report is replaced by a report.
pub fn onto_something_else(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["text", "folder", "fifo", "to-fifo", "socket", "dangling", "/dev/null", "/dev/full", ".", "/"] {
        scene.refuses_value("--report", name, &["--report", name, "hint:"]);
    }
}

pub fn without_a_folder(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["missing/report.json", "text/report.json", "dangling/report.json"] {
        scene.refuses_value("--report", name, &["--report", name, "hint:"]);
    }
}

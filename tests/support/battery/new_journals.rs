//! Where an in-place repair may not keep its journal.

use super::{Subject, scene::Scene};

/// Whatever it is called, the last good copy of a disk is nothing to write a log to.
pub fn onto_a_member(subject: &Subject) {
    let scene = Scene::new(subject);
    for (name, shown) in scene.members_by_name() {
        scene.refuses_value("--journal", name, &["--journal", &shown, "hint:"]);
    }
}

/// Whether it is a journal is asked where there is work for one, after the vote.
pub fn onto_a_file(subject: &Subject) {
    let scene = Scene::new(subject);
    scene.lab.file("zeros", vec![0; 65_536]);
    std::os::unix::fs::symlink("text", scene.lab.path("to-text")).expect("a link");
    for name in ["text", "zeros", "to-text"] {
        for force in [None, subject.force] {
            let line = scene.line(["--journal", name], &scene.operands).into_iter();
            let line = line.chain(force.iter().flat_map(|word| ["--force".into(), word.into()]));
            scene.refuses_run(scene.lab.quorum_img(line), &["journal", "hint:"]);
        }
    }
}

pub fn onto_something_else(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["folder", "fifo", "to-fifo", "socket", "dangling", "circle", ".", "/", "/dev/null", "/dev/zero", ""] {
        // What a link leads to.
        scene.refuses_value("--journal", name, &[name.trim_start_matches("to-")]);
    }
}

pub fn without_a_folder(subject: &Subject) {
    let scene = Scene::new(subject);
    for name in ["missing/journal", "text/journal", "dangling/journal"] {
        scene.refuses_value("--journal", name, &[name, "hint:"]);
    }
}

/// The report would take the place of the way back.
pub fn onto_the_report(subject: &Subject) {
    let scene = Scene::new(subject);
    for report in ["disk-0.img.quorum-journal", "./disk-0.img.quorum-journal", "folder/up/disk-0.img.quorum-journal"] {
        scene.refuses(["--report", report], &scene.operands, &["disk-0.img.quorum-journal", "hint:"]);
    }
    for report in ["j", "./j", "folder/up/j"] {
        scene.refuses(["--journal", "j", "--report", report], &scene.operands, &["--report", "hint:"]);
        // A person has to decide about the size first, and is told so in a report: even that one doesn't go there.
        let sizes = ["1.img", "2.img", "3.img"].map(|name| scene.lab.file(name, vec![7; 512 * usize::from(name.as_bytes()[0] - b'0')]));
        scene.refuses(["--journal", "j", "--report", report], &sizes, &["--report", "hint:"]);
    }
}

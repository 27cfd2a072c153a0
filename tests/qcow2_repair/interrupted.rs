//! Killed, or interrupted, at random moments: the same command completes the repair, and undo gives the very file back.

use std::{thread, time::Duration};

use super::{Scene, have_qemu};

/// An image with a snapshot, and damage all over it.
fn scene() -> Scene {
    let damage: Vec<String> = (0..120u64)
        .map(|index| {
            let (offset, length) = (index * 69_632 % 8_300_000 / 512 * 512, [512, 4096, 10_240, 65_536][index as usize % 4]);
            if index % 7 == 0 { format!("write -q -z {offset} {length}") } else { format!("write -q -P {} {offset} {length}", index + 20) }
        })
        .collect();
    let damage: Vec<&str> = damage.iter().map(String::as_str).collect();
    Scene::new(&["create -q -f qcow2 -o cluster_size=4k a.q 8M"], true, &damage)
}

/// Starts the repair, slowed down, and ends it by that signal after a while; whether it left a journal.
fn cut_off(scene: &Scene, signal: &str, after_ms: u64) -> bool {
    let mut running = scene.repair().args(["-r", "20M"]).start();
    thread::sleep(Duration::from_millis(after_ms));
    if running.runs() {
        running.signal(signal);
    }
    running.wait();
    scene.journal().exists()
}

fn journal_says(scene: &Scene) -> String {
    let info = scene.lab.quorum_img(["info", "--output", "json"]).arg(scene.journal()).exits(0).json();
    info[0]["journal"]["state"].as_str().expect("a state").to_owned()
}

#[test]
fn a_rerun_completes_it() {
    if !have_qemu() {
        return;
    }
    let mut unfinished = 0;
    for (signal, after_ms) in [("KILL", 700), ("INT", 1000), ("KILL", 1300), ("TERM", 1600), ("KILL", 2000), ("INT", 2400)] {
        let scene = scene();
        if !cut_off(&scene, signal, after_ms) {
            continue;
        }
        if journal_says(&scene) == "unfinished" {
            unfinished += 1;
            // Twice: what was put back once can be put back again.
            cut_off(&scene, signal, after_ms / 2);
            let run = scene.repair().exits(0);
            assert!(run.stderr().contains("put back first") || journal_says(&scene) == "complete", "{run}");
        }
        scene.is_repaired();
        scene.is_undone();
    }
    assert!(unfinished > 0, "none was cut off in its middle: the moments are wrong for this machine");
}

#[test]
fn undo_takes_it_back() {
    if !have_qemu() {
        return;
    }
    for (signal, after_ms) in [("KILL", 900), ("INT", 1400), ("KILL", 1900)] {
        let scene = scene();
        if cut_off(&scene, signal, after_ms) {
            scene.is_undone();
        }
    }
}

/// What is half written isn't looked at, nor by a rerun with other options.
#[test]
fn a_dry_run_and_other_options_leave_it_as_it_is() {
    if !have_qemu() {
        return;
    }
    for after_ms in [900, 1300, 1700] {
        let scene = scene();
        if !cut_off(&scene, "KILL", after_ms) || journal_says(&scene) != "unfinished" {
            continue;
        }
        let now = scene.lab.bytes(&scene.lab.path("b.q"));
        scene.repair().arg("--dry-run").exits(3).complains("cut off");
        scene.repair().args(["--trust", "#0"]).exits(3).complains("other options");
        assert!(scene.lab.bytes(&scene.lab.path("b.q")) == now);
        scene.is_undone();
    }
}

//! `repair --in-place` and `undo` where an export is among the members.

use std::{
    fs,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Scene, assert_holds, have_libnbd, have_qemu, qemu_img,
    servers::{Server, have_nbdkit},
    stand_in::{Answer, Command, Kind, MODERN, Request, StandIn, honest},
    support::{Lab, Output, Run, noise, sectors},
};

/// The damage of the export's disk in these tests.
const BAD: Range<u64> = 100 * 512..108 * 512;

/// `repair --in-place --journal journal EXPORT COPY COPY`.
fn repair(scene: &Scene, uri: &str) -> Run {
    scene.lab.quorum_img(["repair", "--output", "json", "--in-place", "--journal", "journal", uri]).args(scene.raw_copies())
}

fn undo(lab: &Lab) -> Run {
    lab.quorum_img(["undo", "journal"])
}

/// The scene's disk with damage.
fn damaged(scene: &Scene) -> Vec<u8> {
    let mut bytes = scene.good.clone();
    bytes[BAD.start as usize..BAD.end as usize].fill(0xd1);
    bytes
}

/// Refused with code 3, and nothing was written.
fn refuses(scene: &Scene, server: &StandIn, run: Run) -> Output {
    let before = server.state().bytes.clone();
    let output = run.exits(3);
    output.complains("hint:");
    assert!(server.state().bytes == before, "it was written to\n{output}");
    assert!(!scene.lab.path("journal").exists(), "{output}");
    output
}

fn requests(server: &StandIn, command: Command) -> Vec<Request> {
    server.state().requests.iter().filter(|request| request.command == command).cloned().collect()
}

/// There and back: what is written, that it is flushed, that only the damage is written, and that undo restores it.
#[test]
fn an_export_is_repaired_and_put_back() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = damaged(&scene);
    let journal = scene.lab.path("journal");
    // The old bytes are safe before the first new one is written.
    let decide = move |request: &Request| {
        let kept = || fs::read(&journal).is_ok_and(|bytes| bytes.windows(512).any(|window| window == [0xd1; 512]));
        if request.command == Command::Write && !kept() { Answer::Error(1) } else { Answer::Yes }
    };
    let server = StandIn::new(&scene.lab, "server", MODERN, &bad, decide);
    scene.lab.damage(&scene.copies[0], sectors(500..501));
    repair(&scene, &server.uri()).exits(0);
    assert!(server.state().bytes == scene.good, "it isn't repaired");
    assert_holds(&scene.copies[0], &scene.good);
    let writes = requests(&server, Command::Write);
    let outside =
        writes.iter().filter(|write| write.range.start < BAD.start / 4096 * 4096 || write.range.end > BAD.end.next_multiple_of(4096));
    assert_eq!(outside.count(), 0, "what doesn't differ is written: {writes:?}");
    let all: Vec<_> = server.state().requests.iter().map(|request| (request.command, request.fua)).collect();
    let last = all.iter().rposition(|(command, _)| *command == Command::Write).expect("writes");
    assert!(all[last].1 || all[last..].iter().any(|(command, _)| *command == Command::Flush), "never made durable: {all:?}");
    scene.check(&server.uri()).exits(0);

    undo(&scene.lab).exits(0);
    assert!(server.state().bytes == bad, "it isn't as it was");
    scene.check(&server.uri()).exits(1);
}

/// Real servers, and formats that quorum-img itself doesn't write.
#[test]
fn qemus_exports_are_repaired_and_put_back() {
    if !have_qemu() {
        return;
    }
    for format in ["raw", "qcow2", "vmdk", "vdi"] {
        let scene = Scene::new();
        scene.lab.file("damaged.img", damaged(&scene));
        qemu_img(&scene.lab, &format!("convert -f raw -O {format} damaged.img served"));
        let server = Server::qemu_nbd(&scene.lab, "qemu", ["-f", format, "served"]);
        repair(&scene, &server.uri()).exits(0);
        scene.check(&server.uri()).exits(0);
        undo(&scene.lab).exits(0);
        let run = scene.check(&server.uri()).exits(1);
        assert_eq!(run.json()["members"][0]["dissenting-sectors"], 8, "{format}\n{run}");
        server.stop();
        qemu_img(&scene.lab, &format!("compare -f {format} -F raw served damaged.img"));
    }
}

#[test]
fn nbdkits_export_is_repaired_and_put_back() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let scene = Scene::of(noise(3, 300_700));
    let disk = scene.lab.file("served.img", damaged(&scene));
    // The end, where no sector is whole.
    scene.lab.flip_bit(&disk, 300_699);
    let before = scene.lab.bytes(&disk);
    let server = Server::file(&scene.lab, "nbdkit", &disk);
    repair(&scene, &server.uri()).exits(0);
    assert_holds(&disk, &scene.good);
    undo(&scene.lab).exits(0);
    assert_holds(&disk, &before);
}

/// Whole blocks are written to a server that deals in them, and what was around the damage stays.
#[test]
fn blocks_are_written_whole() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let mut bad = scene.good.clone();
    bad[801 * 512] ^= 1;
    let decide = |request: &Request| {
        let odd = !request.range.start.is_multiple_of(4096) || !request.range.end.is_multiple_of(4096);
        if request.command != Command::Flush && odd { Answer::Error(22) } else { Answer::Yes }
    };
    let kind = Kind { block_sizes: Some([4096, 4096, 65_536]), ..MODERN };
    let server = StandIn::new(&scene.lab, "server", kind, &bad, decide);
    repair(&scene, &server.uri()).exits(0);
    assert!(server.state().bytes == scene.good);
    undo(&scene.lab).exits(0);
    assert!(server.state().bytes == bad);
}

#[test]
fn a_read_only_export_is_not_written_to() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "server", Kind { read_only: true, ..MODERN }, &damaged(&scene), honest);
    let files: Vec<_> = scene.copies.iter().map(|copy| scene.lab.bytes(copy)).collect();
    refuses(&scene, &server, repair(&scene, &server.uri())).complains("--no-write").complains(&server.uri());
    // It votes, and the others are rewritten.
    scene.lab.damage(&scene.copies[0], sectors(7..9));
    repair(&scene, &server.uri()).args(["--no-write", "#0"]).exits(1);
    assert_holds(&scene.copies[0], &files[0]);
}

/// There is no place beside an export where a journal would be looked for.
#[test]
fn the_journal_must_be_named() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "server", MODERN, &damaged(&scene), honest);
    let words = ["repair", "--in-place", &server.uri()];
    refuses(&scene, &server, scene.lab.quorum_img(words).args(scene.raw_copies())).complains("--journal");
    scene.lab.quorum_img(words).args(scene.raw_copies()).arg("--no-journal").exits(0);
    assert!(server.state().bytes == scene.good);
}

#[test]
fn a_dry_run_writes_nothing() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = damaged(&scene);
    let server = StandIn::new(&scene.lab, "server", MODERN, &bad, honest);
    repair(&scene, &server.uri()).arg("--dry-run").exits(1);
    assert!(requests(&server, Command::Write).is_empty() && server.state().bytes == bad);
}

/// A server that refuses a write, or is lost over it: told with a code that isn't 0, and undo puts back what was written.
#[test]
fn a_write_that_fails_is_told_and_undone() {
    if !have_libnbd() {
        return;
    }
    for lost in [false, true] {
        let scene = Scene::new();
        let mut bad = damaged(&scene);
        bad[1_000_000..1_000_100].fill(0);
        let broken = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&broken);
        let decide = move |request: &Request| {
            let hit = request.command == Command::Write && request.touches(&(999_000..1_001_000));
            match hit && still.load(Relaxed) {
                true if lost => Answer::Drop,
                true => Answer::Error(5),
                false => Answer::Yes,
            }
        };
        let server = StandIn::new(&scene.lab, "server", MODERN, &bad, decide);
        let run = repair(&scene, &server.uri()).output();
        assert!(matches!(run.code(), Some(2 | 3)), "{run}");
        assert!((run.stdout() + &run.stderr()).contains(&server.uri()), "{run}");
        broken.store(false, Relaxed);
        undo(&scene.lab).exits(0);
        assert!(server.state().bytes == bad, "it isn't as it was");
    }
}

/// A flush that fails: nothing of that is done.
#[test]
fn a_flush_that_fails_is_told() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = damaged(&scene);
    let decide = |request: &Request| if request.command == Command::Flush { Answer::Error(28) } else { Answer::Yes };
    let server = StandIn::new(&scene.lab, "server", MODERN, &bad, decide);
    let run = repair(&scene, &server.uri()).output();
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    assert!((run.stdout() + &run.stderr()).contains(&server.uri()), "{run}");
}

/// The export isn't what was repaired any more: undo says so, and writes nothing.
#[test]
fn undo_finds_another_disk_under_the_address() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "server", MODERN, &damaged(&scene), honest);
    repair(&scene, &server.uri()).exits(0);
    server.state().bytes[BAD.start as usize] ^= 0xff;
    let before = server.state().bytes.clone();
    let run = undo(&scene.lab).exits(3);
    run.complains(&server.uri()).complains("hint:");
    assert!(server.state().bytes == before, "{run}");
    drop(server);
    undo(&scene.lab).exits(3).complains("hint:");
}

/// The connection is lost over a write, once. Where it isn't made again and the write with it, for nobody knows what of it is durable,
/// the same run again completes it.
#[test]
fn a_connection_lost_over_a_write_is_made_again() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = damaged(&scene);
    let lost = AtomicBool::new(false);
    let decide = move |request: &Request| match request.command {
        Command::Write if !lost.swap(true, Relaxed) => Answer::Drop,
        _ => Answer::Yes,
    };
    let server = StandIn::new(&scene.lab, "server", MODERN, &bad, decide);
    let mut run = repair(&scene, &server.uri()).output();
    if run.code() != Some(0) {
        run.expect_code(3).complains(&server.uri()).complains("again");
        run = repair(&scene, &server.uri()).exits(0);
    }
    assert!(server.state().bytes == scene.good, "it isn't repaired\n{run}");
    assert!(requests(&server, Command::Write).len() > 1, "{run}");
    undo(&scene.lab).exits(0);
    assert!(server.state().bytes == bad, "it isn't as it was");
}

/// What was written before a connection was lost may be lost with its server's cache: it is made durable again, or not called done.
#[test]
fn what_a_lost_connection_left_unflushed_is_not_called_durable() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = damaged(&scene);
    let decide = |request: &Request| if request.command == Command::Flush && request.connection == 1 { Answer::Drop } else { Answer::Yes };
    let server = StandIn::new(&scene.lab, "server", MODERN, &bad, decide);
    let run = repair(&scene, &server.uri()).output();
    if run.code() == Some(0) {
        let state = server.state();
        let rewritten = state.requests.iter().any(|request| request.command == Command::Write && request.connection > 1);
        let fua = state.requests.iter().filter(|request| request.command == Command::Write).all(|request| request.fua);
        assert!(rewritten || fua, "a flush on a new connection says nothing of what the old one lost\n{run}");
    } else {
        assert!(matches!(run.code(), Some(2 | 3)), "{run}");
        undo(&scene.lab).exits(0);
        assert!(server.state().bytes == bad, "it isn't as it was");
    }
}

/// A server that can't be told to make writes durable: said, or refused before anything is written.
#[test]
fn a_server_without_flush_is_not_trusted_silently() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = damaged(&scene);
    let server = StandIn::new(&scene.lab, "server", Kind { can_flush: false, can_fua: false, ..MODERN }, &bad, honest);
    let run = repair(&scene, &server.uri()).output();
    assert!((run.stdout() + &run.stderr()).to_lowercase().contains("durable"), "nothing is said of it\n{run}");
    if run.code() == Some(3) {
        assert!(server.state().bytes == bad, "it was written to\n{run}");
    } else {
        assert_eq!(run.code(), Some(0), "{run}");
        assert!(server.state().bytes == scene.good, "{run}");
    }
}

/// Killed while the export is written to: the same run again completes it, and undo goes back to before both.
#[test]
fn a_killed_repair_is_completed_and_undone() {
    if !have_libnbd() {
        return;
    }
    for completes in [false, true] {
        let scene = Scene::new();
        let mut bad = damaged(&scene);
        bad[900_000..900_600].fill(1);
        let stalls = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&stalls);
        let decide = move |request: &Request| match request.command {
            Command::Write if request.range.start > 800_000 && still.load(Relaxed) => Answer::Silence,
            _ => Answer::Yes,
        };
        let server = StandIn::new(&scene.lab, "server", MODERN, &bad, decide);
        let running = repair(&scene, &server.uri()).start();
        let begun = Instant::now();
        while !requests(&server, Command::Write).iter().any(|write| write.range.start > 800_000) {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never wrote");
            thread::sleep(Duration::from_millis(2));
        }
        running.signal("KILL");
        running.wait();
        stalls.store(false, Relaxed);
        if completes {
            repair(&scene, &server.uri()).exits(0);
            assert!(server.state().bytes == scene.good, "it isn't repaired");
        }
        undo(&scene.lab).exits(0);
        assert!(server.state().bytes == bad, "it isn't as it was");
    }
}

/// A journal names the export that it belongs to.
#[test]
fn a_journal_tells_its_export() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "server", MODERN, &damaged(&scene), honest);
    repair(&scene, &server.uri()).exits(0);
    let run = scene.lab.quorum_img(["info", "--output", "json", "journal"]).exits(0);
    assert!(run.stdout().contains(&server.uri()), "{run}");
    drop(server);
    scene.lab.quorum_img(["info", "journal"]).exits(0).says("server.sock");
}

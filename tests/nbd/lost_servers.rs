//! Connections that break, servers that die, and servers that fall silent.

use std::{
    os::unix::net::UnixListener,
    thread,
    time::{Duration, Instant},
};

use super::{
    Scene, assert_failed, assert_holds, have_libnbd, have_qemu, raw,
    servers::{Server, have_nbdkit},
    stand_in::{Answer, Command, Kind, MODERN, Request, SIMPLE, StandIn, honest},
    support::{KIB, Lab, Run, noise, refusal, skip, tool_path},
};

/// Drops the connection over these reads, counted from 0.
fn drops_at<const N: usize>(reads: [usize; N]) -> impl Fn(&Request) -> Answer + Send + Sync {
    move |request| {
        let hit = request.command == Command::Read && reads.contains(&request.reads_before);
        if hit { Answer::Drop } else { Answer::Yes }
    }
}

/// A server that can be lost: four MiB, so that there are many reads.
fn large() -> Scene {
    Scene::of(noise(23, 4 << 20))
}

#[test]
fn a_lost_connection_is_made_again() {
    if !have_libnbd() {
        return;
    }
    for kind in [MODERN, SIMPLE] {
        let scene = large();
        let server = StandIn::new(&scene.lab, "server", kind, &scene.good, drops_at([3]));
        let run = scene.check(&server.uri()).exits(0);
        assert_eq!(run.json()["members"][0]["status"], "ok", "{run}");
        assert!(server.state().connections > 1, "it was connected to again");
    }
}

/// More than once, as long as it comes back.
#[test]
fn a_connection_may_be_lost_again() {
    if !have_libnbd() {
        return;
    }
    let scene = large();
    let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, drops_at([1, 30]));
    scene.check(&server.uri()).exits(0);
    assert!(server.state().connections > 2);
}

/// What was asked about holes is asked again, too.
#[test]
fn a_connection_lost_over_a_question_is_made_again() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let decide = |request: &Request| match request.command {
        Command::Status if request.connection == 1 => Answer::Drop,
        _ => Answer::Yes,
    };
    let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, decide);
    scene.check(&server.uri()).exits(0);
}

#[test]
fn a_server_that_stays_away_is_a_failed_member() {
    if !have_libnbd() {
        return;
    }
    let scene = large();
    let dies = |request: &Request| if request.command == Command::Read && request.reads_before == 5 { Answer::Die } else { Answer::Yes };
    let servers = ["one", "two"].map(|name| StandIn::new(&scene.lab, name, MODERN, &scene.good, dies));
    let check = scene.check(&servers[0].uri()).start();
    let repair = scene.repairs(&servers[1].uri());
    assert_eq!(repair.json()["members"][0]["status"], "failed", "{repair}");
    assert_failed(&check.wait().expect_code(1));
}

/// N still counts it.
#[test]
fn two_lost_servers_of_three_leave_all_undecided() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let dies = |request: &Request| if request.command == Command::Read { Answer::Die } else { Answer::Yes };
    let servers = ["one", "two", "three", "four"].map(|name| StandIn::new(&scene.lab, name, MODERN, &scene.good, dies));
    let [a, b, c, d] = servers.each_ref().map(StandIn::uri);
    let [copy, _] = scene.raw_copies();
    let check = scene.lab.quorum_img(["check", &a, &b, &copy]).start();
    let repair = scene.lab.quorum_img(["repair", "-o", "out.img", &c, &d, &copy]).start();
    for run in [check.wait(), repair.wait()] {
        assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    }
    assert!(!scene.lab.path("out.img").exists());
}

/// It comes back with another disk.
#[test]
fn an_export_of_another_size_is_not_the_same() {
    if !have_libnbd() {
        return;
    }
    for size in [0, 3 << 20, (4 << 20) + 512] {
        let scene = large();
        let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, drops_at([3]));
        server.state().size_later = Some(size);
        assert_failed(&scene.check(&server.uri()).exits(1));
    }
}

// --- silence ----------------------------------------------------------------------------------------------------------------

/// Given up on after half a minute, and not waited for again and again: one that falls silent while it is read, one in the middle of a
/// question about holes, and one that takes connections and never says a word. Together, so that it is one half minute.
#[test]
fn a_silent_server_is_given_up_on() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let reading =
        |request: &Request| if request.command == Command::Read && request.reads_before >= 8 { Answer::Silence } else { Answer::Yes };
    let asking = |request: &Request| if request.command == Command::Status { Answer::Silence } else { Answer::Yes };
    let falls_silent = [
        StandIn::new(&scene.lab, "reading", MODERN, &scene.good, reading),
        StandIn::new(&scene.lab, "asking", MODERN, &scene.good, asking),
    ];
    let socket = scene.lab.path("mute.sock");
    let _mute = UnixListener::bind(&socket).expect("a socket");
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    let limit = Duration::from_secs(50);

    let begun = Instant::now();
    let checks = falls_silent.each_ref().map(|server| scene.check(&server.uri()).within(limit).start());
    let mute = scene.check(&uri).within(limit).start();
    let mute = mute.wait().expect_code(3);
    assert!(begun.elapsed() > Duration::from_secs(20), "a busy server is waited for: {:?}", begun.elapsed());
    mute.complains(&uri).complains("hint:");
    assert!(refusal::is_silent_or_word(&mute), "{mute}");
    for check in checks {
        assert_failed(&check.wait().expect_code(1));
    }
}

/// One that is slow, and not silent, is none of that.
#[test]
fn a_slow_server_is_waited_for() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let slow = |request: &Request| match request.command {
        Command::Read if request.range.end - request.range.start > 512 => Answer::Later(Duration::from_secs(4)),
        _ => Answer::Yes,
    };
    let server = StandIn::new(&scene.lab, "server", SIMPLE, &scene.good, slow);
    let run = scene.check(&server.uri()).exits(0);
    assert_eq!(run.json()["members"][0]["status"], "ok", "{run}");
    assert_eq!(server.state().connections, 1);
}

#[test]
fn an_interrupt_is_heard_while_a_server_is_silent() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let silent = |request: &Request| if request.command == Command::Read { Answer::Silence } else { Answer::Yes };
    for signal in ["INT", "TERM"] {
        let server = StandIn::new(&scene.lab, signal, Kind { can_df: false, ..MODERN }, &scene.good, silent);
        let running = scene.check(&server.uri()).start();
        let begun = Instant::now();
        while !server.state().requests.iter().any(|request| request.command == Command::Read) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never read");
            thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        running.signal(signal);
        running.wait().expect_code(130);
        assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    }
}

// --- real servers -----------------------------------------------------------------------------------------------------------

/// A check that takes more than a second, of which a part has passed.
fn slow_check(lab: &Lab, members: [String; 3]) -> super::support::Running {
    let running = Run::args(lab.quorum_img(["check", "--output", "json", "-r", "8M"]), members).start();
    thread::sleep(Duration::from_millis(500));
    running
}

#[test]
fn qemus_server_killed_in_the_middle_is_a_failed_member() {
    if !have_qemu() {
        return;
    }
    let scene = large();
    scene.lab.file("served.img", &scene.good);
    let server = Server::qemu_nbd(&scene.lab, "qemu", ["-r", "-f", "raw", "served.img"]);
    let [one, two] = scene.raw_copies();
    let running = slow_check(&scene.lab, [server.uri(), one, two]);
    server.kill();
    assert_failed(&running.wait().expect_code(1));
}

/// An administrator restarts it.
#[test]
fn a_server_that_is_restarted_is_found_again() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let scene = large();
    let disk = scene.lab.file("served.img", &scene.good);
    let server = Server::file(&scene.lab, "nbdkit", &disk);
    let [one, two] = scene.raw_copies();
    let uri = server.uri();
    let running = slow_check(&scene.lab, [uri.clone(), one, two]);
    server.kill();
    let _again = Server::file(&scene.lab, "nbdkit", &disk);
    let run = running.wait().expect_code(0);
    assert_eq!(run.json()["members"][0]["status"], "ok", "{run}");
}

/// Nothing of a server is left behind by these tests themselves.
#[test]
fn servers_end_with_their_tests() {
    if !have_nbdkit(["file-plugin"]) || (tool_path("pgrep").is_none() && !skip("pgrep is not installed")) {
        return;
    }
    let scene = Scene::of(noise(1, 64 * KIB as usize));
    let server = Server::file(&scene.lab, "short-lived", &scene.copies[0]);
    let socket = server.socket().to_owned();
    let held = StandIn::new(&scene.lab, "held", MODERN, &scene.good, honest);
    scene.lab.quorum_img(["check", &server.uri(), &held.uri(), &raw(&scene.copies[1])]).exits(0);
    drop((server, held));
    assert!(!socket.exists());
    let left = scene.lab.program("pgrep").args(["-f", socket.to_str().expect("a plain name")]).output();
    assert_eq!(left.stdout(), "", "{left}");
    assert_holds(&scene.copies[0], &scene.good);
}

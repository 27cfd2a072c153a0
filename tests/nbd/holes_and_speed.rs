//! What needn't be read isn't, and what must be is asked for together.

use std::time::Duration;

use super::{
    Scene, have_libnbd, raw,
    servers::{Server, have_nbdkit, logged_reads, most_in_flight},
    stand_in::{Answer, Command, Kind, MODERN, Request, SIMPLE, StandIn, honest, is_look_at_partitions, sectors_of},
    support::{GIB, KIB, Lab, MIB, noise},
};

/// Three stretches of data on a disk of `size` bytes that is otherwise holes.
fn sparse(lab: &Lab, name: &str, size: u64) -> std::path::PathBuf {
    let path = lab.sparse(name, size);
    for at in [0, size / 2, size - 64 * KIB] {
        lab.write(&path, at, &noise(at, 64 << 10));
    }
    path
}

/// Holes are told by nbdkit, and logged is what was read of it.
#[test]
fn holes_of_an_export_are_never_read() {
    if !have_nbdkit(["file-plugin", "log-filter"]) {
        return;
    }
    let lab = Lab::new();
    let size = 64 * GIB;
    let [disk, one, two] = ["served.img", "one.img", "two.img"].map(|name| sparse(&lab, name, size));
    if lab.allocated(&disk) > MIB {
        super::support::skip("the file system here knows no holes");
        return;
    }
    let log = lab.path("log");
    let server = Server::nbdkit(&lab, "server", ["--filter=log", "file", disk.to_str().expect("plain"), "logfile=log"]);
    lab.quorum_img(["check"]).args([server.uri(), raw(&one), raw(&two)]).exits(0);
    server.stop();
    let mut reads = logged_reads(&log);
    reads.retain(|read| !is_look_at_partitions(read.offset, read.length, size));
    let data = [0..64 * KIB, size / 2..size / 2 + 64 * KIB, size - 64 * KIB..size];
    let outside = |read: u64| !data.iter().any(|data| data.start <= read && read < data.end);
    let within: Vec<_> = reads.iter().filter(|read| outside(read.offset) || outside(read.offset + read.length - 1)).collect();
    assert!(within.is_empty(), "holes were read: {within:?}");
    let total: u64 = reads.iter().map(|read| read.length).sum();
    assert_eq!(total, 3 * 64 * KIB, "the data is read once: {reads:?}");
}

/// Zeros that take space are zeros all the same; a hole of which nobody says that it reads as zeros must be read.
#[test]
fn only_what_is_told_to_be_zeros_is_left_unread() {
    if !have_libnbd() {
        return;
    }
    let mut bytes = noise(9, 1 << 20);
    bytes[256 << 10..512 << 10].fill(0);
    for (flags, is_read) in [(2, false), (3, false), (1, true), (0, true)] {
        let scene = Scene::of(bytes.clone());
        let told = move |range: std::ops::Range<u64>| {
            let ends = [(256 * KIB, 0), (512 * KIB, flags), (MIB, 0)];
            let mut at = range.start;
            let mut told = Vec::new();
            for (end, flags) in ends {
                if at < end.min(range.end) {
                    told.push(((end.min(range.end) - at) as u32, flags));
                    at = end;
                }
            }
            told
        };
        let server = StandIn::telling(&scene.lab, "server", MODERN, &scene.good, honest, told);
        scene.check(&server.uri()).exits(0);
        let read = sectors_of(&server.reads());
        let zeros = read.iter().filter(|&&sector| (512..1024).contains(&sector)).count();
        assert_eq!(zeros, if is_read { 512 } else { 0 }, "flags {flags}");
        assert_eq!(read.len() - zeros, 1536, "all else is read, flags {flags}");
    }
}

/// A server that is known to hold zeros, where the others have data, dissents without being read.
#[test]
fn zeros_vote_unread() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let told = |range: std::ops::Range<u64>| vec![((range.end - range.start) as u32, 3)];
    let server = StandIn::telling(&scene.lab, "server", MODERN, &vec![0; 1 << 20], honest, told);
    let run = scene.check(&server.uri()).exits(1);
    assert_eq!(run.json()["members"][0]["dissenting-sectors"], 2048, "{run}");
    assert_eq!(server.reads(), []);
    scene.repairs(&server.uri());
}

/// Each byte is asked for once where all is well.
#[test]
fn nothing_is_read_twice() {
    if !have_libnbd() {
        return;
    }
    for kind in [MODERN, SIMPLE] {
        let scene = Scene::of(noise(31, 4 << 20));
        let server = StandIn::new(&scene.lab, "server", kind, &scene.good, honest);
        scene.check(&server.uri()).exits(0);
        let total: u64 = server.reads().iter().map(|read| read.end - read.start).sum();
        assert_eq!(total, 4 * MIB);
        assert_eq!(sectors_of(&server.reads()).len(), 8192);
    }
}

#[test]
fn a_server_that_tells_no_holes_works() {
    if !have_nbdkit(["file-plugin", "noextents-filter", "log-filter"]) {
        return;
    }
    let lab = Lab::new();
    let [disk, one, two] = ["served.img", "one.img", "two.img"].map(|name| sparse(&lab, name, 4 * MIB));
    let words = ["--filter=log", "--filter=noextents", "file", disk.to_str().expect("plain"), "logfile=log"];
    let server = Server::nbdkit(&lab, "server", words);
    lab.quorum_img(["check"]).args([server.uri(), raw(&one), raw(&two)]).exits(0);
    server.stop();
    assert!(logged_reads(&lab.path("log")).len() > 1);
}

// --- several requests in flight ---------------------------------------------------------------------------------------------

#[test]
fn requests_overlap() {
    if !have_libnbd() {
        return;
    }
    for kind in [MODERN, SIMPLE] {
        let scene = Scene::of(noise(31, 4 << 20));
        let late = |request: &Request| match request.command {
            Command::Read => Answer::Later(Duration::from_millis(50)),
            _ => Answer::Yes,
        };
        let server = StandIn::new(&scene.lab, "server", kind, &scene.good, late);
        // One thread, so that it isn't several that each wait for one.
        scene.check(&server.uri()).args(["-j", "1"]).exits(0);
        let state = server.state();
        assert!(state.most_in_flight >= 2, "only {} in flight", state.most_in_flight);
        assert_eq!(state.connections, 1, "one connection does");
    }
}

#[test]
fn requests_to_nbdkit_overlap() {
    if !have_nbdkit(["file-plugin", "delay-filter", "log-filter"]) {
        return;
    }
    let scene = Scene::of(noise(31, 4 << 20));
    scene.lab.file("served.img", &scene.good);
    let words = ["--filter=log", "--filter=delay", "file", "served.img", "rdelay=50ms", "logfile=log"];
    let server = Server::nbdkit(&scene.lab, "server", words);
    scene.check(&server.uri()).args(["-j", "1"]).exits(0);
    server.stop();
    let reads = logged_reads(&scene.lab.path("log"));
    assert!(most_in_flight(&reads) >= 2, "{reads:?}");
}

/// "Don't fragment" where the server knows it: qemu-nbd drops the connection otherwise where a reply can't be ended.
#[test]
fn replies_in_one_piece_are_asked_for_where_they_can_be_had() {
    if !have_libnbd() {
        return;
    }
    for (kind, expected) in [(MODERN, true), (Kind { can_df: false, ..MODERN }, false), (SIMPLE, false)] {
        let scene = Scene::new();
        let server = StandIn::new(&scene.lab, "server", kind, &scene.good, honest);
        scene.check(&server.uri()).exits(0);
        let state = server.state();
        let reads: Vec<_> = state.requests.iter().filter(|request| request.command == Command::Read).collect();
        assert!(!reads.is_empty() && reads.iter().all(|read| read.df == expected), "{reads:?}");
    }
}

/// Such a reply may be refused where it would be longer than 64 KiB (NBD's doc/proto.md, `NBD_CMD_FLAG_DF`).
#[test]
fn a_server_that_answers_little_in_one_piece_is_asked_for_less() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let decide = |request: &Request| {
        let long = request.range.end - request.range.start > 64 * KIB;
        if request.command == Command::Read && request.df && long { Answer::Error(75) } else { Answer::Yes }
    };
    let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, decide);
    let run = scene.check(&server.uri()).exits(0);
    assert_eq!(run.json()["members"][0]["unreadable-sectors"], 0, "{run}");
}

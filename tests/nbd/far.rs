//! Servers whose answers take their time: they are asked for more before it is needed, over several connections where they allow that, and
//! what is said of them stays the same.

use super::{
    Scene,
    servers::have_nbdkit,
    support::{MIB, nbd_server::Server, noise},
};

/// Long enough for several windows.
const BYTES: u64 = 24 * MIB;

/// A damaged disk behind such a server.
fn scene_behind(words: &[&str]) -> (Scene, Server) {
    let scene = Scene::of(noise(3, BYTES as usize));
    let mut bad = scene.good.clone();
    for place in [0, 5 * MIB + 512, 13 * MIB, BYTES - 512] {
        bad[place as usize..place as usize + 512].fill(0xee);
    }
    scene.lab.file("bad.img", &bad);
    let (filters, parameters): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
    let all = filters.into_iter().chain(["--filter=delay", "file", "bad.img", "rdelay=5ms"]).chain(parameters);
    let server = Server::nbdkit(&scene.lab, "far", all);
    (scene, server)
}

fn says_what_differs(scene: &Scene, server: &Server) {
    let [one, two] = scene.raw_copies();
    let run = scene.lab.quorum_img(["check", "--output", "json", &server.uri(), &one, &two]).output().expect_code(1);
    let found = run.json()["divergences"].as_array().expect("a list").iter().map(|it| it["offset"].as_u64()).collect::<Vec<_>>();
    assert_eq!(found, [0, 5 * MIB + 512, 13 * MIB, BYTES - 512].map(Some), "{run}");
    scene.lab.quorum_img(["repair", "-q", "-o", "out.img", &server.uri(), &one, &two]).exits(0);
    assert!(scene.lab.bytes(&scene.lab.path("out.img")) == scene.good, "the repaired image is not the good one");
}

#[test]
fn several_connections_say_the_same() {
    if !have_nbdkit(["file-plugin", "delay-filter", "log-filter"]) {
        return;
    }
    let (scene, server) = scene_behind(&["--filter=log", "logfile=far.log"]);
    says_what_differs(&scene, &server);
    server.stop();
    let log = scene.lab.bytes(&scene.lab.path("far.log"));
    let log = String::from_utf8_lossy(&log);
    let connections = log.lines().filter(|line| line.contains(" Connect ")).count();
    assert!(connections >= 5, "one of each run, and more that read ahead: {connections}\n{log}");
}

/// A server that lets in nobody else, one that does but says that they may see other things, and one that has an end of its patience.
#[test]
fn one_connection_does_as_well() {
    if !have_nbdkit(["file-plugin", "delay-filter", "limit-filter", "multi-conn-filter"]) {
        return;
    }
    for words in [&["--filter=limit", "limit=1"][..], &["--filter=limit", "limit=2"], &["--filter=multi-conn", "multi-conn-mode=disable"]] {
        let (scene, server) = scene_behind(words);
        says_what_differs(&scene, &server);
    }
}

/// What can't be read is told sector by sector, whoever came upon it first.
#[test]
fn unreadable_places_are_narrowed_down() {
    if !have_nbdkit(["file-plugin", "delay-filter", "error-filter"]) {
        return;
    }
    let (scene, server) = scene_behind(&["--filter=error", "error-pread=EIO", "error-pread-rate=3%"]);
    let [one, two] = scene.raw_copies();
    // Errors come by chance: whatever is read of it is right, and it may come to be the medium's error.
    let run = scene.lab.quorum_img(["repair", "-q", "-o", "out.img", &server.uri(), &one, &two]).output();
    assert_eq!(run.code(), Some(0), "{run}");
    assert!(scene.lab.bytes(&scene.lab.path("out.img")) == scene.good, "the repaired image is not the good one");
}

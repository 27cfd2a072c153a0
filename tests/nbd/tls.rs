//! Exports over TLS, by keys that are shared beforehand (a file that needs no tool to make).

use super::{
    Scene, have_libnbd,
    servers::{Server, have_nbdkit},
    support::{Lab, noise, refusal::refused, skip},
};

/// The keys of two users; nbdkit takes one file, and a client the same.
fn keys(lab: &Lab) -> std::path::PathBuf {
    lab.file("keys.psk", "alice:8f7a1c6e55d94b0f8f7a1c6e55d94b0f\nbob:00112233445566778899aabbccddeeff\n")
}

/// Whether nbdkit and libnbd can do TLS.
fn have_tls() -> bool {
    if !have_nbdkit(["file-plugin"]) {
        return false;
    }
    let lab = Lab::new();
    let facts = lab.program("nbdkit").arg("--dump-config").exits(0).stdout();
    facts.lines().any(|line| line == "tls=yes") || skip("nbdkit was built without TLS")
}

#[test]
fn an_export_votes_over_tls() {
    if !have_tls() {
        return;
    }
    let scene = Scene::new();
    let keys = keys(&scene.lab);
    let disk = scene.lab.file("served.img", &scene.good);
    scene.lab.flip_bit(&disk, 77_777);
    let by_key = format!("--tls-psk={}", keys.display());
    let server = Server::nbdkit(&scene.lab, "server", ["--tls=require", &by_key, "file", "served.img"]);
    let uri = server.uri_by_key("alice", &keys);
    let run = scene.check(&uri).exits(1);
    assert_eq!(run.json()["members"][0]["dissenting-sectors"], 1, "{run}");
    scene.repairs(&uri);
    let found = scene.lab.quorum_img(["info", "--output", "json", &uri]).exits(0).json();
    assert_eq!(found[0]["nbd"]["tls"], true, "{found}");
    // Two users of one server are two addresses, but one disk.
    refused(&scene.lab, ["check", &uri, &server.uri_by_key("bob", &keys)]).complains("same storage");
}

#[test]
fn tls_that_is_demanded_is_not_gone_without() {
    if !have_tls() {
        return;
    }
    let scene = Scene::new();
    let keys = keys(&scene.lab);
    let by_key = format!("--tls-psk={}", keys.display());
    let server = Server::nbdkit(&scene.lab, "server", ["--tls=require", &by_key, "file", "good-0.img"]);
    let [_, copy] = scene.raw_copies();
    refused(&scene.lab, ["check", &server.uri(), &copy]).complains(&server.uri()).complains("nbds+unix://").complains("hint:");

    // A wrong key, an unknown user, no file of keys.
    let wrong = scene.lab.file("wrong.psk", "alice:ffffffffffffffffffffffffffffffff\n");
    let missing = scene.lab.path("missing.psk");
    for uri in [server.uri_by_key("alice", &wrong), server.uri_by_key("mallory", &keys), server.uri_by_key("alice", &missing)] {
        refused(&scene.lab, ["check", &uri, &copy]).complains(&uri);
    }

    // nbds:// asks for it, and a server that has none isn't used in the clear.
    let plain = Server::nbdkit(&scene.lab, "plain", ["--tls=off", "file", "good-0.img"]);
    refused(&scene.lab, ["check", &plain.uri_by_key("alice", &keys), &copy]).complains("TLS");
}

/// A connection that is lost is made again over TLS, too.
#[test]
fn a_lost_connection_is_made_again_over_tls() {
    if !have_tls() {
        return;
    }
    let scene = Scene::of(noise(41, 4 << 20));
    let keys = keys(&scene.lab);
    scene.lab.file("served.img", &scene.good);
    let by_key = format!("--tls-psk={}", keys.display());
    let words = ["--tls=require", &by_key, "file", "served.img"];
    let server = Server::nbdkit(&scene.lab, "server", words);
    let uri = server.uri_by_key("alice", &keys);
    let running = scene.check(&uri).args(["-r", "8M"]).start();
    std::thread::sleep(std::time::Duration::from_millis(500));
    server.kill();
    let _again = Server::nbdkit(&scene.lab, "server", words);
    running.wait().expect_code(0);
}

/// Without TLS in the address nothing of it is needed.
#[test]
fn optional_tls_is_optional() {
    if !have_libnbd() || !have_tls() {
        return;
    }
    let scene = Scene::new();
    let keys = keys(&scene.lab);
    let by_key = format!("--tls-psk={}", keys.display());
    scene.lab.file("served.img", &scene.good);
    let server = Server::nbdkit(&scene.lab, "server", ["--tls=on", &by_key, "file", "served.img"]);
    scene.check(&server.uri()).exits(0);
    scene.check(&server.uri_by_key("bob", &keys)).exits(0);
}

//! Exports that can't be had when they are opened: an error with code 3, never a dissenter, with a word that helps.

use std::{fs, os::unix::net::UnixListener, process::Command, thread, time::Duration};

use super::{
    Scene, have_libnbd,
    servers::{Server, free_port, have_nbdkit},
    stand_in::{MODERN, StandIn, honest},
    support::{Lab, Output, is_root, refusal::refused, skip},
};

/// Refused as a member of a check, of a repair and as info's.
fn cannot_be_had(scene: &Scene, uri: &str) -> Output {
    let [a, b] = scene.raw_copies();
    refused(&scene.lab, ["repair", "-o", "out.img", &a, &b, uri]).complains(uri);
    refused(&scene.lab, ["info", uri]).complains(uri);
    let output = refused(&scene.lab, ["check", "--output", "json", uri, &a, &b]);
    output.complains(uri).complains("hint:");
    output
}

#[test]
fn no_server() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let missing = scene.lab.path("missing.sock");
    cannot_be_had(&scene, &format!("nbd+unix:///?socket={}", missing.display())).complains("no such file");
    // The server is gone, its socket is still there.
    drop(UnixListener::bind(scene.lab.path("stale.sock")).expect("a socket"));
    cannot_be_had(&scene, &format!("nbd+unix:///?socket={}", scene.lab.path("stale.sock").display())).complains("refused");
    cannot_be_had(&scene, &format!("nbd://127.0.0.1:{}/", free_port())).complains("refused");
    cannot_be_had(&scene, "nbd://no-such-host.invalid/");
}

#[test]
fn no_such_export() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, honest);
    cannot_be_had(&scene, &server.uri().replace(":///?", ":///wrong?")).complains("wrong");
    if have_nbdkit(["file-plugin"]) {
        fs::create_dir(scene.lab.path("folder")).expect("a folder");
        let server = Server::nbdkit(&scene.lab, "nbdkit", ["file", "dir=folder"]);
        cannot_be_had(&scene, &server.export("nope"));
    }
}

/// Something else listens there, or nothing sensible is said.
#[test]
fn no_nbd_server() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let greetings: [&'static [u8]; 4] = [b"", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"NBDMAGIC", &[0xff; 4096]];
    for (index, greeting) in greetings.into_iter().enumerate() {
        let socket = scene.lab.path(format!("other-{index}.sock"));
        let listener = UnixListener::bind(&socket).expect("a socket");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = std::io::Write::write_all(&mut stream, greeting);
            }
        });
        cannot_be_had(&scene, &format!("nbd+unix:///?socket={}", socket.display()));
    }
}

#[test]
fn no_address() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    for uri in
        ["nbd://", "nbd+unix://", "nbd+unix:///", "nbd+unix:///?socket=", "nbd://[::1/", "nbd://host:99999999/", "nbd+unix:///%?socket=/"]
    {
        let [a, b] = scene.raw_copies();
        let output = scene.lab.quorum_img(["check", &a, &b, uri]).within(Duration::from_secs(10)).exits(3);
        output.complains("nbd").complains("hint:");
        assert!(output.stdout.is_empty(), "{output}");
    }
}

/// Names come from outside.
#[test]
fn control_characters_are_not_obeyed() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, honest);
    let [a, b] = scene.raw_copies();
    for name in ["\u{1b}[2J", "%1b[2J", "%0d%0aok"] {
        refused(&scene.lab, ["check", &a, &b, &server.uri().replace(":///?", &format!(":///{name}?"))]);
    }
}

/// Without libnbd an export is an error that says how to get it, and everything else works.
#[test]
fn libnbd_is_only_missed_where_an_export_is_named() {
    if !have_libnbd() || !(is_root() || skip("hiding a library needs root")) {
        return;
    }
    if !Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success()) {
        skip("no mount namespace can be had");
        return;
    }
    let scene = Scene::new();
    let empty = scene.lab.file("empty", []);
    let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, honest);
    let script = format!(
        "for f in $(ldconfig -p | sed -n 's/.*libnbd.so.0 .*=> //p'); do mount --bind {} $(readlink -f $f) || exit 99; done; exec \"$@\"",
        empty.display()
    );
    let without = |lab: &Lab, words: &[&str]| lab.quorum_img(words).under(["unshare", "-m", "sh", "-c", &script, "sh"]);
    let [a, b] = scene.raw_copies();
    without(&scene.lab, &["check", &a, &b]).exits(0);
    let output = without(&scene.lab, &["check", &server.uri(), &a, &b]).exits(3);
    output.complains(&server.uri()).complains("libnbd0").complains("hint:");
    assert!(output.stdout.is_empty(), "{output}");
    without(&scene.lab, &["info", &server.uri()]).exits(3).complains("libnbd");
}

//! `quorum-img info` of an export.

use serde_json::{Value, json};

use super::{
    have_libnbd, have_qemu, qemu_img,
    servers::{Server, have_nbdkit},
    stand_in::{Answer, Command, Kind, MODERN, Request, SIMPLE, StandIn, honest},
    support::{Lab, MIB, needs, noise, report::keys, testdata},
};

fn info(lab: &Lab, uri: &str) -> Value {
    lab.quorum_img(["info", "--output", "json", uri]).exits(0).json()[0].clone()
}

#[test]
fn tells_what_the_server_says() {
    if !have_libnbd() {
        return;
    }
    let lab = Lab::new();
    let bytes = noise(1, 1 << 20);
    for (name, kind, expected) in [
        (
            "modern",
            MODERN,
            json!({ "read-only": false, "can-flush": true, "can-fua": true, "can-multi-conn": false, "can-df": true, "block-status": true, "tls": false }),
        ),
        (
            "simple",
            Kind { read_only: true, can_flush: false, can_fua: false, ..SIMPLE },
            json!({ "read-only": true, "can-flush": false, "can-fua": false, "can-multi-conn": false, "can-df": false, "block-status": false, "tls": false }),
        ),
        (
            "sizes",
            Kind { block_sizes: Some([512, 4096, 1 << 20]), can_df: false, ..MODERN },
            json!({ "read-only": false, "can-flush": true, "can-fua": true, "can-multi-conn": false, "can-df": false, "block-status": true, "tls": false,
                "block-size-minimum": 512, "block-size-maximum": 1 << 20 }),
        ),
    ] {
        let server = StandIn::new(&lab, name, kind, &bytes, honest);
        let found = info(&lab, &server.uri());
        assert_eq!(found["nbd"], expected, "{name}");
        assert_eq!(found["name"], server.uri().as_str());
        assert_eq!((&found["format"], &found["virtual-size"]), (&json!("nbd"), &json!(MIB)));
        let only_files_have = ["format-guessed", "modified", "actual-size", "device", "qcow2"];
        assert!(keys(&found).iter().all(|key| !only_files_have.contains(key)), "{found}");
        let text = lab.quorum_img(["info", &server.uri()]).exits(0);
        text.says("nbd").says("1 MiB").says(if name == "simple" { "read-only" } else { "writ" });
    }
}

/// libnbd's own tool is the judge.
#[test]
fn agrees_with_nbdinfo() {
    if !have_qemu() || !needs("nbdinfo") {
        return;
    }
    let lab = Lab::new();
    lab.file("disk.img", noise(1, 1 << 20));
    qemu_img(&lab, "convert -f raw -O qcow2 disk.img disk.q");
    for words in [["-r", "-f", "raw", "disk.img"], ["--cache=none", "-f", "qcow2", "disk.q"]] {
        let server = Server::qemu_nbd(&lab, words[2], words);
        let judge = lab.program("nbdinfo").args(["--json", &server.uri()]).exits(0).json()["exports"][0].clone();
        let found = info(&lab, &server.uri());
        assert_eq!(found["virtual-size"], judge["export-size"], "{found}");
        let nbd = &found["nbd"];
        for (ours, theirs) in [
            ("read-only", "is_read_only"),
            ("can-flush", "can_flush"),
            ("can-fua", "can_fua"),
            ("can-multi-conn", "can_multi_conn"),
            ("can-df", "can_df"),
            ("block-size-minimum", "block_size_minimum"),
            ("block-size-maximum", "block_size_maximum"),
        ] {
            // Newer ones of nbdinfo tell sizes as text, too.
            assert_eq!(nbd[ours], judge[theirs], "{ours}: {found}\n{judge}");
        }
        assert_eq!(nbd["block-status"], true, "{found}");
        lab.quorum_img(["info", "--output", "json", &server.uri(), "raw:disk.img"]).exits(0);
    }
}

/// What is on the disk is the same through an export.
#[test]
fn tells_partitions_and_file_systems() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let lab = Lab::new();
    for name in ["a.img", "b.img", "c.img"] {
        let file = testdata(name);
        let server = Server::nbdkit(&lab, name, ["-r", "file", file.to_str().expect("a plain name")]);
        let (through, plain) = (info(&lab, &server.uri()), info(&lab, file.to_str().expect("a plain name")));
        assert!(plain.get("partition-table").is_some(), "{plain}");
        for key in ["virtual-size", "partition-table", "file-system"] {
            assert_eq!(through.get(key), plain.get(key), "{name}");
        }
        assert_eq!(through["nbd"]["read-only"], true);
        lab.quorum_img(["info", &server.uri()]).exits(0).says("gpt");
    }
    if needs("mkfs.ext4") {
        lab.program("mkfs.ext4").args(["-q", "-F", "-L", "here", "disk.img", "4M"]).exits(0);
        let server = Server::file(&lab, "ext4", &lab.path("disk.img"));
        assert_eq!(info(&lab, &server.uri())["file-system"]["label"], "here");
    }
}

/// A disk whose beginning can't be read is told of all the same, or refused; nothing is made up.
#[test]
fn an_unreadable_beginning_is_survived() {
    if !have_libnbd() {
        return;
    }
    let lab = Lab::new();
    let bad = |request: &Request| if request.command == Command::Read { Answer::Error(5) } else { Answer::Yes };
    let server = StandIn::new(&lab, "bad", MODERN, &noise(1, 1 << 20), bad);
    let run = lab.quorum_img(["info", "--output", "json", &server.uri()]).output();
    super::support::refusal::assert_clean(&run);
    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
}

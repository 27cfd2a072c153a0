//! What a server can't read is unreadable there and nowhere else, down to the sector or to what the server deals in; the other members
//! outvote it.

use std::ops::Range;

use super::{
    Scene, assert_holds, have_libnbd, have_qemu, qemu_img,
    servers::{Server, have_nbdkit},
    stand_in::{Answer, Command, Kind, MODERN, Request, SIMPLE, StandIn},
    support::{Output, noise, sectors},
    unreadable,
};

const EIO: u32 = 5;

/// Reads of these ranges fail.
fn bad_at<const N: usize>(ranges: [Range<u64>; N]) -> impl Fn(&Request) -> Answer + Send + Sync {
    move |request| if ranges.iter().any(|range| request.reads(range)) { Answer::Error(EIO) } else { Answer::Yes }
}

/// The export's sectors that the report calls unreadable are these, it dissents nowhere, and the disk comes out whole.
fn loses(scene: &Scene, uri: &str, expected: &[u64]) -> Output {
    let run = scene.check(uri).exits(1);
    let report = run.json();
    assert_eq!(unreadable(&report), expected, "{run}");
    assert_eq!(report["members"][0]["unreadable-sectors"], expected.len(), "{run}");
    assert_eq!(report["members"][0]["dissenting-sectors"], 0, "{run}");
    assert_eq!(report["members"][0]["status"], "divergent", "{run}");
    assert_eq!(report["sectors"]["undecided"], 0, "{run}");
    scene.repairs(uri);
    run
}

/// With and without structured replies, and in one piece or not.
#[test]
fn a_bad_sector_is_one_unreadable_ballot() {
    if !have_libnbd() {
        return;
    }
    for kind in [MODERN, Kind { can_df: false, ..MODERN }, SIMPLE] {
        let scene = Scene::new();
        let bad = bad_at([sectors(0..1), sectors(1001..1002), sectors(1003..1005), sectors(2047..2048)]);
        let server = StandIn::new(&scene.lab, "bad", kind, &scene.good, bad);
        loses(&scene, &server.uri(), &[0, 1001, 1003, 1004, 2047]);
    }
}

/// The vote's own unit is larger than what is bad.
#[test]
fn a_larger_sector_is_unreadable_as_one() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "bad", MODERN, &scene.good, bad_at([sectors(1003..1004)]));
    let run = scene.check(&server.uri()).args(["--sector-size", "4096"]).exits(1);
    assert_eq!(run.json()["members"][0]["unreadable-sectors"], 1, "{run}");
    assert_eq!(run.json()["divergences"][0]["offset"], 1000 * 512, "{run}");
    assert_eq!(run.json()["divergences"][0]["length"], 4096, "{run}");
}

/// A server that deals in blocks of 4 KiB, and in at most 64 KiB, is asked for nothing else.
#[test]
fn a_servers_block_sizes_are_kept() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let picky = Kind { block_sizes: Some([4096, 4096, 65_536]), ..MODERN };
    let decide = |request: &Request| {
        let asked = &request.range;
        let wrong = !asked.start.is_multiple_of(4096) || !asked.end.is_multiple_of(4096);
        let too_large = request.command == Command::Read && asked.end - asked.start > 65_536;
        match request.command {
            Command::Read | Command::Status if wrong || too_large => Answer::Error(22),
            Command::Read if request.touches(&sectors(801..802)) => Answer::Error(EIO),
            _ => Answer::Yes,
        }
    };
    let server = StandIn::new(&scene.lab, "picky", picky, &scene.good, decide);
    loses(&scene, &server.uri(), &(800..808).collect::<Vec<_>>());
    // A range that no block begins at.
    scene.check(&server.uri()).args(["--range", "1024:512"]).exits(0);
    scene.check(&server.uri()).args(["--range", &format!("{}:512", 803 * 512)]).exits(1);
    let odd: Vec<_> = server.reads().into_iter().filter(|read| read.start % 4096 != 0 || read.end - read.start > 65_536).collect();
    assert_eq!(odd, [], "requests that the server doesn't take");
}

/// An error that goes away when one asks again is none of the medium's.
#[test]
fn an_error_that_does_not_repeat_is_no_ballot() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let once =
        |request: &Request| if request.command == Command::Read && request.reads_before == 1 { Answer::Error(EIO) } else { Answer::Yes };
    let server = StandIn::new(&scene.lab, "once", MODERN, &scene.good, once);
    let run = scene.check(&server.uri()).exits(0);
    assert_eq!(run.json()["members"][0]["unreadable-sectors"], 0, "{run}");
}

/// Whatever number a server gives for its trouble, it is never a version, and the others decide.
#[test]
fn other_errors_are_outvoted_too() {
    if !have_libnbd() {
        return;
    }
    // EPERM, ENOMEM, EINVAL, EOVERFLOW, ESHUTDOWN (NBD's doc/proto.md, "Error values"), and one that isn't there.
    for number in [1, 12, 22, 75, 108, 4_000_000_000] {
        let scene = Scene::new();
        let decide = move |request: &Request| if request.reads(&sectors(600..700)) { Answer::Error(number) } else { Answer::Yes };
        let server = StandIn::new(&scene.lab, "bad", MODERN, &scene.good, decide);
        let run = scene.check(&server.uri()).exits(1);
        let member = &run.json()["members"][0];
        assert_eq!(member["dissenting-sectors"], 0, "error {number}\n{run}");
        assert!(member["status"] == "failed" || member["unreadable-sectors"] == 100, "error {number}\n{run}");
        assert_eq!(run.json()["sectors"]["undecided"], 0, "error {number}\n{run}");
        scene.repairs(&server.uri());
    }
}

/// Each of three has its bad sector in the same 4 KiB.
#[test]
fn bad_sectors_of_three_exports_in_one_block_are_repaired() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let servers =
        [0, 3, 7].map(|at| StandIn::new(&scene.lab, &format!("bad-{at}"), MODERN, &scene.good, bad_at([sectors(800 + at..801 + at)])));
    let uris = servers.each_ref().map(StandIn::uri);
    scene.lab.quorum_img(["check"]).args(&uris).exits(1);
    scene.lab.quorum_img(["repair", "-o", "out.img"]).args(&uris).exits(0);
    assert_holds(&scene.lab.path("out.img"), &scene.good);
}

/// nbdkit's own errors: first everywhere, then nowhere.
#[test]
fn an_export_that_cannot_be_read_at_all_is_outvoted() {
    if !have_nbdkit(["file-plugin", "error-filter"]) {
        return;
    }
    let scene = Scene::of(noise(2, 256 << 10));
    scene.lab.file("disk.img", &scene.good);
    let flag = scene.lab.file("broken", []);
    let only_with_flag = format!("error-pread-file={}", flag.display());
    let words = ["--filter=error", "file", "disk.img", "error-pread=EIO", "error-pread-rate=100%", &only_with_flag];
    let server = Server::nbdkit(&scene.lab, "server", words);
    let run = loses(&scene, &server.uri(), &(0..512).collect::<Vec<_>>());
    assert_eq!(run.json()["divergences"].as_array().map(Vec::len), Some(1), "{run}");
    std::fs::remove_file(&flag).expect("it is there");
    scene.check(&server.uri()).exits(0);
}

/// nbdkit with a program of one's own behind it, and a bad sector in the middle.
#[test]
fn a_plugin_that_fails_in_the_middle_costs_that_sector() {
    if !have_nbdkit(["eval-plugin"]) {
        return;
    }
    let scene = Scene::of(noise(8, 64 << 10));
    // nbdkit-eval-plugin(1): $3 bytes from $4 on.
    let pread = "pread=if [ $4 -lt 33280 ] && [ $(($3 + $4)) -gt 32768 ]; then echo EIO >&2; exit 1; fi; \
                 dd if=good-0.img skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none";
    let server = Server::nbdkit(&scene.lab, "server", ["eval", "get_size=echo 65536", pread]);
    loses(&scene, &server.uri(), &[64]);
}

/// An entry of garbage in a qcow2 image: qemu-nbd drops the connection over a fragmented reply (reference/crates.md 2b). The image loses
/// one cluster, and no more.
#[test]
fn qemus_damaged_image_costs_its_cluster() {
    if !have_qemu() {
        return;
    }
    // Bit 63 is "in use once", and the offset leads far beyond the end of the file; the second isn't the beginning of a cluster.
    for entry in [[0x80, 0xff, 0, 0, 0, 0, 2, 0], [0x80, 0, 0, 0, 0, 5, 2, 0]] {
        let scene = Scene::new();
        qemu_img(&scene.lab, "convert -f raw -O qcow2 -o cluster_size=64k good-0.img bad.q");
        let image = scene.lab.path("bad.q");
        let bytes = scene.lab.bytes(&image);
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let table = number(number(40) as usize) & 0x00ff_ffff_ffff_fe00;
        scene.lab.write(&image, table + 5 * 8, &entry);
        let server = Server::qemu_nbd(&scene.lab, "qemu", ["-r", "-f", "qcow2", "bad.q"]);
        loses(&scene, &server.uri(), &(5 * 128..6 * 128).collect::<Vec<_>>());
    }
}

/// Without DF a reply that the server can't end makes it drop the connection: at that request it does so again. That is no reason to
/// lose the rest of the disk.
#[test]
fn a_request_that_always_drops_the_connection_costs_its_sectors() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let bad = sectors(640..648);
    let decide = move |request: &Request| if request.reads(&bad) { Answer::Drop } else { Answer::Yes };
    let server = StandIn::new(&scene.lab, "bad", SIMPLE, &scene.good, decide);
    let run = scene.check(&server.uri()).exits(1);
    let member = &run.json()["members"][0];
    assert_eq!(member["dissenting-sectors"], 0, "{run}");
    assert!(member["status"] == "failed" || unreadable(&run.json()) == (640..648).collect::<Vec<_>>(), "{run}");
    scene.repairs(&server.uri());
}

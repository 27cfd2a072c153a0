//! Votes in which exports take part: what the report says of them, mixed with files, and under every option that chooses or narrows.

use serde_json::json;

use super::{
    Scene, assert_holds, have_libnbd, have_qemu, qemu_img, raw,
    servers::{Server, free_port, have_nbdkit},
    stand_in::{MODERN, StandIn, honest},
    support::{
        KIB, Lab, MIB, needs, noise,
        oracle::Question,
        refusal::refused,
        report::{divergence, divergences, warnings},
        sectors,
    },
};

/// What a report says of an export: its address, and nothing that only a file has.
#[test]
fn three_exports_vote() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let lab = Lab::new();
    let files: [_; 3] = lab.copies("disk.img", MIB);
    let good = lab.bytes(&files[0]);
    lab.damage(&files[1], sectors(100..103));
    lab.flip_bit(&files[2], 2047 * 512 + 511);
    let servers = [0, 1, 2].map(|index| Server::file(&lab, &format!("server-{index}"), &files[index]));
    let uris = servers.each_ref().map(Server::uri);
    let run = lab.quorum_img(["check", "--output", "json"]).args(&uris).exits(1);
    let report = run.json();
    let expected = json!([
        divergence(sectors(100..103), "decided", &[&[0, 2], &[1]], &[]),
        divergence(sectors(2047..2048), "decided", &[&[0, 1], &[2]], &[]),
    ]);
    assert_eq!(divergences(&report), expected, "{run}");
    for (index, uri) in uris.iter().enumerate() {
        let member = &report["members"][index];
        assert_eq!(member["name"], uri.as_str(), "{run}");
        assert_eq!((&member["format"], &member["size"]), (&json!("nbd"), &json!(MIB)), "{run}");
        assert_eq!((member.get("modified"), member.get("format-guessed")), (None, None), "{run}");
    }
    assert_eq!(run.stderr(), "", "nothing to warn of\n{run}");
    lab.quorum_img(["check"]).args(&uris).exits(1).says(&uris[1]);
    lab.quorum_img(["repair", "-o", "out.img"]).args(&uris).exits(0);
    assert_holds(&lab.path("out.img"), &good);
    let events = lab.quorum_img(["check", "--output", "events"]).args(&uris).exits(1).events();
    assert!(events.iter().any(|event| event["event"] == "QUORUM_REPORT_BAD"), "{events:?}");
}

/// A raw file, a qcow2 file and two exports, each damaged in its own way.
#[test]
fn any_formats_vote_with_each_other() {
    if !have_qemu() || !have_nbdkit(["file-plugin"]) {
        return;
    }
    let lab = Lab::new();
    let mut good = noise(3, 2 << 20);
    good[300_000..900_000].fill(0);
    let [one, two, three] = lab.copies_of("disk.img", &good);
    lab.damage(&one, 0..2048);
    lab.damage(&two, 10_000..20_000);
    lab.damage(&three, MIB + 100..MIB + 5000);
    lab.write(&three, 400_000, b"not a zero");
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=4k disk-1.img two.q");
    qemu_img(&lab, "convert -c -f raw -O qcow2 disk-2.img three.q");
    let file = lab.file("four.img", &good);
    lab.flip_bit(&file, 2 * MIB - 1);
    let through_qemu = Server::qemu_nbd(&lab, "qemu", ["-r", "-f", "qcow2", "three.q"]);
    let through_nbdkit = Server::file(&lab, "nbdkit", &file);
    let members = [raw(&one), "qcow2:two.q".into(), through_qemu.uri(), through_nbdkit.uri()];
    let run = lab.quorum_img(["check", "--output", "json"]).args(&members).exits(1);
    let formats = [0, 1, 2, 3].map(|index| run.json()["members"][index]["format"].clone());
    assert_eq!(formats, ["raw", "qcow2", "nbd", "nbd"], "{run}");
    lab.quorum_img(["repair", "-o", "out.img"]).args(&members).exits(0);
    assert_holds(&lab.path("out.img"), &good);
    // The whole way round: an image made by vote is as good as any.
    lab.quorum_img(["repair", "-O", "qcow2", "-o", "out.q"]).args(&members).exits(0);
    qemu_img(&lab, "compare -f raw -F qcow2 out.img out.q");
}

/// The same bytes as files and as exports: the same report, sizes that no sector divides included.
#[test]
fn an_export_says_what_its_file_says() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let lab = Lab::new();
    let good = noise(5, 300_700);
    let mut images = [good.clone(), good.clone(), good.clone()];
    images[0][99_000..101_000].fill(0);
    images[1].truncate(290_001);
    images[2].extend([1; 1000]);
    images[2][7] ^= 1;
    let files = [0, 1, 2].map(|index| lab.file(format!("disk-{index}.img"), &images[index]));
    let servers = [0, 1, 2].map(|index| Server::file(&lab, &format!("server-{index}"), &files[index]));
    let uris = servers.each_ref().map(Server::uri);
    for (sector, threshold, range, trust) in
        [(512, 2, None, None), (4096, 2, None, None), (512, 3, None, None), (512, 2, Some((99_100, 5000)), None), (512, 2, None, Some(2))]
    {
        let mut run = lab.quorum_img(["check", "--output", "json"]).args(["--sector-size".into(), sector.to_string()]);
        if let Some((offset, length)) = range {
            run = run.args(["--range".into(), format!("{offset}:{length}")]);
        }
        run = match trust {
            Some(index) => run.args(["--trust".into(), format!("#{index}")]),
            None => run.args(["--threshold".into(), threshold.to_string()]),
        };
        let question = Question { images: images.to_vec(), sector, threshold, range, trust };
        let run = run.args(&uris).output();
        assert_eq!(Question::relevant(&run.json()), question.answer(), "{run}");
    }
}

#[test]
fn a_person_decides_as_with_files() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let mut bad = scene.good.clone();
    bad[5120..10_240].fill(0xee);
    let server = StandIn::new(&scene.lab, "bad", MODERN, &bad, honest);
    scene.check(&server.uri()).exits(1);
    let [good, _] = scene.raw_copies();
    let members = [server.uri(), good.clone()];
    // One against one: nobody wins until somebody says who is right.
    let out = scene.lab.path("out.img");
    scene.lab.quorum_img(["repair", "-o", "out.img"]).args(&members).exits(2);
    assert!(!out.exists());
    scene.lab.quorum_img(["repair", "-o", "out.img", "--pick", "5120:5120=#0"]).args(&members).exits(0);
    assert_holds(&out, &bad);
    let by_name = format!("--trust={}", server.uri());
    scene.lab.quorum_img(["repair", "-o", "again.img", &by_name]).args(&members).exits(0);
    assert_holds(&scene.lab.path("again.img"), &bad);
    // fifo reads the first that can be read, and nobody else.
    scene.lab.quorum_img(["repair", "-o", "fifo.img", "--read-pattern", "fifo"]).args(&members).exits(0);
    assert_holds(&scene.lab.path("fifo.img"), &bad);
    server.state().requests.clear();
    scene.lab.quorum_img(["repair", "-o", "file.img", "--read-pattern", "fifo", &good, &server.uri()]).exits(0);
    assert_holds(&scene.lab.path("file.img"), &scene.good);
    assert_eq!(server.reads(), [], "the file can be read");
}

/// Only what a report lists is voted on again, and only that part is read.
#[test]
fn a_report_narrows_what_is_read() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let mut bad = scene.good.clone();
    bad[100 * 512] ^= 4;
    let server = StandIn::new(&scene.lab, "bad", MODERN, &bad, honest);
    scene.check(&server.uri()).args(["--report", "found.json"]).exits(1);
    server.state().requests.clear();
    scene.check(&server.uri()).args(["--range", "512k:4k"]).exits(0);
    let reads = server.reads();
    assert!(!reads.is_empty(), "it was read");
    assert!(reads.iter().all(|read| read.start >= 256 * KIB), "nothing far off is read: {reads:?}");
    // Nobody can tell when an export was last written to, so that is the user's word.
    let words = ["repair", "-o", "out.img", "--from", "found.json", &server.uri()];
    scene.lab.quorum_img(words).args(scene.raw_copies()).exits(3).complains("--force changed");
    scene.lab.quorum_img(words).args(["--force", "changed"]).args(scene.raw_copies()).exits(0);
    assert_holds(&scene.lab.path("out.img"), &scene.good);
}

/// A server's cache can't be passed from here, and nobody claims it was.
#[test]
fn direct_reading_ends_at_the_server() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::new();
    let server = StandIn::new(&scene.lab, "good", MODERN, &scene.good, honest);
    let run = scene.check(&server.uri()).args(["-T", "none"]).exits(0);
    assert_eq!(run.json()["members"][0]["read-from"], "cache", "{run}");
    let told = warnings(&run.json());
    assert!(told.contains(&server.uri().to_lowercase()) && told.contains("cache"), "{run}");
    let run = scene.check(&server.uri()).exits(0);
    assert_eq!(run.json()["members"][0]["read-from"], "cache", "{run}");
    assert_eq!(run.json().get("warnings"), None, "locks aren't missed in reading\n{run}");
    scene.check(&server.uri()).arg("-U").exits(0);
}

#[test]
fn one_address_twice_is_one_vote() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let scene = Scene::new();
    let server = Server::nbdkit(&scene.lab, "folder", ["file", "dir=."]);
    let [one, two] = [server.export("good-0.img"), server.export("good-1.img")];
    let third = scene.lab.file("third.img", &scene.good);
    scene.lab.quorum_img(["check", &one, &two, &raw(&third)]).exits(0);
    refused(&scene.lab, ["check", &one, &two, &one]).complains("same storage").complains(&one);
    refused(&scene.lab, ["repair", "-o", "out.img", &one, &one]).complains("same storage");
    // A socket that was moved is the one that it was, and another one in its old place another.
    let moved = scene.lab.path("moved.sock");
    std::fs::rename(server.socket(), &moved).expect("our own folder");
    let second = Server::nbdkit(&scene.lab, "folder", ["file", "dir=."]);
    let first = format!("nbd+unix:///good-0.img?socket={}", moved.display());
    scene.lab.quorum_img(["check", &first, &second.export("good-0.img"), &raw(&third)]).exits(0);
    std::fs::rename(&moved, server.socket()).expect("our own folder");

    let link = scene.lab.path("link.sock");
    std::os::unix::fs::symlink(server.socket(), &link).expect("our own folder");
    let other = format!("nbd+unix:///good-0.img?socket={}", link.display());
    refused(&scene.lab, ["check", &one, &two, &other]).complains("same storage").complains(&other);
}

#[test]
fn exports_are_found_over_tcp() {
    if !have_nbdkit(["file-plugin"]) {
        return;
    }
    let scene = Scene::new();
    let port = free_port();
    let mut nbdkit = scene.lab.program("nbdkit").args(["-f", "-i", "127.0.0.1", "-p", &port.to_string(), "file", "good-0.img"]).start();
    let begun = std::time::Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(nbdkit.runs() && begun.elapsed().as_secs() < 20, "nbdkit isn't there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let run =
        scene.lab.quorum_img(["check", "--output", "json"]).args([format!("nbd://127.0.0.1:{port}/"), raw(&scene.copies[1])]).exits(0);
    assert_eq!(run.json()["members"][0]["format"], "nbd", "{run}");
    scene.lab.quorum_img(["check", &format!("nbd://localhost:{port}/any"), &raw(&scene.copies[1])]).exits(0);
    let capitals = format!("NBD://127.0.0.1:{port}/");
    scene.lab.quorum_img(["check", &capitals, &raw(&scene.copies[1])]).exits(0);
    // Another server on the same port, at another address.
    let mut other = scene.lab.program("nbdkit").args(["-f", "-i", "127.0.0.2", "-p", &port.to_string(), "file", "good-1.img"]).start();
    while std::net::TcpStream::connect(("127.0.0.2", port)).is_err() {
        assert!(other.runs() && begun.elapsed().as_secs() < 20, "nbdkit isn't there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    scene.lab.quorum_img(["check", &format!("nbd://127.0.0.1:{port}"), &format!("nbd://127.0.0.2:{port}")]).exits(0);
    // Whatever its server is called, an export has one vote.
    let [one, other] = [format!("nbd://localhost:{port}"), format!("nbd://127.0.0.1:{port}/")];
    refused(&scene.lab, ["check", &one, &raw(&scene.copies[1]), &other]).complains("same storage").complains(&other);
}

/// One real file system, in three servers' hands.
#[test]
fn a_real_file_system_comes_back() {
    if !have_qemu() || !needs("mkfs.ext4") || !needs("e2fsck") {
        return;
    }
    let lab = Lab::new();
    let files = env!("CARGO_MANIFEST_DIR").to_owned() + "/docs";
    lab.program("mkfs.ext4").args(["-q", "-F", "-d", &files, "disk.img", "8M"]).exits(0);
    let good = lab.bytes(&lab.path("disk.img"));
    let images: [_; 3] = lab.copies_of("copy.img", &good);
    lab.damage(&images[0], 1024..8192);
    lab.damage(&images[1], MIB..2 * MIB);
    lab.damage(&images[2], 3 * MIB..7 * MIB);
    let names = ["copy-0.img", "copy-1.img", "copy-2.img"];
    let servers = names.map(|name| Server::qemu_nbd(&lab, name, ["-r", "-f", "raw", name]));
    lab.quorum_img(["repair", "-o", "out.img", "--force", "zeros"]).args(servers.each_ref().map(Server::uri)).exits(0);
    assert_holds(&lab.path("out.img"), &good);
    lab.program("e2fsck").args(["-f", "-n", "out.img"]).exits(0);
}

//! Disks as QEMU's users describe them, and what a check suggests for image files.

use super::{
    have_qemu, qemu_img, qemu_io,
    support::{Lab, MIB, noise},
};

/// Three copies of a disk, raw, qcow2 and raw, of which the second has a bad sector.
fn scene() -> Lab {
    let lab = Lab::new();
    let [a, b, _] = lab.copies("disk.img", MIB);
    lab.flip_bit(&b, 70_000);
    qemu_img(&lab, "convert -f raw -O qcow2 disk-1.img b.q");
    drop(a);
    lab
}

const CHILDREN: &str = r#"[{"driver":"raw","node-name":"one","file":{"driver":"file","filename":"disk-0.img"}},
    {"driver":"qcow2","file":{"driver":"file","filename":"b.q"}},{"driver":"raw","file.filename":"disk-2.img"}]"#;

#[test]
fn a_quorum_is_taken_apart() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    let quorum = format!(r#"json:{{"driver":"quorum","vote-threshold":2,"children":{CHILDREN}}}"#);
    let report = lab.quorum_img(["check", "--output", "json", &quorum]).exits(1).json();
    assert_eq!(report["threshold"], 2);
    let formats: Vec<&str> = (0..3).map(|index| report["members"][index]["format"].as_str().expect("a format")).collect();
    assert_eq!(formats, ["raw", "qcow2", "raw"]);
    assert_eq!(report["members"][1]["dissenting-sectors"], 1);
    lab.quorum_img(["repair", "-q", "-o", "fixed.img", &quorum]).exits(0);
    lab.assert_same_bytes(&lab.path("fixed.img"), &lab.path("disk-0.img"));

    // Three of three are asked for; an option says otherwise.
    let strict = quorum.replace(r#""vote-threshold":2"#, r#""vote-threshold":3"#);
    lab.quorum_img(["check", &strict]).exits(2);
    lab.quorum_img(["check", "--threshold", "2", &strict]).exits(1);
    let fifo = quorum.replace(r#""vote-threshold":2"#, r#""vote-threshold":1,"read-pattern":"fifo""#);
    let report = lab.quorum_img(["check", "--threshold", "2", "--output", "json", &fifo]).exits(0).json();
    assert_eq!(report["read-pattern"], "fifo");

    let options = "driver=quorum,vote-threshold=2,children.0.driver=raw,children.0.file.filename=disk-0.img,children.1.driver=qcow2,\
                   children.1.file.filename=b.q,children.2.driver=raw,children.2.file.filename=disk-2.img";
    lab.quorum_img(["check", "--image-opts", options]).exits(1);
    let single =
        ["driver=raw,file.filename=disk-0.img", "driver=qcow2,file.driver=file,file.filename=b.q", "driver=raw,file.filename=disk-2.img"];
    lab.quorum_img(["check", "--image-opts"]).args(single).exits(1);
    lab.quorum_img(["info", "--image-opts", single[1]]).exits(0).says("qcow2");
}

#[test]
fn what_would_change_the_bytes_is_refused() {
    let lab = Lab::new();
    let _copies: [_; 3] = lab.copies("disk.img", MIB);
    for (description, word) in [
        (r#"json:{"driver":"quorum","children":["one","two"]}"#, "children.0"),
        (
            r#"json:{"driver":"quorum","vote-threshold":2,"children":[{"driver":"raw","offset":512,"file.filename":"disk-0.img"}]}"#,
            "offset",
        ),
        (r#"json:{"driver":"quorum","children":[{"driver":"rbd","pool":"x"}]}"#, "rbd"),
        ("json:{", "JSON"),
    ] {
        lab.quorum_img(["check", description]).exits(3).complains(word).complains("hint:");
    }
    // QEMU takes the last one of two: nobody wants to guess which was meant.
    let twice = "driver=raw,file.filename=disk-0.img,file.filename=disk-1.img";
    lab.quorum_img(["check", "--image-opts", twice, "driver=raw,file.filename=disk-2.img"]).exits(3).complains("twice");
    let quorum = format!(r#"json:{{"driver":"quorum","children":{CHILDREN}}}"#);
    lab.quorum_img(["check", &quorum, "disk-0.img"]).exits(3).complains("beside other members");
    lab.quorum_img(["info", &quorum]).exits(3).complains("no single image");
    lab.quorum_img(["check", "--image-opts", "driver=raw", "driver=raw,file.filename=x"]).exits(3).complains("names no file");
}

/// Images that are copies of one file are better voted on as files; images that grew apart aren't.
#[test]
fn check_suggests_the_files_themselves() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("disk.raw", noise(5, 4 << 20));
    qemu_img(&lab, "convert -f raw -O qcow2 disk.raw a.q");
    for name in ["b.q", "c.q"] {
        lab.file(name, lab.bytes(&lab.path("a.q")));
    }
    qemu_io(&lab, "b.q", ["write -q -P 99 1M 512"]);
    let run = lab.quorum_img(["check", "-f", "qcow2", "a.q", "b.q", "c.q"]).exits(1);
    run.says("quorum-img check -f raw").says("byte for byte");
    let suggested = run.stdout().lines().find(|line| line.contains("-f raw")).expect("it is there").to_owned();
    let words: Vec<String> = suggested.split('#').next().expect("a command").split_whitespace().skip(2).map(str::to_owned).collect();
    lab.quorum_img(&words).exits(1);

    qemu_img(&lab, "convert -f qcow2 -O qcow2 -o cluster_size=4k b.q other.q");
    lab.quorum_img(["check", "-f", "qcow2", "a.q", "other.q", "c.q"]).exits(1).says_nothing_of("-f raw");
}

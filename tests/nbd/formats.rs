//! Disks of other formats vote through qemu-nbd, as the manual's recipes say.

use super::{
    Scene, assert_holds, have_qemu, qemu_img,
    servers::Server,
    support::{Lab, MIB, needs, noise, sectors},
};

/// A disk with stretches of zeros, of a size that every format can hold.
fn disk() -> Vec<u8> {
    let mut bytes = noise(12, 4 << 20);
    bytes[1 << 20..5 << 19].fill(0);
    bytes
}

/// The image in `format`, as qemu-img makes it of the scene's disk, and its server.
fn served(lab: &Lab, format: &str) -> Server {
    let image = format!("disk.{format}");
    let options = if format == "vpc" { "-o force_size=on" } else { "" };
    qemu_img(lab, &format!("convert -f raw -O {format} {options} good-0.img {image}"));
    Server::qemu_nbd(lab, format, ["-r", "-f", format, &image])
}

#[test]
fn other_formats_vote() {
    if !have_qemu() {
        return;
    }
    for format in ["vmdk", "vdi", "vhdx", "vpc", "qcow", "qed", "parallels"] {
        let scene = Scene::of(disk());
        let server = served(&scene.lab, format);
        let run = scene.check(&server.uri()).exits(0);
        assert_eq!(run.json()["members"][0]["format"], "nbd", "{format}\n{run}");
        assert_eq!(run.json()["members"][0]["size"], 4 * MIB, "{format}\n{run}");
        // It decides, too: one of the raw copies is bad where it is good.
        scene.lab.damage(&scene.copies[1], sectors(3000..3010));
        let run = scene.check(&server.uri()).exits(1);
        assert_eq!(run.json()["members"][2]["dissenting-sectors"], 10, "{format}\n{run}");
        scene.repairs(&server.uri());
    }
}

/// Three formats, each a damaged disk's; one file system comes out of it.
#[test]
fn three_foreign_formats_give_one_file_system() {
    if !have_qemu() || !needs("mkfs.ext4") || !needs("e2fsck") {
        return;
    }
    let lab = Lab::new();
    let files = env!("CARGO_MANIFEST_DIR").to_owned() + "/docs";
    lab.program("mkfs.ext4").args(["-q", "-F", "-d", &files, "disk.img", "8M"]).exits(0);
    let good = lab.bytes(&lab.path("disk.img"));
    let raws: [_; 3] = lab.copies_of("copy.img", &good);
    lab.damage(&raws[0], 1024..4096);
    lab.damage(&raws[1], 2 * MIB..3 * MIB);
    lab.damage(&raws[2], 5 * MIB..5 * MIB + 512);
    let servers = ["vmdk", "vdi", "vhdx"].into_iter().enumerate().map(|(index, format)| {
        qemu_img(&lab, &format!("convert -f raw -O {format} copy-{index}.img copy.{format}"));
        Server::qemu_nbd(&lab, format, ["-r", "-f", format, &format!("copy.{format}")])
    });
    let servers: Vec<_> = servers.collect();
    lab.quorum_img(["repair", "-o", "out.img"]).args(servers.iter().map(Server::uri)).exits(0);
    assert_holds(&lab.path("out.img"), &good);
    lab.program("e2fsck").args(["-f", "-n", "out.img"]).exits(0);
}

/// What quorum-img's own reader refuses, its message sends to qemu-nbd: encryption and internal snapshots.
#[test]
fn what_our_own_reader_refuses_votes_through_qemu() {
    if !have_qemu() {
        return;
    }
    let scene = Scene::new();
    let secret = "secret,id=key,data=open-sesame";
    let luks = "convert --object secret,id=key,data=open-sesame -f raw -O qcow2 \
                -o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10 good-0.img luks.q";
    qemu_img(&scene.lab, luks);
    let options = "driver=qcow2,encrypt.key-secret=key,file.driver=file,file.filename=luks.q";
    let server = Server::qemu_nbd(&scene.lab, "luks", ["-r", "--object", secret, "--image-opts", options]);
    scene.check(&server.uri()).exits(0);

    qemu_img(&scene.lab, "convert -f raw -O qcow2 good-0.img snap.q");
    qemu_img(&scene.lab, "snapshot -c then snap.q");
    scene.lab.program("qemu-io").args(["-f", "qcow2", "-c", "write -q -P 7 0 256k", "snap.q"]).exits(0);
    let server = Server::qemu_nbd(&scene.lab, "snap", ["-r", "-f", "qcow2", "-l", "snapshot.name=then", "snap.q"]);
    scene.check(&server.uri()).exits(0);
}

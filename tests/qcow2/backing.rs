//! Overlays: chains of any formats and cluster sizes, names of every form, disks shorter and longer than what they lie on.

use std::fs;

use super::{
    converted, have_qemu,
    making::{follow, some_disk, variant},
    qemu_img, qemu_io, reads_as, reads_as_qemu,
    support::{KIB, Lab, MIB},
};

const ALLOW: &[&str] = &["--allow-references"];

/// A raw disk or a qcow2 below; clusters larger and smaller than those of the overlay.
#[test]
fn one_on_another() {
    if !have_qemu() {
        return;
    }
    for (base, over) in [("512", "64k"), ("64k", "512"), ("4k", "4k"), ("2M", "1k")] {
        let below = format!("img create -f qcow2 -o cluster_size={base} base.q 700416");
        let above = format!("img create -f qcow2 -o cluster_size={over} -b base.q -F qcow2 top.q");
        variant(&[&below, "fill base.q", &above, "fill top.q"], ALLOW);
    }
    for options in
        ["cluster_size=512", "cluster_size=64k", "extended_l2=on", "extended_l2=on,cluster_size=16k", "compat=v2", "cluster_size=2M"]
    {
        let above = format!("img create -f qcow2 -o {options} -b base.raw -F raw top.q");
        variant(&["disk base.raw 700416", &above, "fill top.q"], ALLOW);
    }
}

/// What is compressed below and what is compressed above.
#[test]
fn compressed_on_compressed() {
    if !have_qemu() {
        return;
    }
    for (below, above) in [("zlib", "zstd"), ("zstd", "zlib")] {
        let base = format!("img convert -c -f raw -O qcow2 -o compression_type={below} base.raw base.q");
        let create = format!("img create -f qcow2 -o compression_type={above},cluster_size=4k -b base.q -F qcow2 top.q");
        let lines = ["disk base.raw 700416", &base, &create, "fill base.q", "io top.q write -q -c -P 8 64k 4k", "fill top.q"];
        variant(&lines, ALLOW);
    }
}

/// Raw, then four images, each with other clusters and of another length.
#[test]
fn a_chain_of_five() {
    if !have_qemu() {
        return;
    }
    let lines = [
        "disk zero.raw 500224",
        "img create -f qcow2 -o cluster_size=2k -b zero.raw -F raw one.q 700416",
        "fill one.q",
        "img create -f qcow2 -o cluster_size=64k,extended_l2=on -b one.q -F qcow2 two.q 600064",
        "fill two.q",
        "img create -f qcow2 -o cluster_size=512,compat=v2 -b two.q -F qcow2 three.q 900096",
        "fill three.q",
        "img create -f qcow2 -o cluster_size=32k,compression_type=zstd -b three.q -F qcow2 top.q 1000448",
        "fill top.q",
    ];
    variant(&lines, ALLOW);
}

/// Behind the end of what lies below there are zeros; what is behind the end of the overlay is nobody's.
#[test]
fn shorter_and_longer_than_below() {
    if !have_qemu() {
        return;
    }
    for size in [100_352, 299_008, 300_032, 301_056, 1_000_448] {
        for (below, format) in [("base.raw", "raw"), ("base.q", "qcow2")] {
            for options in ["cluster_size=4k", "extended_l2=on"] {
                let above = format!("img create -f qcow2 -o {options} -b {below} -F {format} top.q {size}");
                let base = "img convert -f raw -O qcow2 -o cluster_size=1k base.raw base.q";
                variant(&["disk base.raw 300032", base, &above, "io top.q write -q -P 17 8k 1k"], ALLOW);
            }
        }
    }
}

/// QEMU sees whole sectors of a raw file, the last one filled up with zeros.
#[test]
fn a_raw_file_below_that_ends_within_a_sector() {
    if !have_qemu() {
        return;
    }
    for size in [100_001, 99_999, 65_537] {
        for top in [65_536, 100_352, 200_192] {
            let disk = format!("disk base.raw {size}");
            let above = format!("img create -f qcow2 -o cluster_size=4k -b base.raw -F raw top.q {top}");
            variant(&[&disk, &above, "io top.q write -q -P 17 8k 1k"], ALLOW);
        }
    }
}

/// Names as users and libvirt write them.
#[test]
fn names_of_every_form() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    follow(&lab, &["disk base.raw 300032", "img convert -f raw -O qcow2 -o cluster_size=4k base.raw base.q", "fill base.q"]);
    fs::create_dir_all(lab.path("sub/deeper")).expect("our own folder");
    fs::copy(lab.path("base.raw"), lab.path("sub/base.raw")).expect("a copy");
    fs::copy(lab.path("base.q"), lab.path("sub/deeper/base.q")).expect("a copy");
    let folder = lab.folder().to_str().expect("UTF-8").to_owned();
    let names = [
        ("base.raw".to_owned(), "raw"),
        ("./base.q".to_owned(), "qcow2"),
        ("sub/base.raw".to_owned(), "raw"),
        ("sub/deeper/base.q".to_owned(), "qcow2"),
        (format!("{folder}/base.q"), "qcow2"),
        (format!("{folder}/sub/base.raw"), "raw"),
        ("file:base.raw".to_owned(), "raw"),
        (format!("file:{folder}/base.q"), "qcow2"),
        (r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"FOLDER/base.q"}}"#.replace("FOLDER", &folder), "qcow2"),
        (r#"json:{"driver":"raw","file.driver":"file","file.filename":"FOLDER/base.raw"}"#.replace("FOLDER", &folder), "raw"),
        (r#"json:{"driver":"raw","file":{"driver":"file","filename":"FOLDER/sub/base.raw"}}"#.replace("FOLDER", &folder), "raw"),
        (r#"json:{"file":{"driver":"file","filename":"FOLDER/base.q"},"driver":"qcow2"}"#.replace("FOLDER", &folder), "qcow2"),
        (r#"json:{"driver":"qcow2","file.filename":"FOLDER/base.q"}"#.replace("FOLDER", &folder), "qcow2"),
    ];
    for (index, (name, format)) in names.iter().enumerate() {
        let top = format!("top-{index}.q");
        qemu_img(&lab, &format!("create -q -f qcow2 -o cluster_size=8k -b {name} -F {format} {top}"));
        qemu_io(&lab, "qcow2", &top, [format!("write -q -P {} 20k 3k", index + 1)]);
        reads_as_qemu(&lab, &top, ALLOW);
        reads_as_qemu(&lab, &top, &["--allow-references=any"]);
    }
}

/// A name is meant from the folder of the image that holds it, wherever the program was started, and however the image is named.
#[test]
fn a_name_starts_from_the_folder_of_its_image() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    fs::create_dir_all(lab.path("images/bases")).expect("our own folder");
    fs::create_dir(lab.path("elsewhere")).expect("our own folder");
    lab.file("images/bases/ground.raw", some_disk(5, 200_192));
    // Decoys, where a name that starts from the wrong folder would lead.
    lab.file("ground.raw", some_disk(6, 200_192));
    lab.file("images/ground.raw", some_disk(7, 200_192));
    qemu_img(&lab, "create -q -f qcow2 -b ground.raw -F raw images/bases/base.q");
    qemu_img(&lab, "create -q -f qcow2 -b bases/base.q -F qcow2 images/top.q");
    qemu_io(&lab, "qcow2", "images/bases/base.q", ["write -q -P 1 0 10k"]);
    qemu_io(&lab, "qcow2", "images/top.q", ["write -q -P 2 70k 10k"]);
    let oracle = converted(&lab, "images/top.q", "oracle.img");
    let copy = lab.file("copy.img", lab.bytes(&oracle));
    let absolute = lab.path("images/top.q");
    for (folder, name) in
        [("", "images/top.q"), ("images", "top.q"), ("elsewhere", "../images/top.q"), ("elsewhere", absolute.to_str().expect("UTF-8"))]
    {
        let run = lab.quorum_img(["check", "--allow-references"]).in_folder(&lab.path(folder));
        run.arg(format!("qcow2:{name}")).args([&oracle, &copy].map(|path| format!("raw:{}", path.display()))).exits(0);
    }
}

/// A guest can write a qcow2 header onto its raw disk. An image on top that says `raw` must go on meaning the bytes.
#[test]
fn a_fake_header_on_a_raw_disk_is_data() {
    if !have_qemu() {
        return;
    }
    for options in ["compat=v2", "compat=v3", "extended_l2=on"] {
        let lab = Lab::new();
        lab.file("secret.txt", b"the host's own secrets".repeat(3000));
        qemu_img(&lab, "create -q -u -f qcow2 -b secret.txt -F raw fake.raw 64k");
        let mut bytes = lab.bytes(&lab.path("fake.raw"));
        bytes.resize(300_032, 0x33);
        lab.file("fake.raw", bytes);
        qemu_img(&lab, &format!("create -q -f qcow2 -o {options} -b fake.raw -F raw top.q"));
        qemu_io(&lab, "qcow2", "top.q", ["write -q -P 2 70k 10k"]);
        let report = reads_as_qemu(&lab, "top.q", ALLOW);
        assert_eq!(report["size"], 300_032, "the disk, not the fake's 64k");
        let out = lab.bytes(&lab.path("top.q.oracle"));
        assert!(out.starts_with(b"QFI\xfb"), "the guest's fake header is what the disk begins with");
    }
}

/// Something below, then resized by itself: no table of the old image says anything of what is new.
#[test]
fn resized_on_a_backing_file() {
    if !have_qemu() {
        return;
    }
    for resize in ["img resize -q -f qcow2 top.q 900096", "img resize -q -f qcow2 --shrink top.q 120320"] {
        let above = "img create -f qcow2 -o cluster_size=4k -b base.raw -F raw top.q 300032";
        variant(&["disk base.raw 600064", above, "fill top.q", resize, "io top.q write -q -P 3 100k 1k"], ALLOW);
    }
}

/// A data file of the image below, and one of the image on top.
#[test]
fn data_files_in_a_chain() {
    if !have_qemu() {
        return;
    }
    let lines = [
        "img create -f qcow2 -o data_file=below.raw,data_file_raw=on base.q 500224",
        "fill base.q",
        "img create -f qcow2 -o data_file=above.raw,cluster_size=4k -b base.q -F qcow2 top.q 700416",
        "fill top.q",
    ];
    variant(&lines, ALLOW);
}

/// The limit of 64 levels leaves room for what people have.
#[test]
fn a_chain_of_fifty() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    lab.file("level-00.q", []);
    qemu_img(&lab, &format!("create -q -f qcow2 -o cluster_size=4k level-00.q {}", 256 * KIB));
    qemu_img(&lab, "create -q -f qcow2 -o cluster_size=4k -b level-00.q -F qcow2 level-01.q");
    qemu_io(&lab, "qcow2", "level-00.q", ["write -q -P 255 0 256k"]);
    let overlay = lab.bytes(&lab.path("level-01.q"));
    let at = overlay.windows(10).position(|window| window == b"level-00.q").expect("the name");
    for level in 1..50 {
        let mut bytes = overlay.clone();
        bytes[at..at + 10].copy_from_slice(format!("level-{:02}.q", level - 1).as_bytes());
        let name = format!("level-{level:02}.q");
        lab.file(&name, bytes);
        qemu_io(&lab, "qcow2", &name, [format!("write -q -P {level} {}k 6k", level * 5)]);
    }
    reads_as_qemu(&lab, "level-49.q", ALLOW);
}

/// 8 TiB of disk with a few clusters, far apart; nothing of the rest is read.
#[test]
fn huge_and_nearly_empty() {
    if !have_qemu() {
        return;
    }
    for options in ["cluster_size=64k", "cluster_size=2M", "extended_l2=on"] {
        let lab = Lab::new();
        qemu_img(&lab, &format!("create -q -f qcow2 -o {options} top.q 8T"));
        lab.file("noise.raw", some_disk(3, MIB));
        let writes = ["0", "1k", "3T", "4398046511103", "5600000000000", "8796092407808"]
            .map(|offset| format!("write -q -s noise.raw {offset} 600k"));
        qemu_io(&lab, "qcow2", "top.q", writes);
        converted(&lab, "top.q", "oracle.img");
        converted(&lab, "top.q", "copy.img");
        let members = ["qcow2:top.q", "raw:oracle.img", "raw:copy.img"];
        lab.quorum_img(["check"]).args(members).exits(0);
        lab.quorum_img(["repair", "--trust", "#0", "-o", "out.img"]).args(members).exits(0);
        qemu_img(&lab, "compare -q -f raw -F raw out.img oracle.img");
        let spared = lab.allocated(&lab.path("oracle.img")) + 8 * MIB;
        assert!(lab.allocated(&lab.path("out.img")) < spared, "as sparse as what QEMU makes of it");
    }
}

/// A base that changes under its overlay's feet is read as it is now: what the overlay doesn't hold comes from below.
#[test]
fn the_overlay_hides_what_it_holds() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    follow(
        &lab,
        &["disk base.raw 200192", "img create -f qcow2 -o cluster_size=4k -b base.raw -F raw top.q", "io top.q write -q -P 9 64k 8k"],
    );
    qemu_io(&lab, "qcow2", "top.q", ["write -q -z 96k 8k"]);
    let mut expected = lab.bytes(&lab.path("base.raw"));
    expected[64 * 1024..72 * 1024].fill(9);
    expected[96 * 1024..104 * 1024].fill(0);
    let oracle = lab.file("oracle.img", &expected);
    reads_as(&lab, "top.q", &oracle, ALLOW);
    for at in [65 * KIB, 97 * KIB] {
        lab.write(&lab.path("base.raw"), at, b"changed, and not seen");
    }
    reads_as(&lab, "top.q", &oracle, ALLOW);
}

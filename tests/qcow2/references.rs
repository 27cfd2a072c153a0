//! An image that names other files is obeyed only where a person has allowed it, and only as far.

use std::{ffi::OsString, fs, os::unix::fs::symlink};

use super::{
    converted, have_qemu,
    making::{follow, some_disk},
    qemu_img, qemu_io,
    support::{
        Lab, Output,
        refusal::{AT_ONCE, assert_clean, refused},
        report::warnings,
    },
};

/// A folder `vm` with `top.q` on `base.q`; beside the folder, a secret; and what `top.q` shows, twice.
fn scene() -> Lab {
    let lab = Lab::new();
    fs::create_dir(lab.path("vm")).expect("our own folder");
    lab.file("secret.raw", some_disk(1, 300_032));
    lab.file("vm/base.raw", some_disk(2, 300_032));
    qemu_img(&lab, "convert -f raw -O qcow2 -o cluster_size=4k vm/base.raw vm/base.q");
    on(&lab, "base.q", "qcow2");
    lab
}

/// Makes `top.q` anew, on that backing file.
fn on(lab: &Lab, backing: &str, format: &str) {
    fs::remove_file(lab.path("vm/top.q")).unwrap_or_default();
    qemu_img(lab, &format!("create -q -u -f qcow2 -o cluster_size=4k -b {backing} -F {format} vm/top.q 300032"));
}

/// What QEMU shows of `top.q`, as two raw members.
fn oracles(lab: &Lab) {
    let oracle = converted(lab, "vm/top.q", "good-0.raw");
    lab.file("good-1.raw", lab.bytes(&oracle));
}

const MEMBERS: [&str; 3] = ["qcow2:vm/top.q", "raw:good-0.raw", "raw:good-1.raw"];

fn line<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["check"], options, &MEMBERS].concat()
}

/// Refused, with the image, the reference and the option.
fn refuses(lab: &Lab, options: &[&str], words: &[&str]) -> Output {
    let run = refused(lab, line(options));
    run.complains("top.q").complains("--allow-references");
    for word in words {
        run.complains(word);
    }
    run
}

#[test]
fn a_reference_takes_leave() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    oracles(&lab);
    refuses(&lab, &[], &["base.q"]);
    refused(&lab, ["repair", "-o", "out.img"].iter().chain(&MEMBERS)).complains("--allow-references");
    for allow in ["--allow-references", "--allow-references=any"] {
        lab.quorum_img(line(&[allow])).exits(0);
    }
    refused(&lab, line(&["--allow-references=some"]));
    // One without a reference needs no leave, and gets none: the raw members' names are no references.
    lab.quorum_img(["check", "qcow2:vm/base.q", "raw:vm/base.raw"]).exits(0);
}

/// Whoever guesses that a disk is a qcow2 obeys whoever wrote that disk.
#[test]
fn a_guess_opens_no_other_file() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    fs::copy(lab.path("vm/top.q"), lab.path("vm/copy.q")).expect("a copy");
    for allow in [&["--allow-references"][..], &["--allow-references=any"], &[]] {
        let run = refused(&lab, [&["check"], allow, &["vm/top.q", "vm/copy.q"]].concat());
        run.complains("-f qcow2").complains("top.q").complains("base.q");
    }
    lab.quorum_img(["check", "-f", "qcow2", "--allow-references", "vm/top.q", "vm/copy.q"]).exits(0);
}

/// Names that lead out of the image's folder: allowed by `any` alone.
#[test]
fn out_of_the_folder() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    let folder = lab.folder().to_str().expect("UTF-8").to_owned();
    symlink("../secret.raw", lab.path("vm/link.raw")).expect("a link");
    symlink(lab.path("secret.raw"), lab.path("vm/absolute.raw")).expect("a link");
    symlink("..", lab.path("vm/up")).expect("a link");
    fs::create_dir(lab.path("vm-2")).expect("our own folder");
    fs::create_dir(lab.path("vm/x")).expect("our own folder");
    fs::copy(lab.path("secret.raw"), lab.path("vm-2/near.raw")).expect("a copy");
    let names = [
        "../secret.raw".to_owned(),
        "file:../secret.raw".to_owned(),
        "x/../../secret.raw".to_owned(),
        "link.raw".to_owned(),
        "absolute.raw".to_owned(),
        "up/secret.raw".to_owned(),
        format!("{folder}/secret.raw"),
        format!("{folder}/vm/../secret.raw"),
        // A folder whose name begins like ours.
        format!("{folder}/vm-2/near.raw"),
        format!("file:{folder}/secret.raw"),
        r#"json:{"driver":"raw","file":{"driver":"file","filename":"FOLDER/secret.raw"}}"#.replace("FOLDER", &folder),
        "/etc/passwd".to_owned(),
    ];
    for name in &names {
        on(&lab, name, "raw");
        // Members that would agree with the secret, if anybody read it.
        fs::copy(lab.path("secret.raw"), lab.path("good-0.raw")).expect("a copy");
        fs::copy(lab.path("secret.raw"), lab.path("good-1.raw")).expect("a copy");
        refuses(&lab, &["--allow-references"], &["any"]);
        refuses(&lab, &[], &[]);
        if !name.contains("passwd") {
            lab.quorum_img(line(&["--allow-references=any"])).exits(0);
        }
    }
}

/// Names that look as if they led out, or away, and don't.
#[test]
fn within_the_folder() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    let folder = lab.folder().to_str().expect("UTF-8").to_owned();
    fs::create_dir(lab.path("vm/sub")).expect("our own folder");
    fs::copy(lab.path("vm/base.raw"), lab.path("vm/sub/base.raw")).expect("a copy");
    fs::copy(lab.path("vm/base.raw"), lab.path("vm/..base.raw")).expect("a copy");
    symlink("base.raw", lab.path("vm/link.raw")).expect("a link");
    symlink("sub", lab.path("vm/folder")).expect("a link");
    for name in
        ["./base.raw", "sub/base.raw", "./sub//base.raw", "..base.raw", "link.raw", "folder/base.raw", &format!("{folder}/vm/sub/base.raw")]
    {
        on(&lab, name, "raw");
        oracles(&lab);
        lab.quorum_img(line(&["--allow-references"])).exits(0);
    }
}

/// What can't be waited for, and what is no disk at all: no hang, and no answer made up.
#[test]
fn references_to_what_is_no_disk() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    oracles(&lab);
    nix::unistd::mkfifo(&lab.path("vm/fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    fs::create_dir(lab.path("vm/folder")).expect("our own folder");
    symlink("circle", lab.path("vm/circle")).expect("a link");
    for name in ["fifo", "folder", "circle", "missing", "base.q/below", "/dev/null", "/dev/zero"] {
        on(&lab, name, "raw");
        let run = lab.quorum_img(line(&["--allow-references=any", "--output", "json"])).within(AT_ONCE).output();
        assert_clean(&run);
        assert!(matches!(run.code(), Some(1 | 3)), "{name}\n{run}");
        if run.code() == Some(1) && name != "/dev/null" {
            assert_eq!(run.json()["members"][0]["dissenting-sectors"], 0, "{name}: nothing must be made up\n{run}");
        }
    }
}

/// Other ways to a disk are QEMU's business: the driver is named, and the way out.
#[test]
fn other_drivers_are_refused_by_name() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    oracles(&lab);
    for (name, format, word) in [
        ("nbd://localhost:1/disk", "raw", "nbd"),
        ("nbd:localhost:1", "raw", "nbd"),
        ("nbd+unix:///?socket=x", "raw", "nbd"),
        ("ssh://host/disk", "raw", "ssh"),
        ("http://host/disk", "raw", "http"),
        ("rbd:pool/disk", "raw", "rbd"),
        ("fat:rw:/etc", "raw", "fat"),
        (r#"json:{"driver":"nbd","host":"localhost"}"#, "raw", "nbd"),
        (r#"json:{"driver":"raw","file":{"driver":"nbd","host":"localhost"}}"#, "raw", "nbd"),
        (r#"json:{"driver":"raw","file.driver":"https","file.url":"https://host/disk"}"#, "raw", "https"),
        (r#"json:{"driver":"vmdk","file":{"driver":"file","filename":"base.raw"}}"#, "vmdk", "vmdk"),
        (r#"json:{"driver":"blkdebug","image":{"driver":"file","filename":"base.raw"}}"#, "raw", "blkdebug"),
        ("base.raw", "vmdk", "vmdk"),
        ("base.raw", "vdi", "vdi"),
        ("base.raw", "luks", "luks"),
    ] {
        on(&lab, name, format);
        for allow in ["--allow-references", "--allow-references=any"] {
            let run = refused(&lab, line(&[allow]));
            run.complains(word).complains("qemu-nbd").complains("top.q");
        }
    }
}

/// JSON that is none, or that says nothing.
#[test]
fn json_names_that_are_broken() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    oracles(&lab);
    let pattern = "x".repeat(60);
    on(&lab, &pattern, "raw");
    let bytes = lab.bytes(&lab.path("vm/top.q"));
    let at = bytes.windows(60).position(|window| window == pattern.as_bytes()).expect("the name") as u64;
    let deep = format!("json:{}", "[".repeat(55));
    for name in ["json:", "json:{", "json:{}", "json:[]", "json:null", r#"json:{"driver":7}"#, r#"json:{"driver":"raw"}"#, &deep] {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(60, b' ');
        lab.write(&lab.path("vm/top.q"), at, &padded);
        let run = lab.quorum_img(line(&["--allow-references=any", "--output", "json"])).within(AT_ONCE).output();
        assert_clean(&run);
        assert!(matches!(run.code(), Some(1 | 3)), "{name}\n{run}");
    }
}

/// A backing file whose format isn't recorded is guessed, and a warning says so; what was guessed leads no further.
#[test]
fn an_unrecorded_format_is_guessed_with_a_warning() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    for base in ["base.raw", "base.q"] {
        on(&lab, base, if base.ends_with('q') { "qcow2" } else { "raw" });
        qemu_io(&lab, "qcow2", "vm/top.q", ["write -q -P 6 40k 4k"]);
        oracles(&lab);
        forget_format(&lab, "vm/top.q");
        let run = lab.quorum_img(line(&["--allow-references", "--output", "json"])).exits(0);
        let told = warnings(&run.json()) + &run.stderr();
        assert!(told.contains(base) && told.contains("format"), "{run}");
    }
    // base.q lies on another one: only those who are sure what it is may follow that.
    qemu_img(&lab, "create -q -f qcow2 -b base.q -F qcow2 vm/middle.q");
    on(&lab, "middle.q", "qcow2");
    oracles(&lab);
    lab.quorum_img(line(&["--allow-references"])).exits(0);
    forget_format(&lab, "vm/top.q");
    let run = refused(&lab, line(&["--allow-references"]));
    run.complains("middle.q").complains("base.q");
}

/// Makes the header extension with the backing file's format one that nobody knows.
fn forget_format(lab: &Lab, image: &str) {
    let image = lab.path(image);
    let at = lab.bytes(&image).windows(4).position(|window| window == [0xe2, 0x79, 0x2a, 0xca]).expect("a format") as u64;
    lab.write(&image, at, &[0x12, 0x34, 0x56, 0x78]);
}

/// A data file is a reference like any other.
#[test]
fn data_files_take_leave_too() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    fs::remove_file(lab.path("vm/top.q")).expect("our own file");
    // QEMU looks for it from where it is started (`bdrv_open_child` with the name as it is); we, from the image's folder.
    for line in [
        &["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "top.q", "300032"][..],
        &["qemu-io", "-f", "qcow2", "-c", "write -q -P 6 0 100k", "top.q"],
        &["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top.q", "../good-0.raw"],
    ] {
        lab.program(line[0]).args(&line[1..]).in_folder(&lab.path("vm")).exits(0);
    }
    lab.file("good-1.raw", lab.bytes(&lab.path("good-0.raw")));
    refuses(&lab, &[], &["data.raw"]);
    lab.quorum_img(line(&["--allow-references"])).exits(0);
    fs::rename(lab.path("vm/data.raw"), lab.path("data.raw")).expect("our own file");
    symlink("../data.raw", lab.path("vm/data.raw")).expect("a link");
    refuses(&lab, &["--allow-references"], &["any"]);
    lab.quorum_img(line(&["--allow-references=any"])).exits(0);
}

/// The chain's leave holds for each link: an image below that leads out of the folder is refused, and named.
#[test]
fn the_second_link_leads_out() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    qemu_img(&lab, "create -q -u -f qcow2 -b ../secret.raw -F raw vm/middle.q 300032");
    on(&lab, "middle.q", "qcow2");
    oracles(&lab);
    let run = refused(&lab, line(&["--allow-references"]));
    run.complains("middle.q").complains("secret.raw").complains("--allow-references");
    lab.quorum_img(line(&["--allow-references=any"])).exits(0);
}

/// Two overlays on one file share its damage; people are told.
#[test]
fn overlays_on_one_base_are_not_independent() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    follow(&lab, &["img create -f qcow2 -b base.q -F qcow2 vm/other.q"]);
    let warned = |members: &[&str]| {
        let run = lab.quorum_img(["check", "--allow-references", "--output", "json"]).args(members).exits(0);
        let told = warnings(&run.json()) + &run.stderr();
        (told.contains("independent"), run)
    };
    let (is_warned, run) = warned(&["qcow2:vm/top.q", "qcow2:vm/other.q"]);
    assert!(is_warned, "{run}");
    let (is_warned, run) = warned(&["qcow2:vm/top.q", "raw:vm/base.raw"]);
    assert!(!is_warned, "{run}");
    let (is_warned, run) = warned(&["qcow2:vm/top.q", "qcow2:vm/base.q"]);
    assert!(is_warned, "an overlay and its own base\n{run}");
}

/// Names are shown, never obeyed.
#[test]
fn hostile_names_are_shown_escaped() {
    if !have_qemu() {
        return;
    }
    let lab = scene();
    oracles(&lab);
    on(&lab, "aaaaaaaaaaaaaaaaaaaa", "raw");
    let image = lab.path("vm/top.q");
    let at = lab.bytes(&image).windows(20).position(|window| window == [b'a'; 20]).expect("the name") as u64;
    for name in
        [b"\x1b[31mred\nfake: all.i", b"\xff\xfe\x80not utf8 at all..", b"nul\0in the middle...", b"\x9b31m\x08\x08\x08\r............"]
    {
        lab.write(&image, at, &name[..]);
        for options in [&[][..], &["--allow-references"], &["--allow-references=any"], &["--allow-references", "--output", "json"]] {
            let run = lab.quorum_img(line(options)).within(AT_ONCE).output();
            assert_clean(&run);
            assert!(matches!(run.code(), Some(1 | 3)), "{run}");
            let text = run.stderr() + &run.stdout();
            assert!(!text.lines().any(|line| line.starts_with("fake:")), "a name made a line of its own\n{run}");
        }
        let run = lab.quorum_img([OsString::from("info"), OsString::from("qcow2:vm/top.q")]).output();
        assert_clean(&run);
    }
}

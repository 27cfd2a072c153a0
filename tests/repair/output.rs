//! The output's name, what may stand there already, and what the file is like.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown, symlink},
    },
    path::PathBuf,
};

use super::{
    Damaged, assert_holds, refuses, repair,
    support::{KIB, Lab, MIB, is_root, noise, skip},
};

/// Replaced in one step: whoever has the old file open, or holds it by another name, keeps all of it.
#[test]
fn overwriting_takes_the_name_and_leaves_the_old_file_alone() {
    let set = Damaged::new();
    set.lab.file("out.img", "precious");
    fs::hard_link(&set.output, set.lab.path("link")).expect("a hard link");
    set.repair().args(["--force", "overwrite"]).exits(0);
    set.assert_restored();
    assert_holds(&set.lab.path("link"), b"precious");
}

#[test]
fn a_failed_repair_leaves_what_it_was_to_overwrite() {
    let set = Damaged::with_an_undecided_sector();
    set.lab.file("out.img", "precious");
    refuses(&set.lab, set.repair().args(["--force", "overwrite"]), 2, &[]);
}

#[test]
fn a_symlink_stays_and_its_target_is_replaced() {
    let set = Damaged::new();
    fs::create_dir(set.lab.path("elsewhere")).expect("a folder");
    let target = set.lab.file("elsewhere/target.img", "precious");
    symlink("elsewhere/target.img", &set.output).expect("a symlink");
    refuses(&set.lab, set.repair(), 3, &["overwrite"]);
    set.repair().args(["--force", "overwrite"]).exits(0);
    assert!(fs::symlink_metadata(&set.output).expect("it is there").is_symlink());
    assert_holds(&target, &set.original);
}

/// A bare name has no folder in it: it means the one we stand in.
#[test]
fn a_bare_name_goes_into_the_current_folder() {
    let set = Damaged::new();
    let run = repair(&set.lab, "bare.img".as_ref(), &set.members).exits(0);
    assert_holds(&set.lab.path("bare.img"), &set.original);
    let report = run.json();
    assert_eq!(report["command"], "repair", "{run}");
    assert!(report["repair"]["output"].as_str().is_some_and(|name| name.ends_with("bare.img")), "{run}");
    assert_eq!(report["exit-code"], 0, "{run}");
}

#[test]
fn names_that_are_no_text_work() {
    let set = Damaged::new();
    for name in [&b"caf\xe9.img"[..], b"two\nlines.img", b"\x1b[31mred.img", b"--help", b"raw:x.img"] {
        let path = set.lab.path(OsStr::from_bytes(name));
        let run = repair(&set.lab, &path, &set.members).exits(0);
        assert_holds(&path, &set.original);
        assert!(!run.stderr.contains(&0x1b) && !run.stdout.contains(&0x1b), "escape codes must not reach the terminal\n{run}");
        let _ = run.json();
    }
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let set = Damaged::new();
    let run = set.lab.quorum_img(["repair", "-q", "-o", "out.img"]).args(&set.members).exits(0);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    set.assert_restored();
}

/// People are told where it is and what was wrong.
#[test]
fn human_output_names_the_file_and_the_guilty() {
    let set = Damaged::new();
    let run = set.lab.quorum_img(["repair", "-o", "out.img"]).args(&set.members).exits(0);
    run.says("out.img").says("disk-0.img").says("disk-2.img");
}

#[test]
fn without_verifying_it_is_the_same_file() {
    let set = Damaged::new();
    set.repair().arg("--no-verify").exits(0);
    set.assert_restored();
    set.repair().args(["--no-verify", "--reflink", "never", "--force", "overwrite"]).exits(0);
    set.assert_restored();
}

#[test]
fn mode_and_owner_are_kept_where_the_members_agree() {
    let set = Damaged::new();
    let root = is_root() || skip("owners can't be tested without root");
    for member in &set.members {
        fs::set_permissions(member, fs::Permissions::from_mode(0o640)).expect("our own file");
        if root {
            chown(member, Some(4321), Some(1234)).expect("root may");
        }
    }
    set.repair().exits(0);
    let meta = fs::metadata(&set.output).expect("it is there");
    assert_eq!(format!("{:o}", meta.mode() & 0o7777), "640");
    if root {
        assert_eq!((meta.uid(), meta.gid()), (4321, 1234));
    }
}

/// One copy is open to all by mistake: the output must not be, since it holds what the others keep to themselves.
#[test]
fn members_that_disagree_do_not_open_the_output_to_others() {
    let set = Damaged::new();
    for (member, mode) in set.members.iter().zip([0o600, 0o600, 0o666]) {
        fs::set_permissions(member, fs::Permissions::from_mode(mode)).expect("our own file");
    }
    set.repair().exits(0);
    let mode = fs::metadata(&set.output).expect("it is there").mode();
    assert_eq!(mode & 0o077, 0, "mode {mode:o}");
    assert_eq!(mode & 0o600, 0o600, "its owner can use it: mode {mode:o}");
}

/// An 8 MiB disk with 1 MiB of data: some copies have holes, others zeros, one a bad sector amid zeros.
fn mostly_zeros(lab: &Lab) -> ([PathBuf; 3], Vec<u8>) {
    let mut bytes = vec![0; 8 << 20];
    bytes[3 << 20..4 << 20].copy_from_slice(&noise(5, 1 << 20));
    let written = lab.file("written.img", &bytes);
    let holes = lab.sparse("holes.img", 8 * MIB);
    lab.write(&holes, 3 * MIB, &bytes[3 << 20..4 << 20]);
    let damaged = lab.file("damaged.img", &bytes);
    lab.damage(&damaged, 6 * MIB..6 * MIB + 512);
    ([written, holes, damaged], bytes)
}

#[test]
fn zeros_become_holes() {
    let lab = Lab::new();
    let (members, expected) = mostly_zeros(&lab);
    let output = lab.path("out.img");
    repair(&lab, &output, &members).exits(0);
    assert_holds(&output, &expected);
    let allocated = lab.allocated(&output);
    assert!((MIB..MIB + 256 * KIB).contains(&allocated), "1 MiB of data takes {allocated} bytes");
}

#[test]
fn sparse_size_zero_writes_everything() {
    let lab = Lab::new();
    let (members, expected) = mostly_zeros(&lab);
    let output = lab.path("out.img");
    repair(&lab, &output, &members).args(["-S", "0"]).exits(0);
    assert_holds(&output, &expected);
    let allocated = lab.allocated(&output);
    assert!(allocated >= 8 * MIB, "asked to write all, it takes {allocated} bytes");
}

/// Zeros shorter than the sparse size are written rather than punched.
#[test]
fn sparse_size_is_the_shortest_hole() {
    let lab = Lab::new();
    let mut bytes = noise(6, 2 << 20);
    for hole in bytes.chunks_mut(64 << 10) {
        hole[..16 << 10].fill(0);
    }
    let members: [_; 3] = lab.copies_of("disk.img", &bytes);
    let allocated = |size: &str| {
        let output = lab.path(format!("out-{size}.img"));
        repair(&lab, &output, &members).args(["-S", size]).exits(0);
        assert_holds(&output, &bytes);
        lab.allocated(&output)
    };
    assert!(allocated("32k") >= 2 * MIB, "no run of zeros is that long");
    let sparse = allocated("4k");
    assert!(sparse <= 2 * MIB * 3 / 4 + 64 * KIB, "a quarter is zeros, and it takes {sparse} bytes");
}

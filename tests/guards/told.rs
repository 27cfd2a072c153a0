//! What is known is said, and what isn't known isn't claimed.

use super::{
    check, files,
    support::{Lab, disks::bytes, needs, noise, sectors},
};

/// In a tie nobody knows that "no member is whole".
#[test]
fn a_tie_does_not_say_that_none_is_whole() {
    let lab = Lab::new();
    let disk = noise(1, 1 << 20);
    let members = files(&lab, &vec![disk; 2]);
    lab.damage(&members[1], sectors(7..8));
    let run = lab.quorum_img(["check"]).args(&members).exits(2);
    run.says("Which member is right can't be told: #0").says_nothing_of("No member is whole");
    let members = files(&lab, &vec![noise(1, 1 << 20); 3]);
    for (index, member) in members.iter().enumerate() {
        lab.damage(member, sectors(index as u64 * 9..index as u64 * 9 + 1));
    }
    lab.quorum_img(["check"]).args(&members).exits(1).says("No member is whole");
}

/// The journal's place was said to be missing where a member was.
#[test]
fn a_missing_member_needs_no_place_for_the_journal() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 4]);
    lab.damage(&members[1], sectors(7..8));
    let line = ["repair", "--in-place", "--missing-ok", "gone.img"];
    let run = lab.quorum_img(line).args(&members).output();
    lab.assert_same_bytes(&members[0], &members[1]);
    run.says("0.img.quorum-journal").says_nothing_of("gone.img.quorum-journal");
}

/// Images of other programs were compared as disks of their own, and nobody said how they can vote.
#[test]
fn formats_of_other_programs_are_known() {
    let lab = Lab::new();
    let mut vdi = noise(1, 4096);
    vdi[64..68].copy_from_slice(b"\x7f\x10\xda\xbe");
    let mut vhd = noise(1, 8192);
    let at = vhd.len() - 512;
    vhd[at..at + 8].copy_from_slice(b"conectix");
    for (name, start, way) in [
        ("a.vmdk", &b"KDMV"[..], "qemu-nbd -r -t -k /run/vmdk.sock -f vmdk"),
        ("a.vdi", &vdi, "-f vdi"),
        ("a.vhdx", b"vhdxfile", "-f vhdx"),
        ("a.vhd", &vhd, "-f vpc"),
        ("a.qed", b"QED\0", "-f qed"),
        ("a.hds", b"WithouFreSpacExt", "-f parallels"),
        ("a.E01", b"EVF\x09\x0d\x0a\xff\x00", "ewfmount"),
        ("a.gz", b"\x1f\x8b\x08", "gunzip -k"),
        ("a.xz", b"\xfd7zXZ\0", "unxz -k"),
        ("a.zst", b"\x28\xb5\x2f\xfd", "unzstd"),
    ] {
        let mut bytes = start.to_vec();
        bytes.resize(8192.max(start.len()), 7);
        let members = [lab.file(name, &bytes), lab.file(format!("b{name}"), &bytes)];
        for command in [&["check"][..], &["repair", "-o", "new.img"], &["repair", "--in-place"]] {
            lab.quorum_img(command).args(&members).exits(3).complains(way).complains("byte for byte");
        }
        lab.quorum_img(["info"]).arg(&members[0]).exits(0).complains(way);
        lab.quorum_img(["check", "-f", "raw"]).args(&members).exits(0);
    }
    lab.quorum_img(["check", "-f", "vmdk", "a.vmdk", "b.vmdk"]).exits(3).complains("qemu-nbd").complains("-f vmdk");
    for name in ["ssh://host/srv/a.img", "host:/srv/a.img"] {
        lab.quorum_img(["check", name, "a.vmdk"]).exits(3).complains("another machine").complains("qemu-nbd");
    }
    let fine = files(&lab, &vec![bytes("ext4-disk-old"); 2]);
    check(&lab, &fine).exits(0);
}

/// Internal snapshots are neither compared nor repaired, and nobody said so.
#[test]
fn snapshots_have_no_vote() {
    if !needs("qemu-img") {
        return;
    }
    let lab = Lab::new();
    lab.file("disk.raw", noise(1, 1 << 20));
    for name in ["a.qcow2", "b.qcow2"] {
        lab.program("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2", "disk.raw", name]).exits(0);
    }
    lab.program("qemu-img").args(["snapshot", "-c", "before", "a.qcow2"]).exits(0);
    for command in [&["check"][..], &["repair", "-o", "new.img"], &["repair", "--in-place"]] {
        let run = lab.quorum_img(command).args(["-f", "qcow2", "a.qcow2", "b.qcow2"]).exits(0);
        run.complains("a.qcow2: its 1 internal snapshot has no vote");
        assert!(!run.stderr().contains("b.qcow2"), "{run}");
    }
}

/// One that can't be opened ended it all; whoever says so has the others decide.
#[test]
fn a_missing_member_may_count_as_failed() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 2]);
    lab.quorum_img(["check", "missing.img"]).args(&members).exits(3);
    let run = lab.quorum_img(["check", "--missing-ok", "--output", "json", "missing.img"]).args(&members).exits(1);
    assert_eq!(run.json()["members"][0]["status"], "failed", "{run}");
    lab.damage(&members[1], sectors(3..4));
    lab.quorum_img(["check", "--missing-ok", "missing.img"]).args(&members).exits(2);
    lab.quorum_img(["check", "--missing-ok", "missing.img", "lost.img"]).exits(3);
}

/// One bad name hid what the others are.
#[test]
fn info_tells_of_each() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 2]);
    let run = lab.quorum_img(["info"]).arg(&members[0]).arg("missing.img").arg(&members[1]).exits(3);
    run.says("0.img").says("1.img").complains("missing.img");
}

/// Words that were wrong.
#[test]
fn words_say_what_is() {
    let lab = Lab::new();
    let members = files(&lab, &vec![noise(1, 1 << 20); 2]);
    lab.quorum_img(["compare"]).args(&members).exits(3).complains("check compares copies");
    for name in ["-", "cluster_size=64k"] {
        lab.quorum_img(["repair", "-o", name]).args(&members).exits(3).complains("hint:").complains("./");
        assert!(!lab.path(name).exists(), "{name}");
    }
    lab.quorum_img(["repair", "-o", "./-"]).args(&members).exits(0);
    let third = lab.file("2.img", noise(1, 1 << 20));
    lab.flip_bit(&third, 9);
    // What was left alone isn't composed of anything.
    lab.damage(&members[0], sectors(40..41));
    lab.damage(&members[1], sectors(40..41));
    let run = lab.quorum_img(["repair", "--in-place"]).args(&members).arg(&third).exits(2);
    run.says_nothing_of("composed");
}

//! The real thing: a file system with files, three damaged copies of it, and one sound image at the end.

use std::{path::Path, process::Command};

use super::{
    repair,
    support::{KIB, Lab, MIB, mounts::run, needs, noise},
};

/// The folders that are tried, in this order, for a few thousand real files.
const SOURCES: [&str; 3] = ["/usr/share/doc", "/usr/share/man", "/usr/share"];

fn sha256sum(file: &Path) -> String {
    run(Command::new("sha256sum").arg(file)).split_whitespace().next().expect("a digest").to_owned()
}

/// 300 MiB of ext4 with real files; three copies that went through what copies go through in years.
#[test]
fn a_file_system_of_300_mib_comes_back_whole() {
    if !needs("mke2fs") || !needs("e2fsck") || !needs("sha256sum") {
        return;
    }
    let lab = Lab::new();
    let source = SOURCES.into_iter().find(|source| Path::new(source).is_dir()).unwrap_or(env!("CARGO_MANIFEST_DIR"));
    // Small enough to fit, whatever lies there.
    let files = lab.path("files");
    run(Command::new("sh")
        .args(["-c", "mkdir $1 && find $0 -type f -size -128k -print0 | head -z -n 1500 | xargs -0 cp --parents -t $1", source])
        .arg(&files));
    let original = lab.path("original.img");
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-F", "-d"]).arg(&files).arg(&original).arg("300M"));
    let digest = sha256sum(&original);
    let members = ["first.img", "second.img", "third.img"].map(|name| {
        run(Command::new("cp").arg("--sparse=always").arg(&original).arg(lab.path(name)));
        lab.path(name)
    });
    let [first, second, third] = &members;

    // The superblock and the first group descriptors; a lost stretch; sectors flipped all over.
    lab.damage(first, 1024..3 * KIB);
    lab.write(first, 8 * MIB, &vec![0; 1 << 20]);
    for at in (20..290).step_by(7) {
        lab.flip_bit(first, at * MIB + 12_345);
    }
    // Inode tables; a block that was written to the wrong place; noise.
    lab.damage(second, 300 * KIB..340 * KIB);
    let misplaced = lab.read(second, 4 * MIB..4 * MIB + 4096);
    lab.write(second, 6 * MIB + 4096, &misplaced);
    lab.write(second, 64 * MIB, &noise(1, 100_000));
    // Cut off in the middle of a copy, and torn in a block that the first has damaged elsewhere.
    lab.damage(third, 3 * KIB..4 * KIB);
    lab.set_length(third, 290 * MIB + 1000);

    for member in &members {
        let check = Command::new("e2fsck").args(["-f", "-n"]).arg(member).output().expect("e2fsck runs");
        assert!(!check.status.success(), "the damage to {} must be one that a file system feels", member.display());
    }
    let output = lab.path("out.img");
    let repaired = repair(&lab, &output, &members).args(["--force", "zeros"]).exits(0);
    assert_eq!(sha256sum(&output), digest, "{repaired}");
    run(Command::new("e2fsck").args(["-f", "-n"]).arg(&output));
    let report = repaired.json();
    assert_eq!(report["size"], 300 * MIB, "{repaired}");
    assert_eq!(report["sectors"]["undecided"], 0, "{repaired}");
    let spared = lab.allocated(&original) + MIB;
    assert!(lab.allocated(&output) <= spared, "as sparse as the original: {} > {spared} bytes", lab.allocated(&output));
}

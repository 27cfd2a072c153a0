//! A file system with files, three damaged copies of it, repaired where they stand.

use std::{path::Path, process::Command};

use super::{
    Set, alone_with_loop_devices,
    support::{
        KIB, MIB,
        mounts::{Mounted, can_mount, run as shell},
        needs,
    },
};

/// The folders that are tried, in this order, for real files.
const SOURCES: [&str; 3] = ["/usr/share/doc", "/usr/share/man", "/usr/share"];

/// Where the first group's inode table begins: `  Inode table at 36-547 (+36)`.
fn inode_table(image: &Path) -> u64 {
    let told = shell(Command::new("dumpe2fs").arg(image));
    let number =
        told.split("Inode table at ").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok());
    number.expect("dumpe2fs names it") * 4096
}

fn sound(image: &Path) -> bool {
    Command::new("e2fsck").args(["-f", "-n"]).arg(image).output().expect("e2fsck runs").status.success()
}

#[test]
fn a_file_system_is_mended_where_it_stands() {
    let _alone = alone_with_loop_devices();
    if !["mke2fs", "e2fsck", "dumpe2fs", "diff"].into_iter().all(needs) {
        return;
    }
    let lab = super::support::Lab::new();
    let source = SOURCES.into_iter().find(|source| Path::new(source).is_dir()).unwrap_or(env!("CARGO_MANIFEST_DIR"));
    let files = lab.path("files");
    shell(
        Command::new("sh")
            .args(["-c", "mkdir $1 && find $0 -type f -size -64k -print0 | head -z -n 1000 | xargs -0 cp --parents -t $1", source])
            .arg(&files),
    );
    let image = lab.path("ext4.img");
    shell(Command::new("mke2fs").args(["-q", "-t", "ext4", "-b", "4096", "-F", "-d"]).arg(&files).arg(&image).arg("64M"));
    let original = lab.bytes(&image);
    let table = inode_table(&image);

    let set = Set::of(original.clone(), [original.clone(), original.clone(), original]);
    let [a, b, c] = &set.members;
    // The superblock and the group descriptors; inode tables; a lost stretch; and sectors all over, no two copies in the same one.
    set.lab.damage(a, KIB..6 * KIB);
    set.lab.damage(b, table..table + 24 * KIB);
    set.lab.write(c, table + 64 * KIB, &vec![0; 128 << 10]);
    for (index, member) in set.members.iter().enumerate() {
        for at in (2 * MIB..60 * MIB).step_by(96 << 10) {
            let sector = at + index as u64 * 8 * KIB;
            set.lab.damage(member, sector..sector + 512);
        }
        assert!(!sound(member), "the damage to {} must be one that a file system feels", member.display());
    }
    let set = Set { damaged: [a, b, c].map(|member| set.lab.bytes(member)), ..set };

    let run = set.repair().exits(0);
    set.assert_repaired(&run);
    for member in &set.members {
        shell(Command::new("e2fsck").args(["-f", "-n"]).arg(member));
    }
    if can_mount("a look at the mended files") {
        let mounted = Mounted::mount(set.lab.folder(), "mended", &["-t", "ext4", "-o", "loop,ro,noload"], &set.members[1]);
        shell(Command::new("diff").args(["-r", "-x", "lost+found"]).arg(&files).arg(mounted.path()));
    }
    let run = set.undo().exits(0);
    set.assert_as_before(&run);
}

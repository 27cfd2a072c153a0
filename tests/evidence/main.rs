//! What is read of a disk beside its ballots: of real file systems, in the states in which copies of disks are found. What is expected
//! was taken from the file systems' own tools (`testdata/evidence/README.md`).

#[path = "../support/mod.rs"]
mod support;

use quorum_img::{
    evidence::{Age, Ages, Known, find_file_system},
    member::Member,
};
use support::disks::{bytes, disk};

fn known(name: &str) -> Known {
    Known::of(&disk(name) as &dyn Member)
}

/// The ages, as kind, offset, counter and seconds.
fn ages(name: &str) -> Vec<(&'static str, u64, Option<u64>, Option<i64>)> {
    known(name).ages.iter().map(|part| (part.age.origin.kind, part.range.start, part.age.counter, part.age.seconds)).collect()
}

#[test]
fn ages_are_what_the_file_systems_own_tools_say() {
    let xfs = |cycle: u64, block: u64| Some(cycle << 32 | block);
    for (name, kind, start, counter, seconds) in [
        // The journal's next transaction, less one: what was played back. The superblock's time of writing.
        ("ext4-old", "ext4", 0, Some(3), Some(1_795_651_551)),
        ("ext4-new", "ext4", 0, Some(6), Some(1_795_651_554)),
        // The newest commit of a log that wasn't played back, which is later than the superblock.
        ("ext4-mounted", "ext4", 0, Some(9), Some(1_795_651_558)),
        ("ext4-mounted-sync", "ext4", 0, Some(11), Some(1_795_651_560)),
        // Without a checksum a superblock's time isn't believed.
        ("ext4-nocsum", "ext4", 0, Some(3), None),
        ("ext4-nocsum-new", "ext4", 0, Some(6), None),
        ("ext4-noextents", "ext4", 0, Some(3), Some(1_795_651_573)),
        ("ext4-groups", "ext4", 0, Some(3), Some(1_795_652_038)),
        ("ext4-disk-old", "ext4", 8 << 20, Some(3), Some(1_795_651_570)),
        ("ext4-disk-new", "ext4", 8 << 20, Some(6), Some(1_795_651_573)),
        // Cycle and block of the log's head.
        ("xfs-old", "xfs", 0, xfs(1, 14), None),
        ("xfs-new", "xfs", 0, xfs(1, 25), None),
        ("xfs-mounted", "xfs", 0, xfs(1, 35), None),
        ("xfs-cycles", "xfs", 0, xfs(5, 12), None),
        ("btrfs-old", "btrfs", 0, Some(7), None),
        ("btrfs-new", "btrfs", 0, Some(8), None),
        ("btrfs-xxhash", "btrfs", 0, Some(7), None),
        // Events, and the time of the last update.
        ("md-0.90-leg0", "md", 0, Some(18), Some(1_795_651_458)),
        ("md-1.0-leg0", "md", 0, Some(17), Some(1_795_651_461)),
        ("md-1.1-leg1", "md", 0, Some(15), Some(1_795_651_465)),
        ("md-1.2-leg0", "md", 0, Some(15), Some(1_795_651_468)),
        ("md-1.2-leg0-degraded", "md", 0, Some(24), Some(1_795_651_479)),
        ("md-1.2-leg1-stale", "md", 0, Some(15), Some(1_795_651_473)),
    ] {
        assert_eq!(ages(name), [(kind, start, counter, seconds)], "{name}");
    }
    for name in ["ext2-old", "jbd-external", "ntfs", "vfat", "swap", "luks2", "lvm-pv", "mbr-disk"] {
        assert_eq!(ages(name), [], "{name} doesn't tell");
    }
}

#[test]
fn the_later_one_is_the_newer_one() {
    for (older, newer) in [
        ("ext4-old", "ext4-new"),
        ("ext4-new", "ext4-mounted"),
        ("ext4-mounted", "ext4-mounted-sync"),
        ("ext4-nocsum", "ext4-nocsum-new"),
        ("ext4-disk-old", "ext4-disk-new"),
        ("xfs-old", "xfs-new"),
        ("xfs-new", "xfs-mounted"),
        ("xfs-mounted", "xfs-cycles"),
        ("btrfs-old", "btrfs-new"),
        ("md-1.2-leg1", "md-1.2-leg0-degraded"),
        // md counts back by one where an array only became clean: the time tells.
        ("md-1.2-leg1", "md-1.2-leg1-stale"),
    ] {
        let of = |name| known(name).ages;
        let ages = Ages::of(&[of(older), of(newer), of(older)]);
        let place = of(newer)[0].range.start + 4096;
        assert!(ages.is_newer(1, 0b101, place), "{newer} is newer than {older}");
        assert!(!ages.is_newer(0, 0b110, place) && !ages.is_newer(0, 0b010, place), "{older} isn't");
        assert!(ages.is_older(0, 0b010, place), "{older}");
    }
    let strange: Vec<Age> = ["ext4-old", "ext4-nocsum-new"].iter().map(|name| known(name).ages[0].age).collect();
    assert!(
        Ages::of(&[known("ext4-old").ages, known("ext4-nocsum-new").ages]).compared(0, 0b10, 4096).is_none(),
        "two file systems can't be compared: {strange:?}"
    );
}

#[test]
fn identities_are_what_the_tools_call_them() {
    for (name, expected) in [
        ("ext4-old", &["ext4 d45714aa-86a2-4b63-81fe-b0147ea4e788"][..]),
        ("xfs-old", &["xfs 75ec22ae-fabf-44a1-a219-ea80300178a3"]),
        ("btrfs-old", &["btrfs 420370b2-8816-4ed7-b88a-bb4acfacd428"]),
        ("md-1.2-leg0", &["md 1cba07b2-6ec0-b1af-dab8-281caf471ec7"]),
        ("md-1.0-leg1", &["md 74a167f1-da31-bcb8-1d01-0da0487ec352"]),
        ("lvm-pv", &["LVM iO1l82tvTXvg3rwhhCOYYXmDdO2l6UnN"]),
        ("luks1", &["LUKS cf4365fd-da12-4a59-b709-6c94ecdb8d49"]),
        ("luks2", &["LUKS d2f978ba-f1df-4793-a5f5-c50d4389f26c"]),
        ("swap", &["swap 465b6561-f555-4c6f-a57f-421fc198d7b8"]),
        ("swap-suspend", &["swap 465b6561-f555-4c6f-a57f-421fc198d7b8"]),
        ("ntfs", &["NTFS 61ef3c450ded9a2c"]),
        ("vfat", &["FAT 7ae60aac"]),
        ("exfat", &["exFAT 7bbf77ae"]),
        ("mbr-disk", &["MBR feedc0de"]),
    ] {
        let ids: Vec<String> = known(name).ids.iter().map(quorum_img::evidence::Id::described).collect();
        assert_eq!(ids, expected, "{name}");
    }
    let ids: Vec<String> = known("ext4-disk-old").ids.iter().map(quorum_img::evidence::Id::described).collect();
    assert!(ids.contains(&"GPT db98d722-6ace-9e4a-aeab-6b6d2b948441".to_owned()), "{ids:?}");
    assert!(ids.contains(&"FAT 7f255255".to_owned()) && ids.contains(&"ext4 2e702ef6-c5ce-476f-b31b-4bcae69e5665".to_owned()), "{ids:?}");
    assert_eq!(ids.iter().filter(|id| id.starts_with("partition ")).count(), 2, "{ids:?}");
}

/// Where each leg keeps what is its own, and that both are legs of one array.
#[test]
fn legs_of_arrays_are_known() {
    for (version, offset) in [("0.90", 8_323_072), ("1.0", 8_380_416), ("1.1", 0), ("1.2", 4096)] {
        let legs: Vec<_> = [0, 1].iter().map(|leg| known(&format!("md-{version}-leg{leg}")).device_metadata).collect();
        let [[first], [second]] = [&legs[0][..], &legs[1][..]] else { panic!("{version}: {legs:?}") };
        assert_eq!((first.version, second.version), (version, version));
        assert_eq!(first.array, second.array, "{version}");
        assert_ne!(first.device, second.device, "{version}");
        assert_eq!((first.role, second.role), (0, 1), "{version}");
        assert!(first.ranges.iter().any(|range| (range.start..range.end).contains(&offset)), "{version}: {:?}", first.ranges);
    }
}

/// One flipped bit anywhere in a superblock that has a checksum: it says nothing more, rather than something wrong.
#[test]
fn what_has_a_wrong_checksum_says_nothing() {
    for (name, superblock) in
        [("ext4-new", 1024), ("xfs-new", 0), ("btrfs-new", 65536), ("md-1.2-leg0", 4096), ("luks2", 0), ("lvm-pv", 512)]
    {
        let bytes = bytes(name);
        for at in [40, 33, 168, 200] {
            let mut bent = bytes.clone();
            bent[superblock + at] ^= 4;
            let said = Known::of(&bent[..]);
            assert!(said.ages.is_empty() && said.ids.is_empty(), "{name}, byte {at}: {:?} {:?}", said.ages, said.ids);
        }
    }
}

/// Arbitrary bytes where structures are looked for: nothing crashes, hangs or reads without an end.
#[test]
fn damaged_disks_are_looked_at_without_harm() {
    for name in ["ext4-mounted", "ext4-nocsum-new", "ext4-noextents", "xfs-cycles", "btrfs-new", "md-1.0-leg0", "luks2", "ext4-disk-new"] {
        let bytes = bytes(name);
        for seed in 0..40 {
            let mut bent = bytes.clone();
            for word in support::noise(seed, 8 * 400).chunks_exact(8) {
                // Mostly where structures are: in the first MiB, and where the journal begins.
                let number = u64::from_le_bytes(word.try_into().expect("8 bytes"));
                let limit = if number & 1 == 0 { 65536 } else { bent.len() as u64 };
                let at = usize::try_from((number >> 8) % limit).expect("within");
                bent[at] = number as u8;
            }
            let _ = Known::of(&bent[..]);
            let _ = find_file_system(&bent[..], 0);
        }
        for end in [0, 1, 511, 512, 1023, 1024, 2047, 2048, 4096, 65536, 70000] {
            let _ = Known::of(&bytes[..end]);
        }
    }
}

/// What `blkid -p` calls them.
#[test]
fn file_systems_are_called_as_blkid_calls_them() {
    for (name, kind) in [
        ("ext4-old", "ext4"),
        ("ext4-noextents", "ext4"),
        ("ext2-old", "ext2"),
        ("jbd-external", "jbd"),
        ("xfs-old", "xfs"),
        ("btrfs-old", "btrfs"),
        ("udf-bridge", "udf"),
        ("udf-pure", "udf"),
        ("swap", "swap"),
        ("swap-suspend", "swsuspend"),
        ("ntfs", "ntfs"),
        ("vfat", "vfat"),
        ("exfat", "exfat"),
        ("luks1", "crypto_LUKS"),
        ("lvm-pv", "LVM2_member"),
    ] {
        assert_eq!(find_file_system(&bytes(name)[..], 0).map(|found| found.kind), Some(kind), "{name}");
    }
}

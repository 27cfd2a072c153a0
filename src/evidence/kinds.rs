//! What kinds evidence speaks of, read back from a report as what they are.

use serde::{Deserialize, Deserializer, de::Error as _};

/// A kind of something, from a list.
pub type Kind = &'static str;

/// All of them, wherever they stand: identities, ages, partition tables, versions of superblocks.
const KINDS: &[Kind] = &[
    "GPT",
    "MBR",
    "partition",
    "ext4",
    "xfs",
    "btrfs",
    "md",
    "LUKS",
    "LVM",
    "swap",
    "NTFS",
    "exFAT",
    "FAT",
    "gpt",
    "mbr",
    "0.90",
    "1.0",
    "1.1",
    "1.2",
];

/// One of them.
///
/// # Errors
/// Where this version doesn't know it.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = KINDS.iter().find(|kind| **kind == text).copied();
    found.ok_or_else(|| D::Error::custom(format!("evidence of a kind that this version doesn't know: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::KINDS;

    /// Whatever evidence can name is in the list: else a report that was written couldn't be read.
    #[test]
    fn no_kind_is_missing() {
        let sources = [
            include_str!("known.rs"),
            include_str!("partitions.rs"),
            include_str!("systems/btrfs.rs"),
            include_str!("systems/ext4.rs"),
            include_str!("systems/md.rs"),
            include_str!("systems/others.rs"),
            include_str!("systems/xfs.rs"),
        ];
        let mut found = 0;
        for source in sources {
            let named = source.split("kind: \"").skip(1).chain(source.split("=> id(\"").skip(1));
            for kind in named.filter_map(|rest| rest.split('"').next()) {
                assert!(KINDS.contains(&kind), "{kind}");
                found += 1;
            }
        }
        assert!(found > 12, "{found}");
    }
}

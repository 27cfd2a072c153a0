//! Counted things in words.

/// "1 sector", "2 sectors".
pub(super) fn sectors(count: u64) -> String {
    format!("{count} sector{}", if count == 1 { "" } else { "s" })
}

/// "1 block of 4 KiB was", "2 blocks of 4 KiB were".
pub(super) fn blocks(count: u64) -> String {
    format!("{count} block{} of 4 KiB {}", if count == 1 { "" } else { "s" }, if count == 1 { "was" } else { "were" })
}

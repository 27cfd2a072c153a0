//! Words that reports have from a list, read back as what they are.

use serde::{Deserialize, Deserializer};

/// A word that reports have from a list.
pub type Word = &'static str;

/// All of them, wherever they stand.
const WORDS: &[Word] = &[
    "check",
    "repair",
    "show",
    "raw",
    "qcow2",
    "nbd",
    "cache",
    "medium",
    "server",
    "l1",
    "l2",
    "data",
    "backing",
    "data-file",
    "clone",
    "stream",
    "fail",
    "first",
    "zero",
    "marker",
    "bytes",
    "refused",
    "told",
    "ignored",
    "minority",
    "size",
    "newer",
    "zeros",
    "empty",
    "cuts",
    "stale",
    "stranger",
    "device-metadata",
    "shared",
    "old-witness",
    "digest",
    "blake3",
    "xxh3",
    "overwrite",
    "device",
    "space",
    "changed",
    "no-locks",
    "bitmaps",
    "image",
    "zeroed",
    "ones",
    "filled",
    "bit-flips",
    "shifted",
    "same-sum",
    "noise",
    "over-zeros",
    "misplaced",
    "other",
];

/// What stands for a word that this version doesn't know.
const UNKNOWN: Word = "unknown";

fn word(text: &str) -> Word {
    WORDS.iter().find(|word| **word == text).copied().unwrap_or(if text.is_empty() { "" } else { UNKNOWN })
}

pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    Ok(word(&String::deserialize(deserializer)?))
}

pub(super) fn known_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Word>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(|text| word(&text)))
}

//! Why a digest is of no use.

use std::io;

use crate::member::MemberName;

/// Why a digest is of no use; what is damaged in one place only is no error, but unknown there.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// It can't be read.
    #[error("{digest}: can't be read: {error}\nhint: name a file that quorum-img digest wrote")]
    Io {
        /// Which.
        digest: MemberName,
        /// The system's word.
        error: io::Error,
    },
    /// It begins otherwise.
    #[error("{digest}: is no digest\nhint: name a file that quorum-img digest wrote")]
    NoDigest {
        /// Which.
        digest: MemberName,
    },
    /// Made by a later program.
    #[error(
        "{digest}: has version {version}, and this program reads {}\nhint: use the program that made it, or make a new one",
        super::VERSION
    )]
    Version {
        /// Which.
        digest: MemberName,
        /// Its version.
        version: u32,
    },
    /// Its header can't be relied on.
    #[error("{digest}: its header is damaged: {what}\nhint: take another copy of it, or make a new one")]
    Damaged {
        /// Which.
        digest: MemberName,
        /// In words.
        what: String,
    },
    /// Its file ends before it does.
    #[error("{digest}: is cut off: {has} of {wanted} bytes\nhint: take another copy of it, or make a new one")]
    CutOff {
        /// Which.
        digest: MemberName,
        /// Bytes there are.
        has: u64,
        /// Bytes there should be.
        wanted: u64,
    },
    /// Parts that don't belong together.
    #[error("{digest}: is no part of the same as {other}: {what}\nhint: make both of the same members with the same options")]
    Other {
        /// The later one.
        digest: MemberName,
        /// The first.
        other: MemberName,
        /// In words.
        what: String,
    },
    /// Two say different things of one place.
    #[error(
        "{digest}: contradicts {other} at offset {offset:#x}, though both are of the same members\nhint: something was written meanwhile, or a read went wrong: make both anew"
    )]
    Contradiction {
        /// The later one.
        digest: MemberName,
        /// The first.
        other: MemberName,
        /// Where in the image, in bytes.
        offset: u64,
    },
    /// Nobody knows what stands somewhere.
    #[error("{digest}: doesn't know what stands at offset {offset:#x}, so there is no hash of the whole\nhint: {hint}")]
    Unknown {
        /// Which.
        digest: MemberName,
        /// Where in the image, in bytes.
        offset: u64,
        /// The way out.
        hint: &'static str,
    },
    /// Its values don't merge.
    #[error("{digest}: is made of xxh3's values, which don't merge to a hash of the whole\nhint: make one with --hash blake3")]
    NoRoot {
        /// Which.
        digest: MemberName,
    },
}

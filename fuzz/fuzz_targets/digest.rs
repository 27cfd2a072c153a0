//! Digests that anybody made: opened, read here and there, merged with themselves, and heard beside two small members.
//!
//! The first byte says whether checksums are mended, so that what lies behind them is reached.

#![no_main]

use std::{io::Write as _, path::Path};

use libfuzzer_sys::fuzz_target;
use quorum_img::{
    digest::{DigestFile, Entry, mended, merge},
    member::MemberName,
};

/// Chunks that are asked for.
const ASKED: u64 = 200;

fn opened(bytes: &[u8]) -> Option<DigestFile> {
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(bytes).ok()?;
    DigestFile::open(MemberName::from(Path::new("digest")), file).ok()
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let bytes = if first & 1 == 1 { mended(rest) } else { rest.to_vec() };
    let Some(digest) = opened(&bytes) else { return };
    let chunks = digest.geometry().chunks();
    let mut cursor = digest.cursor();
    for step in 0..ASKED {
        let chunk = (chunks / ASKED).saturating_mul(step);
        let said = cursor.at(chunk);
        assert!(said.count > 0);
        // What is said of a chunk doesn't depend on what was asked before.
        assert_eq!(digest.cursor().at(chunk).entry, said.entry);
        assert!(!matches!(said.entry, Entry::Value(_)) || said.count == 1);
    }
    let _ = digest.damage();
    if let (true, Some(other)) = (chunks < 1 << 20, opened(&bytes)) {
        let to = tempfile::tempfile().expect("a temporary file");
        let _ = merge(&[digest, other], &to);
    }
});

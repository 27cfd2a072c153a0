//! An image's bytes read by the library, and by the naive reader: they must read alike.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use quorum_img::member::{
    Cache, Extent, Image, MemberName, RawMember, ReadError, Readable,
    qcow2::{Caches, Opening, Qcow2Member, References, read_header},
};

use super::naive_qcow2;

/// Disks that are read, in sectors at most.
pub const SECTORS_MAX: u64 = 8192;

/// A header for a disk of 1 MiB, with `rest` as all that follows its cluster; `kind` chooses version, compression and entries.
pub fn with_header(kind: u8, bits: u8, rest: &[u8]) -> Vec<u8> {
    let extended = kind & 4 != 0;
    let bits = if extended { 14 + u32::from(bits % 3) } else { 9 + u32::from(bits % 8) };
    let (v3, zstd) = (kind & 1 != 0 || extended, kind & 2 != 0);
    let mut bytes = vec![0; 1 << bits];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"QFI\xfb");
    put(4, &if v3 { 3u32 } else { 2 }.to_be_bytes());
    put(20, &bits.to_be_bytes());
    put(24, &(1u64 << 20).to_be_bytes());
    put(36, &64u32.to_be_bytes());
    put(40, &(1u64 << bits).to_be_bytes());
    if v3 {
        let features = if zstd { 8u64 } else { 0 } | if extended { 16 } else { 0 };
        put(72, &features.to_be_bytes());
        put(96, &4u32.to_be_bytes());
        put(100, &112u32.to_be_bytes());
        put(104, &[u8::from(zstd)]);
    }
    bytes.extend(rest);
    bytes
}

/// Reads the image both ways.
///
/// # Panics
/// Where they differ.
pub fn compare(file: &File, bytes: &[u8]) {
    file.set_len(0).expect("it can be cut");
    file.write_all_at(bytes, 0).expect("it can be written");
    let expected = naive_qcow2::read(bytes, SECTORS_MAX);
    let copy = file.try_clone().expect("a descriptor");
    let raw = RawMember::of_file(MemberName::from(Path::new("image")), Path::new("image"), copy, Cache::Writeback).expect("it opens");
    let Ok(header) = read_header(&raw) else {
        assert!(expected.is_none(), "refused, and the naive reader reads it");
        return;
    };
    if header.external_data || header.backing.is_some() {
        return; // other files are no matter of the naive reader's
    }
    let caches = Arc::new(Caches::new(1 << 20, 1 << 20));
    let opening = Opening { cache: Cache::Writeback, references: References::Refused, snapshot: None, caches: &caches };
    let Ok((member, _)) = Qcow2Member::open(raw, header, false, &opening) else {
        assert!(expected.is_none(), "refused, and the naive reader reads it");
        return;
    };
    if member.size() > SECTORS_MAX * 512 {
        return;
    }
    let expected = expected.expect("the naive reader refuses it");
    assert_eq!(member.size(), expected.len() as u64 * 512);
    let _ = member.room_for(8, &|| false);
    let mut zero_to = 0;
    for (sector, expected) in (0u64..).zip(&expected) {
        let at = sector * 512;
        let mut found = [0xaa; 512];
        match (member.read(at, &mut found, &mut None), expected) {
            (Ok(()), Some(bytes)) => assert!(found == *bytes, "other bytes at {at:#x}"),
            (Err(ReadError::Medium(_)), None) => {}
            (Ok(()), None) => panic!("made up at {at:#x}"),
            (Err(error), _) => panic!("{error:?} at {at:#x}, and it should be {}", if expected.is_some() { "read" } else { "lost" }),
        }
        if at >= zero_to
            && let Ok(Extent::Zero(end)) = member.extent(at)
        {
            zero_to = end;
        }
        assert!(at >= zero_to || *expected == Some([0; 512]), "no zeros at {at:#x}");
        let _ = member.owned(at);
    }
    // And in one go, which takes other ways.
    if expected.iter().all(Option::is_some) && member.size() > 0 {
        let mut all = vec![0xaa; member.size() as usize];
        member.read(0, &mut all, &mut None).expect("each of its sectors can be read");
        assert!(all.chunks(512).zip(&expected).all(|(found, expected)| Some(found) == expected.as_ref().map(|bytes| &bytes[..])));
    }
}

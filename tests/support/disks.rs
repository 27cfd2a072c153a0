//! The real disks of `testdata/evidence`.

use std::sync::Arc;

use quorum_img::member::{
    Cache, MemberName, RawMember, Readable as _,
    qcow2::{Caches, Opening, Qcow2Member, References, read_header},
};

use super::testdata;

/// The disk of that name, opened.
pub fn disk(name: &str) -> Qcow2Member {
    let path = testdata(&format!("evidence/{name}.qcow2"));
    let file = RawMember::open(MemberName::from(path.as_path()), &path, Cache::Writeback).expect("it opens");
    let header = read_header(&file).expect("a header");
    let caches = Arc::new(Caches::new(1 << 20, 1 << 20));
    let opening = Opening { cache: Cache::Writeback, references: References::Refused, snapshot: None, caches: &caches };
    Qcow2Member::open(file, header, false, &opening).expect("it opens").0
}

/// What a guest sees of it.
pub fn bytes(name: &str) -> Vec<u8> {
    let disk = disk(name);
    let mut bytes = vec![0; usize::try_from(disk.size()).expect("a small disk")];
    disk.read(0, &mut bytes, &mut None).expect("it can be read");
    bytes
}

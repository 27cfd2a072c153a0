//! What is put into an image in any order and in any pieces is what is read from it, and its books are right.

use std::{fs::File, path::Path, sync::Arc};

use proptest::{collection::vec, prelude::*};

use super::{Compat, Options, Qcow2Image};
use crate::{
    member::{
        Cache, MemberName, RawMember, Readable,
        qcow2::{Caches, Compression, Opening, Qcow2Member, References, read_header},
    },
    sys::storage::Storage,
};

fn options() -> impl Strategy<Value = Options> {
    let compression = prop_oneof![Just(Compression::Zlib), Just(Compression::Zstd)];
    (9u32..=13, any::<bool>(), compression, any::<bool>()).prop_map(|(cluster_bits, old, compression, compressed)| {
        let compat = if old && compression == Compression::Zlib { Compat::V2 } else { Compat::V3 };
        Options { cluster_bits, compat, compression, compressed }
    })
}

/// Bytes for some sectors: noise, text, or zeros.
fn content(kind: u8, seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    match kind {
        0 => noise.take(length).collect(),
        1 => (0..length).map(|i| (i / 50) as u8 ^ seed as u8).collect(),
        _ => vec![0; length],
    }
}

/// Every cluster's count, from the tables; the specification's "Host cluster management", read naively.
fn count_uses(bytes: &[u8]) -> Vec<u16> {
    let u64_at = |at: u64| u64::from_be_bytes(bytes[at as usize..at as usize + 8].try_into().expect("eight bytes"));
    let u32_at = |at: u64| u64::from(u32::from_be_bytes(bytes[at as usize..at as usize + 4].try_into().expect("four bytes")));
    let bits = u32_at(20);
    let cluster = 1 << bits;
    let mut uses = vec![0; (bytes.len() as u64 / cluster) as usize];
    let mut meet = |from: u64, length: u64| (from / cluster..(from + length).div_ceil(cluster)).for_each(|at| uses[at as usize] += 1);
    meet(0, cluster);
    let (l1, l1_entries, counts, count_clusters) = (u64_at(40), u32_at(36), u64_at(48), u32_at(56));
    meet(l1, l1_entries * 8);
    meet(counts, count_clusters * cluster);
    for block in (0..count_clusters * cluster / 8).map(|at| u64_at(counts + at * 8)).filter(|&block| block != 0) {
        meet(block, cluster);
    }
    for table in (0..l1_entries).map(|at| u64_at(l1 + at * 8) & 0x00ff_ffff_ffff_fe00).filter(|&table| table != 0) {
        meet(table, cluster);
        for entry in (0..cluster / 8).map(|at| u64_at(table + at * 8)) {
            if entry >> 62 & 1 == 1 {
                let shift = 62 - (bits - 8);
                let (at, further) = (entry & ((1 << shift) - 1), entry >> shift & ((1 << (bits - 8)) - 1));
                meet(at / 512 * 512, (further + 1) * 512);
            } else if entry != 0 {
                meet(entry & 0x00ff_ffff_ffff_fe00, cluster);
            }
        }
    }
    uses
}

/// The counts as the image has them.
fn counted(bytes: &[u8]) -> Vec<u16> {
    let u64_at = |at: u64| u64::from_be_bytes(bytes[at as usize..at as usize + 8].try_into().expect("eight bytes"));
    let cluster = 1u64 << bytes[23];
    let counts = u64_at(48);
    (0..bytes.len() as u64 / cluster)
        .map(|at| {
            let block = u64_at(counts + at / (cluster / 2) * 8);
            let place = (block + at % (cluster / 2) * 2) as usize;
            u16::from_be_bytes([bytes[place], bytes[place + 1]])
        })
        .collect()
}

fn open(file: &File) -> Qcow2Member {
    let file = file.try_clone().expect("a descriptor");
    let raw = RawMember::of_file(MemberName::from(Path::new("new")), Path::new("new"), file, Cache::Writeback).expect("it opens");
    let header = read_header(&raw).expect("a header");
    let caches = Arc::new(Caches::new(1 << 20, 1 << 20));
    let opening = Opening { cache: Cache::Writeback, references: References::Refused, snapshot: None, caches: &caches };
    Qcow2Member::open(raw, header, false, &opening).expect("it opens").0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(200), ..ProptestConfig::default() })]

    #[test]
    fn images_hold_what_was_put_into_them(
        options in options(),
        sectors in 1u64..2000,
        cuts in vec((1u64..60, 0u8..3, any::<u64>()), 1..80),
        order in any::<prop::sample::Index>(),
        assembly_bytes_max in prop_oneof![Just(0), Just(20_000), Just(1 << 25)],
        threads in 1usize..5,
        sparse in prop_oneof![Just(0u64), Just(512), Just(4096)],
    ) {
        let size = sectors * 512;
        let file = tempfile::tempfile().expect("a temporary file");
        let mut image = Qcow2Image::new(&file, options, size).expect("the options go together");
        image.assembly_bytes_max = assembly_bytes_max;
        let mut expected = vec![0; size as usize];
        let mut pieces = Vec::new();
        let mut at = 0;
        for (count, kind, seed) in cuts {
            let end = (at + count * 512).min(size);
            if at < end && kind < 2 {
                let bytes = content(kind, seed, (end - at) as usize);
                expected[at as usize..end as usize].copy_from_slice(&bytes);
                pieces.push((at, bytes));
            }
            at = end;
        }
        // Another order: from somewhere in the middle on, and every other one first.
        if !pieces.is_empty() {
            let by = order.index(pieces.len());
            pieces.rotate_left(by);
            let (even, odd): (Vec<_>, Vec<_>) = pieces.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
            let all: Vec<_> = even.into_iter().chain(odd).map(|(_, piece)| piece).collect();
            let image = &image;
            std::thread::scope(|scope| {
                for first in 0..threads {
                    let own = all.iter().skip(first).step_by(threads);
                    scope.spawn(move || own.for_each(|(at, bytes)| image.put(*at, bytes, sparse).expect("it takes them")));
                }
            });
        }
        image.finish().expect("it ends");

        let mut bytes = vec![0; file.length().expect("a length") as usize];
        Storage::read(&file, 0, &mut bytes).expect("it can be read");
        prop_assert_eq!(bytes.len() as u64 % options.cluster_bytes(), 0);
        let (uses, counts) = (count_uses(&bytes), counted(&bytes));
        prop_assert_eq!(&uses, &counts);
        let member = open(&file);
        prop_assert_eq!(member.size(), size);
        let mut found = vec![0xaa; size as usize];
        member.read(0, &mut found, &mut None).expect("it can be read");
        prop_assert!(found == expected, "other bytes");
    }
}

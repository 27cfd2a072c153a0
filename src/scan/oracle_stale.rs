//! The engine against the naive reading where members differ by long stretches: an old copy, or another disk.

use std::path::Path;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::oracle::{Memory, as_files, compare, expected, fill, image, rules};
use crate::member::{Member, MemberName};

/// Stretches that are stale, from one place to another and by what; places that differ beside that; and what it lacks at its end.
type OneMember = (Vec<(Index, Index, u8)>, Vec<(Index, usize, u8)>, Option<usize>);

/// Members of some MiB that hold a common image, and over long parts of it another one.
fn stale_members() -> impl Strategy<Value = Vec<Memory>> {
    let at = any::<Index>;
    let stale = (at(), at(), 1u8..4);
    let change = (at(), 1usize..40, 0u8..4);
    let one = (vec(stale, 0..3), vec(change, 0..4), prop::option::weighted(0.2, 0usize..300_000));
    (vec((1u8..4, 100usize..1500), 3..9), vec(one, 2..6)).prop_map(|(runs, ones)| {
        let common: Vec<u8> = runs.iter().flat_map(|&(kind, count)| vec![kind; count]).collect();
        let member = |(index, (stale, changes, cut)): (usize, OneMember)| {
            let mut kinds = common.clone();
            for (one, other, by) in stale {
                let (one, other) = (one.index(kinds.len()), other.index(kinds.len()));
                kinds[one.min(other)..one.max(other)]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, kind)| *kind = 4 + (*kind + by + (at % 3) as u8) % 5);
            }
            for (at, count, kind) in changes {
                let at = at.index(kinds.len());
                let end = (at + count).min(kinds.len());
                kinds[at..end].fill(kind);
            }
            Memory {
                name: MemberName::from(Path::new(&index.to_string())),
                bytes: image(&kinds, cut.unwrap_or(0)),
                unreadable: Vec::new(),
                unstable: Vec::new(),
                fails: false,
            }
        };
        ones.into_iter().enumerate().map(member).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), ..ProptestConfig::default() })]

    #[test]
    fn agrees_where_much_differs(members in stale_members(), rules in rules(2), fill in fill(), threads in 1usize..3, how in 0u8..4) {
        let folder = tempfile::tempdir().expect("a folder");
        let size = members.iter().map(|member| member.bytes.len()).max().unwrap_or(0);
        let expected = expected(&members, size, &rules, fill, 2);
        if how == 0 {
            let listed: Vec<&dyn Member> = members.iter().map(|member| member as &dyn Member).collect();
            compare(&listed, size, &rules, fill, 2, threads, &expected);
        } else {
            let files = as_files(&members, folder.path(), how == 1);
            // Some of them are mapped and others read, as they turn out to be better.
            let either = |(index, file)| if how == 3 && index % 2 == 1 { &members[index] as &dyn Member } else { file as &dyn Member };
            let listed: Vec<&dyn Member> = files.iter().enumerate().map(either).collect();
            compare(&listed, size, &rules, fill, 2, threads, &expected);
        }
    }
}

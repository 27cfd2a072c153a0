//! The engine against the naive reading where only short ranges are looked at, many of which are given out together, and where members answer
//! otherwise only once.

use std::{collections::BTreeSet, sync::Mutex};

use proptest::{collection::vec, prelude::*};

use super::{
    Job,
    oracle::{Fated, Memory, SECTOR, expected, members, plain},
    scan,
};
use crate::{
    member::{Member, MemberName, ReadError},
    vote::{ByteRange, Fill, Fillers, Rule, Rules, Run},
};

/// A copy whose second readings go wrong, and then end, beside one that is nothing but a hole: when the window is gone through once more all of it
/// is one stretch in which nobody is read.
#[test]
fn a_member_that_fails_when_it_is_asked_again() {
    let name = |name: &str| MemberName::from(std::path::Path::new(name));
    let memory = |who: &str, byte: u8| Memory {
        name: name(who),
        bytes: vec![byte; 8 << 20],
        unreadable: Vec::new(),
        unstable: Vec::new(),
        fails: false,
    };
    let (sound, hole) = (memory("ailing", 7), memory("hole", 0));
    let anew = |offset, bytes: &mut [u8]| {
        if offset > 0 {
            return Err(ReadError::Member(std::io::Error::from_raw_os_error(libc::EIO)));
        }
        bytes[0] ^= 1;
        Ok(())
    };
    let ailing = Fated { member: &sound, read: &|_, _| Ok(()), anew: &anew };
    let listed: [&dyn Member; 2] = [&ailing, &hole];
    let (ranges, rules, fillers) = ([ByteRange::new(0, 8 << 20)], Rules::new(Rule::Threshold(2)), Fillers::default());
    let job = Job { confirmed_bytes: 64 << 20, ..plain(&listed, 8 << 20, &ranges, &rules, &fillers) };
    let outcome = scan(&job, &mut |_| Ok(())).expect("nothing is written");
    assert!(outcome.complete && outcome.failures[0].is_some() && outcome.failures[1].is_none());
    assert_eq!(outcome.tally.undecided, (8 << 20) / SECTOR as u64, "one hole alone decides nothing");
}

/// Ranges of a few sectors, apart from each other.
fn ranges() -> impl Strategy<Value = Vec<ByteRange>> {
    let range = (1u64..9, 1u64..5);
    vec(range, 1..150).prop_map(|ranges| {
        let mut at = 0;
        let sectors = |(gap, count): (u64, u64)| {
            let start = at + gap;
            at = start + count;
            ByteRange::new(start * SECTOR as u64, at * SECTOR as u64)
        };
        ranges.into_iter().map(sectors).collect()
    })
}

proptest! {
    #[test]
    fn agrees_on_short_ranges(members in members(), ranges in ranges(), threads in 1usize..4, once in any::<bool>()) {
        let members: Vec<Memory> = members.into_iter().map(|member| Memory { fails: false, ..member }).collect();
        let size = members.iter().map(|member| member.bytes.len()).max().unwrap_or(0);
        let inside = |range: ByteRange| range.and(ByteRange::new(0, size as u64));
        let ranges: Vec<ByteRange> = ranges.into_iter().filter_map(inside).collect();
        let (rules, fillers) = (Rules::new(Rule::Threshold(2)), Fillers::default());
        let all = expected(&members, size, &rules, Fill::Fail, 2).runs;
        let parts = |range: &ByteRange| {
            let range = *range;
            all.iter().filter_map(move |run| Some(Run { range: run.range.and(range)?, ..*run })).collect::<Vec<_>>()
        };
        let expected: Vec<Run> = ranges.iter().flat_map(parts).collect();

        // Each answers otherwise once for each of its sectors that are called so: who asks a third time hears nothing of it.
        let once_only = |member: &Memory| {
            let still: Mutex<BTreeSet<usize>> = Mutex::new(member.unstable.iter().copied().collect());
            move |offset: u64, bytes: &mut [u8]| {
                still.lock().expect("no panics").retain(|sector| {
                    let flipped = (sector * SECTOR + 77).checked_sub(offset as usize).and_then(|at| bytes.get_mut(at));
                    flipped.map(|byte| *byte ^= 4).is_none()
                });
                Ok(())
            }
        };
        let fates: Vec<_> = members.iter().map(once_only).collect();
        let flaky: Vec<Fated> =
            members.iter().zip(&fates).map(|(member, anew)| Fated { member, read: &|_, _| Ok(()), anew }).collect();
        let listed: Vec<&dyn Member> =
            if once { flaky.iter().map(|it| it as &dyn Member).collect() } else { members.iter().map(|it| it as &dyn Member).collect() };
        let job = Job { threads, ..plain(&listed, size as u64, &ranges, &rules, &fillers) };
        let mut runs = Vec::new();
        let outcome = scan(&job, &mut |run| {
            runs.push(*run);
            Ok(())
        })
        .expect("nothing fails here");
        prop_assert_eq!(runs, expected);
        prop_assert!(outcome.complete);
        prop_assert_eq!(outcome.scanned_bytes, ranges.iter().map(|range| range.length()).sum::<u64>());
    }
}

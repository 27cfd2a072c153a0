//! Which parts of an image are due, and in what order. Pure.

use std::collections::HashMap;

use super::record::PartRow;
use crate::vote::ByteRange;

/// The parts that a run is to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Its number: a pass is over when all parts were checked in it.
    pub number: i64,
    /// Parts that are due, each with its number: the one that was checked longest ago first.
    pub due: Vec<(u64, ByteRange)>,
    /// How many parts there are.
    pub parts: u64,
}

/// The parts of an image of `size` bytes in parts of `bytes`.
pub fn parts_of(size: u64, bytes: u64) -> impl Iterator<Item = (u64, ByteRange)> {
    (0..size.div_ceil(bytes)).map(move |number| {
        let start = number * bytes;
        (number, ByteRange::new(start, start.saturating_add(bytes).min(size)))
    })
}

impl Pass {
    /// Goes on with pass `number`, or begins the next one where nothing of it is left or a new one is wanted (`restart`).
    #[must_use]
    pub fn plan(known: &[PartRow], size: u64, bytes: u64, number: i64, restart: bool) -> Self {
        let parts = size.div_ceil(bytes);
        let rows: HashMap<u64, &PartRow> = known.iter().map(|row| (row.number, row)).collect();
        let of_pass = |number: i64| {
            let mut due: Vec<(i64, u64, ByteRange)> = parts_of(size, bytes)
                .filter_map(|(part, range)| {
                    let last = rows.get(&part).filter(|row| row.range == range);
                    match last {
                        Some(last) if last.pass == number => None,
                        Some(last) => Some((last.checked, part, range)),
                        None => Some((i64::MIN, part, range)),
                    }
                })
                .collect();
            due.sort_unstable();
            due.into_iter().map(|(_, part, range)| (part, range)).collect::<Vec<_>>()
        };
        let due = of_pass(number);
        // A pass of which nothing was done yet isn't begun anew.
        let begun = known.iter().any(|row| row.pass == number);
        if due.is_empty() || (restart && begun) {
            let next = number.wrapping_add(1);
            return Self { number: next, due: of_pass(next), parts };
        }
        Self { number, due, parts }
    }

    /// Parts of this pass that are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.parts - self.due.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Pass, parts_of};
    use crate::{set::record::PartRow, vote::ByteRange};
    use proptest::prelude::*;

    fn row(number: u64, bytes: u64, size: u64, pass: i64, checked: i64) -> PartRow {
        let range = ByteRange::new(number * bytes, ((number + 1) * bytes).min(size));
        PartRow { number, range, checked, pass, undecided: 0, digest: None, members: Vec::new() }
    }

    #[test]
    fn the_oldest_comes_first_and_a_pass_goes_on() {
        let known = [row(0, 10, 35, 4, 50), row(1, 10, 35, 5, 70), row(2, 10, 35, 4, 40)];
        let order = |pass: &Pass| pass.due.iter().map(|(part, _)| *part).collect::<Vec<_>>();
        let pass = Pass::plan(&known, 35, 10, 5, false);
        assert_eq!((pass.number, order(&pass), pass.done(), pass.parts), (5, vec![3, 2, 0], 1, 4));
        let restarted = Pass::plan(&known, 35, 10, 5, true);
        assert_eq!((restarted.number, order(&restarted)), (6, vec![3, 2, 0, 1]));
        let all: Vec<PartRow> = (0..4).map(|part| row(part, 10, 35, 5, 70 - part.cast_signed())).collect();
        let next = Pass::plan(&all, 35, 10, 5, false);
        assert_eq!((next.number, order(&next)), (6, vec![3, 2, 1, 0]), "that one is over");
        let grown = Pass::plan(&all, 45, 10, 5, false);
        assert_eq!(order(&grown), vec![3, 4], "the last part was shorter");
    }

    proptest! {
        #[test]
        fn parts_are_the_whole(size in 0u64..100_000, bytes in 1u64..5000) {
            let parts: Vec<_> = parts_of(size, bytes).collect();
            let total: u64 = parts.iter().map(|(_, range)| range.length()).sum();
            prop_assert_eq!(total, size);
            prop_assert!(parts.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        }
    }
}

//! A page of a digest: runs of chunks, and their values. Pure; all numbers are little-endian.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::tree::{Entry, HashKind, Value};

/// Bytes of a page, whatever it holds: what is torn or rotten in one is nothing to the others.
pub const PAGE_BYTES: usize = 4096;
/// Bytes before the runs.
const HEAD_BYTES: usize = 32;
/// Bytes of a run.
const RUN_BYTES: usize = 8;
/// Most chunks of one run.
pub(super) const COUNT_MAX: u64 = (1 << 56) - 1;

const VALUES: u64 = 1;
const ZERO: u64 = 2;
const UNKNOWN: u64 = 3;

/// A page that was read and whose checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its first chunk.
    pub first: u64,
    /// How many chunks it tells of.
    pub count: u64,
    /// Its runs: how many chunks, and what of them; of values where the first one stands among them.
    runs: Vec<(u64, Kind)>,
    values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Values(usize),
    Zero,
    Unknown,
}

impl Page {
    /// Reads a page; `seed` is that of the digest that it belongs to. None where it is none, or contradicts itself.
    #[must_use]
    pub fn parse(bytes: &[u8], seed: u64, hash: HashKind) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if bytes.len() != PAGE_BYTES || number(0)? != xxh3_64_with_seed(&bytes[8..], seed) {
            return None;
        }
        let (first, count, counts) = (number(8)?, number(16)?, number(24)?);
        let (runs_held, values_held) = ((counts & 0xffff) as usize, (counts >> 16 & 0xffff) as usize);
        let values_at = HEAD_BYTES + runs_held * RUN_BYTES;
        let value_bytes = hash.value_bytes();
        let end = values_at + values_held * value_bytes;
        if counts >> 32 != 0 || end > PAGE_BYTES || runs_held == 0 || bytes[end..].iter().any(|&byte| byte != 0) {
            return None;
        }
        let (mut runs, mut chunks, mut values) = (Vec::with_capacity(runs_held), 0u64, 0usize);
        for run in 0..runs_held {
            let word = number(HEAD_BYTES + run * RUN_BYTES)?;
            let held = word & COUNT_MAX;
            chunks = chunks.checked_add(held).filter(|_| held > 0)?;
            runs.push((
                held,
                match word >> 56 {
                    VALUES => {
                        let at = values;
                        values = values.checked_add(usize::try_from(held).ok()?).filter(|&values| values <= values_held)?;
                        Kind::Values(at)
                    }
                    ZERO => Kind::Zero,
                    UNKNOWN => Kind::Unknown,
                    _ => return None,
                },
            ));
        }
        if chunks != count || values != values_held || first.checked_add(count).is_none() {
            return None;
        }
        let value = |bytes: &[u8]| {
            let mut value = [0; 32];
            value[..value_bytes].copy_from_slice(bytes);
            value
        };
        let values = bytes[values_at..end].chunks_exact(value_bytes).map(value).collect();
        Some(Self { first, count, runs, values })
    }

    /// What it says of `chunk`, and of how many from there on it says the same kind of thing: of values, one.
    #[must_use]
    pub fn at(&self, chunk: u64) -> Option<(Entry, u64)> {
        let mut before = chunk.checked_sub(self.first)?;
        for &(count, kind) in &self.runs {
            if before < count {
                return Some(match kind {
                    Kind::Values(at) => (Entry::Value(*self.values.get(at + before as usize)?), 1),
                    Kind::Zero => (Entry::Zero, count - before),
                    Kind::Unknown => (Entry::Unknown, count - before),
                });
            }
            before -= count;
        }
        None
    }
}

/// A page in the making: it takes entries in order for as long as they fit, so that the same entries always make the same pages.
#[derive(Debug)]
pub struct PageBuilder {
    hash: HashKind,
    first: u64,
    count: u64,
    runs: Vec<u64>,
    values: Vec<Value>,
}

impl PageBuilder {
    /// An empty one whose first chunk is `first`.
    #[must_use]
    pub fn new(hash: HashKind, first: u64) -> Self {
        Self { hash, first, count: 0, runs: Vec::new(), values: Vec::new() }
    }

    /// Whether it holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The chunk after its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Takes what is to be said of the next `count` chunks, of values one; false where it is full.
    pub fn push(&mut self, entry: Entry, count: u64) -> bool {
        let kind = match entry {
            Entry::Value(_) => VALUES,
            Entry::Zero => ZERO,
            Entry::Unknown => UNKNOWN,
        };
        let joins = self.runs.last().is_some_and(|run| run >> 56 == kind && (run & COUNT_MAX) + count <= COUNT_MAX);
        let more = if joins { 0 } else { RUN_BYTES } + if kind == VALUES { self.hash.value_bytes() } else { 0 };
        let taken = HEAD_BYTES + self.runs.len() * RUN_BYTES + self.values.len() * self.hash.value_bytes();
        if taken + more > PAGE_BYTES {
            return false;
        }
        match self.runs.last_mut().filter(|_| joins) {
            Some(run) => *run += count,
            None => self.runs.push(kind << 56 | count),
        }
        if let Entry::Value(value) = entry {
            self.values.push(value);
        }
        self.count += count;
        true
    }

    /// Its bytes, and an empty one that goes on behind it.
    #[must_use]
    pub fn finish(self, seed: u64) -> (Vec<u8>, Self) {
        let mut bytes = vec![0; 8];
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend((self.runs.len() as u64 | (self.values.len() as u64) << 16).to_le_bytes());
        self.runs.iter().for_each(|run| bytes.extend(run.to_le_bytes()));
        self.values.iter().for_each(|value| bytes.extend(&value[..self.hash.value_bytes()]));
        bytes.resize(PAGE_BYTES, 0);
        let sum = xxh3_64_with_seed(&bytes[8..], seed);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
        (bytes, Self::new(self.hash, self.first + self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, HashKind, PAGE_BYTES, Page, PageBuilder};
    use proptest::{collection::vec, prelude::*};

    fn entry() -> impl Strategy<Value = (Entry, u64)> {
        prop_oneof![
            4 => any::<u8>().prop_map(|byte| (Entry::Value({ let mut value = [0; 32]; value[..16].fill(byte); value }), 1)),
            1 => (1u64..1 << 40).prop_map(|count| (Entry::Zero, count)),
            1 => (1u64..3).prop_map(|count| (Entry::Unknown, count)),
        ]
    }

    proptest! {
        /// D10, D11, D12, D13, D14: what was put in comes out, in order, and no byte can be changed unnoticed.
        #[test]
        fn pages_hold_what_they_were_given(
            entries in vec(entry(), 1..300), first in 0u64..1 << 30, seed in any::<u64>(), xxh3 in any::<bool>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let hash = if xxh3 { HashKind::Xxh3 } else { HashKind::Blake3 };
            let (mut pages, mut builder) = (Vec::new(), PageBuilder::new(hash, first));
            for &(entry, count) in &entries {
                if !builder.push(entry, count) {
                    let (bytes, next) = builder.finish(seed);
                    pages.push(bytes);
                    builder = next;
                    prop_assert!(builder.push(entry, count));
                }
            }
            pages.push(builder.finish(seed).0);
            let mut at = first;
            let parsed: Vec<Page> = pages.iter().filter_map(|page| Page::parse(page, seed, hash)).collect();
            prop_assert_eq!(parsed.len(), pages.len());
            for (entry, count) in entries {
                let page = parsed.iter().find(|page| page.first <= at && at < page.first + page.count);
                let (found, held) = page.and_then(|page| page.at(at)).expect("every chunk is told of");
                prop_assert_eq!(found, entry);
                prop_assert!(held >= count || entry == Entry::Zero || entry == Entry::Unknown);
                at += count;
            }
            let mut page = pages[0].clone();
            page[flip.index(PAGE_BYTES)] ^= 1;
            prop_assert!(Page::parse(&page, seed, hash).is_none());
            prop_assert!(Page::parse(&pages[0], seed ^ 1, hash).is_none(), "of another digest");
        }
    }
}

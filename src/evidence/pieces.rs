//! A member's bytes in pieces that are read once: structures lie close together, and a server far away is asked few times.

use std::{collections::HashMap, sync::Mutex};

use super::ReadAt;
use crate::{
    member::{Extent, Member},
    vote::ByteRange,
};

/// A piece in bytes: what most structures fit in.
const PIECE_BYTES: u64 = 4096;
/// Pieces kept: 4 MiB.
const PIECES_MAX: usize = 1024;

type Kept = HashMap<u64, Option<Box<[u8]>>>;

/// The pieces of one member. Known zeros aren't read.
pub(super) struct Pieces<'a> {
    member: &'a dyn Member,
    kept: Mutex<Kept>,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(member: &'a dyn Member) -> Self {
        Self { member, kept: Mutex::default() }
    }

    /// A piece that begins at `start`; none where it can't be had.
    fn read(&self, start: u64) -> Option<Box<[u8]>> {
        let length = PIECE_BYTES.min(self.member.size().checked_sub(start)?);
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        let zeros = matches!(self.member.extent(start), Ok(Extent::Zero(end)) if end >= start + length);
        (zeros || self.member.read(start, &mut bytes, &mut None).is_ok()).then(|| bytes.into_boxed_slice())
    }
}

impl ReadAt for Pieces<'_> {
    fn length(&self) -> u64 {
        self.member.size()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let Some(wanted) = ByteRange::at(offset, bytes.len() as u64).filter(|wanted| wanted.end <= self.length()) else { return false };
        let mut kept = self.kept.lock().expect("no thread panics with it");
        let mut at = wanted.start;
        while at < wanted.end {
            let start = at - at % PIECE_BYTES;
            if kept.len() >= PIECES_MAX && !kept.contains_key(&start) {
                kept.clear(); // a walk through a long log: what it passed isn't asked for again
            }
            let Some(piece) = kept.entry(start).or_insert_with(|| self.read(start)) else {
                // A bad sector beside a superblock is none in it.
                let rest = &mut bytes[(at - wanted.start) as usize..];
                return self.member.read(at, rest, &mut None).is_ok();
            };
            let part = ByteRange::new(at, wanted.end.min(start + piece.len() as u64));
            let (to, from) = ((part.start - wanted.start) as usize, (part.start - start) as usize);
            let length = part.length() as usize;
            bytes[to..to + length].copy_from_slice(&piece[from..from + length]);
            at = part.end;
        }
        true
    }
}

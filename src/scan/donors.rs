//! Donors: sources that never vote. Where no version wins, what one holds is taken if a digest proves that it stood there.

use std::sync::atomic::Ordering;

use super::{
    chunk::{Chunk, Interruption},
    gift::{Gift, number_of},
    hearing::COMBINING_MAX,
    worker::Worker,
};
use crate::{
    digest::{Combined, Entry, Geometry, SectorVersions, combine, combine_whole},
    member::{Member, ReadError},
    vote::{ByteRange, Verdict, Vote},
};

impl Worker<'_> {
    /// Looks whether what a donor holds, with what members hold, is what the digest's `entry` says of its chunk; `lists` are the members'
    /// versions of each sector; `at_a_glance` tries no combinations. For each sector the number of a member, or of a donor.
    pub(super) fn hear_donors(
        &mut self,
        chunk: &Chunk,
        (geometry, number): (&Geometry, u64),
        entry: &Entry,
        (sectors, lists): (&[(ByteRange, Vote)], &[Vec<usize>]),
        at_a_glance: bool,
    ) -> Result<Option<Vec<u8>>, Interruption> {
        let shared = self.shared;
        let whole = geometry.range(number);
        let open = |vote: &Vote| vote.verdict == Verdict::Undecided;
        if *entry == Entry::Unknown || !geometry.hash.proves() || !sectors.iter().any(|(_, vote)| open(vote)) {
            return Ok(None);
        }
        for donor in 0..shared.job.donors.len() {
            self.accept(donor, whole, u64::from(shared.job.sector))?;
            let Some(gift) = self.gifts.iter().find(|gift| gift.donor == donor && gift.range == whole) else { continue };
            // Where a member holds the same it is the member's.
            let mut numbers: Vec<Vec<u8>> = Vec::with_capacity(sectors.len());
            let mut versions: Vec<SectorVersions> = Vec::with_capacity(sectors.len());
            let (mut filled, mut alone): (Option<Vec<u8>>, Option<Vec<u8>>) = (Some(Vec::new()), Some(Vec::new()));
            for (at, (sector, vote)) in sectors.iter().enumerate() {
                let mut held: Vec<&[u8]> = lists[at].iter().map(|&member| self.bytes_of(chunk, whole, member, *sector)).collect();
                let mut own: Vec<u8> = lists[at].iter().map(|&member| member as u8).collect();
                let its = gift.sector(*sector).map(|bytes| {
                    held.iter().position(|other| *other == bytes).unwrap_or_else(|| {
                        held.push(bytes);
                        own.push(number_of(donor));
                        held.len() - 1
                    }) as u8
                });
                let settled = if open(vote) { its } else { Some(0) };
                filled = filled.zip(settled).map(|(all, one)| [all, vec![one]].concat());
                alone = alone.zip(its).map(|(all, one)| [all, vec![one]].concat());
                // Where the donor's is one more version in one of the two alone, their places in the lists mean different things.
                let joined = at > 0 && sectors[at - 1].1 == *vote && versions[at - 1].versions.len() == held.len();
                versions.push(SectorVersions { versions: held, decided: !open(vote), joined });
                numbers.push(own);
            }
            let candidates: Vec<Vec<u8>> = filled.into_iter().chain(alone).collect();
            let (before, begun) = (shared.combining(), shared.job.watch.elapsed());
            let over = || shared.stopped() || before + shared.job.watch.elapsed().saturating_sub(begun) > COMBINING_MAX;
            let combined = if at_a_glance {
                combine_whole(geometry, number, entry, &versions, &candidates)
            } else {
                combine(geometry, number, entry, &versions, &candidates, &over)
            };
            shared.has_combined(shared.job.watch.elapsed().saturating_sub(begun));
            if let Combined::Match(choice) = combined {
                return Ok(Some(numbers.iter().zip(choice).map(|(own, which)| own[usize::from(which)]).collect()));
            }
        }
        Ok(None)
    }

    /// Reads a digest's chunk of a donor, unless that was done; who can't be read any more is not asked again.
    fn accept(&mut self, donor: usize, whole: ByteRange, sector: u64) -> Result<(), Interruption> {
        let shared = self.shared;
        let known = self.gifts.iter().any(|gift| gift.donor == donor && gift.range == whole);
        if known || shared.donor_failures[donor].get().is_some() {
            return Ok(());
        }
        let source: &dyn Member = &*shared.job.donors[donor];
        let mut gift = Gift { range: whole, donor, bytes: vec![0; whole.length() as usize], lacking: Vec::new() };
        let reached = source.size().min(whole.end).max(whole.start);
        let held = ByteRange::new(whole.start, if reached == whole.end { reached } else { reached - (reached - whole.start) % sector });
        if held.end < whole.end {
            gift.lacking.push(ByteRange::new(held.end, whole.end));
        }
        shared.job.watch.spend(held.length());
        let read = |range: ByteRange, bytes: &mut [u8]| match source.read(range.start, bytes, &mut None) {
            Ok(()) => Some(true),
            Err(ReadError::Medium(_) | ReadError::Ended) => Some(false),
            Err(ReadError::Member(error)) => {
                let _ = shared.donor_failures[donor].set(error.to_string()); // the first word counts
                None
            }
        };
        match if held.is_empty() { Some(true) } else { read(held, &mut gift.bytes[..held.length() as usize]) } {
            None => return Ok(()),
            Some(true) => {}
            Some(false) => {
                for place in held.pieces(sector) {
                    if shared.stopped() {
                        return Err(Interruption::Stopped);
                    }
                    let at = (place.start - whole.start) as usize;
                    match read(place, &mut gift.bytes[at..at + place.length() as usize]) {
                        None => return Ok(()),
                        Some(true) => {}
                        Some(false) => {
                            shared.donor_unread[donor].fetch_add(1, Ordering::Relaxed);
                            gift.lacking.push(place);
                        }
                    }
                }
            }
        }
        self.gifts.push(gift);
        Ok(())
    }
}

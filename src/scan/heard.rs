//! A chunk with what digests say of it: hashed once where all are alike, and voted on with their word where they aren't.

use super::{
    chunk::{Chunk, Interruption},
    extents::State,
    gift::donor_of,
    hashed::{Hashed, Word, hears},
    hearing::{COMBINING_MAX, Heard, WitnessTally},
    worker::Worker,
};
use crate::{
    digest::{Combined, Entry, Geometry, Hearing, SectorVersions, combine, combine_whole},
    vote::{Ballot, ByteRange, Confirmation, MEMBERS_MAX, Rule, Verdict, Vote},
};

impl Worker<'_> {
    /// Whether chunks are hashed, be it for witnesses or for a digest in the making.
    pub(super) fn hashes(&self) -> bool {
        !self.shared.geometries.is_empty()
    }

    /// What was found in a chunk that came to its end is part of the window's.
    pub(super) fn keep_heard(&mut self) {
        let heard = std::mem::take(&mut self.heard);
        let entries = std::mem::take(&mut self.entries);
        self.found.keep(heard, entries);
    }

    /// All members hold `bytes` in the chunk: witnesses are asked whether that is what they know, and a digest in the making takes it.
    pub(super) fn hear_alike(&mut self, range: ByteRange, bytes: &[u8]) {
        let job = self.shared.job;
        let hashed = job.hashed.map(Hashed::geometry);
        let shared = self.shared;
        for &geometry in &shared.geometries {
            for chunk in chunks(&geometry, range) {
                let whole = geometry.range(chunk);
                let is_hashed = hashed == Some(geometry);
                if whole.and(range) != Some(whole) {
                    if is_hashed {
                        self.entries.push((chunk, Entry::Unknown, 1));
                    }
                    continue;
                }
                let known: Vec<(usize, Entry)> = self.say(&geometry, chunk, true);
                if known.is_empty() && !is_hashed {
                    continue;
                }
                let from = (whole.start - range.start) as usize;
                let entry = geometry.entry(chunk, &bytes[from..from + whole.length() as usize]);
                if is_hashed {
                    self.entries.push((chunk, entry, 1));
                }
                let mut against = 0;
                for (witness, said) in known {
                    self.heard.count(witness, (true, true), said == entry, 1);
                    against |= if said == entry { 0 } else { 1 << witness };
                }
                if against != 0 {
                    self.heard.contradict(whole, against);
                }
            }
        }
    }

    /// The digest in the making takes the chunk's voted bytes, as far as all was decided.
    pub(super) fn hash_voted(&mut self, chunk: &Chunk) {
        let Some(geometry) = self.shared.job.hashed.map(Hashed::geometry) else { return };
        let undecided: Vec<ByteRange> = self.found.undecided_in(chunk.range);
        for number in chunks(&geometry, chunk.range) {
            let whole = geometry.range(number);
            let known = whole.and(chunk.range) == Some(whole)
                && chunk.rule != Rule::First
                && !undecided.iter().any(|range| range.and(whole).is_some());
            let from = (whole.start.saturating_sub(chunk.range.start)) as usize;
            let entry = if known { geometry.entry(number, &self.voted[from..from + whole.length() as usize]) } else { Entry::Unknown };
            self.entries.push((number, entry, 1));
        }
    }

    /// What witnesses that cut the image so know of a chunk; that one doesn't know is counted where the chunk `counts`.
    pub(super) fn say(&mut self, geometry: &Geometry, chunk: u64, counts: bool) -> Vec<(usize, Entry)> {
        let job = self.shared.job;
        let mut known = Vec::new();
        if !hears(job.size, job.sector, geometry.range(chunk)) {
            return known;
        }
        for (index, cursor) in self.cursors.iter_mut().enumerate().filter(|(_, cursor)| cursor.digest().geometry() == *geometry) {
            match cursor.at(chunk).entry {
                Entry::Unknown => self.heard.of(index).unknown += u64::from(counts),
                entry => known.push((index, entry)),
            }
        }
        known
    }

    /// Members differ in the chunk, which is copied: what do witnesses say of the versions there are?
    pub(super) fn hear_versions(&mut self, chunk: &Chunk) -> Result<(), Interruption> {
        self.words.clear();
        self.heard = Heard::default(); // it may be asked again
        if self.shared.job.hearing.is_none() || !chunk.rule.is_vote() {
            return Ok(());
        }
        let shared = self.shared;
        for &geometry in &shared.geometries {
            for number in chunks(&geometry, chunk.range) {
                let known = self.say(&geometry, number, self.is_counted(chunk, geometry.range(number)));
                if !known.is_empty() {
                    self.hear_chunk(chunk, &geometry, number, &known)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a digest's chunk is counted where it is heard now: once, however many parts it is voted on in.
    fn is_counted(&self, chunk: &Chunk, whole: ByteRange) -> bool {
        let begins = |range: &ByteRange| range.start == chunk.range.start;
        whole.start >= chunk.range.start || self.shared.job.ranges.iter().any(begins)
    }

    fn hear_chunk(&mut self, chunk: &Chunk, geometry: &Geometry, number: u64, known: &[(usize, Entry)]) -> Result<(), Interruption> {
        let whole = geometry.range(number);
        let inside = whole.and(chunk.range) == Some(whole);
        if !inside {
            self.read_whole(chunk, whole)?;
        }
        let sectors = self.sectors_of(chunk, whole);
        // One alone holds the same as itself, though that decides nothing.
        let unanimous = sectors.iter().all(|(_, vote)| vote.grouping.holders(0).count_ones() as usize == chunk.states.len());
        let lists: Vec<Vec<usize>> = sectors.iter().map(|(_, vote)| vote.ordered_versions()).collect();
        let versions: Vec<SectorVersions> = (0..sectors.len()).map(|at| self.versions_of(chunk, whole, &sectors, &lists, at)).collect();
        let held = whole_choices(chunk.states.len(), &sectors, &lists);
        let shared = self.shared;
        // A donor that has all that is wanted spares the search.
        let mut gifts: Vec<(Entry, Vec<u8>)> = Vec::new();
        if !shared.job.donors.is_empty() {
            let held_so = |entry: &Entry| combine_whole(geometry, number, entry, &versions, &held) != Combined::Nothing;
            let wanted: Vec<Entry> = known.iter().map(|(_, entry)| *entry).filter(|entry| !held_so(entry)).collect();
            for entry in wanted {
                if !gifts.iter().any(|(other, _)| *other == entry) {
                    let numbers = self.hear_donors(chunk, (geometry, number), &entry, (&sectors, &lists), true)?;
                    gifts
                        .extend(numbers.filter(|all| all.iter().any(|&number| donor_of(number).is_some())).map(|numbers| (entry, numbers)));
                }
            }
        }
        let versions: Vec<SectorVersions> = (0..sectors.len()).map(|at| self.versions_of(chunk, whole, &sectors, &lists, at)).collect();
        let mut results: Vec<(Entry, Combined)> = Vec::new();
        let before = shared.combining();
        let begun = shared.job.watch.elapsed();
        let over = || shared.stopped() || before + shared.job.watch.elapsed().saturating_sub(begun) > COMBINING_MAX;
        for &(_, entry) in known {
            if gifts.iter().any(|(other, _)| *other == entry) {
                continue;
            }
            if !results.iter().any(|(other, _)| *other == entry) {
                results.push((entry, combine(geometry, number, &entry, &versions, &held, &over)));
            }
        }
        shared.has_combined(shared.job.watch.elapsed().saturating_sub(begun));
        // What members can't put together a donor may have.
        if !shared.job.donors.is_empty() {
            let unmatched = results.iter().filter(|(_, combined)| !matches!(combined, Combined::Match(_)));
            for entry in unmatched.map(|(entry, _)| *entry).collect::<Vec<Entry>>() {
                gifts.extend(
                    self.hear_donors(chunk, (geometry, number), &entry, (&sectors, &lists), false)?.map(|numbers| (entry, numbers)),
                );
            }
        }
        let voted_on = whole.and(chunk.range).unwrap_or(whole);
        let first = sectors.iter().position(|(sector, _)| sector.start >= voted_on.start).unwrap_or(0);
        let counts = self.is_counted(chunk, whole);
        let mut uncounted = WitnessTally::default();
        let mut against = 0;
        // What was decided in all of its sectors was held against the value first of all.
        let settled = sectors.iter().all(|(_, vote)| vote.verdict != Verdict::Undecided);
        for &(witness, entry) in known {
            let gift = gifts.iter().find(|(other, _)| *other == entry);
            let combined = results.iter().find(|(other, _)| *other == entry).map_or(&Combined::Nothing, |(_, combined)| combined);
            let versions = match combined {
                _ if let Some((_, numbers)) = gift => {
                    let tally = if counts { self.heard.of(witness) } else { &mut uncounted };
                    tally.donated += 1;
                    // It proves other bytes where the members have decided: a donor decides nothing there.
                    let overruled =
                        |((_, vote), &number): (&(ByteRange, Vote), &u8)| vote.verdict != Verdict::Undecided && donor_of(number).is_some();
                    if sectors.iter().zip(numbers).any(overruled) {
                        tally.contradicted += 1;
                        against |= 1 << witness;
                    }
                    Some(numbers.iter().skip(first).copied().collect())
                }
                Combined::Match(choice) => {
                    let members = |(list, &which): (&Vec<usize>, &u8)| list[usize::from(which)] as u8;
                    let tally = if counts { self.heard.of(witness) } else { &mut uncounted };
                    if unanimous {
                        tally.agreed += 1;
                    } else if held.contains(choice) {
                        tally.confirmed += 1;
                    } else {
                        tally.combined += 1;
                    }
                    Some(lists.iter().zip(choice).skip(first).map(members).collect())
                }
                Combined::Nothing | Combined::GaveUp => {
                    let tally = if counts { self.heard.of(witness) } else { &mut uncounted };
                    match combined {
                        _ if unanimous || settled => tally.contradicted += 1,
                        Combined::GaveUp => tally.given_up += 1,
                        _ => tally.unmatched += 1,
                    }
                    against |= if unanimous || settled { 1 << witness } else { 0 };
                    None
                }
            };
            self.words.push(Word { range: voted_on, witness, versions });
        }
        if against != 0 && inside {
            self.heard.contradict(whole, against);
        }
        Ok(())
    }

    /// What members hold in a sector of a digest's chunk.
    fn versions_of<'w>(
        &'w self,
        chunk: &Chunk,
        whole: ByteRange,
        sectors: &[(ByteRange, Vote)],
        lists: &[Vec<usize>],
        at: usize,
    ) -> SectorVersions<'w> {
        let (sector, vote) = &sectors[at];
        SectorVersions {
            versions: lists[at].iter().map(|&member| self.bytes_of(chunk, whole, member, *sector)).collect(),
            decided: vote.verdict != Verdict::Undecided,
            joined: at > 0 && sectors[at - 1].1 == *vote,
        }
    }

    /// The votes on the sectors of a digest's chunk, without witnesses.
    fn sectors_of(&self, chunk: &Chunk, whole: ByteRange) -> Vec<(ByteRange, Vote)> {
        let job = self.shared.job;
        let one = |sector: ByteRange| {
            let inside = sector.and(chunk.range) == Some(sector);
            let mut ballots = [Ballot::Unasked; MEMBERS_MAX];
            let ballots = &mut ballots[..chunk.states.len()];
            for (member, ballot) in ballots.iter_mut().enumerate() {
                let copy = if inside { &self.copies[member] } else { &self.spare[member] };
                *ballot = match chunk.states[member] {
                    State::Failed => Ballot::Failed,
                    _ if job.members[member].size() < sector.end => Ballot::Absent,
                    _ if self.is_unstable(member, sector) => Ballot::Unstable,
                    State::Data | State::Partial if inside && copy.flaw(sector).is_some() => Ballot::Unreadable,
                    _ if !inside && copy.flaw(sector).is_some() => Ballot::Unreadable,
                    _ => Ballot::Data(self.bytes_of(chunk, whole, member, sector)),
                };
            }
            job.fillers.unseat(ballots, sector.start);
            (sector, Vote::of(ballots, chunk.rule))
        };
        whole.pieces(u64::from(job.sector)).map(one).collect()
    }

    /// A member's bytes of a sector of a digest's chunk: those that are voted on where it lies inside of what is looked at.
    pub(super) fn bytes_of(&self, chunk: &Chunk, whole: ByteRange, member: usize, sector: ByteRange) -> &[u8] {
        let length = sector.length() as usize;
        match chunk.states[member] {
            _ if sector.and(chunk.range) != Some(sector) => self.spare[member].bytes((sector.start - whole.start) as usize, length),
            State::Zero => &self.zeros[..length],
            _ => self.copies[member].bytes(chunk.at(sector.start), length),
        }
    }

    /// Reads all of a digest's chunk of which only a part is looked at.
    fn read_whole(&mut self, chunk: &Chunk, whole: ByteRange) -> Result<(), Interruption> {
        let shared = self.shared;
        for member in 0..chunk.states.len() {
            let size = shared.job.members[member].size();
            let held = ByteRange::new(
                whole.start,
                if size >= whole.end { whole.end } else { size - size % u64::from(shared.job.sector) }.max(whole.start),
            );
            if chunk.states[member] == State::Failed {
                continue;
            }
            self.spare[member].begin(shared.chunk_bytes);
            if held.is_empty() {
                continue;
            }
            shared.job.watch.spend(held.length());
            self.spare[member].fill(shared, member, held, 0)?;
        }
        Ok(())
    }

    /// The vote on a sector with what witnesses say; that it is another one for that is counted.
    pub(super) fn heard_vote(words: &[Word], hearing: Option<&Hearing>, vote: Vote, rule: Rule, sector: ByteRange, unit: u32) -> Vote {
        let Some(hearing) = hearing.filter(|_| !words.is_empty()) else { return vote };
        let number = |word: &Word| {
            let at = ((sector.start - word.range.start) / u64::from(unit)) as usize;
            word.versions.as_ref().and_then(|versions| versions.get(at).copied())
        };
        let version = |word: &Word| number(word).filter(|&number| donor_of(number).is_none()).map(usize::from);
        let here = || words.iter().filter(|word| word.range.and(sector).is_some());
        let version_of = |word: &Word| version(word).and_then(|member| vote.grouping.version(member));
        let heard = vote.hearing(rule, &confirmations(hearing, here().map(|word| (word.witness, version_of(word)))));
        if heard.verdict != Verdict::Undecided {
            return heard;
        }
        // A donor's bytes are taken where all who know the sector by a hash that proves anything know just them.
        let proves = |word: &&Word| hearing.witnesses[word.witness].digest.geometry().hash.proves();
        let known: Vec<(usize, Option<usize>)> =
            here().filter(proves).map(|word| (word.witness, number(word).and_then(donor_of))).collect();
        match confirmations(hearing, known.iter().copied()).first() {
            Some(first) if known.iter().all(|(_, donor)| *donor == Some(first.version)) => {
                Vote { verdict: Verdict::Donated { donor: first.version }, ..heard }
            }
            _ => heard,
        }
    }

    /// Members, as a mask, for whom a digest proves what won in a sector, and that weren't touched since it was made.
    pub(super) fn proven_for(words: &[Word], hearing: Option<&Hearing>, vote: &Vote, sector: ByteRange, unit: u32) -> u64 {
        let Some(hearing) = hearing.filter(|_| !words.is_empty() && vote.verdict.is_decided()) else { return 0 };
        let proves = |word: &&Word| {
            let at = ((sector.start - word.range.start) / u64::from(unit)) as usize;
            let number = word.versions.as_ref().and_then(|versions| versions.get(at).copied());
            let same = |number: u8| match (vote.verdict, donor_of(number)) {
                (Verdict::Donated { donor }, given) => given == Some(donor),
                (_, None) => vote.winner().is_some() && vote.grouping.version(usize::from(number)) == vote.winner(),
                (_, Some(_)) => false,
            };
            hearing.witnesses[word.witness].digest.geometry().hash.proves() && number.is_some_and(same)
        };
        let here = words.iter().filter(|word| word.range.and(sector).is_some()).filter(proves);
        here.fold(0, |mask, word| mask | !hearing.witnesses[word.witness].old_for)
    }

    pub(super) fn is_unstable(&self, member: usize, sector: ByteRange) -> bool {
        self.unstable.iter().any(|&(whose, place)| whose == member && place.and(sector).is_some())
    }
}

/// What members hold who hold all of a digest's chunk: for each sector the version, by its place in the list.
fn whole_choices(members: usize, sectors: &[(ByteRange, Vote)], lists: &[Vec<usize>]) -> Vec<Vec<u8>> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for member in 0..members {
        let place = |((_, vote), list): (&(ByteRange, Vote), &Vec<usize>)| {
            let version = vote.grouping.version(member)?;
            list.iter().position(|&other| other == version).map(|at| at as u8)
        };
        if let Some(choice) = sectors.iter().zip(lists).map(place).collect::<Option<Vec<u8>>>()
            && !held.contains(&choice)
        {
            held.push(choice);
        }
    }
    held
}

/// The chunks that a range touches.
pub(super) fn chunks(geometry: &Geometry, range: ByteRange) -> std::ops::Range<u64> {
    let end = range.end.min(geometry.size);
    range.start.min(end) / geometry.chunk_bytes..if range.start < end {
        end.div_ceil(geometry.chunk_bytes)
    } else {
        range.start.min(end) / geometry.chunk_bytes
    }
}

/// What witnesses confirm, each with the version that it knows, if any: each group once, and only where all of it says the same.
pub(super) fn confirmations(hearing: &Hearing, words: impl Iterator<Item = (usize, Option<usize>)>) -> Vec<Confirmation> {
    let group = |witness: usize| hearing.witnesses[witness].group;
    let words: Vec<(usize, Option<usize>)> =
        words.filter(|&(witness, _)| hearing.witnesses[witness].digest.geometry().hash.proves()).collect();
    let mut confirmed = Vec::new();
    for (at, &(witness, version)) in words.iter().enumerate() {
        let same = |other: &&(usize, Option<usize>)| group(other.0) == group(witness);
        if words[..at].iter().any(|other| same(&other)) {
            continue;
        }
        if let Some(version) = version
            && words.iter().filter(same).all(|&(_, other)| other == Some(version))
        {
            let memory_of = words.iter().filter(same).fold(0, |mask, other| mask | hearing.witnesses[other.0].memory_of);
            confirmed.push(Confirmation { version, memory_of });
        }
    }
    confirmed
}

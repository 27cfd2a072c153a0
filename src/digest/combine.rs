//! A chunk of which no member holds all: which of the versions of its sectors together have the digest's value. Pure.

use super::tree::{ChunkHasher, Entry, Geometry, Value};
use crate::vote::is_zero;

/// Combinations that are tried for a chunk at most: sixteen sectors of two versions each.
pub const TRIES_MAX: u64 = 1 << 16;
/// How often it is asked whether to go on.
const TRIES_BETWEEN: u64 = 64;

/// What members hold in one sector.
#[derive(Clone, Debug, Default)]
pub struct SectorVersions<'a> {
    /// The versions, the most likely first.
    pub versions: Vec<&'a [u8]>,
    /// Whether the first one has won already.
    pub decided: bool,
    /// Whether the same members hold the same versions as in the sector before: what was lost in one piece is found in one.
    pub joined: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Combined {
    /// These versions, by their place in each sector's list, have the value.
    Match(Vec<u8>),
    /// None that there are.
    Nothing,
    /// There are too many, or it was to end: nobody knows.
    GaveUp,
}

/// Looks for versions of a chunk's `sectors` that together are what the digest's `entry` says of it: first the `whole` ones, which are held
/// together, then all combinations: those that leave alone what was decided before the others, and runs that are held alike before single sectors. `over` says when to end.
#[must_use]
pub fn combine(
    geometry: &Geometry,
    chunk: u64,
    entry: &Entry,
    sectors: &[SectorVersions],
    whole: &[Vec<u8>],
    over: &dyn Fn() -> bool,
) -> Combined {
    let found = combine_whole(geometry, chunk, entry, sectors, whole);
    let (Entry::Value(value), Combined::Nothing) = (entry, &found) else { return found };
    if sectors.iter().any(|sector| sector.versions.is_empty()) {
        return found;
    }
    let mut given_up = false;
    for (keep, joins) in [(true, true), (true, false), (false, true), (false, false)] {
        let open = |sector: &SectorVersions| if (keep && sector.decided) || (joins && sector.joined) { 1 } else { sector.versions.len() };
        let tries = sectors.iter().try_fold(1u64, |tries, sector| tries.checked_mul(open(sector) as u64));
        if tries.is_none_or(|tries| tries > TRIES_MAX) {
            given_up = true;
            continue;
        }
        let mut search = Search { sectors, keep, joins, value, choice: vec![0; sectors.len()], tried: 0, over, ended: false };
        if search.from(0, geometry.hasher(chunk)) {
            return Combined::Match(search.choice);
        }
        if search.ended {
            return Combined::GaveUp;
        }
    }
    if given_up { Combined::GaveUp } else { Combined::Nothing }
}

/// Looks whether one of the `whole` versions is what the digest's `entry` says, or zeros are, and searches no further.
#[must_use]
pub fn combine_whole(geometry: &Geometry, chunk: u64, entry: &Entry, sectors: &[SectorVersions], whole: &[Vec<u8>]) -> Combined {
    let value = match entry {
        Entry::Unknown => return Combined::Nothing,
        Entry::Zero => return zeros(sectors),
        Entry::Value(value) => value,
    };
    if sectors.iter().any(|sector| sector.versions.is_empty()) {
        return Combined::Nothing;
    }
    let is_it = |choice: &&Vec<u8>| {
        let mut hasher = geometry.hasher(chunk);
        sectors.iter().zip(*choice).for_each(|(sector, &which)| hasher.update(sector.versions[usize::from(which)]));
        hasher.finish() == *value
    };
    whole.iter().find(is_it).map_or(Combined::Nothing, |choice| Combined::Match(choice.clone()))
}

/// Of zeros no hash is needed.
fn zeros(sectors: &[SectorVersions]) -> Combined {
    let of = |sector: &SectorVersions| sector.versions.iter().position(|bytes| is_zero(bytes)).map(|at| at as u8);
    sectors.iter().map(of).collect::<Option<Vec<u8>>>().map_or(Combined::Nothing, Combined::Match)
}

struct Search<'a> {
    sectors: &'a [SectorVersions<'a>],
    /// What was decided stays.
    keep: bool,
    /// What is joined goes together.
    joins: bool,
    value: &'a Value,
    choice: Vec<u8>,
    tried: u64,
    over: &'a dyn Fn() -> bool,
    ended: bool,
}

impl Search<'_> {
    /// Tries all that the sectors from `at` on allow, behind what is hashed already: a fork costs what comes behind it.
    fn from(&mut self, at: usize, mut hasher: ChunkHasher) -> bool {
        let sectors = self.sectors;
        for (index, sector) in sectors.iter().enumerate().skip(at) {
            if self.joins && sector.joined && index > 0 && !(self.keep && sector.decided) {
                // As the one before, whichever that is.
                self.choice[index] = self.choice[index - 1];
                hasher.update(sector.versions[usize::from(self.choice[index])]);
                continue;
            }
            if sector.versions.len() > 1 && !(self.keep && sector.decided) {
                for (which, bytes) in sector.versions.iter().enumerate() {
                    let mut fork = hasher.clone();
                    fork.update(bytes);
                    self.choice[index] = which as u8;
                    if self.from(index + 1, fork) {
                        return true;
                    }
                    if self.ended {
                        return false;
                    }
                }
                return false;
            }
            self.choice[index] = 0;
            hasher.update(sector.versions[0]);
        }
        self.tried += 1;
        self.ended = self.tried % TRIES_BETWEEN == 1 && (self.over)();
        hasher.finish() == *self.value
    }
}

#[cfg(test)]
mod tests {
    use super::{Combined, SectorVersions, combine};
    use crate::digest::{CHUNK_BYTES_MIN, Entry, Geometry, HashKind};
    use proptest::{collection::vec, prelude::*};

    const SECTOR: usize = 512;

    fn geometry(size: u64) -> Geometry {
        Geometry { hash: HashKind::Blake3, chunk_bytes: CHUNK_BYTES_MIN, size }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Whatever is damaged in which copy: as long as each sector is right somewhere, the right ones are found, and nothing else ever is.
        #[test]
        fn finds_the_right_sectors_or_nothing(
            damages in vec((0usize..128, 0usize..3, any::<bool>()), 0..9), lost in prop::option::weighted(0.2, 0usize..128), tail in 0usize..600,
        ) {
            let size = 128 * SECTOR - tail;
            let right: Vec<u8> = (0..size).map(|at| (at / 7 % 251) as u8).collect();
            let count = size.div_ceil(SECTOR);
            let mut copies = vec![right.clone(); 3];
            for &(sector, copy, whole) in &damages {
                let from = (sector % count) * SECTOR;
                let others_hold = (0..3).any(|other| other != copy && copies[other][from..].iter().zip(&right[from..]).take(SECTOR).all(|(a, b)| a == b));
                if others_hold {
                    copies[copy][from] ^= if whole { 0xff } else { 1 };
                }
            }
            if let Some(sector) = lost {
                for copy in &mut copies {
                    copy[(sector % count) * SECTOR] ^= 0x55;
                }
            }
            let sectors: Vec<SectorVersions> = (0..count).map(|sector| {
                let mut versions: Vec<&[u8]> = Vec::new();
                for copy in &copies {
                    let bytes = &copy[sector * SECTOR..size.min((sector + 1) * SECTOR)];
                    if !versions.contains(&bytes) {
                        versions.push(bytes);
                    }
                }
                SectorVersions { versions, decided: sector % 3 == 0, joined: false }
            }).collect();
            let geometry = geometry(size as u64);
            let entry = geometry.entry(0, &right);
            match combine(&geometry, 0, &entry, &sectors, &[], &|| false) {
                Combined::Match(choice) => {
                    let found: Vec<u8> = sectors.iter().zip(choice).flat_map(|(sector, which)| sector.versions[usize::from(which)].to_vec()).collect();
                    prop_assert!(found == right);
                }
                Combined::Nothing => prop_assert!(lost.is_some(), "every sector is right somewhere"),
                Combined::GaveUp => prop_assert!(false, "nine sectors of three versions are few enough"),
            }
        }
    }

    #[test]
    fn zeros_need_no_hash_and_what_is_too_much_is_given_up() {
        let (zero, one) = ([0; SECTOR], [1; SECTOR]);
        let both = |decided| SectorVersions { versions: vec![&one[..], &zero[..]], decided, joined: false };
        let geometry = geometry(1 << 20);
        let of = |entry: &Entry, sectors: &[SectorVersions]| combine(&geometry, 0, entry, sectors, &[], &|| false);
        assert_eq!(of(&Entry::Zero, &vec![both(false); 128]), Combined::Match(vec![1; 128]));
        let nowhere = SectorVersions { versions: vec![&one[..]], decided: true, joined: false };
        assert_eq!(of(&Entry::Zero, &[both(false), nowhere]), Combined::Nothing);
        let value = geometry.entry(0, &vec![1; CHUNK_BYTES_MIN as usize]);
        assert_eq!(of(&value, &vec![both(true); 128]), Combined::Match(vec![0; 128]), "what was decided is right");
        let wrong = geometry.entry(0, &vec![2; CHUNK_BYTES_MIN as usize]);
        assert_eq!(of(&wrong, &vec![both(false); 128]), Combined::GaveUp);
        assert_eq!(of(&wrong, &[vec![both(false); 4], vec![both(true); 124]].concat()), Combined::GaveUp);
        assert_eq!(of(&value, &vec![SectorVersions::default(); 128]), Combined::Nothing, "nobody holds anything");
        assert_eq!(of(&Entry::Unknown, &vec![both(false); 128]), Combined::Nothing);
        let many: Vec<SectorVersions> = (0..128)
            .map(|at| if at < 12 { both(false) } else { SectorVersions { versions: vec![&one], decided: true, joined: false } })
            .collect();
        assert_eq!(combine(&geometry, 0, &wrong, &many, &[], &|| true), Combined::GaveUp, "the time is over");
    }
}

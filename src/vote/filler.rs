//! Sectors that say of themselves that nothing was read there: no data, whatever they hold. Pure.

use super::{Ballot, ByteRange, is_zero, marker};

/// What a filler looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The text that `--undecided marker` writes, with whatever offset.
    Marker,
    /// These bytes, repeated; a sector may begin anywhere in them. Zeros are a pattern like any other.
    Repeated(Vec<u8>),
}

/// What stands before the offset in a marker.
const MARKER_TEXT: &[u8] = b"QUORUM-IMG: UNDECIDED SECTOR at byte 0x";
/// Bytes after which a marker repeats itself.
const MARKER_BYTES: usize = MARKER_TEXT.len() + 16 + 1;

impl Pattern {
    /// Whether a sector is made of it.
    #[must_use]
    pub fn makes(&self, sector: &[u8]) -> bool {
        match self {
            Self::Marker => {
                let Some(period) = sector.get(..MARKER_BYTES).filter(|_| repeats(sector, MARKER_BYTES)) else { return false };
                let twice = [period, period].concat();
                let Some(at) = twice.windows(MARKER_TEXT.len()).position(|text| text == MARKER_TEXT) else { return false };
                let digits = &twice[(at + MARKER_TEXT.len()) % MARKER_BYTES..][..16];
                let offset = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
                let mut expected = [0; MARKER_BYTES];
                offset.is_some_and(|offset| {
                    marker(offset, &mut expected);
                    twice[at % MARKER_BYTES..][..MARKER_BYTES] == expected
                })
            }
            Self::Repeated(bytes) if bytes.iter().all(|&byte| byte == 0) => is_zero(sector),
            Self::Repeated(bytes) => {
                let Some(period) = sector.get(..bytes.len()).filter(|_| repeats(sector, bytes.len())) else { return false };
                [&bytes[..], bytes].concat().windows(bytes.len()).any(|turned| turned == period)
            }
        }
    }
}

/// Whether bytes repeat themselves after so many.
fn repeats(bytes: &[u8], period: usize) -> bool {
    bytes.len() >= period && bytes[period..] == bytes[..bytes.len() - period]
}

/// What is to be taken for a filler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fillers {
    /// Of all members.
    pub patterns: Vec<Pattern>,
    /// Parts of one member in which nothing was read, whatever it holds there: ascending, apart from each other.
    pub unread: Vec<(usize, Vec<ByteRange>)>,
}

impl Default for Fillers {
    fn default() -> Self {
        Self { patterns: vec![Pattern::Marker], unread: Vec::new() }
    }
}

impl Fillers {
    /// How many were given, beside our own marker.
    #[must_use]
    pub fn given(&self) -> u64 {
        (self.patterns.len().saturating_sub(Self::default().patterns.len()) + self.unread.len()) as u64
    }

    /// Takes the ballots from fillers of a sector at `offset` bytes: from what was never read, and from patterns where another member holds
    /// something else.
    pub fn unseat(&self, ballots: &mut [Ballot], offset: u64) {
        for (member, ballot) in ballots.iter_mut().enumerate().filter(|_| !self.unread.is_empty()) {
            if let Ballot::Data(bytes) = ballot
                && self.was_unread(member, ByteRange::new(offset, offset + bytes.len() as u64))
            {
                *ballot = Ballot::Filler;
            }
        }
        let differ = ballots.windows(2).any(|pair| pair[0] != pair[1]);
        let is_filler = |ballot: &Ballot| match ballot {
            Ballot::Data(bytes) => Some(self.patterns.iter().any(|pattern| pattern.makes(bytes))),
            _ => None,
        };
        if !differ || !ballots.iter().any(|ballot| is_filler(ballot) == Some(false)) {
            return;
        }
        for ballot in ballots.iter_mut() {
            if is_filler(ballot) == Some(true) {
                *ballot = Ballot::Filler;
            }
        }
    }

    /// Whether something in `range` was never read of a member, so that it can't be taken as it looks.
    #[must_use]
    pub fn any_unread(&self, range: ByteRange) -> bool {
        self.unread.iter().any(|(whose, _)| self.was_unread(*whose, range))
    }

    /// The same with what was never read widened to whole sectors.
    #[must_use]
    pub fn in_sectors(&self, sector: u64) -> Self {
        let widened = |parts: &Vec<ByteRange>| ByteRange::joined(parts.iter().map(|part| part.widened(sector, u64::MAX)));
        Self { patterns: self.patterns.clone(), unread: self.unread.iter().map(|(whose, parts)| (*whose, widened(parts))).collect() }
    }

    /// Whether nothing was read somewhere in `range` of that member.
    fn was_unread(&self, member: usize, range: ByteRange) -> bool {
        self.unread.iter().filter(|(whose, _)| *whose == member).any(|(_, parts)| {
            let from = parts.partition_point(|part| part.end <= range.start);
            parts.get(from).is_some_and(|part| part.start < range.end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Ballot, ByteRange, Fillers, Pattern};
    use crate::vote::marker;

    #[test]
    fn a_marker_is_known_wherever_it_came_to_lie() {
        let mut sector = vec![0; 4096];
        marker(0x1234_5600, &mut sector);
        assert!(Pattern::Marker.makes(&sector));
        for part in sector.chunks(512) {
            assert!(Pattern::Marker.makes(part), "a part of a larger sector is one, too");
        }
        let mut bent = sector[..512].to_vec();
        bent[100] ^= 1;
        assert!(!Pattern::Marker.makes(&bent), "with a flipped bit it is data");
        assert!(!Pattern::Marker.makes(&[0; 512]) && !Pattern::Marker.makes(&sector[..40]));
    }

    #[test]
    fn patterns_repeat_from_anywhere() {
        let text = Pattern::Repeated(b"BAD!".to_vec());
        let all: Vec<u8> = b"BAD!".iter().copied().cycle().take(600).collect();
        assert!(text.makes(&all[..512]) && text.makes(&all[3..515]));
        assert!(!text.makes(&[b'B'; 512]));
        assert!(Pattern::Repeated(vec![0xf6]).makes(&[0xf6; 512]) && !Pattern::Repeated(vec![0xf6]).makes(&[0; 512]));
        assert!(Pattern::Repeated(vec![0]).makes(&[0; 512]));
    }

    #[test]
    fn a_filler_has_no_ballot_where_another_holds_something_else() {
        let data = [7; 512];
        let mut marked = [0; 512];
        marker(512, &mut marked);
        let fillers = Fillers { unread: vec![(2, vec![ByteRange::new(1000, 1100)])], ..Fillers::default() };
        let unseated = |mut ballots: Vec<Ballot<'static>>, offset| {
            fillers.unseat(&mut ballots, offset);
            ballots.iter().map(|ballot| *ballot == Ballot::Filler).collect::<Vec<_>>()
        };
        let leak = |bytes: [u8; 512]| Ballot::Data(Box::leak(Box::new(bytes)));
        assert_eq!(unseated(vec![leak(marked), leak(data), leak(marked)], 0), [true, false, true]);
        assert_eq!(unseated(vec![leak(marked), leak(marked), Ballot::Absent], 0), [false; 3], "where all hold it, it is data");
        assert_eq!(
            unseated(vec![leak(data), leak(data), leak(data)], 1024),
            [false, false, true],
            "what was never read is none, whatever it holds"
        );
        assert!(fillers.any_unread(ByteRange::new(0, 1001)) && !fillers.any_unread(ByteRange::new(0, 1000)));
        let sectors = fillers.in_sectors(512);
        assert!(sectors.any_unread(ByteRange::new(512, 1000)) && !sectors.any_unread(ByteRange::new(1536, 2000)));
    }
}

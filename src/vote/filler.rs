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
    /// Whether a member's sector at `offset` bytes is one.
    #[must_use]
    pub fn has(&self, member: usize, offset: u64, sector: &[u8]) -> bool {
        let range = ByteRange::new(offset, offset + sector.len() as u64);
        self.patterns.iter().any(|pattern| pattern.makes(sector)) || self.was_unread(member, range)
    }

    /// Takes the ballots from fillers of a sector at `offset` bytes where another member holds something else.
    pub fn unseat(&self, ballots: &mut [Ballot], offset: u64) {
        let differ = ballots.windows(2).any(|pair| pair[0] != pair[1]);
        let is_filler = |(member, ballot): (usize, &Ballot)| match ballot {
            Ballot::Data(bytes) => Some(self.has(member, offset, bytes)),
            _ => None,
        };
        if !differ || !ballots.iter().enumerate().any(|ballot| is_filler(ballot) == Some(false)) {
            return;
        }
        for (member, ballot) in ballots.iter_mut().enumerate() {
            if is_filler((member, ballot)) == Some(true) {
                *ballot = Ballot::Filler;
            }
        }
    }

    /// Whether nothing was read somewhere in `range` of that member.
    fn was_unread(&self, member: usize, range: ByteRange) -> bool {
        self.unread.iter().filter(|(whose, _)| *whose == member).any(|(_, parts)| {
            let from = parts.partition_point(|part| part.end <= range.start);
            parts.get(from).is_some_and(|part| part.start < range.end)
        })
    }

    /// What none of so many members has read.
    #[must_use]
    pub fn unread_by_all(&self, members: usize) -> Vec<ByteRange> {
        let of = |member: usize| {
            let parts = self.unread.iter().filter(|(whose, _)| *whose == member).flat_map(|(_, parts)| parts.iter().copied());
            let mut parts: Vec<ByteRange> = parts.collect();
            parts.sort_unstable();
            ByteRange::joined(parts)
        };
        (1..members).fold(if members == 0 { Vec::new() } else { of(0) }, |common, member| {
            let own = of(member);
            let near = |part: &ByteRange| {
                let from = own.partition_point(|other| other.end <= part.start);
                let part = *part;
                own[from..].iter().map_while(move |other| other.and(part)).collect::<Vec<_>>()
            };
            common.iter().flat_map(near).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, Fillers, Pattern};
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
    fn what_nobody_has_read_is_common_to_all() {
        let range = ByteRange::new;
        let unread = vec![(0, vec![range(0, 100), range(200, 300)]), (1, vec![range(50, 250)])];
        let fillers = Fillers { patterns: Vec::new(), unread };
        assert_eq!(fillers.unread_by_all(2), [range(50, 100), range(200, 250)]);
        assert_eq!(fillers.unread_by_all(3), []);
        assert!(fillers.has(1, 240, &[1; 20]) && !fillers.has(1, 250, &[1; 20]) && !fillers.has(2, 60, &[1; 20]));
    }
}

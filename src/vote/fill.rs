//! What to write where nobody won (`--undecided`).

use super::Ballot;

/// What an output holds in an undecided sector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: there is no output then.
    #[default]
    Fail,
    /// The lowest-numbered member's data.
    First,
    /// Zeros.
    Zero,
    /// A text that says so, with the offset.
    Marker,
    /// A vote on each byte with the same threshold.
    Bytes,
}

impl Fill {
    /// Puts into `sector`, which starts at `offset` bytes, what this way to fill says; `false`, and `sector` is of no use, where it
    /// has nothing to say.
    #[must_use]
    pub fn apply(self, offset: u64, ballots: &[Ballot], threshold: usize, sector: &mut [u8]) -> bool {
        match self {
            Self::Fail => false,
            Self::First => match ballots.iter().find_map(|ballot| if let Ballot::Data(bytes) = ballot { Some(bytes) } else { None }) {
                Some(bytes) => {
                    sector.copy_from_slice(bytes);
                    true
                }
                None => false,
            },
            Self::Zero => {
                sector.fill(0);
                true
            }
            Self::Marker => {
                marker(offset, sector);
                true
            }
            Self::Bytes => vote_bytes(ballots, threshold, sector),
        }
    }
}

/// Fills `sector` with a text that says what it is, its offset in bytes included, so that a later look tells it from data.
pub fn marker(offset: u64, sector: &mut [u8]) {
    let text = format!("QUORUM-IMG: UNDECIDED SECTOR at byte {offset:#018x}\n");
    for (to, from) in sector.iter_mut().zip(text.bytes().cycle()) {
        *to = from;
    }
}

/// Votes on each byte of a sector by itself, by the same rule as on sectors; `false`, and `sector` is of no use, where a
/// byte has no winner.
///
/// Ballots without data have no say, but the threshold counts them.
#[must_use]
pub fn vote_bytes(ballots: &[Ballot], threshold: usize, sector: &mut [u8]) -> bool {
    for (at, byte) in sector.iter_mut().enumerate() {
        let mut counts = [0u8; 256];
        for ballot in ballots {
            if let Ballot::Data(bytes) = ballot {
                counts[usize::from(bytes[at])] += 1;
            }
        }
        let (mut winner, mut most, mut tied) = (0, 0, true);
        for (value, &count) in counts.iter().enumerate() {
            if count > most {
                (winner, most, tied) = (value as u8, count, false);
            } else if count == most {
                tied = true;
            }
        }
        if tied || usize::from(most) < threshold {
            return false;
        }
        *byte = winner;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{
        super::Ballot::{Data, Unreadable},
        marker, vote_bytes,
    };

    #[test]
    fn bytes_are_voted_on_one_by_one() {
        let mut sector = [0; 3];
        assert!(vote_bytes(&[Data(b"abX"), Data(b"aYc"), Data(b"Zbc")], 2, &mut sector));
        assert_eq!(&sector, b"abc");
        assert!(!vote_bytes(&[Data(b"abc"), Data(b"abd"), Data(b"abe")], 2, &mut sector), "no winner for the last byte");
        assert!(!vote_bytes(&[Data(b"abc"), Unreadable, Unreadable], 2, &mut sector), "one ballot is not two");
    }

    #[test]
    fn a_marker_says_where_it_is_and_fills_the_sector() {
        let mut sector = [0; 512];
        marker(0xf4400, &mut sector);
        assert!(sector.starts_with(b"QUORUM-IMG: UNDECIDED SECTOR at byte 0x00000000000f4400\n"));
        assert!(sector.iter().all(|&byte| byte != 0));
    }
}

//! Which parts of a window must be read at all. Pure.

use crate::{
    member::Extent,
    vote::{Ballot, ByteRange, MEMBERS_MAX, Rule, Vote},
};

/// What a differing chunk is narrowed down to before its bytes are copied and voted on.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// What one member can say in a piece of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Bytes to read.
    Data,
    /// The block in which the member ends: to be read with care.
    Partial,
    /// Known zeros.
    Zero,
    /// Nothing: the member has ended.
    Absent,
    /// Nothing: the member failed.
    Failed,
}

/// A stretch of the image in which every member's state stays the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where, in bytes.
    pub range: ByteRange,
    /// One for each member.
    pub states: Vec<State>,
}

/// One member's states along a window: each with the offset where it ends.
pub type Track = Vec<(u64, State)>;

/// A member's states along `window`, with edges at multiples of `block` bytes (and at the window's).
///
/// `member_size` and the extents come from the member, `size` is the image's. Zeros are narrowed down to whole blocks, so that a
/// block is never half known; `extent` is asked at ascending offsets below `member_size`.
pub fn track<E>(
    window: ByteRange,
    block: u64,
    size: u64,
    member_size: u64,
    mut extent: impl FnMut(u64) -> Result<Extent, E>,
) -> Result<Track, E> {
    let mut track = Track::new();
    let mut push = |end: u64, state: State| {
        if track.last().map_or(window.start, |&(last, _)| last) < end {
            match track.last_mut() {
                Some((last, same)) if *same == state => *last = end,
                _ => track.push((end, state)),
            }
        }
    };
    // A member at least as long as the image has no end of its own here.
    let whole_end = if member_size >= size { size } else { member_size - member_size % block };
    let data_end = whole_end.min(window.end);
    let mut at = window.start;
    while at < data_end {
        match extent(at)? {
            Extent::Data(end) => {
                at = end.max(at + 1).min(data_end);
                push(at, State::Data);
            }
            Extent::Zero(end) => {
                let end = end.max(at + 1).min(data_end);
                let first = at.next_multiple_of(block).min(end);
                let last = if end == data_end { end } else { end - end % block };
                if first < last {
                    push(if at == window.start { at } else { first }, State::Data);
                    // The window's own start is an edge as good as any.
                    push(last, State::Zero);
                }
                push(end, State::Data);
                at = end;
            }
        }
    }
    if member_size < size {
        if !member_size.is_multiple_of(block) {
            push((whole_end + block).min(window.end), State::Partial);
        }
        push(window.end, State::Absent);
    }
    Ok(widened(track, window, block))
}

/// Moves edges to blocks: data reaches up to the next one.
fn widened(track: Track, window: ByteRange, block: u64) -> Track {
    let mut wide = Track::new();
    for (end, state) in track {
        let end = if state == State::Data { end.next_multiple_of(block).min(window.end) } else { end };
        if wide.last().map_or(window.start, |&(last, _)| last) < end {
            match wide.last_mut() {
                Some((last, same)) if *same == state => *last = end,
                _ => wide.push((end, state)),
            }
        }
    }
    wide
}

/// The pieces of `window` in ascending order; each track covers it.
#[must_use]
pub fn pieces(window: ByteRange, tracks: &[Track]) -> Vec<Piece> {
    let mut at = vec![0; tracks.len()];
    let mut start = window.start;
    let mut pieces = Vec::new();
    while start < window.end {
        let end = tracks.iter().zip(&at).map(|(track, &i)| track[i].0).min().unwrap_or(window.end).min(window.end);
        let states = tracks.iter().zip(&at).map(|(track, &i)| track[i].1).collect();
        pieces.push(Piece { range: ByteRange::new(start, end), states });
        for (track, i) in tracks.iter().zip(&mut at) {
            *i += usize::from(track[*i].0 <= end && *i + 1 < track.len());
        }
        start = end;
    }
    pieces
}

/// The vote where all who hold data hold the same; under fifo the first of them is heard alone.
pub(super) fn uniform_vote(states: &[State], rule: Rule) -> Vote {
    let mut ballots = [Ballot::Unasked; MEMBERS_MAX];
    for (ballot, &state) in ballots.iter_mut().zip(states) {
        *ballot = match state {
            State::Data | State::Zero | State::Partial => Ballot::Data(&[]),
            State::Absent => Ballot::Absent,
            State::Failed => Ballot::Failed,
        };
        if rule == Rule::First && matches!(ballot, Ballot::Data(_)) {
            break;
        }
    }
    Vote::of(&ballots[..states.len()], rule)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::{collection::vec, prelude::*};

    use super::{ByteRange, Extent, State, Track, pieces, track};

    /// A member's zeros, byte by byte: true where it is known to hold zeros.
    fn extent_of(zeros: &[bool], at: u64) -> Extent {
        let same = zeros[at as usize..].iter().take_while(|&&zero| zero == zeros[at as usize]).count() as u64;
        if zeros[at as usize] { Extent::Zero(at + same) } else { Extent::Data(at + same) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), ..ProptestConfig::default() })]

        /// No byte that may hold data is ever skipped, every end is seen, and edges lie on blocks.
        #[test]
        fn tracks_are_safe(runs in vec((any::<bool>(), 1usize..60), 0..8), size in 1u64..200, from in 0u64..20, length in 1u64..200) {
            let block = 8;
            let zeros: Vec<bool> = runs.iter().flat_map(|&(zero, count)| std::iter::repeat_n(zero, count)).collect();
            let member_size = zeros.len() as u64;
            let start = (from * 4).min(size - 1); // sectors of 4 bytes
            let window = ByteRange::new(start, (start + length).next_multiple_of(block).min(size));
            let Ok(track) = track(window, block, size, member_size, |at| Ok::<_, Infallible>(extent_of(&zeros, at)));
            let mut at = window.start;
            for &(end, state) in &track {
                prop_assert!(end > at, "{track:?}");
                prop_assert!(end % block == 0 || end == window.end, "{track:?}");
                for byte in at..end {
                    let held = byte < member_size;
                    match state {
                        State::Zero => prop_assert!(held && zeros[byte as usize], "byte {byte} of {track:?}"),
                        State::Absent => prop_assert!(!held, "byte {byte} of {track:?}"),
                        State::Data => prop_assert!(held || member_size >= size, "byte {byte} of {track:?}"),
                        State::Partial => prop_assert!(byte / block == member_size / block, "byte {byte} of {track:?}"),
                        State::Failed => prop_assert!(false),
                    }
                }
                at = end;
            }
            prop_assert_eq!(at, window.end);
            // Whole blocks of zeros are known as such.
            for start in (window.start.next_multiple_of(block)..window.end.saturating_sub(block)).step_by(block as usize) {
                let all_zero = start + block <= member_size.min(size) && (start..start + block).all(|byte| zeros[byte as usize]);
                let state = track.iter().find(|&&(end, _)| start < end).expect("covered").1;
                prop_assert!(!all_zero || state == State::Zero, "block at {start} of {track:?}");
            }
        }

        #[test]
        fn pieces_follow_every_track(ends in vec(vec(1u64..100, 0..6), 1..5)) {
            let window = ByteRange::new(0, 100);
            let tracks: Vec<Track> = ends.iter().map(|ends| {
                let mut ends = ends.clone();
                ends.extend([100]);
                ends.sort_unstable();
                ends.dedup();
                ends.iter().enumerate().map(|(i, &end)| (end, if i % 2 == 0 { State::Data } else { State::Zero })).collect()
            }).collect();
            let mut at = 0;
            for piece in pieces(window, &tracks) {
                prop_assert!(piece.range.start == at && piece.range.end > at);
                for byte in piece.range.start..piece.range.end {
                    let expected: Vec<State> = tracks.iter().map(|track| track.iter().find(|&&(end, _)| byte < end).expect("covered").1).collect();
                    prop_assert_eq!(&piece.states, &expected);
                }
                at = piece.range.end;
            }
            prop_assert_eq!(at, 100);
        }
    }
}

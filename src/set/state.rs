//! What a set remembers of its members, and what a run makes of that. Pure: one table.

use std::fmt;

/// What a member is to its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is what it should be, and votes.
    Ok,
    /// It dissented, and votes.
    Suspect,
    /// It couldn't be reached: compared, without a vote, until a complete check finds no difference.
    Returning,
    /// It differs since it was away, or by more than damage does: compared, without a vote, until it is resynced.
    Stale,
    /// It is being resynced, or that was cut off: no vote.
    Syncing,
    /// It could be reached, and not be read as what it is.
    Failed,
    /// It belongs to the set no more: the only state that isn't counted.
    Removed,
}

/// All of them.
pub const STATES: [State; 7] = [State::Ok, State::Suspect, State::Returning, State::Stale, State::Syncing, State::Failed, State::Removed];

impl State {
    /// As records and reports have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Suspect => "suspect",
            Self::Returning => "returning",
            Self::Stale => "stale",
            Self::Syncing => "syncing",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        STATES.into_iter().find(|state| state.word() == word)
    }

    /// Whether its members vote.
    #[must_use]
    pub fn votes(self) -> bool {
        matches!(self, Self::Ok | Self::Suspect)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a member was met in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It was read.
    Read,
    /// It opened, and can't be read as what it is.
    Unreadable,
    /// It couldn't be opened, or its server or device went away.
    Away,
}

/// What a run saw of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How it was met.
    pub met: Met,
    /// Whether all of the image was compared, in this run or in those of which it is the last.
    pub complete: bool,
    /// Whether it differs from what was decided anywhere; of one that has no vote, from all who have one.
    pub differs: bool,
    /// Whether it differs by more than damage does.
    pub beyond_damage: bool,
    /// Whether it became older than it was, whatever the vote says.
    pub older: bool,
    /// Whether it was made to agree with all that was decided, and read back.
    pub made_whole: bool,
}

/// What a run can say of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enough of those who vote were met.
    Quorate,
    /// Too few were: nobody can have gone on without those who weren't, so nothing follows from their absence.
    TooFew,
    /// A guard stands that doubts the vote: nobody's state changes until a person decides.
    Disputed,
}

/// Why a state became another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It dissented.
    Dissents,
    /// It couldn't be reached.
    Away,
    /// It can't be read as what it is.
    Unreadable,
    /// It differs since it was away.
    DiffersSinceAway,
    /// It differs by more than damage does.
    BeyondDamage,
    /// An older state of it was put back.
    Older,
    /// A complete check found no difference.
    Clean,
    /// It was repaired, and read back.
    Repaired,
}

impl Why {
    /// In words.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Dissents => "it dissents",
            Self::Away => "it couldn't be reached",
            Self::Unreadable => "it can't be read as what it is",
            Self::DiffersSinceAway => "it differs since it was away",
            Self::BeyondDamage => "it differs by more than damage does",
            Self::Older => "it is older than it was",
            Self::Clean => "a complete check found no difference",
            Self::Repaired => "it was made to agree, and read back",
        }
    }
}

/// What becomes of a member's state; none where it stays what it is.
#[must_use]
pub fn after(state: State, seen: &Seen, standing: Standing) -> Option<(State, Why)> {
    // A resync that a person asked for ends as one, whoever is right elsewhere.
    let resynced = state == State::Syncing && seen.met == Met::Read && seen.made_whole;
    if state == State::Removed || (standing == Standing::Disputed && !resynced) {
        return None;
    }
    // Too few votes blame nobody; who is the same everywhere is so all the same.
    let clean = seen.met == Met::Read && (seen.made_whole || (seen.complete && !seen.differs && !seen.beyond_damage && !seen.older));
    // That one is older than it was nobody has to vote on.
    let aged = seen.met == Met::Read && seen.older && !seen.made_whole && state.votes();
    if aged {
        return Some((State::Stale, Why::Older));
    }
    if standing == Standing::TooFew && !clean {
        return None;
    }
    let next = match seen.met {
        Met::Away => match state {
            State::Ok | State::Suspect | State::Returning => (State::Returning, Why::Away),
            other => (other, Why::Away),
        },
        Met::Unreadable => match state {
            State::Stale | State::Syncing => (state, Why::Unreadable),
            _ => (State::Failed, Why::Unreadable),
        },
        Met::Read if seen.made_whole => (State::Ok, Why::Repaired),
        Met::Read => match (state, seen.differs || seen.beyond_damage || seen.older) {
            (_, false) if seen.complete => (State::Ok, Why::Clean),
            (State::Ok | State::Suspect, true) if seen.beyond_damage => (State::Stale, Why::BeyondDamage),
            (State::Ok | State::Suspect, true) => (State::Suspect, Why::Dissents),
            (State::Returning | State::Failed, true) => (State::Stale, Why::DiffersSinceAway),
            (other, _) => (other, Why::Clean),
        },
    };
    (next.0 != state).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::{
        Met, STATES, Seen, Standing,
        State::{self, Failed, Ok, Returning, Stale, Suspect, Syncing},
        Why, after,
    };

    const READ: Seen = Seen { met: Met::Read, complete: true, differs: false, beyond_damage: false, older: false, made_whole: false };

    fn all_seen() -> impl Iterator<Item = Seen> {
        let flags = |bits: u32| [0, 1, 2, 3, 4].map(|bit| bits >> bit & 1 == 1);
        [Met::Read, Met::Unreadable, Met::Away].into_iter().flat_map(move |met| {
            (0..32).map(move |bits| {
                let [complete, differs, beyond_damage, made_whole, older] = flags(bits);
                Seen { met, complete, differs, beyond_damage, older, made_whole }
            })
        })
    }

    #[test]
    fn states_go_by_the_book() {
        let part = Seen { complete: false, ..READ };
        let (differs, beyond) = (Seen { differs: true, ..READ }, Seen { differs: true, beyond_damage: true, ..READ });
        let (away, unreadable) = (Seen { met: Met::Away, ..part }, Seen { met: Met::Unreadable, ..part });
        let healed = Seen { made_whole: true, ..differs };
        for (state, seen, expected, why) in [
            (Ok, READ, None, "all is well"),
            (Ok, part, None, "so it is half way"),
            (Ok, differs, Some((Suspect, Why::Dissents)), "it dissents and votes on"),
            (Ok, Seen { complete: false, ..differs }, Some((Suspect, Why::Dissents)), "that needs no complete check"),
            (Ok, beyond, Some((Stale, Why::BeyondDamage)), "that is no damage"),
            (Ok, Seen { older: true, ..READ }, Some((Stale, Why::Older)), "a snapshot was rolled back"),
            (Ok, away, Some((Returning, Why::Away)), "away"),
            (Ok, unreadable, Some((Failed, Why::Unreadable)), "a bad header"),
            (Suspect, READ, Some((Ok, Why::Clean)), "it healed"),
            (Suspect, part, None, "nobody knows yet"),
            (Suspect, differs, None, "still"),
            (Suspect, healed, Some((Ok, Why::Repaired)), "repaired"),
            (Suspect, away, Some((Returning, Why::Away)), "away"),
            (Returning, READ, Some((Ok, Why::Clean)), "it needs nobody"),
            (Returning, part, None, "half of it says nothing"),
            (Returning, differs, Some((Stale, Why::DiffersSinceAway)), "others went on"),
            (Returning, away, None, "still away"),
            (Failed, READ, Some((Ok, Why::Clean)), "its header was mended"),
            (Failed, differs, Some((Stale, Why::DiffersSinceAway)), "not by much"),
            (Failed, away, None, "and gone now"),
            (Stale, differs, None, "it waits for a resync"),
            (Stale, READ, Some((Ok, Why::Clean)), "somebody copied it by hand"),
            (Stale, healed, Some((Ok, Why::Repaired)), "resynced"),
            (Stale, away, None, "stale and away"),
            (Stale, unreadable, None, "stale and unreadable"),
            (Syncing, differs, None, "cut off"),
            (Syncing, healed, Some((Ok, Why::Repaired)), "done"),
        ] {
            assert_eq!(after(state, &seen, Standing::Quorate), expected, "{why}: {state:?}, {seen:?}");
        }
    }

    /// Over everything that there is.
    #[test]
    fn what_must_always_hold() {
        for state in STATES {
            for seen in all_seen() {
                for standing in [Standing::Quorate, Standing::TooFew, Standing::Disputed] {
                    let next = after(state, &seen, standing).map_or(state, |(next, _)| next);
                    let told = format!("{state:?} {seen:?} {standing:?}: {next:?}");
                    assert!(state != State::Removed || next == state, "who left doesn't come back by itself: {told}");
                    assert!(next != State::Removed || state == next, "and nobody is thrown out: {told}");
                    assert!(standing != Standing::Disputed || next == state || (state == Syncing && seen.made_whole), "{told}");
                    assert!(next != Syncing || state == next, "only a person begins a resync: {told}");
                    let gains = next.votes() && !state.votes();
                    let proven = seen.met == Met::Read
                        && (seen.made_whole || (seen.complete && !seen.differs && !seen.beyond_damage && !seen.older));
                    assert!(!gains || proven, "a vote is given to what is the same everywhere: {told}");
                    assert!(
                        standing != Standing::TooFew || next == state || next == Ok || (seen.older && next == Stale),
                        "too few blame nobody: {told}"
                    );
                    assert_eq!(after(state, &seen, standing).is_some(), next != state, "{told}");
                }
            }
        }
    }

    #[test]
    fn words_come_back() {
        for state in STATES {
            assert_eq!(State::of_word(state.word()), Some(state));
        }
        assert_eq!(State::of_word("fine"), None);
    }
}
